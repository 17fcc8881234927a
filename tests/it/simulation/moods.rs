//! Moods of the disk and the API: one follows another, until the faults stop.

use crate::random_tree::Random;

pub(super) struct Moods<M> {
    /// Each mood with when it begins, the first at the beginning of time.
    begins: Vec<(u64, M)>,
}

impl<M: Copy> Moods<M> {
    /// Moods at random from `begin` on, and from `end` on `at_last`.
    pub(super) fn random(random: &mut Random, begin: u64, end: u64, choices: &[M], at_last: M) -> Moods<M> {
        let mut begins = vec![(0, at_last)];
        let mut at = begin + random.below((end - begin) / 4);
        while at < end {
            begins.push((at, random.pick(choices)));
            let longest = random.pick(&[2_000, 20_000, 20_000, 200_000, (end - begin) / 4]);
            at += 1 + random.below(longest);
        }
        begins.push((end, at_last));
        Moods { begins }
    }

    /// Always the same one.
    pub(super) fn only(mood: M) -> Moods<M> {
        Moods { begins: vec![(0, mood)] }
    }

    /// How long the mood at a time has lasted.
    pub(super) fn since(&self, now: u64) -> u64
    where
        M: PartialEq,
    {
        let mut next = self.begins.partition_point(|&(begin, _)| begin <= now);
        while next > 1 && self.begins[next - 2].1 == self.begins[next - 1].1 {
            next -= 1;
        }
        now - self.begins[next - 1].0
    }

    /// The mood at a time, and until when it lasts.
    pub(super) fn at(&self, now: u64) -> (M, u64) {
        let next = self.begins.partition_point(|&(begin, _)| begin <= now);
        let until = self.begins.get(next).map_or(u64::MAX, |&(begin, _)| begin);
        (self.begins[next - 1].1, until)
    }
}
