//! Why we cannot start, or have to stop; and the exit codes (SPEC.md section 2).

use std::io;
use std::process::ExitCode;

use crate::local::BindError;
use crate::tree::ReadError;

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
    /// A file that was named on the command line could not be read.
    #[error(transparent)]
    ReadFile(ReadError),
    /// The tree is wrong; the findings were rendered for people.
    #[error("{findings}\nthe tree {path} can't be walked")]
    Tree {
        /// The file.
        path: String,
        /// Every finding, with its place.
        findings: String,
    },
    /// The local API could not be opened.
    #[error("cannot open the local API")]
    Listen(#[source] BindError),
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
            | Error::ReadFile(_)
            | Error::Tree { .. }
            | Error::Listen(_) => 78,
            Error::ThreadDied(_) => 70,
            Error::System { .. } => 1,
        })
    }
}
