//! What must come out: the events of each call that count, played by the reference (`reference.rs`).
//!
//! A call's events are noted as the engine takes them. A transaction holds everything that was noted
//! before it; a crash cuts every call back to the last transaction that was made.

mod kept;
mod updates;

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
            What::Start { interaction, from, to } => [interaction, from, to].map(Option::is_some),
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
