//! A whole tree: from text to an [`Ivr`] and what was found on the way.
//!
//! Names come first, so that each part can be read once, in file order, knowing all nodes and
//! entries. Every part is read even where another is wrong: one run shows all there is to mend.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::diagnostic::{Finding, Report, Span, code, quote};
use super::fields::{Cx, Fields, MS_MAX, Shape};
use super::menu::{self, Written};
use super::overlap::{Budget, Patterns};
use super::scenario::{self, Scenario};
use super::settings::{self, Settings};
use super::syntax::{self, Member, Value};
use super::{collect, lint, node, reach};
use crate::engine::{Choice, Ivr, Limits, NodeId, OnEnd, Pattern, SlotId, Version};

/// The most nodes of a tree.
pub const NODES_MAX: usize = 10_000;

/// The most bytes that `keys` and `defaults` may take once they are in every node. They are written
/// once and there for each node: a file of 1 MiB could otherwise ask for gigabytes.
const COPIED_BYTES_MAX: usize = 64 << 20;

/// What became of a file.
#[derive(Debug)]
pub struct Loaded {
    /// The tree, unless there was an error.
    pub ivr: Option<Arc<Ivr>>,
    /// The errors and warnings, by place.
    pub findings: Vec<Finding>,
    /// What is neither, by place: where entries are written in clear (`{card!raw}`).
    pub notes: Vec<Finding>,
    /// How many findings and notes more there were than are kept ([`super::FINDINGS_MAX`] of a severity).
    pub omitted: usize,
    /// The tree's own tests, in file order, without those in which something is wrong.
    pub tests: Vec<Scenario>,
    /// The choices of `keys`, which stand in every menu that takes them. One without a label of its
    /// own has an empty one here, and its menu's there.
    pub keys: Vec<Choice>,
}

impl Loaded {
    /// Returns what became of a file that is not even text, or not JSON.
    pub(super) fn refused(finding: Finding) -> Loaded {
        Loaded {
            ivr: None,
            findings: vec![finding],
            notes: Vec::new(),
            omitted: 0,
            tests: Vec::new(),
            keys: Vec::new(),
        }
    }
}

const TREE: Shape = Shape {
    what: "the tree",
    keys: &["rootNode", "nodes", "entries", "defaults", "keys", "limits", "onEnd", "dedupe", "tests"],
    any_case: &["rootNode", "nodes"],
};
const DEFAULTS: Shape = Shape { what: "`defaults`", keys: &settings::KEYS, any_case: &[] };
const LIMITS: Shape = Shape { what: "`limits`", keys: &["callMs", "steps"], any_case: &[] };
const ON_END: Shape = Shape { what: "`onEnd`", keys: &["set", "hangup"], any_case: &[] };
const DEDUPE: Shape = Shape { what: "`dedupe`", keys: &["bounceMs"], any_case: &[] };

/// How close two presses of a key count as one, in milliseconds, unless the tree says otherwise.
const BOUNCE_MS: u64 = 80;

/// The most steps of a walk that `limits` can allow; the default is 100.
const STEPS_MAX: u64 = 1_000_000;

/// Reads a tree as `ivr.json` holds it: IVR.md says what it means.
///
/// There is an [`Ivr`] exactly where no finding is an error. It takes time in proportion to the
/// text, but for menus whose patterns overlap in many ways, for which there is a bound.
pub fn load(text: &str) -> Loaded {
    let mut report = Report::default();
    let value = match syntax::parse(text, &mut report) {
        Ok(value) => value,
        Err(finding) => return Loaded::refused(finding),
    };
    let mut cx = Cx {
        text,
        report,
        nodes: HashMap::new(),
        slots: HashMap::new(),
        slot_names: Vec::new(),
        budget: Budget::default(),
    };
    let Read { ivr, tests, keys } = tree(&mut cx, &value).unwrap_or_default();
    let ivr = ivr.filter(|_| !cx.report.has_errors());
    let notes = cx.report.take_notes();
    let (findings, omitted) = cx.report.into_findings();
    let ivr = ivr.map(|ivr| Arc::new(Ivr { version: version(text), text: Arc::from(text), ..ivr }));
    Loaded { ivr, findings, notes, omitted, tests, keys }
}

/// Returns the name of a tree with this text.
fn version(text: &str) -> Version {
    Version(Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).as_u128())
}

