//! One connection, from its upgrade to its end.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use log::{debug, warn};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket, error::ProtocolError};

use super::counts::{Dropped, ReaderCounts};
use super::message::Decoded;
use super::policy::{Need, Pulse, Timings};
use super::stop::Stop;
use super::tap::{Tap, Wire, is_closed};
use crate::observe::blot::blot;

/// The most bytes of a message, and of each of its frames.
const MESSAGE_MAX: usize = 64 * 1024;

/// How much is read at once. Some hundred digits fit, which is a burst of a big tenant.
const READ_BUFFER: usize = 16 * 1024;

/// The most bytes that wait to be sent: pings, pongs and one close frame, to a peer that doesn't read.
const WRITE_BUFFER_MAX: usize = 4 * 1024;

/// How long the peer may take over the end of a connection when we are told to stop.
const STOPPING: Duration = Duration::from_millis(50);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The tenant said goodbye.
    Closed {
        /// Its code, if it named one.
        code: Option<u16>,
        /// Its reason, without our token and runs of digits ([`blot`]); else as it came: escape it.
        reason: String,
    },
    /// The tenant closed the connection without a word.
    Cut,
    /// The connection broke.
    Broken(io::Error),
    /// Nothing came for so long that it counts as dead.
    Silent(Duration),
    /// The peer took none of our pongs for so long that it counts as dead, whatever it sends.
    Stuck(Duration),
    /// A message was too big.
    TooBig,
    /// A text was no UTF-8.
    BadUtf8,
    /// The tenant broke the protocol.
    Protocol(String),
    /// We were told to stop.
    Stopped,
    /// `calls` is gone.
    InboxClosed,
}

impl End {
    /// Returns whether it ended as connections should: the tenant closed it with 1000 or 1001, or
    /// we were told to stop.
    pub(super) fn is_clean(&self) -> bool {
        matches!(self, End::Closed { code: Some(1000 | 1001), .. } | End::Stopped)
    }

    fn of(error: Error) -> End {
        match error {
            Error::Io(error) if is_closed(&error) => End::InboxClosed,
            Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => End::Cut,
            Error::Io(error) => End::Broken(error),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Cut,
            Error::Capacity(_) => End::TooBig,
            Error::Utf8(_) => End::BadUtf8,
            error @ (Error::Protocol(_)
            | Error::Tls(_)
            | Error::WriteBufferFull(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_)) => End::Protocol(error.to_string()),
        }
    }

    /// Returns what to say to the tenant, if anything is left to be said.
    fn farewell(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            End::Closed { .. } | End::Cut | End::Broken(_) | End::Silent(_) | End::Stuck(_) => return None,
            End::TooBig => (CloseCode::Size, "a message is over 64 KiB"),
            End::BadUtf8 => (CloseCode::Invalid, "a text is no UTF-8"),
            End::Protocol(_) => (CloseCode::Protocol, "protocol error"),
            End::Stopped | End::InboxClosed => (CloseCode::Away, "dtmfd stops"),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed { code: None, .. } => f.write_str("the tenant closed it without a code"),
            End::Closed { code: Some(code), reason } if reason.is_empty() => {
                write!(f, "the tenant closed it with {code}")
            }
            // What tungstenite makes of a code that may not be sent; only its word is left of that.
            End::Closed { code: Some(1002), reason } if reason == "Protocol violation" => f.write_str(
                "the tenant broke the protocol with a bad close frame, or says that we broke it (1002: Protocol violation)",
            ),
            End::Closed { code: Some(code), reason } => {
                write!(f, "the tenant closed it with {code}: {}", reason.escape_debug())
            }
            End::Cut => f.write_str("the tenant cut it without a close frame"),
            End::Broken(error) => write!(f, "it broke: {error}"),
            End::Silent(time) => write!(f, "nothing came for {} s", time.as_secs_f64()),
            End::Stuck(time) => write!(f, "the tenant read nothing for {} s", time.as_secs_f64()),
            End::TooBig => write!(f, "a message was over {} KiB", MESSAGE_MAX / 1024),
            End::BadUtf8 => f.write_str("a text was no UTF-8"),
            End::Protocol(error) => write!(f, "the tenant broke the protocol: {error}"),
            End::Stopped => f.write_str("dtmfd stops"),
            End::InboxClosed => f.write_str("the calls thread has ended"),
        }
    }
}

/// What outlives one connection.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) timings: &'a Timings,
    /// What milliseconds are counted from.
    pub(super) origin: Instant,
    pub(super) stop: &'a Stop,
    /// What the connection was opened with.
    pub(super) bearer: &'a str,
    pub(super) counts: &'a ReaderCounts,
    pub(super) dropped: &'a mut Dropped,
    /// Whether it has been said that whole seconds tell no duplicates.
    pub(super) coarse_said: &'a mut bool,
}

