//! The store: what the engine keeps, in a SQLite database in the state directory.
//!
//! It makes the engine's transactions one at a time and answers each; it gives back at the start what
//! was there. A database that is damaged is set aside and what is readable in it carried over; a disk
//! that doesn't work is tried again with every transaction.

mod commit;
mod directory;
mod history;
mod pages;
mod rows;
mod salvage;
mod schema;
mod table;
mod wal;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::{error, info, warn};
use rusqlite::Connection;

use crate::driver::{Clock, Mark};
use crate::engine::{Calls, Commit, Keeping};
use crate::inbox::{Inbox, Incoming, Kept};
use crate::observe::status::Status;
use directory::{Directory, Identity, Refused, identity};
pub use history::KeptHistory;
use rows::Counts;
pub use schema::Durability;
use schema::{Opened, Trouble};
use table::{Table, each};
use wal::Log;

/// The database, in the state directory.
const DATABASE: &str = "dtmfd.db";
/// How often a disk that doesn't work is tried again where the engine has nothing to keep, and how
/// often somebody could have taken the database away.
const LOOK: Duration = Duration::from_secs(1);
/// How many rows go to the engine at once, where they could not be read at the start: some hundred
/// kilobytes, so that digits between them wait for milliseconds.
const FOUND_MAX: usize = 1_000;

/// Where state is kept, and how well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The state directory.
    pub directory: PathBuf,
    /// What is survived.
    pub durability: Durability,
}

/// Why the store can't be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another daemon holds the state directory.
    #[error("another dtmfd holds the state directory {} (DTMFD_STATE, --state)", .0.display())]
    InUse(PathBuf),
    /// The setting is wrong, or the directory's permissions are.
    #[error("the state can't be kept in {} (DTMFD_STATE, --state; `none` keeps it in memory)", directory.display())]
    Wrong {
        /// The directory.
        directory: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// What the engine keeps, on disk.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    directory: Option<Directory>,
    state: State,
    /// Whether the engine has what was on disk.
    is_restored: bool,
}

#[derive(Debug)]
enum State {
    Open(Box<Open>),
    /// The disk doesn't work, and this is why.
    Closed(String),
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    counts: Counts,
    mark: Option<Mark>,
    /// Which file it is: somebody may take it away.
    identity: Option<Identity>,
    /// The same of its write-ahead log, once there is one.
    log: Option<Identity>,
}

impl Store {
    /// Holds the state directory and opens the database in it; where the disk doesn't work, it is tried
    /// again later.
    ///
    /// # Errors
    ///
    /// Returns why it can't be used: another daemon has it, or it is set wrong.
    pub fn open(settings: Settings) -> Result<Store, OpenError> {
        let state = State::Closed(String::new());
        let mut store = Store { settings, directory: None, state, is_restored: false };
        store.try_open()?;
        if let State::Closed(why) = &store.state {
            error!(why; "the state can't be read: calls go on in memory until it can");
        }
        Ok(store)
    }

    /// Returns what the clocks said when something was kept last.
    pub fn mark(&self) -> Option<Mark> {
        match &self.state {
            State::Open(open) => open.mark,
            State::Closed(_) => None,
        }
    }

    /// Gives the engine back what was kept.
    pub fn restore(&mut self, calls: &mut Calls) {
        let State::Open(open) = &mut self.state else { return };
        let counts = open.counts;
        let mut unreadable = 0u64;
        let read = open.read(|kept| {
            unreadable += u64::from(kept.is_none_or(|kept| calls.restore(kept.row()).is_err()));
            Ok(())
        });
        calls.restored();
        tell_unreadable(unreadable);
        match read {
            Ok(()) => {
                self.is_restored = true;
                let Counts { calls, updates, ended, history } = counts;
                info!(calls, updates, ended, history; "the state was read");
            }
            Err(error) => error!(why:% = error; "not all of the state could be read"),
        }
    }

