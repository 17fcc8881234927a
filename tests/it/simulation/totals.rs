//! What lifetimes came to, added up.

use std::fmt;

/// What a lifetime came to.
#[derive(Clone, Default, Debug)]
pub(super) struct Totals {
    pub(super) seeds: u64,
    pub(super) crashes: u64,
    pub(super) stops: u64,
    pub(super) calls: u64,
    pub(super) calls_ms: u128,
    pub(super) digits: u64,
    pub(super) updates: u64,
    pub(super) requests: u64,
    pub(super) parked: u64,
    pub(super) commits: u64,
    pub(super) failed: u64,
    pub(super) undurable: u64,
    pub(super) loss_ms: u64,
    pub(super) loss_well_ms: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Totals) {
        self.seeds += other.seeds;
        self.crashes += other.crashes;
        self.stops += other.stops;
        self.calls += other.calls;
        self.calls_ms += other.calls_ms;
        self.digits += other.digits;
        self.updates += other.updates;
        self.requests += other.requests;
        self.parked += other.parked;
        self.commits += other.commits;
        self.failed += other.failed;
        self.undurable += other.undurable;
        self.loss_ms = self.loss_ms.max(other.loss_ms);
        self.loss_well_ms = self.loss_well_ms.max(other.loss_well_ms);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let years = self.calls_ms as f64 / (365.25 * 86_400_000.0);
        write!(
            f,
            "{} seeds, {} crashes, {} stops; {} calls ({years:.2} call-years), {} digits; {} updates in {} requests, \
             {} parked; {} commits, {} of them failed; {} undurable; largest loss {} ms, {} ms while the disk was well",
            self.seeds,
            self.crashes,
            self.stops,
            self.calls,
            self.digits,
            self.updates,
            self.requests,
            self.parked,
            self.commits,
            self.failed,
            self.undurable,
            self.loss_ms,
            self.loss_well_ms,
        )
    }
}
