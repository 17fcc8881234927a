//! A pretend API: it answers by its mood, and remembers what was written to it.

use std::collections::BTreeMap;

use dtmfd::engine::{Failure, Outcome, UpdateKey};

use super::moods::Moods;
use crate::random_tree::Random;

/// How the API is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    Well,
    /// A bit of everything.
    Flaky,
    Down,
    TimingOut,
    /// It writes, but its answers get lost.
    Mute,
    Refusing,
    NoToken,
    Limiting,
    Missing,
    Picky,
}

/// What will come of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// How long it travels there.
    pub(super) there_ms: u64,
    /// Whether the variables are written then.
    pub(super) applied: bool,
    /// How long it takes until the answer is back.
    pub(super) back_ms: u64,
    pub(super) outcome: Outcome,
}

pub(super) struct Api {
    pub(super) moods: Moods<Mood>,
    random: Random,
    token: u64,
    /// What was written, by idempotency key.
    pub(super) written: BTreeMap<UpdateKey, Vec<(String, String)>>,
    pub(super) requests: u64,
}

impl Api {
    pub(super) fn new(seed: u64, begin: u64, end: u64) -> Api {
        let mut random = Random(seed);
        let choices = [
            Mood::Well,
            Mood::Well,
            Mood::Well,
            Mood::Flaky,
            Mood::Flaky,
            Mood::Down,
            Mood::TimingOut,
            Mood::Mute,
            Mood::Refusing,
            Mood::NoToken,
            Mood::Limiting,
            Mood::Missing,
            Mood::Picky,
        ];
        let moods = Moods::random(&mut random, begin, end, &choices, Mood::Well);
        Api { moods, random, token: 1, written: BTreeMap::new(), requests: 0 }
    }

    /// Says what will come of a request that leaves now.
    pub(super) fn receive(&mut self, now: u64) -> Fate {
        self.requests += 1;
        let random = &mut self.random;
        let ok = Outcome::Accepted { status: 200 };
        let broken = Outcome::Failed(Failure::Status(503));
        let timeout = Outcome::Failed(Failure::Timeout);
        let network = Outcome::Failed(Failure::Network);
        self.token += u64::from(random.one_in(2));
        let refused = Outcome::Refused { status: random.pick(&[401, 403]), token: self.token };
        let paused = Outcome::Paused {
            status: random.pick(&[429, 503]),
            retry_after_ms: random.pick(&[0, 100, 1_000, 5_000, 400_000]),
        };
        let busy = Outcome::Busy { status: random.pick(&[429, 408, 425]) };
        let missing = Outcome::NotYet { status: random.pick(&[404, 409]) };
        let rejected = Outcome::Rejected { status: random.pick(&[400, 410, 422, 501, 505, 301]) };
        let no_token = Outcome::NoToken { retry_in_ms: random.below(5_000) };
        let takes = 1 + random.below(300);
        let (outcome, takes, applied) = match self.moods.at(now).0 {
            Mood::Well => (ok, takes, true),
            Mood::Flaky => match random.below(12) {
                0 => (broken, takes, random.one_in(2)),
                1 => (timeout, 10_000, random.one_in(2)),
                2 => (network, takes, random.one_in(2)),
                3 => (refused, takes, false),
                4 => (paused, takes, false),
                5 => (busy, takes, false),
                6 => (missing, takes, false),
                7 => (if random.one_in(3) { rejected } else { broken }, takes, false),
                8 => (no_token, 0, false),
                _ => (ok, takes, true),
            },
            Mood::Down => (random.pick(&[broken, network]), takes, false),
            Mood::TimingOut => (timeout, 10_000, random.one_in(4)),
            Mood::Mute => (random.pick(&[timeout, network]), random.pick(&[takes, 10_000]), true),
            Mood::Refusing => (refused, takes, false),
            Mood::NoToken => (no_token, 0, false),
            Mood::Limiting => (random.pick(&[paused, paused, busy, ok]), takes, false),
            Mood::Missing => (missing, takes, false),
            Mood::Picky => (random.pick(&[rejected, ok, ok, missing]), takes, false),
        };
        let applied = applied || matches!(outcome, Outcome::Accepted { .. });
        let there_ms = random.below(takes + 1);
        Fate { there_ms, applied, back_ms: takes - there_ms, outcome }
    }
}
