//! What is kept of calls: transactions out, rows back in.

use std::sync::Arc;

use super::super::call::Call;
use super::super::commit::{CallKey, CallRecord, Change, Commit, Row, UpdateKey};
use super::super::event::{Output, Tick};
use super::super::ivr::{Ivr, Version};
use super::super::ledger::{Entry, Keeping};
use super::super::presses::Presses;
use super::super::row::Unreadable;
use super::{CallId, Calls, Held, Item, Slot, TREES_MAX, Tree};

impl Held {
    pub(super) fn key(&self) -> CallKey {
        CallKey { source: self.call.source, id: Arc::clone(&self.call.id) }
    }
}

impl Calls {
    /// Takes in a row that an earlier process kept: those of trees first, [`Calls::restored`] after the
    /// last. Nothing fires: what is overdue does with the next event or timeout, as of when it was due.
    ///
    /// A call that is in progress here already is left as it is.
    ///
    /// # Errors
    ///
    /// The row can't be read, or its tree is not here; nothing has changed.
    pub fn restore(&mut self, row: Row<'_>) -> Result<(), Unreadable> {
        match row {
            Row::Tree(ivr) => {
                match self.trees.iter_mut().find(|tree| tree.ivr.version == ivr.version) {
                    Some(tree) => tree.kept = true,
                    None => self.trees.push(Tree { ivr, calls: 0, kept: true }),
                }
                Ok(())
            }
            Row::Call { source, id, row } => {
                let tree = |version| {
                    self.trees
                        .iter()
                        .find(|tree| tree.ivr.version == version)
                        .map(|tree| Arc::clone(&tree.ivr))
                };
                let call = Call::read_row(source, id, row, tree, self.now)?;
                if let Some(&slot) = self.index[source as usize].get(id) {
                    // It began anew before the row was found: that has overtaken the row.
                    self.held(slot).kept = true;
                    self.touch(slot);
                    return Ok(());
                }
                if self.ended.contains(source, id, self.now) {
                    // It began anew and ended before the row was found: the row is of no call any more.
                    let key = CallKey { source, id: Arc::clone(&call.id) };
                    self.ledger.note(Entry::Discarded(key), self.present);
                    return Ok(());
                }
                let slot = self.vacant();
                let due = call.deadline();
                let timer = Some((self.wheel.schedule(due, Item::Call(slot)), due));
                self.index[source as usize].insert(Arc::clone(&call.id), slot);
                self.tree(call.ivr().version).calls += 1;
                let call_id = CallId { slot, turn: self.slots[slot as usize].turn };
                self.slots[slot as usize].held = Some(Held { call, timer, kept: true, dirty: false });
                self.outputs.push_back(Output::Resumed { call: call_id });
                Ok(())
            }
            Row::Update { source, call, generation, row } => {
                let key = UpdateKey { source, call: Arc::from(call), generation };
                let (delivery, mut around) = self.delivery();
                delivery.restore(key, row, &mut around)
            }
            Row::Ended(row) => {
                self.ended.restore(row, self.now);
                Ok(())
            }
        }
    }

    /// Every row is back.
    pub fn restored(&mut self) {
        self.ended.restored(self.now);
        self.delivery.restored();
        let unused: Vec<_> =
            self.trees.iter().filter(|tree| tree.calls == 0).map(|tree| tree.ivr.version).collect();
        unused.into_iter().for_each(|version| self.let_go_of_tree(version));
        self.settle();
    }

    /// Notes that a call has changed.
    pub(super) fn touch(&mut self, slot: u32) {
        let Slot { turn, held: Some(held) } = &mut self.slots[slot as usize] else { return };
        if self.ledger.is_on() && !held.dirty && held.call.end().is_none() {
            held.dirty = true;
            self.ledger.note(Entry::Call(CallId { slot, turn: *turn }), self.present);
        }
    }

