//! One node: a menu, an entry or an end, by what it has.

use std::sync::Arc;

use super::collect;
use super::diagnostic::{Span, code, quote};
use super::fields::{Cx, Fields, Shape};
use super::overlap::Patterns;
use super::settings::{self, Settings, copy_of_set};
use super::syntax::{Kind, Member, Value};
use super::{lint, pattern};
use crate::engine::{Choice, Content, KeySet, Node, Pattern, Target};

const NODE: Shape = Shape {
    what: "a node",
    keys: &[
        "choices",
        "allowedDigits",
        "nextNode",
        "isTerminal",
        "collect",
        "outcome",
        "promptMs",
        "firstDigitMs",
        "interDigitMs",
        "decideMs",
        "maxMs",
        "guardMs",
        "endKey",
        "noInput",
        "noMatch",
        "mask",
        "label",
        "set",
        "globalKeys",
    ],
    any_case: &["allowedDigits", "nextNode", "isTerminal"],
};

const CHOICE: Shape =
    Shape { what: "a choice", keys: &["nextNode", "outcome", "label", "set"], any_case: &[] };

/// What is right where two choices overlap.
pub(super) const OVERLAP_HELP: &str =
    "of two choices that match one entry, one has fewer wildcards, and it wins";

/// What the seed calls the end of a walk.
const COMPLETED: &str = "completed";

/// A choice as it is written.
#[derive(Debug)]
pub(super) struct Written<'v> {
    pub(super) text: &'v str,
    pub(super) span: Span,
    pub(super) pattern: Pattern,
    label: Option<Arc<str>>,
    target: Target,
    set: Box<[crate::engine::Assignment]>,
}

impl Written<'_> {
    /// Returns the choice in a node with this label.
    fn to_choice(&self, label: &Arc<str>) -> Choice {
        Choice {
            pattern: self.pattern.clone(),
            label: Arc::clone(self.label.as_ref().unwrap_or(label)),
            target: self.target.clone(),
            set: copy_of_set(&self.set),
        }
    }

    /// Returns about how many bytes the choice takes in each menu.
    pub(super) fn weight(&self) -> usize {
        128 + self.pattern.0.len() * size_of::<KeySet>() + settings::weight(&self.set)
    }
}

/// What nodes are by their keys, before their keys are read.
enum Form<'v> {
    Choices(&'v Member<'v>),
    AllowedDigits(&'v Value<'v>),
    Collect(&'v Member<'v>),
    End,
}

/// Reads one node; `None` where something in it is wrong, which has been reported.
pub(super) fn read<'v>(
    cx: &mut Cx<'v>,
    member: &'v Member<'v>,
    defaults: &Settings,
    keys: &[Written<'v>],
) -> Option<Node> {
    let name: &'v str = &member.name;
    let fields = Fields::open(cx, &member.value, name, &NODE)?;
    let mut own = Settings::read(cx, &fields);
    let label = match fields.get("label") {
        Some(label) => cx.string(&label.value, &label.name),
        None => Some(name),
    };
    let label = Arc::from(label.unwrap_or(name));
    let set = fields.get("set").and_then(|set| cx.assignments(set)).unwrap_or_default();
    let takes_keys = fields.get("globalKeys").is_none_or(|member| cx.flag(member).unwrap_or(true));
    let form = form(cx, &fields);
    let target = node_target(cx, member, &fields, form.as_ref());
    let timing = own.timing(defaults);
    let mut end_key = own.end_key(defaults);

    let content = match form? {
        Form::End => match target? {
            Target::End(outcome) => Content::End(outcome),
            Target::Node(_) | Target::Back | Target::Root | Target::Again => return None,
        },
        Form::Collect(collect) => {
            let slot = *cx.slots.get(collect::slot_name(member)?)?;
            Content::Entry(Box::new(collect::read(cx, name, collect, slot, target)?))
        }
        form @ (Form::Choices(_) | Form::AllowedDigits(_)) => {
            let written = match form {
                Form::Choices(choices) => choices_of(cx, choices),
                Form::AllowedDigits(digits) => allowed_digits(cx, digits, target.as_ref()),
                Form::Collect(_) | Form::End => None,
            }?;
            let globals: Vec<&Written<'v>> = keys
                .iter()
                .filter(|key| takes_keys && !written.iter().any(|own| own.pattern == key.pattern))
                .collect();
            if written.is_empty() && globals.is_empty() {
                let help = "each menu has at least one choice, as in {\"1\": \"billing\"}";
                let message = format!("{} has no choice", quote(name));
                cx.report.error(code::NO_TARGET, member.name_span.clone(), message, help);
                return None;
            }
            let all: Vec<&Written<'v>> = written.iter().chain(globals).collect();
            end_key = end_key
                .filter(|&key| !all.iter().any(|choice| pattern::keys_of(&choice.pattern).contains(key)));
            compare(cx, name, &all, written.len(), timing.decide_ms, end_key);
            Content::Menu(all.iter().map(|choice| choice.to_choice(&label)).collect())
        }
    };
    lint::letters(cx, member, &fields);
    let (no_input, no_match) = own.take_handlers(defaults);
    let mask = own.mask(defaults);
    Some(Node { name: name.into(), label, content, timing, end_key, no_input, no_match, mask, set })
}

