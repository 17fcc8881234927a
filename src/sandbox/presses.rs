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
    ended_with: Option<String>,
}

impl Callers {
    /// Returns callers who begin now.
    pub fn new(specs: Vec<(PressSpec, Vec<Step>)>, now: Instant) -> Callers {
        let caller = |(spec, mut steps): (PressSpec, Vec<Step>)| {
            steps.reverse();
            Caller { spec, steps, due: now, waits_from: None, ended_with: None }
        };
        Callers { callers: specs.into_iter().map(caller).collect() }
    }

    /// Does what is due, and hears who has ended. Returns when to come back; `None` once everybody has
    /// pressed everything and every call has ended.
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
        for CallEnd { call, outcome, .. } in ends.try_iter().filter(|end| end.source == Source::Voice) {
            let ended = self.callers.iter_mut().filter(|caller| caller.spec.call == call);
            ended.for_each(|caller| caller.ended_with = Some(outcome.clone()));
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
        let Some(&step) = self.steps.last() else { return Ok(()) };
        let call = &self.spec.call;
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
            Step::UntilDeadline if self.awaits_deadline(inbox) => now + LOOK,
            Step::UntilDeadline => now,
        };
        if self.due != now + LOOK || step != Step::UntilDeadline {
            self.waits_from = None;
            self.steps.pop();
        }
        Ok(())
    }

    /// Returns whether the call's deadline is still to come.
    fn awaits_deadline(&mut self, inbox: &Inbox) -> bool {
        if self.ended_with.is_some() {
            return false;
        }
        let question = Ask::Call { source: Source::Voice, call: self.spec.call.clone() };
        match inbox.ask(question, PATIENCE) {
            Ok(Answer::Call(standing)) => {
                *self.waits_from.get_or_insert(standing.progress) == standing.progress
            }
            // It has ended, or its first digit is still on its way; its end will be heard of.
            Ok(_) => self.waits_from.is_none(),
            Err(_) => false,
        }
    }

    fn is_done(&self) -> bool {
        self.steps.is_empty() && self.ended_with.is_some()
    }

    fn complaint(&self, tenant: &StandIn) -> Option<String> {
        let PressSpec { call, outcome, .. } = &self.spec;
        match (&self.ended_with, outcome) {
            (None, _) => Some(format!("{call} did not end")),
            (Some(came), Some(asked)) if came != asked => {
                Some(format!("{call} ended with {came}, not {asked}"))
            }
            // A hang-up writes nothing unless the tree says so.
            (Some(came), _) if came == "hangup" => None,
            (Some(_), _) if tenant.accepted(call).is_some() => None,
            (Some(came), _) => Some(format!("{call} ended with {came}, but its variables did not arrive")),
        }
    }
}
