//! What each update waits for, and whether it says what the reference wrote.

use super::*;

impl Model<'_> {
    /// Returns the life that left an update.
    pub(in super::super) fn life_of(&mut self, update: &Update) -> &mut Life {
        let number = self.by_key.get(&update.key());
        let number = *number.unwrap_or_else(|| panic!("nobody knows this update: {update:?}"));
        &mut self.lives[number]
    }

    /// An update waits: it holds what the reference wrote.
    pub(in super::super) fn queued(&mut self, update: &Update, now: u64) {
        let id = self.by_id.get(&(update.source, update.call.to_string()));
        let ended = |life: &&mut Life| life.state == State::Ended && Some(&life.id) == id;
        let left_now = |life: &&mut Life| life.left.as_ref().is_some_and(|left| left.queued_at == u64::MAX);
        let mut found = self.lives.iter_mut().enumerate().filter(|(_, life)| ended(life) && left_now(life));
        let Some((number, life)) = found.next() else { panic!("nobody left this update: {update:?}") };
        assert!(found.next().is_none(), "two updates of {:?} at once", update.call);
        assert!(life.generation.is_none_or(|before| before == update.generation), "another generation");
        assert!(update.generation.0 - life.began < 10, "the generation of {life:?}: {update:?}");
        life.generation = Some(update.generation);
        if let Some(before) = self.by_key.insert(update.key(), number) {
            let is_it = before == number || self.lives[before].state == State::Vanished;
            assert!(is_it, "two calls of one generation: {:?} {update:?}", self.lives[before]);
        }
        let life = &mut self.lives[number];
        let (end, left) = match (&life.end, &mut life.left) {
            (Some(end), Some(left)) => (end, left),
            _ => panic!("an update of a call that left none: {life:?}"),
        };
        assert_eq!(end.at, update.ended, "when an update's call ended: {life:?}");
        assert_eq!(left.interaction, update.interaction());
        left.queued_at = now;
        same_variables(left, update);
    }

    /// An attempt leaves.
    pub(in super::super) fn delivers(&mut self, update: &Update) {
        let life = self.life_of(update);
        let (told, forgiven) = (life.told, life.forgiven);
        assert!(told || forgiven, "an update leaves before its call's end is kept: {life:?}");
        let left =
            life.left.as_mut().unwrap_or_else(|| panic!("an attempt of what left no update: {update:?}"));
        assert_eq!(Phase::Waiting, left.phase, "an attempt leaves: {update:?}");
        assert!(!update.has_lost(), "an update leaves without what was lost: {update:?}");
        same_variables(left, update);
        left.phase = Phase::InFlight;
    }

    /// An attempt came back, and this is what the engine makes of it.
    pub(in super::super) fn parked(&mut self, update: &Update, why: Parked, last: Option<Outcome>, now: u64) {
        let life = self.life_of(update);
        let left = life.left.as_mut().expect("it left an update");
        match why {
            Parked::Rejected { status } => assert_eq!(Some(Outcome::Rejected { status }), last),
            Parked::NotFound { status } => {
                assert_eq!(Some(Outcome::NotYet { status }), last);
                assert_eq!(5, left.not_yet, "tries of what is missing");
            }
            Parked::TooOld => assert!(now >= left.since + KEPT_MS, "parked too early: {left:?} at {now}"),
            Parked::RawLost => assert!(update.has_lost(), "nothing was lost: {update:?}"),
        }
        assert!(!matches!(left.phase, Phase::Parked(_) | Phase::Gone), "parked twice: {left:?}");
        left.phase = Phase::Parked(why);
    }

    /// An operator had what is parked tried again. Returns how many there were.
    pub(in super::super) fn retried(&mut self, only: Option<&UpdateKey>, now: u64) -> usize {
        let only = only.map(|key| self.by_key[key]);
        let mut retried = 0;
        for (number, life) in self.lives.iter_mut().enumerate() {
            let Some(left) = &mut life.left else { continue };
            if life.state == State::Ended
                && only.is_none_or(|only| only == number)
                && matches!(left.phase, Phase::Parked(_))
                && !left.is_lost()
            {
                left.phase = Phase::Waiting;
                (left.since, left.not_yet) = (now, 0);
                retried += 1;
            }
        }
        retried
    }

    /// Updates that wait to be kept, since when.
    pub(in super::super) fn held(&self) -> impl Iterator<Item = (u64, &Life)> {
        let held = self.lives.iter().filter(|life| life.state == State::Ended);
        held.filter_map(|life| match &life.left {
            Some(left) if left.phase == Phase::Held => Some((left.queued_at, life)),
            _ => None,
        })
    }

    /// Whether an update is gone for good.
    pub(in super::super) fn is_gone(&self, key: &UpdateKey) -> bool {
        let life = self.by_key.get(key).map(|&number| &self.lives[number]);
        let left = life.filter(|life| life.state == State::Ended).and_then(|life| life.left.as_ref());
        left.is_some_and(|left| left.phase == Phase::Gone)
    }

    pub(in super::super) fn key(&self, life: &Life) -> UpdateKey {
        let id = &self.ids[life.id];
        UpdateKey {
            source: id.source,
            call: id.id.as_str().into(),
            generation: life.generation.expect("it has left an update"),
        }
    }

    /// Updates that must be known to the engine, with what they wait for.
    pub(in super::super) fn outbox(&self) -> BTreeMap<UpdateKey, Phase> {
        let ended = self.lives.iter().filter(|life| life.state == State::Ended);
        let waits = ended.filter_map(|life| Some((life, life.left.as_ref()?.phase)));
        waits
            .filter(|(_, phase)| *phase != Phase::Gone)
            .map(|(life, phase)| (self.key(life), phase))
            .collect()
    }

    /// Updates that are gone, with what they said, where that is certain.
    pub(in super::super) fn delivered(&self) -> Vec<(UpdateKey, Option<Vec<(String, String)>>)> {
        let ended = self.lives.iter().filter(|life| life.state == State::Ended);
        let left = ended.filter_map(|life| Some((life, life.left.as_ref()?)));
        left.filter(|(_, left)| left.phase == Phase::Gone)
            .map(|(life, left)| {
                let is_sure = !life.forgiven && left.raw.is_empty();
                (self.key(life), is_sure.then(|| left.variables.clone()))
            })
            .collect()
    }

    /// Returns an update that is parked, though it could be written.
    pub(in super::super) fn stuck(&self) -> Option<&Left> {
        let ended = self.lives.iter().filter(|life| life.state == State::Ended);
        let mut left = ended.filter_map(|life| life.left.as_ref());
        left.find(|left| left.phase != Phase::Gone && !left.is_lost())
    }
}

/// An update says what the reference wrote, but for what was lost.
fn same_variables(left: &Left, update: &Update) {
    let actual: Vec<_> = update
        .variables
        .iter()
        .map(|variable| (variable.name.to_string(), variable.value.as_str().unwrap_or(LOST).to_owned()))
        .collect();
    assert_eq!(left.variables, actual, "the variables of {}", update.call);
}
