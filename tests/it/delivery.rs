//! Deliveries in virtual time: the table of SPEC.md section 4, and what one update may do to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtmfd::engine::{
    Answer, AskId, Attempt, Bounds, Calls, Endpoint, Event, Failure, Key, Named, Outcome, Output, Page,
    Parked, Question, Random, Source, Summary, Tick, UpdateStanding, UpdateState,
};

use crate::script::tree;

const ONE_KEY: &str =
    r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "1": { "outcome": "one" } } } } }"#;
const DONE: Outcome = Outcome::Accepted { status: 200 };
const BROKEN: Outcome = Outcome::Failed(Failure::Status(503));
const DAY: u64 = 24 * 60 * 60 * 1000;

/// A tenant as a function of the time, the call and the attempt's number: when it answers, and what.
type Tenant<'a> = &'a mut dyn FnMut(u64, &str, u32) -> (u64, Outcome);

struct World {
    calls: Calls,
    /// Answers on their way, by when they come.
    answers: BTreeMap<(u64, u64), (Attempt, Outcome)>,
    sent: u64,
    log: Vec<(u64, String, u32)>,
    delivered: BTreeMap<String, (u64, u32)>,
    parked: BTreeMap<String, (u64, Parked)>,
    endpoint: Vec<(u64, Endpoint)>,
    answered: Option<Answer>,
    dropped: Vec<String>,
    drained: Option<(u64, Summary)>,
}

impl World {
    fn new(attempts_max: usize) -> World {
        let bounds = Bounds { calls_max: 1_000_000, attempts_max };
        World {
            calls: Calls::new(tree(ONE_KEY), bounds, 7, Tick(0)),
            answers: BTreeMap::new(),
            sent: 0,
            log: Vec::new(),
            delivered: BTreeMap::new(),
            parked: BTreeMap::new(),
            endpoint: Vec::new(),
            answered: None,
            dropped: Vec::new(),
            drained: None,
        }
    }

    /// Ends a call, which leaves an update behind.
    fn end_call(&mut self, id: &str, at: u64, tenant: Tenant<'_>) {
        self.run_until(at, tenant);
        let key = Key::parse('1').expect("a key");
        let event = Event::KeyPressed { source: Source::Voice, call: id, key, stamp: None };
        self.calls.handle(event, Tick(at));
        self.drain(at, tenant);
    }

    /// Lets time pass, answer by answer and deadline by deadline.
    fn run_until(&mut self, until: u64, tenant: Tenant<'_>) {
        loop {
            let answer = self.answers.keys().next().map(|&(at, _)| at);
            let due = self.calls.poll_timeout().map(|due| due.0);
            let Some(next) = [answer, due].into_iter().flatten().min().filter(|&next| next <= until) else {
                return;
            };
            if answer == Some(next) {
                let (_, (attempt, outcome)) = self.answers.pop_first().expect("there is one");
                self.calls.handle(Event::AttemptFinished { id: attempt.id, outcome }, Tick(next));
            } else {
                self.calls.handle_timeout(Tick(next));
            }
            self.drain(next, tenant);
        }
    }

