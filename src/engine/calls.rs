//! Every call in progress and every update on its way, as one state machine that does no I/O and
//! reads no clock.
//!
//! Feed it one [`Event`] or the passing of time, then drain [`Calls::poll_output`] before the next.
//! The same events at the same times give the same outputs, in the same order.

mod keep;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::call::{Birth, Call, Surroundings};
use super::delivery::{self, Delivery, UPDATES_MAX, Unchanged, UpdateId};
use super::ended::{self, Ended};
use super::event::{
    Answer, CallStanding, Event, Facts, Named, Output, Page, Question, Reach, Reason, Source, Stamp, Summary,
    Tick, Verdict,
};
use super::ivr::Ivr;
use super::key::Key;
use super::ledger::{EndEntry, Entry, Keeping, Ledger};
use super::update::Update;
use super::wheel::{Timer, Wheel};
use keep::{end_of, record_of};

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
    /// The next transaction is to be made.
    Commit,
}

/// The engine's bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The most calls in progress; past it new ones are refused.
    pub calls_max: usize,
    /// The most attempts under way at once: as many as there are workers.
    pub attempts_max: usize,
}

/// The most trees that may be walked at once, by calls that began before a reload. All of them are kept.
pub const TREES_MAX: usize = 16;

/// While we leave, so long a transaction is waited for: what was not kept by then is not.
const COMMIT_LAST_MS: u64 = 4_000;

/// How many updates one question changes at most, so that no digit waits behind it for long.
const CHANGED_AT_ONCE_MAX: usize = 1_000;

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
    /// Updates that left without being kept.
    pub undurable: u64,
    /// Ended calls that were left out of the history, because nothing could be kept.
    pub unrecorded: u64,
}

/// Every call in progress and every update on its way.
#[derive(Debug)]
pub struct Calls {
    now: Tick,
    /// What it is, where `now` may be the moment at which something was due.
    present: Tick,
    ivr: Arc<Ivr>,
    /// Every tree that a call walks, and the one that new ones will.
    trees: Vec<Tree>,
    bounds: Bounds,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The calls in progress by id, for each [`Source`].
    index: [HashMap<Arc<str>, u32>; Source::ALL.len()],
    ended: Ended,
    /// Ended calls whose generation is not over yet, by fingerprint: one that begins anew in the same
    /// instant needs another.
    generations: Vec<(u64, Tick)>,
    wheel: Wheel<Item>,
    delivery: Delivery,
    ledger: Ledger,
    /// Wakes us when the next transaction is to be made.
    commit_timer: Option<(Timer, Tick)>,
    told_keeping: Keeping,
    outputs: VecDeque<Output>,
    /// The call whose end was polled last: it leaves with the next poll.
    leaving: Option<CallId>,
    feed: VecDeque<Key>,
    counts: Counts,
    /// How long the drain goes on, once it has begun.
    draining: Option<Draining>,
    drained: bool,
}

#[derive(Clone, Copy, Debug)]
struct Draining {
    /// Deliveries go on until then,
    until: Tick,
    /// ... and what changed is waited for to be kept until then.
    commit_until: Tick,
}

#[derive(Debug)]
struct Tree {
    ivr: Arc<Ivr>,
    calls: usize,
    /// Whether it is on disk.
    kept: bool,
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
    /// Whether it is on disk, or may be.
    kept: bool,
    /// Whether it has changed since.
    dirty: bool,
}

impl Calls {
    /// Returns an engine without calls, whose new calls walk `ivr`. `seed` decides its jitter.
    pub fn new(ivr: Arc<Ivr>, bounds: Bounds, seed: u64, now: Tick) -> Calls {
        Calls {
            now,
            present: now,
            trees: vec![Tree { ivr: Arc::clone(&ivr), calls: 0, kept: false }],
            ivr,
            bounds,
            slots: Vec::new(),
            free: Vec::new(),
            index: Default::default(),
            ended: Ended::default(),
            generations: Vec::new(),
            wheel: Wheel::new(now),
            delivery: Delivery::new(bounds.attempts_max, seed),
            ledger: Ledger::default(),
            commit_timer: None,
            told_keeping: Keeping::Well,
            outputs: VecDeque::new(),
            leaving: None,
            feed: VecDeque::new(),
            counts: Counts::default(),
            draining: None,
            drained: false,
        }
    }

    /// Lets the engine say what is to be kept ([`Output::Commit`]): then nothing leaves before its cause
    /// is, and a history is written.
    #[must_use]
    pub fn keeping(mut self) -> Calls {
        self.ledger = Ledger::on();
        self.ended = Ended::keeping();
        self
    }

