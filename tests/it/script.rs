//! Scripts that are their own expected transcripts.
//!
//! A line is a time in milliseconds and what happens to the engine then; a line with `->` is what must
//! come of it. [`check`] plays the former, moves virtual time from deadline to deadline until nothing
//! is left to do, and compares the whole transcript: what must *not* happen is tested too.
//!
//! | Line | Meaning |
//! |---|---|
//! | `0 start A interaction=i from=f to=t` | the call began, with what is known of it |
//! | `0 key A 1` `0 key A 1 @1700` | a key, with the event's own time in ms |
//! | `0 end A` | the caller hung up |
//! | `0 sim A 1` `0 dry A 1` `0 live A 1` | a simulated press, by what it may do |
//! | `0 -> A hears main` | a node was entered; `, attempt 2 after noinput` where it was not by a commit |
//! | `0 -> A 9: invalid` | the verdict on a key that was not accepted |
//! | `0 -> A ends: completed` | with `at NODE` where that is not where the commit was made, `by REASON` |
//! | `0 -> A writes name=value …` | the update |

use std::fmt::Write as _;
use std::sync::Arc;

use dtmfd::engine::{
    Answer, AskId, Bounds, CallId, Calls, Event, Facts, Ivr, Key, NodeId, Outcome, Output, Question, Reach,
    Reason, Source, Tick, Verdict,
};

const BOUNDS: Bounds = Bounds { calls_max: 100, attempts_max: 8 };

/// Returns the tree that `json` writes.
pub(crate) fn tree(json: &str) -> Arc<Ivr> {
    let loaded = dtmfd::tree::load(json);
    loaded.ivr.unwrap_or_else(|| panic!("{}", dtmfd::tree::human(&loaded.findings, "tree", json, false)))
}

/// Plays a script and compares the transcript; then plays it again by a thread that is always late.
#[track_caller]
pub(crate) fn check(json: &str, script: &str) {
    let expected: Vec<_> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let ivr = tree(json);
    let punctual = Player::new(&ivr, false).play(&expected);
    assert_eq!(expected.join("\n"), punctual, "\n--- this came out:\n{punctual}\n---");
    let late = Player::new(&ivr, true).play(&expected);
    assert_eq!(without_times(&punctual), without_times(&late), "a late thread changed what came out");
}

/// Plays one walk a row, and compares all that comes of it, in short.
///
/// A row's events are `AT:WHAT`, where `WHAT` is a key, a key with the event's own time in ms (`1@1700`),
/// `start` with facts (`start,to=+49`), or `!` for a hang-up. What comes of them is told by instants,
/// as `0 main, two; 600 9: invalid, two 2 invalid; 1200 ends done at two, writes a=b`: a node that is
/// heard, or heard again as attempt 2 after `invalid`; a key that was not accepted; the end; the update.
#[track_caller]
pub(crate) fn rows(json: &str, rows: &[(&str, &str)]) {
    let ivr = tree(json);
    for (events, expected) in rows {
        let lines: Vec<String> = events.split_whitespace().map(line).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        let punctual = Player::new(&ivr, false).play(&lines);
        assert_eq!(expected, in_short(&punctual), "{events}\n{punctual}");
        let late = Player::new(&ivr, true).play(&lines);
        assert_eq!(without_times(&punctual), without_times(&late), "{events}: a late thread changed it");
    }
}

/// Writes an event of a row as the line of a script.
fn line(event: &str) -> String {
    let (at, what) = event.split_once(':').expect("an instant and what happens");
    match what {
        "!" => format!("{at} end A"),
        _ if what.starts_with("start") => {
            let facts = what.trim_start_matches("start").replace(',', " ");
            format!("{at} start A{facts}")
        }
        _ => format!("{at} key A {}", what.replace('@', " @")),
    }
}

/// Tells what came out by instants.
fn in_short(transcript: &str) -> String {
    let mut told = String::new();
    let mut last = "";
    for (at, output) in transcript.lines().filter_map(|line| line.split_once(" -> ")) {
        let output = output.strip_prefix("A ").unwrap_or(output);
        let output = match output.strip_prefix("hears ") {
            Some(heard) => heard.replace(", attempt", "").replace(" after ", " "),
            None => output.replace("ends: ", "ends "),
        };
        match told.is_empty() {
            true => write!(told, "{at} {output}"),
            false if at == last => write!(told, ", {output}"),
            false => write!(told, "; {at} {output}"),
        }
        .expect("a string takes everything");
        last = at;
    }
    told
}

/// Leaves only what came out, without when: a late thread says the same, later.
fn without_times(transcript: &str) -> Vec<&str> {
    transcript.lines().filter_map(|line| line.split_once(" -> ").map(|(_, output)| output)).collect()
}

struct Player {
    calls: Calls,
    late: bool,
    transcript: String,
    now: Tick,
    deadlines: usize,
}

impl Player {
    fn new(ivr: &Arc<Ivr>, late: bool) -> Player {
        let calls = Calls::new(Arc::clone(ivr), BOUNDS, 1, Tick(0));
        Player { calls, late, transcript: String::new(), now: Tick(0), deadlines: 0 }
    }

