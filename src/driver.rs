//! Thread `calls`: the engine against the clock and the inbox. The only loop that knows what time it
//! is, and the only owner of the calls.

mod clock;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};
use log::{debug, error, info, warn};

use crate::engine::{
    Answer, AskId, Attempt, CallId, Calls, Commit, Counts, Endpoint, Event, Keeping, NodeId, Output, Reason,
    Source, Summary, TREES_MAX, Verdict,
};
use crate::inbox::{Batch, Incoming, Kept, Outlet};
use crate::observe::latency::{self, Latency};
use crate::observe::status::Status;

pub use clock::{Clock, Mark, Reading};

/// The longest a digit can take to be decided: past it the figure is of no more use.
const DECIDED_MAX: Duration = Duration::from_secs(60);
/// The longest an update is tried for.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A call that ended, for whoever listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallEnd {
    /// Where it came from.
    pub source: Source,
    /// Its id there.
    pub call: String,
    /// What it came to.
    pub outcome: String,
    /// Whether it leaves an update to be delivered.
    pub writes: bool,
}

/// What the thread came to.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What was left when it ended.
    pub left: Summary,
    /// Whether it is kept, and goes on with the next start.
    pub is_kept: bool,
    /// From reading a digit's frame to its decision.
    pub decided: latency::Summary,
    /// From a call's end to the acknowledgement of its update.
    pub acknowledged: latency::Summary,
}

/// Where what the engine wants done goes.
pub struct Sinks {
    /// Attempts, to the workers. It has room for every one that the engine may have in flight.
    pub jobs: Sender<Attempt>,
    /// Transactions, to the store, where anything is kept. It has room for one.
    pub commits: Option<Sender<Commit>>,
    /// Ends of calls, to whoever listens.
    pub ends: Option<Sender<CallEnd>>,
}

/// The engine, and what surrounds it.
pub struct Driver {
    calls: Calls,
    clock: Clock,
    outlet: Outlet,
    jobs: Sender<Attempt>,
    /// Where transactions go, where anything is kept.
    commits: Option<Sender<Commit>>,
    status: Arc<Status>,
    ends: Option<Sender<CallEnd>>,
    log_digits: bool,

    /// Answers that are awaited.
    asked: Vec<(AskId, Sender<Answer>)>,
    questions: u64,
    /// When what is being handled was read.
    read_at: Option<Instant>,
    /// By the slot of each call in progress.
    walks: Vec<Walk>,
    /// By the slot of each update: when its call ended.
    selected: Vec<Instant>,
    decided: Latency,
    acknowledged: Latency,
    verdicts: [u64; Verdict::ALL.len()],
    told_full: Option<&'static str>,
    /// Why the last transaction failed.
    last_failure: String,
    /// What an operator should know of the last attempt that failed.
    last_detail: Option<Box<str>>,
    drained: Option<Summary>,
}

/// What is measured of a call in progress.
#[derive(Clone, Copy, Default)]
struct Walk {
    digits: u32,
    slowest_us: u32,
}

impl Driver {
    /// Returns a driver of `calls`, whose time is `clock`'s.
    pub fn new(
        calls: Calls,
        clock: Clock,
        outlet: Outlet,
        sinks: Sinks,
        status: Arc<Status>,
        log_digits: bool,
    ) -> Driver {
        let Sinks { jobs, commits, ends } = sinks;
        Driver {
            calls,
            clock,
            outlet,
            jobs,
            commits,
            status,
            ends,
            log_digits,
            asked: Vec::new(),
            questions: 0,
            read_at: None,
            walks: Vec::new(),
            selected: Vec::new(),
            decided: Latency::up_to(DECIDED_MAX),
            acknowledged: Latency::up_to(ACKNOWLEDGED_MAX),
            verdicts: [0; Verdict::ALL.len()],
            told_full: None,
            last_failure: String::new(),
            last_detail: None,
            drained: None,
        }
    }

