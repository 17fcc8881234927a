//! What a transaction holds, and what a crash leaves: every call is what the last transaction says.

use super::*;

impl Model<'_> {
    /// A transaction goes to the disk: whatever was noted before is in it.
    pub(in super::super) fn commit(&mut self, commit: &Commit) {
        assert!(self.in_flight.is_none(), "two transactions in flight");
        assert!(commit.changes.len() < 2_000, "more than the model thinks of");
        let mut rows = Vec::new();
        for change in &commit.changes {
            if let Change::PutCall(key, _) = change {
                let id = self.id(key.source, &key.id);
                let number = self.ids[id].live;
                let number = number.unwrap_or_else(|| panic!("a row of a call that is over: {key:?}"));
                let life = &mut self.lives[number];
                life.row = Some((life.steps.len(), life.seen));
                life.dirty = false;
                rows.push(number);
            }
        }
        let forgotten = self.lives.iter().find(|life| life.state == State::Live && life.dirty);
        assert!(forgotten.is_none(), "left out of a transaction: {forgotten:?}");
        let lives = self.lives.iter().map(|life| match life.state {
            State::Vanished => Kept::Absent,
            State::Discarded => Kept::Discarded,
            State::Live => {
                let (steps, seen) = life.row.expect("it is in this transaction or was in an earlier one");
                Kept::Live { steps, seen }
            }
            State::Ended => Kept::Ended(life.left.as_ref().and_then(|left| match left.phase {
                Phase::Gone => None,
                Phase::Parked(why) => Some((Some(why), left.since)),
                Phase::Held | Phase::Waiting | Phase::InFlight => Some((None, left.since)),
            })),
        });
        let ids = self.ids.iter().map(|id| id.remembered);
        let snapshot = Snapshot { lives: lives.collect(), ids: ids.collect() };
        self.in_flight = Some(InFlight { number: commit.number, rows, snapshot });
    }

    /// The disk has made the transaction in flight.
    pub(in super::super) fn applied(&mut self) {
        self.durable = self.in_flight.as_ref().expect("one is in flight").snapshot.clone();
    }

    /// The engine is told.
    pub(in super::super) fn committed(&mut self, number: u64) {
        let in_flight = self.in_flight.take().expect("one is in flight");
        assert_eq!(number, in_flight.number);
        for (life, kept) in self.lives.iter_mut().zip(&in_flight.snapshot.lives) {
            if matches!(kept, Kept::Ended(_)) && life.state == State::Ended {
                life.told = true;
                if let Some(left) = &mut life.left
                    && left.phase == Phase::Held
                {
                    left.phase = Phase::Waiting;
                }
            }
        }
    }

    pub(in super::super) fn failed(&mut self, number: u64) {
        let in_flight = self.in_flight.take().expect("one is in flight");
        assert_eq!(number, in_flight.number);
        for number in in_flight.rows {
            self.lives[number].dirty |= self.lives[number].state == State::Live;
        }
    }

    /// The database was set aside.
    pub(in super::super) fn disk_lost(&mut self) {
        self.durable = Snapshot::default();
        for life in &mut self.lives {
            life.dirty |= life.state == State::Live;
            life.forgiven |= life.state == State::Ended;
            life.recorded = false;
        }
    }

    /// Returns since when something has changed that no transaction in flight or made holds.
    pub(in super::super) fn dirty(&self) -> Option<&Life> {
        self.lives.iter().find(|life| life.state == State::Live && life.dirty)
    }

    /// What must be on the disk: calls in progress, and updates.
    pub(in super::super) fn on_disk(&self) -> (Vec<(Source, &str)>, Vec<UpdateKey>) {
        let kept = || self.lives.iter().zip(&self.durable.lives);
        let calls = kept().filter(|(_, kept)| matches!(kept, Kept::Live { .. }));
        let calls = calls.map(|(life, _)| (self.ids[life.id].source, &*self.ids[life.id].id));
        let updates = kept().filter(|(_, kept)| matches!(kept, Kept::Ended(Some(_))));
        let mut calls: Vec<_> = calls.collect();
        let mut updates: Vec<_> = updates.map(|(life, _)| self.key(life)).collect();
        calls.sort_unstable();
        updates.sort_unstable();
        (calls, updates)
    }

    /// Ends that are kept: their key, when and with what.
    pub(in super::super) fn ends_on_disk(&self) -> impl Iterator<Item = (RecordKey, &End)> {
        let kept = self.lives.iter().zip(&self.durable.lives);
        let ended = kept.filter(|(life, kept)| matches!(kept, Kept::Ended(_)) && life.recorded);
        ended.map(|(life, _)| {
            let id = &self.ids[life.id];
            let key = (id.source, id.id.clone(), Tick(life.began));
            (key, life.end.as_ref().expect("it has ended"))
        })
    }

    /// The process is gone: every call is what the last transaction says. Returns how old the oldest
    /// event was that is lost.
    pub(in super::super) fn crash(&mut self, now: u64) -> u64 {
        self.by_call.clear();
        self.in_flight = None;
        let mut loss = 0;
        self.ids.iter_mut().for_each(|id| (id.live, id.remembered) = (None, None));
        for (number, life) in self.lives.iter_mut().enumerate() {
            let kept = self.durable.lives.get(number).copied().unwrap_or(Kept::Absent);
            if life.state == State::Vanished {
                continue;
            }
            let was_observed = life.observed && !life.forgiven;
            match kept {
                Kept::Absent => {
                    assert!(!was_observed, "an end that was seen outside is gone: {life:?}");
                    // What had ended when the database was set aside is not lost by this crash.
                    if life.state == State::Live || life.state == State::Ended && !life.forgiven {
                        loss = loss.max(now - life.began);
                    }
                    life.state = State::Vanished;
                }
                Kept::Live { steps, seen } => {
                    assert!(!was_observed, "an end that was seen outside is undone: {life:?}");
                    // What changes nothing writes nothing: its loss is none.
                    let lost = life.steps[steps..].iter().find_map(|step| match step {
                        Step::Event(at, _, None | Some("accepted" | "trailing_end_key")) => Some(*at),
                        Step::Event(..) | Step::Restart { .. } => None,
                    });
                    loss = loss.max(lost.map_or(0, |at| now - at));
                    life.steps.truncate(steps);
                    (life.seen, life.state) = (seen, State::Live);
                    (life.row, life.dirty) = (Some((steps, seen)), false);
                    (life.end, life.left, life.told) = (None, None, false);
                    self.ids[life.id].live = Some(number);
                }
                Kept::Discarded => life.state = State::Discarded,
                Kept::Ended(update) => {
                    life.told = true;
                    if let Some(left) = &mut life.left {
                        left.not_yet = 0;
                        left.phase = match update {
                            None => Phase::Gone,
                            Some((Some(why), _)) => Phase::Parked(why),
                            Some((None, _)) => Phase::Waiting,
                        };
                        left.since = update.map_or(left.since, |(_, since)| since);
                        for (name, value) in &mut left.variables {
                            if left.raw.contains(name) {
                                *value = LOST.to_owned();
                            }
                        }
                    }
                }
            }
        }
        for (id, kept) in self.ids.iter_mut().zip(&self.durable.ids) {
            id.remembered = *kept;
        }
        loss
    }

    /// Another process goes on: what it holds is what was kept.
    pub(in super::super) fn restored(&mut self, resumed: &[(CallId, &Call)], now: u64) {
        let mut expected: Vec<usize> = self.ids.iter().filter_map(|id| id.live).collect();
        for (call_id, call) in resumed {
            let id = self.id(call.source(), call.id());
            let name = &self.ids[id].id;
            let number = self.ids[id].live.unwrap_or_else(|| panic!("{name} should not go on"));
            expected.retain(|other| *other != number);
            let life = &mut self.lives[number];
            self.by_call.insert(*call_id, number);
            life.steps.push(Step::Restart { at: now, seen: life.seen });
            let reference = replay(&self.trees[life.tree], name, life);
            let standing = reference.standing();
            let told = || format!("{name}: {:#?}\n{:#?}", life.steps, reference.transcript);
            let standing = standing.unwrap_or_else(|| panic!("it has ended: {}", told()));
            let names = |node: usize| self.trees[life.tree].ivr.nodes[node].name.to_string();
            let expected = (life.began, names(standing.node), standing.buffer.len(), life.dry);
            let actual = (call.began().0, call.node().name.to_string(), call.entered(), call.is_dry());
            assert_eq!(expected, actual, "a call that goes on: {}", told());
        }
        let missing: Vec<_> = expected.iter().map(|&number| &self.lives[number]).collect();
        assert!(missing.is_empty(), "calls that don't go on: {missing:#?}");
    }

    /// Whether the engine waits to hear of a transaction.
    pub(in super::super) fn awaits_answer(&self) -> bool {
        self.in_flight.is_some()
    }
}
