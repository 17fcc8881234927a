//! Small trees in every format.

use std::fmt::Write as _;

use super::*;
use crate::tree::load;

pub(super) fn graph(text: &str) -> Graph {
    let loaded = load(text);
    let ivr = loaded.ivr.unwrap_or_else(|| panic!("{text}: {:?}", loaded.findings));
    Graph::new(&ivr, &loaded.keys)
}

/// A menu, a masked entry, an end, one of each handler, a node that no call reaches.
const SMALL: &str = r##"{
    "rootNode": "main",
    "keys": { "0": { "label": "Operator", "nextNode": "end" } },
    "nodes": {
        "main": {
            "label": "Main menu",
            "choices": { "1": "pin", "[2-4]": { "outcome": "sales" }, "5": { "outcome": "sales" },
                         "8X": { "label": "Extension", "outcome": "ext" }, "9": "@again" },
            "noInput": { "tries": 3, "nextNode": "end" }
        },
        "pin": { "mask": true, "endKey": "#", "collect": { "min": 4, "max": 6, "check": "luhn" }, "nextNode": "main",
                 "promptMs": 500, "firstDigitMs": 5000, "noMatch": { "tries": 2, "nextNode": "@back" } },
        "end": { "label": "An \"operator\"", "outcome": "transfer" },
        "lost": { "choices": { "1": "end" }, "globalKeys": false }
    }
}"##;

