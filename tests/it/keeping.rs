//! What is kept, and gone on from: single cases, each of which was lost once. The rest is told by
//! `simulation.rs`.
#![expect(clippy::wildcard_enum_match_arm, reason = "each test looks for the one output that it is about")]

use std::sync::Arc;

use dtmfd::engine::{
    Answer, AskId, Bounds, Calls, Change, Commit, Event, Facts, Ivr, Key, Named, Outcome, Output, Parked,
    Question, Reach, Row, Source, Tick, UpdateKey,
};

use crate::script::tree;

const BOUNDS: Bounds = Bounds { calls_max: 10, attempts_max: 4 };

/// An engine whose every transaction is made at once.
struct Keeper {
    ivr: Arc<Ivr>,
    calls: Calls,
    commits: Vec<Commit>,
    outputs: Vec<Output>,
}

impl Keeper {
    fn new(json: &str) -> Keeper {
        let ivr = tree(json);
        let calls = Calls::new(Arc::clone(&ivr), BOUNDS, 1, Tick(0)).keeping();
        Keeper { ivr, calls, commits: Vec::new(), outputs: Vec::new() }
    }

    fn handle(&mut self, at: u64, event: Event<'_>) {
        self.calls.handle(event, Tick(at));
        self.drain(at);
    }

    fn key(&mut self, at: u64, call: &str, key: char) {
        let key = Key::parse(key).expect("a key");
        self.handle(at, Event::KeyPressed { source: Source::Voice, call, key, stamp: None });
    }

    fn start(&mut self, at: u64, call: &str) {
        self.handle(at, Event::CallStarted { source: Source::Voice, call, facts: Facts::default() });
    }

    fn pass(&mut self, until: u64) {
        while let Some(due) = self.calls.poll_timeout().filter(|due| due.0 <= until) {
            self.calls.handle_timeout(due);
            self.drain(due.0);
        }
    }

    fn drain(&mut self, at: u64) {
        while let Some(output) = self.calls.poll_output() {
            if let Output::Commit(commit) = &output {
                self.commits.push(commit.clone());
                self.calls.handle(Event::Committed(commit.number), Tick(at));
            }
            self.outputs.push(output);
        }
        self.calls.check_invariants();
    }

    /// Another process goes on from what was kept.
    fn restart(&mut self, at: u64) {
        let mut calls = Calls::new(Arc::clone(&self.ivr), BOUNDS, 2, Tick(at)).keeping();
        let changes = || self.commits.iter().flat_map(|commit| &commit.changes);
        // The last row of a key counts.
        let is_over = |row: usize, gone: &dyn Fn(&Change) -> bool| changes().skip(row + 1).any(gone);
        for (place, change) in changes().enumerate() {
            let row = match change {
                Change::PutTree(ivr) => Row::Tree(Arc::clone(ivr)),
                Change::PutCall(key, row) => {
                    let gone = |later: &Change| match later {
                        Change::PutCall(other, _) | Change::RemoveCall(other) => other == key,
                        _ => false,
                    };
                    if is_over(place, &gone) {
                        continue;
                    }
                    Row::Call { source: key.source, id: &key.id, row }
                }
                Change::PutUpdate(key, row) => {
                    let gone = |later: &Change| match later {
                        Change::PutUpdate(other, _) | Change::RemoveUpdate(other) => other == key,
                        _ => false,
                    };
                    if is_over(place, &gone) {
                        continue;
                    }
                    let UpdateKey { source, call, generation } = key;
                    Row::Update { source: *source, call, generation: *generation, row }
                }
                Change::PutEnded(row) => Row::Ended(*row),
                Change::RemoveTree(_)
                | Change::RemoveCall(_)
                | Change::RemoveUpdate(_)
                | Change::RemoveEnded(_)
                | Change::Record(_) => continue,
            };
            assert_eq!(Ok(()), calls.restore(row));
        }
        calls.restored();
        self.calls = calls;
        self.outputs.clear();
        self.pass(at);
        self.drain(at);
    }

    fn nodes(&self) -> Vec<String> {
        let resumed = self.outputs.iter().filter_map(|output| match output {
            Output::Resumed { call } => self.calls.call(*call),
            _ => None,
        });
        resumed.map(|call| call.node().name.to_string()).collect()
    }

    fn parked(&self) -> Vec<Parked> {
        let parked = self.outputs.iter().filter_map(|output| match output {
            Output::Parked { why, .. } => Some(*why),
            _ => None,
        });
        parked.collect()
    }

    fn sent(&self) -> Vec<UpdateKey> {
        let sent = self.outputs.iter().filter_map(|output| match output {
            Output::Deliver(attempt) => Some(attempt.update.key()),
            _ => None,
        });
        sent.collect()
    }
}

