//! Thread `presses`: plays what was posted with pauses in it, as time goes by.
//!
//! The thread that answers requests must not wait, and the engine knows no callers: so scripts wait here.
//! A bounded number is played at a time; each ends with its call, and after [`PLAY_MAX`] in any case.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::debug;

use crate::engine::{Answer, CallStanding, Reach, Source, Verdict};
use crate::inbox::{Ask, Inbox};
use crate::press::Step;

/// How many scripts are played at a time: people with keypads, not load.
pub(super) const PLAYS_MAX: usize = 64;
/// How long a script is played for: longer than a call lasts unless its tree says otherwise.
pub(super) const PLAY_MAX: Duration = Duration::from_secs(60 * 60);
/// How long the engine may take to answer; it takes microseconds. Other scripts wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after a deadline we look whether it has passed: the engine rounds up to milliseconds.
const AFTER_DEADLINE: Duration = Duration::from_millis(2);

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Plays {
    sender: Sender<Play>,
    /// How many places are taken.
    taken: Arc<AtomicUsize>,
}

/// Thread `presses`.
pub struct Player {
    received: Receiver<Play>,
    inbox: Inbox,
}

/// A place among those who are played, given back when it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

/// A place that a script may take.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    place: Place,
    sender: &'a Sender<Play>,
}

/// A script on its way.
#[derive(Debug)]
struct Play {
    call: String,
    reach: Reach,
    /// What is still to be done, the last step first.
    steps: Vec<Step>,
    /// When the next step is due.
    due: Instant,
    /// When to give up.
    until: Instant,
    /// Whether the call has been there: without it the rest would begin another.
    begun: bool,
    /// What the call had behind it when the wait for its deadline began.
    waits_from: Option<u32>,
    _place: Place,
}

/// Returns both ends.
pub(super) fn plays(inbox: Inbox) -> (Plays, Player) {
    let (sender, received) = bounded(PLAYS_MAX);
    (Plays { sender, taken: Arc::default() }, Player { received, inbox })
}

impl Plays {
    /// Returns a place, if there is one.
    pub(super) fn reserve(&self) -> Option<Reserved<'_>> {
        let more = |taken| (taken < PLAYS_MAX).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Reserved { place: Place(Arc::clone(&self.taken)), sender: &self.sender })
    }

    /// Returns how many scripts are played.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Reserved<'_> {
    /// Plays these steps from now on; `begun` says that the call has been pressed on. Returns whether there
    /// is still somebody to play them.
    pub(super) fn play(self, call: String, reach: Reach, steps: &[Step], begun: bool) -> bool {
        let (now, steps) = (Instant::now(), steps.iter().rev().copied().collect());
        let until = now + PLAY_MAX;
        let play = Play { call, reach, steps, due: now, until, begun, waits_from: None, _place: self.place };
        // It has room for every place.
        self.sender.try_send(play).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Player {
    /// Plays until the API has ended; what is not played by then is not.
    pub fn run(self) {
        let mut playing: Vec<Play> = Vec::new();
        loop {
            let next = playing.iter().map(|play| play.due).min();
            let received = match next {
                Some(due) => self.received.recv_deadline(due),
                None => self.received.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(play) => playing.push(play),
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            playing.retain_mut(|play| play.due > now || play.go_on(&self.inbox));
        }
    }
}

impl Play {
    /// Takes steps until one has to wait. Returns whether there are more.
    fn go_on(&mut self, inbox: &Inbox) -> bool {
        while self.due <= Instant::now() {
            if self.steps.is_empty() {
                return false;
            }
            if let Err(why) = self.step(inbox) {
                let (call, left) = (self.call.as_str(), self.steps.len());
                debug!(call, left; "the rest of what was to be pressed is not: {why}");
                return false;
            }
        }
        true
    }

    fn step(&mut self, inbox: &Inbox) -> Result<(), &'static str> {
        if Instant::now() >= self.until {
            return Err("it took too long");
        }
        let standing = self.standing(inbox)?;
        self.begun |= standing.is_some();
        if self.begun && standing.is_none() {
            return Err("the call has ended");
        }
        match self.steps.last().copied() {
            None => (),
            Some(Step::Wait(ms)) => self.due += Duration::from_millis(ms),
            // A call that has not begun has no deadline.
            Some(Step::UntilDeadline) => {
                if let Some(standing) = standing
                    && *self.waits_from.get_or_insert(standing.progress) == standing.progress
                {
                    self.due = Instant::now() + Duration::from_millis(standing.due_in_ms) + AFTER_DEADLINE;
                    return Ok(());
                }
            }
            Some(Step::Key(key)) => {
                let press = Ask::Press { call: self.call.clone(), key, reach: self.reach };
                match inbox.ask(press, PATIENCE) {
                    Ok(Answer::Pressed(Verdict::Refused)) => return Err("there is no room for another call"),
                    Ok(Answer::Pressed(_)) => self.begun = true,
                    Ok(Answer::OfTheStream) => return Err("the stream has shown the call"),
                    Ok(_) | Err(_) => return Err("the engine takes nothing"),
                }
            }
            Some(Step::HangUp) => {
                inbox
                    .ask(Ask::HangUp { call: self.call.clone() }, PATIENCE)
                    .map_err(|_| "the engine is late")?;
            }
        }
        self.waits_from = None;
        self.steps.pop();
        Ok(())
    }

    /// Returns how the call stands, if it is in progress.
    fn standing(&self, inbox: &Inbox) -> Result<Option<CallStanding>, &'static str> {
        let sources = match self.reach {
            Reach::Own | Reach::Dry => &[Source::Simulator][..],
            Reach::Live => &Source::ALL,
        };
        for &source in sources {
            match inbox.ask(Ask::Call { source, call: self.call.clone() }, PATIENCE) {
                Ok(Answer::Call(standing)) => return Ok(Some(standing)),
                Ok(_) => (),
                Err(_) => return Err("the engine is late"),
            }
        }
        Ok(None)
    }
}
