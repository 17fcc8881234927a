//! One transaction of the engine's as one of the database's.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::rows::{self, Counts, MARK_KEY, integer, option, text};
use super::table::{Table, put, remove};
use crate::driver::{Clock, Mark};
use crate::engine::{CallRecord, Change, Commit, Tick};

/// How long the history goes back.
const HISTORY_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// How many calls it holds at most.
pub(super) const HISTORY_MAX: u64 = 100_000;
/// How many old calls leave it with a transaction, beside as many as came: a small step, so that no
/// transaction takes long.
const TRIM_MAX: u64 = 64;
/// So many numbers belong to a millisecond; where more calls ended in it, some take numbers of the next
/// ones. A number stays below 2^53 for two centuries: every JSON reader takes it.
const NUMBERS_A_MS: u64 = 1 << 10;

/// Makes a transaction, and stamps it. Returns how many rows there are afterwards.
pub(super) fn apply(
    connection: &mut Connection,
    commit: &Commit,
    counts: Counts,
    clock: &Clock,
) -> rusqlite::Result<Counts> {
    let mark = clock.mark();
    let mut step = Step { transaction: begin(connection)?, counts, mark, clock, recorded: 0 };
    for change in &commit.changes {
        step.apply(change)?;
    }
    step.trim()?;
    step.finish()
}

/// Stamps the database without another change.
pub(super) fn stamp(connection: &mut Connection, counts: Counts, clock: &Clock) -> rusqlite::Result<()> {
    let transaction = begin(connection)?;
    Step { transaction, counts, mark: clock.mark(), clock, recorded: 0 }.finish().map(drop)
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    // It writes for sure: whoever else does is waited for here, where nothing has been read yet.
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

struct Step<'a> {
    transaction: Transaction<'a>,
    counts: Counts,
    mark: Mark,
    clock: &'a Clock,
    recorded: u64,
}

impl Step<'_> {
    fn apply(&mut self, change: &Change) -> rusqlite::Result<()> {
        let at = integer(self.mark.tick.0);
        match change {
            Change::PutTree(ivr) => {
                let version = ivr.version.0.to_le_bytes();
                let columns = [ValueRef::Blob(&version), text(&ivr.text)];
                self.put(Table::Trees, rows::tree_key(ivr.version), &columns)
            }
            Change::RemoveTree(version) => self.remove(Table::Trees, rows::tree_key(*version)),
            Change::PutCall(key, body) => {
                let columns = [rows::source(key.source), text(&key.id), at, ValueRef::Blob(body)];
                self.put(Table::Calls, rows::call_key(key), &columns)
            }
            Change::RemoveCall(key) => self.remove(Table::Calls, rows::call_key(key)),
            Change::PutUpdate(key, body) => {
                let generation = integer(key.generation.0);
                let columns =
                    [rows::source(key.source), text(&key.call), generation, at, ValueRef::Blob(body)];
                self.put(Table::Updates, rows::update_key(key), &columns)
            }
            Change::RemoveUpdate(key) => self.remove(Table::Updates, rows::update_key(key)),
            Change::PutEnded(row) => self.put(Table::Ended, row.call as i64, &[integer(row.until)]),
            Change::RemoveEnded(call) => self.remove(Table::Ended, *call as i64),
            Change::Record(record) => self.record(record),
        }
    }

    fn put(&mut self, table: Table, key: i64, columns: &[ValueRef<'_>]) -> rusqlite::Result<()> {
        if put(&self.transaction, table, key, columns)?
            && let Some(count) = self.counts.of(table)
        {
            *count += 1;
        }
        Ok(())
    }

    fn remove(&mut self, table: Table, key: i64) -> rusqlite::Result<()> {
        if remove(&self.transaction, table, key)?
            && let Some(count) = self.counts.of(table)
        {
            *count = count.saturating_sub(1);
        }
        Ok(())
    }

    fn record(&mut self, record: &CallRecord) -> rusqlite::Result<()> {
        let number = number_of(&self.transaction, record)?;
        let CallRecord { source, id, interaction, to, tree, began, ended, outcome, reason, .. } = record;
        let CallRecord { node, writes, presses, .. } = record;
        let tree = tree.0.to_le_bytes();
        let columns = [
            rows::source(*source),
            text(id),
            option(interaction.as_deref()),
            option(to.as_deref()),
            ValueRef::Blob(&tree),
            integer(began.0),
            integer(self.clock.wall_ms(*began)),
            integer(self.clock.wall_ms(*ended)),
            text(outcome),
            text(reason.name()),
            text(node),
            integer(u64::from(*writes)),
            ValueRef::Blob(presses.bytes()),
            integer(u64::from(presses.omitted())),
        ];
        self.recorded += 1;
        self.put(Table::History, number, &columns)
    }

    /// Lets go of what is too old for the history, or too much, in small steps.
    fn trim(&mut self) -> rusqlite::Result<()> {
        let oldest = first_number(Tick(self.mark.tick.0.saturating_sub(HISTORY_MS)));
        let at_most = TRIM_MAX + self.recorded;
        let too_many = self.counts.history.saturating_sub(HISTORY_MAX).min(at_most);
        let mut removed = 0;
        if too_many > 0 {
            let sql = "DELETE FROM history WHERE key IN (SELECT key FROM history ORDER BY key LIMIT ?1)";
            removed += self.transaction.prepare_cached(sql)?.execute([too_many as i64])?;
        }
        let sql = "DELETE FROM history WHERE key IN \
                   (SELECT key FROM history WHERE key < ?1 ORDER BY key LIMIT ?2)";
        removed += self.transaction.prepare_cached(sql)?.execute(params![oldest, at_most as i64])?;
        self.counts.history = self.counts.history.saturating_sub(removed as u64);
        Ok(())
    }

    fn finish(self) -> rusqlite::Result<Counts> {
        let Step { transaction, counts, mark, .. } = self;
        rows::mark(&mark, counts, |columns| put(&transaction, Table::Mark, MARK_KEY, columns))?;
        transaction.commit()?;
        Ok(counts)
    }
}

/// Returns the first number of a call that ended then.
fn first_number(ended: Tick) -> i64 {
    ended.0.saturating_mul(NUMBERS_A_MS).min(i64::MAX as u64) as i64
}

/// Returns the number of a call in the history: the one that it has, where it was recorded before.
///
/// It is told by the call alone, so that a transaction that is made twice records a call once.
fn number_of(transaction: &Transaction<'_>, record: &CallRecord) -> rusqlite::Result<i64> {
    let key =
        crate::engine::UpdateKey { source: record.source, call: record.id.clone(), generation: record.began };
    let (first, fingerprint) = (first_number(record.ended), key.fingerprint());
    let mut statement =
        transaction.prepare_cached("SELECT source, id, generation FROM history WHERE key = ?1")?;
    let mut place = 0;
    loop {
        // Each place is among twice as many as the one before, by one more bit of the fingerprint: of n
        // calls that ended together each finds its own after some log2(n). Past 2^20 of them, which is
        // more than there are calls, it is the next that is free.
        let window = NUMBERS_A_MS << place.min(20);
        let number = first + (fingerprint % window + u64::saturating_sub(place, 20)) as i64;
        let is_other = statement
            .query_row([number], |row| {
                let same = rows::source_in(&row.get_ref(0)?) == Some(record.source)
                    && rows::text_in(&row.get_ref(1)?) == Some(&*record.id)
                    && rows::number_in(&row.get_ref(2)?) == Some(record.began.0);
                Ok(!same)
            })
            .optional()?;
        match is_other {
            Some(true) => place += 1,
            Some(false) | None => return Ok(number),
        }
    }
}
