//! The drawing as a digraph in Graphviz' language, for `dot`.

use std::fmt::Write as _;

use super::Graph;
use super::picture::{Look, Picture, Shape, Stroke};

const HEAD: &str = "digraph ivr {
  graph [rankdir=LR, bgcolor=\"white\", fontname=\"Helvetica\", nodesep=0.2, ranksep=0.8]
  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11, fontcolor=\"#1e293b\"]
  edge [fontname=\"Helvetica\", fontsize=9, color=\"#475569\", fontcolor=\"#475569\", arrowsize=0.7]
";

/// Returns the drawing.
pub fn dot(graph: &Graph) -> String {
    let picture = Picture::new(graph);
    let mut text = String::from(HEAD);
    for shape in &picture.boxes {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {}", node(shape));
    }
    for link in &picture.links {
        let (from, to) = (&picture.boxes[link.from].id, &picture.boxes[link.to].id);
        let mut attributes = Vec::new();
        if !link.label.is_empty() {
            attributes.push(format!("label={}", quoted(&link.label_lines())));
        }
        match link.stroke {
            Stroke::Solid => (),
            Stroke::Dashed => attributes.push("style=dashed".to_owned()),
            Stroke::Dotted => attributes.push("style=dotted".to_owned()),
        }
        let attributes =
            if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        let _ = writeln!(text, "  {from} -> {to}{attributes}");
    }
    text.push_str("}\n");
    text
}

fn node(shape: &Shape) -> String {
    let look = match shape.look {
        Look::Start => "shape=circle, style=filled, fillcolor=\"#334155\", fontcolor=white",
        Look::Everywhere => "style=\"rounded,filled,dashed\", color=\"#64748b\", fillcolor=\"#f8fafc\"",
        Look::Menu => "color=\"#3b82f6\", fillcolor=\"#eff6ff\"",
        Look::Entry => "shape=parallelogram, style=filled, color=\"#ca8a04\", fillcolor=\"#fefce8\"",
        Look::End | Look::Outcome => {
            "shape=ellipse, style=filled, color=\"#16a34a\", fillcolor=\"#dcfce7\", fontcolor=\"#14532d\""
        }
        Look::Word => "shape=cds, style=filled, color=\"#94a3b8\", fillcolor=\"#f1f5f9\"",
    };
    let lines: Vec<_> = std::iter::once(&shape.title).chain(&shape.notes).cloned().collect();
    let unreachable = if shape.reachable { "" } else { ", color=\"#dc2626\", penwidth=2" };
    format!("{} [label={}, {look}{unreachable}]", shape.id, quoted(&lines))
}

/// Returns a string of lines. In a label `\` begins an escape such as `\N` and `&` an entity.
fn quoted(lines: &[String]) -> String {
    let escaped: Vec<_> = lines
        .iter()
        .map(|line| line.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;"))
        .collect();
    format!("\"{}\"", escaped.join("\\n"))
}
