//! A thousand ends of the connection, of every kind, over TLS: the reader comes back each time.

use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::Ordering;

use openssl::ssl::{SslAcceptor, SslStream};
use tungstenite::{Message, WebSocket, accept};

use super::tests::{QUICK, Rig, close, frames, parting_code};
use super::*;
use crate::tenant::stand_in::{Authority, PATIENCE, net_trusting};

const DROPS: usize = 1_000;

/// How often each kind of silence ends a connection. Each time takes as long as the reader bears it, which is
/// long enough for a busy machine to do in time what the test does.
const SILENCES: usize = 3;

type Server = WebSocket<SslStream<TcpStream>>;

/// What the server does to a connection.
#[derive(Clone, Copy)]
enum Act {
    /// Amid the TLS handshake, of which it has seen that it begins.
    Handshake(fn(TcpStream)),
    /// A handshake with another authority's certificate.
    Stranger,
    /// Says this instead of agreeing to the WebSocket, and closes.
    Answer(&'static str),
    /// To an open WebSocket.
    Open(fn(Server)),
    /// Closes the WebSocket with this code and a frame of its own.
    Close(u16),
    /// Sends these bytes, which the reader parts over with this code.
    Offend(u16, &'static [u8]),
}
use Act::{Answer, Close, Handshake, Offend, Open, Stranger};

/// Every kind of end, and what the status says of it.
const WAYS: [(Act, &str); 42] = [
    (Handshake(finish), "TLS with 127.0.0.1: "),
    (Handshake(drop), "TLS with 127.0.0.1: "), // Its hello is unread, so this resets it.
    (Handshake(|mut tcp| tcp.write_all(&[22, 3, 3, 0, 90, 2]).unwrap()), "TLS with 127.0.0.1: "),
    (Handshake(|mut tcp| tcp.write_all(b"HTTP/1.1 400 No\r\n\r\n").unwrap()), "TLS with 127.0.0.1: "),
    (Stranger, "its certificate is refused"),
    (Answer(""), "the tenant closed it"),
    (Answer("HTTP/1.1 101 Switching Proto"), "the tenant closed it"),
    (Answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"), "not what it must be"),
    (Answer("SSH-2.0-OpenSSH_9.2\r\n"), "not what it must be"),
    (Answer("HTTP/1.1 401 No\r\n\r\n"), "answered 401"),
    (Answer("HTTP/1.1 403 No\r\nRetry-After: 9\r\n\r\n"), "answered 403"),
    (Answer("HTTP/1.1 429 No\r\nRetry-After: 9\r\n\r\n"), "answered 429"),
    (Answer("HTTP/1.1 503 No\r\nRetry-After: 9\r\nContent-Length: 99\r\n\r\nbusy"), "answered 503: busy"),
    (Answer("HTTP/1.1 503 No\r\n\r\n"), "answered 503"),
    (Answer("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nzz"), "answered 500"),
    (Answer("HTTP/1.1 302 No\r\nLocation: https://a.example/\r\n\r\n"), "a redirect to a.example"),
    (Answer("HTTP/1.1 200 OK\r\n\r\n<html>"), "answered 200: <html>"),
    (Open(reset), "it broke"),
    (Open(|mut server| finish_tcp(server.get_mut().get_mut())), "cut it without a close frame"),
    (Open(|mut server| drop(server.get_mut().shutdown())), "cut it without a close frame"),
    (
        Open(|mut server| server.get_mut().write_all(&[0x81, 99, b'{']).unwrap()),
        "cut it without a close frame",
    ),
    (Open(|mut server| server.get_mut().get_mut().write_all(b"no TLS record").unwrap()), "it broke"),
    (Close(1000), "closed it with 1000"),
    (Close(1001), "closed it with 1001"),
    (Close(1008), "closed it with 1008"),
    (Close(1011), "closed it with 1011"),
    (Close(1012), "closed it with 1012"),
    (Close(1013), "closed it with 1013"),
    (Close(4429), "closed it with 4429"),
    (Offend(1002, &[0x88, 2, 0x03, 0xee]), "a bad close frame"), // 1006, which may not be sent.
    (Offend(1002, &[0x88, 1, 0x03]), "broke the protocol"),
    (Offend(1002, &[0xf1, 0]), "broke the protocol"), // Reserved bits.
    (Offend(1002, &[0x83, 0]), "broke the protocol"), // An opcode that there isn't.
    (Offend(1002, &[0x80, 0]), "broke the protocol"), // The end of nothing.
    (Offend(1002, &[0x01, 0, 0x81, 0]), "broke the protocol"), // A message within one.
    (Offend(1002, &[0x09, 0]), "broke the protocol"), // A ping in pieces.
    (Offend(1002, &LONG_PING), "broke the protocol"), // A ping that is too long.
    (Offend(1002, &[0x81, 0x80, 1, 2, 3, 4]), "broke the protocol"), // A mask.
    (Offend(1007, &[0x81, 2, 0xff, 0xfe]), "no UTF-8"),
    (Offend(1007, &[0x01, 1, 0xc3, 0x80, 0]), "no UTF-8"),
    (Offend(1009, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 1]), "over 64 KiB"),
    (Offend(1009, &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), "over 64 KiB"),
];

/// A ping of 126 bytes, one more than there may be.
const LONG_PING: [u8; 130] = {
    let mut frame = [b'x'; 130];
    (frame[0], frame[1], frame[2], frame[3]) = (0x89, 126, 0, 126);
    frame
};

/// Ends our side and lets the reader end its own: FIN both ways, no reset.
fn finish_tcp(tcp: &mut TcpStream) {
    tcp.shutdown(Shutdown::Write).unwrap();
    let _ = io::copy(tcp, &mut io::sink());
}

fn finish(mut tcp: TcpStream) {
    finish_tcp(&mut tcp);
}

/// Closes with the reader's pong unread, which resets the connection.
fn reset(mut server: Server) {
    server.get_mut().write_all(&frames(&[Message::Ping("?".into())])).unwrap();
    assert_eq!(1, server.get_ref().get_ref().peek(&mut [0]).unwrap());
}

/// Reads the request for a WebSocket.
fn read_request(stream: &mut SslStream<TcpStream>) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        request.push(byte[0]);
    }
    String::from_utf8(request).expect("text")
}

