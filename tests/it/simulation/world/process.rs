//! The process and what it talks to: how it ends and goes on, its disk, its API, its operator.

use dtmfd::engine::CallRecord;

use super::*;

impl World<'_> {
    /// The process is gone, between any two things that it does.
    pub(super) fn crash(&mut self) {
        if self.calls.take().is_none() {
            return;
        }
        self.tell(|| "crash".to_owned());
        self.totals.crashes += 1;
        self.end_process();
    }

    /// After a drain, or a crash in the middle of it.
    pub(super) fn see_to_stop(&mut self) {
        if self.stopped && self.calls.take().is_some() {
            self.end_process();
        }
    }

    fn end_process(&mut self) {
        self.process += 1;
        if self.commit.is_some() && self.disk.is_torn_late() {
            self.make_commit();
        }
        (self.commit, self.made_at) = (None, 0);
        self.inbox.clear();
        self.in_flight.clear();
        (self.stopping, self.stopped, self.crash_after, self.taking) = (None, false, None, None);
        self.answer = None;
        let loss = self.model.crash(self.now);
        let model = &self.model;
        self.dropped.retain(|key| model.is_gone(key));
        self.totals.loss_ms = self.totals.loss_ms.max(loss);
        if self.disk.is_well(self.now) {
            assert!(loss <= LOSS_MAX_MS, "{loss} ms are lost, and the disk was well");
            self.totals.loss_well_ms = self.totals.loss_well_ms.max(loss);
        }
        self.check_disk();
        // What is on the wire already arrives, or not.
        let random = &mut self.crashes;
        self.agenda.retain(|_, action| !matches!(action, Action::Reaches(..)) || random.one_in(2));
        let down_ms = match random.below(40) {
            0..=9 => 0,
            10..=19 => random.below(300),
            20..=34 => random.below(8_000),
            35..=37 => random.below(120_000),
            38 => random.below(7_200_000),
            _ => random.pick(&[43_000_000, 87_000_000, 200_000_000]),
        };
        // A long absence is rare where a lifetime is short: nobody would call.
        let is_short = self.plan.end - BEGIN < 10_000_000;
        let down_ms = if is_short && !random.one_in(10) { down_ms % 5_000 } else { down_ms };
        self.agenda.add(self.now + down_ms, Action::Restart);
        self.limit = self.limit.max(self.now + down_ms + DRAINED_IN_MS);
    }

    /// What lies on the disk is what the model says.
    fn check_disk(&self) {
        let rows = &self.disk.rows;
        let mut calls: Vec<_> = rows.calls.keys().map(|key| (key.source, &*key.id)).collect();
        let mut updates: Vec<_> = rows.updates.keys().cloned().collect();
        calls.sort_unstable();
        updates.sort_unstable();
        assert_eq!(self.model.on_disk(), (calls, updates), "what is on the disk");
        for (key, end) in self.model.ends_on_disk() {
            let is_it = |record: &Arc<CallRecord>| {
                (end.at, &end.outcome, end.reason) == (record.ended, &record.outcome, record.reason)
            };
            let records = rows.records.get(&key).map_or(&[][..], Vec::as_slice);
            assert!(records.iter().any(is_it), "no record of {key:?}: {end:?}");
        }
    }

    pub(super) fn restart(&mut self) {
        assert!(self.calls.is_none());
        self.tell(|| "start".to_owned());
        let random = &mut self.crashes;
        let ivr = Arc::clone(&self.plan.trees[self.file]);
        (self.model.current, self.loading) = (self.file, self.file);
        let mut calls = Calls::new(ivr, self.plan.bounds, random.below(u64::MAX), Tick(self.now)).keeping();
        self.engine_now = self.now;
        self.stream_opens = if self.process == 0 { 0 } else { self.now + random.below(1_500) };
        for row in self.disk.rows.all(random.one_in(2)) {
            let read = calls.restore(row);
            assert_eq!(Ok(()), read, "a row that was written can be read");
        }
        calls.restored();
        let outputs: Vec<_> = std::iter::from_fn(|| calls.poll_output()).collect();
        let resumed: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Resumed { call } => Some((*call, calls.call(*call).expect("it goes on"))),
                _ => None,
            })
            .collect();
        self.model.restored(&resumed, self.now);
        self.calls = Some(calls);
        if self.process > 0 && random.one_in(6) {
            // Before anything of what it found was done, or after a little of it.
            if random.one_in(2) {
                return self.crash();
            }
            self.crash_after = Some(1 + random.below(5));
        }
        for output in outputs {
            match output {
                Output::Resumed { .. } => continue,
                Output::Entered { .. }
                | Output::Ended { .. }
                | Output::Pressed { .. }
                | Output::Began { .. } => {
                    panic!("something fires while rows are read: {output:?}")
                }
                Output::Queued { .. } => continue,
                other => self.note(other),
            }
            if self.crash_after.as_mut().is_some_and(|outputs| {
                *outputs -= 1;
                *outputs == 0
            }) {
                return self.crash();
            }
        }
        self.pass_time(self.now);
        self.check_outbox();
    }

    /// The engine knows the updates that it must know, and what each waits for.
    fn check_outbox(&mut self) {
        if self.calls.is_none() {
            return;
        }
        let Some(list) = self.outbox() else { return };
        let phase = |state| match state {
            UpdateState::Held => Phase::Held,
            UpdateState::Ready | UpdateState::Waiting => Phase::Waiting,
            UpdateState::InFlight => Phase::InFlight,
            UpdateState::Parked(why) => Phase::Parked(why),
        };
        let actual: BTreeMap<_, _> =
            list.iter().map(|(update, _, state)| (update.key(), phase(*state))).collect();
        assert_eq!(actual.len(), list.len(), "an update twice in the outbox");
        assert_eq!(self.model.outbox(), actual, "the outbox");
        let calls = self.calls.as_ref().expect("it runs");
        let Summary { calls: live, waiting, parked } = calls.summary();
        let parked_are = actual.values().filter(|phase| matches!(phase, Phase::Parked(_))).count();
        assert_eq!((self.model.live_count(), actual.len() - parked_are, parked_are), (live, waiting, parked));
    }

    fn outbox(&mut self) -> Option<Vec<(Arc<Update>, u64, UpdateState)>> {
        let (mut list, mut after) = (Vec::new(), 0);
        loop {
            let page = Page { after, limit: 7 };
            let answer = self.ask(Question::Outbox { only_parked: false, page })?;
            let Answer::Outbox(part, next) = answer else { panic!("no outbox: {answer:?}") };
            if self.calls.is_none() {
                return None;
            }
            list.extend(part.into_iter().map(|standing| (standing.update, standing.name, standing.state)));
            match next {
                Some(next) => after = next,
                None => return Some(list),
            }
        }
    }

    /// The operator looks, or does something.
    pub(super) fn operate(&mut self) {
        self.pass_time(self.now);
        if self.calls.is_none() || self.stopped {
            return;
        }
        self.check_outbox();
        let Some(list) = (if self.calls.is_some() { self.outbox() } else { None }) else { return };
        let named = match self.operator.below(list.len() as u64 + 1) as usize {
            0 => None,
            place => Some(&list[place - 1]),
        };
        let is_drop = self.operator.one_in(4) && named.is_some();
        let Some((update, name, state)) = named else { return self.retry_parked() };
        self.tell(|| format!("operator: {} {state:?}, drop: {is_drop}", update.call));
        let expected = match (is_drop, state) {
            (true, UpdateState::InFlight) => Answer::UpdateInFlight,
            (false, UpdateState::Parked(_)) if update.has_lost() => Answer::RawLost,
            _ => Answer::Changed(1),
        };
        let named = Named::One(*name);
        self.retrying = (!is_drop).then(|| update.key());
        let question = if is_drop { Question::Drop(named) } else { Question::Retry(named) };
        let answer = self.ask(question);
        self.retrying = None;
        assert_eq!(expected, answer.unwrap_or(expected.clone()), "the operator's {question:?}");
    }

    /// The operator has everything tried again that is parked.
    pub(super) fn retry_parked(&mut self) {
        self.retrying_all = Some(0);
        let answer = self.ask(Question::Retry(Named::AllParked));
        let retried = self.retrying_all.take();
        if let (Some(answer), Some(retried)) = (answer, retried) {
            assert_eq!(Answer::Changed(retried), answer, "what is tried again");
        }
    }

    /// An answer to the operator: what it changed is noted where it stands among the outputs.
    pub(super) fn answered(&mut self, answer: Answer) {
        if let Answer::Changed(_) = answer {
            if let Some(key) = &self.retrying {
                self.model.retried(Some(key), self.engine_now);
            } else if let Some(retried) = &mut self.retrying_all {
                *retried = self.model.retried(None, self.engine_now);
            }
        }
        self.answer = Some(answer);
    }

    /// An attempt leaves.
    pub(super) fn send(&mut self, Attempt { id, update, .. }: Attempt) {
        self.model.delivers(&update);
        let before = self.in_flight.insert(id, Arc::clone(&update));
        assert!(before.is_none(), "an attempt of what is in flight: {update:?}");
        assert!(self.in_flight.len() <= self.plan.bounds.attempts_max, "too many attempts in flight");
        assert!(!self.dropped.contains(&update.key()), "an attempt of what was dropped: {update:?}");
        let fate = self.api.receive(self.now);
        let reaches = self.now + fate.there_ms;
        if fate.applied {
            self.agenda.add(reaches, Action::Reaches(update));
        }
        self.agenda.add(reaches + fate.back_ms, Action::Answers(self.process, id, fate.outcome));
    }

    /// A request reaches the API, which writes the variables.
    pub(super) fn reaches(&mut self, update: &Update) {
        let said: Vec<_> = update.texts().map(|(name, value)| (name.to_string(), value.to_owned())).collect();
        let life = self.model.life_of(update);
        life.observed = true;
        let forgiven = life.forgiven;
        if let Some(before) = self.api.written.insert(update.key(), said.clone()) {
            assert!(before == said || forgiven, "the same key says something else: {before:?}, {said:?}");
        }
    }

    /// A transaction goes to the disk.
    pub(super) fn begin_commit(&mut self, commit: Commit) {
        for change in &commit.changes {
            let holds = |digits: &str| disk::holds_digits(change, &digits[..SHOWN_DIGITS]);
            if (holds(&self.secrets.card) || holds(&self.secrets.secret)) && !self.model.showed(change) {
                panic!("masked digits are written: {change:?}");
            }
        }
        self.totals.commits += 1;
        self.model.commit(&commit);
        self.commit = Some(commit);
        let fate = self.disk.receive(self.now);
        self.agenda.add(fate.at, Action::Written(self.process, fate));
    }

    /// The disk is through with it.
    pub(super) fn written(&mut self, fate: Fate) {
        let Some(number) = self.commit.as_ref().map(|commit| commit.number) else { return };
        if fate.applied {
            self.make_commit();
        }
        self.commit = None;
        self.receive(if fate.told { Incoming::Committed(number) } else { Incoming::Failed(number) });
    }

    fn make_commit(&mut self) {
        let commit = self.commit.take().expect("one is in flight");
        self.disk.rows.apply(&commit.changes);
        self.model.applied();
    }

    /// The database is set aside: what is in flight fails, and what was kept is gone.
    pub(super) fn lose_disk(&mut self, at: u64) {
        self.pass_time(at);
        if self.calls.is_none() || self.stopped || self.stopping.is_some() {
            return;
        }
        self.tell(|| "the database is set aside".to_owned());
        if let Some(commit) = self.commit.take() {
            self.model.failed(commit.number);
            self.handle(Event::CommitFailed(commit.number), at);
        }
        if self.calls.is_none() || self.commit.is_some() || self.model.awaits_answer() {
            return;
        }
        self.disk.lose(self.now);
        self.model.disk_lost();
        self.handle(Event::StoreLost, at);
    }

    /// The drain is over.
    pub(super) fn drained(&mut self, left: Summary) {
        let until = self.stopping.expect("it drains");
        assert!(self.now <= until + LATE_MS, "the drain took too long");
        assert_eq!(self.model.live_count(), left.calls, "calls that stay");
        if self.disk.is_well(self.now) {
            assert_eq!(None, self.model.dirty().map(|life| format!("{life:?}")), "left behind by a stop");
            // What is delivered later than four seconds after the signal may be delivered again.
            assert!(
                self.commit.is_none() || self.now >= until - 4_000,
                "a transaction is left behind by a stop"
            );
        }
        self.stopped = true;
    }

    /// The faults have stopped and nothing comes any more: nothing is left.
    pub(super) fn finish(&mut self) {
        self.now = self.now.max(self.plan.end);
        assert_eq!(0, self.model.live_count(), "calls that go on for ever");
        let left = self.model.outbox();
        let stuck = left.iter().find(|(_, phase)| !matches!(phase, Phase::Parked(_)));
        assert_eq!(None, stuck, "an update that goes on for ever");
        self.check_outbox();
        assert!(self.commit.is_none() && !self.model.awaits_answer(), "a transaction goes on for ever");
        self.tell(|| "the operator has what is parked tried again".to_owned());
        self.retry_parked();
        self.limit = self.now + DRAINED_IN_MS;
        self.run();
        let stuck = self.model.stuck().map(|left| format!("{left:?}"));
        assert_eq!(None, stuck, "it could be delivered");
        let answer = self.ask(Question::Drop(Named::AllParked));
        assert!(matches!(answer, Some(Answer::Changed(_))), "the operator drops the rest: {answer:?}");
        self.limit = self.now + DRAINED_IN_MS;
        self.run();
        self.check_disk();
        let rows = &self.disk.rows;
        assert!(rows.calls.is_empty() && rows.updates.is_empty(), "rows that nobody needs");
        let current = self.plan.trees[self.model.current].version;
        let trees = rows.trees.keys().filter(|version| **version != current);
        assert_eq!(0, trees.count(), "trees that nobody walks");
        for (key, variables) in self.model.delivered() {
            if self.dropped.contains(&key) {
                continue;
            }
            let written = self.api.written.get(&key);
            let written = written.unwrap_or_else(|| panic!("an update left silently: {key:?}"));
            assert!(variables.is_none_or(|variables| variables == *written), "what was written of {key:?}");
        }
    }
}
