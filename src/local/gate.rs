//! Thread `gate`: what stands in front of tiny_http, so that it meets neither raw bytes nor slow clients.
//!
//! tiny_http gives each connection a thread, reads heads and bodies without bounds or deadlines, aborts the
//! process on an absurd Content-Length and stops for good at the first failed accept. Here one thread
//! polls a bounded number of connections, and hands on whole requests, written anew, a few at a time.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, warn};

use super::conn::{Conn, READ_MAX, Timings, busy};
use super::lane::Lane;
use super::listen::Listener;
use crate::platform::{self, PollFd, Ready};

/// How many requests tiny_http has at once. Each costs it a thread, and three descriptors: ours and two of its own.
pub(super) const UPSTREAMS_MAX: usize = 8;

/// How many clients may be connected. One more is held while it is decided who goes, which makes 64
/// descriptors with those for tiny_http.
pub(super) const CLIENTS_MAX: usize = 64 - 3 * UPSTREAMS_MAX - 1;

/// How many connections are accepted before the others have their turn.
const ACCEPTS_MAX: usize = 16;

/// Who has to go for others, in this order: who has its answer and hasn't closed; who owes us the rest of a
/// request, which an honest client does for a moment, too; who doesn't take its answer. What is left will be
/// over without its client's help.
const EVICTED: [fn(&Conn) -> bool; 3] = [Conn::is_lingering, Conn::is_incomplete, Conn::is_answering];

/// How many descriptors are left free, and for how long, after there were none. This is what two requests
/// need that are handed on at once: tiny_http loses its accept thread where it cannot have its share.
const SPARED: usize = 3 * TIGHT_UPSTREAMS_MAX;
const TIGHT_UPSTREAMS_MAX: usize = 2;
const TIGHT: Duration = Duration::from_secs(5);

/// Thread `gate`.
#[derive(Debug)]
pub struct Gate {
    listener: Option<Listener>,
    lane: Arc<Lane>,
    waker: Option<UnixStream>,
    timings: Timings,
    conns: Vec<Conn>,
    /// Kept to be given up where there is no descriptor left to accept with.
    spare: Option<File>,
    /// Nothing is accepted before.
    paused_until: Option<Instant>,
    /// Until when there may be fewer clients than usual, and how many.
    tight: Option<(Instant, usize)>,
    scratch: Vec<u8>,
}

/// Stops the gate.
#[derive(Clone, Debug)]
pub struct GateHandle {
    waker: Arc<UnixStream>,
}

impl GateHandle {
    /// Makes [`Gate::run`] accept nothing more, finish the answers under way and return, within about a second.
    pub fn stop(&self) {
        // Full means that it has been told and not looked yet; anything else that it is gone.
        let _ = (&*self.waker).write(&[1]);
    }
}

impl Gate {
    /// Puts a gate between `listener` and what listens in `lane`.
    pub(super) fn new(
        listener: Listener,
        lane: Arc<Lane>,
        timings: Timings,
    ) -> io::Result<(Gate, GateHandle)> {
        let (waker, handle) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        handle.set_nonblocking(true)?;
        let gate = Gate {
            listener: Some(listener),
            lane,
            waker: Some(waker),
            timings,
            conns: Vec::new(),
            spare: File::open("/dev/null").ok(),
            paused_until: None,
            tight: None,
            scratch: vec![0; READ_MAX],
        };
        Ok((gate, GateHandle { waker: Arc::new(handle) }))
    }

    /// Answers clients until it is stopped, then stops tiny_http as well.
    pub fn run(mut self) {
        let mut stop_at = None;
        while stop_at.is_none_or(|at| Instant::now() < at && !self.conns.is_empty()) {
            let now = Instant::now();
            self.expire(now);
            self.ask(now);
            if self.turn(now, stop_at) {
                // Whoever has not sent a whole request by now is not answered any more.
                stop_at.get_or_insert(now + self.timings.grace);
                self.listener = None;
                self.conns.retain(|conn| !conn.is_incomplete());
            }
            self.conns.retain(|conn| !conn.is_gone());
        }
    }

    fn expire(&mut self, now: Instant) {
        for conn in self.conns.iter_mut().filter(|conn| conn.until() <= now) {
            conn.expire(now, &self.timings);
        }
        self.conns.retain(|conn| !conn.is_gone());
        self.paused_until = self.paused_until.filter(|&until| until > now);
        self.tight = self.tight.filter(|&(until, _)| until > now);
    }

    /// Hands requests on, those that have waited longest first.
    fn ask(&mut self, now: Instant) {
        let at_once = if self.tight.is_some() { TIGHT_UPSTREAMS_MAX } else { UPSTREAMS_MAX };
        while self.conns.iter().filter(|conn| conn.is_asking()).count() < at_once {
            let queued = self.conns.iter().enumerate().filter(|(_, conn)| conn.is_queued());
            let next = queued.min_by_key(|(_, conn)| conn.until()).map(|(at, _)| at);
            let Some(next) = next else { return };
            match self.lane.connect() {
                Ok(upstream) => self.conns[next].ask(upstream, &mut self.scratch, now, &self.timings),
                Err(error) => {
                    // It stays queued under its deadline while tiny_http is being started anew, and while
                    // there are connections of ours whose end gives it a descriptor.
                    warn!("the local API cannot hand on a request: {error}");
                    if is_out_of_descriptors(&error)
                        && !self.spare_descriptors(now)
                        && !self.conns.iter().any(Conn::is_asking)
                    {
                        self.conns[next].refuse(&busy(), now, &self.timings);
                    }
                    self.paused_until = Some(now + self.timings.pause);
                    return;
                }
            }
        }
    }

