//! The choices of a menu: as they are written, and how they stand to each other.

use std::collections::HashSet;
use std::sync::Arc;

use super::diagnostic::{Span, code, quote};
use super::fields::{Cx, Fields, Shape};
use super::overlap::Patterns;
use super::settings::{self, copy_of_set};
use super::syntax::{Kind, Member, Value};
use super::{lint, pattern};
use crate::engine::{Assignment, Choice, Key, KeySet, Pattern, Target};

const CHOICE: Shape =
    Shape { what: "a choice", keys: &["nextNode", "outcome", "label", "set"], any_case: &[] };

/// What is right where two choices overlap.
pub(super) const OVERLAP_HELP: &str =
    "of two choices that match one entry, one has fewer wildcards, and it wins";

/// A choice as it is written.
#[derive(Debug)]
pub(super) struct Written<'v> {
    pub(super) text: &'v str,
    pub(super) span: Span,
    pub(super) pattern: Pattern,
    label: Option<Arc<str>>,
    target: Target,
    set: Box<[Assignment]>,
}

impl Written<'_> {
    /// Returns the choice in a node with this label.
    pub(super) fn to_choice(&self, label: &Arc<str>) -> Choice {
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
            if next_node.is_none() && outcome.is_none() && !fields.has_unknown() {
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
pub(super) fn allowed_digits<'v>(
    cx: &mut Cx<'v>,
    value: &'v Value<'v>,
    target: Option<&Target>,
) -> Option<Vec<Written<'v>>> {
    let mut written: Vec<Written<'v>> = Vec::new();
    let mut seen = HashSet::new();
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
pub(super) fn compare<'v>(
    cx: &mut Cx<'v>,
    node: &str,
    all: &[&Written<'v>],
    own: usize,
    decide_ms: u64,
    end_key: Option<Key>,
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
    use crate::tree::tests::{found, tree};

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
