//! The engine against the second implementation of the language (`reference.rs`): random trees,
//! random scripts, and everything that comes of them must be the same, to the millisecond.
//!
//! One seed decides everything. To replay a failure: `SEED=123 cargo test differential`. The long
//! setting: `DTMFD_LONG=1 cargo test differential`; `CASES=…` sets another number.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use dtmfd::engine::{Bounds, Calls, Event, Facts, Ivr, Key, Outcome, Output, Source, Tick};

use crate::random_tree::{Random, random_tree};
use crate::reference::{Reference, Seen, Transcript, Tree, What};

/// How many scripts each tree has to stand.
const SCRIPTS: u64 = 25;
/// How many trees × scripts there are, in the short setting and in the long one.
const CASES: u64 = 200_000;
const CASES_LONG: u64 = 20_000_000;
/// The most events of a script.
const EVENTS_MAX: u64 = 24;
/// Where the clock of a script begins.
const BEGIN: u64 = 1000;

type Script = Vec<(u64, What)>;

#[test]
fn the_engine_and_a_second_implementation_agree_on_random_trees_and_scripts() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let usual = if std::env::var_os("DTMFD_LONG").is_some() { CASES_LONG } else { CASES };
    let trees = number("CASES").unwrap_or(usual).div_ceil(SCRIPTS);
    let first = number("SEED").unwrap_or(1);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let mut met = Met::new();
    std::thread::scope(|scope| {
        let check = |thread| {
            move || {
                let mut met = Met::new();
                (first + thread..first + trees)
                    .step_by(threads as usize)
                    .for_each(|seed| check_tree(seed, &mut met));
                met
            }
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(check(thread))).collect();
        for thread in threads {
            for (what, times) in thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                *met.entry(what).or_default() += times;
            }
        }
    });
    if trees >= CASES / SCRIPTS {
        for what in WHATS {
            let times = met.get(what).copied().unwrap_or_default();
            assert!(times > trees / 50, "{what:?} was met {times} times only: {met:?}");
        }
    }
}

/// How often a verdict or the reason of an entry or an end was met.
type Met = BTreeMap<&'static str, u64>;

/// What must be met: scripts that end too soon would prove nothing.
const WHATS: [&str; 13] = [
    "accepted",
    "invalid",
    "incomplete",
    "check",
    "duplicate",
    "late",
    "trailing_end_key",
    "guarded",
    "by ",
    "by noinput",
    "by invalid",
    "by limit",
    "by hangup",
];

fn meet(met: &mut Met, transcript: &Transcript) {
    for (_, _, verdict) in &transcript.verdicts {
        *met.entry(verdict).or_default() += 1;
    }
    for seen in &transcript.seen {
        let reason = match seen {
            Seen::Ended { reason, .. } => WHATS.iter().find(|what| what.strip_prefix("by ") == Some(reason)),
            Seen::Entered { .. } | Seen::Wrote { .. } => None,
        };
        *met.entry(reason.unwrap_or(&"by another")).or_default() += 1;
    }
}

fn check_tree(seed: u64, met: &mut Met) {
    let mut random = Random(seed);
    let (json, ivr) = random_tree(&mut random);
    let tree = Tree::new(&ivr);
    for _ in 0..SCRIPTS {
        let script = random_script(&mut random, &tree);
        meet(met, &Reference::play(&tree, &script));
        if let Some(mut why) = disagreement(&ivr, &tree, &script) {
            let script = shrunk(script, |script| match disagreement(&ivr, &tree, script) {
                Some(reason) => {
                    why = reason;
                    true
                }
                None => false,
            });
            let mut lines = String::new();
            for (at, what) in &script {
                writeln!(lines, "{at} {what:?}").expect("a string takes everything");
            }
            panic!("SEED={seed}\n{json}\n--- the script:\n{lines}--- {why}");
        }
    }
}

