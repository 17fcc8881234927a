//! The reader against a WebSocket server on loopback.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket, accept};

use super::*;
use crate::engine::{Event, Source};
use crate::inbox::{Incoming, Outlet, inbox};
use crate::tenant::stand_in::{Authority, PATIENCE, StandIn, answer, net, net_trusting};
use crate::tenant::{Kind as UrlKind, Secret};

pub(super) const QUICK: Timings = Timings {
    connect: Duration::from_secs(5),
    ping: Duration::from_secs(5),
    silence: Duration::from_secs(8),
    first_wait: Duration::from_millis(40),
    longest_wait: Duration::from_millis(80),
    longest_wait_mid_walk: Duration::from_millis(80),
    stable: Duration::from_secs(60),
    longest_hold: Duration::from_secs(300),
    closing: Duration::from_secs(1),
};

/// How long an answer may take that takes a millisecond on a machine with nothing else to do.
const AT_ONCE: Duration = Duration::from_millis(250);

type Server = WebSocket<TcpStream>;

/// A reader on a thread of its own, the listener that it connects to, and its inbox.
pub(super) struct Rig {
    listener: TcpListener,
    outlet: Outlet,
    stop: Stop,
    status: Arc<Status>,
    pub(super) counts: Arc<ReaderCounts>,
    pub(super) tokens_asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn new(timings: Timings) -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/voice", listener.local_addr().unwrap());
        Rig::with(timings, listener, &url, net())
    }

    pub(super) fn with(timings: Timings, listener: TcpListener, url: &str, net: Net) -> Rig {
        let tokens_asked = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&tokens_asked);
        let oauth = StandIn::new(move |_| {
            let n = asked.fetch_add(1, Ordering::SeqCst);
            answer(200, &format!(r#"{{"access_token":"token-{n}","expires_in":3600}}"#))
        });
        let status = Arc::new(Status::default());
        let secret = Secret::new("s".to_owned());
        let tokens = Tokens::new(&net, oauth.url.clone(), "id".to_owned(), secret, Arc::clone(&status), 1);
        let (inbox, outlet) = inbox();
        let stop = Stop::new();
        let url = Url::parse(url, UrlKind::WebSocket).unwrap();
        let reader =
            Reader::new(url, net, tokens, inbox, Arc::clone(&status), stop.clone(), 7).with_timings(timings);
        let counts = reader.counts();
        let thread = Some(thread::spawn(move || reader.run()));
        Rig { listener, outlet, stop, status, counts, tokens_asked, thread }
    }

    pub(super) fn accept_tcp(&self) -> TcpStream {
        self.listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((tcp, _)) => {
                    tcp.set_nonblocking(false).unwrap();
                    tcp.set_nodelay(true).unwrap();
                    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
                    return tcp;
                }
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("nobody connected: {error}"),
            }
        }
    }

    fn accept(&self) -> Server {
        accept(self.accept_tcp()).unwrap()
    }

    /// Returns the next batch: when it was read, and its calls with their digits.
    fn batch(&self) -> (Instant, Vec<String>) {
        let incoming = self.outlet.incoming.recv_timeout(PATIENCE).expect("a batch");
        let Incoming::Batch(batch) = incoming else { panic!("{incoming:?}") };
        let events = batch.events(Source::Voice).map(|event| {
            let Event::KeyPressed { call, key, .. } = event else { panic!("{event:?}") };
            format!("{call}{key}")
        });
        (batch.read_at().expect("a stamp"), events.collect())
    }

    /// Sends a digit and waits for it: the connection works.
    pub(super) fn works<S: io::Read + Write>(&self, server: &mut WebSocket<S>) {
        server.send(digit("c", '1')).unwrap();
        assert_eq!(vec!["c1".to_owned()], self.batch().1);
    }

    fn websocket_line(&self) -> String {
        self.status
            .lines(Instant::now())
            .into_iter()
            .map(|(_, line)| line)
            .find(|line| line.starts_with("websocket"))
            .unwrap()
    }

    /// Waits until the status says so.
    pub(super) fn await_status(&self, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.websocket_line().contains(expected) {
            assert!(Instant::now() < deadline, "{:?} does not become {expected:?}", self.websocket_line());
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn await_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let thread = self.thread.take().expect("awaited once");
        while !thread.is_finished() {
            assert!(Instant::now() < deadline, "the reader does not end");
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().unwrap();
    }

    /// Stops the reader, which must take next to no time.
    fn stops_at_once(&mut self) {
        let began = Instant::now();
        self.stop.stop();
        self.await_end();
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.stop();
        if !thread::panicking() && self.thread.is_some() {
            self.await_end();
        }
    }
}

fn digit(call: &str, key: char) -> Message {
    Message::text(format!(r#"{{"type":"dtmf","digit":"{key}","callId":"{call}"}}"#))
}

/// Closes it as a server should, TCP last.
pub(super) fn close<S: io::Read + Write>(mut server: WebSocket<S>, code: u16, reason: &'static str) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    server.close(Some(frame)).unwrap();
    while server.read().is_ok() {}
}

/// Frames as a server sends them, in one piece.
pub(super) fn frames(messages: &[Message]) -> Vec<u8> {
    let mut socket = WebSocket::from_raw_socket(io::Cursor::new(Vec::new()), Role::Server, None);
    for message in messages {
        socket.write(message.clone()).unwrap();
    }
    socket.flush().unwrap();
    socket.into_inner().into_inner()
}

/// Returns the close code that the reader parts with.
pub(super) fn parting_code<S: io::Read + Write>(server: &mut WebSocket<S>) -> Option<u16> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no close frame, but pings");
        match server.read() {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
            Ok(_) => (),
            Err(error) => panic!("no close frame: {error}"),
        }
    }
}

#[test]
fn what_one_read_returned_comes_as_one_batch() {
    let rig = Rig::new(QUICK);
    let mut server = rig.accept();
    let messages = [
        digit("a", '1'),
        Message::binary(&br##"{"type":"dtmf","digit":"#","callId":"b"}"##[..]),
        Message::text("{}"),
        Message::text(r#"{"type":"heartbeat"}"#),
        digit("..", '1'),
        digit("a", 'x'),
        digit("a", '2'),
    ];
    for _ in 0..3 {
        let sent_at = Instant::now();
        server.get_mut().write_all(&frames(&messages)).unwrap();
        let (read_at, events) = rig.batch();
        assert_eq!(vec!["a1", "b#", "a2"], events);
        assert!(read_at >= sent_at && read_at <= Instant::now());
    }
    rig.works(&mut server);
    let counts = Kind::ALL.map(|kind| rig.counts.messages(kind));
    assert_eq!([10, 0, 0, 3, 3, 3, 3], counts, "{:?}", Kind::ALL);
    assert_eq!("websocket: up", rig.websocket_line());
}

#[test]
fn a_message_in_pieces_comes_with_the_read_of_its_last() {
    let rig = Rig::new(QUICK);
    let mut server = rig.accept();
    let bytes = frames(&[digit("a", '1'), digit("b", '2')]);
    let (first, second) = bytes.split_at(bytes.len() - 5);
    server.get_mut().write_all(first).unwrap();
    let (first_at, events) = rig.batch();
    assert_eq!(vec!["a1"], events);
    thread::sleep(Duration::from_millis(20));
    server.get_mut().write_all(second).unwrap();
    let (second_at, events) = rig.batch();
    assert_eq!(vec!["b2"], events);
    assert!(second_at - first_at >= Duration::from_millis(20));
}

#[test]
fn comes_back_after_every_close_code() {
    let rig = Rig::new(QUICK);
    for (code, expected) in [
        (1000, "the tenant closed it with 1000: bye\\u{1b}"),
        (1001, "1001"),
        (1008, "1008"),
        (1011, "1011"),
        (4401, "4401"),
    ] {
        let mut server = rig.accept();
        rig.works(&mut server);
        close(server, code, "bye\u{1b}");
        rig.await_status(expected);
    }
    let mut server = rig.accept();
    rig.works(&mut server);
    assert_eq!((6, 5), (rig.counts.connections(), rig.counts.drops()));
    assert_eq!(1, rig.tokens_asked.load(Ordering::SeqCst), "the token was never at fault");
}

#[test]
fn a_close_reason_shows_neither_the_token_nor_digits() {
    let rig = Rig::new(QUICK);
    close(rig.accept(), 1008, "token-0 sent 4711");
    rig.await_status("the tenant closed it with 1008: … sent [digits]");
}

#[test]
fn a_close_code_that_may_not_be_sent_is_no_1002_of_the_tenant_s() {
    let rig = Rig::new(QUICK);
    for code in [999_u16, 1005, 1006, 1015, 2999, 65535] {
        let mut server = rig.accept();
        rig.works(&mut server);
        let [high, low] = code.to_be_bytes();
        server.get_mut().write_all(&[0x88, 2, high, low]).unwrap();
        assert_eq!(Some(1002), parting_code(&mut server), "{code}");
        drop(server);
        rig.await_status("the tenant broke the protocol with a bad close frame");
    }
}

#[test]
fn comes_back_after_an_end_without_a_word() {
    let rig = Rig::new(QUICK);
    for expected in ["cut it without a close frame", "it broke: "] {
        let mut server = rig.accept();
        rig.works(&mut server);
        if expected == "it broke: " {
            // The reader answers this ping, and a socket that is closed with something unread, here
            // the pong, resets its connection.
            server.get_mut().write_all(&frames(&[Message::Ping("?".into())])).unwrap();
            assert_eq!(1, server.get_ref().peek(&mut [0]).unwrap());
        }
        drop(server);
        rig.await_status(expected);
    }
    rig.works(&mut rig.accept());
}

#[test]
fn tells_the_tenant_what_was_wrong_and_comes_back() {
    let rig = Rig::new(QUICK);
    let unmasked_but_reserved = [0xf1, 0];
    for (bytes, code, expected) in [
        (frames(&[digit("c", '1'), Message::text("x".repeat(64 * 1024 + 1))]), 1009, "over 64 KiB"),
        (vec![0x81, 2, 0xff, 0xfe], 1007, "no UTF-8"),
        (unmasked_but_reserved.to_vec(), 1002, "broke the protocol"),
        (vec![0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1009, "over 64 KiB"),
    ] {
        let mut server = rig.accept();
        rig.works(&mut server);
        server.get_mut().write_all(&bytes).unwrap();
        assert_eq!(Some(code), parting_code(&mut server));
        drop(server);
        rig.await_status(expected);
        if bytes.len() > 100 {
            assert_eq!(vec!["c1"], rig.batch().1, "what came before is not lost");
        }
    }
    let mut server = rig.accept();
    server.send(Message::text("x".repeat(64 * 1024))).unwrap();
    rig.works(&mut server);
}

#[test]
fn a_refused_token_is_dropped_before_the_next_try() {
    let rig = Rig::new(QUICK);
    for (n, status) in [(0, "401 Unauthorized"), (1, "403 Forbidden"), (2, "503 Busy\r\nRetry-After: 0")] {
        let mut tcp = rig.accept_tcp();
        let mut request = vec![0; 4096];
        let length = tcp.read(&mut request).unwrap();
        let request = String::from_utf8_lossy(&request[..length]);
        assert!(request.contains(&format!("Bearer token-{n}\r\n")), "{request}");
        write!(tcp, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno").unwrap();
        rig.await_status(&format!("answered {}", &status[..3]));
    }
    let mut server = rig.accept();
    rig.works(&mut server);
    assert_eq!(3, rig.tokens_asked.load(Ordering::SeqCst));
    assert_eq!((1, 0, 3), (rig.counts.connections(), rig.counts.drops(), rig.counts.failures()));
}

#[test]
fn pings_are_answered_and_silence_is_an_end() {
    let rig =
        Rig::new(Timings { ping: Duration::from_millis(100), silence: Duration::from_millis(600), ..QUICK });
    let mut server = rig.accept();
    server.send(Message::Ping("are you there".into())).unwrap();
    let (mut pongs, mut pings, began) = (0, 0, Instant::now());
    // The server answers pings by itself, so the connection lives on beyond the silence.
    while began.elapsed() < Duration::from_millis(900) {
        let message = server.read().unwrap();
        if let Message::Pong(payload) = &message {
            assert_eq!("are you there", payload);
            pongs += 1;
        } else {
            assert!(message.is_ping(), "{message}");
            pings += 1;
        }
    }
    assert_eq!(1, pongs);
    assert!((3..=10).contains(&pings), "{pings} pings");
    // From here it reads no more, and so answers none.
    rig.await_status("nothing came for 0.6 s");
    rig.works(&mut rig.accept());
}

#[test]
fn a_peer_that_pings_and_never_reads_is_dead() {
    let rig = Rig::new(Timings { silence: Duration::from_millis(500), ..QUICK });
    let mut server = rig.accept();
    let pings = frames(&vec![Message::Ping("x".repeat(125).into()); 500]);
    let flood = thread::spawn(move || while server.get_mut().write_all(&pings).is_ok() {});
    rig.await_status("the tenant read nothing for 0.5 s");
    flood.join().unwrap();
    rig.works(&mut rig.accept());
}

#[test]
fn bytes_that_make_no_message_don_t_keep_our_pings_back() {
    let rig = Rig::new(Timings { ping: Duration::from_millis(60), ..QUICK });
    let mut server = rig.accept();
    let mut feeder = server.get_ref().try_clone().unwrap();
    let trickle = thread::spawn(move || {
        feeder.write_all(&[0x81, 126, 1, 0]).unwrap();
        for _ in 0..256 {
            thread::sleep(Duration::from_millis(3));
            if feeder.write_all(b" ").is_err() {
                return;
            }
        }
    });
    // Three masked pings. The server answers none: its pongs would fall amid the message.
    let mut pings = [0; 18];
    server.get_mut().read_exact(&mut pings).unwrap();
    assert_eq!([0x89, 0x80], pings[12..14]);
    assert!(!trickle.is_finished());
    trickle.join().unwrap();
    rig.works(&mut server);
}

#[test]
fn a_stop_wakes_a_blocked_read_and_says_goodbye() {
    let mut rig = Rig::new(QUICK);
    let mut server = rig.accept();
    rig.works(&mut server);
    rig.stops_at_once();
    assert_eq!(Some(u16::from(CloseCode::Away)), parting_code(&mut server));
    assert_eq!(0, rig.counts.drops());
}

#[test]
fn a_stop_ends_a_read_that_is_never_empty() {
    let mut rig = Rig::new(QUICK);
    let mut server = rig.accept();
    rig.works(&mut server);
    let outlet = std::mem::replace(&mut rig.outlet, inbox().1);
    let calls = thread::spawn(move || outlet.incoming.iter().count());
    let bytes = frames(&vec![digit("a", '1'); 100]);
    let flood = thread::spawn(move || while server.get_mut().write_all(&bytes).is_ok() {});
    thread::sleep(Duration::from_millis(50));
    rig.stops_at_once();
    flood.join().unwrap();
    assert!(calls.join().unwrap() > 0);
}

#[test]
fn a_stop_wakes_a_wait_and_an_upgrade() {
    let mut rig = Rig::new(Timings {
        first_wait: Duration::from_secs(60),
        longest_wait: Duration::from_secs(60),
        ..QUICK
    });
    close(rig.accept(), 1000, "");
    rig.await_status("1000");
    rig.stops_at_once();

    let mut rig = Rig::new(QUICK);
    let _silent = rig.accept_tcp();
    thread::sleep(Duration::from_millis(20));
    rig.stops_at_once();
}

#[test]
fn ends_with_the_inbox() {
    let mut rig = Rig::new(QUICK);
    let mut server = rig.accept();
    rig.works(&mut server);
    drop(std::mem::replace(&mut rig.outlet, inbox().1));
    server.send(digit("a", '1')).unwrap();
    rig.await_end();
}

#[test]
fn works_over_tls() {
    let authority = Authority::new("ca");
    let acceptor = authority.certify("127.0.0.1").acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}/voice", listener.local_addr().unwrap());
    let mut rig = Rig::with(QUICK, listener, &url, net_trusting(&authority));
    for expected in ["1011", "cut it without a close frame"] {
        let mut server = accept(acceptor.accept(rig.accept_tcp()).unwrap()).unwrap();
        server.send(digit("c", '5')).unwrap();
        assert_eq!(vec!["c5".to_owned()], rig.batch().1);
        if expected == "1011" {
            server.close(Some(CloseFrame { code: CloseCode::Error, reason: "".into() })).unwrap();
            while server.read().is_ok() {}
        }
        drop(server);
        rig.await_status(expected);
    }
    let mut server = accept(acceptor.accept(rig.accept_tcp()).unwrap()).unwrap();
    server.send(digit("c", '6')).unwrap();
    assert_eq!(vec!["c6".to_owned()], rig.batch().1);
    rig.stops_at_once();
    assert_eq!(Some(1001), parting_code(&mut server));
}
