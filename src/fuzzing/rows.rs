//! What must hold of the engine, whatever the rows look like that it begins from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use crate::engine::{
    AskId, Bounds, Calls, Change, Event, Facts, Failure, Ivr, Key, Named, Outcome, Output, Page, Question,
    Reach, Row, Source, Tick, UpdateId,
};

/// All that a row can hold: a path to go back on, entries with names, masked and in clear, end keys that trail.
const TREE: &str = r##"{
  "rootNode": "main",
  "entries": { "+1": "card" },
  "defaults": { "endKey": "#", "interDigitMs": 700, "noInput": { "tries": 2, "nextNode": "main" },
                "noMatch": { "tries": 3, "outcome": "wrong" } },
  "keys": { "*": "@back", "0": "@root" },
  "limits": { "callMs": 60000, "steps": 9 },
  "onEnd": { "set": { "k": "{keys}", "p": "{path}", "c": "{card!raw}", "w": "{who}" }, "hangup": true },
  "nodes": {
    "main": { "choices": { "1": "card", "2": "who", "3": "@again", "33": { "outcome": "long" }, "4": "done" } },
    "who": { "maxMs": 5000, "collect": { "min": 2, "max": 4, "as": "who" }, "nextNode": "main", "set": { "seen": "{who}" } },
    "card": { "mask": 4, "guardMs": 100, "collect": { "min": 2, "max": 6, "as": "card", "cancelKey": "*" }, "nextNode": "main" },
    "done": { "outcome": "done", "set": { "d": "{digits}" } }
  }
}"##;

/// The engine's clock when it all begins: late in 2024.
const BEGIN: Tick = Tick(1_732_377_600_000);

/// How many events each engine is given at most.
const EVENTS_MAX: usize = 64;

/// Any bytes as what happens to an engine, as damage to the rows that it kept, and as what happens to the one that
/// begins from them.
///
/// A row that nobody damaged is taken, none breaks a promise of the engine's, and what is taken is kept again in rows
/// that are taken.
pub fn row(bytes: &[u8]) {
    static IVR: OnceLock<Arc<Ivr>> = OnceLock::new();
    let ivr = IVR.get_or_init(|| crate::tree::load(TREE).ivr.expect("it is a tree"));
    let mut bytes = Bytes(bytes);
    let mut before = Engine::new(ivr, BEGIN);
    before.live(&mut bytes);

    let later = before.now.after(u64::from(bytes.next()) << (bytes.next() % 32));
    let mut after = Engine::new(ivr, later);
    let mut kept = before.kept;
    kept.restore(ivr, &mut after.calls, &mut bytes);
    after.calls.restored();
    after.calls.handle_timeout(later);
    after.settle(&mut bytes);
    after.live(&mut bytes);

    after.calls.handle(Event::StoreLost, after.now);
    after.kept = Kept::default();
    after.fails = false;
    // As many transactions as there may be to make.
    for _ in 0..8 {
        after.now = after.now.after(5_000);
        after.calls.handle_timeout(after.now);
        after.settle(&mut Bytes(&[]));
    }
    let mut last = Engine::new(ivr, after.now);
    after.kept.restore(ivr, &mut last.calls, &mut Bytes(&[]));
}

/// What the input goes on with: zeroes, once it is over.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }
}

/// What a store would hold.
#[derive(Default)]
struct Kept {
    calls: BTreeMap<(Source, Arc<str>), Vec<u8>>,
    updates: BTreeMap<(Source, Arc<str>, Tick), Vec<u8>>,
    ended: BTreeMap<u64, u64>,
}

impl Kept {
    /// Makes an engine begin from the rows, some of which `bytes` damages.
    fn restore(&mut self, ivr: &Arc<Ivr>, calls: &mut Calls, bytes: &mut Bytes<'_>) {
        calls.restore(Row::Tree(Arc::clone(ivr))).expect("a tree is taken");
        for ((source, id), row) in &mut self.calls {
            let is_whole = !damage(row, bytes);
            let taken = calls.restore(Row::Call { source: *source, id, row });
            assert!(taken.is_ok() || !is_whole, "the row of {id}: {row:?}");
        }
        for ((source, call, generation), row) in &mut self.updates {
            let is_whole = !damage(row, bytes);
            let (source, generation) = (*source, *generation);
            let taken = calls.restore(Row::Update { source, call, generation, row });
            assert!(taken.is_ok() || !is_whole, "the update of {call}: {row:?}");
        }
        for (&call, &until) in &self.ended {
            let until = until ^ u64::from(bytes.next()).rotate_right(bytes.next().into());
            let taken = calls.restore(Row::Ended(crate::engine::EndedRow { call, until }));
            taken.expect("any number will do");
        }
    }
}

/// Changes a row as `bytes` say, and returns whether they do.
fn damage(row: &mut Vec<u8>, bytes: &mut Bytes<'_>) -> bool {
    let whole = row.clone();
    for _ in 0..bytes.next() % 4 {
        let place = usize::from(bytes.next()) % (row.len() + 1);
        match bytes.next() {
            0..=63 => row.truncate(place),
            64..=127 => row.insert(place, bytes.next()),
            128..=191 if place < row.len() => drop(row.remove(place)),
            // The largest number there is, where a number stood.
            240.. => drop(row.splice(place..row.len().min(place + 1), [[0xff; 9].as_slice(), &[1]].concat())),
            _ => {
                let byte = bytes.next();
                row.iter_mut().skip(place).take(1).for_each(|place| *place = byte);
            }
        }
    }
    whole != *row
}