    fn drain(&mut self, now: u64, tenant: Tenant<'_>) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Deliver(attempt) => {
                    let call = attempt.update.call.to_string();
                    let (takes, outcome) = tenant(now, &call, attempt.number);
                    self.log.push((now, call, attempt.number));
                    self.sent += 1;
                    self.answers.insert((now + takes, self.sent), (attempt, outcome));
                }
                Output::Delivered { update, attempts, .. } => {
                    let twice = self.delivered.insert(update.call.to_string(), (now, attempts));
                    assert_eq!(None, twice, "{} was delivered twice", update.call);
                }
                Output::Parked { update, why, .. } => {
                    self.parked.insert(update.call.to_string(), (now, why));
                }
                Output::EndpointIs(endpoint) => self.endpoint.push((now, endpoint)),
                Output::Answer(_, answer) => self.answered = Some(answer),
                Output::DroppedByOperator { update, .. } => self.dropped.push(update.call.to_string()),
                Output::Drained(left) => self.drained = Some((now, left)),
                Output::Began { .. }
                | Output::Resumed { .. }
                | Output::Commit(_)
                | Output::KeepingIs(_)
                | Output::TreeTaken(_)
                | Output::Undurable { .. }
                | Output::Pressed { .. }
                | Output::Dropped { .. }
                | Output::Entered { .. }
                | Output::Ended { .. }
                | Output::Discarded { .. }
                | Output::Queued { .. }
                | Output::Retrying { .. } => (),
            }
        }
        // It looks at every update: where there are thousands, every thousandth time will do.
        if self.calls.summary().waiting < 100 || self.sent.is_multiple_of(1_000) {
            self.calls.check_invariants();
        }
    }

    /// Asks the engine.
    fn ask(&mut self, question: Question<'_>, at: u64, tenant: Tenant<'_>) -> Answer {
        self.run_until(at, tenant);
        self.calls.handle(Event::Asked(AskId(1), question), Tick(at));
        self.drain(at, tenant);
        self.answered.take().expect("every question is answered at once")
    }

    /// Returns how the only update stands.
    fn standing(&mut self, at: u64, tenant: Tenant<'_>) -> UpdateStanding {
        let page = Page { after: 0, limit: 2 };
        let Answer::Outbox(mut list, None) =
            self.ask(Question::Outbox { only_parked: false, page }, at, tenant)
        else {
            panic!("it is a page, and the only one")
        };
        assert_eq!(1, list.len());
        list.remove(0)
    }

    fn attempts(&self, call: &str) -> Vec<u64> {
        self.log.iter().filter(|(_, sent, _)| sent == call).map(|&(at, ..)| at).collect()
    }
}

#[test]
fn a_temporary_failure_is_tried_again_within_a_bound_that_doubles() {
    let mut world = World::new(4);
    world.end_call("a", 0, &mut |_, _, number| (0, if number <= 10 { BROKEN } else { DONE }));
    world.run_until(DAY, &mut |_, _, number| (0, if number <= 10 { BROKEN } else { DONE }));
    let attempts = world.attempts("a");
    assert_eq!(11, attempts.len());
    for (number, pair) in attempts.windows(2).enumerate() {
        let bound = (250u64 << number).min(60_000);
        assert!(pair[1] - pair[0] <= bound, "attempt {}: {pair:?}", number + 2);
    }
    assert!(attempts[10] > 10_000, "full jitter, not none: {attempts:?}");
    assert_eq!(11, world.delivered["a"].1);
}

#[test]
fn what_asking_again_would_not_help_is_parked_at_once() {
    for status in [400, 410, 422, 301, 307, 501, 505] {
        let mut world = World::new(4);
        world.end_call("a", 5, &mut |_, _, _| (10, Outcome::Rejected { status }));
        world.run_until(DAY, &mut |_, _, _| unreachable!("it is parked"));
        assert_eq!((15, Parked::Rejected { status }), world.parked["a"]);
    }
}