    /// Waits for something to happen and lets everyone who can go on do so. Returns whether to stop.
    fn turn(&mut self, now: Instant, stop_at: Option<Instant>) -> bool {
        let accepting = self.paused_until.is_none() && self.has_place();
        let listener = self.listener.as_ref().filter(|_| accepting);
        // The order is: waker, listener, then each connection with its upstream.
        let mut fds = Vec::with_capacity(2 + self.conns.len() + UPSTREAMS_MAX);
        fds.extend(self.waker.as_ref().map(|waker| PollFd::new(waker.as_fd(), true, false)));
        fds.extend(listener.map(|listener| PollFd::new(listener.as_fd(), true, false)));
        for conn in &self.conns {
            fds.extend(conn.client_fd());
            fds.extend(conn.upstream_fd());
        }
        let deadlines = self.conns.iter().map(Conn::until).chain(self.paused_until).chain(stop_at);
        let timeout = deadlines.min().map(|at| at.saturating_duration_since(now));
        if let Err(error) = platform::poll(&mut fds, timeout) {
            error!("the local API cannot wait for its clients: {error}");
            std::thread::sleep(self.timings.pause); // The deadlines go on; this is not to spin.
            return false;
        }
        let ready: Vec<Ready> = fds.iter().map(PollFd::ready).collect();
        drop(fds);
        let mut ready = ready.into_iter();
        let now = Instant::now();
        let woken = self.waker.is_some() && ready.next().is_some_and(|ready| ready.read || ready.gone);
        let knocks = listener.is_some() && ready.next().is_some_and(|ready| ready.read || ready.gone);
        for conn in &mut self.conns {
            let client = if conn.is_deserted() { None } else { ready.next() };
            let upstream = if conn.is_asking() { ready.next() } else { None };
            if let Some(client) = client {
                conn.on_client(client, &mut self.scratch, now, &self.timings);
            }
            if let Some(upstream) = upstream {
                conn.on_upstream(upstream, &mut self.scratch, now, &self.timings);
            }
        }
        self.conns.retain(|conn| !conn.is_gone());
        if knocks {
            self.accept(now);
        }
        woken && self.is_stopped()
    }

    /// Returns whether a connection more could be held, if need be in the place of another.
    fn has_place(&self) -> bool {
        self.conns.len() < self.places() || self.conns.iter().any(|conn| EVICTED.iter().any(|is| is(conn)))
    }

    fn places(&self) -> usize {
        self.tight.map_or(CLIENTS_MAX, |(_, places)| places)
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = self.listener.as_ref().filter(|_| self.has_place()) else { return };
            match listener.accept() {
                Ok((stream, peer)) => {
                    let mut conn = Conn::new(stream, peer, now, &self.timings);
                    // A request that is there already is whole, and so in nobody's way, whoever else comes.
                    conn.read_request(&mut self.scratch, now, &self.timings);
                    self.conns.push(conn);
                    self.conns.retain(|conn| !conn.is_gone());
                    if self.conns.len() > self.places() {
                        self.evict();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => match error.raw_os_error() {
                    // The client has gone before it was its turn, or a signal came.
                    Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => (),
                    _ => return self.accept_failed(&error, now),
                },
            }
        }
    }

    /// Gives up a connection, so that another can be accepted: the one that has been the longest in the
    /// first of [`EVICTED`] that any is in. Returns whether there was one.
    fn evict(&mut self) -> bool {
        let longest = |is: &fn(&Conn) -> bool| {
            let candidates = self.conns.iter().enumerate().filter(|(_, conn)| is(conn));
            candidates.min_by_key(|(_, conn)| conn.until()).map(|(at, _)| at)
        };
        let victim = EVICTED.iter().find_map(longest);
        if let Some(at) = victim {
            self.conns.remove(at).evict();
        }
        victim.is_some()
    }

    /// Gets over a failure to accept, if need be by making room; where there is none the next client is told.
    fn accept_failed(&mut self, error: &io::Error, now: Instant) {
        warn!("the local API cannot accept a connection: {error}");
        if is_out_of_descriptors(error)
            && !self.spare_descriptors(now)
            && self.spare.take().is_some()
            && let Some((mut stream, _)) = self.listener.as_ref().and_then(|listener| listener.accept().ok())
        {
            let _ = stream.write(&busy().to_http(false));
        }
        self.spare = self.spare.take().or_else(|| File::open("/dev/null").ok());
        self.paused_until = Some(now + self.timings.pause);
    }

    /// Gives up as many connections as it takes to have [`SPARED`] descriptors again, and lets there be no
    /// more for a while. Returns whether there were any to give up.
    fn spare_descriptors(&mut self, now: Instant) -> bool {
        let places = self.places().min(self.conns.len()).saturating_sub(SPARED).max(1);
        self.tight = Some((now + TIGHT, places));
        let n = self.conns.len();
        while self.conns.len() > places && self.evict() {}
        self.conns.len() < n
    }

    /// Returns whether the handle has said to stop; a handle that is gone never will.
    fn is_stopped(&mut self) -> bool {
        let Some(waker) = &mut self.waker else { return false };
        match waker.read(&mut [0; 8]) {
            Ok(0) => {
                self.waker = None;
                false
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

impl Drop for Gate {
    fn drop(&mut self) {
        // However this thread ends, the other one has nobody left to answer.
        self.lane.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_at_most_64_descriptors_for_clients() {
        assert_eq!(64, CLIENTS_MAX + 1 + 3 * UPSTREAMS_MAX);
        assert!(Timings::default().grace <= Duration::from_secs(1));
    }
}
