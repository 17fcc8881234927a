//! The tables: what their rows hold, and how a row shows that it is whole.
//!
//! Every row is known by one number and carries a CRC-32 over its table, that number and everything in
//! it. There is no index beside the tables themselves: one could be damaged without them.

use std::sync::LazyLock;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

/// The most columns of a table, with its key and its CRC.
pub(super) const COLUMNS_MAX: usize = 18;

/// A table. Its number is part of the CRC of its rows: it never changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    /// What the clocks said with the last transaction, and how many rows there were: one row.
    Mark = 1,
    /// Trees that calls walk, by the first half of their version.
    Trees = 2,
    /// Calls in progress, by their fingerprint.
    Calls = 3,
    /// Updates that are not acknowledged, by their fingerprint.
    Updates = 4,
    /// Ended calls that are remembered, by their fingerprint.
    Ended = 5,
    /// How calls went, by a number that grows with the time of their end.
    History = 6,
}

/// The statements of a table.
#[derive(Debug)]
struct Words {
    create: String,
    update: String,
    insert: String,
    remove: String,
    each: String,
}

static WORDS: LazyLock<[Words; 6]> = LazyLock::new(|| {
    Table::ALL.map(|table| {
        let (name, columns) = (table.name(), table.columns());
        let numbered = |first: usize| (first..).zip(columns.iter().chain(&["crc"]));
        let set: Vec<_> = numbered(2).map(|(number, column)| format!("{column}=?{number}")).collect();
        let values: Vec<_> = numbered(2).map(|(number, _)| format!("?{number}")).collect();
        let (columns, set, values) = (columns.join(","), set.join(","), values.join(","));
        Words {
            create: format!("CREATE TABLE {name}(key INTEGER PRIMARY KEY,{columns},crc)"),
            update: format!("UPDATE {name} SET {set} WHERE key=?1"),
            insert: format!("INSERT INTO {name}(key,{columns},crc) VALUES(?1,{values})"),
            remove: format!("DELETE FROM {name} WHERE key=?1"),
            each: format!("SELECT key,{columns},crc FROM {name}"),
        }
    })
});

impl Table {
    pub(super) const ALL: [Table; 6] =
        [Table::Mark, Table::Trees, Table::Calls, Table::Updates, Table::Ended, Table::History];

    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Mark => "mark",
            Table::Trees => "trees",
            Table::Calls => "calls",
            Table::Updates => "updates",
            Table::Ended => "ended",
            Table::History => "history",
        }
    }

    /// Returns the columns between the key and the CRC.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self {
            Table::Mark => &["tick", "wall", "boot", "boottime", "calls", "updates", "ended", "history"],
            Table::Trees => &["version", "text"],
            // `at` is the engine's time when the row was written: of two the later one counts.
            Table::Calls => &["source", "id", "at", "body"],
            Table::Updates => &["source", "call", "generation", "at", "body"],
            Table::Ended => &["until"],
            Table::History => &[
                "source",
                "id",
                "interaction",
                "dialled",
                "tree",
                "generation",
                "began",
                "ended",
                "outcome",
                "reason",
                "node",
                "writes",
                "presses",
                "omitted",
            ],
        }
    }

    fn words(self) -> &'static Words {
        &WORDS[self as usize - 1]
    }

    pub(super) fn create(self) -> &'static str {
        &self.words().create
    }

    pub(super) fn each(self) -> &'static str {
        &self.words().each
    }
}

/// Returns the CRC of a row, as it is kept: over the types of its values as well.
pub(super) fn sum(table: Table, key: i64, columns: &[ValueRef<'_>]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[table as u8]);
    hasher.update(&key.to_le_bytes());
    for column in columns {
        match column {
            ValueRef::Null => hasher.update(&[0]),
            ValueRef::Integer(number) => {
                hasher.update(&[1]);
                hasher.update(&number.to_le_bytes());
            }
            ValueRef::Real(number) => {
                hasher.update(&[2]);
                hasher.update(&number.to_le_bytes());
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                hasher.update(&[if matches!(column, ValueRef::Text(_)) { 3 } else { 4 }]);
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            }
        }
    }
    i64::from(hasher.finalize())
}

/// Returns the columns of a row without its CRC, if that is right.
pub(super) fn whole<'a, 'v>(
    table: Table,
    key: i64,
    columns: &'a [ValueRef<'v>],
) -> Option<&'a [ValueRef<'v>]> {
    let (crc, columns) = columns.split_last()?;
    let right = columns.len() == table.columns().len()
        && matches!(crc, ValueRef::Integer(crc) if *crc == sum(table, key, columns));
    right.then_some(columns)
}

/// Puts a row, whatever was there. Returns whether nothing was.
pub(super) fn put(
    connection: &Connection,
    table: Table,
    key: i64,
    columns: &[ValueRef<'_>],
) -> rusqlite::Result<bool> {
    let crc = sum(table, key, columns);
    let values = || {
        let key = std::iter::once(ValueRef::Integer(key));
        let all = key.chain(columns.iter().copied()).chain([ValueRef::Integer(crc)]);
        params_from_iter(all.map(ToSqlOutput::Borrowed))
    };
    if connection.prepare_cached(&table.words().update)?.execute(values())? > 0 {
        return Ok(false);
    }
    connection.prepare_cached(&table.words().insert)?.execute(values())?;
    Ok(true)
}

/// Removes a row. Returns whether there was one.
pub(super) fn remove(connection: &Connection, table: Table, key: i64) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached(&table.words().remove)?.execute([key])? > 0)
}

/// Hands every row of a table to `take`, by key: its columns, or `None` where it isn't whole.
pub(super) fn each<E: From<rusqlite::Error>>(
    connection: &Connection,
    table: Table,
    mut take: impl FnMut(i64, Option<&[ValueRef<'_>]>) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = connection.prepare_cached(table.each())?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = row.get(0)?;
        let mut columns = [ValueRef::Null; COLUMNS_MAX];
        let n_columns = table.columns().len() + 1;
        for (place, column) in columns.iter_mut().take(n_columns).enumerate() {
            *column = row.get_ref(place + 1)?;
        }
        take(key, whole(table, key, &columns[..n_columns]))?;
    }
    Ok(())
}
