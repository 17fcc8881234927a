//! What holds of the drawing of any tree.

use std::collections::HashSet;

use proptest::prelude::*;

use super::layout::{LABEL_LINE, Layout, layout};
use super::picture::Picture;
use super::tests::graph;
use super::{svg, text};

/// Returns a tree of nodes that lead anywhere.
fn any_tree() -> impl Strategy<Value = String> {
    let node = (
        0..4u8,
        prop::collection::vec((0..9u8, 0..40usize, 0..5u8), 1..7),
        0..40usize,
        0..6u8,
        "[a-z<&\"ü電 ]{0,24}",
    );
    (prop::collection::vec(node, 1..40), 0..3u8).prop_map(|(nodes, more)| {
        let n_nodes = nodes.len();
        let mut all = serde_json::Map::new();
        for (index, (kind, ways, other, handler, label)) in nodes.into_iter().enumerate() {
            let target = |node: usize, kind: u8| match kind {
                0 => serde_json::json!({"outcome": format!("o{node}"), "label": label}),
                1 => serde_json::json!(["@back", "@root", "@again"][node % 3]),
                _ => serde_json::json!(format!("n{}", node % n_nodes)),
            };
            let mut node = match kind {
                0 => serde_json::json!({"outcome": "end"}),
                1 => serde_json::json!({"collect": {"min": 2, "max": 5}, "nextNode": format!("n{}", other % n_nodes)}),
                _ => {
                    let ways: serde_json::Map<_, _> =
                        ways.iter().map(|&(key, node, kind)| (key.to_string(), target(node, kind))).collect();
                    serde_json::json!({"choices": ways})
                }
            };
            node["label"] = label.clone().into();
            if handler == 1 {
                node["noInput"] = serde_json::json!({"tries": 2, "nextNode": format!("n{}", other % n_nodes)});
            } else if handler == 2 {
                node["noMatch"] = serde_json::json!({"tries": 2});
            }
            all.insert(format!("n{index}"), node);
        }
        let mut tree = serde_json::json!({"rootNode": "n0", "nodes": all});
        if more == 1 {
            tree["keys"] = serde_json::json!({"9": "@back", "*": "n0"});
            tree["entries"] = serde_json::json!({"+49": "n0", "+44": format!("n{}", n_nodes - 1)});
        }
        tree.to_string()
    })
}

fn overlap(a: &[f64; 4], b: &[f64; 4]) -> bool {
    let meet = |axis: usize| a[axis] + a[axis + 2] > b[axis] && b[axis] + b[axis + 2] > a[axis];
    meet(0) && meet(1)
}

/// Returns points along a path of `M`, `H` and `C`.
fn points(path: &str) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut at = (0.0, 0.0);
    let starts: Vec<usize> = path.match_indices(char::is_alphabetic).map(|(at, _)| at).collect();
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(path.len());
        let values: Vec<f64> = numbers(&path[start..end]).collect();
        let curve = match values[..] {
            [x] => [at, at, (x, at.1), (x, at.1)],
            [x, y] => [(x, y); 4],
            [a, b, c, d, x, y] => [at, (a, b), (c, d), (x, y)],
            _ => panic!("{path}"),
        };
        for step in 0..=40 {
            let t = f64::from(step) / 40.0;
            let parts = [(1.0 - t).powi(3), 3.0 * t * (1.0 - t).powi(2), 3.0 * t * t * (1.0 - t), t.powi(3)];
            let sum =
                |of: fn(&(f64, f64)) -> f64| curve.iter().zip(parts).map(|(p, part)| of(p) * part).sum();
            points.push((sum(|point| point.0), sum(|point| point.1)));
        }
        at = curve[3];
    }
    points
}

