//! What the drawn formats have in common: boxes, and links between them.
//!
//! Outcomes and words such as `@back` get a box for each node that they are reached from: one box for
//! all would be where every line of a large drawing ends.

use std::collections::HashMap;

use super::words::{Line, clean};
use super::{By, Edge, Graph, Kind, Place, To};

/// Boxes, and links between them.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// Where calls begin comes first, then what holds everywhere, then the nodes in file order.
    pub(super) boxes: Vec<Shape>,
    /// By the box that they leave, in file order.
    pub(super) links: Vec<Link>,
}

/// A box.
#[derive(Debug)]
pub(super) struct Shape {
    /// Letters and digits only, and no word of a language: `n0` for a node.
    pub(super) id: String,
    pub(super) look: Look,
    /// What people call it.
    pub(super) title: String,
    /// What more there is to say, line by line.
    pub(super) notes: Vec<String>,
    /// Whether a call can get there.
    pub(super) reachable: bool,
}

/// What a box is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Where calls begin.
    Start,
    /// What holds in many nodes.
    Everywhere,
    Menu,
    Entry,
    /// A node that ends the walk.
    End,
    /// An outcome without a node of its own.
    Outcome,
    /// `@back`, `@root` or `@again`.
    Word,
}

/// A link from one box to another.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) stroke: Stroke,
    /// What leads on, line by line.
    pub(super) label: Vec<Line>,
}

/// How a link is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stroke {
    /// Through: keys lead on.
    Solid,
    /// Dashed: nothing was pressed.
    Dashed,
    /// Dotted: what was pressed was not valid.
    Dotted,
}

impl Picture {
    pub(super) fn new(graph: &Graph) -> Picture {
        let mut picture = Picture::default();
        picture.boxes.push(Shape::new("start".to_owned(), Look::Start, "Call".to_owned()));
        let has_rules = !graph.rules.is_empty();
        if has_rules {
            let mut shape = Shape::new("everywhere".to_owned(), Look::Everywhere, "Everywhere".to_owned());
            shape.notes.push("unless the node says otherwise".to_owned());
            picture.boxes.push(shape);
        }
        let first_node = picture.boxes.len();
        for (index, place) in graph.nodes.iter().enumerate() {
            picture.boxes.push(node(index, place));
        }
        let mut leaves = HashMap::new();
        for start in &graph.starts {
            let is_other = start.is_root && graph.starts.iter().any(|start| !start.numbers.is_empty());
            let other = is_other.then(|| "any other".to_owned());
            let calls = start.numbers.iter().map(|number| clean(number)).chain(other);
            let label = calls.map(|what| Line { what, more: String::new(), at: 0 }).collect();
            picture.links.push(Link { from: 0, to: first_node + start.node, stroke: Stroke::Solid, label });
        }
        // Those that lead to one place stand together, so that their lines don't cross others.
        let place = |to: &To| graph.rules.iter().position(|rule| rule.to == *to);
        let mut rules: Vec<_> = graph.rules.iter().collect();
        rules.sort_by_cached_key(|rule| place(&rule.to));
        for rule in rules {
            let to = picture.target(first_node - 1, &rule.to, first_node, &mut leaves);
            let (stroke, label) = (stroke(&rule.by), rule.by.lines());
            picture.links.push(Link { from: first_node - 1, to, stroke, label });
        }
        for Edge { from, by, to, .. } in graph.edges.iter().filter(|edge| edge.rule.is_none()) {
            let to = picture.target(first_node + from, to, first_node, &mut leaves);
            let (stroke, label) = (stroke(by), by.lines());
            picture.links.push(Link { from: first_node + from, to, stroke, label });
        }
        picture
    }

    /// Returns the links that leave each box.
    pub(super) fn links_out(&self) -> Vec<Vec<usize>> {
        let mut out = vec![Vec::new(); self.boxes.len()];
        for (index, link) in self.links.iter().enumerate() {
            out[link.from].push(index);
        }
        out
    }

    /// Returns the box that a link from `from` leads to.
    fn target(
        &mut self,
        from: usize,
        to: &To,
        first_node: usize,
        leaves: &mut HashMap<(usize, To), usize>,
    ) -> usize {
        if let Some(node) = to.node() {
            return first_node + node;
        }
        let next = self.boxes.len();
        let leaf = *leaves.entry((from, to.clone())).or_insert(next);
        if leaf == next {
            let id = format!("{}x{next}", self.boxes[from].id);
            let (look, title) = match to {
                To::Outcome(outcome) => (Look::Outcome, clean(outcome)),
                To::Node(_) | To::Back | To::Root | To::Again => {
                    (Look::Word, to.word().unwrap_or_default().to_owned())
                }
            };
            self.boxes.push(Shape::new(id, look, title));
        }
        leaf
    }
}

impl Link {
    /// Returns the label's lines, each as one text.
    pub(super) fn label_lines(&self) -> Vec<String> {
        self.label.iter().map(Line::joined).collect()
    }
}

impl Shape {
    fn new(id: String, look: Look, title: String) -> Shape {
        Shape { id, look, title, notes: Vec::new(), reachable: true }
    }
}

fn node(index: usize, place: &Place) -> Shape {
    let (look, what) = match &place.kind {
        Kind::Menu if place.masked => (Look::Menu, "masked menu".to_owned()),
        Kind::Menu => (Look::Menu, "menu".to_owned()),
        Kind::Entry(_) => (Look::Entry, "entry".to_owned()),
        Kind::End(outcome) => (Look::End, clean(outcome)),
    };
    let mut shape = Shape::new(format!("n{index}"), look, clean(&place.label));
    let is_said = place.label == place.name || place.name == what;
    shape.notes.push(if is_said { what } else { format!("{} · {what}", clean(&place.name)) });
    if let Kind::Entry(set) = &place.kind {
        shape.notes.push(set.clone());
    }
    shape.notes.extend(place.exceptions.iter().cloned());
    shape.reachable = place.reachable;
    if !place.reachable {
        shape.notes.push("no call gets here".to_owned());
    }
    shape
}

fn stroke(by: &By) -> Stroke {
    match by {
        By::Choices(_) | By::Entry => Stroke::Solid,
        By::NoInput { .. } => Stroke::Dashed,
        By::NoMatch { .. } => Stroke::Dotted,
    }
}
