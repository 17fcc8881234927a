//! A pretend disk: rows by their keys, and moods in which it is slow, full, failing or hung.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtmfd::engine::{CallKey, CallRecord, Change, EndedRow, Ivr, Row, Source, Tick, UpdateKey, Version};

use super::moods::Moods;
use crate::random_tree::Random;

/// How the disk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    Well,
    /// Up to longer than updates wait for it.
    Slow,
    Full,
    /// Some transactions fail, and some of those were made all the same.
    Flaky,
    /// It answers when this is over.
    Hung,
}

/// What will come of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fate {
    pub(super) at: u64,
    pub(super) applied: bool,
    pub(super) told: bool,
}

/// Names a record: where its call came from, its id, and when it began.
pub(super) type RecordKey = (Source, String, Tick);

/// What is on the disk.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) trees: BTreeMap<Version, Arc<Ivr>>,
    pub(super) calls: BTreeMap<CallKey, Vec<u8>>,
    pub(super) updates: BTreeMap<UpdateKey, Vec<u8>>,
    pub(super) ended: BTreeMap<u64, EndedRow>,
    /// Calls of one id that began in the same instant are told apart by what came of them.
    pub(super) records: BTreeMap<RecordKey, Vec<Arc<CallRecord>>>,
}

pub(super) struct Disk {
    pub(super) rows: Rows,
    pub(super) moods: Moods<Mood>,
    random: Random,
    /// When all of it was lost.
    lost_at: u64,
}

/// The disk is well once it has been for so long: what waited for it is made by then.
const WELL_AFTER_MS: u64 = 20_000;

impl Disk {
    pub(super) fn new(seed: u64, begin: u64, end: u64) -> Disk {
        let mut random = Random(seed);
        let few = [Mood::Well; 4];
        let many = [Mood::Well, Mood::Well, Mood::Slow, Mood::Full, Mood::Flaky, Mood::Hung];
        let choices = if random.one_in(3) { &few[..] } else { &many[..] };
        let moods = Moods::random(&mut random, begin, end, choices, Mood::Well);
        Disk { rows: Rows::default(), moods, random, lost_at: 0 }
    }

    /// Says what will come of a transaction that arrives now.
    pub(super) fn receive(&mut self, now: u64) -> Fate {
        let random = &mut self.random;
        let (mood, until) = self.moods.at(now);
        let good = |at| Fate { at, applied: true, told: true };
        match mood {
            Mood::Well => good(now + 1 + random.below(20)),
            Mood::Slow => good(now + 50 + random.below(9_000)),
            Mood::Full => Fate { at: now + random.below(50), applied: false, told: false },
            Mood::Flaky => match random.below(4) {
                0 => Fate { at: now + random.below(2_000), applied: false, told: false },
                1 => Fate { at: now + random.below(2_000), applied: true, told: false },
                _ => good(now + random.below(30)),
            },
            Mood::Hung => {
                let applied = random.one_in(2);
                Fate { at: until + 1, applied, told: applied && random.one_in(2) }
            }
        }
    }

    /// Whether it has been well for a while.
    pub(super) fn is_well(&self, now: u64) -> bool {
        let is_old = now >= self.lost_at + WELL_AFTER_MS;
        self.moods.at(now).0 == Mood::Well && self.moods.since(now) >= WELL_AFTER_MS && is_old
    }

    /// The database is set aside.
    pub(super) fn lose(&mut self, now: u64) {
        self.rows = Rows::default();
        self.lost_at = now;
    }

    /// Whether a crash finds the transaction in flight made.
    pub(super) fn is_torn_late(&mut self) -> bool {
        self.random.one_in(2)
    }
}

impl Rows {
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::PutTree(ivr) => drop(self.trees.insert(ivr.version, Arc::clone(ivr))),
                Change::RemoveTree(version) => drop(self.trees.remove(version)),
                Change::PutCall(key, row) => drop(self.calls.insert(key.clone(), row.clone())),
                Change::RemoveCall(key) => drop(self.calls.remove(key)),
                Change::PutUpdate(key, row) => drop(self.updates.insert(key.clone(), row.clone())),
                Change::RemoveUpdate(key) => drop(self.updates.remove(key)),
                Change::PutEnded(row) => drop(self.ended.insert(row.call, *row)),
                Change::RemoveEnded(call) => drop(self.ended.remove(call)),
                Change::Record(record) => {
                    let key = (record.source, record.id.to_string(), record.began);
                    let records = self.records.entry(key).or_default();
                    if !records.contains(record) {
                        records.push(Arc::clone(record));
                    }
                }
            }
        }
    }

    /// Every row, trees first; the rest in an order that `backwards` turns around.
    pub(super) fn all(&self, backwards: bool) -> Vec<Row<'_>> {
        let trees = self.trees.values().map(|ivr| Row::Tree(Arc::clone(ivr)));
        let calls = self.calls.iter().map(|(key, row)| Row::Call { source: key.source, id: &key.id, row });
        let updates = self.updates.iter().map(|(key, row)| {
            let UpdateKey { source, call, generation } = key;
            Row::Update { source: *source, call, generation: *generation, row }
        });
        let ended = self.ended.values().map(|row| Row::Ended(*row));
        let mut rows: Vec<_> = trees.chain(calls).chain(updates).chain(ended).collect();
        if backwards {
            rows[self.trees.len()..].reverse();
        }
        rows
    }
}

/// Looks for digits in what a change would write, as text and as the engine packs them.
pub(super) fn holds_digits(change: &Change, digits: &str) -> bool {
    let text = digits.as_bytes();
    let nibbles: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
    let packed = |skip: usize| -> Vec<u8> {
        nibbles[skip..].chunks_exact(2).map(|pair| pair[0] | pair[1] << 4).collect()
    };
    let needles = [text.to_vec(), packed(0), packed(1)];
    let holds = |row: &[u8]| {
        needles.iter().any(|needle| row.windows(needle.len()).any(|window| window == needle.as_slice()))
    };
    match change {
        Change::PutCall(_, row) | Change::PutUpdate(_, row) => holds(row),
        Change::Record(record) => {
            let pressed: String = dtmfd::engine::Presses::read(record.presses.bytes())
                .map(|press| press.key.map_or('•', |key| key.symbol()))
                .collect();
            pressed.contains(digits) || holds(record.presses.bytes())
        }
        Change::PutTree(_)
        | Change::RemoveTree(_)
        | Change::RemoveCall(_)
        | Change::RemoveUpdate(_)
        | Change::PutEnded(_)
        | Change::RemoveEnded(_) => false,
    }
}
