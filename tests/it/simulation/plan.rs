//! What one seed decides before a lifetime begins: trees, callers, and when faults strike.

use std::sync::Arc;

use dtmfd::engine::{Bounds, Ivr};

use super::trees;
use crate::random_tree::Random;

/// When a lifetime begins: some day of the Unix epoch, in milliseconds.
pub(super) const BEGIN: u64 = 1_700_000_000_000;

/// A fault or a chore, and when it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chore {
    /// The process is killed.
    Crash,
    /// It is killed after so many more outputs.
    CrashAfter(u64),
    /// SIGTERM.
    Stop,
    /// The thread that owns the calls gets no processor for so long.
    Stall(u64),
    Reload(usize),
    /// The operator looks, or does something.
    Operate,
    /// The database is set aside.
    LoseDisk,
}

/// What one seed decides.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) trees: Vec<Arc<Ivr>>,
    pub(super) bounds: Bounds,
    /// When the faults stop.
    pub(super) end: u64,
    pub(super) chores: Vec<(u64, Chore)>,
    /// Whether the thread that owns the calls wakes late each time.
    pub(super) late: bool,
    /// Whether anything but it is at fault.
    pub(super) faulty: bool,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Plan {
        let random = &mut Random(stream(seed, 1));
        let trees = trees::trees(random);
        let span = random.pick(&[20_000, 60_000, 60_000, 300_000, 2_000_000, 100_000_000]);
        let end = BEGIN + span;
        let bounds = Bounds {
            calls_max: if random.one_in(10) { 3 } else { 1_000 },
            attempts_max: random.pick(&[1, 2, 4, 32]),
        };
        let mut chores = Vec::new();
        let crashes = random.pick(&[0, 10, 24, 24, 50, 50]);
        for _ in 0..crashes {
            let at = BEGIN + random.below(span);
            let chore = match random.below(8) {
                0 => Chore::Stop,
                1..=3 => Chore::CrashAfter(1 + random.below(12)),
                _ => Chore::Crash,
            };
            chores.push((at, chore));
        }
        let at = |random: &mut Random| BEGIN + random.below(span);
        for _ in 0..random.below(8) {
            chores.push((at(random), Chore::Stall(1 + random.below(700))));
        }
        let reloads = if trees.len() > 3 { 40 } else { random.below(4) };
        for _ in 0..reloads {
            let tree = random.below(trees.len() as u64) as usize;
            chores.push((at(random), Chore::Reload(tree)));
        }
        for _ in 0..random.below(12) {
            chores.push((at(random), Chore::Operate));
        }
        if random.one_in(25) {
            chores.push((at(random), Chore::LoseDisk));
        }
        Plan { seed, trees, bounds, end, chores, late: false, faulty: true }
    }

    /// As decided, but only the thread that owns the calls is at fault, if anything.
    pub(super) fn without_faults(self, late: bool) -> Plan {
        let is_kept = |chore: &Chore| matches!(chore, Chore::Reload(_));
        let chores = self.chores.into_iter().filter(|(_, chore)| is_kept(chore)).collect();
        let bounds = Bounds { calls_max: 1_000, ..self.bounds };
        Plan { chores, bounds, late, faulty: false, ..self }
    }
}

/// Returns the seed of one of a lifetime's streams of random numbers: what one of them decides reshuffles
/// none of the others.
pub(super) fn stream(seed: u64, number: u64) -> u64 {
    Random(seed.wrapping_mul(64).wrapping_add(number)).below(u64::MAX)
}