    /// Runs until [`Incoming::Drain`] has been answered, or every sender is gone.
    pub fn run(mut self) -> Report {
        // What an earlier process left is to be done at once: on a quiet line nothing else would begin it.
        self.act();
        let left = loop {
            if let Some(left) = self.drained {
                break left;
            }
            let received = match self.calls.poll_timeout() {
                Some(due) => self.outlet.incoming.recv_deadline(self.clock.instant(due)),
                None => self.outlet.incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(incoming) => self.take(incoming),
                Err(RecvTimeoutError::Timeout) => {
                    self.calls.handle_timeout(self.clock.now());
                    self.act();
                }
                Err(RecvTimeoutError::Disconnected) => break self.calls.summary(),
            }
        };
        let (decided, acknowledged) = (self.decided.summary(), self.acknowledged.summary());
        info!("digits, frame read to decided: {decided}");
        info!("updates, call's end to acknowledged: {acknowledged}");
        for (verdict, count) in Verdict::ALL.into_iter().zip(self.verdicts).filter(|&(_, count)| count > 0) {
            info!(verdict = verdict.name(), count; "digits judged");
        }
        let Counts { reordered, refused, discarded, forgotten, undurable, unrecorded } = self.calls.counts();
        if reordered + refused + discarded + forgotten > 0 {
            info!(reordered, refused, discarded, forgotten; "events out of order, calls refused, discarded, forgotten early");
        }
        if undurable + unrecorded > 0 {
            warn!(undurable, unrecorded; "updates that left without being kept, calls left out of the history");
        }
        Report { left, is_kept: self.calls.is_kept(), decided, acknowledged }
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Batch(batch) => self.take_batch(batch),
            Incoming::Asked { question, reply } => {
                self.questions += 1;
                let id = AskId(self.questions);
                self.asked.push((id, reply));
                self.handle(Event::Asked(id, question.question()), Instant::now());
            }
            Incoming::Finished { id, outcome, at, detail } => {
                self.last_detail = detail.or(self.last_detail.take());
                self.handle(Event::AttemptFinished { id, outcome }, at);
            }
            Incoming::Committed(number) => self.handle(Event::Committed(number), Instant::now()),
            Incoming::CommitFailed { number, why } => {
                self.last_failure = why;
                self.handle(Event::CommitFailed(number), Instant::now());
            }
            Incoming::StoreLost => self.handle(Event::StoreLost, Instant::now()),
            Incoming::Found(rows, is_last) => self.take_found(&rows, is_last),
            Incoming::TreeLoaded(ivr) => self.handle(Event::TreeLoaded(ivr), Instant::now()),
            Incoming::Drain(until) => {
                self.handle(Event::Drain { until: self.clock.received(until) }, Instant::now());
            }
        }
    }

    /// Takes in rows that could not be read at the start.
    fn take_found(&mut self, rows: &[Kept], is_last: bool) {
        let unreadable = rows.iter().filter(|row| self.calls.restore(row.row()).is_err()).count();
        if unreadable > 0 {
            error!(unreadable; "kept rows that can't be read are left out");
        }
        if is_last {
            self.calls.restored();
        }
        self.act();
    }

    fn take_batch(&mut self, mut batch: Box<Batch>) {
        let read_at = batch.read_at().unwrap_or_else(Instant::now);
        for event in batch.events(Source::Voice) {
            self.handle(event, read_at);
        }
        batch.clear();
        // Where the reader has spare batches enough, this one goes.
        let _ = self.outlet.spare.try_send(batch);
    }

    fn handle(&mut self, event: Event<'_>, at: Instant) {
        self.read_at = matches!(event, Event::KeyPressed { .. } | Event::Asked(..)).then_some(at);
        self.calls.handle(event, self.clock.received(at));
        self.act();
        self.read_at = None;
    }

    /// Does what the engine wants done.
    fn act(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Deliver(attempt) => self
                    .jobs
                    .try_send(attempt)
                    .expect("`jobs` has room for every attempt in flight, and its workers outlive us"),
                Output::Began { call } | Output::Resumed { call } => self.begin(call),
                Output::Commit(commit) => self
                    .commits
                    .as_ref()
                    .expect("the engine keeps only where there is a store")
                    .try_send(commit)
                    .expect("one transaction is in flight at a time, and `store` outlives us"),
                Output::KeepingIs(keeping) => self.tell_keeping(keeping),
                Output::TreeTaken(true) => info!("new calls walk the tree that was read last"),
                Output::TreeTaken(false) => error!(
                    "the tree stays as it is: calls in progress walk {TREES_MAX} others; try again when some have ended"
                ),
                Output::Undurable { update } => {
                    warn!(call = &*update.call; "the update could not be kept in time and leaves all the same");
                }
                Output::DroppedByOperator { update, .. } => {
                    warn!(call = &*update.call; "an operator dropped the update: it will not be written");
                }
                Output::Pressed { call, key, verdict, from, to, masked } => {
                    self.judged(verdict);
                    let shown = if masked || !self.log_digits { '•' } else { key.symbol() };
                    self.tell_press(call, shown, verdict, (from, to));
                }
                Output::Dropped { verdict } => self.judged(verdict),
                Output::Entered { call, node, attempt, reason } => {
                    self.tell_node(call, node, attempt, reason)
                }
                Output::Ended { call } => self.tell_end(call),
                Output::Discarded { call } => {
                    if let Some(call) = self.calls.call(call) {
                        info!(call = call.id(); "the stream has shown this call: the simulated one is discarded");
                    }
                }
                Output::Queued { id, update } => {
                    let ended = self.read_at.unwrap_or_else(|| self.clock.instant(update.ended));
                    let slot = id.slot();
                    self.selected.resize(self.selected.len().max(slot + 1), ended);
                    self.selected[slot] = ended;
                }
                Output::Delivered { id, update, attempts } => {
                    let took = self.selected[id.slot()].elapsed();
                    self.acknowledged.record(took);
                    let acknowledged_us = took.as_micros() as u64;
                    info!(call = &*update.call, attempts, acknowledged_us; "variables written");
                }
                Output::Retrying { update, attempts, outcome, wait_ms } => {
                    let detail = self.last_detail.as_deref().unwrap_or_default();
                    // Once for each update: what follows is the endpoint's to tell, or the update's end.
                    let level = if attempts <= 1 { log::Level::Info } else { log::Level::Debug };
                    log::log!(
                        level, call = &*update.call, attempts, outcome:%, wait_ms, detail;
                        "the update will be tried again"
                    );
                }
                Output::Parked { update, attempts, why } => {
                    let detail = self.last_detail.as_deref().unwrap_or_default();
                    error!(call = &*update.call, attempts, why:%, detail; "the update is parked for an operator");
                }
                Output::EndpointIs(endpoint) => self.tell_endpoint(endpoint),
                Output::Answer(id, answer) => self.answer(id, answer),
                Output::Drained(left) => self.drained = Some(left),
            }
        }
        let full = self.calls.full();
        if full != self.told_full {
            self.told_full = full;
            self.status.set_full(full);
            match full {
                Some(what) => {
                    error!("no more room for {what}: new calls are refused, those in progress go on")
                }
                None => info!("there is room for new calls again"),
            }
        }
    }

    fn begin(&mut self, call: CallId) {
        let slot = call.slot();
        self.walks.resize(self.walks.len().max(slot + 1), Walk::default());
        self.walks[slot] = Walk::default();
    }

    fn judged(&mut self, verdict: Verdict) {
        let place = Verdict::ALL.into_iter().position(|known| known == verdict);
        self.verdicts[place.expect("`ALL` holds every verdict")] += 1;
    }

    fn tell_press(&mut self, id: CallId, shown: char, verdict: Verdict, (from, to): (NodeId, NodeId)) {
        let took = self.read_at.map(|read_at| read_at.elapsed()).unwrap_or_default();
        self.decided.record(took);
        let took_us = took.as_micros() as u32;
        let walk = &mut self.walks[id.slot()];
        walk.digits += 1;
        walk.slowest_us = walk.slowest_us.max(took_us);
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        let Some(call) = self.calls.call(id) else { return };
        let (from, to) = (call.ivr().node(from), call.ivr().node(to));
        let (from, verdict) = (&*from.name, verdict.name());
        let (arrow, to) = match call.end() {
            Some(end) => ("→ end:", &*end.outcome),
            None => ("→", &*to.name),
        };
        debug!(call = call.id(), verdict, decided_us = took_us; "digit {shown}  {from} {arrow} {to}");
    }

    fn tell_node(&self, id: CallId, node: NodeId, attempt: u32, reason: Reason) {
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        let Some(call) = self.calls.call(id) else { return };
        let node = &*call.ivr().node(node).name;
        match reason {
            Reason::Commit => debug!(call = call.id(), attempt; "hears {node}"),
            Reason::NoInput | Reason::NoMatch(_) | Reason::Limit | Reason::HangUp => {
                debug!(call = call.id(), attempt, reason = reason.name(); "hears {node}");
            }
        }
    }

    fn tell_end(&mut self, id: CallId) {
        let walk = self.walks[id.slot()];
        let Some(call) = self.calls.call(id) else { return };
        let end = call.end().expect("it is the end that is told of");
        let decided_us = self.read_at.map_or(0, |read_at| read_at.elapsed().as_micros() as u64);
        info!(
            call = call.id(), source = call.source().name(), node = &*call.node().name, reason = end.reason.name(),
            digits = walk.digits, took_ms = end.at.since(call.began()), decided_us, slowest_us = walk.slowest_us;
            "call ended: {}", end.outcome
        );
        if let Some(ends) = &self.ends {
            let (source, outcome, writes) = (call.source(), end.outcome.to_string(), end.writes);
            // Whoever listens keeps up or misses some: calls never wait for it.
            let _ = ends.try_send(CallEnd { source, call: call.id().to_owned(), outcome, writes });
        }
    }

    fn tell_keeping(&self, keeping: Keeping) {
        let why = self.last_failure.as_str();
        self.status.set_keeping(keeping, why);
        match keeping {
            Keeping::Well => info!("the state is kept again"),
            Keeping::Slow => warn!("the disk takes longer than 5 s: updates leave without being kept"),
            Keeping::Failing => error!(why; "the state can't be kept: calls go on in memory"),
        }
    }

    fn tell_endpoint(&self, endpoint: Endpoint) {
        self.status.set_updates(endpoint);
        let detail = self.last_detail.as_deref().unwrap_or_default();
        let waiting = self.calls.summary().waiting;
        match endpoint {
            Endpoint::Up => info!(waiting; "updates flow"),
            Endpoint::Paused => info!(waiting; "the tenant asked for a pause: updates wait"),
            Endpoint::Down => warn!(waiting, detail; "the tenant fails: updates wait, one at a time probes"),
            Endpoint::Refusing => warn!(
                waiting, detail;
                "the tenant refuses a fresh token: check the scopes voice:read, interactions:read, interactions:write"
            ),
            Endpoint::NoToken => warn!(waiting, detail; "there is no token: updates wait"),
        }
    }

    fn answer(&mut self, id: AskId, answer: Answer) {
        if let Some(place) = self.asked.iter().position(|&(asked, _)| asked == id) {
            let (_, reply) = self.asked.swap_remove(place);
            // It has room for one; whoever lost patience has dropped the other end.
            let _ = reply.try_send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::engine::{Bounds, Key};

    #[test]
    fn what_is_to_be_done_at_the_start_waits_for_no_event() {
        let tree = r#"{"rootNode":"a","nodes":{"a":{"choices":{"1":{"outcome":"done"}}}}}"#;
        let ivr = crate::tree::load(tree).ivr.expect("it is a tree");
        let clock = Clock::resume(None);
        let mut calls = Calls::new(ivr, Bounds { calls_max: 1, attempts_max: 1 }, 1, clock.now());
        let key = Key::parse('1').expect("a key");
        calls.handle(Event::KeyPressed { source: Source::Voice, call: "c", key, stamp: None }, clock.now());

        let (jobs, work_to_do) = bounded(1);
        let (inbox, outlet) = crate::inbox::inbox();
        let sinks = Sinks { jobs, commits: None, ends: None };
        let driver = Driver::new(calls, clock, outlet, sinks, Arc::default(), false);
        std::thread::scope(|scope| {
            scope.spawn(|| driver.run());
            let attempt = work_to_do.recv_timeout(Duration::from_secs(60));
            drop(inbox);
            assert_eq!("c", &*attempt.expect("the update is to be delivered").update.call);
        });
    }
}
