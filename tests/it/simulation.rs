//! Whole lifetimes of the service, with every fault there is, from one seed each: the real engine, its
//! retries and its recovery, and around them pretend callers, a stream, an API, a disk, a scheduler, an
//! operator, and kill -9 at any point.
//!
//! What must come out is told by the second implementation of the language (`reference.rs`), which plays
//! exactly the events that count: those that the engine took, cut back at each crash to the last
//! transaction that the disk had made.
//!
//! One seed decides everything. To replay a failure: `SEED=123 cargo test --test it simulation`. The long
//! setting: `DTMFD_LONG=1`; `CASES=…` sets another number of seeds.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::question_mark,
    clippy::type_complexity,
    reason = "its parts look at what they are about and say so plainly, and its figures are to be seen, with `--nocapture`"
)]

mod agenda;
mod api;
mod callers;
mod crowds;
mod disk;
mod model;
mod moods;
mod plan;
mod totals;
mod trees;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::reference::Tree;
use plan::Plan;
use totals::Totals;
use world::World;

/// How many lifetimes there are, in the short setting and in the long one.
const SEEDS: u64 = 10_000;
const SEEDS_LONG: u64 = 100_000;
/// How many lines of a failed lifetime are printed.
const LINES: usize = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Tells the other threads that this one has failed.
struct Teller<'a>(&'a AtomicBool);

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Relaxed);
        }
    }
}

/// Lives lifetimes on every processor, and adds up what they came to. A seed that is named is the only one.
fn over_seeds(seeds: u64, live: impl Fn(u64) -> Totals + Sync) -> Totals {
    let (first, seeds) = match number("SEED") {
        Some(seed) => (seed, number("CASES").unwrap_or(1)),
        None => (1, number("CASES").unwrap_or(seeds)),
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let mut totals = Totals::default();
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (live, failed) = (&live, &failed);
        let some = |thread| {
            move || {
                let _teller = Teller(failed);
                let mut totals = Totals::default();
                for seed in (first + thread..first + seeds).step_by(threads as usize) {
                    if failed.load(Relaxed) {
                        break;
                    }
                    totals.add(&live(seed));
                }
                totals
            }
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(some(thread))).collect();
        for thread in threads {
            totals.add(&thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    totals
}

/// Lives one lifetime. One that fails is lived again, to tell what happened before.
fn live(plan: &Plan) -> (Totals, Vec<String>) {
    let trees: Vec<_> = plan.trees.iter().map(|ivr| Tree::new(ivr)).collect();
    let lived = catch_unwind(AssertUnwindSafe(|| World::new(plan, &trees, false).live()));
    lived.unwrap_or_else(|panic| {
        let mut world = World::new(plan, &trees, true);
        let _ = catch_unwind(AssertUnwindSafe(|| world.live()));
        eprintln!("{}\nSEED={} cargo test --test it simulation", world.transcript(LINES), plan.seed);
        resume_unwind(panic)
    })
}

#[test]
fn every_lifetime_keeps_its_promises_whatever_fails() {
    let long = std::env::var_os("DTMFD_LONG").is_some();
    let totals = over_seeds(if long { SEEDS_LONG } else { SEEDS }, |seed| live(&Plan::of(seed)).0);
    println!("{totals}");
    if totals.seeds >= SEEDS {
        assert!(totals.crashes >= 10 * totals.seeds, "too few crashes: {totals}");
    }
}

#[test]
fn a_late_thread_changes_no_result() {
    over_seeds(1_000, |seed| {
        let (_, punctual) = live(&Plan::of(seed).without_faults(false));
        let (totals, late) = live(&Plan::of(seed).without_faults(true));
        assert_eq!(punctual, late, "SEED={seed} cargo test --test it simulation");
        totals
    });
}
