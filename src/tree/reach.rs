//! Warnings that take the whole graph: nodes that no call reaches, and nodes from which a call
//! ends only by waiting. Both walks take each edge once.

use super::diagnostic::{Report, Span, code, quote};
use crate::engine::{Content, Ivr, Node, NodeId, Target};

/// Reports both. `names` are the places of the nodes' names, by their ids.
pub(super) fn check(report: &mut Report, ivr: &Ivr, names: &[Span]) {
    let reached = reached(ivr);
    let ending = ending(ivr);
    for (index, node) in ivr.nodes.iter().enumerate() {
        let name = quote(&node.name);
        if !reached[index] {
            let message = format!("no call reaches {name}");
            let help = "a node is reached by a target, by `rootNode` or by `entries`";
            report.warning(code::UNREACHABLE_NODE, names[index].clone(), message, help);
        } else if !ending[index] {
            let message = format!("{name}: from here a call ends only by waiting");
            let help = "some keys lead on from each node to an `outcome`";
            report.warning(code::ONLY_WAITING, names[index].clone(), message, help);
        }
    }
}

/// Returns where keys lead from a node.
fn by_keys(node: &Node) -> impl Iterator<Item = &Target> {
    let (choices, entry) = match &node.content {
        Content::Menu(choices) => (&choices[..], None),
        Content::Entry(entry) => (&[][..], Some(entry)),
        Content::End(_) => (&[][..], None),
    };
    // Under "ignore", an entry that fails its check counts as no-input: that too is by keys.
    let fails = entry.is_some_and(|entry| entry.luhn || entry.range.is_some()) && node.no_match.is_none();
    let back = entry.is_some_and(|entry| entry.cancel_key.is_some());
    let handlers = node.no_match.iter().chain(fails.then_some(&node.no_input)).map(|handler| &handler.target);
    let choices = choices.iter().map(|choice| &choice.target);
    let is_end = matches!(node.content, Content::End(_));
    choices
        .chain(entry.map(|entry| &entry.target))
        .chain(handlers.filter(move |_| !is_end))
        .chain(back.then_some(&Target::Back))
}

/// Returns where calls go from a node, by keys or by waiting.
fn by_all(node: &Node) -> impl Iterator<Item = &Target> {
    let waits = !matches!(node.content, Content::End(_));
    by_keys(node).chain(waits.then_some(&node.no_input.target))
}

fn starts(ivr: &Ivr) -> impl Iterator<Item = NodeId> {
    std::iter::once(ivr.root).chain(ivr.entries.iter().map(|&(_, node)| node))
}

/// Returns the nodes that a call can reach.
fn reached(ivr: &Ivr) -> Vec<bool> {
    let mut reached = vec![false; ivr.nodes.len()];
    let mut open: Vec<NodeId> = starts(ivr).collect();
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut reached[id.0 as usize], true) {
            let named = |target: &Target| if let Target::Node(next) = target { Some(*next) } else { None };
            open.extend(by_all(ivr.node(id)).filter_map(named));
        }
    }
    reached
}

/// Returns the nodes from which keys lead to an end.
///
/// `@back` counts as leading to every node that leads here, `@root` to every node where calls begin:
/// which of them it is depends on the call, and a warning should not be wrong.
fn ending(ivr: &Ivr) -> Vec<bool> {
    // A node more stands for "where calls begin": `@root` leads there, and from there to all.
    let begin = ivr.nodes.len();
    let goes_back: Vec<bool> =
        ivr.nodes.iter().map(|node| by_keys(node).any(|target| *target == Target::Back)).collect();
    let mut into: Vec<Vec<usize>> = vec![Vec::new(); begin + 1];
    let mut open: Vec<usize> = Vec::new();
    for start in starts(ivr) {
        into[start.0 as usize].push(begin);
    }
    for (index, node) in ivr.nodes.iter().enumerate() {
        if matches!(node.content, Content::End(_)) {
            open.push(index);
        }
        for target in by_keys(node) {
            match target {
                Target::Node(next) => into[next.0 as usize].push(index),
                Target::Root => into[begin].push(index),
                Target::End(_) => open.push(index),
                Target::Back | Target::Again => (),
            }
        }
        for target in by_all(node) {
            if let Target::Node(next) = target
                && goes_back[next.0 as usize]
            {
                into[index].push(next.0 as usize);
            }
        }
    }
    let mut ending = vec![false; begin + 1];
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut ending[index], true) {
            open.extend(&into[index]);
        }
    }
    ending
}

#[cfg(test)]
mod tests {
    use crate::tree::tests::{found as found_in, tree};

    fn found(nodes: &str) -> Vec<(&'static str, String)> {
        found_in(&tree(nodes, ""))
    }

    fn only_waiting(names: &[&str]) -> Vec<(&'static str, String)> {
        names.iter().map(|&name| ("only-waiting", name.to_owned())).collect()
    }

    #[test]
    fn warns_of_nodes_that_no_call_reaches() {
        let unreachable = vec![("unreachable-node", "b".to_owned()), ("unreachable-node", "c".to_owned())];
        let nodes = r#"{"a": {"outcome": "x"}, "b": {"choices": {"1": "c"}}, "c": {"choices": {"1": "b"}}}"#;
        assert_eq!(unreachable, found(nodes));
        // By waiting, and by a wrong key, a call gets there too.
        let nodes = r#"{"a": {"choices": {"1": {"outcome": "x"}}, "noInput": {"nextNode": "b"},
            "noMatch": {"nextNode": "c"}}, "b": {"outcome": "x"}, "c": {"outcome": "x"}}"#;
        assert_eq!(found(nodes), []);
    }

    #[test]
    fn warns_of_nodes_without_a_way_to_an_end_but_waiting() {
        for (nodes, expected) in [
            (r#"{"a": {"choices": {"1": "b"}}, "b": {"choices": {"1": "a"}}}"#, &["a", "b"][..]),
            (
                r#"{"a": {"choices": {"1": "b", "2": {"outcome": "x"}}}, "b": {"choices": {"1": "@again"}}}"#,
                &["b"],
            ),
            (
                r#"{"a": {"choices": {"1": "b", "2": {"outcome": "x"}}}, "b": {"choices": {"1": "@back"}}}"#,
                &[],
            ),
            (
                r#"{"a": {"choices": {"1": "b", "2": {"outcome": "x"}}}, "b": {"choices": {"1": "@root"}}}"#,
                &[],
            ),
            (r#"{"a": {"choices": {"1": "b"}}, "b": {"choices": {"1": "@back"}}}"#, &["a", "b"]),
            (r#"{"a": {"choices": {"1": "@root"}}}"#, &["a"]),
            (r#"{"a": {"choices": {"1": "@again"}, "noMatch": {"tries": 2}}}"#, &[]),
            (
                r#"{"a": {"choices": {"1": "@again"}, "noInput": {"nextNode": "b"}}, "b": {"outcome": "x"}}"#,
                &["a"],
            ),
        ] {
            assert_eq!(only_waiting(expected), found(nodes), "{nodes}");
        }
    }
}
