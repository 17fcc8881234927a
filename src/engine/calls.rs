//! Every call in progress and every update on its way, as one state machine that does no I/O and
//! reads no clock.
//!
//! Feed it one [`Event`] or the passing of time, then drain [`Calls::poll_output`] before the next.
//! The same events at the same times give the same outputs, in the same order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::call::{Call, Surroundings};
use super::delivery::{self, Delivery, UPDATES_MAX};
use super::ended::Ended;
use super::event::{
    Answer, CallStanding, Event, Facts, Output, Question, Reach, Reason, Source, Stamp, Summary, Tick,
    Verdict,
};
use super::ivr::Ivr;
use super::key::Key;
use super::update::Update;
use super::wheel::{Timer, Wheel};

/// Names a call in progress. It is never reused while anything may still speak of the call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId {
    slot: u32,
    turn: u32,
}

impl CallId {
    /// Returns the place of the call among those in progress: small numbers, used again and again.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// What a timer of the wheel is for. Those due together come in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Item {
    /// The deadline of the call in this slot.
    Call(u32),
    /// The next step of the update in this slot.
    Update(u32),
    /// The endpoint may be asked again.
    Endpoint,
}

/// The engine's bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The most calls in progress; past it new ones are refused.
    pub calls_max: usize,
    /// The most attempts under way at once: as many as there are workers.
    pub attempts_max: usize,
}

/// What has been counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Events that were older than the one before, by their own time.
    pub reordered: u64,
    /// Calls that were not begun for want of room.
    pub refused: u64,
    /// Simulated calls that were discarded because the stream has shown their id.
    pub discarded: u64,
    /// Ended calls that were forgotten before their time, because there were too many.
    pub forgotten: u64,
}

/// Every call in progress and every update on its way.
#[derive(Debug)]
pub struct Calls {
    now: Tick,
    ivr: Arc<Ivr>,
    bounds: Bounds,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The calls in progress by id, for each [`Source`].
    index: [HashMap<Arc<str>, u32>; Source::ALL.len()],
    ended: Ended,
    wheel: Wheel<Item>,
    delivery: Delivery,
    outputs: VecDeque<Output>,
    /// The call whose end was polled last: it leaves with the next poll.
    leaving: Option<CallId>,
    feed: VecDeque<Key>,
    counts: Counts,
    /// Until when the drain goes on, once it has begun.
    draining: Option<Tick>,
    drained: bool,
}

#[derive(Debug)]
struct Slot {
    turn: u32,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    call: Call,
    /// None once the call has ended, and while the engine drains.
    timer: Option<(Timer, Tick)>,
}

impl Calls {
    /// Returns an engine without calls, whose new calls walk `ivr`. `seed` decides its jitter.
    pub fn new(ivr: Arc<Ivr>, bounds: Bounds, seed: u64, now: Tick) -> Calls {
        Calls {
            now,
            ivr,
            bounds,
            slots: Vec::new(),
            free: Vec::new(),
            index: Default::default(),
            ended: Ended::default(),
            wheel: Wheel::new(now),
            delivery: Delivery::new(bounds.attempts_max, seed),
            outputs: VecDeque::new(),
            leaving: None,
            feed: VecDeque::new(),
            counts: Counts::default(),
            draining: None,
            drained: false,
        }
    }

    /// Takes in what happened at `at`: when it was received, not when it is handled.
    ///
    /// Deadlines before `at` are handled first, so a late thread changes nothing; of those at `at` only
    /// the one of the event's own call. The others wait for [`Calls::handle_timeout`]: `at` may have been
    /// rounded up, and nobody's time should be cut short by another's key. A time before the last one
    /// seen counts as that one.
    pub fn handle(&mut self, event: Event<'_>, at: Tick) {
        self.handle_timeout(Tick(at.0.saturating_sub(1)));
        self.now = self.now.max(at);
        match event {
            Event::AttemptFinished { id, outcome } => {
                let (delivery, mut around) = self.delivery();
                delivery.finish(id, outcome, &mut around);
            }
            Event::Asked(id, question) => {
                let answer = self.answer(question);
                self.outputs.push_back(Output::Answer(id, answer));
            }
            Event::TreeLoaded(ivr) => self.ivr = ivr,
            Event::Drain { until } => self.drain(until),
            // A key that comes while we drain is read again by nobody: serve stops the reader first.
            Event::CallStarted { .. } | Event::KeyPressed { .. } | Event::CallEnded { .. }
                if self.draining.is_some() => {}
            Event::CallStarted { source, call, facts } => self.start_call(source, call, facts),
            Event::KeyPressed { source, call, key, stamp } => {
                self.discard_simulated(source, call);
                self.press_key(source, call, key, stamp, false);
            }
            Event::CallEnded { source, call } => self.end_call(source, call),
        }
        self.settle();
    }

