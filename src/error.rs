//! Why we cannot start, or have to stop; and the exit codes (SPEC.md section 2).

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::local::{BindError, Listen};
use crate::store::OpenError;
use crate::tenant::Unanswered;
use crate::tree::{ReadError, printable};

/// Why dtmfd cannot start, or has to stop.
///
/// A message names the place and what is wrong there, then what would be right. It never repeats its
/// `source`: `main` prints the chain, one cause after another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings are missing or wrong: all of them, a line each.
    #[error("{}", settings(.0))]
    Settings(Vec<String>),
    /// The tree could not be read.
    #[error("cannot read the tree (DTMFD_IVR, --ivr)")]
    ReadTree(#[source] ReadError),
    /// The tree that a command was to look at could not be read.
    #[error("there is no tree to look at (FILE, else ivr.json in this directory)")]
    OpenTree(#[source] ReadError),
    /// What was found could not be written.
    #[error("cannot write {}", printable(&path.to_string_lossy()))]
    Write {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The tree is wrong; the findings were rendered for people.
    #[error("{findings}\nthe tree {} can't be walked", printable(path))]
    Tree {
        /// The file.
        path: String,
        /// Every finding, with its place.
        findings: String,
    },
    /// The local API could not be opened.
    #[error("cannot open the local API")]
    Listen(#[source] BindError),
    /// State can't be kept where it was to be.
    #[error(transparent)]
    Store(OpenError),
    /// No daemon answers where one was looked for.
    #[error(
        "no dtmfd answers at {at}: start it with `dtmfd run`, or say where it listens (--listen, DTMFD_LISTEN)"
    )]
    Unreachable {
        /// Where.
        at: Listen,
        /// Why not.
        source: Unanswered,
    },
    /// The daemon answered that it can't do that.
    #[error("{}", crate::tree::printable(.detail))]
    Refused {
        /// In its words.
        detail: String,
    },
    /// A thread of ours died.
    #[error("the thread `{0}` died: this is a bug in dtmfd, the log has its last words")]
    ThreadDied(String),
    /// The system refused something that we need to run.
    #[error("{what}")]
    System {
        /// What we wanted.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

fn settings(problems: &[String]) -> String {
    let counted = match problems.len() {
        1 => "1 setting is missing or wrong".to_owned(),
        n => format!("{n} settings are missing or wrong"),
    };
    format!("{counted}:\n  {}", problems.join("\n  "))
}

impl Error {
    /// Returns the exit code that this ends the process with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Error::Settings(_)
            | Error::ReadTree(_)
            | Error::OpenTree(_)
            | Error::Tree { .. }
            | Error::Listen(_) => 78,
            Error::Store(OpenError::Wrong { .. }) => 78,
            Error::Store(OpenError::InUse(_)) => 75,
            Error::Unreachable { .. } => 69,
            Error::ThreadDied(_) => 70,
            Error::Refused { .. } | Error::Write { .. } | Error::System { .. } => 1,
        })
    }
}

/// An error and its causes in a line, one after another.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn StdError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let causes = std::iter::successors(self.0.source(), |&error| error.source());
        { causes }.try_for_each(|cause| write!(f, ": {cause}"))
    }
}