/// What can be read of a tree.
#[derive(Default)]
struct Read {
    ivr: Option<Ivr>,
    tests: Vec<Scenario>,
    keys: Vec<Choice>,
}

/// Reads the tree; `None` where it can't even be said which nodes there are.
fn tree<'v>(cx: &mut Cx<'v>, value: &'v Value<'v>) -> Option<Read> {
    let fields = Fields::open(cx, value, "the tree", &TREE)?;
    let members = nodes(cx, value, &fields);
    let root = root(cx, value, &fields, members.is_some());
    let members = members?;

    let defaults = match fields.get("defaults") {
        Some(member) => Fields::open(cx, &member.value, &member.name, &DEFAULTS)
            .map(|fields| Settings::read(cx, &fields))
            .unwrap_or_default(),
        None => Settings::default(),
    };
    if let Some(member) = fields.get("defaults") {
        lint::letters_in_defaults(cx, member);
    }
    let keys = fields.get("keys").map_or(Some(Vec::new()), |member| keys(cx, member));
    let entries = fields.get("entries").map_or(Some(Vec::new()), |member| entries(cx, member));
    let limits = fields.get("limits").map_or(Some(Limits::default()), |member| limits(cx, member));
    let on_end = fields.get("onEnd").map_or(Some(None), |member| on_end(cx, member).map(Some));
    let bounce_ms = fields.get("dedupe").map_or(Some(BOUNCE_MS), |member| bounce_ms(cx, member));

    let global = keys.as_deref().unwrap_or_default();
    let each = defaults.weight() + global.iter().map(Written::weight).sum::<usize>();
    let nodes: Vec<_> = if each.saturating_mul(members.len()) > COPIED_BYTES_MAX {
        let span = fields.get("nodes").map_or(0..0, |member| member.name_span.clone());
        let message =
            format!("`keys` and `defaults` are over 64 MiB once they are in all {} nodes", members.len());
        cx.report.error(
            code::TOO_LARGE,
            span,
            message,
            "handlers and keys that write much stand in few nodes",
        );
        Vec::new()
    } else {
        members.iter().map(|member| node::read(cx, member, &defaults, global)).collect()
    };
    let tests = fields.get("tests").map_or_else(Vec::new, |member| scenario::read(cx, member));

    let whole = || {
        let nodes: Option<Box<[_]>> = nodes.into_iter().collect();
        let slots = cx.slot_names.iter().map(|&name| name.into()).collect();
        Some(Ivr {
            version: Version::default(),
            text: Arc::from(""),
            nodes: nodes.filter(|nodes| nodes.len() == members.len())?,
            root: root?,
            entries: entries?.into(),
            slots,
            limits: limits?,
            on_end: on_end?,
            bounce_ms: bounce_ms?,
        })
    };
    // A node that could not be read leads nowhere: what is said of the graph then would be noise.
    let ivr = whole().filter(|_| keys.is_some());
    if let Some(ivr) = ivr.as_ref().filter(|_| cx.report.graph_is_known()) {
        let names: Vec<Span> = members.iter().map(|member| member.name_span.clone()).collect();
        reach::check(&mut cx.report, ivr, &names);
    }
    let no_label = Arc::from("");
    let keys = keys.unwrap_or_default().iter().map(|key| key.to_choice(&no_label)).collect();
    Some(Read { ivr, tests, keys })
}

/// Returns the nodes as they are written, and gives them and their entries numbers.
fn nodes<'v>(cx: &mut Cx<'v>, tree: &Value<'v>, fields: &Fields<'v>) -> Option<Vec<&'v Member<'v>>> {
    let Some(member) = fields.get("nodes") else {
        let span = tree.span.start..tree.span.start + 1;
        cx.report.error(
            code::MISSING_KEY,
            span,
            "a tree without `nodes`",
            "`nodes` holds each node by its name",
        );
        return None;
    };
    let members: Vec<_> = cx.object(&member.value, &member.name)?.collect();
    if let Some(one_too_many) = members.get(NODES_MAX) {
        let message = format!("this is one of {} nodes", members.len());
        let help = format!("a tree has at most {NODES_MAX} nodes");
        cx.report.error(code::TOO_MANY_NODES, one_too_many.name_span.clone(), message, help);
        return None;
    }
    for (index, member) in members.iter().enumerate() {
        if member.name.is_empty() || member.name.starts_with('@') {
            let message = format!("a node is named {}", quote(&member.name));
            let help = "a node's name is not empty and doesn't begin with `@`, as `@back` does";
            cx.report.error(code::WRONG_VALUE, member.name_span.clone(), message, help);
        }
        cx.nodes.insert(&member.name, NodeId(index as u32));
        if let Some(name) = collect::slot_name(member)
            && !cx.slots.contains_key(name)
        {
            cx.slots.insert(name, SlotId(cx.slot_names.len() as u32));
            cx.slot_names.push(name);
        }
    }
    Some(members)
}

