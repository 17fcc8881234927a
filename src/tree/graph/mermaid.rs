//! The drawing as a Mermaid flowchart: GitHub, GitLab and many wikis draw it in Markdown.

use std::fmt::Write as _;

use super::Graph;
use super::picture::{Look, Picture, Shape, Stroke};

/// What each kind of box looks like; `class` names it.
const CLASSES: &str = "  classDef start fill:#334155,stroke:#334155,color:#ffffff
  classDef everywhere fill:#f8fafc,stroke:#64748b,color:#1e293b,stroke-dasharray:5 4
  classDef menu fill:#eff6ff,stroke:#3b82f6,color:#1e293b
  classDef entry fill:#fefce8,stroke:#ca8a04,color:#1e293b
  classDef outcome fill:#dcfce7,stroke:#16a34a,color:#14532d
  classDef word fill:#f1f5f9,stroke:#94a3b8,color:#334155
  classDef unreachable stroke:#dc2626,stroke-dasharray:5 4
";

/// Returns the drawing.
pub fn mermaid(graph: &Graph) -> String {
    let picture = Picture::new(graph);
    let mut text = String::from("flowchart TD\n");
    for shape in &picture.boxes {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {}", node(shape));
        if !shape.reachable {
            let _ = writeln!(text, "  class {} unreachable", shape.id);
        }
    }
    let mut dotted = Vec::new();
    for (index, link) in picture.links.iter().enumerate() {
        let (from, to) = (&picture.boxes[link.from].id, &picture.boxes[link.to].id);
        let arrow = if link.stroke == Stroke::Solid { "-->" } else { "-.->" };
        let label =
            if link.label.is_empty() { String::new() } else { format!("|{}|", quoted(&link.label_lines())) };
        let _ = writeln!(text, "  {from} {arrow}{label} {to}");
        if link.stroke == Stroke::Dotted {
            dotted.push(index.to_string());
        }
    }
    if !dotted.is_empty() {
        let _ = writeln!(text, "  linkStyle {} stroke-dasharray:1 4", dotted.join(","));
    }
    text.push_str(CLASSES);
    text
}

fn node(shape: &Shape) -> String {
    let (open, close, class) = match shape.look {
        Look::Start => ("((", "))", "start"),
        Look::Everywhere => ("[", "]", "everywhere"),
        Look::Menu => ("[", "]", "menu"),
        Look::Entry => ("[/", "/]", "entry"),
        Look::End | Look::Outcome => ("([", "])", "outcome"),
        Look::Word => (">", "]", "word"),
    };
    let lines: Vec<_> = std::iter::once(&shape.title).chain(&shape.notes).cloned().collect();
    format!("{}{open}{}{close}:::{class}", shape.id, quoted(&lines))
}

/// Returns a string of lines. Everything that Mermaid, its Markdown or a browser could take for more
/// than a character is written as its number.
fn quoted(lines: &[String]) -> String {
    let mut text = String::from("\"");
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push_str("<br>");
        }
        for character in line.chars() {
            match character {
                ' ' | ',' | '(' | ')' | '/' | '@' | '[' | ']' => text.push(character),
                _ if character.is_ascii_alphanumeric() || !character.is_ascii() => text.push(character),
                // `$$x$$` is a formula and `fa:fa-car` a picture even where they are written as numbers.
                ':' => text.push_str("#58;\u{200b}"),
                '$' => text.push_str("#36;\u{200b}"),
                _ => {
                    let _ = write!(text, "#{};", u32::from(character));
                }
            }
        }
    }
    text.push('"');
    text
}