/// Returns what a node is.
fn form<'v>(cx: &mut Cx<'v>, fields: &Fields<'v>) -> Option<Form<'v>> {
    let choices = fields.get("choices");
    // Go writes the digits of a node without any as `null`; an empty list is the same.
    let allowed = fields
        .seed("allowedDigits")
        .filter(|member| !matches!(&member.value.kind, Kind::Array(digits) if digits.is_empty()));
    match (choices, allowed, fields.get("collect")) {
        (Some(menu), _, Some(collect)) | (None, Some(menu), Some(collect)) => {
            let later = if menu.name_span.start > collect.name_span.start { menu } else { collect };
            let help = "a node is a menu (`choices`) or an entry (`collect`): two nodes, one after the other, do both";
            let message = format!("{} beside `collect`", quote(&menu.name));
            cx.report.error(code::CHOICES_WITH_COLLECT, later.name_span.clone(), message, help);
            None
        }
        (Some(_), Some(allowed), None) => {
            says_nothing(cx, allowed, "`choices` says all that may be pressed");
            None
        }
        (Some(choices), None, None) => Some(Form::Choices(choices)),
        (None, Some(allowed), None) => Some(Form::AllowedDigits(&allowed.value)),
        (None, None, Some(collect)) => Some(Form::Collect(collect)),
        (None, None, None) => Some(Form::End),
    }
}

/// Reports a key that is known, but means nothing beside those that the node has.
fn says_nothing(cx: &mut Cx<'_>, member: &Member<'_>, help: &str) {
    let message = format!("{} says nothing beside `choices`", quote(&member.name));
    cx.report.error(code::UNKNOWN_KEY, member.name_span.clone(), message, help);
}

/// Returns where the node itself leads: by `nextNode`, `outcome` or the seed's `isTerminal`.
fn node_target<'v>(
    cx: &mut Cx<'v>,
    member: &'v Member<'v>,
    fields: &Fields<'v>,
    form: Option<&Form<'v>>,
) -> Option<Target> {
    let is_terminal = fields.seed("isTerminal").map(|member| cx.flag(member)).unwrap_or(Some(false))?;
    let next_node = fields
        .seed("nextNode")
        .filter(|member| !matches!(&member.value.kind, Kind::String(name) if name.is_empty()));
    let outcome = fields.get("outcome");
    if let Some(Form::Choices(_)) = form {
        for member in
            [next_node, outcome, fields.seed("isTerminal").filter(|_| is_terminal)].into_iter().flatten()
        {
            says_nothing(cx, member, "each choice has a target of its own");
        }
        return None;
    }
    // In the seed a terminal node ends the walk, whatever its `NextNode` says.
    let next_node = next_node.filter(|_| !is_terminal || outcome.is_some());
    if next_node.is_some() && outcome.is_some() {
        return cx.one_target(next_node, outcome);
    }
    let name = quote(&member.name);
    match (form, next_node, outcome) {
        (_, None, None) if is_terminal => Some(Target::End(Arc::from(COMPLETED))),
        // What the node is has been reported as unclear: so is what it lacks.
        (None, _, _) => None,
        (Some(Form::End), Some(_), None) => {
            let help = "`nextNode` is where a key leads, so the node also has `choices`, `allowedDigits` or `collect`";
            let message = format!("nothing can be pressed at {name}");
            cx.report.error(code::NO_TARGET, member.name_span.clone(), message, help);
            None
        }
        (Some(form), None, None) => {
            let help = match form {
                Form::AllowedDigits(_) => "`nextNode` says where they lead; `isTerminal` true ends the walk",
                Form::Collect(_) => "`nextNode` or `outcome` says where a good entry leads",
                Form::Choices(_) | Form::End => "a node has `choices`, `collect` or `outcome`",
            };
            let message = format!("{name} leads nowhere");
            cx.report.error(code::NO_TARGET, member.name_span.clone(), message, help);
            None
        }
        (Some(_), next_node, outcome) => cx.one_target(next_node, outcome),
    }
}

