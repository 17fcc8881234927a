//! Many updates at once, kept on a disk that takes some milliseconds: an outage of the API, and one update
//! that is always late.

use dtmfd::engine::{Bounds, Calls, Event, Failure, Key, Outcome, Output, Source, Tick, UpdateId};

use super::agenda::Agenda;
use crate::random_tree::Random;
use crate::script::tree;

const ONE_KEY: &str =
    r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "1": { "outcome": "one" } } } } }"#;
/// Calls and attempts, as in the service.
const BOUNDS: Bounds = Bounds { calls_max: 200_000, attempts_max: 32 };
const HOUR: u64 = 3_600_000;

enum Action {
    /// A caller presses the one key there is, and that is the end of the call.
    Press(String),
    Answer(UpdateId, Outcome),
    Written(u64),
}

/// The API: when a request leaves, for which call, and a random number decide how long it takes and what
/// comes of it.
type Api<'a> = &'a dyn Fn(u64, &str, &mut Random) -> (u64, Outcome);

/// When each request left, and when each update arrived.
struct Lived {
    requests: Vec<u64>,
    arrived: Vec<(String, u64)>,
}

fn live(presses: impl Iterator<Item = (u64, String)>, api: Api<'_>) -> Lived {
    let random = &mut Random(7);
    let mut calls = Calls::new(tree(ONE_KEY), BOUNDS, 1, Tick(0)).keeping();
    let mut agenda = Agenda::new();
    presses.for_each(|(at, id)| agenda.add(at, Action::Press(id)));
    let mut lived = Lived { requests: Vec::new(), arrived: Vec::new() };
    loop {
        let due = calls.poll_timeout().map(|due| due.0);
        let Some(now) = [agenda.next_at(), due].into_iter().flatten().min() else { return lived };
        match agenda.take(now) {
            Some(Action::Press(id)) => {
                let key = Key::parse('1').expect("a key");
                calls.handle(
                    Event::KeyPressed { source: Source::Voice, call: &id, key, stamp: None },
                    Tick(now),
                );
            }
            Some(Action::Answer(id, outcome)) => {
                calls.handle(Event::AttemptFinished { id, outcome }, Tick(now));
            }
            Some(Action::Written(number)) => calls.handle(Event::Committed(number), Tick(now)),
            None => calls.handle_timeout(Tick(now)),
        }
        while let Some(output) = calls.poll_output() {
            match output {
                Output::Commit(commit) => {
                    agenda.add(now + 1 + random.below(8), Action::Written(commit.number));
                }
                Output::Deliver(attempt) => {
                    lived.requests.push(now);
                    let (takes, outcome) = api(now, &attempt.update.call, random);
                    agenda.add(now + takes, Action::Answer(attempt.id, outcome));
                }
                Output::Delivered { update, .. } => lived.arrived.push((update.call.to_string(), now)),
                other => {
                    assert!(!matches!(other, Output::Parked { .. } | Output::Undurable { .. }), "{other:?}")
                }
            }
        }
    }
}

#[test]
fn an_hour_without_the_api_costs_few_requests_and_then_everything_goes() {
    let presses = (0..10_000).map(|number| (number / 5, format!("c-{number}")));
    let lived = live(presses, &|now, _, random| {
        let ok = Outcome::Accepted { status: 200 };
        let down = [Failure::Status(503), Failure::Network, Failure::Status(500)];
        (5 + random.below(20), if now < HOUR { Outcome::Failed(random.pick(&down)) } else { ok })
    });
    let meanwhile = lived.requests.iter().filter(|&&at| at < HOUR).count();
    let (_, last) = lived.arrived.last().expect("they arrive");
    println!("{meanwhile} requests in the hour; all had arrived {} ms after it", last - HOUR);
    assert!(meanwhile <= 150, "{meanwhile} requests");
    assert_eq!(10_000, lived.arrived.len());
    assert!(*last < HOUR + 120_000, "the last one arrived at {last}");
}

#[test]
fn one_update_that_always_times_out_delays_no_other_by_fifty_ms() {
    let took = |with_stuck: bool| {
        let stuck = with_stuck.then(|| (0, "stuck".to_owned()));
        let others = (0..20_000u64).map(|number| (number * 3, format!("{}", number * 3)));
        let lived = live(stuck.into_iter().chain(others), &|now, call, random| {
            if call == "stuck" && now < HOUR {
                (10_000, Outcome::Failed(Failure::Timeout))
            } else {
                (3 + random.below(30), Outcome::Accepted { status: 200 })
            }
        });
        assert_eq!(20_000 + usize::from(with_stuck), lived.arrived.len());
        let others = lived.arrived.iter().filter(|(call, _)| call != "stuck");
        let mut took: Vec<u64> =
            others.map(|(call, at)| at - call.parse::<u64>().expect("when it ended")).collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    };
    let (without, with) = (took(false), took(true));
    println!(
        "p99 from a call's end to its update's arrival: {without} ms alone, {with} ms beside a stuck one"
    );
    assert!(with < without + 50, "{with} ms, {without} ms without it");
}