#[test]
fn draws_for_a_terminal() {
    let expected = "\
main  Main menu
├─ 1 → pin  (4-6 digits, luhn, # ends it, masked)
│  ├─ entered → main (above)
│  ├─ no input 5.5 s ■ timeout_fallback
│  └─ no match 2 × → @back
├─ [2-4], 5 ■ sales
├─ 8X        Extension ■ ext
├─ 9 → @again
└─ no input 3 × 10 s → end  An \"operator\"  ■ transfer

lost  (without 0)  no call gets here
├─ 1 → end (above)
└─ no input 10 s ■ timeout_fallback

everywhere  unless the node says otherwise
└─ 0  Operator → end (above)  (1 of 2 menus)
";
    assert_eq!(expected, text(&graph(SMALL), false));
}

#[test]
fn colours_change_nothing_but_colours() {
    let graph = graph(SMALL);
    let colored = text(&graph, true);
    assert!(colored.contains("\u{1b}[32m■ sales\u{1b}[0m"), "{colored}");
    let mut plain = String::new();
    for (number, part) in colored.split("\u{1b}[").enumerate() {
        plain.push_str(if number == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    assert_eq!(text(&graph, false), plain);
}

#[test]
fn draws_for_mermaid() {
    let expected = "\
flowchart TD
  start((\"Call\")):::start
  everywhere[\"Everywhere<br>unless the node says otherwise\"]:::everywhere
  n0[\"Main menu<br>main · menu\"]:::menu
  n1[/\"pin<br>entry<br>4#45;6 digits, luhn, #35; ends it, masked\"/]:::entry
  n2([\"An #34;operator#34;<br>end · transfer\"]):::outcome
  n3[\"lost<br>menu<br>without 0<br>no call gets here\"]:::menu
  class n3 unreachable
";
    let drawn = mermaid(&graph(SMALL));
    assert!(drawn.starts_with(expected), "{drawn}");
    for line in [
        "  start --> n0\n",
        "  everywhere -->|\"0 Operator\"| n2\n",
        "  n0 -->|\"[2#45;4], 5\"| n0x6\n",
        "  n0 -.->|\"no input 3 × 10 s\"| n2\n",
        "  n1 -.->|\"no match 2 ×\"| n1x10\n",
        "  linkStyle 9 stroke-dasharray:1 4\n",
    ] {
        assert!(drawn.contains(line), "{line}{drawn}");
    }
}

#[test]
fn draws_for_graphviz() {
    let drawn = dot(&graph(SMALL));
    for line in [
        "  n2 [label=\"An \\\"operator\\\"\\nend · transfer\", shape=ellipse,",
        "  start -> n0\n",
        "  n0 -> n1 [label=\"1\"]\n",
        "  n0 -> n2 [label=\"no input 3 × 10 s\", style=dashed]\n",
        "  n1 -> n0 [label=\"entered\"]\n",
        "  n1 -> n1x10 [label=\"no match 2 ×\", style=dotted]\n",
    ] {
        assert!(drawn.contains(line), "{line}{drawn}");
    }
}

#[test]
fn names_that_mean_something_elsewhere_are_only_names() {
    let nodes = r##"{"a": {"choices": {"1": "end", "2": {"label": "x\"]; y --> z", "outcome": "\\\"<b>"}}},
        "end": {"label": "1. `a` $$x$$ &lt;\n\u202e", "outcome": "x"}}"##;
    let graph = graph(&format!(r#"{{"rootNode": "a", "nodes": {nodes}}}"#));
    let mermaid = mermaid(&graph);
    assert!(mermaid.contains("|\"2 x#34;]#59; y #45;#45;#62; z\"|"), "{mermaid}");
    assert!(mermaid.contains("\"1#46; #96;a#96; #36;\u{200b}#36;\u{200b}x#36;"), "{mermaid}");
    assert!(mermaid.contains("#38;lt#59; \u{fffd}<br>"), "{mermaid}");
    let dot = dot(&graph);
    assert!(dot.contains(r#"label="\\\"<b>""#) && dot.contains("&amp;lt; \u{fffd}\\n"), "{dot}");
    let svg = svg(&graph);
    assert!(svg.contains("\\&quot;&lt;b&gt;</text>"), "{svg}");
}

#[test]
fn gives_programs_everything() {
    let drawn: serde_json::Value = serde_json::from_str(&json(&graph(SMALL))).unwrap();
    assert_eq!(
        serde_json::json!({"name": "pin", "label": "pin", "kind": "entry", "masked": true, "reachable": true,
            "entry": "4-6 digits, luhn, # ends it, masked", "firstDigitMs": 5500, "interDigitMs": 3000}),
        drawn["nodes"][1]
    );
    assert_eq!(
        serde_json::json!({"outcome": "transfer", "kind": "end", "name": "end", "masked": false,
        "label": "An \"operator\"", "reachable": true}),
        drawn["nodes"][2]
    );
    assert_eq!(serde_json::json!([{"node": "main", "numbers": [], "root": true}]), drawn["starts"]);
    assert_eq!(serde_json::json!(["ext", "sales", "timeout_fallback", "transfer"]), drawn["outcomes"]);
    let edges: Vec<String> = drawn["edges"].as_array().unwrap().iter().map(|edge| edge.to_string()).collect();
    for edge in [
        serde_json::json!({"from": "main", "by": "choices", "everywhere": false, "to": {"outcome": "sales"},
            "choices": [{"keys": "[2-4]"}, {"keys": "5"}]}),
        serde_json::json!({"from": "main", "by": "choices", "everywhere": true, "to": {"node": "end"},
            "choices": [{"keys": "0", "label": "Operator"}]}),
        serde_json::json!({"from": "pin", "by": "noMatch", "tries": 2, "everywhere": false,
            "to": {"word": "@back"}}),
        serde_json::json!({"from": "lost", "by": "noInput", "tries": 1, "waitMs": 10_000,
            "everywhere": false, "to": {"outcome": "timeout_fallback"}}),
    ] {
        assert!(edges.contains(&edge.to_string()), "{edge}: {edges:#?}");
    }
}

#[test]
fn says_once_what_holds_everywhere_and_where_it_does_not() {
    let nodes = r#"{"a": {"choices": {"1": "b"}}, "b": {"choices": {"1": "c", "0": {"outcome": "own"}}},
        "c": {"choices": {"1": "a"}, "globalKeys": false, "noMatch": "ignore"},
        "d": {"choices": {"1": "a"}, "noInput": {"outcome": "x"}}}"#;
    let more = r#""keys": {"0": "@root"}, "defaults": {"noMatch": {"tries": 2}}"#;
    let drawn = graph(&format!(r#"{{"rootNode": "a", "nodes": {nodes}, {more}}}"#));
    let rules: Vec<_> = drawn.rules.iter().map(|rule| (rule.n_nodes, rule.of)).collect();
    assert_eq!([(2, 4), (3, 4), (3, 4)], *rules);
    assert_eq!(["without 0", "no match: ignored"], *drawn.nodes[2].exceptions);
    assert!(drawn.nodes[1].exceptions.is_empty());
    let own: Vec<_> = drawn.own_edges(3).map(|edge| &edge.to).collect();
    assert_eq!([&To::Node(0), &To::Outcome("x".into())], *own);
}

#[test]
fn draws_what_is_nested_deeply_further_down_and_everything_within_the_width() {
    let mut nodes = String::new();
    for node in 0..60 {
        let label = "a long label ".repeat(9);
        let _ = write!(
            nodes,
            r#""n{node}": {{"label": "{label}", "choices": {{"1": "n{}", "2":
            {{"label": "{label}", "outcome": "電話電話電話電話"}}}}}}, "#,
            node + 1
        );
    }
    let text = text(
        &graph(&format!(r#"{{"rootNode": "n0", "nodes": {{{nodes} "n60": {{"outcome": "x"}}}}}}"#)),
        false,
    );
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 100, "{line}");
    }
    for node in 0..61 {
        let is_drawn = |line: &&str| line.contains(&format!("n{node} ")) && !line.ends_with("(below)");
        assert_eq!(1, text.lines().filter(is_drawn).count(), "n{node}\n{text}");
    }
}
