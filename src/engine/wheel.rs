//! A hierarchical timer wheel: schedule, move, cancel and fire in constant time, one millisecond fine.
//!
//! Level 0 has a slot for each of the 64 milliseconds of the block that the wheel stands in, level 1
//! a slot for each of the 64 such blocks around it, and so on: eleven levels hold any `u64`. A timer
//! lies on the level of the highest six bits in which it differs from the wheel's own time, so it
//! moves down a level at most ten times before it fires. A bit a slot tells which ones hold anything:
//! the wheel's owner sleeps until the next of them and never ticks.

use super::event::Tick;

/// How many slots a level has: one bit each in a `u64`.
const SLOTS: usize = 64;
/// How many bits of the time a level tells apart.
const BITS: u32 = SLOTS.trailing_zeros();
/// Enough levels for every `u64`.
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
/// No entry: the end of a list.
const NONE: u32 = u32::MAX;

/// Names a scheduled timer until it fires or is cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timer {
    index: u32,
    turn: u32,
}

/// Timers by when they are due, each with an item that says what for.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    /// Everything due before has been taken out.
    now: u64,
    levels: [Level; LEVELS],
    entries: Vec<Entry<T>>,
    /// The first entry that is free; the others follow by `next`.
    free: u32,
    len: usize,
    /// What was taken out of its slot and waits for [`Wheel::pop`]: the last one comes first.
    firing: Vec<Timer>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    occupied: u64,
    heads: [u32; SLOTS],
}

#[derive(Debug)]
struct Entry<T> {
    due: u64,
    item: T,
    next: u32,
    previous: u32,
    /// Counts uses of this entry, so that a stale name finds nothing.
    turn: u32,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Free,
    Slot { level: u8, slot: u8 },
    Firing,
}

impl<T: Copy + Ord> Wheel<T> {
    /// Returns an empty wheel that stands at `now`.
    pub(super) fn new(now: Tick) -> Wheel<T> {
        Wheel {
            now: now.0,
            levels: [Level { occupied: 0, heads: [NONE; SLOTS] }; LEVELS],
            entries: Vec::new(),
            free: NONE,
            len: 0,
            firing: Vec::new(),
        }
    }

    /// Returns how many timers are scheduled.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Schedules a timer. One that is due already fires with the next [`Wheel::pop`].
    ///
    /// # Panics
    ///
    /// Panics at 2^32 - 1 timers, which the bounds on calls and updates keep far away.
    pub(super) fn schedule(&mut self, due: Tick, item: T) -> Timer {
        let index = if self.free == NONE {
            let index = u32::try_from(self.entries.len()).expect("calls and updates are bounded");
            assert!(index != NONE, "too many timers");
            let place = Place::Free;
            self.entries.push(Entry { due: due.0, item, next: NONE, previous: NONE, turn: 0, place });
            index
        } else {
            let index = self.free;
            let entry = &mut self.entries[index as usize];
            self.free = entry.next;
            (entry.due, entry.item) = (due.0, item);
            index
        };
        self.len += 1;
        self.link(index);
        Timer { index, turn: self.entries[index as usize].turn }
    }

    /// Moves a timer to another time.
    ///
    /// # Panics
    ///
    /// Panics if it has fired or was cancelled.
    pub(super) fn reschedule(&mut self, timer: Timer, due: Tick) {
        self.check(timer);
        self.unlink(timer.index);
        self.entries[timer.index as usize].due = due.0;
        self.link(timer.index);
    }

    /// Takes a timer out.
    ///
    /// # Panics
    ///
    /// Panics if it has fired or was cancelled.
    pub(super) fn cancel(&mut self, timer: Timer) {
        self.check(timer);
        self.unlink(timer.index);
        self.release(timer.index);
    }

    /// Returns when to call [`Wheel::pop`] next: never later than the first timer is due, and
    /// earlier only to move timers down a level.
    pub(super) fn next(&self) -> Option<Tick> {
        if !self.firing.is_empty() {
            return Some(Tick(self.now));
        }
        self.next_slot().map(|(_, _, at)| Tick(at))
    }

