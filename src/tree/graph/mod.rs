//! A tree as a drawing: one model of nodes and edges, and a file for each format that shows it.
//!
//! What stands in every menu would drown a drawing: the choices of `keys`, and the handler that
//! three nodes or more have in common (as `defaults` gives it). Both are [`Rule`]s: shown once, as
//! "everywhere", and a node to which one does not apply says so.

mod build;
mod dot;
mod json;
mod layers;
mod layout;
mod measure;
mod mermaid;
mod order;
mod picture;
mod place;
mod svg;
mod text;
mod words;

use std::ops::Range;
use std::sync::Arc;

pub use dot::dot;
pub use json::json;
pub use mermaid::mermaid;
pub use svg::svg;
pub use text::text;

/// A tree's nodes and what leads from one to another.
#[derive(Debug)]
pub struct Graph {
    /// Where calls begin: the root, and the nodes of `entries`.
    pub starts: Vec<Start>,
    /// Every node, in file order.
    pub nodes: Vec<Place>,
    /// Every edge, by the node that it leaves: choices, a good entry, no-input, no-match.
    pub edges: Vec<Edge>,
    /// What holds in many nodes, shown once.
    pub rules: Vec<Rule>,
}

/// Where calls begin.
#[derive(PartialEq, Eq, Debug)]
pub struct Start {
    /// The node.
    pub node: usize,
    /// The numbers whose calls begin there.
    pub numbers: Vec<String>,
    /// Whether every other call begins there.
    pub is_root: bool,
}

/// A node.
#[derive(Debug)]
pub struct Place {
    /// Its name in the file.
    pub name: String,
    /// What people call it: its label, else its name.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// Whether its entries are masked.
    pub masked: bool,
    /// Whether a call can get there.
    pub reachable: bool,
    /// How long it waits for the first digit, its announcement counted; `None` is for ever.
    pub first_digit_ms: Option<u64>,
    /// How long it waits between two digits.
    pub inter_digit_ms: u64,
    /// Which of [`Graph::rules`] do not apply here although they could, in short words.
    pub exceptions: Vec<String>,
    /// Its edges.
    pub edges: Range<usize>,
}

/// What a node is.
#[derive(PartialEq, Eq, Debug)]
pub enum Kind {
    /// A menu.
    Menu,
    /// An entry, and what may be entered, in short words.
    Entry(String),
    /// The walk ends here with this outcome.
    End(Arc<str>),
}

/// What leads from a node, and where to.
#[derive(Debug)]
pub struct Edge {
    /// The node.
    pub from: usize,
    /// What leads on.
    pub by: By,
    /// Where to.
    pub to: To,
    /// Which of [`Graph::rules`] says so already.
    pub rule: Option<usize>,
}

/// What leads on from a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// One of these choices.
    Choices(Vec<Way>),
    /// A good entry.
    Entry,
    /// Nothing was pressed, this many times for this long.
    NoInput {
        /// How many times.
        tries: u32,
        /// How long, the announcement counted; `None` is for ever.
        wait_ms: Option<u64>,
    },
    /// What was pressed was not valid, this many times.
    NoMatch {
        /// How many times.
        tries: u32,
    },
}

/// A choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// Its key string.
    pub keys: String,
    /// Its own label.
    pub label: Option<String>,
    /// Its position among the choices of its menu.
    pub at: usize,
}

/// Where an edge leads.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum To {
    /// To a node.
    Node(usize),
    /// To the end, with this outcome.
    Outcome(Arc<str>),
    /// To where the walk came from.
    Back,
    /// To where it began.
    Root,
    /// To the node that it leaves, as if entered for the first time.
    Again,
}

/// What holds in many nodes.
#[derive(Debug)]
pub struct Rule {
    /// What leads on.
    pub by: By,
    /// Where to.
    pub to: To,
    /// In how many nodes it holds.
    pub n_nodes: usize,
    /// In how many it could: menus for choices, else menus and entries.
    pub of: usize,
}

impl To {
    /// Returns the node that it names.
    pub fn node(&self) -> Option<usize> {
        match self {
            To::Node(node) => Some(*node),
            To::Outcome(_) | To::Back | To::Root | To::Again => None,
        }
    }

    /// Returns how the file writes it, where that is one of the words with `@`.
    pub fn word(&self) -> Option<&'static str> {
        match self {
            To::Back => Some("@back"),
            To::Root => Some("@root"),
            To::Again => Some("@again"),
            To::Node(_) | To::Outcome(_) => None,
        }
    }
}

impl Graph {
    /// Returns a node's edges that no rule says already.
    pub fn own_edges(&self, node: usize) -> impl Iterator<Item = &Edge> {
        self.edges[self.nodes[node].edges.clone()].iter().filter(|edge| edge.rule.is_none())
    }

    /// Returns the root.
    pub fn root(&self) -> usize {
        self.starts.iter().find(|start| start.is_root).map_or(0, |start| start.node)
    }
}

#[cfg(test)]
mod any;
#[cfg(test)]
mod tests;