/// Reads `choices` or `keys`: key strings and their targets.
pub(super) fn choices_of<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Vec<Written<'v>>> {
    // All are read, so that all that is wrong is reported.
    let choices: Vec<_> = cx.object(&member.value, &member.name)?.collect();
    let choices: Vec<_> = choices.into_iter().map(|choice| self::choice(cx, choice)).collect();
    choices.into_iter().collect()
}

fn choice<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Written<'v>> {
    let (text, span): (&'v str, _) = (&member.name, member.name_span.clone());
    let pattern = match pattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            // The key is a string of the file like any other: its place is found in the same way.
            let value = Value { span: span.clone(), kind: Kind::Null };
            cx.bad_pattern(&value, error);
            None
        }
    };
    let mut label = None;
    let mut set = Box::default();
    let target = match &member.value.kind {
        Kind::String(name) => cx.target(name, &member.value.span),
        Kind::Object(_) => {
            let fields = Fields::open(cx, &member.value, text, &CHOICE)?;
            label = fields.get("label").and_then(|label| cx.string(&label.value, &label.name)).map(Arc::from);
            set = fields.get("set").and_then(|set| cx.assignments(set)).unwrap_or_default();
            let (next_node, outcome) = (fields.get("nextNode"), fields.get("outcome"));
            if next_node.is_none() && outcome.is_none() {
                let help = "`nextNode` or `outcome` says where it leads";
                let message = format!("the choice {} leads nowhere", quote(text));
                cx.report.error(code::NO_TARGET, span.clone(), message, help);
            }
            cx.one_target(next_node, outcome)
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) => {
            cx.wrong_type(
                &member.value,
                text,
                "a node's name or an object, as in {\"nextNode\": \"billing\"}",
            );
            None
        }
    };
    Some(Written { text, span, pattern: pattern?, label, target: target?, set })
}

/// Reads the seed's `allowedDigits`: choices that all lead to the node's own target.
fn allowed_digits<'v>(
    cx: &mut Cx<'v>,
    value: &'v Value<'v>,
    target: Option<&Target>,
) -> Option<Vec<Written<'v>>> {
    let mut written: Vec<Written<'v>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut is_whole = true;
    for digit in cx.list(value, "allowedDigits")? {
        let pattern = cx.string(digit, "a digit").and_then(|text| Some((text, cx.pattern(digit, text)?)));
        let (Some((text, pattern)), Some(target)) = (pattern, target) else {
            is_whole = false;
            continue;
        };
        // The seed looks a digit up in the list: one that is there twice does no harm.
        if seen.insert(pattern.0.clone()) {
            let (span, target) = (digit.span.clone(), target.clone());
            written.push(Written { text, span, pattern, label: None, target, set: Box::default() });
        }
    }
    is_whole.then_some(written)
}

