//! The database file: how a new one is made, and how one that is there is opened.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_SHORT_READ};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::rows::{Counts, MARK_KEY, mark_in};
use super::table::{Table, each};
use crate::driver::{Clock, Mark};

/// Says that a database is ours: `dtmf`.
const APPLICATION_ID: i32 = 0x6474_6d66;
/// The version of the tables. It changes with what they hold.
const VERSION: i32 = 1;
/// How much of the database SQLite keeps in memory.
const CACHE_KIB: i64 = 1024;
/// The write-ahead log is taken into the database when it has so many pages of 4 KiB...
const WAL_PAGES: i64 = 1_000;
/// ... and cut to this size, whatever one large transaction made of it.
const WAL_BYTES_MAX: i64 = 4 << 20;
/// How long somebody who looks at the database with a tool may hold us up.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// How many statements stay prepared: all of ours.
const STATEMENTS_MAX: usize = 32;
/// How long the structure of the whole database is looked at when it is opened: what is damaged beyond
/// shows when it is read.
const CHECK_MAX_MS: u64 = 1_000;
/// How often that is looked at, in steps of SQLite's own.
const CHECK_STEPS: i32 = 100;

/// What is survived by what was committed (`--durability`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Durability {
    /// A power cut: the disk is waited for with every group of changes.
    #[default]
    Power,
    /// The end of the process, by whatever signal.
    Process,
}

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It is damaged, or not ours: it is to be set aside.
    #[error("{0}")]
    Damaged(String),
    /// The disk doesn't do what it should; it may later.
    #[error("{0}")]
    Disk(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        let why = error.to_string();
        // Our statements are right: where one is refused the tables are not ours any more, and where no
        // code of SQLite's tells why, a value was not what the tables hold.
        let is_damage = error.sqlite_error().is_none_or(|error| {
            matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
                || matches!(error.extended_code, SQLITE_IOERR_SHORT_READ | SQLITE_IOERR_CORRUPTFS)
        });
        if is_damage { Trouble::Damaged(why) } else { Trouble::Disk(why) }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Disk(error.to_string())
    }
}

/// A database that was found in order.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// What the clocks said with its last transaction; `None` if there was none.
    pub(super) mark: Option<Mark>,
    pub(super) counts: Counts,
}

/// Makes an empty database at `path`, where nothing is yet.
pub(super) fn create(path: &Path) -> Result<Connection, Trouble> {
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?);
    let connection = connect(path)?;
    // Until it is renamed nobody waits for it: it is made in one piece, without a log beside it.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    for table in Table::ALL {
        connection.execute(table.create(), [])?;
    }
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection)
}

/// Opens the database at `path`, and looks whether all of it is in order.
pub(super) fn open(path: &Path, durability: Durability) -> Result<Opened, Trouble> {
    if path.metadata()?.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    let connection = connect(path)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (id, version) = (number("application_id")?, number("user_version")?);
    if id != APPLICATION_ID {
        return Err(Trouble::Damaged("it is not a database of dtmfd".to_owned()));
    }
    if version > VERSION {
        return Err(Trouble::Damaged(format!(
            "it was made by a newer version of dtmfd (tables {version}, ours are {VERSION})"
        )));
    }
    if version != VERSION {
        return Err(Trouble::Damaged(format!("its tables have version {version}, ours {VERSION}")));
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Trouble::Disk(format!("it can't have a write-ahead log here, only `{mode}`")));
    }
    let synchronous = match durability {
        Durability::Power => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
    check(connection)
}

fn connect(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Until it was found in order: what is in its log should be there when it is salvaged.
    checkpoint_at_close(&connection, false);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // What is deleted is gone from the file as well, pages that are free included: what is found on a
    // page of a damaged database was not deleted.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Sets whether the log is taken into the database when it is closed.
pub(super) fn checkpoint_at_close(connection: &Connection, wanted: bool) {
    // It fails for no open connection.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !wanted);
}

/// Looks whether the tables are ours and every row is whole.
fn check(connection: Connection) -> Result<Opened, Trouble> {
    let is_ours = {
        let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY rowid")?;
        let found = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        found.iter().map(String::as_str).eq(Table::ALL.map(Table::create))
    };
    if !is_ours {
        return Err(Trouble::Damaged("its tables are not those of dtmfd".to_owned()));
    }
    let mut connection = connection;
    let clock = Clock::start();
    let until = clock.now().after(CHECK_MAX_MS);
    connection.progress_handler(CHECK_STEPS, Some(move || clock.now() >= until))?;
    let found: Result<String, _> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => (),
        Ok(found) => return Err(Trouble::Damaged(found.replace('\n', " "))),
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == ErrorCode::OperationInterrupted => {}
        Err(error) => return Err(error.into()),
    }
    let mut mark = None;
    for table in Table::ALL {
        let mut broken = 0u64;
        each(&connection, table, |key, columns| {
            match columns {
                Some(columns) if table == Table::Mark && key == MARK_KEY => mark = mark_in(columns),
                Some(_) => (),
                None => broken += 1,
            }
            Ok::<_, Trouble>(())
        })?;
        if broken > 0 {
            return Err(Trouble::Damaged(format!("{broken} rows of `{}` are not whole", table.name())));
        }
    }
    checkpoint_at_close(&connection, true);
    let (mark, counts) = mark.unzip();
    Ok(Opened { connection, mark, counts: counts.unwrap_or_default() })
}
