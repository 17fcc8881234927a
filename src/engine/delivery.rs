//! Updates due, in flight, backing off, parked; and the state of the endpoint that they go to
//! (SPEC.md section 4, the table).
//!
//! An update is in exactly one state ([`State`]). What holds back *all* of them is a property of the
//! endpoint: a pause that it asked for, a token that it refuses, or that it fails. A waiting update
//! holds no worker; the wheel wakes it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::calls::Item;
use super::commit::UpdateKey;
use super::endpoint::{Admission, doubled};
use super::event::{Output, Tick};
use super::fingerprint::fingerprint_of;
use super::ledger::{Entry, Ledger};
use super::random::Random;
use super::row::{Reader, Unreadable, Writer};
use super::update::{Attempt, Outcome, Parked, Update, UpdateStanding, UpdateState, Variable};
use super::wheel::{Timer, Wheel};

/// Names an update that is not yet acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UpdateId {
    slot: u32,
    turn: u32,
}

impl UpdateId {
    /// Returns the place of the update among those that are kept: small numbers, used again and again.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The most updates that may be kept, waiting or parked: some 300 MB of them. Past that new calls are
/// refused, so that what was promised to earlier callers still fits.
pub(super) const UPDATES_MAX: usize = 1_000_000;
/// An update that is older than this has lost its caller: younger ones go first.
const FRESH_MS: u64 = 30_000;
/// Still undelivered after this, an update is parked.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// How many times an interaction may be missing: with the waits between, that is 60 s.
const NOT_YET_MAX: u32 = 5;
/// How many updates are looked at for one page of them, so that nobody else waits long.
const LOOKED_AT_MAX: usize = 65_536;
/// The wait after an interaction was missing for the first time; it doubles: 4 + 8 + 16 + 32 = 60 s.
const NOT_YET_FIRST_MS: u64 = 4_000;
/// So long an update waits to be kept, or for the next transaction after one that was made; then it
/// leaves all the same (SPEC.md section 6). A disk that gets on with what it missed is waited for.
const HELD_MS: u64 = 5_000;
/// As `HELD_MS`, while we leave: what is kept by then is kept, and there is time left to deliver.
const HELD_LAST_MS: u64 = 4_000;
/// A pause is never longer than this, whatever the endpoint asks for.
const PAUSE_MAX_MS: u64 = 300_000;
/// Full jitter begins here...
const JITTER_FIRST_MS: u64 = 250;
/// ... and doubles up to here.
const JITTER_MAX_MS: u64 = 60_000;

/// Every update that is not yet acknowledged.
#[derive(Debug)]
pub(super) struct Delivery {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Ready to go, in the order in which they became so. Names of updates that were parked since are
    /// skipped. None is named twice.
    fresh: VecDeque<UpdateId>,
    /// As `fresh`, of those whose caller has gone.
    backlog: VecDeque<UpdateId>,
    /// Whether the last attempt was a fresh one, so that the backlog gets every other one at most.
    fresh_went_last: bool,
    in_flight: usize,
    in_flight_max: usize,
    backlog_in_flight: usize,
    parked: usize,
    /// How many left without being kept.
    undurable: u64,
    /// Whether we leave, and nothing waits longer than it must.
    hurries: bool,
    endpoint: Admission,
    /// Wakes us when the endpoint may be asked again.
    opening: Option<(Timer, Tick)>,
    random: Random,
}

#[derive(Debug)]
struct Slot {
    turn: u32,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    update: Arc<Update>,
    /// Attempts that reached for the endpoint.
    attempts: u32,
    /// How many times the interaction was missing.
    not_yet: u32,
    /// How many times it was refused.
    refusals: u32,
    /// Its day begins here: at the call's end, or when an operator wanted it tried again.
    since: Tick,
    /// What an operator calls it.
    name: u64,
    /// Whether it is on disk, or may be.
    kept: bool,
    /// Whether it is named in `fresh` or `backlog`: one that was parked there is named still.
    queued: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Until it is kept, or its timer fires.
    Held(Timer),
    /// In `fresh` or `backlog`; the timer parks it after a day.
    Ready(Timer),
    InFlight {
        of_backlog: bool,
    },
    /// Until its timer fires.
    Waiting(Timer),
    Parked(Parked),
}

/// Why an operator's wish was not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unchanged {
    NoSuchUpdate,
    /// Its attempt is under way: nobody knows whether it arrived.
    InFlight,
    /// What it held is gone: it can only be dropped.
    RawLost,
}

