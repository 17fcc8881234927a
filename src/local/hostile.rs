//! The local API among clients that are slow, broken or malicious, on real sockets. Correctness is
//! asserted; times are only printed.
#![expect(clippy::print_stdout, reason = "times are told to whoever runs this, not asserted")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::conn::Timings;
use super::gate::{CLIENTS_MAX, Gate};
use super::guard::Door;
use super::lane::Lane;
use super::listen::{Listener, Stream};
use super::{BindError, Listen, Local, LocalStop, Settings};
use crate::engine::{Answer, Reach, Verdict};
use crate::inbox::{Ask, Inbox, Incoming, inbox};

const PATIENCE: Duration = Duration::from_secs(10);

/// A local API that runs, with an engine behind it that accepts every key.
pub(super) struct Running {
    pub(super) listen: Listen,
    /// How many keys the engine was asked to press.
    n_presses: Arc<AtomicUsize>,
    stop: LocalStop,
    threads: Vec<JoinHandle<()>>,
    inbox: Option<Inbox>,
}

pub(super) fn run(timings: Timings) -> Running {
    run_at("127.0.0.1:0".parse().unwrap(), None, timings)
}

/// Runs it there, behind another door than the place would have if need be.
pub(super) fn run_at(listen: Listen, door: Option<Door>, timings: Timings) -> Running {
    let (inbox, outlet) = inbox();
    let settings = Settings { listen, api_token: None, simulator: Some(Reach::Own), history: None };
    let local = Local::bind_with(settings, inbox.clone(), Arc::default(), timings).unwrap();
    let listen = local.address().parse().unwrap();
    let (gate, mut api, player, stop) = local.into_parts();
    if let Some(door) = door {
        api.routes.door = door;
    }
    let n_presses = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&n_presses);
    let engine = thread::spawn(move || {
        while let Ok(Incoming::Asked { question, reply }) = outlet.incoming.recv() {
            let pressed = matches!(question, Ask::Press { .. });
            counted.fetch_add(usize::from(pressed), Ordering::SeqCst);
            // Whoever asked may have lost patience.
            let _ = reply.send(if pressed { Answer::Pressed(Verdict::Accepted) } else { Answer::Pong });
        }
    });
    let threads = vec![
        thread::spawn(|| gate.run()),
        thread::spawn(|| api.run()),
        thread::spawn(|| player.run()),
        engine,
    ];
    Running { listen, n_presses, stop, threads, inbox: Some(inbox) }
}

