//! One client's connection: a request read, asked of tiny_http, its answer given back, and gone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::listen::Stream;
use super::problem::Problem;
use super::request::{Arriving, Progress};
use crate::platform::{PollFd, Ready};

/// How many bytes an answer may have.
pub(super) const ANSWER_MAX: usize = 1024 * 1024;

/// How much is thrown away of what a client goes on sending after its answer.
const DRAINED_MAX: usize = 1024 * 1024;

/// How much is read at once.
pub(super) const READ_MAX: usize = 16 * 1024;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timings {
    /// For a whole request to arrive.
    pub(super) request: Duration,
    /// From then until tiny_http has answered.
    pub(super) answer: Duration,
    /// For the client to take its answer.
    pub(super) taking: Duration,
    /// For the client to close: closing first could cut off an answer that it hasn't read.
    pub(super) linger: Duration,
    /// When stopping, for the answers that are under way.
    pub(super) grace: Duration,
    /// Between attempts to accept where that has failed.
    pub(super) pause: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            request: Duration::from_secs(3),
            answer: Duration::from_secs(30),
            taking: Duration::from_secs(10),
            linger: Duration::from_millis(250),
            grace: Duration::from_secs(1),
            pause: Duration::from_millis(100),
        }
    }
}

/// A client's connection. Every state has its deadline, so that none lasts for ever.
#[derive(Debug)]
pub(super) struct Conn {
    stream: Stream,
    peer: String,
    /// An answer to it has no body.
    head_only: bool,
    /// The client has gone while tiny_http had its request: the place is held until that is through with it,
    /// or clients who ask and go could pile up requests there without end.
    deserted: bool,
    /// When the state is over.
    until: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The request is arriving; past the deadline it gets a 408.
    Arriving(Arriving),
    /// The request waits for its turn; past the deadline it gets a 504.
    Queued(Vec<u8>),
    /// tiny_http has the request, or is getting it; past the deadline it gets a 504.
    Asking { upstream: UnixStream, unsent: Vec<u8>, answer: Vec<u8> },
    /// The client is taking its answer.
    Answering { answer: Vec<u8>, n_sent: usize },
    /// All is said; the client may close.
    Lingering { n_drained: usize },
    /// Nothing is left to do.
    Gone,
}

impl Conn {
    pub(super) fn new(stream: Stream, peer: String, now: Instant, timings: &Timings) -> Conn {
        let state = State::Arriving(Arriving::default());
        Conn { stream, peer, head_only: false, deserted: false, until: now + timings.request, state }
    }

