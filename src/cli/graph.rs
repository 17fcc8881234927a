//! `dtmfd graph`: draws a tree.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{is_colored, open, print, say};
use crate::error::Error;
use crate::tree;
use crate::tree::graph::{self, Graph};

/// The flags of `dtmfd graph`.
#[derive(Args, Debug)]
pub(super) struct Draw {
    /// The tree [default: ivr.json]
    file: Option<PathBuf>,
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
        let source = open(self.file.as_deref())?;
        let loaded = source.load();
        let Some(ivr) = loaded.ivr else {
            let name = source.path.display();
            say(&tree::human(&loaded.findings, &name.to_string(), &source.text, false));
            say(&format!("dtmfd: {name} can't be drawn before its errors are mended"));
            return Ok(ExitCode::FAILURE);
        };
        let graph = Graph::new(&ivr, &loaded.keys);
        print(&match self.format {
            Format::Text => graph::text(&graph, is_colored()),
            Format::Mermaid => graph::mermaid(&graph),
            Format::Dot => graph::dot(&graph),
            Format::Svg => graph::svg(&graph),
            Format::Json => graph::json(&graph),
        });
        Ok(ExitCode::SUCCESS)
    }
}
