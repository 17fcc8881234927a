//! The walk: what a key, a deadline or a hang-up makes of a call (IVR.md sections 3 to 5).

use std::sync::Arc;

use super::super::event::{NoMatch, Output, Reason, Tick, Verdict};
use super::super::ivr::{Assignment, Content, Handler, Mask, Node, NodeId, Target};
use super::super::key::{Digits, Key};
use super::super::update::Variable;
use super::super::variables::Scene;
use super::{Attempt, Call, End, Failures, KnownFacts, Surroundings};

/// What `noMatch: "ignore"` makes of a no-match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ignored {
    /// A digit caused it: that digit is dropped, entry and deadline stay as they are.
    DropsTheDigit,
    /// A deadline or a failed check caused it.
    CountsAsNoInput,
}

impl Call {
    /// Lets the nodes judge what is to be fed, in order, and returns the verdict on the last of it.
    ///
    /// What a commit left over, so all of it where `all_left_over`, has passed the filters before; only
    /// a guard of the node that it finds may still refuse it.
    pub(super) fn feed(&mut self, all_left_over: bool, around: &mut Surroundings<'_>) -> Verdict {
        let mut verdict = Verdict::Accepted;
        let mut left_over = all_left_over;
        // Each commit takes at least one digit out for good, so this ends.
        while let Some(key) = around.feed.pop_front() {
            self.met_mask |= self.end.is_none() && self.node().mask != Mask::Off;
            verdict = if self.end.is_some() {
                Verdict::Late
            } else if left_over && around.now < self.attempt.guarded_until {
                Verdict::Guarded
            } else {
                self.judge(key, around)
            };
            left_over = true;
            if !around.feed.is_empty() {
                // The next digit is at hand: it uses up the end key that a commit may leave behind.
                self.trailing = None;
            }
        }
        verdict
    }

    fn judge(&mut self, key: Key, around: &mut Surroundings<'_>) -> Verdict {
        let ivr = Arc::clone(&self.ivr);
        let node = ivr.node(self.node);
        if node.end_key == Some(key) {
            return if node.is_complete(self.entry) {
                self.commit(node, self.entry, true, around)
            } else {
                self.no_match(node, NoMatch::Incomplete, Ignored::DropsTheDigit, around)
            };
        }
        if let Content::Entry(collect) = &node.content
            && collect.cancel_key == Some(key)
        {
            if self.entry.is_empty() {
                self.go(&Target::Back, Reason::Commit, self.record.path_len(), around);
            } else {
                self.entry = Digits::EMPTY;
                self.attempt.first_digit = None;
                self.attempt.until = wait(around.now, node.timing.first_digit_ms);
            }
            return Verdict::Accepted;
        }
        let grown = self.entry.pushed(key);
        let complete = grown.is_some_and(|grown| node.is_complete(grown));
        let extendable = grown.is_some_and(|grown| node.is_extendable(grown));
        match grown {
            Some(grown) if complete && (!extendable || node.timing.decide_ms == 0) => {
                self.commit(node, grown, false, around)
            }
            Some(grown) if complete || extendable => {
                self.entry = grown;
                let first_digit = *self.attempt.first_digit.get_or_insert(around.now);
                let wait_ms = if complete { node.timing.decide_ms } else { node.timing.inter_digit_ms };
                let cap = wait(first_digit, node.timing.max_ms);
                let until = around.now.after(wait_ms);
                self.attempt.until = Some(cap.map_or(until, |cap| cap.min(until)));
                Verdict::Accepted
            }
            Some(_) | None => match node.longest_complete(self.entry) {
                Some(len) if node.is_menu() => {
                    around.feed.push_front(key);
                    self.commit_prefix(node, len, around)
                }
                Some(_) | None => self.no_match(node, NoMatch::Invalid, Ignored::DropsTheDigit, around),
            },
        }
    }

    /// Commits the first `len` keys of the entry and leaves the others to be fed on.
    fn commit_prefix(&mut self, node: &Node, len: usize, around: &mut Surroundings<'_>) -> Verdict {
        for index in (len..self.entry.len()).rev() {
            around.feed.push_front(self.entry.get(index));
        }
        self.commit(node, self.entry.prefix(len), false, around)
    }