    fn play(mut self, lines: &[&str]) -> String {
        for line in lines.iter().filter(|line| !line.contains("->")) {
            let (at, words) = line.split_once(' ').expect("a time and what happens");
            let at = Tick(at.parse().expect("a time in milliseconds"));
            self.pass_time(at);
            self.now = at;
            writeln!(self.transcript, "{line}").expect("a string takes everything");
            let words: Vec<_> = words.split_whitespace().collect();
            self.calls.handle(event(&words), at);
            self.drain();
        }
        self.pass_time(Tick(100_000_000));
        self.transcript.trim_end().to_owned()
    }

    /// Handles the deadlines before `until`: each when it is due, or all of them too late.
    fn pass_time(&mut self, until: Tick) {
        while let Some(due) = self.calls.poll_timeout().filter(|&due| due < until) {
            self.now = if self.late { Tick(until.0.saturating_sub(1)).min(due.after(700)) } else { due };
            self.calls.handle_timeout(self.now);
            self.drain();
            self.deadlines += 1;
            assert!(self.deadlines < 100_000, "this goes on for ever:\n{}", self.transcript);
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            if let Output::Deliver(attempt) = &output {
                let (id, outcome) = (attempt.id, Outcome::Accepted { status: 200 });
                self.tell(&output);
                self.calls.handle(Event::AttemptFinished { id, outcome }, self.now);
                continue;
            }
            self.tell(&output);
        }
        self.calls.check_invariants();
    }

    fn tell(&mut self, output: &Output) {
        let line = match output {
            Output::Entered { call, node, attempt, reason } => {
                let mut line = format!("{} hears {}", self.id(*call), self.name(*call, *node));
                if *attempt > 1 || *reason != Reason::Commit {
                    write!(line, ", attempt {attempt} after {}", reason.name()).expect("a string");
                }
                line
            }
            Output::Pressed { verdict: Verdict::Accepted, .. } => return,
            Output::Pressed { call, key, verdict, .. } => {
                format!("{} {key}: {}", self.id(*call), verdict.name())
            }
            Output::Dropped { verdict } => format!("dropped: {}", verdict.name()),
            Output::Ended { call } => {
                let ended = self.calls.call(*call).expect("it can be looked at");
                let end = ended.end().expect("it has ended");
                let mut line = format!("{} ends: {} at {}", ended.id(), end.outcome, ended.node().name);
                if end.reason != Reason::Commit {
                    write!(line, " by {}", end.reason.name()).expect("a string");
                }
                line
            }
            Output::Discarded { call } => format!("{} is discarded", self.id(*call)),
            Output::Deliver(attempt) => {
                let update = &attempt.update;
                let mut line = format!("{} writes", update.interaction());
                for (name, value) in update.texts() {
                    write!(line, " {name}={value}").expect("a string");
                }
                line
            }
            Output::Answer(_, Answer::Pressed(_)) => return,
            Output::Answer(_, answer) => format!("answers {answer:?}"),
            Output::Began { .. }
            | Output::Resumed { .. }
            | Output::Commit(_)
            | Output::KeepingIs(_)
            | Output::TreeTaken(_)
            | Output::Undurable { .. }
            | Output::DroppedByOperator { .. }
            | Output::Queued { .. }
            | Output::Delivered { .. }
            | Output::Retrying { .. }
            | Output::Parked { .. }
            | Output::EndpointIs(_)
            | Output::Drained(_) => return,
        };
        writeln!(self.transcript, "{} -> {line}", self.now.0).expect("a string takes everything");
    }

    fn id(&self, call: CallId) -> &str {
        self.calls.call(call).expect("an output's call can be looked at").id()
    }

    fn name(&self, call: CallId, node: NodeId) -> &str {
        &self.calls.call(call).expect("an output's call can be looked at").ivr().node(node).name
    }
}

fn event<'a>(words: &[&'a str]) -> Event<'a> {
    let source = Source::Voice;
    let fact = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let press =
        |call, symbol, reach| Event::Asked(AskId(0), Question::Press { call, key: key(symbol), reach });
    match words {
        ["start", call, ..] => {
            let facts = Facts { interaction: fact("interaction="), from: fact("from="), to: fact("to=") };
            Event::CallStarted { source, call, facts }
        }
        ["key", call, symbol] => Event::KeyPressed { source, call, key: key(symbol), stamp: None },
        ["key", call, symbol, stamp] => {
            let ms: u64 = stamp.trim_start_matches('@').parse().expect("milliseconds");
            Event::KeyPressed { source, call, key: key(symbol), stamp: Some(ms * 1000) }
        }
        ["end", call] => Event::CallEnded { source, call },
        ["sim", call, symbol] => press(call, symbol, Reach::Own),
        ["dry", call, symbol] => press(call, symbol, Reach::Dry),
        ["live", call, symbol] => press(call, symbol, Reach::Live),
        _ => panic!("no such line: {words:?}"),
    }
}

fn key(symbol: &str) -> Key {
    symbol.chars().next().and_then(Key::parse).expect("a DTMF key")
}