fn number(node: &roxmltree::Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

/// Returns every number of a path.
fn numbers(path: &str) -> impl Iterator<Item = f64> {
    path.split(|character: char| character.is_ascii_uppercase() || character == ' ')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_picture_is_xml_in_which_nothing_overlaps_or_is_lost(tree in any_tree()) {
        let graph = graph(&tree);
        let drawn = svg(&graph);
        prop_assert_eq!(&drawn, &svg(&graph));
        let xml = roxmltree::Document::parse(&drawn).unwrap();
        let class = |name| xml.descendants().filter(move |node| node.attribute("class") == Some(name));
        let (width, height) = (number(&xml.root_element(), "width"), number(&xml.root_element(), "height"));

        let boxes: Vec<[f64; 4]> = class("box")
            .map(|node| ["x", "y", "width", "height"].map(|name| number(&node, name)))
            .collect();
        prop_assert!(boxes.len() > graph.nodes.len());
        for (index, a) in boxes.iter().enumerate() {
            prop_assert!(a.iter().all(|value| value.is_finite() && *value >= 0.0));
            prop_assert!(a[0] + a[2] <= width && a[1] + a[3] <= height, "{:?} of {} {}", a, width, height);
            for b in &boxes[..index] {
                prop_assert!(!overlap(a, b), "{:?} over {:?}", a, b);
            }
        }
        // All is drawn from (36, 36): a link may swing out to the left of the first column by less.
        for link in class("link") {
            for value in numbers(link.attribute("d").unwrap()) {
                prop_assert!(value.is_finite() && value >= -36.0 && value <= width.max(height));
            }
        }
        let labels: HashSet<String> = class("label")
            .map(|node| node.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect())
            .collect();
        for edge in graph.edges.iter().filter(|edge| edge.rule.is_none()) {
            for line in edge.by.lines().iter().take(4) {
                let keys = &line.what;
                let is_there = labels.iter().any(|label| label == keys || label.starts_with(&format!("{keys} "))
                    || keys.len() > 9 && label.starts_with(&keys[..9]));
                prop_assert!(is_there, "{} in {:?}", keys, labels);
            }
        }
        prop_assert_eq!(class("link").count(), graph.starts.len() + graph.rules.len()
            + graph.edges.iter().filter(|edge| edge.rule.is_none()).count());
    }

    #[test]
    fn no_line_runs_through_a_box_and_no_label_lies_on_anything(tree in any_tree()) {
        let graph = graph(&tree);
        let mut picture = Picture::new(&graph);
        let Layout { frames, routes, .. } = layout(&mut picture);
        let mut taken: Vec<[f64; 4]> =
            frames.iter().map(|frame| [frame.x, frame.y, frame.width, frame.height]).collect();
        let drawn = svg(&graph);
        let xml = roxmltree::Document::parse(&drawn).unwrap();
        let links = xml.descendants().filter(|node| node.attribute("class") == Some("link"));
        for (x, y) in links.flat_map(|link| points(link.attribute("d").unwrap())) {
            // Lines begin and end at the edges of boxes.
            let is_in = |[left, top, width, height]: &[f64; 4]| {
                x > left + 0.2 && x < left + width - 0.2 && y > *top && y < top + height
            };
            prop_assert!(!taken.iter().any(is_in), "{x} {y}");
        }
        for route in routes.iter().filter(|route| !route.label.is_empty()) {
            let height = route.label.len() as f64 * LABEL_LINE;
            let (x, middle) = route.label_at;
            let label = [x, middle - height / 2.0, route.label_width, height];
            prop_assert!(!taken.iter().any(|other| overlap(&label, other)), "{:?}", route.label);
            taken.push(label);
        }
    }

    #[test]
    fn any_drawing_for_a_terminal_has_each_node_once(tree in any_tree()) {
        let graph = graph(&tree);
        let text = text(&graph, false);
        for line in text.lines() {
            prop_assert!(unicode_width::UnicodeWidthStr::width(line) <= 100, "{}", line);
        }
        let edges: usize = graph.edges.iter().filter(|edge| edge.rule.is_none()).map(|edge| edge.by.lines().len()).sum();
        prop_assert_eq!(edges + graph.rules.len(), text.lines().filter(|line| line.contains("─ ")).count());
    }
}

#[test]
fn draws_a_large_tree_as_a_tree_with_references() {
    let mut nodes = String::new();
    for node in 0..3_000usize {
        nodes.push_str(&format!(
            r#""n{node}": {{"choices": {{"1": "n{}", "2": "n{}", "3": "n{}"}}}}, "#,
            2 * node % 3_000 + 1,
            (2 * node + 2) % 3_000,
            node / 2
        ));
    }
    let graph = graph(&format!(r#"{{"rootNode": "n0", "nodes": {{{nodes} "n3000": {{"outcome": "x"}}}}}}"#));
    let drawn = svg(&graph);
    let xml = roxmltree::Document::parse(&drawn).unwrap();
    let n_links = xml.descendants().filter(|node| node.attribute("class") == Some("link")).count();
    let own = graph.edges.iter().filter(|edge| edge.rule.is_none()).count();
    assert_eq!(own + graph.starts.len() + graph.rules.len(), n_links);
    assert!(drawn.contains(">→ n"));
}