    /// Handles the deadline that [`Call::deadline`] named, as of that instant.
    pub(in super::super) fn pass_deadline(&mut self, around: &mut Surroundings<'_>) {
        if self.deadline() >= self.began.after(self.ivr.limits.call_ms) {
            return self.finish(&Arc::from("limit"), Reason::Limit, around);
        }
        let ivr = Arc::clone(&self.ivr);
        let node = ivr.node(self.node);
        if self.entry.is_empty() {
            return self.no_input(node, around);
        }
        let complete = if node.is_menu() {
            node.longest_complete(self.entry)
        } else {
            node.is_complete(self.entry).then_some(self.entry.len())
        };
        match complete {
            Some(len) => {
                self.commit_prefix(node, len, around);
                if !around.feed.is_empty() {
                    self.trailing = None;
                    self.feed(true, around);
                }
            }
            None => {
                self.no_match(node, NoMatch::Incomplete, Ignored::CountsAsNoInput, around);
            }
        }
    }

    /// The caller hung up.
    pub(in super::super) fn hang_up(&mut self, around: &mut Surroundings<'_>) {
        self.finish(&Arc::from("hangup"), Reason::HangUp, around);
    }

    fn commit(
        &mut self,
        node: &Node,
        entry: Digits,
        by_end_key: bool,
        around: &mut Surroundings<'_>,
    ) -> Verdict {
        let (target, label, set) = match &node.content {
            Content::Menu(_) => {
                let choice = node.choice(entry).expect("a complete entry of a menu takes a choice");
                (&choice.target, &choice.label, &choice.set)
            }
            Content::Entry(collect) if !collect.is_valid(entry) => {
                return self.no_match(node, NoMatch::Check, Ignored::CountsAsNoInput, around);
            }
            Content::Entry(collect) => {
                self.record.name(collect.slot, entry, node.mask);
                (&collect.target, &node.label, &node.set)
            }
            Content::End(_) => unreachable!("a call that ended takes no entry"),
        };
        self.record.commit(entry, node.mask, label);
        self.entry = Digits::EMPTY;
        self.assign(set, node, Some(label), outcome_of(target), Reason::Commit, around.now);
        let path_len = self.record.path_len();
        if matches!(target, Target::Node(_) | Target::End(_)) {
            self.record.extend_path();
        }
        self.trailing = node
            .end_key
            .filter(|_| !by_end_key)
            .map(|key| (key, around.now.after(node.timing.inter_digit_ms)));
        self.go(target, Reason::Commit, path_len, around);
        Verdict::Accepted
    }

    fn no_match(
        &mut self,
        node: &Node,
        why: NoMatch,
        ignored: Ignored,
        around: &mut Surroundings<'_>,
    ) -> Verdict {
        match (&node.no_match, ignored) {
            (Some(handler), _) => {
                self.failures.no_match = self.failures.no_match.saturating_add(1);
                let failures = self.failures.no_match;
                self.fail(node, handler, failures, Reason::NoMatch(why), around);
            }
            (None, Ignored::DropsTheDigit) => (),
            (None, Ignored::CountsAsNoInput) => self.no_input(node, around),
        }
        Verdict::Rejected(why)
    }

    fn no_input(&mut self, node: &Node, around: &mut Surroundings<'_>) {
        self.failures.no_input = self.failures.no_input.saturating_add(1);
        self.fail(node, &node.no_input, self.failures.no_input, Reason::NoInput, around);
    }

    /// Begins a new attempt, or goes where the handler leads if this was the last.
    fn fail(
        &mut self,
        node: &Node,
        handler: &Handler,
        failures: u32,
        reason: Reason,
        around: &mut Surroundings<'_>,
    ) {
        self.progress = self.progress.saturating_add(1);
        self.entry = Digits::EMPTY;
        if failures < handler.tries {
            self.offer(node, around.now);
            let attempt = self.attempts();
            around.outputs.push_back(Output::Entered { call: around.call, node: self.node, attempt, reason });
            return;
        }
        let outcome = outcome_of(&handler.target);
        self.assign(&handler.set, node, Some(&node.label), outcome, reason, around.now);
        self.go(&handler.target, reason, self.record.path_len(), around);
    }

    fn go(&mut self, target: &Target, reason: Reason, path_len: usize, around: &mut Surroundings<'_>) {
        match target {
            Target::Node(node) => {
                self.back.push((self.node, path_len as u32));
                self.enter(*node, reason, around);
            }
            Target::Back => match self.back.pop() {
                Some((node, path_len)) => {
                    self.record.cut_path(path_len as usize);
                    self.enter(node, reason, around);
                }
                None => self.enter(self.node, reason, around),
            },
            Target::Root => {
                self.record.cut_path(0);
                self.back.clear();
                let to = self.facts.as_ref().and_then(|facts| facts.to.as_deref());
                self.enter(self.ivr.entry(to), reason, around);
            }
            Target::Again => self.enter(self.node, reason, around),
            Target::End(outcome) => self.finish(outcome, reason, around),
        }
    }

