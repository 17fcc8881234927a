//! A tree's own `tests`, played in virtual time on the engine that live calls walk (IVR.md section 2).
//!
//! Everything has a bound, so that no tree can keep `run` or a reload busy for long: a walk ends by its
//! limits, a trial by [`EVENTS_MAX`], all of them together by [`ALL_EVENTS_MAX`].

mod show;

use std::collections::HashSet;
use std::sync::Arc;

use super::diagnostic::{FINDINGS_MAX, Finding, Severity, Span, code, quote};
use super::load::Loaded;
use super::scenario::Scenario;
use super::walk::{Walk, WalkStep};
use crate::engine::{
    Assignment, Bounds, Calls, Content, End, Event, Facts, Ivr, Output, Piece, Source, Tick,
};
use crate::press::Step;

pub use show::junit;

/// How long a digit takes: the next one comes so much later.
const DIGIT_MS: u64 = 200;

/// The most keys and deadlines of one test. With the default limits a walk has a few hundred.
const EVENTS_MAX: usize = 20_000;

/// The most keys and deadlines of all tests of a tree together.
const ALL_EVENTS_MAX: usize = 1_000_000;

/// Shown in the place of a value that a template wrote in clear.
pub(crate) const RAW: &str = "[raw]";

/// Said of a walk that needs more than [`EVENTS_MAX`] allows.
const TOO_LONG: &str = "stopped: it takes more keys and deadlines than are played";

/// The call that a test is about.
const CALL: &str = "test";

/// What became of a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// The test's name, else its number.
    pub name: String,
    /// Where the test stands in the file.
    pub span: Span,
    /// What came out otherwise than expected: nothing if the test passed.
    pub mismatches: Vec<Mismatch>,
    /// How the walk ended; `None` if it was stopped before its end.
    pub end: Option<End>,
    /// What would be written, values in clear shown as `[raw]`.
    pub set: Vec<(Arc<str>, String)>,
    /// What happened, the keys of masked nodes left out.
    pub walk: Vec<WalkStep>,
    /// How many steps more the walk had than are kept.
    pub omitted: usize,
}

impl Trial {
    /// Returns whether everything came out as expected.
    pub fn passed(&self) -> bool {
        self.mismatches.is_empty()
    }
}

/// Something that came out otherwise than expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// What, in words.
    pub what: String,
    /// What the test expects of it.
    pub expected: String,
    /// What came out.
    pub actual: String,
}

/// Plays the tests of a loaded tree, and finds those that fail: then there is no tree that calls can
/// walk. A tree in which something is wrong has none to play them on, and is returned as it is.
///
/// All that serve a tree load it through this.
#[must_use]
pub fn proven(mut loaded: Loaded) -> Loaded {
    let Some(ivr) = &loaded.ivr else { return loaded };
    let failed: Vec<Finding> = trials(ivr, &loaded.tests).filter_map(|trial| finding(&trial)).collect();
    if failed.is_empty() {
        return loaded;
    }
    loaded.ivr = None;
    loaded.omitted += failed.len().saturating_sub(FINDINGS_MAX);
    loaded.findings.extend(failed.into_iter().take(FINDINGS_MAX));
    loaded.findings.sort_by_key(|finding| (finding.span.start, finding.severity));
    loaded
}

fn finding(trial: &Trial) -> Option<Finding> {
    let Mismatch { what, expected, actual } = trial.mismatches.first()?;
    let more = match trial.mismatches.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let message = format!("{} fails: {what} is {actual}, not {expected}{more}", quote(&trial.name));
    let help = "a tree is walked once its own tests pass: `dtmfd test` shows the walk, key by key";
    let severity = Severity::Error;
    Some(Finding { code: code::FAILING_TEST, severity, span: trial.span.clone(), message, help: help.into() })
}

/// Plays tests one after another, each when it is asked for.
pub fn trials<'t>(ivr: &'t Arc<Ivr>, tests: &'t [Scenario]) -> impl Iterator<Item = Trial> + 't {
    let raw = raw_variables(ivr);
    let mut left = ALL_EVENTS_MAX;
    tests.iter().enumerate().map(move |(index, test)| {
        let mut player = Player::new(ivr, left.min(EVENTS_MAX));
        let given = player.events_left;
        player.play(&test.steps);
        left -= given - player.events_left;
        player.judge(index, test, ivr, &raw)
    })
}

struct Player {
    calls: Calls,
    walk: Walk,
    events_left: usize,
    /// When the last key was pressed on the call in progress.
    last_key: Tick,
    end: Option<End>,
    variables: Vec<(Arc<str>, String)>,
}

impl Player {
    fn new(ivr: &Arc<Ivr>, events_left: usize) -> Player {
        let calls = Calls::new(Arc::clone(ivr), Bounds { calls_max: 1, attempts_max: 1 }, 0, Tick(0));
        let walk = Walk::new(Arc::clone(ivr));
        Player { calls, walk, events_left, last_key: Tick(0), end: None, variables: Vec::new() }
    }

    fn play(&mut self, steps: &[Step]) {
        let (source, call) = (Source::Voice, CALL);
        let mut at = Tick(0);
        if !matches!(steps.first(), Some(Step::Key(_))) {
            self.happen(Event::CallStarted { source, call, facts: Facts::default() }, at);
        }
        for &step in steps {
            while self.pass_deadline(at) {}
            match step {
                Step::Key(key) => {
                    if self.end.is_some() {
                        self.walk.press_late(key, at);
                    } else {
                        self.last_key = at;
                        self.happen(Event::KeyPressed { source, call, key, stamp: None }, at);
                    }
                    at = at.after(DIGIT_MS);
                }
                Step::Wait(ms) => at = at.after(ms),
                Step::UntilDeadline => {
                    let steps = self.walk.len();
                    while self.walk.len() == steps && self.pass_deadline(Tick(u64::MAX)) {}
                    at = at.max(self.walk.now());
                }
                Step::HangUp if self.end.is_none() => {
                    self.walk.hang_up(at);
                    self.happen(Event::CallEnded { source, call }, at);
                }
                Step::HangUp => (),
            }
        }
        while self.pass_deadline(Tick(u64::MAX)) {}
    }

