//! The drawing for a terminal: an indented tree within 100 columns.
//!
//! Every node stands once, with all that leads on from it: below the first of the nodes nearest to
//! where calls begin that lead to it. Elsewhere an arrow names it, and says whether it is drawn
//! above or below. What is nested too deeply begins a tree of its own further down, at the margin.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthStr as _;

use super::words::{Line, clean};
use super::{By, Graph, Kind, Place, To};

/// How wide a line may be.
const COLUMNS: usize = 100;
/// Where the names of what leads on may begin at most: past it a tree begins anew at the margin.
const INDENT_MAX: usize = 40;
/// How wide key strings may be for labels to stand in one column.
const KEYS_WIDTH_MAX: usize = 12;

/// What a label leaves for where its choice leads.
const TARGET_WIDTH: usize = 24;

/// What a part of a line is: how a terminal shows it.
#[derive(Clone, Copy)]
enum Ink {
    Plain,
    Line,
    Key,
    Name,
    Outcome,
    Faint,
    Warning,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Ink::Plain => "",
            Ink::Line | Ink::Faint => "2",
            Ink::Key => "1;36",
            Ink::Name => "1",
            Ink::Outcome => "32",
            Ink::Warning => "33",
        }
    }
}

/// Returns the drawing.
pub fn text(graph: &Graph, color: bool) -> String {
    let mut drawing = Drawing {
        graph,
        color,
        text: String::new(),
        width: 0,
        parent: parents(graph),
        drawn: vec![false; graph.nodes.len()],
        later: VecDeque::new(),
    };
    drawing.starts();
    drawing.later.extend(graph.starts.iter().map(|start| start.node));
    drawing.trees();
    // Rules lead to nodes too, and some nodes nothing leads to.
    for node in 0..graph.nodes.len() {
        drawing.later.push_back(node);
        drawing.trees();
    }
    drawing.rules();
    drawing.text
}

/// Returns the edge below which each node is drawn: the first one from the nearest node.
fn parents(graph: &Graph) -> Vec<Option<usize>> {
    let mut parent = vec![None; graph.nodes.len()];
    let mut seen = vec![false; graph.nodes.len()];
    let mut open: VecDeque<usize> = VecDeque::new();
    for node in graph.starts.iter().map(|start| start.node).chain(0..graph.nodes.len()) {
        if !std::mem::replace(&mut seen[node], true) {
            open.push_back(node);
        }
        while let Some(node) = open.pop_front() {
            let edges = graph.nodes[node].edges.clone();
            for (index, edge) in edges.clone().zip(&graph.edges[edges]) {
                if let (Some(next), None) = (edge.to.node(), edge.rule)
                    && !std::mem::replace(&mut seen[next], true)
                {
                    parent[next] = Some(index);
                    open.push_back(next);
                }
            }
        }
    }
    parent
}

struct Drawing<'a> {
    graph: &'a Graph,
    color: bool,
    text: String,
    /// How much of the line is written.
    width: usize,
    parent: Vec<Option<usize>>,
    drawn: Vec<bool>,
    /// Nodes that get a tree of their own.
    later: VecDeque<usize>,
}

/// What is still to be drawn: a line of an edge, with what stands before it.
struct Open {
    edge: usize,
    line: Line,
    is_first: bool,
    is_last: bool,
    before: String,
    keys_width: usize,
}

