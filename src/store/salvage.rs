//! A damaged database: what is readable in it is carried over into a new one, and it is set aside.
//!
//! The order of the steps loses nothing wherever they are cut off:
//!
//! 1. `dtmfd.db.unfinished` is filled and synced: one that is found at a start is deleted.
//! 2. It becomes `dtmfd.db.new`, which is whole: found beside `dtmfd.db` it is deleted, and all of this
//!    begins again; found alone it is what the next step was about to make it.
//! 3. `dtmfd.db` becomes `dtmfd.db.damaged-1`, its log and its shared memory follow.
//! 4. `dtmfd.db.new` becomes `dtmfd.db`.

use std::fs;
use std::io;
use std::path::PathBuf;

use log::{error, warn};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _};

use super::directory::{Directory, identity};
use super::pages::Pages;
use super::rows::{self, Counts, MARK_KEY, mark_in, number_in};
use super::schema::{self, Trouble};
use super::table::{Table, put};
use super::wal::Log;
use super::{DATABASE, with_suffix};
use crate::driver::{Mark, Reading};
use crate::engine::Tick;

/// A new database that is being made.
const UNFINISHED: &str = "dtmfd.db.unfinished";
/// A new one that is whole, and waits to take its place.
const NEW: &str = "dtmfd.db.new";
/// How many damaged databases are kept.
const COPIES_MAX: usize = 3;
/// What belongs to a database, by what follows its name. The log follows its database: left behind
/// alone it could be taken for that of the next one.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// Brings what a start that was cut off left behind to its end.
pub(super) fn tidy_up(directory: &Directory) -> Result<(), Trouble> {
    for part in ["", "-journal", "-wal", "-shm"] {
        remove(&with_suffix(&directory.file(UNFINISHED), part))?;
    }
    let (path, new) = (directory.file(DATABASE), directory.file(NEW));
    if identity(&new).is_none() {
        return Ok(());
    }
    if identity(&path).is_some() {
        remove(&new)?;
        return Ok(());
    }
    set_aside(directory, &copy(directory, 1))?;
    fs::rename(&new, &path)?;
    directory.sync()?;
    warn!(copy:% = copy(directory, 1).display(); "a damaged database had been set aside: what was carried over is in its place");
    Ok(())
}

/// Deletes the log that a database left behind, with nothing in it.
pub(super) fn forget_log(directory: &Directory) -> Result<(), Trouble> {
    for part in ["-wal", "-shm"] {
        remove(&with_suffix(&directory.file(DATABASE), part))?;
    }
    Ok(())
}

/// Sets aside what lies where the database should, with nothing carried over.
pub(super) fn put_away(directory: &Directory) -> Result<(), Trouble> {
    if PARTS.iter().any(|part| identity(&with_suffix(&directory.file(DATABASE), part)).is_some()) {
        let copy = make_room(directory)?;
        set_aside(directory, &copy)?;
        directory.sync()?;
        error!(copy:% = copy.display(); "what lay in the database's place is set aside");
    }
    Ok(())
}

/// Makes an empty database where there is none.
pub(super) fn begin(directory: &Directory) -> Result<(), Trouble> {
    let unfinished = directory.file(UNFINISHED);
    drop(schema::create(&unfinished)?);
    fs::rename(&unfinished, directory.file(DATABASE))?;
    directory.sync()?;
    Ok(())
}

/// Puts a new database in the place of a damaged one, with everything in it that is readable there.
/// Nobody may have it open.
pub(super) fn replace(directory: &Directory, why: &str) -> Result<(), Trouble> {
    let path = directory.file(DATABASE);
    let unfinished = directory.file(UNFINISHED);
    remove(&unfinished)?;
    let connection = schema::create(&unfinished)?;
    let pages = Pages::open(&path, Log::read_at(&with_suffix(&path, "-wal"))?)?;
    let (found, lost) = carry_over(&pages, connection)?;
    drop(pages);

    fs::rename(&unfinished, directory.file(NEW))?;
    directory.sync()?;
    let copy = make_room(directory)?;
    set_aside(directory, &copy)?;
    fs::rename(directory.file(NEW), &path)?;
    directory.sync()?;

    let Counts { calls, updates, ended, history } = found;
    error!(why, copy:% = copy.display(), calls, updates, ended, history; "the database was damaged: it is set aside, and what is readable in it was carried over");
    match lost {
        Some(Counts { calls: 0, updates: 0, ended: 0, history: 0 }) => (),
        Some(Counts { calls, updates, ended, history }) => {
            error!(calls, updates, ended, history; "rows of the damaged database could not be read and are lost");
        }
        None => error!("how many rows of the damaged database are lost is not known"),
    }
    Ok(())
}

