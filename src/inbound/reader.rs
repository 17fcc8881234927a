//! Thread `reader`: holds the voice WebSocket, for ever.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::connect::{ConnectError, Opened, connect};
use super::counts::{Dropped, ReaderCounts};
use super::message::Kind;
use super::policy::{Comeback, Pulse, Timings};
use super::session::{self, End, Ground};
use super::stop::Stop;
use super::tap::{Tap, Wire};
use crate::engine::Random;
use crate::error::Chain;
use crate::inbox::Inbox;
use crate::observe::status::{Link, Status};
use crate::tenant::{Net, Stream, Tokens, Url};

/// How long a write blocks. Pings and pongs that don't go out in time wait; digits come first.
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);

/// Holds the voice WebSocket: connects, reads, and comes back after every kind of end, until it is
/// stopped or the inbox is closed.
#[derive(Debug)]
pub struct Reader {
    url: Url,
    net: Net,
    tokens: Tokens,
    inbox: Inbox,
    status: Arc<Status>,
    stop: Stop,
    timings: Timings,
    origin: Instant,
    counts: Arc<ReaderCounts>,
    random: Random,
    comeback: Comeback,
    dropped: Dropped,
    coarse_said: bool,
}

impl Reader {
    /// Returns a reader of the stream at `url`, yet to be run. `seed` decides how long it waits
    /// between connections: any number that other instances don't have.
    pub fn new(
        url: Url,
        net: Net,
        tokens: Tokens,
        inbox: Inbox,
        status: Arc<Status>,
        stop: Stop,
        seed: u64,
    ) -> Reader {
        let timings = Timings::default();
        Reader {
            url,
            net,
            tokens,
            inbox,
            status,
            stop,
            timings,
            origin: Instant::now(),
            counts: Arc::default(),
            random: Random::new(seed),
            comeback: Comeback::new(&timings),
            dropped: Dropped::default(),
            coarse_said: false,
        }
    }

    /// Returns the reader with other times than [`Timings::default`].
    #[must_use]
    pub fn with_timings(self, timings: Timings) -> Reader {
        Reader { timings, comeback: Comeback::new(&timings), ..self }
    }

    /// Returns what the reader counts, to be looked at while it runs and after.
    pub fn counts(&self) -> Arc<ReaderCounts> {
        Arc::clone(&self.counts)
    }

    /// Reads until [`Stop::stop`], or until the inbox is closed. It is to be run on a thread of its
    /// own; everything received by then is in the inbox when it returns.
    pub fn run(mut self) {
        while let Some(wait) = self.hold_one() {
            if self.stop.wait(wait) {
                break;
            }
        }
        self.status.set_websocket(Link::Down("dtmfd stops".to_owned()));
    }

    /// Opens one connection and holds it to its end. Returns how long to wait before the next;
    /// `None` where there is to be none.
    fn hold_one(&mut self) -> Option<Duration> {
        if self.stop.is_stopped() {
            return None;
        }
        let token = match self.tokens.bearer() {
            _ if self.stop.is_stopped() => return None,
            Ok(token) => token,
            Err(no_token) => {
                self.counts.add_failure();
                let wait = self.comeback.wait_for_token_ms(no_token.retry_in, self.random.number());
                self.status.set_websocket(Link::Down(format!("no token to open it with: {}", no_token.why)));
                warn!(why = no_token.why.as_str(), retry_ms = wait; "no token to open the websocket with");
                return Some(Duration::from_millis(wait));
            }
        };
        let stop = self.stop.clone();
        let _guarded = stop.guarded();
        let began = Instant::now();
        let guard = |tcp: &TcpStream| stop.guard(tcp);
        let opened = connect(&self.url, &self.net, &token.bearer, began + self.timings.connect, &guard);
        match opened.and_then(|opened| self.tap(opened)) {
            Ok((tap, rest)) => {
                info!(url:% = self.url, took_ms = millis(began.elapsed()); "websocket open");
                self.read(tap, rest, &token.bearer)
            }
            Err(_) if stop.is_stopped() => None,
            Err(error) => {
                if error.is_refused_token() {
                    self.tokens.refused(token.id);
                }
                self.counts.add_failure();
                let wait = self.wait(false, error.retry_after());
                let cause = Chain(&error).to_string();
                warn!(url:% = self.url, cause = cause.as_str(), retry_ms = millis(wait); "websocket not opened");
                self.status.set_websocket(Link::Down(cause));
                Some(wait)
            }
        }
    }

    fn tap(&self, Opened { stream, rest, at }: Opened) -> Result<(Tap<Stream>, Vec<u8>), ConnectError> {
        stream.tcp().set_write_timeout(Some(WRITE_TIMEOUT)).map_err(ConnectError::Setup)?;
        let grain = Pulse::new(&self.timings, 0).grain();
        Ok((Tap::new(stream, self.inbox.clone(), self.stop.clone(), at, grain), rest))
    }

    /// Reads an open connection to its end.
    fn read(&mut self, tap: Tap<Stream>, rest: Vec<u8>, bearer: &str) -> Option<Duration> {
        self.counts.add_connection();
        self.status.set_websocket(Link::Up);
        let mut ground = Ground {
            timings: &self.timings,
            origin: self.origin,
            stop: &self.stop,
            bearer,
            counts: &self.counts,
            dropped: &mut self.dropped,
            coarse_said: &mut self.coarse_said,
        };
        let opened = Instant::now();
        let opened_ms = ground.millis(opened);
        self.comeback.opened(opened_ms);
        let pulse = Pulse::new(&self.timings, opened_ms);
        let digits_before = self.counts.messages(Kind::Dtmf);
        let end = session::run(tap, rest, pulse, &mut ground);
        ground.say_dropped(Instant::now());
        let held_s = opened.elapsed().as_secs();
        let digits = self.counts.messages(Kind::Dtmf) - digits_before;
        if matches!(end, End::Stopped | End::InboxClosed) {
            info!(cause:% = end, held_s, digits; "websocket closed");
            return None;
        }
        self.counts.add_drop();
        let wait = self.wait(digits > 0, None);
        let level = if end.is_clean() { log::Level::Info } else { log::Level::Warn };
        log::log!(level, cause:% = end, held_s, digits, retry_ms = millis(wait); "websocket lost");
        self.status.set_websocket(Link::Down(end.to_string()));
        Some(wait)
    }

    fn wait(&mut self, carried: bool, hold: Option<Duration>) -> Duration {
        let now_ms = millis(self.origin.elapsed());
        Duration::from_millis(self.comeback.wait_ms(now_ms, carried, hold, self.random.number()))
    }
}

impl Wire for Stream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.tcp().set_read_timeout(Some(timeout))
    }

    fn discard(&mut self, until: Instant) {
        let mut tcp = self.tcp(); // Below TLS: nobody wants to know what it says.
        let mut buffer = [0; 4096];
        let _ = tcp.shutdown(Shutdown::Write);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || tcp.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match tcp.read(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                Ok(_) | Err(_) => (),
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod drops;
#[cfg(test)]
mod tests;