/// An engine, with a store and a tenant that do as the input says.
struct Engine {
    calls: Calls,
    now: Tick,
    kept: Kept,
    in_flight: BTreeSet<UpdateId>,
    /// Whether transactions may fail.
    fails: bool,
}

impl Engine {
    fn new(ivr: &Arc<Ivr>, now: Tick) -> Engine {
        let bounds = Bounds { calls_max: 8, attempts_max: 3 };
        let calls = Calls::new(Arc::clone(ivr), bounds, 7, now).keeping();
        Engine { calls, now, kept: Kept::default(), in_flight: BTreeSet::new(), fails: true }
    }

    /// Lets happen what the input says, until it says nothing more.
    fn live(&mut self, bytes: &mut Bytes<'_>) {
        for _ in 0..EVENTS_MAX {
            let what = bytes.next();
            if what == 0 {
                return;
            }
            let source = Source::ALL[usize::from(what & 1)];
            let call = ["a", "b", "c@d"][usize::from(what >> 1 & 3) % 3];
            let key = Key::ALL[usize::from(what >> 4)];
            let page = Page { after: u64::from(what >> 4), limit: 2 };
            let event = match what >> 3 & 1 {
                0 => Event::KeyPressed { source, call, key, stamp: Some(self.now.0 * 1000) },
                _ => match what >> 4 {
                    0 => Event::CallEnded { source, call },
                    1 => {
                        let facts = Facts { interaction: Some("i"), from: Some("f"), to: Some("+1") };
                        Event::CallStarted { source, call, facts }
                    }
                    2 => {
                        Event::Asked(AskId(1), Question::Press { call, key: Key::ALL[1], reach: Reach::Dry })
                    }
                    3 => Event::Asked(AskId(1), Question::Retry(Named::AllParked)),
                    4 => Event::Asked(AskId(1), Question::Drop(Named::AllParked)),
                    5 => Event::Asked(AskId(1), Question::Calls(page)),
                    6 => Event::Asked(
                        AskId(1),
                        Question::Outbox { only_parked: source == Source::Voice, page },
                    ),
                    7 => Event::StoreLost,
                    8 => match self.in_flight.pop_first() {
                        Some(id) => Event::AttemptFinished { id, outcome: outcome(bytes.next()) },
                        None => continue,
                    },
                    // Time passes: less than a millisecond is nothing, and 2^31 are four weeks.
                    wait => {
                        self.now = self.now.after(u64::from(bytes.next()) << (4 * (wait - 9)));
                        self.calls.handle_timeout(self.now);
                        self.settle(bytes);
                        continue;
                    }
                },
            };
            self.calls.handle(event, self.now);
            self.settle(bytes);
        }
    }

    /// Does what the engine wants done, and sees to it that it keeps its promises.
    fn settle(&mut self, bytes: &mut Bytes<'_>) {
        while let Some(output) = self.calls.poll_output() {
            if let Output::Deliver(attempt) = output {
                assert!(self.in_flight.insert(attempt.id), "{:?} is under way already", attempt.id);
            } else if let Output::Commit(commit) = output {
                if self.fails && bytes.next() > 250 {
                    self.calls.handle(Event::CommitFailed(commit.number), self.now);
                    continue;
                }
                commit.changes.into_iter().for_each(|change| self.keep(change));
                self.calls.handle(Event::Committed(commit.number), self.now);
            }
        }
        self.calls.check_invariants();
    }

    fn keep(&mut self, change: Change) {
        let Kept { calls, updates, ended } = &mut self.kept;
        match change {
            Change::PutCall(key, row) => drop(calls.insert((key.source, key.id), row)),
            Change::RemoveCall(key) => drop(calls.remove(&(key.source, key.id))),
            Change::PutUpdate(key, row) => drop(updates.insert((key.source, key.call, key.generation), row)),
            Change::RemoveUpdate(key) => drop(updates.remove(&(key.source, key.call, key.generation))),
            Change::PutEnded(row) => drop(ended.insert(row.call, row.until)),
            Change::RemoveEnded(call) => drop(ended.remove(&call)),
            Change::PutTree(_) | Change::RemoveTree(_) | Change::Record(_) => (),
        }
    }
}

/// Returns one of the outcomes that an attempt has.
fn outcome(byte: u8) -> Outcome {
    match byte % 8 {
        0 => Outcome::Accepted { status: 200 },
        1 => Outcome::Refused { status: 401, token: 1 },
        2 => Outcome::NoToken { retry_in_ms: 500 },
        3 => Outcome::Paused { status: 429, retry_after_ms: u64::MAX >> (byte >> 3) },
        4 => Outcome::Busy { status: 429 },
        5 => Outcome::Failed(Failure::Network),
        6 => Outcome::NotYet { status: 404 },
        _ => Outcome::Rejected { status: 400 },
    }
}
