//! `dtmfd graph`: draws a tree.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::TREE;
use crate::error::Error;
use crate::tree;
use crate::tree::graph::{self, Graph};

/// The flags of `dtmfd graph`.
#[derive(Args, Debug)]
pub(super) struct Draw {
    /// The tree
    #[arg(default_value = TREE)]
    file: PathBuf,
    /// How to draw it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum, Debug)]
enum Format {
    /// An indented tree, for a terminal
    Text,
    /// A Mermaid flowchart, for Markdown
    Mermaid,
    /// A digraph for Graphviz
    Dot,
    /// A picture, for documents
    Svg,
    /// Nodes and edges, for programs
    Json,
}

impl Draw {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let source = tree::read(&self.file).map_err(Error::ReadFile)?;
        let loaded = source.load();
        let Some(ivr) = loaded.ivr else {
            let name = self.file.display().to_string();
            let color = shows_color(&io::stderr());
            let findings = tree::human(&loaded.findings, &name, &source.text, color);
            // If nobody can read it, the exit code still tells.
            let _ = writeln!(
                io::stderr(),
                "{findings}\ndtmfd: {name} can't be drawn before its errors are mended"
            );
            return Ok(ExitCode::FAILURE);
        };
        let graph = Graph::new(&ivr, &loaded.keys);
        let drawing = match self.format {
            Format::Text => graph::text(&graph, shows_color(&io::stdout())),
            Format::Mermaid => graph::mermaid(&graph),
            Format::Dot => graph::dot(&graph),
            Format::Svg => graph::svg(&graph),
            Format::Json => graph::json(&graph),
        };
        match io::stdout().write_all(drawing.as_bytes()) {
            // Who reads only the beginning has what it wanted.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::System { what: "cannot write the drawing", source: error })
            }
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Returns whether what is written there may have colours: only on a terminal, and not under a
/// `NO_COLOR` that is not empty (no-color.org).
fn shows_color(out: &impl io::IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").as_deref().is_none_or(OsStr::is_empty)
}