#[test]
fn an_operator_retries_and_drops_updates_but_none_whose_attempt_is_under_way() {
    let rejected = Outcome::Rejected { status: 400 };
    let mut world = World::new(4);
    world.end_call("a", 0, &mut |_, _, _| (10, rejected));
    let name = world.standing(5, &mut |_, _, _| unreachable!()).name;
    let question = Question::Drop(Named::One(name));
    assert_eq!(Answer::UpdateInFlight, world.ask(question, 6, &mut |_, _, _| unreachable!()));
    let standing = world.standing(20, &mut |_, _, _| unreachable!());
    assert_eq!(UpdateState::Parked(Parked::Rejected { status: 400 }), standing.state);
    assert_eq!((name, 1, 20), (standing.name, standing.attempts, standing.age_ms));

    let mut failing = |_: u64, _: &str, _: u32| (0, BROKEN);
    let retry = Question::Retry(Named::One(name));
    assert_eq!(Answer::Changed(1), world.ask(retry, 30, &mut failing));
    assert_eq!(UpdateState::Waiting, world.standing(30, &mut failing).state);
    assert_eq!(Answer::Changed(1), world.ask(retry, 31, &mut failing), "it does not wait any longer");
    assert_eq!(3, world.attempts("a").len());

    assert_eq!(Answer::Changed(1), world.ask(question, 32, &mut failing));
    assert_eq!((vec!["a".to_owned()], 0), (world.dropped.clone(), world.calls.summary().waiting));
    for question in [question, retry, Question::Retry(Named::One(name ^ 1))] {
        assert_eq!(Answer::NoSuchUpdate, world.ask(question, DAY, &mut |_, _, _| unreachable!()));
    }
}

#[test]
fn all_that_is_parked_is_changed_a_thousand_at_a_time() {
    let mut world = World::new(4);
    let mut rejecting = |_: u64, _: &str, _: u32| (0, Outcome::Rejected { status: 400 });
    for call in 0..1_500 {
        world.end_call(&format!("c{call}"), call, &mut rejecting);
    }
    let all = Question::Retry(Named::AllParked);
    let mut slow = |_: u64, _: &str, _: u32| (DAY, DONE);
    assert_eq!(Answer::Changed(1_000), world.ask(all, 2_000, &mut slow));
    assert_eq!(500, world.calls.summary().parked);
    assert_eq!(Answer::Changed(500), world.ask(Question::Drop(Named::AllParked), 2_001, &mut slow));
    assert_eq!(Answer::Changed(0), world.ask(all, 2_002, &mut slow));
    assert_eq!((500, 1_000, 0), {
        let Summary { waiting, parked, .. } = world.calls.summary();
        (world.dropped.len(), waiting, parked)
    });
}

#[test]
fn a_missing_interaction_is_tried_five_times_in_a_minute() {
    let mut world = World::new(4);
    let mut missing = |_: u64, _: &str, _: u32| (0, Outcome::NotYet { status: 404 });
    world.end_call("a", 0, &mut missing);
    world.run_until(DAY, &mut missing);
    assert_eq!(vec![0, 4_000, 12_000, 28_000, 60_000], world.attempts("a"));
    assert_eq!((60_000, Parked::NotFound { status: 404 }), world.parked["a"]);
}

#[test]
fn after_a_day_an_update_is_parked_whatever_it_waits_for() {
    let mut world = World::new(1);
    let mut broken = |_: u64, _: &str, _: u32| (0, BROKEN);
    for id in ["a", "b", "c"] {
        world.end_call(id, 100, &mut broken);
    }
    world.run_until(2 * DAY, &mut broken);
    for id in ["a", "b", "c"] {
        assert_eq!((DAY + 100, Parked::TooOld), world.parked[id], "{id}");
    }
    assert_eq!(Summary { calls: 0, waiting: 0, parked: 3 }, world.calls.summary());
}

#[test]
fn a_pause_holds_every_update_and_is_at_most_five_minutes() {
    for (asked, waited) in [(2_000, 2_000), (900_000, 300_000)] {
        let mut world = World::new(4);
        let mut tenant = |now: u64, _: &str, _: u32| match now {
            0 => (0, Outcome::Paused { status: 429, retry_after_ms: asked }),
            _ => (0, DONE),
        };
        world.end_call("a", 0, &mut tenant);
        world.end_call("b", 100, &mut tenant);
        world.run_until(DAY, &mut tenant);
        assert_eq!(vec![waited], world.attempts("b"));
        assert_eq!(vec![0, waited], world.attempts("a"));
    }
}

