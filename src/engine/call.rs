//! One call: what it waits for, its entry so far, and its walk through the tree (IVR.md sections 3 to 6).
//!
//! A call decides nothing about other calls, timers or deliveries: [`Call::deadline`] says until when
//! it waits, [`Call::end`] says that it has ended, and its owner sees to the rest.

mod row;
mod walk;

use std::collections::VecDeque;
use std::sync::Arc;

use super::calls::CallId;
use super::event::{Facts, Output, Reason, Source, Stamp, Tick, Verdict};
use super::ivr::{Content, Ivr, Mask, Node, NodeId};
use super::key::{Digits, Key};
use super::presses::Presses;
use super::variables::Record;

/// How many events of a call are kept to tell replays (IVR.md section 6).
const SEEN_MAX: usize = 16;
/// An event that is kept: its stamp above, its key in the low four bits, and between them
const STAMP_SHIFT: u32 = 6;
/// ... whether the key is, or may have become, part of a masked entry,
const HIDDEN: u64 = 1 << 4;
/// ... and whether it is not known any more, because of that.
const UNKNOWN: u64 = 1 << 5;

/// One call in progress.
#[derive(Debug)]
pub struct Call {
    pub(super) source: Source,
    pub(super) id: Arc<str>,
    facts: Option<Box<KnownFacts>>,
    ivr: Arc<Ivr>,
    began: Tick,
    /// Tells it from others of its id: when it began, or a little later where one began in the same
    /// instant.
    generation: Tick,
    /// Whether it writes nothing when it ends.
    dry: bool,

    node: NodeId,
    entry: Digits,
    attempt: Attempt,
    failures: Failures,
    steps: u32,
    /// The key that a commit left behind: dropped if it is the next digit and comes by then.
    trailing: Option<(Key, Tick)>,
    /// The last accepted events that had a stamp, the latest last.
    seen: Vec<u64>,

    record: Record,
    /// The nodes that were left for a named one, with the path's length before the move.
    back: Vec<(NodeId, u32)>,
    end: Option<End>,
    /// Failed attempts and node entries so far: what an observer can wait on.
    progress: u32,
    /// Whether the last key that was pressed met a node that masks its entries.
    met_mask: bool,
    /// What was pressed, where a history is kept.
    presses: Option<Presses>,
}

#[derive(Debug)]
struct KnownFacts {
    interaction: Option<Box<str>>,
    from: Option<Box<str>>,
    to: Option<Box<str>>,
}

/// One attempt at a node.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// When digits begin to count.
    guarded_until: Tick,
    /// When the first digit came; `maxMs` counts from it.
    first_digit: Option<Tick>,
    /// When it is decided without another digit; `None` waits for ever.
    until: Option<Tick>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Failures {
    no_input: u32,
    no_match: u32,
}

/// How a walk ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// With what.
    pub outcome: Arc<str>,
    /// Why.
    pub reason: Reason,
    /// Where: the end node, or the node that the call stood in.
    pub node: NodeId,
    /// When: as of the deadline, where one ended it.
    pub at: Tick,
    /// Whether it leaves an update to be delivered.
    pub writes: bool,
}

/// What a walk is told and where it says what happened.
pub(super) struct Surroundings<'a> {
    pub(super) call: CallId,
    pub(super) now: Tick,
    pub(super) outputs: &'a mut VecDeque<Output>,
    /// Scratch space for digits that a commit left over; empty before and after.
    pub(super) feed: &'a mut VecDeque<Key>,
}

/// What a call is from its first moment.
pub(super) struct Birth<'a> {
    pub(super) source: Source,
    pub(super) id: Arc<str>,
    pub(super) facts: Facts<'a>,
    pub(super) ivr: Arc<Ivr>,
    /// Whether it writes nothing when it ends.
    pub(super) dry: bool,
    pub(super) generation: Tick,
    /// Whether what is pressed is noted for the history.
    pub(super) is_recorded: bool,
}

impl Call {
    /// Begins a call at its first node.
    pub(super) fn begin(birth: Birth<'_>, around: &mut Surroundings<'_>) -> Call {
        let Birth { source, id, facts, ivr, dry, generation, is_recorded } = birth;
        let now = around.now;
        let node = ivr.entry(facts.to);
        let mut call = Call {
            source,
            id,
            facts: None,
            ivr,
            began: now,
            generation,
            dry,
            node,
            entry: Digits::EMPTY,
            attempt: Attempt { guarded_until: now, first_digit: None, until: None },
            failures: Failures::default(),
            steps: 0,
            trailing: None,
            seen: Vec::new(),
            record: Record::default(),
            back: Vec::new(),
            end: None,
            progress: 0,
            met_mask: false,
            presses: is_recorded.then(|| Presses::since(now)),
        };
        call.learn(facts);
        around.outputs.push_back(Output::Began { call: around.call });
        call.enter(node, Reason::Commit, around);
        // The digit that opens a call counts.
        call.attempt.guarded_until = now;
        call
    }

    /// Takes in what is known of the call; what was known before stays. Returns whether that is news.
    pub(super) fn learn(&mut self, facts: Facts<'_>) -> bool {
        if facts == Facts::default() {
            return false;
        }
        let known = self
            .facts
            .get_or_insert_with(|| Box::new(KnownFacts { interaction: None, from: None, to: None }));
        let mut is_news = false;
        let mut keep = |known: &mut Option<Box<str>>, told: Option<&str>| {
            if known.is_none() {
                *known = told.map(Box::from);
                is_news |= told.is_some();
            }
        };
        keep(&mut known.interaction, facts.interaction);
        keep(&mut known.from, facts.from);
        keep(&mut known.to, facts.to);
        is_news
    }

