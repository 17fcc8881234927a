//! What is kept on disk, as the engine sees it: transactions to be made, and rows to begin from.

use std::sync::Arc;

use super::event::{Reason, Source, Tick};
use super::fingerprint::fingerprint_of;
use super::ivr::{Ivr, Version};
use super::presses::Presses;

/// One transaction: all of it is kept, or nothing.
///
/// Each change puts or removes a row by its key, whatever was there, so a transaction that failed may
/// be made again with others after it.
#[derive(Clone, PartialEq, Debug)]
pub struct Commit {
    /// Names the transaction in the answer: later ones have greater numbers.
    pub number: u64,
    /// What changes, in order.
    pub changes: Vec<Change>,
}

/// A change of what is kept.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A tree that calls walk.
    PutTree(Arc<Ivr>),
    /// No call walks it any more.
    RemoveTree(Version),
    /// A call in progress, as it stands.
    PutCall(CallKey, Vec<u8>),
    /// It has ended.
    RemoveCall(CallKey),
    /// An update that is not acknowledged.
    PutUpdate(UpdateKey, Vec<u8>),
    /// It was acknowledged, or an operator dropped it.
    RemoveUpdate(UpdateKey),
    /// An ended call that is remembered.
    PutEnded(EndedRow),
    /// It is forgotten.
    RemoveEnded(u64),
    /// How a call went, for the history.
    Record(Arc<CallRecord>),
}

/// Names a call among those in progress.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallKey {
    /// Where its events come from.
    pub source: Source,
    /// Its id in that source.
    pub id: Arc<str>,
}

/// Names an update for ever: what its idempotency key is made of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UpdateKey {
    /// Where the call came from.
    pub source: Source,
    /// The call's id in that source.
    pub call: Arc<str>,
    /// Tells calls of one id apart: [`Update::generation`](super::Update::generation).
    pub generation: Tick,
}

/// An ended call that is remembered, so that a late digit opens no second walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedRow {
    /// A fingerprint of its source and id, the same in every process.
    pub call: u64,
    /// Until when, shifted left by one; the lowest bit is set if the caller hung up.
    pub until: u64,
}

/// How a call went.
#[derive(Clone, PartialEq, Debug)]
pub struct CallRecord {
    /// Where its events came from.
    pub source: Source,
    /// Its id in that source.
    pub id: Arc<str>,
    /// What its variables are written to, where that differs from the call.
    pub interaction: Option<Box<str>>,
    /// The number that was called, where it is known: the walk may begin elsewhere for it.
    pub to: Option<Box<str>>,
    /// The tree that it walked.
    pub tree: Version,
    /// When it began.
    pub began: Tick,
    /// When it ended.
    pub ended: Tick,
    /// With what.
    pub outcome: Arc<str>,
    /// Why.
    pub reason: Reason,
    /// Where: the node's name.
    pub node: Box<str>,
    /// Whether it left an update to be delivered.
    pub writes: bool,
    /// What was pressed, and when.
    pub presses: Presses,
}

/// A row of those that were kept.
#[derive(Debug)]
pub enum Row<'a> {
    /// A tree: before the calls that walk it.
    Tree(Arc<Ivr>),
    /// A call in progress.
    Call {
        /// Where its events come from.
        source: Source,
        /// Its id in that source.
        id: &'a str,
        /// What [`Change::PutCall`] put.
        row: &'a [u8],
    },
    /// An update.
    Update {
        /// Where the call came from.
        source: Source,
        /// The call's id in that source.
        call: &'a str,
        /// When the call began.
        generation: Tick,
        /// What [`Change::PutUpdate`] put.
        row: &'a [u8],
    },
    /// An ended call that is remembered.
    Ended(EndedRow),
}

impl CallKey {
    /// Returns 64 bits that stand for the key, the same in every process: [`EndedRow::call`] of the call.
    pub fn fingerprint(&self) -> u64 {
        fingerprint_of([self.source.name().as_bytes(), self.id.as_bytes()])
    }
}

impl UpdateKey {
    /// Returns 64 bits that stand for the key, the same in every process.
    pub fn fingerprint(&self) -> u64 {
        let generation = self.generation.0.to_string();
        fingerprint_of([self.source.name().as_bytes(), self.call.as_bytes(), generation.as_bytes()])
    }
}