/// Returns the root. Without known nodes nothing is said of its name.
fn root<'v>(cx: &mut Cx<'v>, tree: &Value<'v>, fields: &Fields<'v>, knows_nodes: bool) -> Option<NodeId> {
    let Some(member) = fields.get("rootNode") else {
        let span = tree.span.start..tree.span.start + 1;
        let help = "`rootNode` names the node where calls begin";
        cx.report.error(code::MISSING_ROOT, span, "a tree without `rootNode`", help);
        return None;
    };
    let name = cx.string(&member.value, &member.name)?;
    knows_nodes.then(|| cx.node(name, &member.value.span, code::MISSING_ROOT)).flatten()
}

fn keys<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Vec<Written<'v>>> {
    let keys = menu::choices_of(cx, member)?;
    lint::letters_in_keys(cx, member, &keys);
    let patterns: Vec<&Pattern> = keys.iter().map(|key| &key.pattern).collect();
    let patterns = Patterns::new(&patterns, &cx.budget);
    for (index, key) in keys.iter().enumerate() {
        if let Some(other) = patterns.overlapping(index) {
            let message =
                format!("`keys`: {} and {} match the same entry", quote(key.text), quote(keys[other].text));
            cx.report.error(code::OVERLAPPING_CHOICES, key.span.clone(), message, menu::OVERLAP_HELP);
        }
    }
    Some(keys)
}

fn entries<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Vec<(Box<str>, NodeId)>> {
    let members: Vec<_> = cx.object(&member.value, &member.name)?.collect();
    let mut entries = Vec::with_capacity(members.len());
    for member in members {
        let name = cx.string(&member.value, &member.name);
        let node = name.and_then(|name| cx.node(name, &member.value.span, code::MISSING_TARGET));
        entries.extend(node.map(|node| (Box::from(&*member.name), node)));
    }
    Some(entries)
}

fn limits<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Limits> {
    let fields = Fields::open(cx, &member.value, &member.name, &LIMITS)?;
    let mut limits = Limits::default();
    if let Some(call_ms) = fields.get("callMs").and_then(|member| cx.whole(member, 1..=MS_MAX)) {
        limits.call_ms = call_ms;
    }
    if let Some(steps) = fields.get("steps").and_then(|member| cx.whole(member, 1..=STEPS_MAX)) {
        limits.steps = steps as u32;
    }
    Some(limits)
}

fn on_end<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<OnEnd> {
    let fields = Fields::open(cx, &member.value, &member.name, &ON_END)?;
    let set = fields.get("set").and_then(|member| cx.assignments(member)).unwrap_or_default();
    let hangup = fields.get("hangup").and_then(|member| cx.flag(member)).unwrap_or(false);
    Some(OnEnd { set, hangup })
}