    /// Returns the deadline of what it waits for.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued(_))
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. })
    }

    /// Returns whether it is part-way through sending a request.
    pub(super) fn is_incomplete(&self) -> bool {
        matches!(self.state, State::Arriving(_))
    }

    /// Returns whether it only waits for the client to close.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.state, State::Lingering { .. })
    }

    /// Returns whether its answer waits for the client to take it.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.state, State::Answering { .. })
    }

    /// Returns how many bytes of memory the request takes, and how many the answer.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        match &self.state {
            State::Arriving(arriving) => (arriving.held(), 0),
            State::Queued(request) => (request.capacity(), 0),
            State::Asking { unsent, answer, .. } => (unsent.capacity(), answer.capacity()),
            State::Answering { answer, .. } => (0, answer.capacity()),
            State::Lingering { .. } | State::Gone => (0, 0),
        }
    }

    /// Returns what to wait for at the client's socket, unless it has gone: that would be told for ever.
    pub(super) fn client_fd(&self) -> Option<PollFd<'_>> {
        let read = matches!(self.state, State::Arriving(_) | State::Lingering { .. });
        let write = matches!(self.state, State::Answering { .. });
        (!self.deserted).then(|| PollFd::new(self.stream.as_fd(), read, write))
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.deserted
    }

    /// Returns what to wait for at tiny_http's end, if there is one.
    pub(super) fn upstream_fd(&self) -> Option<PollFd<'_>> {
        let State::Asking { upstream, unsent, .. } = &self.state else { return None };
        Some(PollFd::new(upstream.as_fd(), true, !unsent.is_empty()))
    }

    /// Goes on with the client, whose socket is `ready`.
    pub(super) fn on_client(&mut self, ready: Ready, scratch: &mut [u8], now: Instant, timings: &Timings) {
        if !(ready.read || ready.write || ready.gone) {
            return;
        }
        match &mut self.state {
            State::Arriving(_) => self.read_request(scratch, now, timings),
            State::Answering { .. } => self.write_answer(now, timings),
            State::Lingering { n_drained } => match self.stream.read(scratch) {
                Ok(n) if n > 0 && *n_drained + n <= DRAINED_MAX => *n_drained += n,
                Err(error) if is_passing(&error) => (),
                Ok(_) | Err(_) => self.leave(),
            },
            // It has closed in both directions: nobody is left to answer.
            State::Queued(_) if ready.gone => self.leave(),
            State::Asking { .. } if ready.gone => self.deserted = true,
            State::Queued(_) | State::Asking { .. } | State::Gone => (),
        }
    }

    /// Reads what there is of the request.
    pub(super) fn read_request(&mut self, scratch: &mut [u8], now: Instant, timings: &Timings) {
        let State::Arriving(arriving) = &mut self.state else { return };
        let room = arriving.room().min(scratch.len());
        let progress = match self.stream.read(&mut scratch[..room]) {
            Ok(0) if arriving.is_empty() => return self.leave(),
            Ok(0) => Err(Problem::new(400, "incomplete_request", "the request ended before it was whole")),
            Ok(n) => {
                let progress = arriving.take(&scratch[..n], &self.peer);
                self.head_only |= arriving.is_head_request();
                progress
            }
            Err(error) if is_passing(&error) => return,
            Err(_) => return self.leave(),
        };
        match progress {
            Ok(Progress::More) => (),
            Ok(Progress::Continue) => {
                // Nothing was sent before on this connection: there is room for these few bytes.
                let line = b"HTTP/1.1 100 Continue\r\n\r\n";
                if self.stream.write(line).ok() != Some(line.len()) {
                    self.leave();
                }
            }
            Ok(Progress::Whole(request)) => {
                self.head_only = request.starts_with(b"HEAD ");
                self.enter(State::Queued(request), now + timings.answer);
            }
            Err(problem) => self.refuse(&problem, now, timings),
        }
    }

    /// Sends the queued request to tiny_http, at the other end of `upstream`, under the deadline that it has.
    pub(super) fn ask(&mut self, upstream: UnixStream, scratch: &mut [u8], now: Instant, timings: &Timings) {
        if let State::Queued(request) = &mut self.state {
            let unsent = std::mem::take(request);
            self.state = State::Asking { upstream, unsent, answer: Vec::new() };
            self.on_upstream(Ready { write: true, ..Ready::default() }, scratch, now, timings);
        }
    }

    /// Goes on with tiny_http, whose socket is `ready`.
    pub(super) fn on_upstream(&mut self, ready: Ready, scratch: &mut [u8], now: Instant, timings: &Timings) {
        let State::Asking { upstream, unsent, answer } = &mut self.state else { return };
        if ready.write && !unsent.is_empty() {
            match upstream.write(unsent) {
                Ok(n) if n == unsent.len() => *unsent = Vec::new(),
                Ok(n) => drop(unsent.drain(..n)),
                Err(error) if is_passing(&error) => (),
                Err(_) => return self.refuse(&no_answer(), now, timings),
            }
        }
        if ready.read || ready.gone {
            match upstream.read(scratch) {
                Ok(0) => match finish(answer) {
                    Some(answer) => self.answer(answer, now, timings),
                    None => self.refuse(&no_answer(), now, timings),
                },
                Ok(n) if answer.len() + n <= ANSWER_MAX => answer.extend_from_slice(&scratch[..n]),
                Err(error) if is_passing(&error) => (),
                Ok(_) | Err(_) => self.refuse(&no_answer(), now, timings),
            }
        }
    }

    /// Does what is due when the deadline has passed.
    pub(super) fn expire(&mut self, now: Instant, timings: &Timings) {
        match self.state {
            State::Arriving(_) => {
                let detail = format!("a request has {:?} to arrive", timings.request);
                self.refuse(&Problem::new(408, "request_timeout", detail), now, timings);
            }
            State::Queued(_) | State::Asking { .. } => {
                let detail = format!("there was no answer within {:?}", timings.answer);
                self.refuse(&Problem::new(504, "answer_timeout", detail), now, timings);
            }
            State::Answering { .. } | State::Lingering { .. } | State::Gone => self.leave(),
        }
    }

    /// Answers with a problem of the gate's own.
    pub(super) fn refuse(&mut self, problem: &Problem, now: Instant, timings: &Timings) {
        self.answer(problem.to_http(self.head_only), now, timings);
    }

    /// Says that there is no room, as far as that goes without waiting, and closes. Who has had a part of
    /// an answer is told nothing: that would be taken for the rest of it.
    pub(super) fn evict(&mut self) {
        if self.is_incomplete() {
            let _ = self.stream.write(&busy().to_http(self.head_only));
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        self.leave();
    }

    fn answer(&mut self, answer: Vec<u8>, now: Instant, timings: &Timings) {
        if self.deserted {
            return self.leave();
        }
        self.enter(State::Answering { answer, n_sent: 0 }, now + timings.taking);
        self.write_answer(now, timings);
    }

    fn write_answer(&mut self, now: Instant, timings: &Timings) {
        let State::Answering { answer, n_sent } = &mut self.state else { return };
        match self.stream.write(&answer[*n_sent..]) {
            Ok(n) => *n_sent += n,
            Err(error) if is_passing(&error) => (),
            Err(_) => return self.leave(),
        }
        if *n_sent == answer.len() {
            match self.stream.shutdown(Shutdown::Write) {
                Ok(()) => self.enter(State::Lingering { n_drained: 0 }, now + timings.linger),
                Err(_) => self.leave(),
            }
        }
    }

    fn enter(&mut self, state: State, until: Instant) {
        self.state = state;
        self.until = until;
    }

    fn leave(&mut self) {
        self.state = State::Gone;
    }
}