/// Reports the choices of a menu that stand in each other's way. The first `own` are the menu's, the
/// rest those of `keys`: where these meet, the menu's win, and nothing is to be said.
fn compare<'v>(
    cx: &mut Cx<'v>,
    node: &str,
    all: &[&Written<'v>],
    own: usize,
    decide_ms: u64,
    end_key: Option<crate::engine::Key>,
) {
    let Cx { report, budget, .. } = cx;
    let patterns: Vec<&Pattern> = all.iter().map(|choice| &choice.pattern).collect();
    let patterns = Patterns::new(&patterns, budget);
    let name = quote(node);
    for (index, choice) in all.iter().enumerate() {
        let text = quote(choice.text);
        if index < own {
            if let Some(other) = patterns.overlapping(index) {
                let message = format!("{name}: {text} and {} match the same entry", quote(all[other].text));
                report.error(code::OVERLAPPING_CHOICES, choice.span.clone(), message, OVERLAP_HELP);
                continue;
            }
            if let Some(others) = patterns.shadows(index, decide_ms == 0) {
                let shown: Vec<String> = others.iter().take(3).map(|&other| quote(all[other].text)).collect();
                let more = if others.len() > shown.len() { ", …" } else { "" };
                let shown = shown.join(", ");
                let message = format!("{name}: {text} can never win because of {shown}{more}");
                let help = if others.iter().any(|&other| patterns.is_shorter(other, index)) {
                    "with `decideMs` 0 the shortest entry that is complete commits at once"
                } else {
                    "of choices that match one entry, the one with the fewest wildcards wins"
                };
                report.error(code::SHADOWED_CHOICE, choice.span.clone(), message, help);
                continue;
            }
        }
        if let Some(longer) = patterns.longer(index).filter(|_| decide_ms > 0) {
            lint::ambiguous(report, node, choice, all[longer], index < own, (decide_ms, end_key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Ivr, Key, NodeId};
    use crate::tree::tests::{found, loaded, tree};

    fn first(nodes: &str, more: &str) -> std::sync::Arc<Ivr> {
        loaded(&tree(nodes, more))
    }

    /// Returns the choices of the first node: key string sizes are enough to tell them apart.
    fn choices(ivr: &Ivr) -> Vec<(String, &str, &Target)> {
        let Content::Menu(choices) = &ivr.nodes[0].content else { panic!("{:?}", ivr.nodes[0]) };
        choices
            .iter()
            .map(|choice| (format!("{:?}", choice.pattern.0), &*choice.label, &choice.target))
            .collect()
    }

    fn end(outcome: &str) -> Target {
        Target::End(outcome.into())
    }

    #[test]
    fn appends_global_keys_that_the_menu_does_not_define() {
        let nodes =
            r#"{"a": {"label": "A", "choices": {"[1]": {"outcome": "x", "label": "L"}, "2": "@root"}}}"#;
        let keys = r#", "keys": {"1": "@back", "0": {"outcome": "op"}, "*": {"nextNode": "@again", "label": "Star"}}"#;
        assert_eq!(
            choices(&first(nodes, keys)),
            [
                ("[[1]]".to_owned(), "L", &end("x")),
                ("[[2]]".to_owned(), "A", &Target::Root),
                ("[[0]]".to_owned(), "A", &end("op")),
                ("[[*]]".to_owned(), "Star", &Target::Again),
            ]
        );
        let opted_out = nodes.replace("\"label\": \"A\"", "\"globalKeys\": false");
        assert_eq!(2, choices(&first(&opted_out, keys)).len());
    }

    #[test]
    fn takes_no_end_key_that_is_part_of_a_choice() {
        let end_key = |choices: &str, more: &str| {
            first(&format!(r##"{{"a": {{"endKey": "#", "choices": {{{choices}}}}}}}"##), more).nodes[0]
                .end_key
        };
        assert_eq!(Key::parse('#'), end_key(r#""1": {"outcome": "x"}"#, ""));
        assert_eq!(None, end_key(r##""1#": {"outcome": "x"}"##, ""));
        assert_eq!(None, end_key(r#""1[*#]": {"outcome": "x"}"#, ""));
        assert_eq!(None, end_key(r#""1": {"outcome": "x"}"#, r##", "keys": {"#": "@back"}"##));
    }

    #[test]
    fn reads_the_seeds_form_and_mixes_it_with_ours() {
        let b = r#""b": {"outcome": "x"}"#;
        let to_b = Target::Node(NodeId(1));
        for (node, expected) in [
            (r#""allowedDigits": ["1"], "nextNode": "b""#, &to_b),
            (r#""ALLOWEDDIGITS": ["1"], "nextnode": "b", "isterminal": false"#, &to_b),
            (r#""allowedDigits": ["1", "1"], "nextNode": "b", "isTerminal": null, "maxMs": 5"#, &to_b),
            (r#""allowedDigits": ["1"], "nextNode": "", "isTerminal": true"#, &end("completed")),
            (r#""allowedDigits": ["1"], "nextNode": "gone", "isTerminal": true"#, &end("completed")),
            (r#""allowedDigits": ["1"], "outcome": "paid", "isTerminal": true"#, &end("paid")),
            (r#""allowedDigits": ["1"], "nextNode": "@back", "noInput": {"tries": 2}"#, &Target::Back),
        ] {
            let ivr = first(&format!("{{\"a\": {{{node}}}, {b}}}"), "");
            assert_eq!(choices(&ivr), [("[[1]]".to_owned(), "a", expected)], "{node}");
        }
        for node in [
            r#""allowedDigits": null, "nextNode": "", "isTerminal": true"#,
            r#""allowedDigits": [], "nextNode": "gone", "isTerminal": true"#,
            r#""isTerminal": true"#,
            r#""outcome": "completed", "isTerminal": false, "nextNode": """#,
        ] {
            let ivr = first(&format!("{{\"a\": {{{node}}}}}"), "");
            assert_eq!(Content::End("completed".into()), ivr.nodes[0].content, "{node}");
        }
    }

    #[test]
    fn says_what_a_node_lacks_or_has_too_much() {
        let outcome = r#""outcome": "x""#;
        for (node, expected) in [
            ("", vec![(code::NO_TARGET, "a")]),
            (r#""nextNode": "a""#, vec![(code::NO_TARGET, "a")]),
            (r#""choices": {}"#, vec![(code::NO_TARGET, "a")]),
            (r#""choices": {"$1": "b"}"#, vec![(code::NO_TARGET, "a")]),
            (r#""collect": {}"#, vec![(code::NO_TARGET, "a")]),
            (r#""allowedDigits": ["1"]"#, vec![(code::NO_TARGET, "a")]),
            (r#""allowedDigits": [], "nextNode": "a""#, vec![(code::NO_TARGET, "a")]),
            (r#""choices": {"1": {"label": "x"}}"#, vec![(code::NO_TARGET, "1")]),
            (r#""choices": {"1": 5}"#, vec![(code::WRONG_TYPE, "5")]),
            (r#""choices": {"1": ""}"#, vec![(code::MISSING_TARGET, "")]),
            (r#""choices": {"1": "@up"}"#, vec![(code::MISSING_TARGET, "@up")]),
            (
                r#""choices": {"1": {"nextNode": "a", "outcome": "x"}}"#,
                vec![(code::OUTCOME_WITH_NEXT_NODE, "outcome")],
            ),
            (r#""choices": {"1": "@back"}, "outcome": "x""#, vec![(code::UNKNOWN_KEY, "outcome")]),
            (r#""choices": {"1": "@back"}, "nextNode": "a""#, vec![(code::UNKNOWN_KEY, "nextNode")]),
            (
                r#""choices": {"1": "@back"}, "allowedDigits": ["1"]"#,
                vec![(code::UNKNOWN_KEY, "allowedDigits")],
            ),
            (r#""collect": {}, "choices": {"1": "@back"}"#, vec![(code::CHOICES_WITH_COLLECT, "choices")]),
            (r#""allowedDigits": ["1"], "collect": {}"#, vec![(code::CHOICES_WITH_COLLECT, "collect")]),
            (r#""outcome": """#, vec![(code::WRONG_VALUE, "")]),
            (r#""outcome": "x", "nextNode": "a""#, vec![(code::OUTCOME_WITH_NEXT_NODE, "outcome")]),
            (
                r#""allowedDigits": ["1x", 2], "nextNode": "a""#,
                vec![(code::BAD_PATTERN, "x"), (code::WRONG_TYPE, "2")],
            ),
            (r#""outcome": "x", "OUTCOME": "x""#, vec![(code::UNKNOWN_KEY, "OUTCOME")]),
            (r#""nextNode": "", "NextNode": "", "outcome": "x""#, vec![(code::DUPLICATE_KEY, "NextNode")]),
            (
                r#""label": 1, "globalKeys": 0, "outcome": "x""#,
                vec![(code::WRONG_TYPE, "1"), (code::WRONG_TYPE, "0")],
            ),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(code, text)| (code, text.to_owned())).collect();
            let text =
                tree(&format!("{{\"a\": {{{node}}}, \"b\": {{{outcome}}}}}"), r#", "entries": {"1": "b"}"#);
            assert_eq!(expected, found(&text), "{node}");
        }
    }

    #[test]
    fn tells_which_choices_stand_in_each_others_way() {
        let keys = r##", "keys": {"0": "@back", "**": "@back"}"##;
        for (timers, choices, expected) in [
            ("", &["X", "0"][..], vec![]),
            ("", &["X"], vec![]),
            ("", &["1", "[12]", "2"], vec![(code::SHADOWED_CHOICE, "[12]")]),
            ("", &["a", "A"], vec![(code::OVERLAPPING_CHOICES, "A")]),
            ("", &["1", "[1]"], vec![(code::OVERLAPPING_CHOICES, "[1]")]),
            ("", &["012"], vec![(code::AMBIGUOUS_PREFIX, "012")]),
            (r#""decideMs": 0,"#, &["012"], vec![(code::SHADOWED_CHOICE, "012")]),
            (r#""decideMs": 0,"#, &["1", "XX"], vec![]),
            ("", &["*"], vec![(code::AMBIGUOUS_PREFIX, "*")]),
            ("", &["1", "1XX", "12"], vec![(code::AMBIGUOUS_PREFIX, "1"), (code::AMBIGUOUS_PREFIX, "12")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(code, text)| (code, text.to_owned())).collect();
            let choices: Vec<_> =
                choices.iter().map(|choice| format!("\"{choice}\": {{\"outcome\": \"x\"}}")).collect();
            let nodes = format!("{{\"a\": {{{timers} \"choices\": {{{}}}}}}}", choices.join(","));
            let found = found(&tree(&nodes, keys));
            let found: Vec<_> = found.into_iter().filter(|(code, _)| *code != code::ABCD_KEYS).collect();
            assert_eq!(expected, found, "{choices:?}");
        }
    }
}
