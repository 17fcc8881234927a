//! What the engine keeps, as rows of tables, and back.

use std::sync::Arc;

use rusqlite::types::ValueRef;

use super::table::Table;
use crate::driver::{Mark, Reading};
use crate::engine::{CallKey, EndedRow, Ivr, Source, Tick, UpdateKey, Version};
use crate::inbox::Kept;

/// How many rows there are of what a loss should be told of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) updates: u64,
    pub(super) ended: u64,
    pub(super) history: u64,
}

impl Counts {
    /// Returns the count of a table's rows, where they are counted.
    pub(super) fn of(&mut self, table: Table) -> Option<&mut u64> {
        match table {
            Table::Mark | Table::Trees => None,
            Table::Calls => Some(&mut self.calls),
            Table::Updates => Some(&mut self.updates),
            Table::Ended => Some(&mut self.ended),
            Table::History => Some(&mut self.history),
        }
    }
}

pub(super) fn integer(number: u64) -> ValueRef<'static> {
    ValueRef::Integer(number as i64)
}

pub(super) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

pub(super) fn option(words: Option<&str>) -> ValueRef<'_> {
    words.map_or(ValueRef::Null, text)
}

pub(super) fn source(source: Source) -> ValueRef<'static> {
    text(source.name())
}

pub(super) fn number_in(value: &ValueRef<'_>) -> Option<u64> {
    match value {
        ValueRef::Integer(number) => Some(*number as u64),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => None,
    }
}

pub(super) fn text_in<'v>(value: &ValueRef<'v>) -> Option<&'v str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

pub(super) fn bytes_in<'v>(value: &ValueRef<'v>) -> Option<&'v [u8]> {
    match value {
        ValueRef::Blob(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => None,
    }
}

pub(super) fn source_in(value: &ValueRef<'_>) -> Option<Source> {
    let name = text_in(value)?;
    Source::ALL.into_iter().find(|source| source.name() == name)
}

pub(super) fn call_key(key: &CallKey) -> i64 {
    key.fingerprint() as i64
}

pub(super) fn update_key(key: &UpdateKey) -> i64 {
    key.fingerprint() as i64
}

pub(super) fn tree_key(version: Version) -> i64 {
    (version.0 >> 64) as i64
}

/// The key of the one row of [`Table::Mark`].
pub(super) const MARK_KEY: i64 = 1;

/// Hands the columns of a mark's row to `put`.
pub(super) fn mark<T>(mark: &Mark, counts: Counts, put: impl FnOnce(&[ValueRef<'_>]) -> T) -> T {
    let Mark { tick, reading: Reading { wall_ms, boot, boottime_ms } } = mark;
    let boot = boot.map(u128::to_le_bytes);
    let Counts { calls, updates, ended, history } = counts;
    put(&[
        integer(tick.0),
        integer(*wall_ms),
        boot.as_ref().map_or(ValueRef::Null, |boot| ValueRef::Blob(boot)),
        integer(*boottime_ms),
        integer(calls),
        integer(updates),
        integer(ended),
        integer(history),
    ])
}

pub(super) fn mark_in(columns: &[ValueRef<'_>]) -> Option<(Mark, Counts)> {
    let [tick, wall, boot, boottime, calls, updates, ended, history] = columns else { return None };
    let boot = bytes_in(boot).and_then(|bytes| bytes.try_into().ok()).map(u128::from_le_bytes);
    let reading = Reading { wall_ms: number_in(wall)?, boot, boottime_ms: number_in(boottime)? };
    let counts = Counts {
        calls: number_in(calls)?,
        updates: number_in(updates)?,
        ended: number_in(ended)?,
        history: number_in(history)?,
    };
    Some((Mark { tick: Tick(number_in(tick)?), reading }, counts))
}

/// Reads a row back for the engine; `None` if it isn't whole, or isn't what it should be.
pub(super) fn kept(table: Table, key: i64, columns: &[ValueRef<'_>]) -> Option<Kept> {
    match (table, columns) {
        (Table::Trees, [version, text]) => {
            let version = u128::from_le_bytes(bytes_in(version)?.try_into().ok()?);
            let ivr: Arc<Ivr> = crate::tree::load(text_in(text)?).ivr?;
            (ivr.version == Version(version)).then_some(Kept::Tree(ivr))
        }
        (Table::Calls, [source, id, _, body]) => Some(Kept::Call {
            source: source_in(source)?,
            id: text_in(id)?.to_owned(),
            row: bytes_in(body)?.to_vec(),
        }),
        (Table::Updates, [source, call, generation, _, body]) => Some(Kept::Update {
            source: source_in(source)?,
            call: text_in(call)?.to_owned(),
            generation: Tick(number_in(generation)?),
            row: bytes_in(body)?.to_vec(),
        }),
        (Table::Ended, [until]) => Some(Kept::Ended(EndedRow { call: key as u64, until: number_in(until)? })),
        _ => None,
    }
}
