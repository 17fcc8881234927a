//! A whole lifetime: the real engine, and around it a pretend stream, API, disk, scheduler and operator.

mod process;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dtmfd::engine::{
    Answer, AskId, Attempt, Call, CallId, Calls, Commit, Event, Facts, Key, Named, Outcome, Output, Page,
    Question, Source, Summary, Tick, Update, UpdateId, UpdateKey, UpdateState, Verdict,
};

use super::agenda::Agenda;
use super::api::{self, Api};
use super::callers::{Arrival, By, SHOWN_DIGITS, Secrets, arrivals};
use super::disk::{self, Disk, Fate};
use super::model::{Model, Phase, Taking};
use super::moods::Moods;
use super::plan::{BEGIN, Chore, Plan, stream};
use super::totals::Totals;
use crate::random_tree::Random;
use crate::reference::{Tree, What};

/// How long everything may take once the faults have stopped and nobody presses any more: the longest
/// call, a pause of five minutes, and the longest waits of updates and probes.
const DRAINED_IN_MS: u64 = 86_400_000 + 900_000;
/// An update is held for so long, or after the last transaction that was made.
const HELD_MS: u64 = 5_000;
/// The thread that owns the calls is so late at most.
const LATE_MS: u64 = 700;
/// While the disk is well, a crash costs no more than this: what is gathered, two transactions of 21 ms,
/// and a late thread.
const LOSS_MAX_MS: u64 = 10 + 2 * 21 + LATE_MS + 10;
/// Where a lifetime needs more, it goes on for ever.
const STEPS_MAX: u64 = 2_000_000;

/// What comes, beside what the engine wants to be woken for.
enum Action {
    Arrives(usize),
    Chore(Chore),
    Restart,
    /// A request reaches the API.
    Reaches(Arc<Update>),
    /// Its answer is back.
    Answers(u64, UpdateId, Outcome),
    /// The disk is through with the transaction.
    Written(u64, Fate),
}

/// What waits for the thread that owns the calls.
enum Incoming {
    Arrival(usize),
    Finished(UpdateId, Outcome),
    Committed(u64),
    Failed(u64),
    Chore(Chore),
}

pub(super) struct World<'p> {
    plan: &'p Plan,
    now: u64,
    /// Nothing may be due later.
    limit: u64,
    agenda: Agenda<Action>,
    arrivals: Vec<Arrival>,
    secrets: Secrets,
    /// The process; the number says which.
    calls: Option<Calls>,
    process: u64,
    engine_now: u64,
    inbox: VecDeque<(u64, Incoming)>,
    busy_until: u64,
    late_by: u64,
    stream_opens: u64,
    stopping: Option<u64>,
    stopped: bool,
    crash_after: Option<u64>,
    /// The tree that is in the file.
    file: usize,
    /// The tree that the engine was given last.
    loading: usize,
    asked: u64,
    answer: Option<Answer>,
    taking: Option<Taking>,
    source: Source,
    last: Option<Outcome>,
    in_flight: BTreeMap<UpdateId, Arc<Update>>,
    commit: Option<Commit>,
    /// When this process was told last that a transaction was made.
    made_at: u64,
    model: Model<'p>,
    disk: Disk,
    api: Api,
    scheduler: Random,
    operator: Random,
    crashes: Random,
    dropped: Vec<UpdateKey>,
    /// What the operator is having tried again.
    retrying: Option<UpdateKey>,
    retrying_all: Option<usize>,
    totals: Totals,
    transcript: Option<Vec<String>>,
}