    /// Takes in what happened at `at`: when it was received, not when it is handled.
    ///
    /// Deadlines before `at` are handled first, so a late thread changes nothing; of those at `at` only
    /// the one of the event's own call. The others wait for [`Calls::handle_timeout`]: `at` may have been
    /// rounded up, and nobody's time should be cut short by another's key. A time before the last one
    /// seen counts as that one.
    pub fn handle(&mut self, event: Event<'_>, at: Tick) {
        self.fire_until(Tick(at.0.saturating_sub(1)), at);
        self.now = self.now.max(at);
        match event {
            Event::Committed(number) => self.committed(number),
            Event::CommitFailed(number) => self.commit_failed(number),
            Event::StoreLost => self.keep_all_again(),
            Event::AttemptFinished { id, outcome } => {
                let (delivery, mut around) = self.delivery();
                delivery.finish(id, outcome, &mut around);
            }
            Event::Asked(id, question) => {
                let answer = self.answer(question);
                self.outputs.push_back(Output::Answer(id, answer));
            }
            Event::TreeLoaded(ivr) => self.take_tree(ivr),
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
        self.fire_until(now, now);
    }

    /// Handles every deadline up to and including `limit`, where it is `present`.
    fn fire_until(&mut self, limit: Tick, present: Tick) {
        self.present = self.present.max(present);
        while let Some((due, item)) = self.wheel.pop(limit) {
            self.now = self.now.max(due);
            match item {
                Item::Call(slot) => self.pass_deadline(slot, due),
                Item::Update(slot) => {
                    let (delivery, mut around) = self.delivery();
                    if delivery.timer_fired(slot, &mut around) {
                        self.tell_late();
                    }
                }
                Item::Endpoint => self.delivery.opened(),
                Item::Commit => self.commit_timer = None,
            }
            if !matches!(item, Item::Call(_)) {
                self.settle();
            }
        }
        self.now = self.now.max(limit);
        self.settle();
    }

    /// Returns when to call [`Calls::handle_timeout`] next; `None` where only an event can help.
    pub fn poll_timeout(&self) -> Option<Tick> {
        let draining = self.draining.filter(|_| !self.drained);
        let until = draining.map(|draining| draining.until);
        let waits = |draining: &Draining| !self.ledger.is_settled() && self.now < draining.commit_until;
        let commit_until = draining.filter(waits).map(|draining| draining.commit_until);
        [self.wheel.next(), until, commit_until].into_iter().flatten().min()
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
        Counts {
            forgotten: self.ended.forgotten_early(),
            undurable: self.delivery.undurable(),
            unrecorded: self.ledger.unrecorded(),
            ..self.counts
        }
    }

    /// Returns how much there is of everything.
    pub fn summary(&self) -> Summary {
        let parked = self.delivery.parked();
        let calls = self.index.iter().map(HashMap::len).sum();
        Summary { calls, waiting: self.delivery.len() - parked, parked }
    }

    /// Returns whether everything is kept that is to be.
    pub fn is_kept(&self) -> bool {
        self.ledger.is_on() && self.ledger.is_settled()
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
        let until = self.draining.map(|draining| draining.until);
        if until.is_none_or(|until| self.now < until) {
            let (delivery, mut around) = self.delivery();
            delivery.start_attempts(&mut around);
        }
        self.commit();
        let Some(Draining { until, commit_until }) = self.draining else { return };
        let rests = self.delivery.rests_until(until) && self.wheel.next().is_none_or(|next| next >= until);
        let kept = self.ledger.is_settled() || self.now >= commit_until;
        if rests && kept || self.now >= until {
            self.drained = true;
            self.outputs.push_back(Output::Drained(self.summary()));
        }
    }

    fn drain(&mut self, until: Tick) {
        let commit_until = self.now.after(COMMIT_LAST_MS).min(until);
        self.draining = Some(Draining { until, commit_until });
        for held in self.slots.iter_mut().filter_map(|slot| slot.held.as_mut()) {
            if let Some((timer, _)) = held.timer.take() {
                self.wheel.cancel(timer);
            }
        }
        let (delivery, mut around) = self.delivery();
        delivery.hurry(&mut around);
        self.ledger.hurry(self.now);
    }

    /// Handles the deadlines that a call has passed by now.
    fn catch_up(&mut self, source: Source, id: &str) {
        while let Some(&slot) = self.index[source as usize].get(id)
            && let Some((timer, due)) = self.held(slot).timer
            && due <= self.now
        {
            self.wheel.cancel(timer);
            self.pass_deadline(slot, due);
            self.settle();
        }
    }

    fn start_call(&mut self, source: Source, id: &str, facts: Facts<'_>) {
        self.catch_up(source, id);
        self.discard_simulated(source, id);
        if let Some(&slot) = self.index[source as usize].get(id) {
            if self.held(slot).call.learn(facts) {
                self.touch(slot);
            }
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
                let call = self.ended.remember(source, id, true, self.now);
                self.ledger.note(Entry::Ended(call), self.present);
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
        let generation = self.generation(source, id);
        let slot = self.vacant();
        let id: Arc<str> = Arc::from(id);
        let ivr = Arc::clone(&self.ivr);
        let call_id = CallId { slot, turn: self.slots[slot as usize].turn };
        let mut around =
            Surroundings { call: call_id, now: self.now, outputs: &mut self.outputs, feed: &mut self.feed };
        let (id_of_call, is_recorded) = (Arc::clone(&id), self.ledger.is_on());
        let birth = Birth { source, id: id_of_call, facts, ivr, dry, generation, is_recorded };
        let call = Call::begin(birth, &mut around);
        self.current_tree().calls += 1;
        let due = call.deadline();
        let timer = Some((self.wheel.schedule(due, Item::Call(slot)), due));
        self.slots[slot as usize].held = Some(Held { call, timer, kept: false, dirty: false });
        self.index[source as usize].insert(id, slot);
        self.touch(slot);
        self.see_to_end(slot);
        Some(slot)
    }

    /// Returns a generation that no call of this id has had. Events that were read together come in the
    /// same instant, so that a call may end in it and begin anew.
    fn generation(&mut self, source: Source, id: &str) -> Tick {
        let now = self.now;
        self.generations.retain(|&(_, had)| had >= now);
        let call = ended::fingerprint(source, id);
        let had = self.generations.iter().filter(|&&(known, _)| known == call).map(|&(_, had)| had).max();
        had.map_or(now, |had| had.after(1))
    }

    fn vacant(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, held: None });
            (self.slots.len() - 1) as u32
        })
    }

    /// Handles a call's deadline as of when it was due: that may be before anything else that happened,
    /// where the process that held the call had ended.
    fn pass_deadline(&mut self, slot: u32, due: Tick) {
        self.held(slot).timer = None;
        self.walk(slot, |call, _, around| {
            around.now = due;
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
        let progress = held.call.progress();
        let verdict = step(&mut held.call, &mut self.counts.reordered, &mut around);
        // What changes nothing writes nothing. The verdict is that on the last of what was fed: before it
        // the walk may have moved.
        let has_moved = matches!(verdict, Verdict::Accepted | Verdict::TrailingEndKey)
            || held.call.progress() != progress;
        let due = held.call.deadline();
        held.timer = match held.timer {
            Some((timer, at)) if at == due => Some((timer, at)),
            Some((timer, _)) => {
                self.wheel.reschedule(timer, due);
                Some((timer, due))
            }
            None => Some((self.wheel.schedule(due, Item::Call(slot)), due)),
        };
        if has_moved {
            self.touch(slot);
        }
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
        let kept = held.kept.then(|| held.key());
        let call = &mut held.call;
        let (source, ended) = (call.source, end_of(call));
        self.index[source as usize].remove(&*call.id);
        let fingerprint = self.ended.remember(source, &call.id, hung_up, self.now);
        if call.generation() >= self.now {
            self.generations.push((fingerprint, call.generation()));
        }
        let record = call.take_presses().map(|presses| Arc::new(record_of(call, presses)));
        let update = writes.then(|| Update {
            source,
            call: Arc::clone(&call.id),
            generation: call.generation(),
            interaction: call.interaction().map(Box::from),
            variables: call.take_variables(),
            ended,
        });
        let version = call.ivr().version;
        let (delivery, mut around) = self.delivery();
        let update = update.map(|update| delivery.add(Arc::new(update), &mut around));
        let entry = EndEntry { kept, ended: fingerprint, update, record };
        self.ledger.note(Entry::End(Box::new(entry)), self.present);
        self.leave_tree(version);
    }

    /// The stream has shown an id: a simulated call of the same one goes without an end.
    fn discard_simulated(&mut self, source: Source, id: &str) {
        if source == Source::Simulator {
            return;
        }
        let Some(slot) = self.index[Source::Simulator as usize].remove(id) else { return };
        self.counts.discarded += 1;
        let held = self.held(slot);
        let (timer, version) = (held.timer.take(), held.call.ivr().version);
        // It lies in its slot until its last output is read: no row is written of it any more.
        held.dirty = false;
        let kept = held.kept.then(|| held.key());
        if let Some((timer, _)) = timer {
            self.wheel.cancel(timer);
        }
        if let Some(key) = kept {
            self.ledger.note(Entry::Discarded(key), self.present);
        }
        self.leave_tree(version);
        let call = CallId { slot, turn: self.slots[slot as usize].turn };
        self.outputs.push_back(Output::Discarded { call });
    }

    fn answer(&mut self, question: Question<'_>) -> Answer {
        let now = self.now;
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
                Some(&slot) => Answer::Call(standing(&self.held(slot).call, now)),
                None => Answer::NoSuchCall,
            },
            Question::Calls(page) => self.page(page),
            Question::Outbox { only_parked, page } => {
                let after = usize::try_from(page.after).unwrap_or(usize::MAX);
                let (list, next) = self.delivery.page(only_parked, after, page.limit, self.now);
                Answer::Outbox(list, next.map(|next| next as u64))
            }
            Question::Retry(named) => self.change(named, Delivery::retry_now),
            Question::Drop(named) => self.change(named, Delivery::drop_now),
        }
    }

    /// Does to updates what an operator wants.
    fn change(
        &mut self,
        named: Named,
        change: fn(&mut Delivery, UpdateId, &mut delivery::Surroundings<'_>) -> Result<(), Unchanged>,
    ) -> Answer {
        let (delivery, mut around) = self.delivery();
        match named {
            Named::One(name) => {
                let changed = delivery
                    .find(name)
                    .ok_or(Unchanged::NoSuchUpdate)
                    .and_then(|id| change(delivery, id, &mut around));
                match changed {
                    Ok(()) => Answer::Changed(1),
                    Err(Unchanged::NoSuchUpdate) => Answer::NoSuchUpdate,
                    Err(Unchanged::InFlight) => Answer::UpdateInFlight,
                    Err(Unchanged::RawLost) => Answer::RawLost,
                }
            }
            Named::AllParked => {
                // Lazily: what is not taken is not changed.
                let ids = delivery.parked_ids().into_iter();
                let changed = ids.filter(|&id| change(delivery, id, &mut around).is_ok());
                Answer::Changed(changed.take(CHANGED_AT_ONCE_MAX).count())
            }
        }
    }

    fn page(&self, Page { after, limit }: Page) -> Answer {
        let mut list = Vec::new();
        let first = usize::try_from(after).unwrap_or(usize::MAX).min(self.slots.len());
        for (place, slot) in self.slots.iter().enumerate().skip(first) {
            let Some(call) = slot.held.as_ref().map(|held| &held.call).filter(|call| call.end().is_none())
            else {
                continue;
            };
            if list.len() == limit {
                return Answer::Calls(list, Some(place as u64));
            }
            list.push(standing(call, self.now));
        }
        Answer::Calls(list, None)
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
        let Calls { now, present, wheel, outputs, ledger, .. } = self;
        let around = delivery::Surroundings { now: *now, present: *present, wheel, outputs, ledger };
        (&mut self.delivery, around)
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
                    assert!(!held.dirty || self.ledger.is_on(), "nobody keeps {:?}", call.id);
                    assert!(listed && call.end().is_none(), "{:?} waits and is listed", call.id);
                }
                None => assert!(!listed || self.draining.is_some(), "{:?} waits for nothing", call.id),
            }
        }
        assert!(self.feed.is_empty(), "digits were left to feed");
        timers += self.delivery.check_invariants() + usize::from(self.commit_timer.is_some());
        for tree in &self.trees {
            let walks =
                |held: &&Held| held.call.end().is_none() && held.call.ivr().version == tree.ivr.version;
            let held = self.slots.iter().filter_map(|slot| slot.held.as_ref());
            let discarded = |held: &&Held| held.timer.is_some() || self.draining.is_some();
            assert_eq!(tree.calls, held.filter(walks).filter(discarded).count(), "calls of a tree");
        }
        assert_eq!(timers, self.wheel.len(), "timers that somebody waits for");
    }
}

fn standing(call: &Call, now: Tick) -> CallStanding {
    CallStanding {
        source: call.source,
        id: call.id().to_owned(),
        interaction: call.interaction().map(str::to_owned),
        age_ms: now.since(call.began()),
        attempt: call.attempts(),
        entered: call.entered(),
        is_dry: call.is_dry(),
        node: call.node().name.to_string(),
        due_in_ms: call.deadline().since(now),
        progress: call.progress(),
    }
}
