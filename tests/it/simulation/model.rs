//! What must come out: the events of each call that count, played by the reference (`reference.rs`).
//!
//! A call's events are noted as the engine takes them. A transaction holds everything that was noted
//! before it; a crash cuts every call back to the last transaction that was made.

use std::collections::BTreeMap;

use dtmfd::engine::{
    Call, CallId, Change, Commit, End, Mask, NodeId, Outcome, Parked, Reason, Source, Tick, Update, UpdateKey,
};

use super::callers::{SECRET_DIGITS, SHOWN_DIGITS};
use super::disk::RecordKey;
use crate::reference::{LOST, Reference, Seen, Tree, What};

/// How long an ended call is remembered (IVR.md section 5), by its source and whether it hung up.
fn remembered_ms(source: Source, hung_up: bool) -> u64 {
    match (source, hung_up) {
        (Source::Simulator, _) => 2_000,
        (Source::Voice, true) => 600_000,
        (Source::Voice, false) => 43_200_000,
    }
}
/// A late event moves the day of forgetting by steps of this.
const EXTENDED_BY_MS: u64 = 600_000;
/// An update is tried for so long.
const KEPT_MS: u64 = 86_400_000;

#[derive(Clone, Debug)]
enum Step {
    Event(u64, What, Option<&'static str>),
    /// Another process went on, when so much had been seen.
    Restart {
        at: u64,
        seen: usize,
    },
}

/// An ended call is remembered: for certain until the first, in no case after the second.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Remembered {
    surely_until: u64,
    at_most_until: u64,
    hung_up: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Live,
    Ended,
    Discarded,
    /// It began after the last transaction that was made.
    Vanished,
}

/// What an update waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Held,
    Waiting,
    InFlight,
    Parked(Parked),
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct Left {
    interaction: String,
    variables: Vec<(String, String)>,
    /// Those that hold a masked entry in clear.
    raw: Vec<String>,
    pub(super) phase: Phase,
    pub(super) since: u64,
    pub(super) queued_at: u64,
    pub(super) not_yet: u32,
}

impl Left {
    /// Whether it can't be written any more: a process that knew what to write has ended.
    pub(super) fn is_lost(&self) -> bool {
        self.variables.iter().any(|(_, value)| value == LOST)
    }
}

/// A call from its beginning to its end.
#[derive(Debug)]
pub(super) struct Life {
    id: usize,
    tree: usize,
    began: u64,
    /// Known once it has left an update.
    generation: Option<Tick>,
    dry: bool,
    steps: Vec<Step>,
    /// How many entries and ends the engine has told of.
    seen: usize,
    row: Option<(usize, usize)>,
    dirty: bool,
    pub(super) state: State,
    end: Option<End>,
    pub(super) left: Option<Left>,
    /// What was lost of it, or is not sure: another end than one that was seen outside is no surprise.
    pub(super) forgiven: bool,
    /// The engine was told that its end is kept.
    told: bool,
    /// Its variables have arrived.
    pub(super) observed: bool,
    recorded: bool,
    /// How many digits of those that nobody may see it entered where they are shown.
    shown: usize,
}

impl Life {
    /// Whether a start tells anything that those before have not.
    fn learns(&self, start: &What) -> bool {
        let facts = |what: &What| match what {
            What::Start { interaction, from, to } => {
                [interaction, from, to].map(Option::is_some)
            }
            What::Key { .. } | What::HangUp => [false; 3],
        };
        let known = self.steps.iter().map(|step| match step {
            Step::Event(_, what, _) => facts(what),
            Step::Restart { .. } => [false; 3],
        });
        let known = known.fold([false; 3], |known, more| [0, 1, 2].map(|fact| known[fact] || more[fact]));
        (0..3).any(|fact| facts(start)[fact] && !known[fact])
    }
}

struct Id {
    source: Source,
    id: String,
    live: Option<usize>,
    remembered: Option<Remembered>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kept {
    Absent,
    Live { steps: usize, seen: usize },
    Ended(Option<(Option<Parked>, u64)>),
    Discarded,
}

/// Everything that a transaction leaves on the disk.
#[derive(Clone, Default)]
struct Snapshot {
    lives: Vec<Kept>,
    ids: Vec<Option<Remembered>>,
}

struct InFlight {
    number: u64,
    rows: Vec<usize>,
    snapshot: Snapshot,
}

/// What the engine is being told while its outputs are read.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    pub(super) id: String,
    pub(super) at: u64,
    pub(super) what: What,
    /// Began with it.
    pub(super) began: Option<usize>,
    pub(super) answered: bool,
}

