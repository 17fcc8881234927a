//! The engine's time: how the clocks of the machine map to it, in this process and over a restart.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::engine::Tick;
use crate::platform;

/// Where Linux names the boot: another name means that the machine was started in between.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Maps the monotonic clock to the engine's time: milliseconds since the Unix epoch as of the first
/// start, and from there on as they passed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_ms: u64,
    /// What the wall clock said at the origin.
    wall_ms: u64,
    boot: Option<u128>,
}

/// What the clocks said when something was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The engine's time.
    pub tick: Tick,
    /// What the clocks of the machine said.
    pub reading: Reading,
}

/// What the clocks of the machine said at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Milliseconds since the Unix epoch. People and NTP set it.
    pub wall_ms: u64,
    /// Names the boot; `None` where the system doesn't tell.
    pub boot: Option<u128>,
    /// Milliseconds since that boot, sleep included. Nobody sets it.
    pub boottime_ms: u64,
}

impl Reading {
    fn now(boot: Option<u128>) -> Reading {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Reading {
            wall_ms: unix.as_millis() as u64,
            boot,
            boottime_ms: platform::boottime().as_millis() as u64,
        }
    }
}

impl Mark {
    /// Returns the engine's time at `now`: as much later as has really passed.
    ///
    /// Within a boot that is told by the clock that nobody sets; over a boot only the wall clock is
    /// left, and one that was set back counts as no time at all: the engine's time never goes back.
    pub fn resumed_at(&self, now: &Reading) -> Tick {
        let then = &self.reading;
        let same_boot = then.boot.is_some() && then.boot == now.boot;
        let passed_ms = if same_boot && now.boottime_ms >= then.boottime_ms {
            now.boottime_ms - then.boottime_ms
        } else {
            now.wall_ms.saturating_sub(then.wall_ms)
        };
        self.tick.after(passed_ms)
    }
}

impl Clock {
    /// Returns a clock that agrees with the wall clock now, and never goes back.
    pub fn start() -> Clock {
        Clock::resume(None)
    }

    /// Returns a clock that goes on from `mark`; without one it agrees with the wall clock now.
    pub fn resume(mark: Option<&Mark>) -> Clock {
        let boot = fs::read_to_string(BOOT_ID).ok().and_then(|id| Uuid::parse_str(id.trim()).ok());
        let boot = boot.map(|id| id.as_u128());
        let origin = Instant::now();
        let reading = Reading::now(boot);
        let tick = mark.map_or(Tick(reading.wall_ms), |mark| mark.resumed_at(&reading));
        Clock { origin, origin_ms: tick.0, wall_ms: reading.wall_ms, boot }
    }

    /// Returns the moment an event that came at `at` counts as: rounded up, so that no deadline counted
    /// from it is early. The engine handles no other call's deadline for it before [`Clock::now`] says so.
    pub fn received(&self, at: Instant) -> Tick {
        let since = at.saturating_duration_since(self.origin);
        Tick(self.origin_ms + since.as_nanos().div_ceil(1_000_000) as u64)
    }

    /// Returns the last moment that is over.
    pub fn now(&self) -> Tick {
        Tick(self.origin_ms + self.origin.elapsed().as_millis() as u64)
    }

    /// Returns when a moment is.
    pub fn instant(&self, tick: Tick) -> Instant {
        self.origin + Duration::from_millis(tick.since(Tick(self.origin_ms)))
    }

    /// Returns what the clocks say now, to go on from in another process.
    pub fn mark(&self) -> Mark {
        Mark { tick: self.now(), reading: Reading::now(self.boot) }
    }

    /// Returns what a wall clock that nobody has set since our start says at a moment, in milliseconds
    /// since the Unix epoch: for people, not for deadlines.
    pub fn wall_ms(&self, tick: Tick) -> u64 {
        let origin = Tick(self.origin_ms);
        (self.wall_ms + tick.since(origin)).saturating_sub(origin.since(tick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(origin_ms: u64) -> Clock {
        Clock { origin: Instant::now(), origin_ms, wall_ms: 9_000, boot: None }
    }

    #[test]
    fn no_deadline_counted_from_an_event_is_early() {
        let clock = at(1_000);
        for (us, expected) in [(0, 1_000), (1, 1_001), (999, 1_001), (1_000, 1_001), (1_001, 1_002)] {
            let at = clock.origin + Duration::from_micros(us);
            let tick = clock.received(at);
            assert_eq!(Tick(expected), tick, "{us} µs");
            assert!(clock.instant(tick.after(5)) >= at + Duration::from_millis(5), "{us} µs");
        }
    }

    #[test]
    fn no_step_of_the_wall_clock_moves_a_deadline_and_time_never_goes_back() {
        let mark = |boot, boottime_ms| Mark {
            tick: Tick(50_000),
            reading: Reading { wall_ms: 1_000_000, boot, boottime_ms },
        };
        let now = |wall_ms, boot, boottime_ms| Reading { wall_ms, boot, boottime_ms };
        for (what, mark, now, expected) in [
            ("the same boot", mark(Some(7), 300), now(1_000_700, Some(7), 1_000), 50_700),
            ("it was set ahead", mark(Some(7), 300), now(9_000_000, Some(7), 1_000), 50_700),
            ("it was set back", mark(Some(7), 300), now(5, Some(7), 1_000), 50_700),
            ("another boot", mark(Some(7), 300), now(1_002_000, Some(8), 400), 52_000),
            ("another boot, set back", mark(Some(7), 300), now(999_999, Some(8), 400), 50_000),
            ("nobody knows the boot", mark(None, 300), now(1_002_000, None, 90_000), 52_000),
            (
                "a time before the mark's in its boot",
                mark(Some(7), 300),
                now(1_000_010, Some(7), 299),
                50_010,
            ),
        ] {
            assert_eq!(Tick(expected), mark.resumed_at(&now), "{what}");
        }
    }

    #[test]
    fn goes_on_from_its_own_mark() {
        let first = Clock::start();
        assert!(first.mark().reading.boot.is_some(), "Linux names the boot");
        let mark = Mark { tick: Tick(5), ..first.mark() };
        let second = Clock::resume(Some(&mark));
        assert!((5..60_005).contains(&second.now().0), "{:?}", second.now());
        assert!(second.mark().tick >= Tick(5));
    }

    #[test]
    fn tells_people_what_the_wall_clock_said() {
        let clock = at(1_000);
        for (tick, expected) in [(1_000, 9_000), (1_500, 9_500), (0, 8_000)] {
            assert_eq!(expected, clock.wall_ms(Tick(tick)), "{tick}");
        }
    }
}