#[test]
fn a_refused_token_costs_one_more_attempt() {
    let mut world = World::new(4);
    let mut tenant = |_: u64, _: &str, number: u32| match number {
        1 => (1, Outcome::Refused { status: 401, token: 1 }),
        _ => (1, DONE),
    };
    world.end_call("a", 0, &mut tenant);
    world.run_until(DAY, &mut tenant);
    assert_eq!((2, 2), world.delivered["a"]);
    assert_eq!(Vec::<(u64, Endpoint)>::new(), world.endpoint);
}

#[test]
fn a_tenant_that_refuses_everything_sees_one_probe_at_a_time() {
    let mut world = World::new(8);
    let mut token = 0;
    let mut refuses = |now: u64, _: &str, _: u32| {
        token += 1;
        (5, if now < 600_000 { Outcome::Refused { status: 403, token } } else { DONE })
    };
    for id in 0..50 {
        world.end_call(&id.to_string(), 0, &mut refuses);
    }
    world.run_until(599_000, &mut refuses);
    assert!((10..60).contains(&world.log.len()), "{} requests in ten minutes", world.log.len());
    assert_eq!(Some(&(Endpoint::Refusing)), world.endpoint.last().map(|(_, endpoint)| endpoint));
    world.run_until(DAY, &mut refuses);
    assert_eq!(50, world.delivered.len());
}

#[test]
fn an_update_that_is_refused_alone_delays_no_other() {
    let mut world = World::new(4);
    let mut token = 0;
    let mut tenant = |_: u64, call: &str, _: u32| {
        token += u64::from(call == "refused");
        (2, if call == "refused" { Outcome::Refused { status: 403, token } } else { DONE })
    };
    world.end_call("refused", 0, &mut tenant);
    for second in 1..600u64 {
        world.end_call(&second.to_string(), second * 1_000, &mut tenant);
    }
    world.run_until(660_000, &mut tenant);
    assert_eq!(599, world.delivered.len());
    let late =
        world.delivered.iter().filter(|(id, (at, _))| *at > id.parse::<u64>().unwrap() * 1_000 + 70_000);
    assert_eq!(0, late.count());
    let refused = world.attempts("refused").len();
    assert!(refused < 200, "{refused} attempts in eleven minutes");
}

#[test]
fn one_update_that_always_times_out_delays_no_other() {
    let mut world = World::new(2);
    let mut tenant = |_: u64, call: &str, _: u32| match call {
        "stuck" => (10_000, Outcome::Failed(Failure::Timeout)),
        _ => (1, DONE),
    };
    world.end_call("stuck", 0, &mut tenant);
    for call in 1..500u64 {
        world.end_call(&call.to_string(), call * 500, &mut tenant);
    }
    world.run_until(300_000, &mut tenant);
    assert_eq!(499, world.delivered.len());
    for (id, (at, _)) in &world.delivered {
        assert!(at - id.parse::<u64>().unwrap() * 500 <= 50, "{id} was delayed");
    }
}

#[test]
fn an_hour_of_outage_costs_few_requests_and_then_everything_goes() {
    let mut world = World::new(32);
    let mut tenant = |now: u64, _: &str, _: u32| if now < 3_600_000 { (200, BROKEN) } else { (5, DONE) };
    for call in 0..10_000u64 {
        world.end_call(&call.to_string(), call / 10, &mut tenant);
    }
    world.run_until(3_599_999, &mut tenant);
    assert!(world.log.len() <= 150, "{} requests in the hour", world.log.len());
    world.run_until(3_800_000, &mut tenant);
    assert_eq!(10_000, world.delivered.len());
}

