//! Ended calls, remembered for a while so that a stray or reordered digit opens no second walk
//! (IVR.md section 5).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::commit::EndedRow;
use super::event::{Source, Tick};
use super::fingerprint::fingerprint_of;

/// How long after its last event an ended call is remembered.
const REMEMBERED_MS: u64 = 12 * 60 * 60 * 1000;
/// How long after its hang-up: nothing more can come of it but what is on its way.
const HUNG_UP_MS: u64 = 10 * 60 * 1000;
/// How long after its end a simulated call is remembered: people press the same id again.
const SIMULATED_MS: u64 = 2_000;
/// How many are remembered at most: some 16 MB. The oldest leave first.
const ENDED_MAX: usize = 500_000;
/// A late event moves the moment of forgetting. What is kept of that moves by steps of this, so that it
/// is behind by at most as much.
const KEPT_STEP_MS: u64 = 10 * 60 * 1000;

/// Ended calls by a fingerprint of source and id. Two ids share one in 2^64: not in practice.
#[derive(Default, Debug)]
pub(super) struct Ended {
    /// Until when, shifted left by one; the lowest bit is set if the caller hung up.
    until: HashMap<u64, u64>,
    /// In the order in which they were added: one that was remembered for longer since is added anew.
    order: [VecDeque<(u64, Tick)>; 3],
    forgotten_early: u64,
    /// What has changed since [`Ended::take_changed`], where anybody keeps it.
    changed: Option<Vec<u64>>,
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
    /// Returns a memory that says what has changed, so that it can be kept.
    pub(super) fn keeping() -> Ended {
        Ended { changed: Some(Vec::new()), ..Ended::default() }
    }

    /// Remembers a call that ended, or whose caller hung up after its end. Returns its fingerprint.
    pub(super) fn remember(&mut self, source: Source, id: &str, hung_up: bool, now: Tick) -> u64 {
        let stay = match (source, hung_up) {
            (Source::Simulator, _) => Stay::Simulated,
            (Source::Voice, true) => Stay::HungUp,
            (Source::Voice, false) => Stay::Walked,
        };
        let (call, until) = (fingerprint(source, id), now.after(stay.ms()));
        self.until.insert(call, until.0 << 1 | u64::from(hung_up));
        self.order[stay as usize].push_back((call, until));
        self.forget(now);
        call
    }

    /// Returns what is remembered of a call, by its fingerprint: what is to be kept of it.
    pub(super) fn row(&self, call: u64) -> Option<EndedRow> {
        self.until.get(&call).map(|&until| EndedRow { call, until })
    }

    /// Takes in what was kept. Rows come in any order; [`Ended::restored`] follows the last.
    pub(super) fn restore(&mut self, row: EndedRow, now: Tick) {
        let until = Tick(row.until >> 1);
        if until <= now {
            self.note(row.call);
        } else if let Entry::Vacant(vacant) = self.until.entry(row.call) {
            vacant.insert(row.until);
            self.order[Stay::Walked as usize].push_back((row.call, until));
        }
    }

    /// Puts what was restored into the order of leaving.
    pub(super) fn restored(&mut self, now: Tick) {
        // Whatever is remembered from now on for longest leaves after all of these.
        self.order[Stay::Walked as usize]
            .make_contiguous()
            .sort_unstable_by_key(|&(call, until)| (until, call));
        self.forget(now);
    }

    /// Returns every call that is remembered, in the order of leaving.
    pub(super) fn all(&self) -> impl Iterator<Item = u64> + '_ {
        self.order.iter().flatten().map(|&(call, _)| call)
    }

    /// Returns the next call of which something else is remembered than before.
    pub(super) fn take_changed(&mut self) -> Option<u64> {
        self.changed.as_mut()?.pop()
    }

    fn note(&mut self, call: u64) {
        if let Some(changed) = &mut self.changed {
            changed.push(call);
        }
    }

    /// Returns whether a call ended not long ago. A late event of it counts as its last one, unless the
    /// caller had hung up.
    pub(super) fn late_event(&mut self, source: Source, id: &str, now: Tick) -> bool {
        let call = fingerprint(source, id);
        let Some(packed) = self.until.get_mut(&call).filter(|until| now < Tick(**until >> 1)) else {
            return false;
        };
        let (hung_up, until) = (*packed & 1 == 1, Tick(*packed >> 1));
        if source == Source::Voice && !hung_up {
            let later = now.after(REMEMBERED_MS);
            *packed = later.0 << 1;
            if later.0 / KEPT_STEP_MS > until.0 / KEPT_STEP_MS {
                self.note(call);
            }
        }
        true
    }

    /// Returns whether a call ended not long ago.
    pub(super) fn contains(&self, source: Source, id: &str, now: Tick) -> bool {
        self.until.get(&fingerprint(source, id)).is_some_and(|until| now < Tick(until >> 1))
    }

    /// Forgets a call: it begins anew.
    pub(super) fn remove(&mut self, source: Source, id: &str) {
        let call = fingerprint(source, id);
        if self.until.remove(&call).is_some() {
            self.note(call);
        }
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
                    if let Some(changed) = &mut self.changed {
                        changed.push(call);
                    }
                }
            }
        }
    }
}

/// Returns what an id of a source is remembered by.
pub(super) fn fingerprint(source: Source, id: &str) -> u64 {
    fingerprint_of([source.name().as_bytes(), id.as_bytes()])
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
    fn what_was_kept_is_remembered_again() {
        let mut ended = Ended::keeping();
        let voice = Source::Voice;
        let calls: Vec<u64> =
            (0..20).map(|id| ended.remember(voice, &id.to_string(), id % 2 == 0, Tick(id))).collect();
        let rows: Vec<_> = calls.iter().filter_map(|&call| ended.row(call)).collect();
        let mut again = Ended::keeping();
        let later = Tick(HOUR / 6 + 10);
        rows.iter().rev().for_each(|&row| again.restore(row, later));
        again.restored(later);
        for id in 0..20u64 {
            let kept = id % 2 == 1 || id > 10;
            assert_eq!(kept, again.contains(voice, &id.to_string(), later), "{id}");
        }
        let mut forgotten: Vec<_> = std::iter::from_fn(|| again.take_changed()).collect();
        forgotten.sort_unstable();
        let mut expected: Vec<_> = (0..=10).step_by(2).map(|id| calls[id]).collect();
        expected.sort_unstable();
        assert_eq!(expected, forgotten, "rows of what is over are to be removed");
        again.forget(Tick(13 * HOUR));
        assert_eq!((0, 0), (again.until.len(), again.order.iter().map(VecDeque::len).sum()));
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
