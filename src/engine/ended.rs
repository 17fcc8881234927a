//! Ended calls, remembered for a while so that a stray or reordered digit opens no second walk
//! (IVR.md section 5).

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use super::event::{Source, Tick};

/// How long after its last event an ended call is remembered.
const REMEMBERED_MS: u64 = 12 * 60 * 60 * 1000;
/// How long after its hang-up: nothing more can come of it but what is on its way.
const HUNG_UP_MS: u64 = 10 * 60 * 1000;
/// How long after its end a simulated call is remembered: people press the same id again.
const SIMULATED_MS: u64 = 2_000;
/// How many are remembered at most: some 16 MB. The oldest leave first.
const ENDED_MAX: usize = 500_000;

/// Ended calls by a fingerprint of source and id. Two ids share one in 2^64: not in practice.
#[derive(Default, Debug)]
pub(super) struct Ended {
    /// Until when, shifted left by one; the lowest bit is set if the caller hung up.
    until: HashMap<u64, u64>,
    /// In the order in which they were added: one that was remembered for longer since is added anew.
    order: [VecDeque<(u64, Tick)>; 3],
    forgotten_early: u64,
}

/// Which of the three lengths a call is remembered for: each has its own order of leaving.
#[derive(Clone, Copy)]
enum Stay {
    Walked,
    HungUp,
    Simulated,
}

impl Stay {
    fn ms(self) -> u64 {
        match self {
            Stay::Walked => REMEMBERED_MS,
            Stay::HungUp => HUNG_UP_MS,
            Stay::Simulated => SIMULATED_MS,
        }
    }
}

impl Ended {
    /// Remembers a call that ended, or whose caller hung up after its end.
    pub(super) fn remember(&mut self, source: Source, id: &str, hung_up: bool, now: Tick) {
        let stay = match (source, hung_up) {
            (Source::Simulator, _) => Stay::Simulated,
            (Source::Voice, true) => Stay::HungUp,
            (Source::Voice, false) => Stay::Walked,
        };
        let (call, until) = (fingerprint(source, id), now.after(stay.ms()));
        self.until.insert(call, until.0 << 1 | u64::from(hung_up));
        self.order[stay as usize].push_back((call, until));
        self.forget(now);
    }

    /// Returns whether a call ended not long ago. A late event of it counts as its last one, unless the
    /// caller had hung up.
    pub(super) fn late_event(&mut self, source: Source, id: &str, now: Tick) -> bool {
        let call = fingerprint(source, id);
        let Some(until) = self.until.get_mut(&call).filter(|until| now < Tick(**until >> 1)) else {
            return false;
        };
        let hung_up = *until & 1 == 1;
        if source == Source::Voice && !hung_up {
            *until = now.after(REMEMBERED_MS).0 << 1;
        }
        true
    }

    /// Returns whether a call ended not long ago.
    pub(super) fn contains(&self, source: Source, id: &str, now: Tick) -> bool {
        self.until.get(&fingerprint(source, id)).is_some_and(|until| now < Tick(until >> 1))
    }

    /// Forgets a call: it begins anew.
    pub(super) fn remove(&mut self, source: Source, id: &str) {
        self.until.remove(&fingerprint(source, id));
    }

    /// Returns how many calls left before their time because there were too many.
    pub(super) fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    /// Lets go of what is over, and of the oldest past the bound.
    fn forget(&mut self, now: Tick) {
        for queue in &mut self.order {
            while let Some(&(call, listed)) = queue.front()
                && (listed <= now || self.until.len() > ENDED_MAX || queue.len() > 2 * ENDED_MAX)
            {
                queue.pop_front();
                let Some(&packed) = self.until.get(&call) else { continue };
                let until = Tick(packed >> 1);
                if until > listed && until > now {
                    // A late event came: it stays as long as that says.
                    queue.push_back((call, until));
                } else {
                    self.until.remove(&call);
                    self.forgotten_early += u64::from(until > now);
                }
            }
        }
    }
}

fn fingerprint(source: Source, id: &str) -> u64 {
    // Always the same keys: ids come from the tenant, not from people who could choose them to collide.
    let mut hasher = std::hash::DefaultHasher::new();
    (source, id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1000;

    #[test]
    fn remembers_a_call_for_as_long_as_its_end_says() {
        let mut ended = Ended::default();
        let (voice, simulator) = (Source::Voice, Source::Simulator);
        ended.remember(voice, "walked", false, Tick(0));
        ended.remember(voice, "hung up", true, Tick(0));
        ended.remember(simulator, "simulated", false, Tick(0));
        for (source, id, last) in [
            (voice, "walked", 12 * HOUR - 1),
            (voice, "hung up", HOUR / 6 - 1),
            (simulator, "simulated", 1_999),
        ] {
            assert!(ended.contains(source, id, Tick(last)), "{id}");
            assert!(!ended.contains(source, id, Tick(last + 1)), "{id}");
        }
        assert!(!ended.contains(simulator, "walked", Tick(0)), "the source is part of the name");
    }

    #[test]
    fn a_late_event_keeps_a_call_that_nobody_hung_up() {
        let mut ended = Ended::default();
        ended.remember(Source::Voice, "a", false, Tick(0));
        ended.remember(Source::Voice, "b", true, Tick(0));
        assert!(ended.late_event(Source::Voice, "a", Tick(11 * HOUR)));
        assert!(ended.late_event(Source::Voice, "b", Tick(HOUR / 12)));
        ended.forget(Tick(13 * HOUR));
        assert!(ended.contains(Source::Voice, "a", Tick(23 * HOUR - 1)));
        assert!(!ended.contains(Source::Voice, "a", Tick(23 * HOUR)));
        ended.forget(Tick(23 * HOUR));
        assert_eq!((0, 0), (ended.until.len(), ended.order.iter().map(VecDeque::len).sum()));
        assert_eq!(0, ended.forgotten_early());
    }

    #[test]
    fn the_oldest_leave_when_there_are_too_many() {
        let mut ended = Ended::default();
        for id in 0..ENDED_MAX + 10 {
            ended.remember(Source::Voice, &id.to_string(), false, Tick(id as u64));
        }
        assert_eq!((ENDED_MAX, 10), (ended.until.len(), ended.forgotten_early()));
        assert!(!ended.contains(Source::Voice, "9", Tick(0)));
        assert!(ended.contains(Source::Voice, "10", Tick(0)));
    }
}