/// Puts every row that is whole into an empty database, and closes it. Returns how many there are now,
/// and how many there had been beside them, where that is known.
fn carry_over(pages: &Pages, mut connection: Connection) -> Result<(Counts, Option<Counts>), Trouble> {
    let transaction = connection.transaction()?;
    let mut mark: Option<(Mark, Counts)> = None;
    let mut latest = None;
    pages.each(|table, key, columns| {
        if table == Table::Mark {
            let found = mark_in(columns);
            if found.map(|(mark, _)| mark.tick) > mark.map(|(mark, _)| mark.tick) {
                mark = found;
            }
            return Ok(());
        }
        latest = latest.max(age(table, columns));
        if is_news(&transaction, table, key, columns)? {
            put(&transaction, table, key, columns)?;
        }
        Ok::<_, rusqlite::Error>(())
    })?;
    // A call that has ended is not in progress, wherever a row of it was found.
    transaction.execute("DELETE FROM calls WHERE key IN (SELECT key FROM ended)", [])?;
    let mut counts = Counts::default();
    for table in Table::ALL {
        if let Some(count) = counts.of(table) {
            let sql = format!("SELECT count(*) FROM {}", table.name());
            *count = transaction.query_row(&sql, [], |row| row.get::<_, i64>(0))? as u64;
        }
    }
    let (mark, counted) = mark.unzip();
    // Without a mark the time goes on no earlier than what was written last.
    let at = latest
        .map(|at| Mark { tick: Tick(at), reading: Reading { wall_ms: at, boot: None, boottime_ms: 0 } });
    if let Some(mark) = mark.or(at) {
        rows::mark(&mark, counts, |columns| put(&transaction, Table::Mark, MARK_KEY, columns))?;
    }
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    let lost = counted.map(|counted| Counts {
        calls: counted.calls.saturating_sub(counts.calls),
        updates: counted.updates.saturating_sub(counts.updates),
        ended: counted.ended.saturating_sub(counts.ended),
        history: counted.history.saturating_sub(counts.history),
    });
    Ok((counts, lost))
}

/// Returns what tells which of two rows of one key is the younger.
fn age(table: Table, columns: &[ValueRef<'_>]) -> Option<u64> {
    let place = match table {
        Table::Calls => 2,
        Table::Updates => 3,
        Table::Mark | Table::Trees | Table::Ended | Table::History => return None,
    };
    columns.get(place).and_then(number_in)
}

/// Returns whether a row says more than the one of its key that was found before.
fn is_news(
    connection: &Connection,
    table: Table,
    key: i64,
    columns: &[ValueRef<'_>],
) -> rusqlite::Result<bool> {
    let (sql, age) = match table {
        Table::Calls => ("SELECT at FROM calls WHERE key=?1", age(table, columns)),
        Table::Updates => ("SELECT at FROM updates WHERE key=?1", age(table, columns)),
        Table::Ended => ("SELECT until FROM ended WHERE key=?1", columns.first().and_then(number_in)),
        Table::Mark | Table::Trees | Table::History => return Ok(true),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let there: Option<i64> = statement.query_row([key], |row| row.get(0)).optional()?;
    Ok(there.is_none_or(|there| Some(there as u64) <= age))
}

fn copy(directory: &Directory, number: usize) -> PathBuf {
    directory.file(&format!("{DATABASE}.damaged-{number}"))
}

/// Makes room for a damaged database among the copies, the youngest of which is the first: the oldest
/// goes where there are enough.
fn make_room(directory: &Directory) -> Result<PathBuf, Trouble> {
    let is_free = |number: &usize| {
        PARTS.iter().all(|part| identity(&with_suffix(&copy(directory, *number), part)).is_none())
    };
    let free = (1..=COPIES_MAX).find(is_free).unwrap_or(COPIES_MAX);
    for part in PARTS {
        remove(&with_suffix(&copy(directory, free), part))?;
    }
    for number in (1..free).rev() {
        for part in PARTS {
            let from = with_suffix(&copy(directory, number), part);
            rename(&from, &with_suffix(&copy(directory, number + 1), part))?;
        }
    }
    Ok(copy(directory, 1))
}

/// Moves what there is of the database to a copy, the database itself first: while it is there, all
/// begins again.
fn set_aside(directory: &Directory, copy: &std::path::Path) -> Result<(), Trouble> {
    let path = directory.file(DATABASE);
    for part in PARTS {
        rename(&with_suffix(&path, part), &with_suffix(copy, part))?;
    }
    Ok(())
}

fn rename(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    missing_is_fine(fs::rename(from, to))
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    missing_is_fine(fs::remove_file(path))
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