#[test]
fn a_step_is_kept_whose_left_over_digit_the_next_node_refuses() {
    let mut keeper = Keeper::new(
        r#"{ "rootNode": "a", "nodes": {
             "a": { "choices": { "1": "b", "10": "a" } },
             "b": { "choices": { "1": { "outcome": "done" } }, "guardMs": 500 } } }"#,
    );
    keeper.key(0, "c", '1');
    keeper.pass(100);
    // It commits the first 1 and is itself too early for the node that comes next.
    keeper.key(200, "c", '1');
    keeper.pass(300);
    keeper.restart(400);
    assert_eq!(["b"], *keeper.nodes());
}

#[test]
fn a_simulated_call_that_is_discarded_at_once_does_not_come_back() {
    let mut keeper =
        Keeper::new(r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "1": { "outcome": "one" } } } } }"#);
    let press = Question::Press { call: "c", key: Key::ALL[2], reach: Reach::Own };
    keeper.handle(0, Event::Asked(AskId(1), press));
    // The stream's call ends at once: that is a transaction with everything that waits for one.
    keeper.key(5, "c", '1');
    keeper.pass(100);
    keeper.restart(200);
    assert!(keeper.nodes().is_empty());
}

const RAW: &str = r#"{ "rootNode": "pin", "nodes": {
    "pin": { "collect": { "max": 4, "as": "pin" }, "mask": true, "nextNode": "b" },
    "b": { "choices": { "1": { "outcome": "done", "set": { "clear": "{pin!raw}" } } } } } }"#;

#[test]
fn an_update_is_parked_whose_call_outlived_the_process_that_knew_what_to_write() {
    let mut keeper = Keeper::new(RAW);
    "4711".chars().for_each(|key| keeper.key(0, "c", key));
    keeper.pass(100);
    keeper.restart(200);
    keeper.key(300, "c", '1');
    keeper.pass(400);
    assert_eq!([Parked::RawLost], *keeper.parked());
    keeper.restart(500);
    keeper.pass(600);
    assert_eq!(0, keeper.sent().len(), "it never goes without what it was to write");
}

#[test]
fn what_was_parked_before_its_value_was_lost_is_not_tried_again() {
    let mut keeper = Keeper::new(RAW);
    "47111".chars().for_each(|key| keeper.key(0, "c", key));
    let id = keeper.outputs.iter().find_map(|output| match output {
        Output::Deliver(attempt) => Some(attempt.id),
        _ => None,
    });
    let outcome = Outcome::Rejected { status: 400 };
    keeper.handle(10, Event::AttemptFinished { id: id.expect("it leaves"), outcome });
    keeper.pass(100);
    keeper.restart(200);
    keeper.handle(300, Event::Asked(AskId(1), Question::Retry(Named::AllParked)));
    keeper.pass(400);
    assert_eq!(0, keeper.sent().len());
    assert!(keeper.outputs.contains(&Output::Answer(AskId(1), Answer::Changed(0))));
}

#[test]
fn a_call_that_begins_anew_in_the_instant_of_its_end_has_another_idempotency_key() {
    let mut keeper =
        Keeper::new(r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "1": { "outcome": "one" } } } } }"#);
    // All of this was read together.
    for _ in 0..3 {
        keeper.start(7, "c");
        keeper.key(7, "c", '1');
    }
    let generations: Vec<_> = keeper.sent().into_iter().map(|key| key.generation.0).collect();
    assert_eq!([7, 8, 9], *generations);
}

/// What is masked has no influence on what is written: not as text, not packed, not by its stamps.
#[test]
fn what_is_written_is_the_same_whatever_is_entered_where_it_is_masked() {
    let written = |digits: &str, is_stamped: bool| {
        let mut keeper = Keeper::new(
            r#"{ "rootNode": "menu", "nodes": {
                 "menu": { "choices": { "12": "pin", "1": "@again" } },
                 "pin": { "collect": { "min": 4, "max": 8, "as": "pin" }, "endKey": "A", "mask": true, "nextNode": "b",
                   "set": { "pin": "{pin} {digits}" } },
                 "b": { "choices": { "1": { "outcome": "done", "set": { "keys": "{keys}", "clear": "{pin!raw}" } } } } } }"#,
        );
        for (place, symbol) in ["12", digits, "A1"].concat().chars().enumerate() {
            let at = place as u64 * 500;
            let (key, stamp) = (Key::parse(symbol).expect("a key"), is_stamped.then_some(at * 1_000));
            keeper.handle(at, Event::KeyPressed { source: Source::Voice, call: "c", key, stamp });
            keeper.pass(at + 400);
        }
        assert_eq!(1, keeper.sent().len());
        let written: Vec<_> = keeper.commits.into_iter().flat_map(|commit| commit.changes).collect();
        assert!(written.len() > 8, "each step is written: {written:?}");
        written
    };
    for is_stamped in [false, true] {
        let one = written("471108", is_stamped);
        assert_eq!(one, written("999999", is_stamped));
        assert_eq!(one, written("123456", is_stamped));
    }
}