/// What is said where there is no room for another connection.
pub(super) fn busy() -> Problem {
    Problem::new(503, "too_many_connections", "too many connections are open: try again")
        .with("Retry-After", "1")
}

fn no_answer() -> Problem {
    Problem::new(502, "no_answer", "the request got no answer inside dtmfd: its log may say why")
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Makes tiny_http's answer one that ends the connection, which tiny_http itself cannot say. `None` if it
/// is none.
fn finish(answer: &[u8]) -> Option<Vec<u8>> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let line = answer.windows(2).position(|two| two == b"\r\n")?;
    if head == line || !answer.starts_with(b"HTTP/1.1 ") {
        return None;
    }
    let close = b"\r\nConnection: close";
    let mut finished = Vec::with_capacity(answer.len() + close.len());
    finished.extend_from_slice(&answer[..line]);
    finished.extend_from_slice(close);
    finished.extend_from_slice(&answer[line..]);
    Some(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        conn: Conn,
        client: UnixStream,
        now: Instant,
    }

    const TIMINGS: Timings = Timings {
        request: Duration::from_secs(3),
        answer: Duration::from_secs(30),
        taking: Duration::from_secs(10),
        linger: Duration::from_secs(1),
        grace: Duration::ZERO,
        pause: Duration::ZERO,
    };

    fn pair() -> Pair {
        let (ours, client) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let now = Instant::now();
        Pair { conn: Conn::new(Stream::Unix(ours), "p".to_owned(), now, &TIMINGS), client, now }
    }

    impl Pair {
        fn send(&mut self, text: &str) {
            self.client.write_all(text.as_bytes()).unwrap();
            self.conn.read_request(&mut [0; READ_MAX], self.now, &TIMINGS);
        }

        fn after(&mut self, s: u64) {
            self.now += Duration::from_secs(s);
            if self.now >= self.conn.until() {
                self.conn.expire(self.now, &TIMINGS);
            }
        }

        fn received(&mut self) -> String {
            self.client.set_nonblocking(true).unwrap();
            let mut bytes = Vec::new();
            let _ = self.client.read_to_end(&mut bytes);
            self.client.set_nonblocking(false).unwrap();
            String::from_utf8(bytes).unwrap()
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn brings_a_request_to_the_other_side_and_the_answer_back() {
        let mut pair = pair();
        pair.send(GET);
        assert!(pair.conn.is_queued());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        pair.conn.ask(ours, &mut [0; READ_MAX], pair.now, &TIMINGS);
        let mut request = [0; 400];
        let n = theirs.read(&mut request).unwrap();
        assert!(request[..n].ends_with(b"Connection: close\r\n\r\n"));
        theirs.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody").unwrap();
        drop(theirs);
        let ready = Ready { read: true, ..Ready::default() };
        pair.conn.on_upstream(ready, &mut [0; READ_MAX], pair.now, &TIMINGS);
        assert!(pair.conn.is_asking(), "the end has not been seen");
        pair.conn.on_upstream(ready, &mut [0; READ_MAX], pair.now, &TIMINGS);
        assert_eq!("HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\nbody", pair.received());
        assert!(pair.conn.is_lingering());
        pair.after(1);
        assert!(pair.conn.is_gone());
    }

    #[test]
    fn every_state_ends() {
        let mut arriving = pair();
        arriving.send("GET");
        arriving.after(2);
        assert!(arriving.conn.is_incomplete());
        arriving.after(1);
        assert!(arriving.received().starts_with("HTTP/1.1 408 "));
        arriving.after(1);
        assert!(arriving.conn.is_gone());

        let mut queued = pair();
        queued.send(GET);
        queued.after(30);
        assert!(queued.received().starts_with("HTTP/1.1 504 "));

        let mut lost = pair();
        lost.send(GET);
        let (ours, theirs) = UnixStream::pair().unwrap();
        lost.conn.ask(ours, &mut [0; READ_MAX], lost.now, &TIMINGS);
        drop(theirs);
        lost.conn.on_upstream(
            Ready { gone: true, ..Ready::default() },
            &mut [0; READ_MAX],
            lost.now,
            &TIMINGS,
        );
        assert!(lost.received().starts_with("HTTP/1.1 502 "));

        let mut taking = pair();
        taking.conn.answer(vec![0; 900_000], taking.now, &TIMINGS);
        assert!(!taking.conn.is_lingering(), "the client reads nothing");
        taking.after(10);
        assert!(taking.conn.is_gone());
    }

    #[test]
    fn holds_its_place_while_tiny_http_has_the_request_of_a_client_that_has_gone() {
        let mut pair = pair();
        pair.send(GET);
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        pair.conn.ask(ours, &mut [0; READ_MAX], pair.now, &TIMINGS);
        let gone = Ready { gone: true, ..Ready::default() };
        pair.conn.on_client(gone, &mut [0; READ_MAX], pair.now, &TIMINGS);
        assert!(pair.conn.is_asking() && pair.conn.client_fd().is_none());
        drop(theirs);
        pair.conn.on_upstream(gone, &mut [0; READ_MAX], pair.now, &TIMINGS);
        assert!(pair.conn.is_gone());
    }

    #[test]
    fn answers_what_it_refuses_and_asks_for_a_body_that_is_held_back() {
        let mut refused = pair();
        refused.send("HEAD / HTTP/1.1\r\n\r\n");
        let text = refused.received();
        assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("\r\n\r\n"), "{text}");

        let mut half = pair();
        half.send("GET");
        half.client.shutdown(Shutdown::Write).unwrap();
        half.send("");
        assert!(half.received().contains("incomplete_request"));

        let mut held = pair();
        held.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!("HTTP/1.1 100 Continue\r\n\r\n", held.received());
        held.send("x");
        assert!(held.conn.is_queued());

        let mut empty = pair();
        empty.client.shutdown(Shutdown::Both).unwrap();
        empty.conn.read_request(&mut [0; READ_MAX], empty.now, &TIMINGS);
        assert!(empty.conn.is_gone());
    }
}
