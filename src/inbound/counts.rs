//! What the reader counts, and what it says of messages that it drops.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::message::Kind;

/// How many milliseconds pass between two lines about dropped messages.
const PAUSE_MS: u64 = 10_000;

/// What the reader has counted since it began: written by it, read by anyone.
#[derive(Debug, Default)]
pub struct ReaderCounts {
    messages: [AtomicU64; Kind::ALL.len()],
    connections: AtomicU64,
    drops: AtomicU64,
    failures: AtomicU64,
}

impl ReaderCounts {
    /// Returns how many messages of this kind have come.
    pub fn messages(&self, kind: Kind) -> u64 {
        self.messages[kind as usize].load(Ordering::Relaxed)
    }

    /// Returns how many connections have been opened.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns how many of them have ended without our asking.
    pub fn drops(&self) -> u64 {
        self.drops.load(Ordering::Relaxed)
    }

    /// Returns how many times no connection could be opened.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn add_message(&self, kind: Kind) {
        self.messages[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_drop(&self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// The messages dropped since that was last said: said at once where it is new, then summed up.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    unsaid: [u64; Kind::ALL.len()],
    any: bool,
    /// When it may be said again.
    due_ms: u64,
}

/// How many messages were dropped, in words.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Line {
    unsaid: [u64; Kind::ALL.len()],
}

impl Dropped {
    pub(super) fn add(&mut self, kind: Kind) {
        self.unsaid[kind as usize] += 1;
        self.any = true;
    }

    /// Returns what is to be said at `now_ms`, if anything, and takes it as said.
    pub(super) fn line(&mut self, now_ms: u64) -> Option<Line> {
        if !self.any || now_ms < self.due_ms {
            return None;
        }
        self.any = false;
        self.due_ms = now_ms + PAUSE_MS;
        Some(Line { unsaid: std::mem::take(&mut self.unsaid) })
    }
}

impl Line {
    /// Returns whether all of them are of types that we don't know: a stream may be full of them.
    pub(super) fn is_ordinary(&self) -> bool {
        self.unsaid.iter().sum::<u64>() == self.unsaid[Kind::UnknownType as usize]
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for kind in Kind::ALL {
            let n = self.unsaid[kind as usize];
            let words = match kind {
                _ if n == 0 => continue,
                Kind::Malformed => "malformed",
                Kind::BadCallId => "with a bad call id",
                Kind::BadDigit => "with a bad digit",
                Kind::UnknownType => "of an unknown type",
                Kind::Dtmf | Kind::CallStarted | Kind::CallEnded => kind.name(),
            };
            write!(f, "{comma}{n} {words}")?;
            comma = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_first_drop_at_once_and_sums_up_the_rest_every_ten_seconds() {
        let mut dropped = Dropped::default();
        let mut lines = Vec::new();
        for (now_ms, kind) in [
            (5, Some(Kind::Malformed)),
            (6, Some(Kind::Malformed)),
            (10_004, Some(Kind::UnknownType)),
            (10_005, None),
            (10_006, None),
            (30_000, None),
            (30_000, Some(Kind::UnknownType)),
        ] {
            if let Some(kind) = kind {
                dropped.add(kind);
            }
            if let Some(line) = dropped.line(now_ms) {
                lines.push(format!("{now_ms} {line} {}", line.is_ordinary()));
            }
        }
        let expected = [
            "5 1 malformed false",
            "10005 1 of an unknown type, 1 malformed false",
            "30000 1 of an unknown type true",
        ];
        assert_eq!(expected, lines.as_slice());
    }

    #[test]
    fn keeps_one_count_a_kind() {
        let counts = ReaderCounts::default();
        for (n, kind) in (1..).zip(Kind::ALL) {
            (0..n).for_each(|_| counts.add_message(kind));
        }
        let found = Kind::ALL.map(|kind| counts.messages(kind));
        assert_eq!([1, 2, 3, 4, 5, 6, 7], found);
    }
}