    /// Lets time pass to the next moment, up to `until`, at which the engine wants to be called. Returns
    /// whether there was one.
    fn pass_deadline(&mut self, until: Tick) -> bool {
        let next = self.calls.poll_timeout().filter(|&due| due <= until && self.end.is_none());
        let Some(due) = next.filter(|_| self.events_left > 0) else { return false };
        self.events_left -= 1;
        self.calls.handle_timeout(due);
        self.drain(due);
        true
    }

    fn happen(&mut self, event: Event<'_>, at: Tick) {
        if self.events_left > 0 {
            self.events_left -= 1;
            self.calls.handle(event, at);
            self.drain(at);
        }
    }

    fn drain(&mut self, now: Tick) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Pressed { key, verdict, from, .. } => self.walk.press(key, verdict, from, now),
                Output::Entered { node, attempt, reason, .. } => self.walk.enter(node, attempt, reason, now),
                Output::Ended { call } => {
                    let end = self.calls.call(call).and_then(|call| call.end()).cloned();
                    self.end.clone_from(&end);
                    self.walk.end(end.expect("a call that ended can be looked at"));
                }
                Output::Queued { update, .. } => {
                    let texts = update.texts();
                    self.variables =
                        texts.map(|(name, value)| (Arc::clone(name), value.to_owned())).collect();
                }
                // Nothing else is of the walk; what is to be delivered stays undelivered.
                Output::Began { .. }
                | Output::Resumed { .. }
                | Output::Commit(_)
                | Output::KeepingIs(_)
                | Output::TreeTaken(_)
                | Output::Undurable { .. }
                | Output::DroppedByOperator { .. }
                | Output::Dropped { .. }
                | Output::Discarded { .. }
                | Output::Deliver(_)
                | Output::Delivered { .. }
                | Output::Retrying { .. }
                | Output::Parked { .. }
                | Output::EndpointIs(_)
                | Output::Answer(..)
                | Output::Drained(_) => (),
            }
        }
        self.walk.settle();
    }

    fn judge(self, index: usize, test: &Scenario, ivr: &Ivr, raw: &HashSet<Arc<str>>) -> Trial {
        let mut mismatches = Vec::new();
        let mut differs = |what: &str, expected: String, actual: String| {
            mismatches.push(Mismatch { what: what.to_owned(), expected, actual });
        };
        let Player { walk, end, variables, last_key, .. } = self;
        match &end {
            None => differs("the walk", "ended by its limits".to_owned(), TOO_LONG.to_owned()),
            Some(end) => {
                if *end.outcome != *test.outcome {
                    differs("the outcome", quote(&test.outcome), quote(&end.outcome));
                }
                let name = &ivr.node(end.node).name;
                if let Some(at) = test.at.as_ref().filter(|at| *at != name) {
                    differs("the last node", quote(at), quote(name));
                }
                let took = end.at.since(last_key);
                if let Some(within) = test.within_ms.filter(|&within| within < took) {
                    let most = format!("at most {within} ms");
                    differs("the time from the last digit to the end", most, format!("{took} ms"));
                }
            }
        }
        for (name, value) in &test.set {
            let written = variables.iter().find(|(written, _)| **written == **name).map(|(_, value)| value);
            let what = format!("the variable {}", quote(name));
            match written {
                Some(written) if **written == **value => (),
                Some(_) if raw.contains(&**name) => {
                    differs(&what, "the one that the test gives".to_owned(), format!("another value, {RAW}"));
                }
                Some(written) => differs(&what, quote(value), quote(written)),
                None => differs(&what, quote(value), "not written".to_owned()),
            }
        }
        let shown = |(name, value): (Arc<str>, String)| {
            let value = if raw.contains(&name) { RAW.to_owned() } else { value };
            (name, value)
        };
        let name = test.name.as_ref().map_or_else(|| format!("test {}", index + 1), |name| name.to_string());
        let (walk, omitted) = walk.into_steps();
        let set = variables.into_iter().map(shown).collect();
        Trial { name, span: test.span.clone(), mismatches, end, set, walk, omitted }
    }
}

/// Returns the variables that some template writes an entry to in clear.
pub(crate) fn raw_variables(ivr: &Ivr) -> HashSet<Arc<str>> {
    let mut sets: Vec<&[Assignment]> = ivr.on_end.iter().map(|on_end| &*on_end.set).collect();
    for node in &ivr.nodes {
        sets.extend([&*node.set, &*node.no_input.set]);
        sets.extend(node.no_match.iter().map(|handler| &*handler.set));
        match &node.content {
            Content::Menu(choices) => sets.extend(choices.iter().map(|choice| &*choice.set)),
            Content::Entry(_) | Content::End(_) => (),
        }
    }
    let is_raw =
        |assignment: &&Assignment| assignment.value.0.iter().any(|piece| matches!(piece, Piece::RawSlot(_)));
    sets.into_iter().flatten().filter(is_raw).map(|assignment| Arc::clone(&assignment.name)).collect()
}

#[cfg(test)]
mod tests;
