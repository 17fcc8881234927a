//! The command line: one file a command.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::config::TREE;
use crate::engine::Ivr;
use crate::error::Error;
use crate::tree::{Loaded, ReadError, Source};

mod calls;
mod check;
mod client;
mod graph;
mod online;
mod outbox;
mod run;
mod sandbox;
mod schema;
mod show;
mod test;

/// Reads DTMF digits from the CXone Voice WebSocket, walks each call through an IVR tree and writes the
/// outcome to its interaction.
///
/// Try it with no account: dtmfd sandbox --press demo=1A1 --exit
#[derive(Parser, Debug)]
#[command(name = "dtmfd", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the service
    Run(run::Run),
    /// Draw a tree
    ///
    /// A drawing shows once, as "everywhere", what would drown it: the choices of `keys`, and the
    /// no-input and no-match handlers that three nodes or more have in common. A node to which one does
    /// not apply says so. Choices of a menu that lead to one place share a line. The picture (svg) of a
    /// tree of more than 2000 boxes draws one line to each node; other lines end at the node's name.
    Graph(graph::Draw),
    /// Run it against a stand-in tenant on this machine: no account, no network
    Sandbox(sandbox::Sandbox),
    /// Show the calls that a running daemon has in progress, or how one of them went
    Calls(calls::Calls),
    /// Show the updates that a running daemon has not delivered yet; retry or drop them
    Outbox(outbox::Outbox),
    /// Find the mistakes in a tree
    Check(check::Check),
    /// Run a tree's own tests in virtual time
    Test(test::Test),
    /// Print the JSON Schema of trees, for editors
    Schema(schema::Schema),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// Returns why it could not do its work.
    pub fn run(self) -> Result<ExitCode, Error> {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Graph(graph) => graph.run(),
            Command::Sandbox(sandbox) => sandbox.run(),
            Command::Calls(calls) => calls.run(),
            Command::Outbox(outbox) => outbox.run(),
            Command::Check(check) => check.run(),
            Command::Test(test) => test.run(),
            Command::Schema(schema) => schema.run(),
        }
    }
}

/// Reads a tree that calls can walk.
fn read_tree(path: &Path) -> Result<Arc<Ivr>, Error> {
    // A pipe would keep the service waiting for a writer, at a reload too.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let source = io::Error::other("it is no regular file");
        return Err(Error::ReadTree(ReadError { path: path.to_owned(), source }));
    }
    let source = crate::tree::read(path).map_err(Error::ReadTree)?;
    walkable(source.load(), &path.display().to_string(), &source.text)
}

/// Returns the tree that was loaded, if calls can walk it and its own tests pass.
fn walkable(loaded: Loaded, name: &str, text: &str) -> Result<Arc<Ivr>, Error> {
    let loaded = crate::tree::proven(loaded);
    loaded.ivr.ok_or_else(|| {
        let findings = crate::tree::human(&loaded.findings, name, text, false);
        Error::Tree { path: name.to_owned(), findings }
    })
}

/// Looks a variable of the environment up.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Reads the file of a tree that is to be looked at: the one that was named, else `ivr.json`.
fn open(file: Option<&Path>) -> Result<Source, Error> {
    crate::tree::read(file.unwrap_or(Path::new(TREE))).map_err(Error::OpenTree)
}

/// Writes data to standard output. If nobody reads it any more, the exit code still tells.
fn print(text: &str) {
    print_some(text);
}

/// As [`print`], where more is to come: returns whether somebody reads it.
fn print_some(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Says a line on standard error.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Returns whether standard output shows colours, and may.
fn is_colored() -> bool {
    let plain = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && io::stdout().is_terminal() && environment("TERM").is_none_or(|term| term != "dumb")
}

/// Returns a number of things, as in "1 error" or "2 errors".
fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