/// What delivery acts on.
pub(super) struct Surroundings<'a> {
    pub(super) now: Tick,
    /// As `now`, but never as of a moment that is over.
    pub(super) present: Tick,
    pub(super) wheel: &'a mut Wheel<Item>,
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) ledger: &'a mut Ledger,
}

impl Delivery {
    /// Returns a delivery without updates that has at most `in_flight_max` attempts under way.
    pub(super) fn new(in_flight_max: usize, seed: u64) -> Delivery {
        Delivery {
            slots: Vec::new(),
            free: Vec::new(),
            fresh: VecDeque::new(),
            backlog: VecDeque::new(),
            fresh_went_last: false,
            in_flight: 0,
            in_flight_max,
            backlog_in_flight: 0,
            parked: 0,
            undurable: 0,
            hurries: false,
            endpoint: Admission::default(),
            opening: None,
            random: Random::new(seed),
        }
    }

    /// Returns how many updates are kept, parked ones too.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Returns how many updates are set aside for an operator.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Returns how many updates left without being kept.
    pub(super) fn undurable(&self) -> u64 {
        self.undurable
    }

    /// Takes in an update, which is due as soon as it is kept.
    pub(super) fn add(&mut self, update: Arc<Update>, around: &mut Surroundings<'_>) -> UpdateId {
        let id = self.vacant();
        let due =
            if around.ledger.is_on() { around.present.after(HELD_MS) } else { update.ended.after(KEPT_MS) };
        let timer = around.wheel.schedule(due, Item::Update(id.slot));
        let state = if around.ledger.is_on() { State::Held(timer) } else { State::Ready(timer) };
        around.outputs.push_back(Output::Queued { id, update: Arc::clone(&update) });
        self.slots[id.slot as usize].pending = Some(Pending::new(update, state));
        if self.pending(id).is_some_and(|pending| pending.update.has_lost()) {
            // Its call outlived the process that knew what it was to write.
            around.wheel.cancel(timer);
            self.park(id, Parked::RawLost, around);
        } else if matches!(state, State::Ready(_)) {
            self.enqueue(id);
        }
        id
    }

    /// Takes in an update that was kept, with what [`Delivery::row`] wrote of it.
    pub(super) fn restore(
        &mut self,
        key: UpdateKey,
        row: &[u8],
        around: &mut Surroundings<'_>,
    ) -> Result<(), Unreadable> {
        let mut reader = Reader::new(row)?;
        let interaction = reader.option(|reader| reader.text().map(Box::from))?;
        let (ended, since) = (reader.tick()?, reader.tick()?);
        let parked = reader.option(Parked::read)?;
        let attempts = reader.narrow()?;
        let variables = reader.list(Variable::read)?;
        reader.finish()?;
        let UpdateKey { source, call, generation } = key;
        let update = Arc::new(Update { source, call, generation, interaction, variables, ended });

        let id = self.vacant();
        let is_lost = update.has_lost();
        let state = match parked {
            Some(why) => {
                self.parked += 1;
                State::Parked(why)
            }
            None => State::Ready(around.wheel.schedule(since.after(KEPT_MS), Item::Update(id.slot))),
        };
        let pending = Pending { attempts, since, kept: true, ..Pending::new(update, state) };
        let update = Arc::clone(&pending.update);
        self.slots[id.slot as usize].pending = Some(pending);
        if let State::Ready(timer) = state {
            if is_lost {
                around.wheel.cancel(timer);
                self.park(id, Parked::RawLost, around);
            } else {
                self.enqueue(id);
                around.outputs.push_back(Output::Queued { id, update });
            }
        }
        Ok(())
    }

