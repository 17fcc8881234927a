//! The graph for other programs.
//!
//! ```json
//! {
//!   "starts": [{ "node": "main", "numbers": ["+49891234"], "root": true }],
//!   "nodes": [
//!     { "name": "main", "label": "Main menu", "kind": "menu", "masked": false, "reachable": true,
//!       "firstDigitMs": 10000, "interDigitMs": 3000 },
//!     { "name": "pin", "label": "PIN", "kind": "entry", "masked": true, "reachable": true,
//!       "entry": "4 digits, masked", "firstDigitMs": null, "interDigitMs": 3000 },
//!     { "name": "operator", "label": "operator", "kind": "end", "outcome": "transfer",
//!       "masked": false, "reachable": true }
//!   ],
//!   "edges": [
//!     { "from": "main", "by": "choices", "choices": [{ "keys": "1", "label": "PIN" }],
//!       "everywhere": false, "to": { "node": "pin" } },
//!     { "from": "main", "by": "noInput", "tries": 3, "waitMs": 10000,
//!       "everywhere": true, "to": { "outcome": "timeout_fallback" } },
//!     { "from": "pin", "by": "entry", "everywhere": false, "to": { "word": "@back" } },
//!     { "from": "pin", "by": "noMatch", "tries": 3, "everywhere": false, "to": { "node": "operator" } }
//!   ],
//!   "outcomes": ["timeout_fallback", "transfer"]
//! }
//! ```
//!
//! `firstDigitMs` and `waitMs` count the announcement, and are `null` where the node waits for ever.
//! `everywhere` tells the edges that the drawings show once; here each stands at every node. A menu's
//! edges of `keys` are of one choice each. `outcomes` are all names that a walk can end with but
//! `limit`, sorted; those of nodes that no call reaches are among them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{By, Graph, Kind, Place, To};

#[derive(Serialize)]
struct Drawing<'a> {
    starts: Vec<StartJson<'a>>,
    nodes: Vec<NodeJson<'a>>,
    edges: Vec<EdgeJson<'a>>,
    outcomes: BTreeSet<&'a str>,
}

#[derive(Serialize)]
struct StartJson<'a> {
    node: &'a str,
    numbers: &'a [String],
    root: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeJson<'a> {
    name: &'a str,
    label: &'a str,
    kind: &'static str,
    masked: bool,
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
    #[serde(flatten)]
    waits: Option<Waits>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waits {
    first_digit_ms: Option<u64>,
    inter_digit_ms: u64,
}

#[derive(Serialize)]
struct EdgeJson<'a> {
    from: &'a str,
    #[serde(flatten)]
    by: ByJson<'a>,
    everywhere: bool,
    to: ToJson<'a>,
}

#[derive(Serialize)]
#[serde(tag = "by", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum ByJson<'a> {
    Choices { choices: Vec<ChoiceJson<'a>> },
    Entry,
    NoInput { tries: u32, wait_ms: Option<u64> },
    NoMatch { tries: u32 },
}

#[derive(Serialize)]
struct ChoiceJson<'a> {
    keys: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ToJson<'a> {
    Node(&'a str),
    Outcome(&'a str),
    Word(&'static str),
}

/// Returns the graph as JSON, as this module's description shows it, and a line feed.
pub fn json(graph: &Graph) -> String {
    let name = |node: usize| graph.nodes[node].name.as_str();
    let starts = graph.starts.iter().map(|start| StartJson {
        node: name(start.node),
        numbers: &start.numbers,
        root: start.is_root,
    });
    let edges = graph.edges.iter().map(|edge| EdgeJson {
        from: name(edge.from),
        by: by(&edge.by),
        everywhere: edge.rule.is_some(),
        to: to(graph, &edge.to),
    });
    let of_edges = graph.edges.iter().filter_map(|edge| match &edge.to {
        To::Outcome(outcome) => Some(&**outcome),
        To::Node(_) | To::Back | To::Root | To::Again => None,
    });
    let drawing = Drawing {
        starts: starts.collect(),
        nodes: graph.nodes.iter().map(node).collect(),
        edges: edges.collect(),
        outcomes: of_edges.chain(graph.nodes.iter().filter_map(outcome)).collect(),
    };
    let mut text = serde_json::to_string_pretty(&drawing).expect("names are strings");
    text.push('\n');
    text
}

fn outcome(place: &Place) -> Option<&str> {
    match &place.kind {
        Kind::End(outcome) => Some(outcome),
        Kind::Menu | Kind::Entry(_) => None,
    }
}

fn node(place: &Place) -> NodeJson<'_> {
    let (kind, entry) = match &place.kind {
        Kind::Menu => ("menu", None),
        Kind::Entry(what) => ("entry", Some(what.as_str())),
        Kind::End(_) => ("end", None),
    };
    let waits = Waits { first_digit_ms: place.first_digit_ms, inter_digit_ms: place.inter_digit_ms };
    NodeJson {
        name: &place.name,
        label: &place.label,
        kind,
        masked: place.masked,
        reachable: place.reachable,
        outcome: outcome(place),
        entry,
        waits: (kind != "end").then_some(waits),
    }
}

fn by(by: &By) -> ByJson<'_> {
    match by {
        By::Choices(ways) => {
            let choices = ways.iter().map(|way| ChoiceJson { keys: &way.keys, label: way.label.as_deref() });
            ByJson::Choices { choices: choices.collect() }
        }
        By::Entry => ByJson::Entry,
        By::NoInput { tries, wait_ms } => ByJson::NoInput { tries: *tries, wait_ms: *wait_ms },
        By::NoMatch { tries } => ByJson::NoMatch { tries: *tries },
    }
}

fn to<'a>(graph: &'a Graph, to: &'a To) -> ToJson<'a> {
    match to {
        To::Node(node) => ToJson::Node(&graph.nodes[*node].name),
        To::Outcome(outcome) => ToJson::Outcome(outcome),
        To::Back | To::Root | To::Again => ToJson::Word(to.word().unwrap_or_default()),
    }
}