impl Running {
    pub(super) fn connect(&self) -> Stream {
        match &self.listen {
            Listen::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Stream::Tcp(stream)
            }
            Listen::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Stream::Unix(stream)
            }
        }
    }

    /// Returns our name and port, as a `Host`.
    pub(super) fn host(&self) -> String {
        match &self.listen {
            Listen::Tcp(address) => address.to_string(),
            Listen::Unix(_) => "127.0.0.1:8080".to_owned(), // Any will do.
        }
    }

    pub(super) fn n_presses(&self) -> usize {
        self.n_presses.load(Ordering::SeqCst)
    }

    /// Sends this, and returns all that comes back.
    pub(super) fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, target: &str) -> String {
        self.exchange(&format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host()))
    }

    fn post(&self, headers: &str, body: &str) -> String {
        self.exchange(&format!(
            "POST /simulator HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.host(),
            body.len()
        ))
    }

    /// Asserts that honest clients are served.
    pub(super) fn assert_well(&self) {
        let answer = self.get("/health");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        let answer = self.post("", r#"{"callId":"c1","digit":"1"}"#);
        assert!(answer.ends_with("\r\n\r\n{\"status\":\"digit_processed\"}"), "{answer}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        self.inbox = None;
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[test]
fn answers_as_promised() {
    let api = run(Timings::default());
    api.assert_well();
    let answer = api.exchange(&format!("HEAD /health HTTP/1.1\r\nHost: {}\r\n\r\n", api.host()));
    assert!(answer.contains("\r\nContent-Length: 2\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    for header in ["Server: dtmfd", "Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Date: "] {
        assert!(answer.contains(&format!("\r\n{header}")), "{header} in {answer}");
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (expected, answer) in [
        ("200", api.post(form, r#"{"callId":"c1","digit":"1"}"#)),
        ("400", api.post("", "nonsense")),
        ("422", api.post("", "{}")),
        ("403", api.post("Origin: http://evil.example\r\n", "{}")),
        ("403", api.post("Sec-Fetch-Site: cross-site\r\n", "{}")),
        ("413", api.post("", &"x".repeat(5000))),
        ("200", api.get("/livez")),
        ("503", api.get("/readyz?verbose")),
        ("200", api.get("/")),
        ("200", api.get(&format!("http://{}/health", api.host()))),
        ("403", api.get("http://evil.example/health")),
        ("405", api.get("/simulator")),
        ("404", api.get("/nothing")),
        ("403", api.exchange("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n")),
        ("200", api.exchange("GET /health HTTP/1.0\r\n\r\n")),
        ("505", api.exchange("GET /health HTTP/3.0\r\nHost: a\r\n\r\n")),
        ("400", api.exchange("\x16\x03\x01\x02\x00")),
    ] {
        assert_eq!(expected, status(&answer), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!("200", status(&api.post(upgrade, r#"{"callId":"c1","digit":"1"}"#)));
}

#[test]
fn clients_that_never_take_a_long_answer_make_room_for_others() {
    let lane = Arc::new(Lane::open().unwrap());
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Listen::Tcp(address) = listener.local().unwrap() else { panic!("it was an address") };
    let (gate, handle) = Gate::new(listener, Arc::clone(&lane), Timings::default()).unwrap();
    let gate = thread::spawn(|| gate.run());
    // More than what the two kernels' buffers take.
    let long = "x".repeat(900_000);
    let api = thread::spawn(move || {
        while let Ok(request) = lane.current().unwrap().recv() {
            let answer = tiny_http::Response::from_string(long.as_str());
            let _ = request.respond(answer.with_chunked_threshold(usize::MAX));
        }
    });
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        stream
    };
    let begin = Instant::now();
    let never_reading: Vec<_> = (0..2 * CLIENTS_MAX).map(|_| ask()).collect();
    for _ in 0..10 {
        let mut answer = String::new();
        ask().read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("xxx") && answer.len() > 900_000, "{:.200}", answer);
    }
    println!("beside clients that take nothing: 10 long answers in {:?}", begin.elapsed());
    assert!(begin.elapsed() < Timings::default().taking, "they were waited for");
    drop(never_reading);
    handle.stop();
    gate.join().unwrap();
    api.join().unwrap();
}

#[test]
fn a_stop_finishes_what_is_under_way_and_lets_go_of_the_address() {
    let api = run(Timings::default());
    let _half_open = api.connect();
    api.assert_well();
    let Listen::Tcp(address) = api.listen else { panic!("it was an address") };
    let begin = Instant::now();
    drop(api);
    println!("stopped after {:?}", begin.elapsed());
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!(ErrorKind::ConnectionRefused, TcpStream::connect(address).unwrap_err().kind());
}

#[test]
fn unix_sockets_serve_and_addresses_that_are_taken_or_open_are_refused() {
    let path = std::env::temp_dir().join(format!("dtmfd-hostile-{}.sock", std::process::id()));
    let bind = |listen: Listen| {
        let settings = Settings { listen, api_token: None, simulator: None, history: None };
        Local::bind(settings, inbox().0, Arc::default())
    };
    let local = bind(Listen::Unix(path.clone())).unwrap();
    assert_eq!(format!("unix:{}", path.display()), local.address());
    let taken = bind(Listen::Unix(path.clone())).err().unwrap();
    assert!(matches!(taken, BindError::Listen { .. }) && taken.to_string().contains("--listen"), "{taken}");
    let open = bind("0.0.0.0:0".parse().unwrap()).err().unwrap();
    assert!(matches!(open, BindError::NoToken { .. }), "{open}");

    let (gate, api, player, stop) = local.into_parts();
    let threads = [thread::spawn(|| gate.run()), thread::spawn(|| api.run()), thread::spawn(|| player.run())];
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: whatever\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    stop.stop();
    stop.stop();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(!path.exists());
}
