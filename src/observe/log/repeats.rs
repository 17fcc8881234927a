//! What has been said already: a repeated line is said once, then summed up.
//!
//! Warnings and errors that differ in their numbers only are the same line: whatever fails again and again
//! says how often it did or how long it will wait. What is said of another call is another line.

use std::time::{Duration, Instant};

use log::Level;

/// How often at most a line is summed up.
pub(super) const SUM_UP: Duration = Duration::from_secs(10);

/// How many lines are remembered: more than go wrong at once, and at most 64 KiB.
const REMEMBERED_MAX: usize = 32;

/// The lines said of late.
#[derive(Default)]
pub(super) struct Repeats {
    /// In the order in which they were said.
    said: Vec<Said>,
}

struct Said {
    /// As it came last.
    event: Event,
    at: Instant,
    repeats: u64,
}

/// What somebody logs.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) level: Level,
    /// The call it is about.
    pub(super) call: Option<String>,
    pub(super) body: String,
}

impl Event {
    fn repeats(&self, other: &Event) -> bool {
        let same_body = if self.level <= Level::Warn {
            let words = |body| str::bytes(body).filter(|byte| !byte.is_ascii_digit());
            words(&self.body).eq(words(&other.body))
        } else {
            self.body == other.body
        };
        self.level == other.level && self.call == other.call && same_body
    }

    fn said(self, repeats: u64) -> Saying {
        Saying { level: self.level, body: self.body, repeats }
    }
}

/// A line to be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Saying {
    pub(super) level: Level,
    pub(super) body: String,
    /// 0 for a line that is said for the first time, else how often it has come since it was last said.
    pub(super) repeats: u64,
}

impl Repeats {
    /// Takes in an event that came at `now`, and returns what is to be said.
    pub(super) fn take(&mut self, event: Event, now: Instant) -> Vec<Saying> {
        let mut sayings = self.due(now, SUM_UP);
        if let Some(said) = self.said.iter_mut().find(|said| event.repeats(&said.event)) {
            said.event = event;
            said.repeats += 1;
            return sayings;
        }
        if self.said.len() == REMEMBERED_MAX {
            // The one said longest ago makes room, and what was counted of it isn't lost.
            let Said { event, repeats, .. } = self.said.remove(0);
            sayings.extend((repeats > 0).then(|| event.said(repeats)));
        }
        sayings.push(event.clone().said(0));
        self.said.push(Said { event, at: now, repeats: 0 });
        sayings
    }

    /// Returns what has been counted and was last said `age` ago or before, and forgets what did not come again.
    pub(super) fn due(&mut self, now: Instant, age: Duration) -> Vec<Saying> {
        let (due, rest) = std::mem::take(&mut self.said)
            .into_iter()
            .partition::<Vec<_>, _>(|said| now.saturating_duration_since(said.at) >= age);
        self.said = rest;
        let counted = due.into_iter().filter(|said| said.repeats > 0);
        let summed_up = counted.map(|Said { event, repeats, .. }| {
            self.said.push(Said { event: event.clone(), at: now, repeats: 0 });
            event.said(repeats)
        });
        summed_up.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(level: Level, body: impl Into<String>) -> Event {
        Event { level, call: None, body: body.into() }
    }

    /// Plays lines that come at these seconds, and returns what is said when.
    fn play(lines: &[(u64, &str)]) -> Vec<String> {
        let (mut repeats, begin) = (Repeats::default(), Instant::now());
        let mut said = Vec::new();
        for &(s, body) in lines {
            let now = begin + Duration::from_secs(s);
            for saying in repeats.take(event(Level::Info, body), now) {
                said.push(format!("{s} {} {}", saying.body, saying.repeats));
            }
        }
        said
    }

    #[test]
    fn a_repeated_line_is_said_once_and_summed_up_every_ten_seconds() {
        let lines =
            [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (10, "a"), (19, "a"), (20, "a"), (31, "c"), (42, "a")];
        assert_eq!(
            vec!["0 a 0", "2 b 0", "10 a 2", "20 a 2", "31 a 1", "31 c 0", "42 a 0"],
            play(&lines),
            "b and c did not come again, and a not for long enough to be news"
        );
    }

    #[test]
    fn what_it_remembers_is_bounded_and_no_count_is_lost() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        let mut n_counted = 0;
        for i in 0..1000 {
            for _ in 0..3 {
                let sayings = repeats.take(event(Level::Info, format!("line {i}")), now);
                n_counted += sayings.iter().map(|saying| saying.repeats).sum::<u64>();
            }
            assert!(repeats.said.len() <= REMEMBERED_MAX);
        }
        n_counted += repeats.due(now, Duration::ZERO).iter().map(|saying| saying.repeats).sum::<u64>();
        assert_eq!(2000, n_counted);
        assert!(repeats.due(now, Duration::ZERO).is_empty());
    }

    #[test]
    fn the_same_words_at_another_level_are_another_line() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        assert_eq!(1, repeats.take(event(Level::Warn, "a"), now).len());
        assert_eq!(1, repeats.take(event(Level::Info, "a"), now).len());
        assert_eq!(0, repeats.take(event(Level::Info, "a"), now).len());
    }

    #[test]
    fn numbers_make_another_line_below_a_warning_only_and_calls_make_one_at_every_level() {
        for (level, n_expected) in
            [(Level::Error, 1), (Level::Warn, 1), (Level::Info, 3), (Level::Debug, 3), (Level::Trace, 3)]
        {
            let mut repeats = Repeats::default();
            let now = Instant::now();
            let mut n_said = |event| repeats.take(event, now).len();
            let said: usize =
                [5, 250, 1000].map(|ms| n_said(event(level, format!("lost retry_ms={ms}")))).iter().sum();
            assert_eq!(n_expected, said, "{level}");
            assert_eq!(1, n_said(event(level, "gone retry_ms=5")), "{level}");
            for call in ["c1", "c2"] {
                assert_eq!(1, n_said(Event { call: Some(call.to_owned()), ..event(level, call) }), "{level}");
            }
            let summed_up = repeats.due(now, Duration::ZERO);
            let bodies: Vec<_> = summed_up.iter().map(|saying| (&*saying.body, saying.repeats)).collect();
            let expected = if n_expected == 1 { vec![("lost retry_ms=1000", 2)] } else { Vec::new() };
            assert_eq!(expected, bodies, "the last one is shown");
        }
    }
}