impl Ground<'_> {
    pub(super) fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_millis()).unwrap_or(u64::MAX)
    }

    /// Says which messages were dropped, if it is time to.
    pub(super) fn say_dropped(&mut self, at: Instant) {
        let now_ms = self.millis(at);
        match self.dropped.line(now_ms) {
            Some(line) if line.is_ordinary() => debug!("websocket messages dropped: {line}"),
            Some(line) => warn!("websocket messages dropped: {line}"),
            None => (),
        }
    }
}

/// Reads until the connection ends, says goodbye as far as that goes, and returns how it ended.
/// `rest` is what came with the upgrade.
///
/// Every event that was received is in the inbox when it returns, unless that is closed.
pub(super) fn run<S: Wire>(tap: Tap<S>, rest: Vec<u8>, pulse: Pulse, ground: &mut Ground<'_>) -> End {
    run_with(config(), decode, tap, rest, pulse, ground)
}

/// Returns the bounds of a connection of ours.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
}

/// Decodes a text or a binary message into the batch.
pub(super) fn decode<S: Wire>(socket: &mut WebSocket<Tap<S>>, message: Message) -> Result<Decoded, Error> {
    Ok(socket.get_mut().decode(&message.into_data())?)
}

/// As [`run`], with other bounds, and `take` for what becomes of a text or a binary message.
pub(super) fn run_with<S: Wire>(
    config: WebSocketConfig,
    take: impl FnMut(&mut WebSocket<Tap<S>>, Message) -> Result<Decoded, Error>,
    tap: Tap<S>,
    rest: Vec<u8>,
    pulse: Pulse,
    ground: &mut Ground<'_>,
) -> End {
    let mut socket = WebSocket::from_partially_read(tap, rest, Role::Client, Some(config));
    let mut end = read(&mut socket, take, pulse, ground);
    if socket.get_mut().hand_over().is_err() {
        end = End::InboxClosed;
    }
    if ground.stop.is_stopped() && !matches!(end, End::InboxClosed) {
        end = End::Stopped;
    }
    part(&mut socket, &end, ground);
    end
}

/// Reads until the connection ends.
fn read<S: Wire>(
    socket: &mut WebSocket<Tap<S>>,
    mut take: impl FnMut(&mut WebSocket<Tap<S>>, Message) -> Result<Decoded, Error>,
    mut pulse: Pulse,
    ground: &mut Ground<'_>,
) -> End {
    let mut now = socket.get_ref().received();
    loop {
        let stuck = socket.get_ref().stuck().map(|since| now.saturating_duration_since(since));
        if stuck.is_some_and(|time| time >= ground.timings.silence) {
            return End::Stuck(ground.timings.silence);
        }
        pulse.hear(ground.millis(socket.get_ref().received()));
        match pulse.need(ground.millis(now)) {
            Need::Wait(wait_ms) => socket.get_mut().set_wake(now + Duration::from_millis(wait_ms)),
            Need::Ping => {
                ping(socket);
                continue;
            }
            Need::Burial => return End::Silent(ground.timings.silence),
        }
        let decoded = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => take(socket, message),
            // A pong is queued by now: the next read sends it before it blocks.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                now = socket.get_ref().received();
                continue;
            }
            Ok(Message::Close(frame)) => {
                let reason = frame.as_ref().map(|frame| blot(&frame.reason, ground.bearer, []));
                let reason = reason.unwrap_or_default();
                return End::Closed { code: frame.map(|frame| frame.code.into()), reason };
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                now = Instant::now();
                ground.say_dropped(now);
                continue;
            }
            Err(error) => return End::of(error),
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(error) => return End::of(error),
        };
        now = socket.get_ref().received();
        ground.counts.add_message(decoded.kind);
        if decoded.kind.is_dropped() {
            ground.dropped.add(decoded.kind);
            ground.say_dropped(now);
        }
        if decoded.coarse && !std::mem::replace(ground.coarse_said, true) {
            warn!(
                "the stream's timestamps count whole seconds: repeated and bounced digits can't be told from real ones"
            );
        }
    }
}

/// Sends a ping. What doesn't go out shows in the next read, as an error or as silence.
fn ping<S: Wire>(socket: &mut WebSocket<Tap<S>>) {
    if let Err(error) = socket.send(Message::Ping(Bytes::new())) {
        debug!(error:% = error; "websocket ping not sent");
    }
}

/// Says goodbye: answers a close frame or sends one, and waits a little until the tenant has read
/// it and closes.
fn part<S: Wire>(socket: &mut WebSocket<Tap<S>>, end: &End, ground: &Ground<'_>) {
    let said = match end.farewell() {
        Some(frame) => socket.close(Some(frame)),
        None if matches!(end, End::Closed { .. }) => socket.flush(),
        None => return,
    };
    match said {
        Ok(()) => {
            let is_over = matches!(end, End::Stopped | End::InboxClosed);
            let patience = if is_over { STOPPING } else { ground.timings.closing };
            socket.get_mut().discard(Instant::now() + patience);
        }
        Err(error) => debug!(error:% = error; "websocket close frame not sent"),
    }
}