/// A reader and the server that ends its connections.
struct Tenant {
    rig: Rig,
    acceptor: SslAcceptor,
    stranger: SslAcceptor,
}

impl Tenant {
    fn new(timings: Timings) -> Tenant {
        let authority = Authority::new("ca");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("wss://{}/voice", listener.local_addr().unwrap());
        let rig = Rig::with(timings, listener, &url, net_trusting(&authority));
        let stranger = Authority::new("another").certify("127.0.0.1").acceptor();
        Tenant { rig, acceptor: authority.certify("127.0.0.1").acceptor(), stranger }
    }

    fn accept_tls(&self) -> SslStream<TcpStream> {
        self.acceptor.accept(self.rig.accept_tcp()).expect("TLS")
    }

    fn accept(&self) -> Server {
        accept(self.accept_tls()).expect("a WebSocket")
    }

    /// Ends the reader's next connection so.
    fn end(&self, act: Act, carries_a_digit: bool) {
        match act {
            Handshake(end) => {
                let tcp = self.rig.accept_tcp();
                assert_eq!(1, tcp.peek(&mut [0]).expect("a hello"));
                end(tcp);
            }
            Stranger => {
                let refused = self.stranger.accept(self.rig.accept_tcp());
                refused.expect_err("the reader trusts no stranger");
            }
            Answer(text) => {
                let mut stream = self.accept_tls();
                assert!(read_request(&mut stream).contains("Upgrade: websocket"));
                stream.write_all(text.as_bytes()).unwrap();
            }
            Open(end) => end(self.carry(carries_a_digit)),
            Close(code) => close(self.carry(carries_a_digit), code, ""),
            Offend(code, bytes) => {
                let mut server = self.carry(carries_a_digit);
                server.get_mut().write_all(bytes).unwrap();
                assert_eq!(Some(code), parting_code(&mut server), "{bytes:?}");
            }
        }
    }

    /// Accepts a WebSocket, over which a digit goes or none.
    fn carry(&self, a_digit: bool) -> Server {
        let mut server = self.accept();
        if a_digit {
            self.rig.works(&mut server);
        }
        server
    }

    /// Returns how many connections have ended or could not be opened.
    fn ends(&self) -> u64 {
        self.rig.counts.drops() + self.rig.counts.failures()
    }

    fn await_ends(&self, expected: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.ends() < expected {
            assert!(Instant::now() < deadline, "{} ends, not {expected}", self.ends());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn comes_back_after_a_thousand_ends_of_every_kind() {
    // The waits are what policy.rs decides, and are tested there: here they are as good as none.
    let soon = Duration::from_millis(2);
    let tenant = Tenant::new(Timings {
        first_wait: soon,
        longest_wait: soon,
        longest_wait_mid_walk: soon,
        longest_hold: soon,
        ..QUICK
    });
    let mut random = Random::new(1);
    let (mut opened, mut refused_tokens) = (0, 0);
    let mut order: Vec<usize> = Vec::new();
    for n in 0..DROPS {
        // Each kind once a round, in an order that another round doesn't have.
        if order.is_empty() {
            order = (0..WAYS.len()).collect();
            order.sort_by_cached_key(|_| random.number());
        }
        let (act, expected) = WAYS[order.pop().expect("it was filled")];
        tenant.end(act, random.number().is_multiple_of(2));
        tenant.await_ends(n as u64 + 1);
        tenant.rig.await_status(expected);
        opened += u64::from(matches!(act, Open(_) | Close(_) | Offend(..)));
        refused_tokens +=
            usize::from(matches!(act, Answer(text) if text.contains(" 401 ") || text.contains(" 403 ")));
    }
    let mut last =
        accept(tenant.acceptor.accept(tenant.rig.accept_tcp()).expect("TLS")).expect("a WebSocket");
    tenant.rig.works(&mut last);
    let counts = &tenant.rig.counts;
    assert_eq!((opened + 1, opened), (counts.connections(), counts.drops()), "each was opened once");
    assert_eq!(DROPS as u64 - opened, counts.failures(), "and each other tried once");
    assert_eq!(1 + refused_tokens, tenant.rig.tokens_asked.load(Ordering::SeqCst));
}

#[test]
fn comes_back_after_every_kind_of_silence() {
    let soon = Duration::from_millis(2);
    let tenant = Tenant::new(Timings {
        connect: Duration::from_secs(1),
        ping: Duration::from_millis(150),
        silence: Duration::from_millis(400),
        first_wait: soon,
        longest_wait: soon,
        longest_wait_mid_walk: soon,
        ..QUICK
    });
    for _ in 0..SILENCES {
        let silent = tenant.rig.accept_tcp();
        tenant.rig.await_status("TLS with 127.0.0.1: no answer in time");
        drop(silent);
        let silent = tenant.accept_tls();
        tenant.rig.await_status("waiting for the answer to the WebSocket upgrade");
        drop(silent);
        let silent = tenant.accept();
        tenant.rig.await_status("nothing came for 0.4 s");
        drop(silent);
    }
    let mut last = tenant.accept();
    tenant.rig.works(&mut last);
    let n = SILENCES as u64;
    assert_eq!((n, 2 * n), (tenant.rig.counts.drops(), tenant.rig.counts.failures()));
}
