//! What happens to the engine, and what it wants done.

use std::sync::Arc;

use super::calls::CallId;
use super::commit::Commit;
use super::delivery::UpdateId;
use super::endpoint::Endpoint;
use super::ivr::{Ivr, NodeId};
use super::key::Key;
use super::ledger::Keeping;
use super::update::{Attempt, Outcome, Parked, Update, UpdateStanding};

/// A moment, in milliseconds from an origin that the driver chose (`serve` takes the Unix epoch).
///
/// It never goes back while the process lives: the driver maps its monotonic clock to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Tick(pub u64);

impl Tick {
    /// Returns the moment `ms` milliseconds later, or the last one there is.
    #[must_use]
    pub fn after(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }

    /// Returns how many milliseconds have passed since `earlier`; 0 if it is later.
    pub fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a call's events come from. A call is known by its source and its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// The tenant's voice WebSocket.
    Voice,
    /// The local API.
    Simulator,
}

impl Source {
    /// Every source.
    pub const ALL: [Source; 2] = [Source::Voice, Source::Simulator];

    /// Returns the source's name in keys, logs and answers.
    pub fn name(self) -> &'static str {
        match self {
            Source::Voice => "voice",
            Source::Simulator => "simulator",
        }
    }
}

/// An event's own timestamp, in microseconds since the Unix epoch, of a clock finer than seconds.
///
/// It serves to tell duplicates (IVR.md section 6), never deadlines.
pub type Stamp = u64;

/// What a call's start may tell of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Facts<'a> {
    /// What the variables are written to, where it differs from the call.
    pub interaction: Option<&'a str>,
    /// The caller's number.
    pub from: Option<&'a str>,
    /// The number that was called.
    pub to: Option<&'a str>,
}

/// What happens to the engine. Ids are borrowed: a digit costs no allocation.
#[derive(Clone, PartialEq, Debug)]
pub enum Event<'a> {
    /// A call began.
    CallStarted {
        /// Where the event comes from.
        source: Source,
        /// The call's id in that source.
        call: &'a str,
        /// What is known of it.
        facts: Facts<'a>,
    },
    /// A caller pressed a key.
    KeyPressed {
        /// Where the event comes from.
        source: Source,
        /// The call's id in that source.
        call: &'a str,
        /// The key.
        key: Key,
        /// The event's own time, where it has one that tells duplicates.
        stamp: Option<Stamp>,
    },
    /// The caller hung up.
    CallEnded {
        /// Where the event comes from.
        source: Source,
        /// The call's id in that source.
        call: &'a str,
    },
    /// Somebody asks; an [`Output::Answer`] with the same id follows.
    Asked(AskId, Question<'a>),
    /// An attempt at a delivery came back.
    AttemptFinished {
        /// The update that the attempt was for.
        id: UpdateId,
        /// What came of it.
        outcome: Outcome,
    },
    /// New calls walk this tree; calls in progress keep theirs.
    TreeLoaded(Arc<Ivr>),
    /// The transaction of this number was made, and survives the process.
    Committed(u64),
    /// The transaction of this number was not made, or nobody knows.
    CommitFailed(u64),
    /// What had been kept is gone: all of it is to be kept again.
    StoreLost,
    /// Take nothing new, deliver what is queued, then say [`Output::Drained`].
    ///
    /// Calls in progress stand still from here: no deadline of theirs fires any more.
    Drain {
        /// When to stop trying.
        until: Tick,
    },
}

/// Names a question, so that its answer finds the one who asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(pub u64);

/// What may be asked of the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question<'a> {
    /// Whether the engine is there.
    Ping,
    /// Press a key on a simulated call, which begins with it if need be.
    Press {
        /// The simulated call's id.
        call: &'a str,
        /// The key.
        key: Key,
        /// What a simulated press may do.
        reach: Reach,
    },
    /// Hang up a simulated call.
    HangUp {
        /// The simulated call's id.
        call: &'a str,
    },
    /// How a call in progress stands.
    Call {
        /// Where its events come from.
        source: Source,
        /// Its id in that source.
        call: &'a str,
    },
    /// How much there is of everything.
    Summary,
    /// How the calls in progress stand.
    Calls(Page),
    /// How the updates stand that are not acknowledged.
    Outbox {
        /// Only those that are set aside.
        only_parked: bool,
        /// Which of them.
        page: Page,
    },
    /// Try an update now.
    Retry(Named),
    /// Drop an update: it will never be written.
    Drop(Named),
}

