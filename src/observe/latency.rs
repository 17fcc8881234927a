//! How long digits and updates take: counted, and summed up when the service stops.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Two figures are told apart everywhere: a histogram of that is some 20 KiB.
const FIGURES: u8 = 2;

/// How long something took, over all of its kind.
#[derive(Debug)]
pub struct Latency {
    /// In microseconds.
    histogram: Histogram<u64>,
}

/// Count, median, 99th percentile and maximum; the times in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// Half of them took at most this.
    pub p50_us: u64,
    /// 99 of 100 took at most this.
    pub p99_us: u64,
    /// None took longer.
    pub max_us: u64,
}

impl Latency {
    /// Returns an empty one that tells times up to `longest` apart; longer ones count as that.
    pub fn up_to(longest: Duration) -> Latency {
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(2);
        let histogram = Histogram::new_with_bounds(1, longest_us, FIGURES)
            .expect("the bounds are at least a factor of two apart and the figures at most five");
        Latency { histogram }
    }

    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        self.histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns the figures.
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.histogram.len(),
            p50_us: self.histogram.value_at_quantile(0.5),
            p99_us: self.histogram.value_at_quantile(0.99),
            max_us: self.histogram.max(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { count, p50_us, p99_us, max_us } = self;
        let ms = |us: &u64| *us as f64 / 1000.0;
        write!(f, "{count}, p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms", ms(p50_us), ms(p99_us), ms(max_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_and_saturates() {
        let mut latency = Latency::up_to(Duration::from_secs(1));
        for us in 1..=100 {
            latency.record(Duration::from_micros(us));
        }
        latency.record(Duration::MAX);
        let Summary { count, p50_us, p99_us, max_us } = latency.summary();
        assert_eq!((101, 51, 100), (count, p50_us, p99_us));
        assert!((1_000_000..1_010_000).contains(&max_us), "{max_us}");
    }
}
