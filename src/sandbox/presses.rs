//! Callers of the sandbox: they press what `--press` says, 200 ms apart, and tell what came of it.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::{PressSpec, QueueFull, StandIn};
use crate::driver::CallEnd;
use crate::engine::{Answer, Source};
use crate::inbox::{Ask, Inbox};
use crate::press::Step;

/// How long a digit takes, as in a tree's `tests` (IVR.md section 2).
const DIGIT: Duration = Duration::from_millis(200);
/// How often a caller who waits for a deadline looks whether it has passed, and we for ends.
const LOOK: Duration = Duration::from_millis(20);
/// How long the engine may take to tell how a call stands; it takes microseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often we look whether a call that nothing is heard of is there at all, once its caller is done.
const SEARCH: Duration = Duration::from_millis(500);
/// For how long the engine must know nothing of a call, though all was sent, until it is given up: it
/// was refused, or its end was not heard of.
const GIVE_UP: Duration = Duration::from_secs(2);
/// How long events may wait for a voice WebSocket to open.
const SENT_MAX: Duration = Duration::from_secs(60);

/// Everyone who presses.
#[derive(Debug)]
pub struct Callers {
    callers: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    spec: PressSpec,
    /// What is still to be done, the last step first.
    steps: Vec<Step>,
    /// When the next step is due.
    due: Instant,
    /// What the call had behind it when the wait for its deadline began.
    waits_from: Option<u32>,
    /// Whether it began: a key begins a call, before any other step one is started.
    began: bool,
    /// When the last step was taken, or the engine last knew of the call.
    known: Instant,
    /// Since when it has known nothing of the call, though all was sent.
    unknown: Option<Instant>,
    given_up: bool,
    end: Option<CallEnd>,
}

impl Callers {
    /// Returns callers who begin now.
    pub fn new(specs: Vec<(PressSpec, Vec<Step>)>, now: Instant) -> Callers {
        let caller = |(spec, mut steps): (PressSpec, Vec<Step>)| {
            let began = matches!(steps.first(), Some(Step::Key(_)));
            steps.reverse();
            Caller {
                spec,
                steps,
                due: now,
                waits_from: None,
                began,
                known: now,
                unknown: None,
                given_up: false,
                end: None,
            }
        };
        Callers { callers: specs.into_iter().map(caller).collect() }
    }

    /// Does what is due, and hears who has ended. Returns when to come back; `None` once everybody has
    /// pressed everything and every call has ended, or can't be found.
    ///
    /// # Errors
    ///
    /// Returns an error if the stand-in has no room for more presses.
    pub fn step(
        &mut self,
        tenant: &StandIn,
        inbox: &Inbox,
        ends: &Receiver<CallEnd>,
    ) -> Result<Option<Instant>, QueueFull> {
        for end in ends.try_iter().filter(|end| end.source == Source::Voice) {
            let ended = self.callers.iter_mut().filter(|caller| caller.spec.call == end.call);
            ended.for_each(|caller| caller.end = Some(end.clone()));
        }
        let now = Instant::now();
        for caller in self.callers.iter_mut().filter(|caller| caller.due <= now) {
            caller.step(tenant, inbox, now)?;
        }
        let busy = self.callers.iter().filter(|caller| !caller.is_done());
        Ok(busy.map(|caller| if caller.steps.is_empty() { now + LOOK } else { caller.due }).min())
    }

    /// Returns how many calls were pressed, and what went otherwise than asked, a sentence each.
    pub fn verdict(&self, tenant: &StandIn) -> (usize, Vec<String>) {
        (self.callers.len(), self.callers.iter().filter_map(|caller| caller.complaint(tenant)).collect())
    }
}

impl Caller {
    fn step(&mut self, tenant: &StandIn, inbox: &Inbox, now: Instant) -> Result<(), QueueFull> {
        let call = &self.spec.call;
        if !self.began {
            tenant.start_call(call)?;
            self.began = true;
        }
        let Some(&step) = self.steps.last() else {
            if self.end.is_none() {
                self.search(tenant, inbox, now);
            }
            self.due = now + SEARCH;
            return Ok(());
        };
        self.due = match step {
            Step::Key(key) => {
                tenant.press(call, key)?;
                self.due.max(now) + DIGIT
            }
            Step::HangUp => {
                tenant.hang_up(call)?;
                now
            }
            Step::Wait(ms) => now + Duration::from_millis(ms),
            Step::UntilDeadline if self.awaits_deadline(tenant, inbox, now) => {
                self.due = now + LOOK;
                return Ok(());
            }
            Step::UntilDeadline => now,
        };
        self.waits_from = None;
        self.known = now;
        self.unknown = None;
        self.steps.pop();
        Ok(())
    }

    /// Returns whether the call's deadline is still to come.
    fn awaits_deadline(&mut self, tenant: &StandIn, inbox: &Inbox, now: Instant) -> bool {
        if self.end.is_some() {
            return false;
        }
        match self.search(tenant, inbox, now) {
            Some(progress) => *self.waits_from.get_or_insert(progress) == progress,
            // It has ended, or its first digit is still on its way; its end will be heard of.
            None => self.waits_from.is_none() && !self.given_up,
        }
    }

    /// Asks for the progress of a call whose end was not heard of. One that isn't there for too long is
    /// given up: there is no use in pressing on, which might begin it late.
    fn search(&mut self, tenant: &StandIn, inbox: &Inbox, now: Instant) -> Option<u32> {
        let question = Ask::Call { source: Source::Voice, call: self.spec.call.clone() };
        if let Ok(Answer::Call(standing)) = inbox.ask(question, PATIENCE) {
            (self.known, self.unknown) = (now, None);
            return Some(standing.progress);
        }
        if !tenant.has_told_all() && now < self.known + SENT_MAX {
            self.unknown = None;
        } else if now >= *self.unknown.get_or_insert(now) + GIVE_UP {
            self.given_up = true;
            self.steps.clear();
        }
        None
    }

    fn is_done(&self) -> bool {
        self.steps.is_empty() && (self.end.is_some() || self.given_up)
    }

    fn complaint(&self, tenant: &StandIn) -> Option<String> {
        let PressSpec { call, outcome, .. } = &self.spec;
        let Some(CallEnd { outcome: came, writes, .. }) = &self.end else {
            return Some(format!("{call} did not {}", if self.given_up { "begin" } else { "end" }));
        };
        match outcome {
            Some(asked) if came != asked => Some(format!("{call} ended with {came}, not {asked}")),
            _ if *writes && tenant.accepted(call).is_none() => {
                Some(format!("{call} ended with {came}, but its variables did not arrive"))
            }
            _ => None,
        }
    }
}