/// A part of a long list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Where to go on: 0, or what the page before named.
    pub after: u64,
    /// How many entries at most.
    pub limit: usize,
}

/// Which updates an operator means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// The one of this name ([`UpdateStanding::name`]).
    One(u64),
    /// All that are set aside; where they are many, the first thousand of them.
    AllParked,
}

/// What a simulated press may do (`--simulator`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Calls of its own, which write variables when they end.
    Own,
    /// Calls of its own, which write nothing.
    Dry,
    /// As `Own`, and calls that the stream has shown, too.
    Live,
}

/// What the engine answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// It is there.
    Pong,
    /// The key was taken, and this is what it did.
    Pressed(Verdict),
    /// The stream has shown a call of this id: it is not the simulator's.
    OfTheStream,
    /// No such call is in progress.
    NoSuchCall,
    /// The call was hung up.
    HungUp,
    /// The engine drains and takes nothing new.
    Stopping,
    /// How the call stands.
    Call(CallStanding),
    /// How much there is of everything.
    Summary(Summary),
    /// Calls in progress, and where to go on if there are more.
    Calls(Vec<CallStanding>, Option<u64>),
    /// Updates, and where to go on if there may be more.
    Outbox(Vec<UpdateStanding>, Option<u64>),
    /// So many updates are tried now, or were dropped.
    Changed(usize),
    /// No update has this name.
    NoSuchUpdate,
    /// The attempt of this update is under way: nobody knows yet whether it arrives.
    UpdateInFlight,
    /// What this update held in clear is gone: it can only be dropped.
    RawLost,
}

/// How a call in progress stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallStanding {
    /// Where its events come from.
    pub source: Source,
    /// Its id in that source.
    pub id: String,
    /// What its variables are written to, where that differs from the call.
    pub interaction: Option<String>,
    /// Milliseconds since it began.
    pub age_ms: u64,
    /// 1 for the first attempt at its node.
    pub attempt: u32,
    /// How many keys its entry has so far.
    pub entered: usize,
    /// Whether it writes nothing when it ends.
    pub is_dry: bool,
    /// The node it stands in.
    pub node: String,
    /// Milliseconds until its next deadline.
    pub due_in_ms: u64,
    /// How many node entries and failed attempts it has behind it; it grows with every step.
    pub progress: u32,
}

/// How much there is of everything.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Calls in progress.
    pub calls: usize,
    /// Updates not yet acknowledged and not parked.
    pub waiting: usize,
    /// Updates set aside for an operator.
    pub parked: usize,
}

/// What became of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// It took the walk on: an entry grew, was committed, ended or was cleared.
    Accepted,
    /// It was pressed, but is not valid here.
    Rejected(NoMatch),
    /// The same event came before, or the key bounced (IVR.md section 6).
    Duplicate,
    /// The call has ended.
    Late,
    /// It ended an entry that was complete without it (IVR.md section 5).
    TrailingEndKey,
    /// It came too soon after the node was entered (`guardMs`).
    Guarded,
    /// It would have begun a call, and there is no room for one.
    Refused,
}

impl Verdict {
    /// Every verdict, for tables of counters.
    pub const ALL: [Verdict; 9] = [
        Verdict::Accepted,
        Verdict::Rejected(NoMatch::Invalid),
        Verdict::Rejected(NoMatch::Incomplete),
        Verdict::Rejected(NoMatch::Check),
        Verdict::Duplicate,
        Verdict::Late,
        Verdict::TrailingEndKey,
        Verdict::Guarded,
        Verdict::Refused,
    ];

    /// Returns the verdict's name in counters, logs and answers.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::Rejected(NoMatch::Invalid) => "invalid",
            Verdict::Rejected(NoMatch::Incomplete) => "incomplete",
            Verdict::Rejected(NoMatch::Check) => "check",
            Verdict::Duplicate => "duplicate",
            Verdict::Late => "late",
            Verdict::TrailingEndKey => "trailing_end_key",
            Verdict::Guarded => "guarded",
            Verdict::Refused => "refused",
        }
    }
}

/// Why what was pressed is no match.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NoMatch {
    /// Nothing here begins with it.
    Invalid,
    /// It was ended before it was complete.
    Incomplete,
    /// It failed its check or its range.
    Check,
}

