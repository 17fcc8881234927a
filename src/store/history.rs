//! How calls went, page by page, for whoever asks: a connection of its own, that only reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::DATABASE;
use super::rows::{bytes_in, number_in, source_in, text_in};
use super::table::{COLUMNS_MAX, Table, whole};
use crate::engine::{Page, Presses, Version};
use crate::history::{HISTORY_PAGE_MAX, History, HistoryEntry, HistoryPage};

/// How long a reader waits for the writer: it hardly ever has to, beside a write-ahead log.
const BUSY_MAX: Duration = Duration::from_millis(200);

/// The history of a state directory.
#[derive(Clone, Debug)]
pub struct KeptHistory {
    path: PathBuf,
}

impl KeptHistory {
    /// Returns the history that is kept in a state directory.
    pub fn of(directory: &Path) -> KeptHistory {
        KeptHistory { path: directory.join(DATABASE) }
    }

    fn read<'v>(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = ValueRef<'v>>,
    ) -> rusqlite::Result<Vec<HistoryEntry>> {
        // Opened each time: the file may have been replaced since.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        let values = values.into_iter().map(rusqlite::types::ToSqlOutput::Borrowed);
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.extend(entry(row)?);
        }
        Ok(entries)
    }
}

impl History for KeptHistory {
    /// A call whose row is damaged is left out. Pages go on by [`HistoryEntry::number`].
    fn page(&self, call: Option<&str>, page: Page) -> Result<HistoryPage, String> {
        let before = match page.after {
            0 => i64::MAX,
            after => i64::try_from(after).unwrap_or(i64::MAX),
        };
        let of_call = if call.is_some() { "AND id = ?2" } else { "" };
        // One more than asked for tells whether there are more.
        let limit = page.limit.min(HISTORY_PAGE_MAX) + 1;
        let sql =
            format!("{} WHERE key < ?1 {of_call} ORDER BY key DESC LIMIT {limit}", Table::History.each());
        let words = call.map(|call| ValueRef::Text(call.as_bytes()));
        let read = self.read(&sql, [ValueRef::Integer(before)].into_iter().chain(words));
        let mut entries = read.map_err(|error| format!("the history can't be read: {error}"))?;
        let has_more = entries.len() == limit;
        entries.truncate(limit - 1);
        let next = entries.last().map(|entry| entry.number).filter(|_| has_more);
        Ok(HistoryPage { entries, next })
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Option<HistoryEntry>> {
    let key: i64 = row.get(0)?;
    let mut columns = [ValueRef::Null; COLUMNS_MAX];
    let n_columns = Table::History.columns().len() + 1;
    for (place, column) in columns.iter_mut().take(n_columns).enumerate() {
        *column = row.get_ref(place + 1)?;
    }
    Ok(whole(Table::History, key, &columns[..n_columns]).and_then(|columns| parse(key, columns)))
}

fn parse(key: i64, columns: &[ValueRef<'_>]) -> Option<HistoryEntry> {
    let [source, id, interaction, to, tree, _, began, ended, outcome, reason, node, writes, presses, omitted] =
        columns
    else {
        return None;
    };
    let words = |value| text_in(value).map(str::to_owned);
    Some(HistoryEntry {
        number: key as u64,
        source: source_in(source)?,
        id: words(id)?,
        interaction: words(interaction),
        to: words(to),
        tree: Version(u128::from_le_bytes(bytes_in(tree)?.try_into().ok()?)),
        began_ms: number_in(began)?,
        ended_ms: number_in(ended)?,
        outcome: words(outcome)?,
        reason: words(reason)?,
        node: words(node)?,
        writes: number_in(writes)? != 0,
        presses: Presses::read(bytes_in(presses)?).collect(),
        omitted: number_in(omitted)?,
    })
}