#[test]
fn after_an_outage_the_young_go_first_and_the_backlog_gets_half_at_most() {
    let mut world = World::new(8);
    let mut tenant = |now: u64, _: &str, _: u32| if now < 600_000 { (10, BROKEN) } else { (20, DONE) };
    for call in 0..20_000u64 {
        world.end_call(&format!("old-{call}"), call, &mut tenant);
    }
    // The first success opens the window; from here calls end as they do.
    world.run_until(665_000, &mut tenant);
    let begun = world.log.len();
    for call in 0..2_000u64 {
        world.end_call(&format!("new-{call}"), 665_000 + call * 5, &mut tenant);
    }
    let news: Vec<_> = world.log[begun..].iter().map(|(_, id, _)| id.starts_with("new")).collect();
    let old = news.iter().filter(|new| !**new).count();
    assert!(old * 2 <= news.len() + 8, "{old} of {} attempts were of the backlog", news.len());
    world.run_until(2_000_000, &mut tenant);
    let slowest =
        (0..2_000u64).map(|call| world.delivered[&format!("new-{call}")].0 - 665_000 - call * 5).max();
    assert!(slowest <= Some(1_000), "a young one took {slowest:?} ms");
    assert_eq!(22_000, world.delivered.len());
}

#[test]
fn two_hundred_calls_ended_at_once_take_seven_rounds_of_a_tenant_that_takes_a_second() {
    let mut world = World::new(32);
    let mut slow = |_: u64, _: &str, _: u32| (1_000, DONE);
    for call in 0..200 {
        world.end_call(&call.to_string(), 0, &mut slow);
    }
    world.run_until(DAY, &mut slow);
    assert_eq!(Some(7_000), world.delivered.values().map(|&(at, _)| at).max());
}

#[test]
fn a_drain_delivers_what_it_can_and_says_what_is_left() {
    let mut world = World::new(4);
    let mut slow = |_: u64, _: &str, _: u32| (100, DONE);
    for call in 0..50 {
        world.end_call(&call.to_string(), 0, &mut slow);
    }
    world.calls.handle(Event::Drain { until: Tick(8_010) }, Tick(10));
    world.drain(10, &mut slow);
    world.run_until(DAY, &mut slow);
    assert_eq!(Some((1_300, Summary::default())), world.drained);

    let mut world = World::new(4);
    let mut broken = |_: u64, _: &str, _: u32| (100, BROKEN);
    for call in 0..50 {
        world.end_call(&call.to_string(), 0, &mut broken);
    }
    world.calls.handle(Event::Drain { until: Tick(8_010) }, Tick(10));
    world.drain(10, &mut broken);
    world.run_until(DAY, &mut broken);
    let (at, left) = world.drained.expect("it ends");
    assert!(at <= 8_010, "drained at {at}");
    assert_eq!(Summary { calls: 0, waiting: 50, parked: 0 }, left);
}

#[test]
fn a_drain_tries_everything_once_more_however_long_it_would_have_waited() {
    let mut world = World::new(4);
    let mut tenant = |now: u64, _: &str, _: u32| (10, if now < 300_000 { BROKEN } else { DONE });
    world.end_call("a", 0, &mut tenant);
    world.run_until(300_000, &mut tenant);
    assert_eq!(0, world.delivered.len(), "it waits up to a minute");
    world.calls.handle(Event::Drain { until: Tick(308_001) }, Tick(300_001));
    world.drain(300_001, &mut tenant);
    world.run_until(DAY, &mut tenant);
    assert_eq!(Some((300_011, Summary::default())), world.drained);
}

#[test]
fn calls_stand_still_while_the_engine_drains() {
    let mut world = World::new(4);
    let mut tenant = |_: u64, _: &str, _: u32| (100, DONE);
    world
        .calls
        .handle(Event::CallStarted { source: Source::Voice, call: "a", facts: Default::default() }, Tick(0));
    world.end_call("b", 9_950, &mut tenant);
    world.calls.handle(Event::Drain { until: Tick(18_000) }, Tick(9_990));
    world.drain(9_990, &mut tenant);
    world.run_until(DAY, &mut tenant);
    assert_eq!(Some((10_050, Summary { calls: 1, waiting: 0, parked: 0 })), world.drained);
    assert_eq!(vec!["b"], world.delivered.keys().collect::<Vec<_>>());
}

