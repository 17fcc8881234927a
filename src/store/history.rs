//! How calls went, page by page, for whoever asks: a connection of its own, that only reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::DATABASE;
use super::rows::{bytes_in, number_in, source_in, text_in};
use super::table::{COLUMNS_MAX, Table, whole};
use crate::engine::{Press, Presses, Source, Version};

/// How many calls a page has at most.
pub const PAGE_MAX: usize = 100;
/// How long a reader waits for the writer: it hardly ever has to, beside a write-ahead log.
const BUSY_MAX: Duration = Duration::from_millis(200);

/// How a call went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// Its number: the later a call ended, the greater. It is below 2^53.
    pub number: u64,
    /// Where its events came from.
    pub source: Source,
    /// Its id in that source.
    pub id: String,
    /// What its variables were written to, where that differs from the call.
    pub interaction: Option<String>,
    /// The number that was called, where it is known.
    pub to: Option<String>,
    /// The tree that it walked.
    pub tree: Version,
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_ms: u64,
    /// With what.
    pub outcome: String,
    /// Why: what the template `{reason}` expands to.
    pub reason: String,
    /// Where: the node's name.
    pub node: String,
    /// Whether it left an update to be delivered.
    pub writes: bool,
    /// What was pressed, and when.
    pub presses: Vec<Press>,
    /// How many key presses came after those.
    pub omitted: u64,
}

/// The history can't be read now.
#[derive(Debug, thiserror::Error)]
#[error("the history can't be read")]
pub struct NotReadable(#[from] rusqlite::Error);

/// The history of a state directory.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// Returns the history that is kept in a state directory.
    pub fn of(directory: &Path) -> History {
        History { path: directory.join(DATABASE) }
    }

    /// Returns the calls that ended last, the last one first: of those with a number below `before`, and
    /// of one id where that is given, at most `limit` and never more than [`PAGE_MAX`]. The last number
    /// is where to go on.
    ///
    /// A call whose row is damaged is left out.
    ///
    /// # Errors
    ///
    /// The database can't be read: there is none yet, or the disk doesn't work.
    pub fn page(
        &self,
        before: Option<u64>,
        limit: usize,
        id: Option<&str>,
    ) -> Result<Vec<HistoryEntry>, NotReadable> {
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let of_call = if id.is_some() { "AND id = ?2" } else { "" };
        let limit = limit.min(PAGE_MAX);
        let sql =
            format!("{} WHERE key < ?1 {of_call} ORDER BY key DESC LIMIT {limit}", Table::History.each());
        let values =
            [ValueRef::Integer(before)].into_iter().chain(id.map(|id| ValueRef::Text(id.as_bytes())));
        self.read(&sql, values)
    }

    /// Returns the call of a number.
    ///
    /// # Errors
    ///
    /// As of [`History::page`].
    pub fn entry(&self, number: u64) -> Result<Option<HistoryEntry>, NotReadable> {
        let sql = format!("{} WHERE key = ?1", Table::History.each());
        Ok(self.read(&sql, [ValueRef::Integer(number as i64)])?.pop())
    }

    fn read<'v>(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = ValueRef<'v>>,
    ) -> Result<Vec<HistoryEntry>, NotReadable> {
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