/// Drops events as long as what is left still fails.
fn shrunk(mut script: Script, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut at = 0;
    while at < script.len() {
        let mut shorter = script.clone();
        shorter.remove(at);
        if fails(&shorter) {
            script = shorter;
            at = 0;
        } else {
            at += 1;
        }
    }
    // So that `fails` has seen it last.
    fails(&script);
    script
}

/// Says in what the engine, punctual or late, differs from the reference.
fn disagreement(ivr: &Arc<Ivr>, tree: &Tree<'_>, script: &Script) -> Option<String> {
    let expected = Reference::play(tree, script);
    let play = |is_late| {
        let played = catch_unwind(AssertUnwindSafe(|| play(ivr, script, is_late)));
        played.map_err(|_| format!("the engine panicked (late: {is_late})"))
    };
    let (punctual, late) = match (play(false), play(true)) {
        (Ok(punctual), Ok(late)) => (punctual, late),
        (Err(why), _) | (_, Err(why)) => return Some(why),
    };
    if expected != punctual {
        return Some(format!("the reference:\n{}--- the engine:\n{}", told(&expected), told(&punctual)));
    }
    if without_entry_times(&punctual) != without_entry_times(&late) {
        return Some(format!("punctual:\n{}--- late:\n{}", told(&punctual), told(&late)));
    }
    unbounded(ivr, script, &punctual)
}

/// Says which call did not end exactly once, or not within the limits.
fn unbounded(ivr: &Ivr, script: &Script, transcript: &Transcript) -> Option<String> {
    let mut entries = 0;
    let (mut began, mut is_walking) = (0, false);
    for seen in &transcript.seen {
        match seen {
            Seen::Entered { at, attempt, .. } => {
                if !is_walking {
                    (began, is_walking, entries) = (*at, true, 0);
                }
                entries += u32::from(*attempt == 1);
                if entries > ivr.limits.steps {
                    return Some(format!("{entries} steps:\n{}", told(transcript)));
                }
            }
            Seen::Ended { at, .. } => {
                if !is_walking || *at > began + ivr.limits.call_ms {
                    return Some(format!("ended twice or too late:\n{}", told(transcript)));
                }
                is_walking = false;
            }
            Seen::Wrote { .. } if is_walking => return Some("wrote before the end".to_owned()),
            Seen::Wrote { .. } => (),
        }
    }
    let silent = script.iter().all(|(_, what)| *what == What::HangUp);
    (is_walking || transcript.seen.is_empty() && !silent).then(|| format!("no end:\n{}", told(transcript)))
}

fn told(transcript: &Transcript) -> String {
    let mut text = String::new();
    for line in &transcript.seen {
        writeln!(text, "{line:?}").expect("a string takes everything");
    }
    writeln!(text, "{:?}", transcript.verdicts).expect("a string takes everything");
    text
}

/// A thread that is late says the same, later; when a walk ended is no later.
fn without_entry_times(transcript: &Transcript) -> Transcript {
    let mut transcript = transcript.clone();
    for seen in &mut transcript.seen {
        if let Seen::Entered { at, .. } = seen {
            *at = 0;
        }
    }
    transcript
}

/// Plays a script with the engine: its thread wakes for each deadline, or only for each event.
fn play(ivr: &Arc<Ivr>, script: &Script, is_late: bool) -> Transcript {
    let bounds = Bounds { calls_max: 2, attempts_max: 2 };
    let mut player = Player {
        calls: Calls::new(Arc::clone(ivr), bounds, 1, Tick(0)),
        transcript: Transcript::default(),
        now: 0,
        key: ' ',
        deadlines: 0,
    };
    for (at, what) in script {
        if !is_late {
            player.pass_time(*at);
        }
        player.now = *at;
        let (source, call) = (Source::Voice, "call");
        let event = match what {
            What::Start { interaction, from, to } => {
                let [interaction, from, to] = [interaction, from, to].map(Option::as_deref);
                Event::CallStarted { source, call, facts: Facts { interaction, from, to } }
            }
            What::Key { key, stamp } => {
                player.key = *key;
                let key = Key::parse(*key).expect("a key");
                Event::KeyPressed { source, call, key, stamp: *stamp }
            }
            What::HangUp => Event::CallEnded { source, call },
        };
        player.calls.handle(event, Tick(*at));
        player.drain(is_late);
    }
    if is_late {
        player.now = player.now.saturating_add(1_000_000);
        player.calls.handle_timeout(Tick(player.now));
        player.drain(true);
    } else {
        player.pass_time(u64::MAX);
    }
    player.transcript
}

