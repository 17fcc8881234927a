//! What has changed since it was kept last, and when it goes out: group commit (DESIGN.md).
//!
//! One transaction is in flight at a time; what changes meanwhile goes into the next. An entry names
//! what has changed, and its row is written when the transaction is made: however often a call moves
//! in between, it is one row. A transaction that failed comes back to the front and is made again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::calls::CallId;
use super::commit::{CallKey, CallRecord, UpdateKey};
use super::delivery::UpdateId;
use super::event::Tick;
use super::ivr::Version;

/// How long a call's step waits for others before it goes to disk: the most that `kill -9` may undo
/// beside the transaction that is in flight. What an update waits for never waits here.
const GATHER_MS: u64 = 10;
/// How much goes into one transaction: what is behind waits for the next, and a disk that comes back
/// after an hour gets what it missed in pieces.
const ENTRIES_MAX: usize = 2_000;
/// After a transaction failed the next is made this much later...
const RETRY_FIRST_MS: u64 = 250;
/// ... twice as long each time it fails again, up to here.
const RETRY_MAX_MS: u64 = 4_000;
/// While nothing can be kept, so many records of ended calls wait: some 10 MB. Older ones are left out
/// of the history.
const RECORDS_MAX: usize = 20_000;
/// So many entries may wait before those that say nothing any more are swept out.
const SWEEP_AT: usize = 50_000;

/// Something that has changed since it was kept.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A call in progress.
    Call(CallId),
    /// A call that was kept has gone without an end.
    Discarded(CallKey),
    /// A call ended. All that follows from it is one transaction.
    End(Box<EndEntry>),
    /// An update.
    Update(UpdateId),
    /// An update that was kept is no more.
    UpdateGone(UpdateKey),
    /// What is remembered of an ended call.
    Ended(u64),
    /// Whether a tree is needed.
    Tree(Version),
}

/// What follows from a call's end.
#[derive(Clone, Debug)]
pub(super) struct EndEntry {
    /// The call, if it was kept while it was in progress.
    pub(super) kept: Option<CallKey>,
    /// Its fingerprint among the ended.
    pub(super) ended: u64,
    /// What it left behind.
    pub(super) update: Option<UpdateId>,
    /// How it went.
    pub(super) record: Option<Arc<CallRecord>>,
}

/// How keeping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeping {
    /// What changes is kept.
    Well,
    /// A transaction takes so long that updates don't wait for it any more.
    Slow,
    /// Transactions fail: calls go on in memory.
    Failing,
}

/// What has changed since it was kept last.
#[derive(Default, Debug)]
pub(super) struct Ledger {
    is_on: bool,
    waiting: VecDeque<Entry>,
    /// How many of them an update waits for.
    urgent: usize,
    /// The transaction in flight.
    in_flight: Option<(u64, Vec<Entry>)>,
    number: u64,
    failures: u32,
    /// When the last transaction was made.
    made: Option<Tick>,
    /// The next transaction is made then, unless something urgent comes.
    due: Option<Tick>,
    sweep_at: usize,
    unrecorded: u64,
}

impl Ledger {
    /// Returns a ledger that takes what has changed; the default one takes nothing.
    pub(super) fn on() -> Ledger {
        Ledger { is_on: true, sweep_at: SWEEP_AT, ..Ledger::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns whether everything that changed was kept.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_none()
    }

    /// Returns whether the last transaction failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns when the last transaction was made.
    pub(super) fn made(&self) -> Option<Tick> {
        self.made
    }

    /// Returns how many ended calls were left out of the history, because nothing could be kept.
    pub(super) fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    /// Notes that something has changed.
    pub(super) fn note(&mut self, entry: Entry, now: Tick) {
        if !self.is_on {
            return;
        }
        self.urgent += usize::from(is_urgent(&entry));
        self.waiting.push_back(entry);
        if self.due.is_none() {
            self.due = Some(now.after(GATHER_MS));
        }
    }

    /// Returns when the next transaction is to be made, if nothing urgent comes before.
    pub(super) fn due(&self) -> Option<Tick> {
        self.due.filter(|_| self.in_flight.is_none() && !self.waiting.is_empty())
    }

    /// Takes out what the next transaction holds, if it is to be made now.
    pub(super) fn take(&mut self, now: Tick) -> Option<(u64, &[Entry])> {
        let due = self.due()?;
        let is_urgent_now = self.urgent > 0 && self.failures == 0;
        if now < due && !is_urgent_now {
            return None;
        }
        let count = self.waiting.len().min(ENTRIES_MAX);
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        self.urgent -= taken.iter().filter(|entry| is_urgent(entry)).count();
        self.number += 1;
        // More than one transaction holds is there already: it follows at once.
        self.due = (!self.waiting.is_empty()).then_some(now);
        let (number, entries) = self.in_flight.insert((self.number, taken));
        Some((*number, entries))
    }

    /// The transaction in flight was made. Returns what was in it.
    pub(super) fn committed(&mut self, number: u64, now: Tick) -> Option<Vec<Entry>> {
        let (_, entries) = self.in_flight.take_if(|(in_flight, _)| *in_flight == number)?;
        self.failures = 0;
        self.made = Some(now);
        Some(entries)
    }

    /// The transaction in flight failed, or may have. Returns what was in it, to be put back.
    pub(super) fn failed(&mut self, number: u64, now: Tick) -> Option<Vec<Entry>> {
        let (_, entries) = self.in_flight.take_if(|(in_flight, _)| *in_flight == number)?;
        let wait_ms = super::endpoint::doubled(RETRY_FIRST_MS, self.failures, RETRY_MAX_MS);
        self.failures += 1;
        self.due = Some(now.after(wait_ms));
        Some(entries)
    }

    /// Puts what was in a failed transaction back, before what has changed since.
    pub(super) fn put_back(&mut self, entries: impl DoubleEndedIterator<Item = Entry>) {
        for entry in entries.rev() {
            self.urgent += usize::from(is_urgent(&entry));
            self.waiting.push_front(entry);
        }
    }

    /// Makes the next transaction without waiting for others.
    pub(super) fn hurry(&mut self, now: Tick) {
        if self.failures == 0 {
            self.due = self.due.map(|due| due.min(now));
        }
    }

    /// Returns whether so much waits that it should be swept.
    pub(super) fn wants_sweep(&self) -> bool {
        self.waiting.len() >= self.sweep_at
    }

    /// Lets go of what says nothing any more, where `says` tells which entries do. Of the records of
    /// ended calls the youngest stay. What then remains is bounded by what the engine holds and what
    /// was kept, and the next sweep comes when it has doubled.
    pub(super) fn sweep(&mut self, mut says: impl FnMut(&Entry) -> bool) {
        let mut records = self.waiting.iter().filter(|entry| has_record(entry)).count();
        let unrecorded = &mut self.unrecorded;
        self.waiting.retain_mut(|entry| {
            if let Entry::End(end) = entry
                && end.record.is_some()
            {
                if records > RECORDS_MAX {
                    end.record = None;
                    *unrecorded += 1;
                }
                records -= 1;
            }
            says(entry)
        });
        self.urgent = self.waiting.iter().filter(|entry| is_urgent(entry)).count();
        self.sweep_at = SWEEP_AT.max(2 * self.waiting.len());
    }
}

fn is_urgent(entry: &Entry) -> bool {
    matches!(entry, Entry::End(_))
}

fn has_record(entry: &Entry) -> bool {
    matches!(entry, Entry::End(end) if end.record.is_some())
}
