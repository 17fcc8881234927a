//! Streams of random and of mutated bytes, into the gate and into single connections of it: nothing panics,
//! everything ends, nothing grows. A stream is decided by its number, which a failure names.
#![expect(clippy::print_stdout, reason = "how many streams there were is told to whoever runs this")]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::conn::{ANSWER_MAX, Conn, READ_MAX, Timings};
use super::hostile::run;
use super::listen::Stream;
use crate::engine::Random;
use crate::platform::Ready;

/// What is mutated, and what is put in.
const REQUESTS: [&str; 6] = [
    "GET /health HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
    "HEAD /readyz?verbose HTTP/1.0\r\n\r\n",
    "POST /simulator HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n{\"callId\":\"c1\",\"digit\":\"1\"}",
    "POST /simulator HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: [::1]:1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "DELETE http://u@h:1/x?y HTTP/1.1\r\nHost: a\r\nOrigin: null\r\nSec-Fetch-Site: none\r\nAuthorization: Bearer x\r\n\r\n",
];
const TOKENS: [&str; 14] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    ":",
    " ",
    "\r\n ",
    "\r\n\r\n",
    "Host: b\r\n",
    "Content-Length: 4096\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: Upgrade\r\nUpgrade: x\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn below(random: &mut Random, bound: usize) -> usize {
    random.up_to(bound.saturating_sub(1) as u64) as usize
}

/// Returns a stream: noise, or requests that have been changed in a few places.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if below(random, 10) == 0 {
        bytes.extend((0..below(random, 3000)).map(|_| random.number() as u8));
        return bytes;
    }
    for _ in 0..1 + below(random, 2) {
        bytes.extend_from_slice(REQUESTS[below(random, REQUESTS.len())].as_bytes());
    }
    for _ in 0..below(random, 5) {
        let at = below(random, bytes.len() + 1);
        let to = (at + below(random, 30)).min(bytes.len());
        match below(random, 6) {
            0 => drop(bytes.drain(at..to)),
            1 => bytes.insert(at, random.number() as u8),
            2 => drop(bytes.splice(at..at, TOKENS[below(random, TOKENS.len())].bytes())),
            3 => bytes.extend_from_within(at..to),
            4 => drop(bytes.splice(at..at, vec![b'x'; below(random, 9000)])),
            _ if at < bytes.len() => bytes[at] ^= 1 << below(random, 8),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Asserts that this is one canonical request, as tiny_http may see it.
fn check_request(bytes: &[u8], number: u64) {
    let mut lines = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut lines);
    let head = request.parse(bytes).unwrap();
    assert!(head.is_complete(), "stream {number}: {:?}", String::from_utf8_lossy(bytes));
    let lengths: Vec<_> = request.headers.iter().filter(|line| line.name == "Content-Length").collect();
    let length: usize = std::str::from_utf8(lengths[0].value).unwrap().parse().unwrap();
    assert_eq!((1, head.unwrap() + length), (lengths.len(), bytes.len()), "stream {number}: one request");
    assert!(request.headers.iter().all(|line| line.name != "Transfer-Encoding"), "stream {number}");
}

/// Asserts that this is no answer, or the beginning of just one, with nothing of a second.
fn check_answer(bytes: &[u8], number: u64) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 "), "stream {number}: {text}");
    let lines = text.split("HTTP/1.1 ").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    assert!(lines.count() <= 1, "stream {number}: {text}");
}

/// What there is to read without waiting.
fn available(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; READ_MAX];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..n]);
    }
    bytes
}

fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

/// What tiny_http could do at its worst.
const ANSWERS: [&[u8]; 6] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\0\xff nonsense",
    b"",
];