    /// Everything that was kept is back: what waits goes out step by step.
    pub(super) fn restored(&mut self) {
        if self.len() > self.parked {
            self.endpoint.begin_slowly();
        }
    }

    /// Returns what is to be kept of an update; `None` if it is no more.
    pub(super) fn row(&mut self, id: UpdateId) -> Option<(UpdateKey, Vec<u8>)> {
        let pending = self.pending_mut(id)?;
        pending.kept = true;
        let update = &pending.update;
        let mut writer = Writer::new();
        writer.option(update.interaction.as_deref(), |writer, text| writer.text(text));
        writer.tick(update.ended);
        writer.tick(pending.since);
        let parked = match pending.state {
            State::Parked(why) => Some(why),
            State::Held(_) | State::Ready(_) | State::InFlight { .. } | State::Waiting(_) => None,
        };
        writer.option(parked, |writer, why| why.write(writer));
        writer.number(u64::from(pending.attempts));
        writer.number(update.variables.len() as u64);
        update.variables.iter().for_each(|variable| variable.write(&mut writer));
        Some((update.key(), writer.finish()))
    }

    /// Returns every update.
    pub(super) fn ids(&self) -> impl Iterator<Item = UpdateId> + '_ {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.pending.is_some());
        slots.map(|(index, slot)| UpdateId { slot: index as u32, turn: slot.turn })
    }

    /// Returns whether an update is there still.
    pub(super) fn has(&self, id: UpdateId) -> bool {
        self.pending(id).is_some()
    }

    /// An update was kept: nothing holds it any more.
    pub(super) fn committed(&mut self, id: UpdateId, around: &mut Surroundings<'_>) {
        let Some(pending) = self.pending_mut(id) else { return };
        if let State::Held(timer) = pending.state {
            around.wheel.reschedule(timer, pending.since.after(KEPT_MS));
            pending.state = State::Ready(timer);
            self.enqueue(id);
        }
    }

    fn vacant(&mut self) -> UpdateId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, pending: None });
            (self.slots.len() - 1) as u32
        });
        UpdateId { slot, turn: self.slots[slot as usize].turn }
    }

    /// Starts every attempt that may start now, and sees to being woken for the next.
    pub(super) fn start_attempts(&mut self, around: &mut Surroundings<'_>) {
        while self.in_flight < self.endpoint.window(around.now, self.in_flight_max)
            && let Some((id, of_backlog)) = self.next_ready(around.now)
        {
            let pending = self.pending_mut(id).expect("`next_ready` gives updates that are ready");
            if let State::Ready(timer) = pending.state {
                around.wheel.cancel(timer);
            }
            pending.state = State::InFlight { of_backlog };
            pending.attempts = pending.attempts.saturating_add(1);
            let attempt = Attempt { id, number: pending.attempts, update: Arc::clone(&pending.update) };
            self.endpoint.start();
            self.in_flight += 1;
            self.backlog_in_flight += usize::from(of_backlog);
            self.fresh_went_last = !of_backlog;
            around.outputs.push_back(Output::Deliver(attempt));
        }
        self.await_opening(around);
        if let Some(endpoint) = self.endpoint.news(around.now) {
            around.outputs.push_back(Output::EndpointIs(endpoint));
        }
    }

    /// Schedules, moves or cancels the timer that wakes us when the endpoint may be asked again.
    fn await_opening(&mut self, around: &mut Surroundings<'_>) {
        let ready = !self.fresh.is_empty() || !self.backlog.is_empty();
        let wanted = Some(self.endpoint.opens_at()).filter(|&at| ready && at > around.now);
        self.opening = match (self.opening, wanted) {
            (Some((timer, at)), Some(wanted)) => {
                if at != wanted {
                    around.wheel.reschedule(timer, wanted);
                }
                Some((timer, wanted))
            }
            (Some((timer, _)), None) => {
                around.wheel.cancel(timer);
                None
            }
            (None, wanted) => wanted.map(|at| (around.wheel.schedule(at, Item::Endpoint), at)),
        };
    }

    /// The timer of [`Item::Endpoint`] fired.
    pub(super) fn opened(&mut self) {
        self.opening = None;
    }

    /// Takes the next ready update out of its queue: the younger ones first, every other attempt at
    /// most for the backlog, which never takes the last quarter of the attempts in flight either.
    fn next_ready(&mut self, now: Tick) -> Option<(UpdateId, bool)> {
        while let Some(&id) = self.fresh.front() {
            match self.pending(id) {
                Some(pending) if matches!(pending.state, State::Ready(_)) => {
                    if now.since(pending.update.ended) < FRESH_MS {
                        break;
                    }
                    self.fresh.pop_front();
                    self.backlog.push_back(id);
                }
                Some(_) | None => {
                    self.fresh.pop_front();
                    self.unqueue(id);
                }
            }
        }
        while let Some(&id) = self.backlog.front()
            && !self.pending(id).is_some_and(|pending| matches!(pending.state, State::Ready(_)))
        {
            self.backlog.pop_front();
            self.unqueue(id);
        }
        let backlog_max = (self.in_flight_max - self.in_flight_max / 4).max(1);
        let backlog_may = !self.backlog.is_empty() && self.backlog_in_flight < backlog_max;
        let of_backlog = backlog_may && (self.fresh.is_empty() || self.fresh_went_last);
        let id = if of_backlog { self.backlog.pop_front() } else { self.fresh.pop_front() }?;
        self.unqueue(id);
        Some((id, of_backlog))
    }

    /// Names a ready update in `fresh`, unless it is named in a queue from before it was parked.
    fn enqueue(&mut self, id: UpdateId) {
        if let Some(pending) = self.pending_mut(id)
            && !std::mem::replace(&mut pending.queued, true)
        {
            self.fresh.push_back(id);
        }
    }

    /// An update's name was taken out of its queue.
    fn unqueue(&mut self, id: UpdateId) {
        if let Some(pending) = self.pending_mut(id) {
            pending.queued = false;
        }
    }

    /// An attempt came back.
    pub(super) fn finish(&mut self, id: UpdateId, outcome: Outcome, around: &mut Surroundings<'_>) {
        let Some(pending) = self.pending(id) else { return };
        let State::InFlight { of_backlog } = pending.state else { return };
        let (update, attempts) = (Arc::clone(&pending.update), pending.attempts);
        self.in_flight -= 1;
        self.backlog_in_flight -= usize::from(of_backlog);
        self.endpoint.answered(outcome, id, around.now, &mut self.random);
        match outcome {
            Outcome::Accepted { .. } => {
                self.release(id, around);
                around.outputs.push_back(Output::Delivered { id, update, attempts });
            }
            Outcome::Refused { .. } => {
                let pending = self.pending_mut(id).expect("it was in flight");
                pending.refusals += 1;
                // The first time it is worth another try at once, with a fresh token. An update that is
                // refused again and again, while others are not, waits longer and longer on its own.
                let wait_ms = match pending.refusals {
                    1 => 0,
                    refusals => jitter(&mut self.random, refusals),
                };
                self.retry(id, wait_ms, outcome, around);
            }
            Outcome::NoToken { .. } => {
                // Nothing was sent.
                self.pending_mut(id).expect("it was in flight").attempts -= 1;
                self.retry(id, 0, outcome, around);
            }
            Outcome::Paused { retry_after_ms, .. } => {
                let wait_ms = retry_after_ms.max(jitter(&mut self.random, attempts)).min(PAUSE_MAX_MS);
                self.endpoint.pause(around.now.after(wait_ms));
                self.retry(id, wait_ms, outcome, around);
            }
            Outcome::Busy { .. } | Outcome::Failed(_) => {
                let wait_ms = jitter(&mut self.random, attempts);
                self.retry(id, wait_ms, outcome, around);
            }
            Outcome::NotYet { status } => {
                let pending = self.pending_mut(id).expect("it was in flight");
                pending.not_yet += 1;
                match pending.not_yet {
                    NOT_YET_MAX.. => self.park(id, Parked::NotFound { status }, around),
                    times => self.retry(id, NOT_YET_FIRST_MS << (times - 1), outcome, around),
                }
            }
            Outcome::Rejected { status } => self.park(id, Parked::Rejected { status }, around),
        }
    }

    /// An update's timer fired. Returns whether it was to be kept, and leaves without that.
    pub(super) fn timer_fired(&mut self, slot: u32, around: &mut Surroundings<'_>) -> bool {
        let Slot { turn, pending: Some(pending) } = &mut self.slots[slot as usize] else {
            unreachable!("a released update has no timer")
        };
        let id = UpdateId { slot, turn: *turn };
        let expires = pending.since.after(KEPT_MS);
        let is_late = matches!(pending.state, State::Held(_));
        let waited_for =
            around.ledger.made().map(|made| made.after(HELD_MS)).filter(|&until| until > around.present);
        if is_late
            && !self.hurries
            && let Some(until) = waited_for
        {
            pending.state = State::Held(around.wheel.schedule(until, Item::Update(slot)));
            return false;
        }
        if is_late {
            self.undurable += 1;
            let update = Arc::clone(&pending.update);
            around.outputs.push_back(Output::Undurable { update });
        }
        let pending = self.pending_mut(id).expect("it was there a moment ago");
        if around.now >= expires {
            self.park(id, Parked::TooOld, around);
        } else {
            pending.state = State::Ready(around.wheel.schedule(expires, Item::Update(slot)));
            self.enqueue(id);
        }
        is_late
    }

    /// Lets an update wait, and then be ready again.
    fn retry(&mut self, id: UpdateId, wait_ms: u64, outcome: Outcome, around: &mut Surroundings<'_>) {
        let pending = self.pending_mut(id).expect("it was in flight");
        let expires = pending.since.after(KEPT_MS);
        let due = around.now.after(wait_ms).min(expires);
        let at_once = wait_ms == 0 && around.now < expires;
        let timer = around.wheel.schedule(if at_once { expires } else { due }, Item::Update(id.slot));
        pending.state = if at_once { State::Ready(timer) } else { State::Waiting(timer) };
        let (update, attempts) = (Arc::clone(&pending.update), pending.attempts);
        around.outputs.push_back(Output::Retrying { update, attempts, outcome, wait_ms });
        if at_once {
            self.enqueue(id);
        }
    }

    fn park(&mut self, id: UpdateId, why: Parked, around: &mut Surroundings<'_>) {
        let pending = self.pending_mut(id).expect("only a kept update is parked");
        pending.state = State::Parked(why);
        let (update, attempts) = (Arc::clone(&pending.update), pending.attempts);
        self.parked += 1;
        around.ledger.note(Entry::Update(id), around.present);
        around.outputs.push_back(Output::Parked { update, attempts, why });
    }

    /// Returns the update that an operator calls so.
    pub(super) fn find(&self, name: u64) -> Option<UpdateId> {
        self.ids().find(|&id| self.pending(id).is_some_and(|pending| pending.name == name))
    }

    /// Returns the updates that are set aside.
    pub(super) fn parked_ids(&self) -> Vec<UpdateId> {
        let is_parked =
            |id: &UpdateId| self.pending(*id).is_some_and(|kept| matches!(kept.state, State::Parked(_)));
        self.ids().filter(is_parked).collect()
    }

    /// An operator wants an update tried now.
    pub(super) fn retry_now(&mut self, id: UpdateId, around: &mut Surroundings<'_>) -> Result<(), Unchanged> {
        let pending = self.pending_mut(id).ok_or(Unchanged::NoSuchUpdate)?;
        match pending.state {
            // Whatever it was set aside for.
            State::Parked(_) if pending.update.has_lost() => return Err(Unchanged::RawLost),
            State::Parked(_) => {
                pending.since = around.now;
                (pending.not_yet, pending.refusals) = (0, 0);
                let timer = around.wheel.schedule(around.now.after(KEPT_MS), Item::Update(id.slot));
                pending.state = State::Ready(timer);
                self.parked -= 1;
                self.enqueue(id);
                around.ledger.note(Entry::Update(id), around.present);
            }
            State::Waiting(timer) => {
                around.wheel.reschedule(timer, pending.since.after(KEPT_MS));
                pending.state = State::Ready(timer);
                self.enqueue(id);
            }
            // It goes as soon as it can.
            State::Held(_) | State::Ready(_) | State::InFlight { .. } => (),
        }
        Ok(())
    }

    /// An operator drops an update.
    pub(super) fn drop_now(&mut self, id: UpdateId, around: &mut Surroundings<'_>) -> Result<(), Unchanged> {
        let pending = self.pending(id).ok_or(Unchanged::NoSuchUpdate)?;
        match pending.state {
            State::InFlight { .. } => return Err(Unchanged::InFlight),
            State::Parked(_) => self.parked -= 1,
            State::Held(timer) | State::Ready(timer) | State::Waiting(timer) => around.wheel.cancel(timer),
        }
        let update = Arc::clone(&self.pending(id).expect("it was there a moment ago").update);
        self.release(id, around);
        around.outputs.push_back(Output::DroppedByOperator { id, update });
        Ok(())
    }

    /// Returns how updates stand, from place `after` on: at most `limit`, and the place to go on from if
    /// there may be more. It looks at no more than [`LOOKED_AT_MAX`].
    pub(super) fn page(
        &self,
        only_parked: bool,
        after: usize,
        limit: usize,
        now: Tick,
    ) -> (Vec<UpdateStanding>, Option<usize>) {
        let mut page = Vec::new();
        let end = self.slots.len().min(after.saturating_add(LOOKED_AT_MAX));
        for place in after..end {
            let Some(pending) = &self.slots[place].pending else { continue };
            if only_parked && !matches!(pending.state, State::Parked(_)) {
                continue;
            }
            if page.len() == limit {
                return (page, Some(place));
            }
            page.push(pending.standing(now));
        }
        (page, (end < self.slots.len()).then_some(end))
    }

    /// Makes every update ready that waits for its next attempt: the last chance before we leave.
    pub(super) fn hurry(&mut self, around: &mut Surroundings<'_>) {
        self.hurries = true;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Slot { turn, pending: Some(pending) } = slot else { continue };
            match pending.state {
                State::Waiting(timer) => {
                    around.wheel.reschedule(timer, pending.since.after(KEPT_MS));
                    pending.state = State::Ready(timer);
                    if !std::mem::replace(&mut pending.queued, true) {
                        self.fresh.push_back(UpdateId { slot: index as u32, turn: *turn });
                    }
                }
                State::Held(timer) => around.wheel.reschedule(timer, around.now.after(HELD_LAST_MS)),
                State::Ready(_) | State::InFlight { .. } | State::Parked(_) => (),
            }
        }
    }

    /// Returns whether nothing of the endpoint or its attempts can happen before `until`. Updates that
    /// wait on a timer are not looked at: the wheel tells when the next of them is due.
    pub(super) fn rests_until(&self, until: Tick) -> bool {
        let ready = !self.fresh.is_empty() || !self.backlog.is_empty();
        self.in_flight == 0 && (!ready || self.endpoint.opens_at() >= until)
    }

    /// Returns whether a timer is set for when the endpoint may be asked again.
    pub(super) fn awaits_opening(&self) -> bool {
        self.opening.is_some()
    }

    /// Checks what must hold between any two events, and returns how many updates have a timer.
    ///
    /// # Panics
    ///
    /// Panics if a count differs from what it counts.
    pub(super) fn check_invariants(&self) -> usize {
        let states = || self.slots.iter().filter_map(|slot| slot.pending.as_ref()).map(|kept| kept.state);
        let count = |wanted: fn(&State) -> bool| states().filter(wanted).count();
        assert_eq!(self.len(), states().count(), "updates kept");
        assert_eq!(self.parked, count(|state| matches!(state, State::Parked(_))), "updates parked");
        assert_eq!(self.in_flight, count(|state| matches!(state, State::InFlight { .. })), "in flight");
        assert!(self.in_flight <= self.in_flight_max, "more in flight than allowed");
        let of_backlog = count(|state| matches!(state, State::InFlight { of_backlog: true }));
        assert_eq!(self.backlog_in_flight, of_backlog, "in flight of the backlog");
        let queued = self.fresh.iter().chain(&self.backlog);
        let ready = queued
            .filter(|&&id| self.pending(id).is_some_and(|pending| matches!(pending.state, State::Ready(_))));
        assert_eq!(ready.count(), count(|state| matches!(state, State::Ready(_))), "ready and queued");
        count(|state| matches!(state, State::Held(_) | State::Ready(_) | State::Waiting(_)))
    }

    fn pending(&self, id: UpdateId) -> Option<&Pending> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.pending.as_ref().filter(|_| slot.turn == id.turn)
    }

    fn pending_mut(&mut self, id: UpdateId) -> Option<&mut Pending> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.pending.as_mut().filter(|_| slot.turn == id.turn)
    }

    /// Lets go of an update.
    fn release(&mut self, id: UpdateId, around: &mut Surroundings<'_>) {
        let slot = &mut self.slots[id.slot as usize];
        slot.turn = slot.turn.wrapping_add(1);
        if let Some(Pending { update, kept: true, .. }) = slot.pending.take() {
            around.ledger.note(Entry::UpdateGone(update.key()), around.present);
        }
        self.free.push(id.slot);
    }
}