struct Player {
    calls: Calls,
    transcript: Transcript,
    now: u64,
    /// The key that was pressed last: one that finds no call is not named.
    key: char,
    deadlines: usize,
}

impl Player {
    fn pass_time(&mut self, until: u64) {
        while let Some(due) = self.calls.poll_timeout().filter(|due| due.0 < until) {
            self.now = due.0;
            self.calls.handle_timeout(due);
            self.drain(false);
            self.deadlines += 1;
            assert!(self.deadlines < 100_000, "this goes on for ever");
        }
    }

    fn drain(&mut self, is_late: bool) {
        while let Some(output) = self.calls.poll_output() {
            self.note(output, is_late);
        }
        self.calls.check_invariants();
    }

    fn note(&mut self, output: Output, is_late: bool) {
        let now = self.now;
        match output {
            Output::Entered { node, attempt, reason, .. } => {
                let (node, reason) = (node.0 as usize, reason.name());
                self.transcript.seen.push(Seen::Entered { at: now, node, attempt, reason });
            }
            Output::Pressed { key, verdict, .. } => {
                self.transcript.verdicts.push((now, key.symbol(), verdict.name()));
            }
            Output::Dropped { verdict } => {
                self.transcript.verdicts.push((now, self.key, verdict.name()));
            }
            Output::Ended { call } => {
                let end = self.calls.call(call).and_then(|call| call.end()).expect("it has ended");
                assert!(is_late || end.at.0 == now, "ended at {:?}, told at {now}", end.at);
                let (node, outcome) = (end.node.0 as usize, end.outcome.to_string());
                let reason = end.reason.name();
                self.transcript.seen.push(Seen::Ended { at: end.at.0, node, outcome, reason });
            }
            Output::Deliver(attempt) => {
                let update = &attempt.update;
                self.transcript.seen.push(Seen::Wrote {
                    at: update.ended.0,
                    interaction: update.interaction().to_owned(),
                    variables: update
                        .texts()
                        .map(|(name, value)| (name.to_string(), value.to_owned()))
                        .collect(),
                });
                let outcome = Outcome::Accepted { status: 200 };
                self.calls.handle(Event::AttemptFinished { id: attempt.id, outcome }, Tick(now));
            }
            Output::Began { .. }
            | Output::Resumed { .. }
            | Output::Commit(_)
            | Output::KeepingIs(_)
            | Output::TreeTaken(_)
            | Output::Undurable { .. }
            | Output::DroppedByOperator { .. }
            | Output::Discarded { .. }
            | Output::Queued { .. }
            | Output::Delivered { .. }
            | Output::Retrying { .. }
            | Output::Parked { .. }
            | Output::EndpointIs(_)
            | Output::Answer(..)
            | Output::Drained(_) => (),
        }
    }
}