/// Random tenants and callers: every update is delivered once or parked, whatever happens between.
#[test]
fn whatever_the_tenant_does_every_update_is_delivered_once_or_parked() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut world = World::new(1 + random.up_to(7) as usize);
        let faults_until = random.up_to(3_000_000);
        let mut token = 0;
        let mut tenant = |now: u64, _: &str, _: u32| {
            if now >= faults_until {
                return (5, DONE);
            }
            token += 1;
            let outcome = match random.up_to(11) {
                0 => BROKEN,
                1 => Outcome::Failed(Failure::Timeout),
                2 => Outcome::Failed(Failure::Network),
                3 => Outcome::Refused { status: 401, token },
                4 => Outcome::NoToken { retry_in_ms: random.up_to(5_000) },
                5 => Outcome::Paused { status: 429, retry_after_ms: random.up_to(400_000) },
                6 => Outcome::Paused { status: 503, retry_after_ms: random.up_to(4_000) },
                7 => Outcome::Busy { status: 429 },
                8 => Outcome::NotYet { status: 404 },
                9 => Outcome::Rejected { status: 400 + (random.up_to(1) as u16) * 101 },
                _ => DONE,
            };
            (random.up_to(10_000), outcome)
        };
        let mut at = 0;
        for call in 0..60 {
            at += call * 40;
            world.end_call(&call.to_string(), at, &mut tenant);
        }
        world.run_until(2 * DAY, &mut tenant);
        let (delivered, parked) = (world.delivered.len(), world.parked.len());
        assert_eq!(60, delivered + parked, "seed {seed}");
        let left = Summary { calls: 0, waiting: 0, parked };
        assert_eq!(left, world.calls.summary(), "seed {seed}");
        let too_old = world.parked.values().filter(|(_, why)| *why == Parked::TooOld).count();
        assert_eq!(0, too_old, "seed {seed}: the faults end within the hour");
    }
}

#[test]
fn the_same_seed_gives_the_same_lifetime() {
    let lifetime = || {
        let mut world = World::new(3);
        let mut tenant = |now: u64, _: &str, _: u32| (now % 7, if now < 20_000 { BROKEN } else { DONE });
        for call in 0..40u64 {
            world.end_call(&call.to_string(), call * 13, &mut tenant);
        }
        world.run_until(DAY, &mut tenant);
        world.log
    };
    assert_eq!(lifetime(), lifetime());
}

/// Kept from going stale: an update is shared, never copied, on its way to a worker.
#[test]
fn an_attempt_shares_its_update() {
    let mut world = World::new(1);
    let mut tenant = |_: u64, _: &str, _: u32| (1_000, BROKEN);
    world.end_call("a", 0, &mut tenant);
    let (attempt, _) = world.answers.values().next().expect("it is on its way");
    assert_eq!(2, Arc::strong_count(&attempt.update));
}

/// Found by fuzzing: an update that grew too old while it waited for a worker kept its place in the queue, and got
/// another when an operator wanted it tried again.
#[test]
fn an_update_that_was_parked_while_it_was_ready_is_queued_once_when_it_is_tried_again() {
    let mut world = World::new(1);
    let tenant = &mut |now, call: &str, _| match call {
        "stuck" if now < DAY => (3 * DAY, DONE),
        _ => (1, DONE),
    };
    world.end_call("stuck", 0, tenant);
    world.end_call("late", 1, tenant);
    for day in 1..=2 {
        world.run_until(day * DAY + 10, tenant);
        assert_eq!(Some(Parked::TooOld), world.parked.remove("late").map(|(_, why)| why), "day {day}");
        let retry = Event::Asked(AskId(day), Question::Retry(Named::AllParked));
        world.calls.handle(retry, Tick(day * DAY + 10));
        world.drain(day * DAY + 10, tenant);
        world.calls.check_invariants();
    }
    world.run_until(4 * DAY, tenant);
    assert_eq!(Some(&(3 * DAY + 1, 1)), world.delivered.get("late"));
}
