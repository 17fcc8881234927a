//! The command line: one file a command.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::engine::Ivr;
use crate::error::Error;
use crate::tree::Loaded;

mod graph;
mod run;
mod sandbox;

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
        }
    }
}

/// Reads a tree that calls can walk.
fn read_tree(path: &Path) -> Result<Arc<Ivr>, Error> {
    let source = crate::tree::read(path).map_err(Error::ReadTree)?;
    walkable(source.load(), &path.display().to_string(), &source.text)
}

/// Returns the tree that was loaded, if calls can walk it.
fn walkable(loaded: Loaded, name: &str, text: &str) -> Result<Arc<Ivr>, Error> {
    loaded.ivr.ok_or_else(|| {
        let findings = crate::tree::human(&loaded.findings, name, text, false);
        Error::Tree { path: name.to_owned(), findings }
    })
}

/// Looks a variable of the environment up; what is no UTF-8 counts as not set.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
