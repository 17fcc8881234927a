//! The stream below the WebSocket, tapped so that the events of one read leave as one batch.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::message::{self, Decoded};
use super::stop::Stop;
use crate::inbox::{Batch, Closed, Inbox, Incoming};

/// The most events in a batch. One read holds fewer as a rule; past it the batch leaves early.
const EVENTS_MAX: usize = 512;

/// The shortest time that a read blocks: 0 would mean for ever.
const SHORTEST: Duration = Duration::from_millis(1);

/// A stream whose reads time out.
pub(super) trait Wire: Read + Write {
    /// Has reads fail with [`ErrorKind::WouldBlock`] where nothing comes for so long.
    ///
    /// # Errors
    ///
    /// Returns why the system won't.
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Throws away what still comes until the peer closes, at most until `until`. A socket that is
    /// closed with something unread resets the connection, and our parting words with it.
    fn discard(&mut self, until: Instant);
}

/// A stream that fills batches.
///
/// The WebSocket reads from it only when it has no whole frame left. So a read is the moment at
/// which everything from the read before has been decoded: the batch leaves for the inbox, and only
/// then does the read block. The same goes for a write, which may block, too.
#[derive(Debug)]
pub(super) struct Tap<S> {
    stream: S,
    inbox: Inbox,
    stop: Stop,
    batch: Box<Batch>,
    received: Instant,
    /// Since when the peer takes nothing of what we have to say.
    stuck: Option<Instant>,
    /// A read fails with `WouldBlock` soon after this, but looks once before.
    wake_at: Instant,
    looked: bool,
    grain: Duration,
    armed: Option<Duration>,
}

impl<S: Wire> Tap<S> {
    /// Returns a tap of `stream`, from which bytes were last received at `received`.
    ///
    /// A read waits up to `grain` less than it might, so that the stream's timeout needn't be set
    /// anew for every read.
    pub(super) fn new(stream: S, inbox: Inbox, stop: Stop, received: Instant, grain: Duration) -> Tap<S> {
        let mut batch = inbox.empty_batch();
        batch.set_read_at(received);
        Tap {
            stream,
            inbox,
            stop,
            batch,
            received,
            stuck: None,
            wake_at: received,
            looked: false,
            grain,
            armed: None,
        }
    }

    /// Returns when bytes were last received.
    pub(super) fn received(&self) -> Instant {
        self.received
    }

    /// Returns since when the peer takes nothing of what we have to say, if there is such.
    pub(super) fn stuck(&self) -> Option<Instant> {
        self.stuck
    }

    /// Has a read fail with [`ErrorKind::WouldBlock`] at `wake_at`, even where bytes keep trickling
    /// in that make no message.
    pub(super) fn set_wake(&mut self, wake_at: Instant) {
        if self.wake_at != wake_at {
            self.wake_at = wake_at;
            self.looked = false;
        }
    }

    /// Decodes a message into the batch.
    ///
    /// # Errors
    ///
    /// As [`Tap::hand_over`].
    pub(super) fn decode(&mut self, message: &[u8]) -> io::Result<Decoded> {
        let decoded = message::decode(message, &mut self.batch);
        if self.batch.len() >= EVENTS_MAX {
            self.hand_over()?;
        }
        Ok(decoded)
    }

    /// Sends the batch off, unless it is empty. Blocks while the inbox is full.
    ///
    /// # Errors
    ///
    /// Returns an error that holds [`Closed`] once nobody takes batches any more.
    pub(super) fn hand_over(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut next = self.inbox.empty_batch();
        next.set_read_at(self.received);
        let batch = std::mem::replace(&mut self.batch, next);
        self.inbox
            .send(Incoming::Batch(batch))
            .map_err(|Closed| io::Error::new(ErrorKind::BrokenPipe, Closed))
    }

    /// As [`Wire::discard`].
    pub(super) fn discard(&mut self, until: Instant) {
        self.stream.discard(until);
    }

    /// Has the next read block until [`Tap::set_wake`]'s time, or less.
    fn arm(&mut self) -> io::Result<()> {
        let left = self.wake_at.saturating_duration_since(Instant::now());
        if left.is_zero() && std::mem::replace(&mut self.looked, true) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let grains = left.as_millis() / self.grain.as_millis().max(1);
        let timeout = match u32::try_from(grains) {
            Ok(0) | Err(_) => Duration::from_millis(left.as_millis() as u64).max(SHORTEST),
            Ok(grains) => self.grain * grains,
        };
        if self.armed != Some(timeout) {
            self.stream.set_read_timeout(timeout)?;
            self.armed = Some(timeout);
        }
        Ok(())
    }
}

/// Whether the inbox is what failed.
pub(super) fn is_closed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<Closed>())
}

impl<S: Wire> Read for Tap<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hand_over()?;
        loop {
            // With bytes coming in all the time, shutting the socket ends no read.
            if self.stop.is_stopped() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            self.arm()?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(ErrorKind::WouldBlock.into()),
                Ok(length) if length > 0 => {
                    self.received = Instant::now();
                    self.batch.set_read_at(self.received);
                    return Ok(length);
                }
                // After an end the WebSocket lets nobody say goodbye, which we mean to.
                Ok(_) if self.stop.is_stopped() => return Err(ErrorKind::ConnectionAborted.into()),
                other => return other,
            }
        }
    }
}

