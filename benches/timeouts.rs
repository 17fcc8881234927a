//! How late silence is noticed: 100 000 live calls that press one key and then nothing.
//!
//! The thread `calls`, the inbox and the engine are the service's own; a sink stands where the workers
//! do. A call's lateness is from its deadline, ten seconds after its key was read, to the moment its
//! update reaches the sink. Beside it stands the limit: how late a thread wakes that waits for nothing
//! but a moment, in the same run.

use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use dtmfd::driver::{Clock, Driver, Sinks};
use dtmfd::engine::{Bounds, Calls, Key, Outcome};
use dtmfd::inbox::{Incoming, inbox};
use dtmfd::observe::latency::Latency;
use dtmfd::observe::status::Status;

const CALLS: usize = 100_000;
/// How long the seed's tree waits.
const SILENCE: Duration = Duration::from_secs(10);
const WORKERS: usize = 32;

fn main() {
    let mut out = std::io::stdout();
    let mut say = |line: String| writeln!(out, "{line}").expect("somebody reads");
    for (name, spread) in [("over 9 s", Duration::from_secs(9)), ("all at one instant", Duration::ZERO)] {
        let (early, latency, drained) = silence(spread);
        say(format!("{CALLS} timeouts {name}: early {early}, late: {latency}, last one after {drained:.3?}"));
    }
    say(format!("limit, a bare thread that waits: {}", bare_wait()));
}

/// Plays the calls, whose keys come evenly over `spread`. Returns how many timeouts were early, how late
/// they were, and how long after the last deadline the last update came.
fn silence(spread: Duration) -> (usize, dtmfd::observe::latency::Summary, Duration) {
    let loaded = dtmfd::tree::load(dtmfd::tree::SAMPLE);
    let (inbox, outlet) = inbox();
    let (jobs, attempts) = bounded(WORKERS);
    let clock = Clock::start();
    let bounds = Bounds { calls_max: CALLS, attempts_max: WORKERS };
    let calls = Calls::new(loaded.ivr.expect("the sample is a tree"), bounds, 1, clock.now());
    let sinks = Sinks { jobs, commits: None, ends: None };
    let driver = Driver::new(calls, clock, outlet, sinks, Arc::new(Status::default()), false);
    let driver = thread::spawn(move || driver.run());

    // What was pressed when: the sink needs it to tell how late an update is.
    let begun = Instant::now();
    let due = move |call: usize| begun + spread.mul_f64(call as f64 / CALLS as f64) + SILENCE;
    let sink = thread::spawn({
        let inbox = inbox.clone();
        move || {
            let (mut early, mut latency) = (0, Latency::up_to(Duration::from_secs(60)));
            let mut last = begun;
            for _ in 0..CALLS {
                let attempt = attempts.recv().expect("every call leaves an update");
                let at = Instant::now();
                let due = due(attempt.update.call.parse().expect("its id is its number"));
                early += usize::from(at < due);
                latency.record(at.saturating_duration_since(due));
                last = at;
                let outcome = Outcome::Accepted { status: 200 };
                inbox
                    .send(Incoming::Finished { id: attempt.id, outcome, at, detail: None })
                    .expect("it runs");
            }
            (early, latency.summary(), last)
        }
    });
    let key = Key::parse('1').expect("a key");
    for call in 0..CALLS {
        let read_at = due(call) - SILENCE;
        if let Some(wait) = read_at.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let mut batch = inbox.empty_batch();
        batch.set_read_at(read_at);
        batch.press(&call.to_string(), key, None);
        inbox.send(Incoming::Batch(batch)).expect("it runs");
    }
    let (early, latency, last) = sink.join().expect("the sink does not panic");
    inbox.send(Incoming::Drain(Instant::now() + SILENCE)).expect("it runs");
    let _ = driver.join().expect("the driver does not panic");
    (early, latency, last.saturating_duration_since(due(CALLS - 1)))
}

/// Returns how late a thread wakes that waits for a millisecond, 2000 times.
fn bare_wait() -> dtmfd::observe::latency::Summary {
    let (_sender, receiver) = bounded::<()>(1);
    let mut latency = Latency::up_to(Duration::from_secs(60));
    for _ in 0..2_000 {
        let due = Instant::now() + Duration::from_millis(1);
        let _ = receiver.recv_deadline(due);
        latency.record(due.elapsed());
    }
    latency.summary()
}