impl Pending {
    fn new(update: Arc<Update>, state: State) -> Pending {
        let generation = update.generation.0.to_string();
        let name =
            fingerprint_of([update.source.name().as_bytes(), update.call.as_bytes(), generation.as_bytes()]);
        let since = update.ended;
        Pending {
            update,
            attempts: 0,
            not_yet: 0,
            refusals: 0,
            since,
            name,
            kept: false,
            queued: false,
            state,
        }
    }

    fn standing(&self, now: Tick) -> UpdateStanding {
        let state = match self.state {
            State::Held(_) => UpdateState::Held,
            State::Ready(_) => UpdateState::Ready,
            State::InFlight { .. } => UpdateState::InFlight,
            State::Waiting(_) => UpdateState::Waiting,
            State::Parked(why) => UpdateState::Parked(why),
        };
        let update = Arc::clone(&self.update);
        let age_ms = now.since(update.ended);
        UpdateStanding { name: self.name, update, attempts: self.attempts, age_ms, state }
    }
}

impl UpdateId {
    #[cfg(test)]
    pub(super) fn of_test(slot: u32) -> UpdateId {
        UpdateId { slot, turn: 0 }
    }
}

/// Returns a wait after attempt number `attempts`: anything up to a bound that doubles (full jitter).
fn jitter(random: &mut Random, attempts: u32) -> u64 {
    random.up_to(doubled(JITTER_FIRST_MS, attempts.saturating_sub(1), JITTER_MAX_MS))
}