impl<S: Wire> Write for Tap<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hand_over()?;
        let written = self.stream.write(bytes);
        self.stuck = match &written {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.stuck.or_else(|| Some(Instant::now()))
            }
            Ok(_) | Err(_) => None,
        };
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;
    use crate::inbox::{Outlet, inbox};

    /// Reads that were written down before; past them it would block. Notes the timeouts set.
    #[derive(Default)]
    struct Script {
        reads: VecDeque<io::Result<Vec<u8>>>,
        timeouts: RefCell<Vec<Duration>>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.reads.pop_front().unwrap_or(Err(ErrorKind::WouldBlock.into()))?;
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Wire for Script {
        fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
            self.timeouts.borrow_mut().push(timeout);
            Ok(())
        }

        fn discard(&mut self, _until: Instant) {}
    }

    const DIGIT: &[u8] = br#"{"type":"dtmf","digit":"1","callId":"c"}"#;

    fn tap(reads: impl IntoIterator<Item = io::Result<Vec<u8>>>) -> (Tap<Script>, Outlet, Stop) {
        let (inbox, outlet) = inbox();
        let stop = Stop::new();
        let script = Script { reads: reads.into_iter().collect(), ..Script::default() };
        let mut tap = Tap::new(script, inbox, stop.clone(), Instant::now(), Duration::from_millis(250));
        tap.set_wake(Instant::now() + Duration::from_secs(15));
        (tap, outlet, stop)
    }

    fn lengths(outlet: &Outlet) -> Vec<usize> {
        let batches = outlet.incoming.try_iter().map(|incoming| {
            let Incoming::Batch(batch) = incoming else { panic!("{incoming:?}") };
            batch.len()
        });
        batches.collect()
    }

    #[test]
    fn sends_the_batch_before_the_next_read_and_stamps_it_with_its_own() {
        let (mut tap, outlet, _) = tap([Ok(vec![1]), Ok(vec![2])]);
        let mut buffer = [0; 9];
        for _ in 0..2 {
            assert_eq!(1, tap.read(&mut buffer).unwrap());
            let read_at = tap.received();
            (0..3).for_each(|_| assert!(tap.decode(DIGIT).is_ok()));
            assert_eq!(Some(read_at), tap.batch.read_at());
        }
        assert_eq!(vec![3], lengths(&outlet));
        assert_eq!(ErrorKind::WouldBlock, tap.read(&mut buffer).unwrap_err().kind());
        assert_eq!(vec![3], lengths(&outlet));
        assert!(tap.read(&mut buffer).is_err());
        assert_eq!(0, lengths(&outlet).len(), "nothing empty is sent");
    }

    #[test]
    fn sends_the_batch_before_a_write_and_when_it_is_full() {
        let (mut tap, outlet, _) = tap([]);
        for _ in 0..EVENTS_MAX + 1 {
            tap.decode(DIGIT).unwrap();
        }
        assert_eq!(vec![EVENTS_MAX], lengths(&outlet));
        assert_eq!(Some(tap.received()), tap.batch.read_at(), "the rest came with the same read");
        tap.write_all(b"pong").unwrap();
        assert_eq!(vec![1], lengths(&outlet));
    }

    #[test]
    fn fails_once_nobody_takes_batches() {
        let (mut tap, outlet, _) = tap([Ok(vec![1])]);
        drop(outlet);
        tap.decode(DIGIT).unwrap();
        assert!(is_closed(&tap.read(&mut [0; 9]).unwrap_err()));
        assert!(!is_closed(&ErrorKind::BrokenPipe.into()));
    }

    #[test]
    fn ends_at_a_stop_with_everything_handed_over_though_more_would_come() {
        let (mut tap, outlet, stop) = tap([Ok(vec![1])]);
        tap.decode(DIGIT).unwrap();
        stop.stop();
        assert_eq!(ErrorKind::ConnectionAborted, tap.read(&mut [0; 9]).unwrap_err().kind());
        assert_eq!(vec![1], lengths(&outlet));
    }

    #[test]
    fn sets_the_timeout_only_where_it_is_another_one() {
        let (mut tap, _outlet, _) = tap((0..100).map(|_| Ok(vec![1])));
        tap.set_wake(Instant::now() + Duration::from_millis(10_100));
        (0..100).for_each(|_| assert_eq!(1, tap.read(&mut [0; 9]).unwrap()));
        assert_eq!(vec![Duration::from_secs(10)], tap.stream.timeouts.take());
    }

    #[test]
    fn looks_once_when_its_time_has_passed_and_then_wakes_its_owner() {
        let interrupted = || Err(ErrorKind::Interrupted.into());
        let (mut tap, _outlet, _) = tap([interrupted(), Ok(vec![1]), Ok(vec![2]), Ok(vec![3])]);
        let read = |tap: &mut Tap<Script>| tap.read(&mut [0; 9]).map_err(|error| error.kind());
        assert_eq!(Ok(1), read(&mut tap), "an interrupted read is tried again");
        let past = Instant::now();
        tap.set_wake(past);
        assert_eq!(Ok(1), read(&mut tap));
        tap.set_wake(past);
        assert_eq!(Err(ErrorKind::WouldBlock), read(&mut tap));
        assert_eq!(Err(ErrorKind::WouldBlock), read(&mut tap));
        tap.set_wake(Instant::now() + Duration::from_secs(9));
        assert_eq!(Ok(1), read(&mut tap));
    }
}