/// Plays a connection's life in virtual time, against a client and a tiny_http that do what they like. Returns
/// whether a request has come to tiny_http.
fn live(number: u64, timings: &Timings, scratch: &mut [u8]) -> bool {
    let random = &mut Random::new(number);
    let bytes = stream(random);
    let (ours, client) = pair();
    let begin = Instant::now();
    let mut now = begin;
    let mut conn = Conn::new(Stream::Unix(ours), "p".to_owned(), now, timings);
    let (mut client, mut upstream) = (Some(client), None::<UnixStream>);
    let (mut rest, mut received, mut asked) = (bytes.as_slice(), Vec::new(), Vec::new());
    // Every other step lets time pass, up to a second: all deadlines together are less than this.
    for step in 0.. {
        assert!(step < 1000, "stream {number} does not end: {conn:?}");
        if conn.is_gone() {
            break;
        }
        if let Some(stream) = &mut client {
            let (piece, after) = rest.split_at(below(random, 2000).min(rest.len()));
            match stream.write(piece) {
                Ok(_) => rest = after,
                Err(error) => assert!([ErrorKind::WouldBlock, ErrorKind::BrokenPipe].contains(&error.kind())),
            }
            if below(random, 3) > 0 {
                received.extend(available(stream)); // Else it reads nothing, for now.
            }
            match below(random, 40) {
                0 => drop(client.take()),
                1 => drop(stream.shutdown(Shutdown::Write)),
                _ => (),
            }
        }
        let gone = client.is_none();
        let ready = Ready { read: below(random, 4) > 0 || gone, write: below(random, 2) > 0, gone };
        conn.on_client(ready, scratch, now, timings);
        if conn.is_queued() && below(random, 3) > 0 {
            let (ours, theirs) = pair();
            upstream = Some(theirs);
            conn.ask(ours, scratch, now, timings);
        }
        if let Some(stream) = &mut upstream {
            asked.extend(available(stream));
            if below(random, 4) == 0 {
                let _ = stream.write(ANSWERS[below(random, ANSWERS.len())]);
                upstream = None;
            }
        }
        if conn.is_asking() {
            let ready =
                Ready { read: below(random, 2) > 0, write: below(random, 2) > 0, gone: upstream.is_none() };
            conn.on_upstream(ready, scratch, now, timings);
        }
        now += Duration::from_millis(if below(random, 2) > 0 { random.up_to(1000) } else { 0 });
        if conn.until() <= now {
            conn.expire(now, timings);
        }
        let (request, answer) = conn.held();
        assert!(
            request <= 16 * 1024 && answer <= ANSWER_MAX,
            "stream {number} holds {request} and {answer} bytes"
        );
    }
    let most = timings.request + timings.answer + timings.taking + timings.linger + Duration::from_secs(4);
    assert!(now - begin <= most, "stream {number} took {:?}", now - begin);
    if let Some(stream) = &mut client {
        received.extend(available(stream));
    }
    check_answer(&received, number);
    // It was read before the other side hung up, and so is whole.
    if !asked.is_empty() {
        check_request(&asked, number);
    }
    !asked.is_empty()
}

#[test]
fn no_stream_of_bytes_makes_a_connection_panic_stay_or_grow() {
    const STREAMS: u64 = 30_000;
    let timings = Timings::default();
    let mut scratch = vec![0; READ_MAX];
    let begin = Instant::now();
    let n_asked = (0..STREAMS).filter(|number| live(*number, &timings, &mut scratch)).count();
    println!("noise: {STREAMS} streams into connections in {:?}, {n_asked} held a request", begin.elapsed());
    assert!(n_asked > 1000, "so few are hardly requests: {n_asked}");
}

#[test]
fn no_stream_of_bytes_makes_the_gate_fail() {
    const STREAMS: u64 = 6000;
    const CLIENTS: u64 = 4; // At once: so that they meet one another, and all fit.
    let api = run(Timings::default());
    let begin = Instant::now();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let api = &api;
            scope.spawn(move || {
                for number in (client..STREAMS).step_by(CLIENTS as usize) {
                    let random = &mut Random::new(number);
                    let bytes = stream(random);
                    let mut stream = api.connect();
                    for piece in bytes.chunks(1 + below(random, 3000)) {
                        let _ = stream.write_all(piece); // It may have been refused by now.
                    }
                    if below(random, 20) == 0 {
                        continue; // It leaves without looking.
                    }
                    let _ = stream.shutdown(Shutdown::Write);
                    let mut answer = Vec::new();
                    if let Err(error) = stream.read_to_end(&mut answer) {
                        assert_ne!(ErrorKind::WouldBlock, error.kind(), "stream {number} does not end");
                    }
                    check_answer(&answer, number);
                }
            });
        }
    });
    println!("noise: {STREAMS} streams into the gate in {:?}", begin.elapsed());
    api.assert_well();
}
