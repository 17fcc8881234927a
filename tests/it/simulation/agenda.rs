//! What will happen, by time.

use std::collections::BTreeMap;

/// Things to come; those of the same time come in the order in which they were added.
pub(super) struct Agenda<T> {
    things: BTreeMap<(u64, u64), T>,
    added: u64,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Agenda<T> {
        Agenda { things: BTreeMap::new(), added: 0 }
    }

    pub(super) fn add(&mut self, at: u64, thing: T) {
        self.added += 1;
        self.things.insert((at, self.added), thing);
    }

    /// When the next thing comes.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.things.keys().next().map(|&(at, _)| at)
    }

    /// Takes out the next thing, if it comes at `now` or before.
    pub(super) fn take(&mut self, now: u64) -> Option<T> {
        let next = self.things.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(next.remove())
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&(u64, u64), &mut T) -> bool) {
        self.things.retain(keep);
    }
}