    /// Handles every deadline up to and including `now`, each as of the instant it was due.
    pub fn handle_timeout(&mut self, now: Tick) {
        while let Some((due, item)) = self.wheel.pop(now) {
            // One that was overdue when it was scheduled is handled as of then.
            self.now = self.now.max(due);
            match item {
                Item::Call(slot) => self.pass_deadline(slot),
                Item::Update(slot) => {
                    let (delivery, mut around) = self.delivery();
                    delivery.timer_fired(slot, &mut around);
                }
                Item::Endpoint => self.delivery.opened(),
            }
            if !matches!(item, Item::Call(_)) {
                self.settle();
            }
        }
        self.now = self.now.max(now);
        self.settle();
    }

    /// Returns when to call [`Calls::handle_timeout`] next; `None` where only an event can help.
    pub fn poll_timeout(&self) -> Option<Tick> {
        [self.wheel.next(), self.draining.filter(|_| !self.drained)].into_iter().flatten().min()
    }

    /// Returns the next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(CallId { slot, .. }) = self.leaving.take() {
            self.release(slot);
        }
        let output = self.outputs.pop_front();
        if let Some(Output::Ended { call } | Output::Discarded { call }) = output {
            self.leaving = Some(call);
        }
        output
    }

    /// Returns a call that an output speaks of.
    pub fn call(&self, id: CallId) -> Option<&Call> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.held.as_ref().filter(|_| slot.turn == id.turn).map(|held| &held.call)
    }

    /// Returns what has been counted since the start.
    pub fn counts(&self) -> Counts {
        Counts { forgotten: self.ended.forgotten_early(), ..self.counts }
    }

    /// Returns how much there is of everything.
    pub fn summary(&self) -> Summary {
        let parked = self.delivery.parked();
        let calls = self.index.iter().map(HashMap::len).sum();
        Summary { calls, waiting: self.delivery.len() - parked, parked }
    }

    /// Returns what there is no more room for, if anything.
    pub fn full(&self) -> Option<&'static str> {
        if self.delivery.len() >= UPDATES_MAX {
            Some("updates")
        } else if self.index.iter().map(HashMap::len).sum::<usize>() >= self.bounds.calls_max {
            Some("calls")
        } else {
            None
        }
    }

    /// Starts what may start, and ends the drain once nothing more can come of it.
    fn settle(&mut self) {
        if self.drained {
            return;
        }
        let Some(until) = self.draining else {
            let (delivery, mut around) = self.delivery();
            return delivery.start_attempts(&mut around);
        };
        if self.now < until {
            let (delivery, mut around) = self.delivery();
            delivery.start_attempts(&mut around);
        }
        let rests = self.delivery.rests_until(until) && self.wheel.next().is_none_or(|next| next >= until);
        if rests || self.now >= until {
            self.drained = true;
            self.outputs.push_back(Output::Drained(self.summary()));
        }
    }

    fn drain(&mut self, until: Tick) {
        self.draining = Some(until);
        for held in self.slots.iter_mut().filter_map(|slot| slot.held.as_mut()) {
            if let Some((timer, _)) = held.timer.take() {
                self.wheel.cancel(timer);
            }
        }
        let (delivery, mut around) = self.delivery();
        delivery.hurry(&mut around);
    }

    /// Handles the deadlines that a call has passed by now.
    fn catch_up(&mut self, source: Source, id: &str) {
        while let Some(&slot) = self.index[source as usize].get(id)
            && let Some((timer, due)) = self.held(slot).timer
            && due <= self.now
        {
            self.wheel.cancel(timer);
            self.pass_deadline(slot);
            self.settle();
        }
    }

    fn start_call(&mut self, source: Source, id: &str, facts: Facts<'_>) {
        self.catch_up(source, id);
        self.discard_simulated(source, id);
        if let Some(&slot) = self.index[source as usize].get(id) {
            self.held(slot).call.learn(facts);
        } else {
            self.ended.remove(source, id);
            self.begin(source, id, facts, false);
        }
    }

    fn press_key(&mut self, source: Source, id: &str, key: Key, stamp: Option<Stamp>, dry: bool) -> Verdict {
        self.catch_up(source, id);
        let slot = match self.index[source as usize].get(id) {
            Some(&slot) => slot,
            None => {
                let late = self.ended.late_event(source, id, self.now);
                match if late { None } else { self.begin(source, id, Facts::default(), dry) } {
                    Some(slot) => slot,
                    None => {
                        let verdict = if late { Verdict::Late } else { Verdict::Refused };
                        self.outputs.push_back(Output::Dropped { verdict });
                        return verdict;
                    }
                }
            }
        };
        let pressed = self.walk(slot, |call, reordered, around| call.press(key, stamp, reordered, around));
        pressed.unwrap_or_else(|| {
            // Its first node was an end: the walk was over before the key that began it.
            self.outputs.push_back(Output::Dropped { verdict: Verdict::Late });
            Verdict::Late
        })
    }

    fn end_call(&mut self, source: Source, id: &str) {
        self.catch_up(source, id);
        match self.index[source as usize].get(id) {
            Some(&slot) => drop(self.walk(slot, |call, _, around| {
                call.hang_up(around);
                Verdict::Accepted
            })),
            None if self.ended.contains(source, id, self.now) => {
                self.ended.remember(source, id, true, self.now);
            }
            None => (),
        }
    }

    /// Begins a call; `None` if there is no room, or if it ended in the same instant.
    fn begin(&mut self, source: Source, id: &str, facts: Facts<'_>, dry: bool) -> Option<u32> {
        if self.full().is_some() {
            self.counts.refused += 1;
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, held: None });
            (self.slots.len() - 1) as u32
        });
        let id: Arc<str> = Arc::from(id);
        let ivr = Arc::clone(&self.ivr);
        let call_id = CallId { slot, turn: self.slots[slot as usize].turn };
        let mut around =
            Surroundings { call: call_id, now: self.now, outputs: &mut self.outputs, feed: &mut self.feed };
        let call = Call::begin(source, Arc::clone(&id), facts, ivr, dry, &mut around);
        let due = call.deadline();
        let timer = Some((self.wheel.schedule(due, Item::Call(slot)), due));
        self.slots[slot as usize].held = Some(Held { call, timer });
        self.index[source as usize].insert(id, slot);
        self.see_to_end(slot);
        Some(slot)
    }

    fn pass_deadline(&mut self, slot: u32) {
        self.held(slot).timer = None;
        self.walk(slot, |call, _, around| {
            call.pass_deadline(around);
            Verdict::Accepted
        });
    }

    /// Lets a call take a step, then sees to its timer and to its end. Returns what the step returned;
    /// `None` if the call had ended before.
    fn walk(
        &mut self,
        slot: u32,
        step: impl FnOnce(&mut Call, &mut u64, &mut Surroundings<'_>) -> Verdict,
    ) -> Option<Verdict> {
        let Slot { turn, held: Some(held) } = &mut self.slots[slot as usize] else {
            unreachable!("the index and the wheel name calls that are held")
        };
        let call = CallId { slot, turn: *turn };
        if held.call.end().is_some() {
            return None;
        }
        let mut around =
            Surroundings { call, now: self.now, outputs: &mut self.outputs, feed: &mut self.feed };
        let verdict = step(&mut held.call, &mut self.counts.reordered, &mut around);
        let due = held.call.deadline();
        held.timer = match held.timer {
            Some((timer, at)) if at == due => Some((timer, at)),
            Some((timer, _)) => {
                self.wheel.reschedule(timer, due);
                Some((timer, due))
            }
            None => Some((self.wheel.schedule(due, Item::Call(slot)), due)),
        };
        self.see_to_end(slot);
        Some(verdict)
    }

    /// Where a call has ended: its timer goes, its id is remembered, its update is due.
    fn see_to_end(&mut self, slot: u32) {
        let Some(held) = self.slots[slot as usize].held.as_mut() else { return };
        let Some(end) = held.call.end() else { return };
        let (hung_up, writes) = (end.reason == Reason::HangUp, end.writes);
        if let Some((timer, _)) = held.timer.take() {
            self.wheel.cancel(timer);
        }
        let call = &mut held.call;
        self.index[call.source as usize].remove(&*call.id);
        self.ended.remember(call.source, &call.id, hung_up, self.now);
        if !writes {
            return;
        }
        let update = Update {
            source: call.source,
            call: Arc::clone(&call.id),
            generation: call.began(),
            interaction: call.interaction().map(Box::from),
            variables: call.take_variables(),
            ended: self.now,
        };
        let (delivery, mut around) = self.delivery();
        delivery.add(Arc::new(update), &mut around);
    }

    /// The stream has shown an id: a simulated call of the same one goes without an end.
    fn discard_simulated(&mut self, source: Source, id: &str) {
        if source == Source::Simulator {
            return;
        }
        let Some(slot) = self.index[Source::Simulator as usize].remove(id) else { return };
        self.counts.discarded += 1;
        if let Some((timer, _)) = self.held(slot).timer.take() {
            self.wheel.cancel(timer);
        }
        let call = CallId { slot, turn: self.slots[slot as usize].turn };
        self.outputs.push_back(Output::Discarded { call });
    }

    fn answer(&mut self, question: Question<'_>) -> Answer {
        match question {
            Question::Ping => Answer::Pong,
            Question::Summary => Answer::Summary(self.summary()),
            Question::Press { .. } | Question::HangUp { .. } if self.draining.is_some() => Answer::Stopping,
            Question::Press { call, key, reach } => self.press_simulated(call, key, reach),
            Question::HangUp { call } => {
                let simulated = Source::Simulator as usize;
                if self.index[simulated].contains_key(call) {
                    self.end_call(Source::Simulator, call);
                    Answer::HungUp
                } else if self.is_of_the_stream(call) {
                    Answer::OfTheStream
                } else {
                    Answer::NoSuchCall
                }
            }
            Question::Call { source, call } => match self.index[source as usize].get(call) {
                Some(&slot) => Answer::Call(self.standing(slot)),
                None => Answer::NoSuchCall,
            },
        }
    }

    fn press_simulated(&mut self, id: &str, key: Key, reach: Reach) -> Answer {
        let source = match reach {
            Reach::Own | Reach::Dry if self.is_of_the_stream(id) => return Answer::OfTheStream,
            Reach::Live if self.is_of_the_stream(id) => Source::Voice,
            Reach::Own | Reach::Dry | Reach::Live => Source::Simulator,
        };
        Answer::Pressed(self.press_key(source, id, key, None, reach == Reach::Dry))
    }

    /// Returns whether the stream has shown a call of this id, in progress or ended not long ago.
    fn is_of_the_stream(&self, id: &str) -> bool {
        self.index[Source::Voice as usize].contains_key(id)
            || self.ended.contains(Source::Voice, id, self.now)
    }

    fn standing(&mut self, slot: u32) -> CallStanding {
        let now = self.now;
        let call = &self.held(slot).call;
        CallStanding {
            node: call.node().name.to_string(),
            due_in_ms: call.deadline().since(now),
            progress: call.progress(),
        }
    }

    fn held(&mut self, slot: u32) -> &mut Held {
        self.slots[slot as usize].held.as_mut().expect("the index and the wheel name calls that are held")
    }

    fn release(&mut self, slot: u32) {
        let held = &mut self.slots[slot as usize];
        held.held = None;
        held.turn = held.turn.wrapping_add(1);
        self.free.push(slot);
    }

    fn delivery(&mut self) -> (&mut Delivery, delivery::Surroundings<'_>) {
        let (wheel, outputs) = (&mut self.wheel, &mut self.outputs);
        (&mut self.delivery, delivery::Surroundings { now: self.now, wheel, outputs })
    }

    /// Checks what must hold between any two events: for tests, which call it after each.
    ///
    /// # Panics
    ///
    /// Panics if a promise of the engine's own is broken.
    pub fn check_invariants(&self) {
        let mut timers = usize::from(self.delivery.awaits_opening());
        for held in self.slots.iter().filter_map(|slot| slot.held.as_ref()) {
            timers += usize::from(held.timer.is_some());
            let call = &held.call;
            let listed = self.index[call.source as usize].get(&*call.id).is_some_and(|&slot| {
                self.slots[slot as usize].held.as_ref().is_some_and(|found| std::ptr::eq(found, held))
            });
            match held.timer {
                Some((_, due)) => {
                    assert_eq!(call.deadline(), due, "the timer of {:?} is its deadline", call.id);
                    assert!(due >= self.now, "a deadline of {:?} has passed", call.id);
                    assert!(listed && call.end().is_none(), "{:?} waits and is listed", call.id);
                }
                None => assert!(!listed || self.draining.is_some(), "{:?} waits for nothing", call.id),
            }
        }
        assert!(self.feed.is_empty(), "digits were left to feed");
        timers += self.delivery.check_invariants();
        assert_eq!(timers, self.wheel.len(), "timers that somebody waits for");
    }
}
