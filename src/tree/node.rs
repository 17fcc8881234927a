//! One node: a menu, an entry or an end, by what it has.

use std::sync::Arc;

use super::diagnostic::{code, quote};
use super::fields::{Cx, Fields, Shape};
use super::menu::{self, Written};
use super::settings::Settings;
use super::syntax::{Kind, Member, Value};
use super::{collect, lint, pattern};
use crate::engine::{Content, Node, Target};

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

/// What the seed calls the end of a walk.
const COMPLETED: &str = "completed";

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
                Form::Choices(choices) => menu::choices_of(cx, choices),
                Form::AllowedDigits(digits) => menu::allowed_digits(cx, digits, target.as_ref()),
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
            menu::compare(cx, name, &all, written.len(), timing.decide_ms, end_key);
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
            let help =
                "a node is a menu (`choices`) or an entry (`collect`): one after the other takes two nodes";
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
        // What the node is, or a key of it, has been reported as unclear: so is what it lacks.
        (None, _, _) => None,
        (Some(Form::End), Some(_), None) | (Some(_), None, None) if fields.has_unknown() => None,
        (Some(Form::End), Some(_), None) => {
            let help = "`nextNode` is where keys lead: beside it stands `allowedDigits` or `collect`";
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
        let keys = r#", "keys": {"1": "@back", "0": {"outcome": "op"},
            "*": {"nextNode": "@again", "label": "Star"}}"#;
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
            // One slip, one finding.
            (r#""Outcome": "x""#, vec![(code::UNKNOWN_KEY, "Outcome")]),
            (r#""choices": {"1": {"nextnode": "b"}}"#, vec![(code::UNKNOWN_KEY, "nextnode")]),
            (r#""choises": {"1": "b"}"#, vec![(code::UNKNOWN_KEY, "choises")]),
            (
                r#""collect": {}, "lable": "x", "nextNode": "c""#,
                vec![(code::UNKNOWN_KEY, "lable"), (code::MISSING_TARGET, "c")],
            ),
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
}