    /// Takes out the first timer due up to and including `limit`, with when it was due. Those due
    /// together come in the order of their items.
    pub(super) fn pop(&mut self, limit: Tick) -> Option<(Tick, T)> {
        loop {
            while let Some(timer) = self.firing.pop() {
                let entry = &self.entries[timer.index as usize];
                // Cancelled or moved since it was taken out of its slot.
                if entry.turn != timer.turn || entry.place != Place::Firing {
                    continue;
                }
                let fired = (Tick(entry.due), entry.item);
                self.release(timer.index);
                return Some(fired);
            }
            let Some((level, slot, at)) = self.next_slot().filter(|&(_, _, at)| at <= limit.0) else {
                // Every slot begins later, so no timer changes its level by this.
                self.now = self.now.max(limit.0);
                return None;
            };
            self.now = self.now.max(at);
            self.empty(level, slot);
        }
    }

    /// Returns the first slot that holds anything, and when it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // A lower level holds what lies in the wheel's own block of the level above it: all of it
        // comes before everything there.
        self.levels.iter().enumerate().find(|(_, level)| level.occupied != 0).map(|(number, level)| {
            let slot = level.occupied.trailing_zeros();
            let shift = BITS * number as u32;
            let block = self.now.checked_shr(shift + BITS).map_or(0, |block| block << (shift + BITS));
            (number, slot as usize, block | u64::from(slot) << shift)
        })
    }

    /// Takes everything out of a slot: down to lower levels, or from level 0 into `firing`.
    fn empty(&mut self, level: usize, slot: usize) {
        self.levels[level].occupied &= !(1 << slot);
        let mut index = std::mem::replace(&mut self.levels[level].heads[slot], NONE);
        while index != NONE {
            let entry = &mut self.entries[index as usize];
            let next = entry.next;
            if level == 0 {
                entry.place = Place::Firing;
                self.firing.push(Timer { index, turn: entry.turn });
            } else {
                self.link(index);
            }
            index = next;
        }
        if level == 0 {
            let entries = &self.entries;
            self.firing.sort_unstable_by_key(|timer| {
                let entry = &entries[timer.index as usize];
                std::cmp::Reverse((entry.due, entry.item))
            });
        }
    }

    fn link(&mut self, index: u32) {
        // One that is due already lies where the wheel stands, which comes first.
        let due = self.entries[index as usize].due.max(self.now);
        let level = (u64::BITS - 1 - ((self.now ^ due) | (SLOTS as u64 - 1)).leading_zeros()) / BITS;
        let slot = due >> (BITS * level) & (SLOTS as u64 - 1);
        let (level, slot) = (level as usize, slot as usize);

        let head = std::mem::replace(&mut self.levels[level].heads[slot], index);
        self.levels[level].occupied |= 1 << slot;
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.next, entry.previous) = (head, NONE);
        entry.place = Place::Slot { level: level as u8, slot: slot as u8 };
    }

    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        // What is in `firing` is skipped there, by its place or its turn.
        let Place::Slot { level, slot } = entry.place else { return };
        let (next, previous) = (entry.next, entry.previous);
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
        } else {
            let level = &mut self.levels[usize::from(level)];
            level.heads[usize::from(slot)] = next;
            if next == NONE {
                level.occupied &= !(1 << slot);
            }
        }
    }

    fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.turn = entry.turn.wrapping_add(1);
        entry.place = Place::Free;
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
    }

    fn check(&self, timer: Timer) {
        let entry = &self.entries[timer.index as usize];
        assert!(entry.turn == timer.turn && entry.place != Place::Free, "a timer that is no more");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fires_in_the_order_of_time_and_then_of_items() {
        let mut wheel = Wheel::new(Tick(1_700_000_000_000));
        let at = |ms: u64| Tick(1_700_000_000_000 + ms);
        for (due, item) in
            [(70, 'c'), (5, 'b'), (5, 'a'), (4096, 'e'), (0, 'z'), (100_000_000, 'f'), (70, 'd')]
        {
            wheel.schedule(at(due), item);
        }
        assert_eq!(Some(at(0)), wheel.next());
        let mut fired = Vec::new();
        while let Some((due, item)) = wheel.pop(at(200_000_000)) {
            fired.push((due.since(at(0)), item));
        }
        assert_eq!(
            vec![(0, 'z'), (5, 'a'), (5, 'b'), (70, 'c'), (70, 'd'), (4096, 'e'), (100_000_000, 'f')],
            fired
        );
        assert_eq!((None, 0), (wheel.next(), wheel.len()));
    }

    #[test]
    fn a_timer_cancelled_or_moved_while_its_instant_fires_does_not_fire_then() {
        let mut wheel = Wheel::new(Tick(0));
        let timers: Vec<_> = (0..4).map(|item| wheel.schedule(Tick(9), item)).collect();
        assert_eq!(Some((Tick(9), 0)), wheel.pop(Tick(9)));
        wheel.cancel(timers[1]);
        wheel.reschedule(timers[2], Tick(12));
        wheel.schedule(Tick(11), 7); // Takes the place of the cancelled one.
        assert_eq!(Some((Tick(9), 3)), wheel.pop(Tick(9)));
        assert_eq!(None, wheel.pop(Tick(10)));
        assert_eq!(Some((Tick(11), 7)), wheel.pop(Tick(20)));
        assert_eq!(Some((Tick(12), 2)), wheel.pop(Tick(20)));
        assert_eq!(None, wheel.pop(Tick(20)));
    }

    #[test]
    fn holds_the_last_moment_there_is() {
        let mut wheel = Wheel::new(Tick(3));
        wheel.schedule(Tick(u64::MAX), 'x');
        assert_eq!(None, wheel.pop(Tick(1 << 60)));
        assert_eq!(Some((Tick(u64::MAX), 'x')), wheel.pop(Tick(u64::MAX)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u64),
        Move(usize, u64),
        Cancel(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let span = prop_oneof![0u64..70, 0u64..5_000, 0u64..400_000, 0u64..200_000_000];
        prop_oneof![
            4 => span.clone().prop_map(Step::Schedule),
            3 => (any::<usize>(), span.clone()).prop_map(|(which, span)| Step::Move(which, span)),
            1 => any::<usize>().prop_map(Step::Cancel),
            3 => span.prop_map(Step::Advance),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// The model is a sorted map, too simple to be wrong.
        #[test]
        fn agrees_with_a_sorted_map(origin in prop_oneof![Just(0), any::<u32>().prop_map(u64::from), Just(1_763_000_000_123)],
                                    steps in prop::collection::vec(step(), 1..200)) {
            let mut now = origin;
            let mut wheel = Wheel::new(Tick(now));
            let mut model: BTreeMap<(u64, u32), Timer> = BTreeMap::new();
            let mut items = 0u32;
            for step in steps {
                match step {
                    Step::Schedule(span) => {
                        items += 1;
                        model.insert((now + span, items), wheel.schedule(Tick(now + span), items));
                    }
                    Step::Move(which, span) if !model.is_empty() => {
                        let key = *model.keys().nth(which % model.len()).expect("not empty");
                        let timer = model.remove(&key).expect("just seen");
                        wheel.reschedule(timer, Tick(now + span));
                        model.insert((now + span, key.1), timer);
                    }
                    Step::Cancel(which) if !model.is_empty() => {
                        let key = *model.keys().nth(which % model.len()).expect("not empty");
                        wheel.cancel(model.remove(&key).expect("just seen"));
                    }
                    Step::Move(..) | Step::Cancel(_) => (),
                    Step::Advance(span) => {
                        now += span;
                        while let Some((due, item)) = wheel.pop(Tick(now)) {
                            let (first, _) = model.pop_first().expect("the model has it too");
                            prop_assert_eq!((due.0, item), first);
                        }
                        prop_assert!(model.keys().next().is_none_or(|first| first.0 > now));
                    }
                }
                prop_assert_eq!(model.len(), wheel.len());
                match (wheel.next(), model.keys().next()) {
                    (Some(next), Some(first)) => prop_assert!(next.0 <= first.0.max(now)),
                    (None, None) => (),
                    (next, first) => prop_assert!(false, "{:?} but {:?}", next, first),
                }
            }
        }
    }
}
