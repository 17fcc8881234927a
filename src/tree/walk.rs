//! What happened on a walk, step by step, without the keys that a masked node took.

use std::sync::Arc;

use crate::engine::{Digits, End, Ivr, Key, Mask, NodeId, Reason, Tick, Verdict};

/// The most steps that are kept of a walk: more would not be read.
const STEPS_MAX: usize = 1000;

/// One step of a walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalkStep {
    /// When, from the call's begin.
    pub at: Tick,
    /// What happened.
    pub what: Happened,
}

/// What happened at a step of a walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// A key was pressed.
    Pressed {
        /// Which; `None` if a masked node met it, or may have been fed it.
        key: Option<Key>,
        /// What became of it.
        verdict: Verdict,
        /// The node that it met.
        node: NodeId,
    },
    /// A node was entered, or offered again.
    Entered {
        /// The node.
        node: NodeId,
        /// 1 for the first attempt.
        attempt: u32,
        /// Why.
        reason: Reason,
    },
    /// The caller hung up.
    HungUp,
    /// The walk ended.
    Ended(End),
}

/// Notes what happens on a walk.
#[derive(Debug)]
pub(super) struct Walk {
    ivr: Arc<Ivr>,
    steps: Vec<WalkStep>,
    omitted: usize,
    now: Tick,
    /// The node that the call stood in before what happens now.
    node: NodeId,
    /// The keys that the call may hold, and the steps at which they were pressed. A menu feeds what it
    /// doesn't need to the next node, and that one may be masked.
    held: Vec<(Key, usize)>,
    /// Whether `held` is the call's entry, key for key: not once keys were fed on.
    is_exact: bool,
    /// What happens now: the key that was pressed and its step, the nodes that were entered, and whether
    /// an attempt failed, which clears the entry.
    pressed: Option<(Key, usize, Verdict)>,
    entered: Vec<NodeId>,
    failed: bool,
}

impl Walk {
    pub(super) fn new(ivr: Arc<Ivr>) -> Walk {
        Walk {
            node: ivr.root,
            ivr,
            steps: Vec::new(),
            omitted: 0,
            now: Tick(0),
            held: Vec::new(),
            is_exact: true,
            pressed: None,
            entered: Vec::new(),
            failed: false,
        }
    }

    /// Returns how many steps there have been.
    pub(super) fn len(&self) -> usize {
        self.steps.len() + self.omitted
    }

    /// Returns when the last of them was.
    pub(super) fn now(&self) -> Tick {
        self.now
    }

    /// Returns the steps that were kept, and how many more there were.
    pub(super) fn into_steps(self) -> (Vec<WalkStep>, usize) {
        (self.steps, self.omitted)
    }

    /// A key met `node`.
    pub(super) fn press(&mut self, key: Key, verdict: Verdict, node: NodeId, at: Tick) {
        // A call that begins with a key enters its root before.
        self.entered.clear();
        self.node = node;
        self.pressed = Some((key, self.len(), verdict));
        let key = (!self.is_masked(node)).then_some(key);
        self.push(at, Happened::Pressed { key, verdict, node });
    }

    /// A key came after the end.
    pub(super) fn press_late(&mut self, key: Key, at: Tick) {
        let node = self.node;
        let key = (!self.is_masked(node)).then_some(key);
        self.push(at, Happened::Pressed { key, verdict: Verdict::Late, node });
    }

    /// A node was entered, or offered again.
    pub(super) fn enter(&mut self, node: NodeId, attempt: u32, reason: Reason, at: Tick) {
        self.entered.push(node);
        self.failed |= reason != Reason::Commit;
        self.push(at, Happened::Entered { node, attempt, reason });
    }

    /// The caller hung up.
    pub(super) fn hang_up(&mut self, at: Tick) {
        self.push(at, Happened::HungUp);
    }

    /// The walk ended.
    pub(super) fn end(&mut self, end: End) {
        self.push(end.at, Happened::Ended(end));
    }

    /// What was told since the last time is all that happened: hides the keys that a masked node may
    /// have been fed.
    pub(super) fn settle(&mut self) {
        let pressed = self.pressed.take();
        if self.entered.is_empty() {
            let held = pressed.filter(|(.., verdict)| *verdict == Verdict::Accepted);
            self.held.extend(held.map(|(key, step, _)| (key, step)));
            return;
        }
        self.held.extend(pressed.map(|(key, step, _)| (key, step)));
        let fed = self.held.split_off(self.taken(pressed.map(|(key, ..)| key)));
        if self.entered.iter().any(|&node| self.is_masked(node)) {
            for &(_, step) in &fed {
                if let Some(WalkStep { what: Happened::Pressed { key, .. }, .. }) = self.steps.get_mut(step) {
                    *key = None;
                }
            }
        }
        self.held = if self.failed { Vec::new() } else { fed };
        self.is_exact = self.held.is_empty();
        self.node = self.entered.pop().unwrap_or(self.node);
        self.entered.clear();
        self.failed = false;
    }

    /// Returns how many of the held keys the node took that was left: all but those that it fed on. Where
    /// that is not known it is the fewest that it can be.
    fn taken(&self, pressed: Option<Key>) -> usize {
        let (node, all) = (self.ivr.node(self.node), self.held.len());
        if !node.is_menu() || node.end_key.is_some() && node.end_key == pressed {
            return all;
        }
        if !self.is_exact {
            return all.min(1);
        }
        let mut keys = self.held.iter().map(|&(key, _)| key);
        let entry = keys.try_fold(Digits::EMPTY, Digits::pushed);
        entry.map_or(all.min(1), |entry| node.longest_complete(entry).unwrap_or(all))
    }

    fn is_masked(&self, node: NodeId) -> bool {
        self.ivr.node(node).mask != Mask::Off
    }

    fn push(&mut self, at: Tick, what: Happened) {
        self.now = at;
        if self.steps.len() < STEPS_MAX {
            self.steps.push(WalkStep { at, what });
        } else {
            self.omitted += 1;
        }
    }
}