    pub(super) fn enter(&mut self, id: NodeId, reason: Reason, around: &mut Surroundings<'_>) {
        if self.steps >= self.ivr.limits.steps {
            return self.finish(&Arc::from("limit"), Reason::Limit, around);
        }
        self.steps += 1;
        self.progress = self.progress.saturating_add(1);
        self.node = id;
        self.entry = Digits::EMPTY;
        self.failures = Failures::default();
        let ivr = Arc::clone(&self.ivr);
        let node = ivr.node(id);
        self.offer(node, around.now);
        around.outputs.push_back(Output::Entered { call: around.call, node: id, attempt: 1, reason });
        match &node.content {
            // What an entry sets is set when a good one was given.
            Content::Entry(_) => (),
            Content::Menu(_) => self.assign(&node.set, node, Some(&node.label), "", reason, around.now),
            Content::End(outcome) => {
                self.assign(&node.set, node, Some(&node.label), outcome, reason, around.now);
                self.finish(outcome, reason, around);
            }
        }
    }

    /// Begins an attempt: the wait for its first digit follows the announcement.
    pub(super) fn offer(&mut self, node: &Node, now: Tick) {
        self.attempt = Attempt {
            guarded_until: now.after(node.timing.guard_ms),
            first_digit: None,
            until: wait(now.after(node.timing.prompt_ms), node.timing.first_digit_ms),
        };
    }

    fn finish(&mut self, outcome: &Arc<str>, reason: Reason, around: &mut Surroundings<'_>) {
        let ivr = Arc::clone(&self.ivr);
        let node = ivr.node(self.node);
        match (&ivr.on_end, reason) {
            (Some(on_end), _) if reason != Reason::HangUp || on_end.hangup => {
                self.assign(&on_end.set, node, None, outcome, reason, around.now);
            }
            (_, Reason::HangUp) => drop(self.record.take_variables()),
            (_, Reason::Commit) => self.record.assign_as_the_seed(outcome, true),
            (_, Reason::NoInput | Reason::NoMatch(_) | Reason::Limit) => {
                self.record.assign_as_the_seed(outcome, false);
            }
        }
        let outcome = Arc::clone(outcome);
        let writes = !self.dry && self.record.has_variables();
        self.end = Some(End { outcome, reason, node: self.node, at: around.now, writes });
        around.outputs.push_back(Output::Ended { call: around.call });
    }

    /// Takes out the variables that the walk leaves behind.
    pub(in super::super) fn take_variables(&mut self) -> Vec<Variable> {
        self.record.take_variables()
    }

    /// Returns the number of the attempt at this node: 1 + failed attempts here.
    pub(in super::super) fn attempts(&self) -> u32 {
        1u32.saturating_add(self.failures.no_input).saturating_add(self.failures.no_match)
    }

    fn assign(
        &mut self,
        set: &[Assignment],
        node: &Node,
        label: Option<&str>,
        outcome: &str,
        reason: Reason,
        now: Tick,
    ) {
        if set.is_empty() {
            return;
        }
        let fact = |fact: fn(&KnownFacts) -> Option<&str>| self.facts.as_deref().and_then(fact);
        let scene = Scene {
            call: &self.id,
            interaction: fact(|facts| facts.interaction.as_deref()).unwrap_or(&self.id),
            from: fact(|facts| facts.from.as_deref()).unwrap_or_default(),
            to: fact(|facts| facts.to.as_deref()).unwrap_or_default(),
            began: self.began,
            now,
            node: &node.name,
            node_label: &node.label,
            label,
            outcome,
            reason,
            attempt: self.attempts(),
        };
        self.record.assign(set, scene);
    }
}

/// Returns the moment `ms` after `from`; `None` if `ms` is 0, which means for ever.
fn wait(from: Tick, ms: u64) -> Option<Tick> {
    (ms > 0).then(|| from.after(ms))
}

/// Returns the outcome that a target leads to, if it ends the walk itself.
fn outcome_of(target: &Target) -> &str {
    match target {
        Target::End(outcome) => outcome,
        Target::Node(_) | Target::Back | Target::Root | Target::Again => "",
    }
}