    /// Makes the next transaction if it is time, else sees to being woken for it.
    pub(super) fn commit(&mut self) {
        if !self.ledger.is_on() {
            return;
        }
        while let Some(call) = self.ended.take_changed() {
            self.ledger.note(Entry::Ended(call), self.present);
        }
        if self.ledger.wants_sweep() {
            self.sweep();
        }
        if let Some(commit) = self.next_commit() {
            self.outputs.push_back(Output::Commit(commit));
        }
        let wanted = self.ledger.due();
        self.commit_timer = match (self.commit_timer, wanted) {
            (Some((timer, at)), Some(wanted)) => {
                if at != wanted {
                    self.wheel.reschedule(timer, wanted);
                }
                Some((timer, wanted))
            }
            (Some((timer, _)), None) => {
                self.wheel.cancel(timer);
                None
            }
            (None, wanted) => wanted.map(|at| (self.wheel.schedule(at, Item::Commit), at)),
        };
    }

    fn next_commit(&mut self) -> Option<Commit> {
        let Calls { ledger, slots, delivery, ended, trees, present, .. } = self;
        let (number, entries) = ledger.take(*present)?;
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Entry::Call(id) => {
                    let slot = &mut slots[id.slot as usize];
                    let Some(held) = slot.held.as_mut().filter(|held| slot.turn == id.turn && held.dirty)
                    else {
                        continue;
                    };
                    held.dirty = false;
                    if held.call.end().is_some() {
                        continue;
                    }
                    held.kept = true;
                    let version = held.call.ivr().version;
                    if let Some(tree) = trees.iter_mut().find(|tree| tree.ivr.version == version)
                        && !std::mem::replace(&mut tree.kept, true)
                    {
                        changes.push(Change::PutTree(Arc::clone(&tree.ivr)));
                    }
                    changes.push(Change::PutCall(held.key(), held.call.write_row()));
                }
                Entry::Discarded(key) => changes.push(Change::RemoveCall(key.clone())),
                Entry::End(end) => {
                    changes.extend(end.kept.iter().map(|key| Change::RemoveCall(key.clone())));
                    changes.extend(ended.row(end.ended).map(Change::PutEnded));
                    let row = end.update.and_then(|id| delivery.row(id));
                    changes.extend(row.map(|(key, row)| Change::PutUpdate(key, row)));
                    changes.extend(end.record.iter().map(|record| Change::Record(Arc::clone(record))));
                }
                Entry::Update(id) => {
                    changes.extend(delivery.row(*id).map(|(key, row)| Change::PutUpdate(key, row)));
                }
                Entry::UpdateGone(key) => changes.push(Change::RemoveUpdate(key.clone())),
                Entry::Ended(call) => changes.push(match ended.row(*call) {
                    Some(row) => Change::PutEnded(row),
                    None => Change::RemoveEnded(*call),
                }),
                Entry::Tree(version) => {
                    if trees.iter().all(|tree| tree.ivr.version != *version) {
                        changes.push(Change::RemoveTree(*version));
                    }
                }
            }
        }
        Some(Commit { number, changes })
    }

    pub(super) fn committed(&mut self, number: u64) {
        let Some(entries) = self.ledger.committed(number, self.present) else { return };
        let (delivery, mut around) = self.delivery();
        for entry in entries {
            if let Entry::End(end) = entry
                && let Some(update) = end.update
            {
                delivery.committed(update, &mut around);
            }
        }
        self.tell_keeping(Keeping::Well);
    }

    pub(super) fn commit_failed(&mut self, number: u64) {
        let Some(entries) = self.ledger.failed(number, self.present) else { return };
        self.trees.iter_mut().for_each(|tree| tree.kept = false);
        let slots = &mut self.slots;
        let back = entries.into_iter().filter(|entry| {
            let Entry::Call(id) = entry else { return true };
            let slot = &mut slots[id.slot as usize];
            let held = slot.held.as_mut().filter(|held| slot.turn == id.turn && held.call.end().is_none());
            // One that has changed since waits already.
            held.is_some_and(|held| !std::mem::replace(&mut held.dirty, true))
        });
        self.ledger.put_back(back.collect::<Vec<_>>().into_iter());
        self.tell_keeping(Keeping::Failing);
    }

    /// The store lost what it had: everything is to be kept again.
    pub(super) fn keep_all_again(&mut self) {
        self.trees.iter_mut().for_each(|tree| tree.kept = false);
        for slot in 0..self.slots.len() as u32 {
            self.touch(slot);
        }
        let updates: Vec<_> = self.delivery.ids().collect();
        for id in updates {
            self.ledger.note(Entry::Update(id), self.present);
        }
        let ended: Vec<_> = self.ended.all().collect();
        for call in ended {
            self.ledger.note(Entry::Ended(call), self.present);
        }
    }

    /// An update left without being kept: the disk fails, or is slow.
    pub(super) fn tell_late(&mut self) {
        self.tell_keeping(if self.ledger.is_failing() { Keeping::Failing } else { Keeping::Slow });
    }

    fn tell_keeping(&mut self, keeping: Keeping) {
        if std::mem::replace(&mut self.told_keeping, keeping) != keeping {
            self.outputs.push_back(Output::KeepingIs(keeping));
        }
    }

    fn sweep(&mut self) {
        let Calls { ledger, slots, delivery, ended, .. } = self;
        ledger.sweep(|entry| match entry {
            Entry::Call(id) => {
                let slot = &slots[id.slot as usize];
                slot.turn == id.turn && slot.held.as_ref().is_some_and(|held| held.call.end().is_none())
            }
            Entry::End(end) => {
                end.kept.is_some()
                    || end.record.is_some()
                    || end.update.is_some_and(|id| delivery.has(id))
                    || ended.row(end.ended).is_some()
            }
            Entry::Update(id) => delivery.has(*id),
            Entry::Ended(call) => ended.row(*call).is_some(),
            Entry::Discarded(_) | Entry::UpdateGone(_) | Entry::Tree(_) => true,
        });
    }

    /// New calls walk `ivr` from here, unless too many other trees are walked still.
    pub(super) fn take_tree(&mut self, ivr: Arc<Ivr>) {
        let known = self.trees.iter().position(|tree| tree.ivr.version == ivr.version);
        if known.is_none() && self.trees.len() >= TREES_MAX {
            return self.outputs.push_back(Output::TreeTaken(false));
        }
        let before = self.ivr.version;
        match known {
            Some(place) => self.ivr = Arc::clone(&self.trees[place].ivr),
            None => {
                self.ivr = Arc::clone(&ivr);
                self.trees.push(Tree { ivr, calls: 0, kept: false });
            }
        }
        self.let_go_of_tree(before);
        self.outputs.push_back(Output::TreeTaken(true));
    }

    pub(super) fn current_tree(&mut self) -> &mut Tree {
        self.tree(self.ivr.version)
    }

    fn tree(&mut self, version: Version) -> &mut Tree {
        let tree = self.trees.iter_mut().find(|tree| tree.ivr.version == version);
        tree.expect("a tree stays while a call walks it, or new ones will")
    }

    /// A call of this tree is no more.
    pub(super) fn leave_tree(&mut self, version: Version) {
        self.tree(version).calls -= 1;
        self.let_go_of_tree(version);
    }

    fn let_go_of_tree(&mut self, version: Version) {
        let is_unused = |tree: &Tree| tree.ivr.version == version && tree.calls == 0;
        if version != self.ivr.version
            && let Some(place) = self.trees.iter().position(is_unused)
        {
            self.trees.remove(place);
            self.ledger.note(Entry::Tree(version), self.present);
        }
    }
}

/// Returns how a call went that has ended.
pub(super) fn record_of(call: &Call, presses: Presses) -> CallRecord {
    let end = call.end().expect("it has ended");
    CallRecord {
        source: call.source,
        id: Arc::clone(&call.id),
        interaction: call.interaction().map(Box::from),
        to: call.to().map(Box::from),
        tree: call.ivr().version,
        began: call.began(),
        ended: end.at,
        outcome: Arc::clone(&end.outcome),
        reason: end.reason,
        node: call.ivr().node(end.node).name.clone(),
        writes: end.writes,
        presses,
    }
}

/// Returns when a call ended.
pub(super) fn end_of(call: &Call) -> Tick {
    call.end().expect("it has ended").at
}