/// Writes a script for the tree: it looks at how the walk stands, so as to press what is valid there,
/// at and around the instants that matter.
fn random_script(random: &mut Random, tree: &Tree<'_>) -> Script {
    let mut reference = Reference::new(tree);
    let mut script = Script::new();
    let mut now = BEGIN;
    let has_stamps = random.one_in(3);
    let mut pressed: Vec<(char, u64)> = Vec::new();
    // A replay of the seventeenth last is none: few walks take so many.
    let events = if has_stamps && random.one_in(4) { EVENTS_MAX * 3 } else { 1 + random.below(EVENTS_MAX) };
    for index in 0..events {
        now = random_time(random, &reference, now);
        reference.pass_time(now);
        let what = match random.below(40) {
            0 if index > 0 => What::HangUp,
            0..=1 => random_start(random, &reference),
            2..=19 if index == 0 => random_start(random, &reference),
            _ => {
                let (mut key, mut stamp) = (random_key(random, tree, &reference), None);
                if has_stamps && !random.one_in(8) {
                    (key, stamp) = random_stamp(random, tree, key, now, &pressed);
                    pressed.extend(stamp.map(|stamp| (key, stamp)));
                }
                What::Key { key, stamp }
            }
        };
        reference.happens(now, &what);
        script.push((now, what));
    }
    script
}

fn random_start(random: &mut Random, reference: &Reference<'_>) -> What {
    // What a second start of a call in progress may tell is not the language's business.
    if reference.standing().is_some() {
        return What::Start { interaction: None, from: None, to: None };
    }
    let mut fact = |text: &str| random.one_in(2).then(|| text.to_owned());
    What::Start { interaction: fact("i-1"), from: fact("+33"), to: fact("+49") }
}

pub(crate) fn random_time(random: &mut Random, reference: &Reference<'_>, now: u64) -> u64 {
    let around = |random: &mut Random, instant: u64| (instant + random.below(3)).saturating_sub(1).max(now);
    let Some(standing) = reference.standing() else {
        return now
            + match random.below(60) {
                0 => 600_000 - random.below(3),
                1 => 43_200_000 - random.below(3),
                _ => random.below(1000),
            };
    };
    match random.below(12) {
        0..=2 => now,
        3..=5 => now + random.below(250),
        6..=7 => around(random, standing.due),
        8 => around(random, standing.guarded_until),
        9 => match standing.trailing {
            Some((_, until)) => around(random, until),
            None => now + 1,
        },
        10 if random.one_in(4) => around(random, standing.limit),
        _ => now + random.below(1200),
    }
}

pub(crate) fn random_key(random: &mut Random, tree: &Tree<'_>, reference: &Reference<'_>) -> char {
    let any = random.pick(&['1', '1', '1', '2', '2', '3', '#', '*', '0', '9', 'A', '4', '5']);
    let Some(standing) = reference.standing() else { return any };
    match random.below(20) {
        0..=1 => tree.end_key(standing.node).unwrap_or(any),
        2 => tree.cancel_key(standing.node).unwrap_or(any),
        3 => standing.trailing.map_or(any, |(key, _)| key),
        4..=5 => any,
        _ => {
            let goes_on = |key: &char| {
                let longer = format!("{}{key}", standing.buffer);
                tree.extendable(standing.node, &longer) || tree.complete(standing.node, &longer)
            };
            let valid: Vec<char> = "1230456789*#A".chars().filter(goes_on).collect();
            if valid.is_empty() { any } else { random.pick(&valid) }
        }
    }
}

fn random_stamp(
    random: &mut Random,
    tree: &Tree<'_>,
    key: char,
    now: u64,
    pressed: &[(char, u64)],
) -> (char, Option<u64>) {
    let base = 1_700_000_000_000_000;
    let bounce = tree.ivr.bounce_ms * 1000;
    match (random.below(8), pressed.last()) {
        (0, Some(&(key, stamp))) => {
            let apart = (bounce + random.below(3)).saturating_sub(1);
            (key, Some(if random.one_in(2) { stamp + apart } else { stamp - apart }))
        }
        (1, Some(_)) => {
            // Near the edge of the sixteen as often as near the last.
            let back = if random.one_in(2) { 15 + random.below(3) } else { random.below(6) };
            let at = pressed.len().saturating_sub(1 + back as usize);
            (pressed[at].0, Some(pressed[at].1))
        }
        (2, _) => (key, Some(base + now * 1000 - random.below(400_000))),
        _ => (key, Some(base + now * 1000 + random.below(1000))),
    }
}