impl<'p> World<'p> {
    pub(super) fn new(plan: &'p Plan, trees: &'p [Tree<'p>], with_transcript: bool) -> World<'p> {
        let seed = plan.seed;
        let (arrivals, secrets) = arrivals((stream(seed, 2), stream(seed, 3)), trees, BEGIN, plan.end);
        let mut disk = Disk::new(stream(seed, 4), BEGIN, plan.end);
        let mut api = Api::new(stream(seed, 5), BEGIN, plan.end);
        if !plan.faulty {
            disk.moods = Moods::only(disk::Mood::Well);
            api.moods = Moods::only(api::Mood::Well);
        }
        let mut agenda = Agenda::new();
        agenda.add(BEGIN, Action::Restart);
        for (index, arrival) in arrivals.iter().enumerate() {
            agenda.add(arrival.at, Action::Arrives(index));
        }
        for &(at, chore) in &plan.chores {
            agenda.add(at, Action::Chore(chore));
        }
        World {
            plan,
            now: BEGIN,
            limit: 0,
            agenda,
            arrivals,
            secrets,
            calls: None,
            process: 0,
            engine_now: BEGIN,
            inbox: VecDeque::new(),
            busy_until: 0,
            late_by: 0,
            stream_opens: 0,
            stopping: None,
            stopped: false,
            crash_after: None,
            file: 0,
            loading: 0,
            asked: 0,
            answer: None,
            taking: None,
            source: Source::Voice,
            last: None,
            in_flight: BTreeMap::new(),
            commit: None,
            made_at: 0,
            model: Model::new(trees),
            disk,
            api,
            scheduler: Random(stream(seed, 6)),
            operator: Random(stream(seed, 7)),
            crashes: Random(stream(seed, 8)),
            dropped: Vec::new(),
            retrying: None,
            retrying_all: None,
            totals: Totals { seeds: 1, ..Totals::default() },
            transcript: with_transcript.then(Vec::new),
        }
    }

    /// Lives the whole lifetime. Returns what it came to, and how each call went.
    pub(super) fn live(&mut self) -> (Totals, Vec<String>) {
        let last = self.arrivals.last().map_or(0, |arrival| arrival.at).max(self.plan.end);
        self.limit = last + DRAINED_IN_MS;
        self.run();
        self.finish();
        self.totals.requests = self.api.requests;
        self.totals.undurable = self.model.undurable;
        (self.totals.clone(), self.model.results())
    }

    /// The last lines of what happened.
    pub(super) fn transcript(&self, lines: usize) -> String {
        let transcript = self.transcript.as_deref().unwrap_or_default();
        transcript[transcript.len().saturating_sub(lines)..].join("\n")
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(format!("{:>10} {}", self.now - BEGIN, line()));
        }
    }

    /// Runs until nothing comes any more, which must be before `self.limit`.
    fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            let wake = self.wakes_at();
            let Some(next) = [self.agenda.next_at(), wake].into_iter().flatten().min() else { return };
            assert!(next <= self.limit, "something is due at {} still", next - BEGIN);
            self.now = self.now.max(next);
            while let Some(action) = self.agenda.take(self.now) {
                self.act(action);
            }
            if self.wakes_at().is_some_and(|at| at <= self.now) {
                self.wake();
            }
        }
        panic!("this goes on for ever");
    }

    fn wakes_at(&self) -> Option<u64> {
        let calls = self.calls.as_ref()?;
        let received = self.inbox.front().map(|&(at, _)| at);
        let due = calls.poll_timeout().map(|due| due.0);
        let next = [received, due].into_iter().flatten().min()?;
        Some((next + self.late_by).max(self.busy_until))
    }

    fn receive(&mut self, incoming: Incoming) {
        if self.calls.is_some() {
            self.inbox.push_back((self.now, incoming));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Arrives(index) => {
                let is_open = self.stopping.is_none() && self.now >= self.stream_opens;
                if self.arrivals[index].by != By::Stream || is_open {
                    self.receive(Incoming::Arrival(index));
                }
            }
            Action::Chore(Chore::Crash) => self.crash(),
            Action::Chore(Chore::CrashAfter(outputs)) => {
                self.crash_after = self.calls.as_ref().map(|_| outputs);
            }
            Action::Chore(Chore::Stall(ms)) => self.busy_until = self.now + ms,
            Action::Chore(Chore::Reload(tree)) => {
                self.file = tree;
                self.receive(Incoming::Chore(Chore::Reload(tree)));
            }
            Action::Chore(Chore::Stop) => {
                if self.stopping.is_none() {
                    self.receive(Incoming::Chore(Chore::Stop));
                }
            }
            Action::Chore(chore @ (Chore::Operate | Chore::LoseDisk)) => self.receive(Incoming::Chore(chore)),
            Action::Restart => self.restart(),
            Action::Reaches(update) => self.reaches(&update),
            Action::Answers(process, id, outcome) => {
                if process == self.process {
                    self.receive(Incoming::Finished(id, outcome));
                }
            }
            Action::Written(process, fate) => {
                if process == self.process {
                    self.written(fate);
                }
            }
        }
    }

    /// The thread that owns the calls gets the processor.
    fn wake(&mut self) {
        while let Some((at, incoming)) = self.inbox.pop_front() {
            self.take(at, incoming);
            if self.calls.is_none() || self.stopped {
                return self.see_to_stop();
            }
        }
        let due = self.calls.as_ref().and_then(Calls::poll_timeout);
        if due.is_some_and(|due| due.0 <= self.now) {
            self.pass_time(self.now);
        }
        if self.calls.is_none() || self.stopped {
            return self.see_to_stop();
        }
        if self.plan.late {
            self.late_by = self.scheduler.below(LATE_MS + 1);
        }
        let calls = self.calls.as_ref().expect("it runs");
        let due = calls.poll_timeout();
        assert!(due.is_none_or(|due| due.0 > self.now), "a deadline has passed and stays: {due:?}");
        let (now, stopping) = (self.now, self.stopping.map_or(0, |until| until - 4_000));
        for (since, life) in self.model.held() {
            let since = since.max(self.made_at);
            assert!(now <= (since + HELD_MS).max(stopping), "held since {since}: {life:?}");
        }
    }

    fn pass_time(&mut self, until: u64) {
        self.engine_now = self.engine_now.max(until);
        if let Some(calls) = &mut self.calls {
            calls.handle_timeout(Tick(self.engine_now));
            self.drain();
        }
    }

    fn handle(&mut self, event: Event<'_>, at: u64) {
        self.engine_now = self.engine_now.max(at);
        // A crash between two outputs leaves whoever was at it without a process.
        let Some(calls) = &mut self.calls else { return };
        calls.handle(event, Tick(self.engine_now));
        self.drain();
    }

    fn take(&mut self, at: u64, incoming: Incoming) {
        match incoming {
            Incoming::Arrival(index) => self.take_arrival(at, index),
            Incoming::Finished(id, outcome) => {
                let update = self.in_flight.remove(&id).expect("it was in flight");
                self.tell(|| format!("finished {} {outcome:?}", update.call));
                let life = self.model.life_of(&update);
                let left = life.left.as_mut().expect("it left an update");
                left.not_yet += u32::from(matches!(outcome, Outcome::NotYet { .. }));
                self.last = Some(outcome);
                self.handle(Event::AttemptFinished { id, outcome }, at);
                self.last = None;
            }
            Incoming::Committed(number) => {
                self.tell(|| format!("committed {number}"));
                // What goes out before is not released by it.
                self.pass_time(at.saturating_sub(1));
                if self.calls.is_some() {
                    self.model.committed(number);
                    self.made_at = self.now;
                    self.handle(Event::Committed(number), at);
                }
            }
            Incoming::Failed(number) => {
                self.tell(|| format!("commit {number} failed"));
                self.totals.failed += 1;
                self.pass_time(at.saturating_sub(1));
                if self.calls.is_some() {
                    self.model.failed(number);
                    self.handle(Event::CommitFailed(number), at);
                }
            }
            Incoming::Chore(chore) => self.take_chore(at, chore),
        }
    }

    fn take_chore(&mut self, at: u64, chore: Chore) {
        match chore {
            Chore::Reload(tree) => {
                let ivr = Arc::clone(&self.plan.trees[tree]);
                self.tell(|| format!("reload {}", ivr.version));
                self.loading = tree;
                self.handle(Event::TreeLoaded(ivr), at);
            }
            Chore::Stop => {
                self.tell(|| "SIGTERM".to_owned());
                let until = self.engine_now.max(at) + 8_000;
                self.stopping = Some(until);
                self.totals.stops += 1;
                self.handle(Event::Drain { until: Tick(until) }, at);
            }
            Chore::Operate => self.operate(),
            Chore::LoseDisk => self.lose_disk(at),
            Chore::Crash | Chore::CrashAfter(_) | Chore::Stall(_) => unreachable!("they are no events"),
        }
    }

    fn take_arrival(&mut self, at: u64, index: usize) {
        let Arrival { by, id, what, .. } = self.arrivals[index].clone();
        let at = at.max(self.engine_now);
        let is_key = matches!(what, What::Key { .. });
        if !is_key {
            // What tells of no output must be in order with those that do.
            self.pass_time(at);
            if self.calls.is_none() || self.stopped {
                return;
            }
        }
        if by == By::Stream && self.stopping.is_some() {
            return;
        }
        self.tell(|| format!("{by:?} {id} {what:?}"));
        let taking = Taking { id: id.clone(), at, what: what.clone(), began: None, answered: false };
        self.source = Source::Voice;
        self.answer = None;
        match (by, &what) {
            (By::Stream, What::Start { interaction, from, to }) => {
                self.model.started(Source::Voice, &taking);
                self.taking = Some(taking);
                let [interaction, from, to] = [interaction, from, to].map(Option::as_deref);
                let facts = Facts { interaction, from, to };
                self.handle(Event::CallStarted { source: Source::Voice, call: &id, facts }, at);
            }
            (By::Stream, What::Key { key, stamp }) => {
                self.taking = Some(taking);
                let key = Key::parse(*key).expect("a key");
                let event = Event::KeyPressed { source: Source::Voice, call: &id, key, stamp: *stamp };
                self.handle(event, at);
            }
            (By::Stream, What::HangUp) => {
                if self.model.live(Source::Voice, &id).is_none() {
                    self.model.hung_up_late(Source::Voice, &id, at);
                }
                self.taking = Some(taking);
                self.handle(Event::CallEnded { source: Source::Voice, call: &id }, at);
            }
            (By::Api(reach), What::Key { key, .. }) => {
                let is_live = reach == dtmfd::engine::Reach::Live;
                if !is_live || !self.model.may_be_of_the_stream(&id, at) {
                    self.source = Source::Simulator;
                }
                self.taking = Some(taking);
                let key = Key::parse(*key).expect("a key");
                self.ask_at(Question::Press { call: &id, key, reach }, at);
            }
            (By::Api(_), What::HangUp) => {
                self.taking = Some(taking);
                self.ask_at(Question::HangUp { call: &id }, at);
            }
            (By::Api(_), What::Start { .. }) => unreachable!("the API starts no call"),
        }
        let taking = self.taking.take();
        if self.calls.is_some() && is_key {
            let answered = taking.is_some_and(|taking| taking.answered);
            match self.answer.take() {
                Some(Answer::Stopping) => assert!(self.stopping.is_some()),
                Some(Answer::OfTheStream) => assert!(self.model.may_be_of_the_stream(&id, at)),
                Some(Answer::Pressed(_)) | None => assert!(answered, "a digit is not accounted for"),
                answer => panic!("an answer to a key: {answer:?}"),
            }
            self.totals.digits += 1;
        }
    }

    fn ask_at(&mut self, question: Question<'_>, at: u64) {
        self.asked += 1;
        self.answer = None;
        self.handle(Event::Asked(AskId(self.asked), question), at);
        assert!(self.calls.is_none() || self.answer.is_some(), "no answer to {question:?}");
    }

    fn ask(&mut self, question: Question<'_>) -> Option<Answer> {
        self.ask_at(question, self.now);
        self.answer.take()
    }

    /// Does what the engine wants done, as far as we get.
    fn drain(&mut self) {
        loop {
            let Some(calls) = &mut self.calls else { return };
            let Some(output) = calls.poll_output() else { break };
            if let Some(outputs) = self.crash_after.as_mut().filter(|_| self.now < self.plan.end) {
                *outputs -= 1;
                if *outputs == 0 {
                    return self.crash();
                }
            }
            self.note(output);
        }
        if !self.stopped {
            self.calls.as_ref().expect("it runs").check_invariants();
        }
    }

    fn call(&self, id: CallId) -> &Call {
        let calls = self.calls.as_ref().expect("it runs");
        calls.call(id).expect("it can be looked up until the next output")
    }

    fn note(&mut self, output: Output) {
        self.tell(|| match &output {
            Output::Commit(commit) => format!("  -> commit {} of {}", commit.number, commit.changes.len()),
            other => format!("  -> {other:?}"),
        });
        let now = self.now;
        match output {
            Output::Began { call: id } => {
                self.totals.calls += 1;
                let calls = self.calls.as_ref().expect("it runs");
                let call = calls.call(id).expect("it can be looked up until the next output");
                self.model.began(id, call, &mut self.taking);
            }
            Output::Resumed { .. } => panic!("a call is resumed once"),
            Output::Pressed { call, verdict, key, from, .. } => {
                self.model.pressed(call, verdict.name(), &mut self.taking);
                self.model.met(call, key.symbol(), from);
            }
            Output::Dropped { verdict } => {
                let full = self.model.live_count() >= self.plan.bounds.calls_max;
                assert!(verdict != Verdict::Refused || full, "refused where there is room");
                self.model.dropped(self.source, verdict.name(), &mut self.taking);
            }
            Output::Entered { call, .. } => self.model.entered(call),
            Output::Ended { call } => {
                let end = self.call(call).end().expect("it has ended").clone();
                let lasted = self.model.ended(call, &end, self.taking.as_ref(), now);
                self.totals.calls_ms += u128::from(lasted);
            }
            Output::Discarded { call } => self.model.discarded(call),
            Output::Commit(commit) => self.begin_commit(commit),
            Output::Undurable { update } => {
                self.model.undurable += 1;
                let life = self.model.life_of(&update);
                life.forgiven = true;
                let left = life.left.as_mut().expect("it left an update");
                assert_eq!(Phase::Held, left.phase, "nothing held it");
                let is_early = now + LATE_MS < left.queued_at.max(self.made_at) + HELD_MS;
                assert!(!is_early || self.stopping.is_some(), "it left without being kept, too early");
                left.phase = Phase::Waiting;
            }
            Output::DroppedByOperator { update, .. } => {
                let left = self.model.life_of(&update).left.as_mut().expect("it left an update");
                assert!(left.phase != Phase::InFlight && left.phase != Phase::Gone, "dropped: {left:?}");
                left.phase = Phase::Gone;
                self.dropped.push(update.key());
            }
            Output::Queued { update, .. } => {
                self.totals.updates += 1;
                self.model.queued(&update, now);
            }
            Output::Deliver(attempt) => self.send(attempt),
            Output::Delivered { update, .. } => {
                assert!(matches!(self.last, Some(Outcome::Accepted { .. })));
                let left = self.model.life_of(&update).left.as_mut().expect("it left an update");
                assert_eq!(Phase::InFlight, left.phase, "it was delivered");
                left.phase = Phase::Gone;
            }
            Output::Retrying { update, .. } => {
                let left = self.model.life_of(&update).left.as_mut().expect("it left an update");
                assert_eq!(Phase::InFlight, left.phase, "it is to be tried again");
                left.phase = Phase::Waiting;
            }
            Output::Parked { update, why, .. } => {
                self.totals.parked += 1;
                let time = self.engine_now;
                self.model.parked(&update, why, self.last, time);
            }
            Output::TreeTaken(taken) => {
                assert!(taken || self.plan.trees.len() > dtmfd::engine::TREES_MAX, "a tree is not taken");
                if taken {
                    self.model.current = self.loading;
                }
            }
            Output::Answer(_, answer) => self.answered(answer),
            Output::Drained(left) => self.drained(left),
            Output::KeepingIs(_) | Output::EndpointIs(_) => (),
        }
    }
}