impl Drawing<'_> {
    /// Writes as much of `text` as fits the line, and returns whether that was all.
    fn write(&mut self, ink: Ink, text: &str) -> bool {
        let left = COLUMNS.saturating_sub(self.width);
        let fits = text.width() <= left;
        let shown = if fits { text.to_owned() } else { cut(text, left) };
        self.width += shown.width();
        match (self.color && !shown.is_empty(), ink.code()) {
            (false, _) | (true, "") => self.text.push_str(&shown),
            (true, code) => self.text.push_str(&format!("\u{1b}[{code}m{shown}\u{1b}[0m")),
        }
        fits
    }

    fn end_line(&mut self) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
        self.width = 0;
    }

    fn trees(&mut self) {
        while let Some(node) = self.later.pop_front() {
            if self.drawn[node] {
                continue;
            }
            if !self.text.is_empty() {
                self.end_line();
            }
            self.node(node, "");
            self.end_line();
            let mut open = self.edges(node, "");
            while let Some(next) = open.pop() {
                if let Some((node, lines)) = self.edge(&next) {
                    open.extend(self.edges(node, &lines));
                }
            }
        }
    }

    /// Returns the lines of a node's edges in file order, the first one last.
    fn edges(&self, node: usize, before: &str) -> Vec<Open> {
        let edges = self.graph.nodes[node].edges.clone();
        let mut keys_width = 0;
        let mut open = Vec::new();
        for edge in edges.filter(|&edge| self.graph.edges[edge].rule.is_none()) {
            let by = &self.graph.edges[edge].by;
            for (number, line) in by.lines().into_iter().enumerate() {
                if matches!(by, By::Choices(_)) {
                    keys_width = keys_width.max(line.what.width()).min(KEYS_WIDTH_MAX);
                }
                let before = before.to_owned();
                open.push(Open { edge, line, is_first: number == 0, is_last: false, before, keys_width: 0 });
            }
        }
        open.sort_by_key(|open| open.line.at);
        open.iter_mut().for_each(|open| open.keys_width = keys_width);
        if let Some(last) = open.last_mut() {
            last.is_last = true;
        }
        open.reverse();
        open
    }

    /// Draws a line, and returns the node whose edges come next, with what stands before them.
    fn edge(&mut self, open: &Open) -> Option<(usize, String)> {
        let edge = &self.graph.edges[open.edge];
        let (corner, below) = if open.is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let below = format!("{}{below}", open.before);
        self.write(Ink::Line, &format!("{}{corner}", open.before));
        self.by(&edge.by, &open.line, open.keys_width);
        let place = open.is_first.then_some(open.edge);
        let node = self.to(&edge.to, place, below.width() < INDENT_MAX, &open.line.more);
        self.end_line();
        node.map(|node| (node, below))
    }

    fn by(&mut self, by: &By, line: &Line, keys_width: usize) {
        let ink = if matches!(by, By::Choices(_)) { Ink::Key } else { Ink::Faint };
        self.write(ink, &cut(&line.what, COLUMNS / 2));
        let gap = match by {
            _ if line.more.is_empty() => 1,
            By::Choices(_) => (keys_width + 2).saturating_sub(line.what.width()).max(2),
            By::Entry | By::NoInput { .. } | By::NoMatch { .. } => 1,
        };
        self.write(Ink::Plain, &" ".repeat(gap));
        if !line.more.is_empty() {
            let ink = if matches!(by, By::Choices(_)) { Ink::Plain } else { Ink::Faint };
            let room = COLUMNS.saturating_sub(self.width + TARGET_WIDTH);
            self.write(ink, &format!("{} ", cut(&line.more, room)));
        }
    }

    /// Writes where an edge leads; returns the node if it is drawn here. `edge` may be what the node
    /// is drawn below.
    fn to(&mut self, to: &To, edge: Option<usize>, has_room: bool, label: &str) -> Option<usize> {
        match to {
            To::Outcome(outcome) => {
                self.write(Ink::Outcome, &format!("■ {}", clean(outcome)));
                None
            }
            To::Node(node) => {
                self.write(Ink::Line, "→ ");
                let is_here = edge.is_some() && self.parent[*node] == edge && !self.drawn[*node];
                if is_here && has_room {
                    self.node(*node, label);
                    return Some(*node);
                }
                if is_here {
                    self.later.push_back(*node);
                }
                let name = clean(&self.graph.nodes[*node].name);
                let at = if self.drawn[*node] { " (above)" } else { " (below)" };
                let room = COLUMNS.saturating_sub(self.width + at.len());
                self.write(Ink::Plain, &cut(&name, room));
                self.write(Ink::Faint, at);
                None
            }
            To::Back | To::Root | To::Again => {
                self.write(Ink::Line, "→ ");
                self.write(Ink::Plain, to.word().unwrap_or_default());
                None
            }
        }
    }

    /// Writes a node: its name, its label unless that stands in the line already, what it is.
    fn node(&mut self, node: usize, label: &str) {
        self.drawn[node] = true;
        let place = &self.graph.nodes[node];
        self.write(Ink::Name, &clean(&place.name));
        let own = clean(&place.label);
        if place.label != place.name && own != label {
            self.write(Ink::Plain, &format!("  {own}"));
        }
        if let Kind::End(outcome) = &place.kind {
            self.write(Ink::Outcome, &format!("  ■ {}", clean(outcome)));
        }
        let notes = notes(place);
        if !notes.is_empty() {
            self.write(Ink::Faint, &format!("  ({})", notes.join(", ")));
        }
        if !place.reachable {
            self.write(Ink::Warning, "  no call gets here");
        }
    }

    /// Says where calls begin, where it isn't at the first node drawn alone.
    fn starts(&mut self) {
        if self.graph.starts.iter().all(|start| start.numbers.is_empty()) {
            return;
        }
        for start in &self.graph.starts {
            let other = start.is_root.then_some("any other");
            let numbers: Vec<_> = start.numbers.iter().map(|number| clean(number)).collect();
            let calls: Vec<_> = numbers.iter().map(String::as_str).chain(other).collect();
            self.write(Ink::Faint, "a call to ");
            self.write(Ink::Key, &cut(&calls.join(", "), COLUMNS / 2));
            self.write(Ink::Line, " → ");
            self.write(Ink::Name, &clean(&self.graph.nodes[start.node].name));
            self.end_line();
        }
    }

    /// Says what holds everywhere.
    fn rules(&mut self) {
        let rules = &self.graph.rules;
        if rules.is_empty() {
            return;
        }
        self.end_line();
        self.write(Ink::Name, "everywhere");
        self.write(Ink::Faint, "  unless the node says otherwise");
        self.end_line();
        for (index, rule) in rules.iter().enumerate() {
            self.write(Ink::Line, if index + 1 == rules.len() { "└─ " } else { "├─ " });
            for line in rule.by.lines() {
                self.by(&rule.by, &line, 1);
            }
            self.to(&rule.to, None, false, "");
            let what = if matches!(rule.by, By::Choices(_)) { "menus" } else { "nodes" };
            self.write(Ink::Faint, &format!("  ({} of {} {what})", rule.n_nodes, rule.of));
            self.end_line();
        }
    }
}

fn notes(place: &Place) -> Vec<&str> {
    let entry = match &place.kind {
        Kind::Entry(what) => Some(what.as_str()),
        Kind::Menu if place.masked => Some("masked"),
        Kind::Menu | Kind::End(_) => None,
    };
    entry.into_iter().chain(place.exceptions.iter().map(String::as_str)).collect()
}

/// Returns a text cut to a width, with an ellipsis where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    for character in text.chars() {
        shown.push(character);
        if shown.as_str().width() >= width {
            shown.pop();
            break;
        }
    }
    if width > 0 {
        shown.push('…');
    }
    shown
}
