//! The local API among clients that are slow, broken or malicious, on real sockets. Correctness is
//! asserted; times are only printed.
#![expect(clippy::print_stdout, reason = "times are told to whoever runs this, not asserted")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::conn::Timings;
use super::{BindError, Listen, Local, LocalStop, Settings};
use crate::engine::{Answer, Reach, Verdict};
use crate::inbox::{Ask, Inbox, Incoming, inbox};

const PATIENCE: Duration = Duration::from_secs(10);

/// A local API that runs, with an engine behind it that accepts every key.
struct Running {
    address: SocketAddr,
    stop: LocalStop,
    threads: Vec<JoinHandle<()>>,
    inbox: Option<Inbox>,
}

fn run(timings: Timings) -> Running {
    let (inbox, outlet) = inbox();
    let listen = "127.0.0.1:0".parse().unwrap();
    let settings = Settings { listen, api_token: None, simulator: Some(Reach::Own), history: None };
    let local = Local::bind_with(settings, inbox.clone(), Arc::default(), timings).unwrap();
    let address = local.address().parse().unwrap();
    let (gate, api, player, stop) = local.into_parts();
    let engine = thread::spawn(move || {
        while let Ok(Incoming::Asked { question, reply }) = outlet.incoming.recv() {
            let pressed = matches!(question, Ask::Press { .. });
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
    Running { address, stop, threads, inbox: Some(inbox) }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends this, and returns all that comes back.
    fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, target: &str) -> String {
        self.exchange(&format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    fn post(&self, headers: &str, body: &str) -> String {
        self.exchange(&format!(
            "POST /simulator HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        ))
    }

    /// Asserts that honest clients are served.
    fn assert_well(&self) {
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
    let answer = api.exchange(&format!("HEAD /health HTTP/1.1\r\nHost: {}\r\n\r\n", api.address));
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
        ("200", api.get(&format!("http://{}/health", api.address))),
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
fn a_body_held_back_is_asked_for() {
    let api = run(Timings::default());
    let body = r#"{"callId":"c1","digit":"1"}"#;
    let mut stream = api.connect();
    let host = api.address;
    let n = body.len();
    let head = format!(
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: {n}\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(b"HTTP/1.1 100 Continue\r\n\r\n", &line);
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("digit_processed\"}"), "{answer}");
}

#[test]
fn only_the_first_of_many_requests_on_a_connection_is_answered() {
    let api = run(Timings::default());
    let get = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", api.address);
    let answer = api.exchange(&get.repeat(200));
    assert_eq!(1, answer.matches("HTTP/1.1 ").count(), "{answer}");
    api.assert_well();
}

#[test]
fn absurd_lengths_are_refused() {
    let api = run(Timings::default());
    for (lines, expected) in [
        ("Content-Length: 99999999999999\r\n", "413"),
        ("Content-Length: 18446744073709551615\r\n", "413"),
        ("Content-Length: 18446744073709551617\r\n", "413"),
        ("Content-Length: 5000000000\r\n", "413"),
        ("Content-Length: -1\r\n", "400"),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "400"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "400"),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Transfer-Encoding: chunked\r\n", "501"),
        ("Transfer-Encoding: chunked\r\nConnection: Upgrade\r\n", "501"),
    ] {
        let answer = api.exchange(&format!("POST /simulator HTTP/1.1\r\nHost: a\r\n{lines}\r\n{{}}"));
        assert_eq!(expected, status(&answer), "{lines:?}: {answer}");
    }
    api.assert_well();
}

#[test]
fn a_head_of_300_kib_gets_its_answer() {
    let api = run(Timings::default());
    let mut stream = api.connect();
    let head = format!("GET /health HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(300 * 1024));
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!("431", status(&answer), "{answer}");
    api.assert_well();
}

#[test]
fn half_open_connections_leave_room_for_honest_requests() {
    let api = run(Timings::default());
    let mut held = Vec::new();
    let mut times = Vec::new();
    for i in 0..1000 {
        let mut stream = api.connect();
        // Those that have been closed on already say so, which is none of our concern.
        let _ = stream.write_all(b"POST /simulator HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{");
        held.push(stream);
        if i % 5 == 4 {
            let begin = Instant::now();
            api.assert_well();
            times.push(begin.elapsed() / 2);
        }
    }
    times.sort();
    assert_eq!(200, times.len());
    println!("beside half-open connections: p50 {:?}, p99 {:?}", times[100], times[198]);
    // The kernel held the descriptors of this test's own side; ours are bounded by the number of places.
    let is_open = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        stream.read_to_end(&mut Vec::new()).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    let n_open = held.iter_mut().map(is_open).filter(|&open| open).count();
    assert!(n_open <= super::gate::CLIENTS_MAX, "{n_open} are held");
}

#[test]
fn connections_that_are_reset_do_no_harm() {
    let api = run(Timings::default());
    for i in 0..500 {
        let mut stream = api.connect();
        let text = ["", "GET /he", "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"][i % 3];
        let _ = stream.write_all(text.as_bytes());
        reset(stream);
    }
    api.assert_well();
}

/// Closes with an RST.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_linger(&stream, &linger);
    drop(stream);
}

#[expect(unsafe_code, reason = "std has no stable way to set SO_LINGER")]
fn set_linger(stream: &TcpStream, linger: &libc::linger) {
    // SAFETY: the option's value is a `linger`, whose size is given, and the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            std::ptr::from_ref(linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(0, result);
}

#[test]
fn clients_that_drip_or_never_read_hold_nobody_up() {
    let timings = Timings { request: Duration::from_millis(300), ..Timings::default() };
    let api = run(timings);
    let silent: Vec<_> = (0..30)
        .map(|_| {
            let mut stream = api.connect();
            let _ = write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", api.address);
            stream
        })
        .collect();
    let begin = Instant::now();
    let mut dripping = api.connect();
    while begin.elapsed() < Duration::from_secs(3) && dripping.write_all(b"G").is_ok() {
        thread::sleep(Duration::from_millis(50));
        dripping.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        if dripping.peek(&mut [0]).is_ok() {
            break;
        }
    }
    let mut answer = String::new();
    let _ = dripping.read_to_string(&mut answer);
    assert_eq!("408", status(&answer), "{answer}");
    println!("408 after {:?}", begin.elapsed());
    api.assert_well();
    drop(silent);
}

#[test]
fn a_stop_finishes_what_is_under_way_and_lets_go_of_the_address() {
    let api = run(Timings::default());
    let _half_open = api.connect();
    api.assert_well();
    let address = api.address;
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

#[test]
fn a_flood_of_reconnecting_clients_leaves_room_for_honest_requests() {
    let api = run(Timings::default());
    let (address, flooding) = (api.address, Arc::new(std::sync::atomic::AtomicBool::new(true)));
    let floods: Vec<_> = (0..2)
        .map(|_| {
            let flooding = Arc::clone(&flooding);
            thread::spawn(move || {
                let mut held = std::collections::VecDeque::new();
                let mut n = 0;
                while flooding.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) {
                        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ");
                        held.push_back(stream);
                        n += 1;
                    }
                    if held.len() > 60 {
                        held.pop_front();
                    }
                }
                n
            })
        })
        .collect();
    let mut times = Vec::new();
    let mut n_refused = 0;
    for _ in 0..200 {
        let begin = Instant::now();
        let mut stream = api.connect();
        let _ = write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        times.push(begin.elapsed());
        n_refused += usize::from(!answer.ends_with("ok"));
    }
    flooding.store(false, std::sync::atomic::Ordering::Relaxed);
    let n: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    times.sort();
    println!("in a flood of {n}: {n_refused} of 200 refused, p50 {:?}, p99 {:?}", times[100], times[198]);
    assert!(n_refused < 20, "{n_refused} of 200 honest requests were not answered");
    api.assert_well();
}

/// Serves for the test below until its standard input ends.
#[test]
#[ignore = "it is run by `survives_having_no_descriptors_left`"]
fn serve_until_standard_input_ends() {
    let api = run(Timings::default());
    println!("address {}", api.address);
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn survives_having_no_descriptors_left() {
    let exe = std::env::current_exe().unwrap();
    for limit in [20, 26, 40] {
        let mut child = std::process::Command::new("sh")
            .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
            .arg(&exe)
            .args(["--exact", "local::hostile::serve_until_standard_input_ends", "--ignored", "--nocapture"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let address = lines
            .find_map(|line| Some(line.unwrap().split_once("address ")?.1.parse::<SocketAddr>().unwrap()));
        let address = address.unwrap();
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let mut n_answered = 0;
        let mut held = Vec::new();
        for _ in 0..5 {
            for _ in 0..20 {
                held.extend(TcpStream::connect_timeout(&address, PATIENCE));
                n_answered += usize::from(ask().is_ok_and(|answer| answer.ends_with("ok")));
            }
            // Many at once make tiny_http itself run out.
            let at_once: Vec<_> = (0..12)
                .map(|_| {
                    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
                    let _ = write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n");
                    stream
                })
                .collect();
            thread::sleep(Duration::from_millis(50));
            drop(at_once);
        }
        println!("with {limit} descriptors {n_answered} of 100 were answered");
        held.clear();
        let begin = Instant::now();
        while !ask().is_ok_and(|answer| answer.ends_with("ok")) {
            assert!(begin.elapsed() < PATIENCE, "with {limit} descriptors it did not come back");
            thread::sleep(Duration::from_millis(50));
        }
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "with {limit} descriptors it died");
    }
}