pub(super) struct Model<'t> {
    trees: &'t [Tree<'t>],
    pub(super) current: usize,
    ids: Vec<Id>,
    by_id: BTreeMap<(Source, String), usize>,
    pub(super) lives: Vec<Life>,
    by_key: BTreeMap<UpdateKey, usize>,
    by_call: BTreeMap<CallId, usize>,
    in_flight: Option<InFlight>,
    durable: Snapshot,
    pub(super) undurable: u64,
}

impl<'t> Model<'t> {
    pub(super) fn new(trees: &'t [Tree<'t>]) -> Model<'t> {
        Model {
            trees,
            current: 0,
            ids: Vec::new(),
            by_id: BTreeMap::new(),
            lives: Vec::new(),
            by_key: BTreeMap::new(),
            by_call: BTreeMap::new(),
            in_flight: None,
            durable: Snapshot::default(),
            undurable: 0,
        }
    }

    fn id(&mut self, source: Source, id: &str) -> usize {
        if let Some(&known) = self.by_id.get(&(source, id.to_owned())) {
            return known;
        }
        self.ids.push(Id { source, id: id.to_owned(), live: None, remembered: None });
        self.by_id.insert((source, id.to_owned()), self.ids.len() - 1);
        self.ids.len() - 1
    }

    pub(super) fn live(&mut self, source: Source, id: &str) -> Option<usize> {
        let id = self.id(source, id);
        self.ids[id].live
    }

    /// Whether the stream has shown an id, or may have: at its edges nobody knows for certain.
    pub(super) fn may_be_of_the_stream(&mut self, id: &str, at: u64) -> bool {
        let id = self.id(Source::Voice, id);
        let Id { live, remembered, .. } = &self.ids[id];
        live.is_some() || remembered.is_some_and(|before| at < before.at_most_until)
    }

    pub(super) fn live_count(&self) -> usize {
        self.ids.iter().filter(|id| id.live.is_some()).count()
    }

    /// A call began.
    pub(super) fn began(&mut self, call_id: CallId, call: &Call, taking: &mut Option<Taking>) {
        let taking = taking.as_mut().expect("a call begins with an event");
        let id = self.id(call.source(), call.id());
        let Id { live, remembered, id: name, .. } = &mut self.ids[id];
        assert_eq!(*name, taking.id, "another call began");
        assert_eq!(None, *live, "{name} began while it was in progress");
        assert_eq!(call.began().0, taking.at, "{name} began at another time");
        let before = remembered.take();
        if let (Some(before), What::Key { .. }) = (before, &taking.what) {
            assert!(taking.at >= before.surely_until, "a late digit opened a second walk of {name}");
        }
        assert_eq!(self.trees[self.current].ivr.version, call.ivr().version, "{name} walks another tree");
        let number = self.lives.len();
        *live = Some(number);
        self.lives.push(Life {
            id,
            tree: self.current,
            began: call.began().0,
            generation: None,
            dry: call.is_dry(),
            steps: vec![Step::Event(taking.at, taking.what.clone(), None)],
            seen: 0,
            row: None,
            dirty: true,
            state: State::Live,
            end: None,
            left: None,
            forgiven: false,
            told: false,
            observed: false,
            recorded: true,
            shown: 0,
        });
        taking.began = Some(number);
        self.by_call.insert(call_id, number);
    }

    fn life(&mut self, call: CallId) -> &mut Life {
        let number = *self.by_call.get(&call).expect("an output speaks of a call that began");
        &mut self.lives[number]
    }

    /// A key was judged.
    pub(super) fn pressed(&mut self, call: CallId, verdict: &'static str, taking: &mut Option<Taking>) {
        let taking = taking.as_mut().expect("a key was pressed");
        assert!(!taking.answered, "a key was judged twice");
        taking.answered = true;
        let number = self.by_call[&call];
        let life = &mut self.lives[number];
        if taking.began == Some(number) {
            let Some(Step::Event(.., judged)) = life.steps.last_mut() else {
                unreachable!("it began with it")
            };
            *judged = Some(verdict);
        } else {
            life.steps.push(Step::Event(taking.at, taking.what.clone(), Some(verdict)));
        }
        life.dirty |= matches!(verdict, "accepted" | "trailing_end_key");
    }

    /// A key met a node: a caller who is lost may enter a card where it is shown.
    pub(super) fn met(&mut self, call: CallId, key: char, node: NodeId) {
        let trees = self.trees;
        let life = self.life(call);
        let is_shown = trees[life.tree].ivr.node(node).mask == Mask::Off;
        life.shown += usize::from(is_shown && SECRET_DIGITS.contains(&key));
    }

    /// Whether a caller entered enough where it is shown for a card to be in this row.
    pub(super) fn showed(&self, change: &Change) -> bool {
        let (source, call) = match change {
            Change::PutCall(key, _) => (key.source, &*key.id),
            Change::PutUpdate(key, _) => (key.source, &*key.call),
            Change::Record(record) => (record.source, &*record.id),
            other => unreachable!("it holds no digits: {other:?}"),
        };
        let is_it = |life: &&Life| self.ids[life.id].source == source && self.ids[life.id].id == call;
        self.lives.iter().filter(is_it).any(|life| life.shown >= SHOWN_DIGITS)
    }

    /// A key found no call.
    pub(super) fn dropped(&mut self, source: Source, verdict: &'static str, taking: &mut Option<Taking>) {
        let taking = taking.as_mut().expect("a key was pressed");
        assert!(!taking.answered, "a key was judged twice");
        taking.answered = true;
        if verdict == "refused" {
            return;
        }
        assert_eq!("late", verdict, "a key that found no call");
        if taking.began.is_some() {
            return;
        }
        let id = self.id(source, &taking.id);
        let Id { live, remembered, id: name, .. } = &mut self.ids[id];
        assert_eq!(None, *live, "{name} is in progress, and a key of it came too late");
        let Some(before) = remembered else { panic!("a key of {name} was late, and nothing had ended") };
        assert!(taking.at < before.at_most_until, "{name} is remembered for too long");
        if source == Source::Voice {
            let until = taking.at + remembered_ms(source, false);
            if !before.hung_up {
                before.surely_until = before.surely_until.max(until - EXTENDED_BY_MS);
                before.at_most_until = before.at_most_until.max(until);
            }
        }
    }

    /// A start told more of a call in progress, or found no room.
    pub(super) fn started(&mut self, source: Source, taking: &Taking) {
        let id = self.id(source, &taking.id);
        match self.ids[id].live {
            Some(number) => {
                let life = &mut self.lives[number];
                let is_news = life.learns(&taking.what);
                let told = (!is_news).then_some("no news");
                life.steps.push(Step::Event(taking.at, taking.what.clone(), told));
                life.dirty |= is_news;
            }
            None => self.ids[id].remembered = None,
        }
    }

    /// The caller hung up after the end.
    pub(super) fn hung_up_late(&mut self, source: Source, id: &str, at: u64) {
        let id = self.id(source, id);
        let until = at + remembered_ms(source, true);
        self.ids[id].remembered = match self.ids[id].remembered {
            Some(before) if at < before.surely_until => {
                Some(Remembered { surely_until: until, at_most_until: until, hung_up: true })
            }
            Some(before) if at < before.at_most_until => {
                Some(Remembered { surely_until: before.surely_until, at_most_until: until, hung_up: true })
            }
            _ => None,
        };
    }

    pub(super) fn entered(&mut self, call: CallId) {
        let life = self.life(call);
        life.seen += 1;
        life.dirty = true;
    }

    pub(super) fn discarded(&mut self, call: CallId) {
        let number = self.by_call.remove(&call).expect("an output speaks of a call that began");
        let life = &mut self.lives[number];
        life.state = State::Discarded;
        let id = &mut self.ids[life.id];
        assert_eq!((Source::Simulator, Some(number)), (id.source, id.live.take()));
    }

    /// A walk ended: the reference says the same, or it is wrong.
    pub(super) fn ended(&mut self, call: CallId, end: &End, taking: Option<&Taking>, now: u64) -> u64 {
        let number = self.by_call.remove(&call).expect("an output speaks of a call that began");
        let life = &mut self.lives[number];
        if end.reason == Reason::HangUp {
            let taking = taking.expect("the caller hung up");
            life.steps.push(Step::Event(taking.at, What::HangUp, None));
        }
        life.seen += 1;
        let name = &self.ids[life.id].id;
        let reference = replay(&self.trees[life.tree], name, life);
        let told = || format!("{name}: {:#?}\n{:#?}\n{end:?}", life.steps, reference.transcript);
        let mut wrote = None;
        let mut seen = reference.transcript.seen.iter();
        let is_end = |seen: &&Seen| matches!(seen, Seen::Ended { .. });
        let Some(Seen::Ended { at, node, outcome, reason }) = seen.find(is_end) else {
            panic!("the reference has no end: {}", told())
        };
        if let Some(Seen::Wrote { interaction, variables, .. }) = seen.next() {
            wrote = Some((interaction.clone(), variables.clone()));
        }
        let expected = (*at, *node, &**outcome, *reason);
        let actual = (end.at.0, end.node.0 as usize, &*end.outcome, end.reason.name());
        assert_eq!(expected, actual, "an end: {}", told());
        let count =
            reference.transcript.seen.iter().filter(|seen| !matches!(seen, Seen::Wrote { .. })).count();
        assert_eq!(count, life.seen, "entries and ends: {}", told());
        let verdicts = reference.transcript.verdicts.iter().map(|(.., verdict)| *verdict);
        for (step, expected) in life.steps.iter().filter(is_key).zip(verdicts) {
            let Step::Event(_, _, judged) = step else { unreachable!("it is a key") };
            assert_eq!(expected, judged.unwrap_or(expected), "a verdict: {}", told());
        }
        assert_eq!(wrote.is_some() && !life.dry, end.writes, "whether it writes: {}", told());
        let raw = reference.raw.clone();
        life.end = Some(end.clone());
        life.state = State::Ended;
        life.left = wrote.filter(|_| !life.dry).map(|(interaction, variables)| Left {
            interaction,
            variables,
            raw,
            phase: Phase::Held,
            since: end.at.0,
            queued_at: u64::MAX,
            not_yet: 0,
        });
        let lasted = end.at.0 - life.began;
        let id = &mut self.ids[life.id];
        assert_eq!(Some(number), id.live.take(), "the end of a call in progress");
        let hung_up = end.reason == Reason::HangUp;
        let stay = remembered_ms(id.source, hung_up);
        let (surely_until, at_most_until) = (end.at.0 + stay, end.at.0.max(now) + stay);
        id.remembered = Some(Remembered { surely_until, at_most_until, hung_up });
        lasted
    }

    /// Returns the life that left an update.
    pub(super) fn life_of(&mut self, update: &Update) -> &mut Life {
        let number = self.by_key.get(&update.key());
        let number = *number.unwrap_or_else(|| panic!("nobody knows this update: {update:?}"));
        &mut self.lives[number]
    }

    /// An update waits: it holds what the reference wrote.
    pub(super) fn queued(&mut self, update: &Update, now: u64) {
        let id = self.by_id.get(&(update.source, update.call.to_string()));
        let ended = |life: &&mut Life| life.state == State::Ended && Some(&life.id) == id;
        let left_now = |life: &&mut Life| life.left.as_ref().is_some_and(|left| left.queued_at == u64::MAX);
        let mut found = self.lives.iter_mut().enumerate().filter(|(_, life)| ended(&life) && left_now(&life));
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
    pub(super) fn delivers(&mut self, update: &Update) {
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
    pub(super) fn parked(&mut self, update: &Update, why: Parked, last: Option<Outcome>, now: u64) {
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
    pub(super) fn retried(&mut self, only: Option<&UpdateKey>, now: u64) -> usize {
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

    /// A transaction goes to the disk: whatever was noted before is in it.
    pub(super) fn commit(&mut self, commit: &Commit) {
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
    pub(super) fn applied(&mut self) {
        self.durable = self.in_flight.as_ref().expect("one is in flight").snapshot.clone();
    }

    /// The engine is told.
    pub(super) fn committed(&mut self, number: u64) {
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

    pub(super) fn failed(&mut self, number: u64) {
        let in_flight = self.in_flight.take().expect("one is in flight");
        assert_eq!(number, in_flight.number);
        for number in in_flight.rows {
            self.lives[number].dirty |= self.lives[number].state == State::Live;
        }
    }

    /// The database was set aside.
    pub(super) fn disk_lost(&mut self) {
        self.durable = Snapshot::default();
        for life in &mut self.lives {
            life.dirty |= life.state == State::Live;
            life.forgiven |= life.state == State::Ended;
            life.recorded = false;
        }
    }

    /// Updates that wait to be kept, since when.
    pub(super) fn held(&self) -> impl Iterator<Item = (u64, &Life)> {
        let held = self.lives.iter().filter(|life| life.state == State::Ended);
        held.filter_map(|life| match &life.left {
            Some(left) if left.phase == Phase::Held => Some((left.queued_at, life)),
            _ => None,
        })
    }

    /// Returns since when something has changed that no transaction in flight or made holds.
    pub(super) fn dirty(&self) -> Option<&Life> {
        self.lives.iter().find(|life| life.state == State::Live && life.dirty)
    }

    /// What must be on the disk: calls in progress, and updates.
    pub(super) fn on_disk(&self) -> (Vec<(Source, &str)>, Vec<UpdateKey>) {
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
    pub(super) fn ends_on_disk(&self) -> impl Iterator<Item = (RecordKey, &End)> {
        let kept = self.lives.iter().zip(&self.durable.lives);
        let ended = kept.filter(|(life, kept)| matches!(kept, Kept::Ended(_)) && life.recorded);
        ended.map(|(life, _)| {
            let id = &self.ids[life.id];
            let key = (id.source, id.id.clone(), Tick(life.began));
            (key, life.end.as_ref().expect("it has ended"))
        })
    }

    /// Whether an update is gone for good.
    pub(super) fn is_gone(&self, key: &UpdateKey) -> bool {
        let life = self.by_key.get(key).map(|&number| &self.lives[number]);
        let left = life.filter(|life| life.state == State::Ended).and_then(|life| life.left.as_ref());
        left.is_some_and(|left| left.phase == Phase::Gone)
    }

    fn key(&self, life: &Life) -> UpdateKey {
        let id = &self.ids[life.id];
        UpdateKey {
            source: id.source,
            call: id.id.as_str().into(),
            generation: life.generation.expect("it has left an update"),
        }
    }

    /// The process is gone: every call is what the last transaction says. Returns how old the oldest
    /// event was that is lost.
    pub(super) fn crash(&mut self, now: u64) -> u64 {
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
    pub(super) fn restored(&mut self, resumed: &[(CallId, &Call)], now: u64) {
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

    /// Updates that must be known to the engine, with what they wait for.
    pub(super) fn outbox(&self) -> BTreeMap<UpdateKey, Phase> {
        let ended = self.lives.iter().filter(|life| life.state == State::Ended);
        let waits = ended.filter_map(|life| Some((life, life.left.as_ref()?.phase)));
        waits
            .filter(|(_, phase)| *phase != Phase::Gone)
            .map(|(life, phase)| (self.key(life), phase))
            .collect()
    }

    /// Whether the engine waits to hear of a transaction.
    pub(super) fn awaits_answer(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Updates that are gone, with what they said, where that is certain.
    pub(super) fn delivered(&self) -> Vec<(UpdateKey, Option<Vec<(String, String)>>)> {
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
    pub(super) fn stuck(&self) -> Option<&Left> {
        let ended = self.lives.iter().filter(|life| life.state == State::Ended);
        let mut left = ended.filter_map(|life| life.left.as_ref());
        left.find(|left| left.phase != Phase::Gone && !left.is_lost())
    }

    /// How each call went: for comparing runs.
    pub(super) fn results(&self) -> Vec<String> {
        let mut results: Vec<_> = self
            .lives
            .iter()
            .map(|life| {
                let id = &self.ids[life.id];
                let left = life.left.as_ref().map(|left| (&left.interaction, &left.variables));
                format!("{:?} {} {} {:?} {:?} {left:?}", id.source, id.id, life.began, life.state, life.end)
            })
            .collect();
        results.sort_unstable();
        results
    }
}

fn is_key(step: &&Step) -> bool {
    matches!(step, Step::Event(_, What::Key { .. }, _))
}

/// Plays what counts of a call.
fn replay<'t>(tree: &'t Tree<'t>, id: &str, life: &Life) -> Reference<'t> {
    let mut reference = Reference::of(id, tree);
    for step in &life.steps {
        match step {
            Step::Event(at, what, _) => reference.happens(*at, what),
            Step::Restart { at, seen } => {
                reference.pass_until_seen(*seen);
                reference.restart(*at);
            }
        }
    }
    reference.pass_until_seen(life.seen);
    reference
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