/// Why a node was entered, an attempt failed, or a walk ended: the template `{reason}`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// An entry was committed, or the call began: `{reason}` is empty.
    Commit,
    /// Nothing was pressed in time.
    NoInput,
    /// What was pressed is not valid there.
    NoMatch(NoMatch),
    /// The call took too long or too many steps.
    Limit,
    /// The caller hung up.
    HangUp,
}

impl Reason {
    /// Returns what the template `{reason}` expands to.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Commit => "",
            Reason::NoInput => "noinput",
            Reason::NoMatch(NoMatch::Incomplete) => "incomplete",
            Reason::NoMatch(NoMatch::Invalid) => "invalid",
            Reason::NoMatch(NoMatch::Check) => "check",
            Reason::Limit => "limit",
            Reason::HangUp => "hangup",
        }
    }
}

/// What the engine wants done, or tells of.
///
/// A [`CallId`] in it can be looked up ([`Calls::call`](super::Calls::call)) until the output after the call's
/// `Ended` is polled.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// A call began; [`Output::Entered`] with its root follows.
    Began {
        /// The call.
        call: CallId,
    },
    /// A call that an earlier process held goes on where it stood.
    Resumed {
        /// The call.
        call: CallId,
    },
    /// A key was judged.
    Pressed {
        /// The call.
        call: CallId,
        /// The key.
        key: Key,
        /// What became of it.
        verdict: Verdict,
        /// The node it met.
        from: NodeId,
        /// The node the call stands in afterwards; the same where it didn't move.
        to: NodeId,
        /// Whether the key is, or may become, part of an entry that is not to be shown: one node may
        /// hand it on to another.
        masked: bool,
    },
    /// A key found no call that would take it.
    Dropped {
        /// Why.
        verdict: Verdict,
    },
    /// A node was entered, or offered again after a failed attempt.
    Entered {
        /// The call.
        call: CallId,
        /// The node.
        node: NodeId,
        /// 1 for the first attempt.
        attempt: u32,
        /// Why.
        reason: Reason,
    },
    /// A walk ended. [`Call::end`](super::Call::end) tells how.
    Ended {
        /// The call.
        call: CallId,
    },
    /// A simulated call was dropped without an end, because the stream has shown its id.
    Discarded {
        /// The call.
        call: CallId,
    },
    /// Make this transaction and answer with [`Event::Committed`] or [`Event::CommitFailed`].
    Commit(Commit),
    /// How keeping goes is another than before.
    KeepingIs(Keeping),
    /// Whether new calls walk the tree that was loaded last: [`TREES_MAX`](super::TREES_MAX) others are
    /// still walked where they don't.
    TreeTaken(bool),
    /// An update could not be kept in time and leaves all the same.
    Undurable {
        /// The update.
        update: Arc<Update>,
    },
    /// An operator dropped an update: it will never be written.
    DroppedByOperator {
        /// Named it; the name is free again.
        id: UpdateId,
        /// The update.
        update: Arc<Update>,
    },
    /// A call left an update behind, or an earlier process did, and it waits to be delivered.
    Queued {
        /// Names it.
        id: UpdateId,
        /// The update.
        update: Arc<Update>,
    },
    /// Make one attempt at a delivery and answer with [`Event::AttemptFinished`].
    Deliver(Attempt),
    /// An update was acknowledged.
    Delivered {
        /// Names the update; the name is free again.
        id: UpdateId,
        /// The update.
        update: Arc<Update>,
        /// How many attempts it took.
        attempts: u32,
    },
    /// An update waits for another attempt.
    Retrying {
        /// The update.
        update: Arc<Update>,
        /// How many attempts it has had.
        attempts: u32,
        /// What the last one came to.
        outcome: Outcome,
        /// Milliseconds until it is due again; the endpoint's state may hold it longer.
        wait_ms: u64,
    },
    /// An update was set aside for an operator.
    Parked {
        /// The update.
        update: Arc<Update>,
        /// How many attempts it had.
        attempts: u32,
        /// Why.
        why: Parked,
    },
    /// The endpoint that updates go to is in another state than before.
    EndpointIs(Endpoint),
    /// The answer to a question.
    Answer(AskId, Answer),
    /// Nothing more will be delivered: the drain is over.
    Drained(Summary),
}