fn bounce_ms<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<u64> {
    let fields = Fields::open(cx, &member.value, &member.name, &DEDUPE)?;
    Some(fields.get("bounceMs").and_then(|member| cx.whole(member, 0..=MS_MAX)).unwrap_or(BOUNCE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{found, loaded, tree};

    const END: &str = r#"{"a": {"outcome": "x"}}"#;

    #[test]
    fn fills_in_what_the_tree_does_not_say() {
        let ivr = loaded(&tree(END, ""));
        assert_eq!(
            (NodeId(0), Limits::default(), None, 80),
            (ivr.root, ivr.limits, ivr.on_end.as_ref(), ivr.bounce_ms)
        );
        assert!(ivr.entries.is_empty() && ivr.slots.is_empty());
    }

    #[test]
    fn reads_what_stands_at_the_top_level() {
        let ivr = loaded(&tree(
            r#"{"a": {"outcome": "x"}, "$b": 5, "c": {"outcome": "y"}}"#,
            r#", "$x": {"a": 1, "a": 2}, "entries": {"$": 1, "+49": "c", "": "a"}, "limits": {"steps": 5},
               "onEnd": {"set": {"v": "{{{outcome}}}"}}, "dedupe": {"bounceMs": 0}"#,
        ));
        assert_eq!([("+49".into(), NodeId(1)), ("".into(), NodeId(0))], *ivr.entries);
        assert_eq!((Limits { call_ms: 600_000, steps: 5 }, 0), (ivr.limits, ivr.bounce_ms));
        let on_end = ivr.on_end.as_ref().unwrap();
        assert!(!on_end.hangup && on_end.set[0].value.0.len() == 3, "{on_end:?}");
    }

    #[test]
    fn says_what_is_wrong_at_the_top_level() {
        for (text, expected) in [
            ("5".to_owned(), vec![(code::WRONG_TYPE, "5")]),
            ("[]".to_owned(), vec![(code::WRONG_TYPE, "[")]),
            ("{}".to_owned(), vec![(code::MISSING_KEY, "{"), (code::MISSING_ROOT, "{")]),
            (r#"{"rootNode": "a"}"#.to_owned(), vec![(code::MISSING_KEY, "{")]),
            (r#"{"rootNode": "a", "nodes": {}}"#.to_owned(), vec![(code::MISSING_ROOT, "a")]),
            (r#"{"rootNode": "a", "nodes": [1]}"#.to_owned(), vec![(code::WRONG_TYPE, "[")]),
            (format!(r#"{{"rootNode": "@back", "nodes": {END}}}"#), vec![(code::MISSING_ROOT, "@back")]),
            (format!(r#"{{"rootNode": 1, "nodes": {END}}}"#), vec![(code::WRONG_TYPE, "1")]),
            (
                format!(r#"{{"rootNode": "a", "RootNode": "a", "nodes": {END}}}"#),
                vec![(code::DUPLICATE_KEY, "RootNode")],
            ),
            (
                tree(r#"{"a": {"outcome": "x"}, "@b": {"outcome": "x"}, "": 5}"#, ""),
                vec![(code::WRONG_VALUE, "@b"), (code::WRONG_VALUE, ""), (code::WRONG_TYPE, "5")],
            ),
            (
                tree(END, r#", "entries": {"1": "b", "2": 3}"#),
                vec![(code::MISSING_TARGET, "b"), (code::WRONG_TYPE, "3")],
            ),
            (
                tree(END, r#", "limits": {"callMs": 0, "step": 1}"#),
                vec![(code::WRONG_VALUE, "0"), (code::UNKNOWN_KEY, "step")],
            ),
            (
                tree(END, r#", "onEnd": {"hangup": 1, "set": []}"#),
                vec![(code::WRONG_TYPE, "1"), (code::WRONG_TYPE, "[")],
            ),
            (tree(END, r#", "dedupe": {"bounceMs": -1}"#), vec![(code::WRONG_VALUE, "-1")]),
            (tree(END, r#", "defaults": {"label": "x"}"#), vec![(code::UNKNOWN_KEY, "label")]),
            (
                tree(END, r#", "Entries": {}, "tests": {}"#),
                vec![(code::UNKNOWN_KEY, "Entries"), (code::WRONG_TYPE, "{")],
            ),
            (
                tree(END, r#", "keys": {"1": "b", "2X": "@back", "X2": "@back"}"#),
                vec![(code::MISSING_TARGET, "b")],
            ),
            (
                tree(END, r#", "keys": {"2X": "@back", "X2": "@back"}"#),
                vec![(code::OVERLAPPING_CHOICES, "X2")],
            ),
            (
                tree(END, r#", "onEnd": {"set": {"": "{a!raw}", "v": "}"}}"#),
                vec![(code::WRONG_VALUE, ""), (code::UNKNOWN_NAME, "a!raw"), (code::BAD_TEMPLATE, "}")],
            ),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(code, text)| (code, text.to_owned())).collect();
            assert_eq!(expected, found(&text), "{text}");
        }
    }

    #[test]
    fn says_nothing_of_the_graph_where_a_target_is_missing() {
        let nodes = r#"{"a": {"choices": {"1": "c"}}, "b": {"choices": {"1": "@again"}}}"#;
        assert_eq!(found(&tree(nodes, "")), [(code::MISSING_TARGET, "c".to_owned())]);
        let nodes = nodes.replace("\"c\"", "\"@again\"");
        assert_eq!(2, found(&tree(&nodes, "")).len());
    }
}