    /// Returns where the call's events come from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Returns the call's id in its source.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns what its variables are written to, where that is known to differ from the call.
    pub fn interaction(&self) -> Option<&str> {
        self.facts.as_ref().and_then(|facts| facts.interaction.as_deref())
    }

    /// Returns the number that was called, where it is known.
    pub fn to(&self) -> Option<&str> {
        self.facts.as_ref().and_then(|facts| facts.to.as_deref())
    }

    /// Returns whether it writes nothing when it ends.
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// Returns how many keys its entry has so far.
    pub fn entered(&self) -> usize {
        self.entry.len()
    }

    /// Takes out what was pressed, where a history is kept.
    pub(super) fn take_presses(&mut self) -> Option<Presses> {
        self.presses.take()
    }

    /// Returns the tree that it walks.
    pub fn ivr(&self) -> &Ivr {
        &self.ivr
    }

    /// Returns when it began.
    pub fn began(&self) -> Tick {
        self.began
    }

    /// Returns what tells it from other calls of its id.
    pub(super) fn generation(&self) -> Tick {
        self.generation
    }

    /// Returns the node that it stands in.
    pub fn node(&self) -> &Node {
        self.ivr.node(self.node)
    }

    /// Returns how the walk ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Returns how many node entries and failed attempts there have been.
    pub fn progress(&self) -> u32 {
        self.progress
    }

    /// Returns when [`Call::pass_deadline`] is due.
    pub(super) fn deadline(&self) -> Tick {
        let limit = self.began.after(self.ivr.limits.call_ms);
        self.attempt.until.map_or(limit, |until| until.min(limit))
    }

    /// Judges a key that was pressed (IVR.md section 4).
    pub(super) fn press(
        &mut self,
        key: Key,
        stamp: Option<Stamp>,
        reordered: &mut u64,
        around: &mut Surroundings<'_>,
    ) -> Verdict {
        let from = self.node;
        // It comes before what it causes, and is completed once that is known.
        let told = around.outputs.len();
        let (call, mut verdict) = (around.call, Verdict::Accepted);
        around.outputs.push_back(Output::Pressed { call, key, verdict, from, to: from, masked: true });
        self.met_mask = self.node().mask != Mask::Off;
        let is_control = self.is_control(key);
        let dropped = self.filter(key, stamp, reordered, around.now);
        verdict = dropped.unwrap_or_else(|| {
            around.feed.push_back(key);
            self.feed(false, around)
        });
        // What came before may have met another node than the one that its replay finds.
        let masked = self.met_mask || verdict == Verdict::Duplicate || self.may_reach_mask();
        if masked
            && dropped.is_none()
            && stamp.is_some()
            && let Some(event) = self.seen.last_mut()
        {
            *event |= HIDDEN;
        }
        if let Some(presses) = &mut self.presses {
            presses.note(around.now, (!masked || is_control).then_some(key), verdict);
        }
        around.outputs[told] = Output::Pressed { call, key, verdict, from, to: self.node, masked };
        verdict
    }

    /// Returns whether the key ends or clears an entry here, and so is no part of one.
    fn is_control(&self, key: Key) -> bool {
        let node = self.node();
        let cancel_key = match &node.content {
            Content::Entry(collect) => collect.cancel_key,
            Content::Menu(_) | Content::End(_) => None,
        };
        [node.end_key, cancel_key].contains(&Some(key))
    }

    /// Returns whether the last key of the entry may yet be handed on to a node that masks its entries.
    fn may_reach_mask(&self) -> bool {
        let node = self.node();
        node.is_menu()
            && node.longest_complete(self.entry).is_some_and(|len| len < self.entry.len())
            && self.ivr.nodes.iter().any(|node| node.mask != Mask::Off)
    }

    /// Returns why the key is dropped before it meets the node, if it is.
    fn filter(&mut self, key: Key, stamp: Option<Stamp>, reordered: &mut u64, now: Tick) -> Option<Verdict> {
        if stamp.is_some_and(|stamp| self.is_duplicate(key, stamp)) {
            return Some(Verdict::Duplicate);
        }
        if let Some((end_key, until)) = self.trailing.take()
            && key == end_key
            && now <= until
        {
            let begins = Digits::EMPTY.pushed(key).expect("there is room for one");
            let node = self.node();
            if !node.is_complete(begins) && !node.is_extendable(begins) {
                return Some(Verdict::TrailingEndKey);
            }
        }
        if now < self.attempt.guarded_until {
            return Some(Verdict::Guarded);
        }
        if let Some(stamp) = stamp {
            if self.seen.last().is_some_and(|&last| stamp < last >> STAMP_SHIFT) {
                *reordered += 1;
            }
            if self.seen.len() == SEEN_MAX {
                self.seen.remove(0);
            }
            self.seen.push(stamp << STAMP_SHIFT | u64::from(key.event()));
        }
        None
    }

    /// Returns whether the event came before, or is the bounce of the one before. Compared are events
    /// that met a node, whether it took them or not: a replay of either must not count again.
    fn is_duplicate(&self, key: Key, stamp: Stamp) -> bool {
        let is_key = |event: u64| event & UNKNOWN == 0 && event & 0xf == u64::from(key.event());
        let came_before =
            |&event: &u64| event >> STAMP_SHIFT == stamp && (event & UNKNOWN != 0 || is_key(event));
        let bounce_us = self.ivr.bounce_ms.saturating_mul(1000);
        let bounced = |&last: &u64| is_key(last) && (last >> STAMP_SHIFT).abs_diff(stamp) < bounce_us;
        self.seen.iter().any(came_before) || self.seen.last().is_some_and(bounced)
    }
}