    /// Makes every transaction that comes, until there will be none; a way to say how it stands is
    /// `status`.
    pub fn run(mut self, clock: Clock, commits: &Receiver<Commit>, inbox: &Inbox, status: &Status) {
        if let State::Closed(why) = &self.state {
            status.set_keeping(Keeping::Failing, why);
        }
        loop {
            match commits.recv_timeout(LOOK) {
                Ok(commit) => self.take(&commit, &clock, inbox, status),
                Err(RecvTimeoutError::Timeout) => self.look(inbox, status),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.close(&clock);
    }

    fn take(&mut self, commit: &Commit, clock: &Clock, inbox: &Inbox, status: &Status) {
        self.look(inbox, status);
        let made = match &mut self.state {
            State::Open(open) => open.apply(commit, clock),
            State::Closed(why) => Err(Trouble::Disk(why.clone())),
        };
        let number = commit.number;
        let answer = match made {
            Ok(()) => Incoming::Committed(number),
            Err(trouble) => {
                let why = trouble.to_string();
                if let Trouble::Damaged(_) = trouble {
                    self.lose(&why, inbox);
                }
                Incoming::CommitFailed { number, why }
            }
        };
        // It fails only if `calls` has gone: then nobody waits for the answer.
        let _ = inbox.send(answer);
    }

    /// Looks whether the database is still where it was, and opens it if it couldn't be before.
    fn look(&mut self, inbox: &Inbox, status: &Status) {
        match &mut self.state {
            State::Open(open) => {
                let path = self.settings.directory.join(DATABASE);
                if open.was_taken_away(&path) {
                    // What lies there now, if anything, is of another time: none of it may go on.
                    if let Some(Err(error)) = self.directory.as_ref().map(salvage::put_away) {
                        warn!(why:% = error; "what took the database's place can't be set aside");
                    }
                    self.lose("its file was taken away, or another put in its place", inbox);
                }
            }
            State::Closed(_) => {
                match self.try_open() {
                    Ok(()) => (),
                    Err(error) => self.state = State::Closed(crate::error::Chain(&error).to_string()),
                }
                if let State::Open(_) = self.state {
                    self.find(inbox);
                    status.set_keeping(Keeping::Well, "");
                }
            }
        }
    }

    /// The database can't be used any more: another takes its place.
    fn lose(&mut self, why: &str, inbox: &Inbox) {
        error!(why; "the database is lost");
        // Closed as it is, without a checkpoint: that could do more harm.
        if let State::Open(open) = std::mem::replace(&mut self.state, State::Closed(why.to_owned())) {
            schema::checkpoint_at_close(&open.connection, false);
        }
        if let Err(error) = self.try_open() {
            self.state = State::Closed(crate::error::Chain(&error).to_string());
        }
        let _ = inbox.send(Incoming::StoreLost);
    }

    /// Opens the database; [`State::Closed`] where the disk doesn't let us.
    fn try_open(&mut self) -> Result<(), OpenError> {
        let path = self.settings.directory.clone();
        if self.directory.is_none() {
            match Directory::hold(&path) {
                Ok(directory) => self.directory = Some(directory),
                Err(Refused::InUse) => return Err(OpenError::InUse(path)),
                Err(Refused::Wrong(source)) => return Err(OpenError::Wrong { directory: path, source }),
                Err(Refused::Disk(error)) => {
                    self.state = State::Closed(error.to_string());
                    return Ok(());
                }
            }
        }
        let directory = self.directory.as_ref().expect("it is held by now");
        self.state = match open_in(directory, self.settings.durability) {
            Ok(open) => State::Open(Box::new(open)),
            Err(trouble) => State::Closed(trouble.to_string()),
        };
        Ok(())
    }

    /// Sends the engine what could not be read at the start.
    fn find(&mut self, inbox: &Inbox) {
        let State::Open(open) = &mut self.state else { return };
        if std::mem::replace(&mut self.is_restored, true) {
            return;
        }
        let mut batch = Vec::new();
        let mut unreadable = 0;
        let read = open.read(|kept| {
            match kept {
                Some(kept) => batch.push(kept),
                None => unreadable += 1,
            }
            if batch.len() >= FOUND_MAX {
                let _ = inbox.send(Incoming::Found(std::mem::take(&mut batch), false));
            }
            Ok(())
        });
        let _ = inbox.send(Incoming::Found(batch, true));
        tell_unreadable(unreadable);
        match read {
            Ok(()) => info!("the state was read after all"),
            Err(error) => error!(why:% = error; "not all of the state could be read"),
        }
    }

    fn close(self, clock: &Clock) {
        let State::Open(mut open) = self.state else { return };
        if let Err(error) = commit::stamp(&mut open.connection, open.counts, clock) {
            warn!(why:% = error; "the database could not be closed cleanly");
        }
    }
}

impl Open {
    /// Hands every row that the engine keeps to `take`, those of trees first; `None` for one that can't
    /// be read.
    fn read(&mut self, mut take: impl FnMut(Option<Kept>) -> Result<(), Trouble>) -> Result<(), Trouble> {
        for table in [Table::Trees, Table::Calls, Table::Updates, Table::Ended] {
            each(&self.connection, table, |key, columns| {
                take(columns.and_then(|columns| rows::kept(table, key, columns)))
            })?;
        }
        Ok(())
    }

    fn apply(&mut self, commit: &Commit, clock: &Clock) -> Result<(), Trouble> {
        match commit::apply(&mut self.connection, commit, self.counts, clock) {
            Ok(counts) => {
                self.counts = counts;
                Ok(())
            }
            Err(error) => {
                let trouble = Trouble::from(error);
                if let Trouble::Disk(_) = trouble {
                    // What the log holds may have room in the database where the log can't grow.
                    let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
                }
                Err(trouble)
            }
        }
    }

    fn was_taken_away(&mut self, path: &Path) -> bool {
        let log = identity(&with_suffix(path, "-wal"));
        let is_gone = self.identity != identity(path) || self.log.is_some() && self.log != log;
        self.log = log;
        is_gone
    }
}

fn tell_unreadable(unreadable: u64) {
    if unreadable > 0 {
        error!(unreadable; "kept rows that can't be read are left out");
    }
}

/// Opens the database of a directory; one that isn't there is made, one that is damaged replaced.
fn open_in(directory: &Directory, durability: Durability) -> Result<Open, Trouble> {
    salvage::tidy_up(directory)?;
    let path = directory.file(DATABASE);
    let opened = match look_at(directory, &path) {
        Ok(()) => schema::open(&path, durability),
        Err(trouble) => Err(trouble),
    };
    let opened = match opened {
        Err(Trouble::Damaged(why)) => {
            salvage::replace(directory, &why)?;
            schema::open(&path, durability)
        }
        other => other,
    };
    let Opened { connection, mark, counts } = opened?;
    Ok(Open { connection, counts, mark, identity: identity(&path), log: None })
}

/// Sees what SQLite would not speak of: a database without its file, or with a log that is broken.
fn look_at(directory: &Directory, path: &Path) -> Result<(), Trouble> {
    let log = Log::read_at(&with_suffix(path, "-wal"))?;
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if log.is_empty() {
                // An old log, even one without a transaction, is none of the new database's.
                salvage::forget_log(directory)?;
                return salvage::begin(directory);
            }
            Err(Trouble::Damaged("its file is gone, and only its write-ahead log is there".to_owned()))
        }
        Err(error) => Err(error.into()),
        Ok(metadata) if !metadata.is_file() => Err(Trouble::Damaged("it is no file".to_owned())),
        // A database of ours is never empty: it is whole when it gets its name.
        Ok(metadata) if metadata.len() == 0 => Err(Trouble::Damaged("its file is empty".to_owned())),
        Ok(_) if log.is_broken() => Err(Trouble::Damaged(
            "its write-ahead log is damaged, and transactions are behind the place".to_owned(),
        )),
        Ok(_) => Ok(()),
    }
}

/// Returns a path with something after its file's name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
