//! What `defaults` and each node can say alike: timers, keys, handlers, the mask.

use std::sync::Arc;

use super::diagnostic::{code, quote};
use super::fields::{Cx, Fields, MS_MAX, Shape};
use super::lint;
use super::syntax::{Kind, Member};
use crate::engine::{Assignment, Digits, Handler, Key, Mask, Piece, Target, Template, Timing};

/// The most tries of a handler; the default is 1.
const TRIES_MAX: u64 = 1_000_000;

/// What was said; `None` is not said. A node's own value replaces the default whole.
#[derive(Debug, Default)]
pub(super) struct Settings {
    prompt_ms: Option<u64>,
    first_digit_ms: Option<u64>,
    inter_digit_ms: Option<u64>,
    decide_ms: Option<u64>,
    max_ms: Option<u64>,
    guard_ms: Option<u64>,
    end_key: Option<Option<Key>>,
    no_input: Option<Handler>,
    no_match: Option<Option<Handler>>,
    mask: Option<Mask>,
}

/// The keys that [`Settings::read`] reads.
pub(super) const KEYS: [&str; 10] = [
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
];

const HANDLER: Shape =
    Shape { what: "a handler", keys: &["tries", "nextNode", "outcome", "set"], any_case: &[] };

impl Settings {
    /// Reads the settings of `defaults` or of a node.
    pub(super) fn read<'v>(cx: &mut Cx<'v>, fields: &Fields<'v>) -> Settings {
        let mut ms = |key| fields.get(key).and_then(|member| cx.whole(member, 0..=MS_MAX));
        let mut settings = Settings {
            prompt_ms: ms("promptMs"),
            first_digit_ms: ms("firstDigitMs"),
            inter_digit_ms: ms("interDigitMs"),
            decide_ms: ms("decideMs"),
            max_ms: ms("maxMs"),
            guard_ms: ms("guardMs"),
            ..Settings::default()
        };
        if let (Some(0), Some(member)) = (settings.inter_digit_ms, fields.get("interDigitMs")) {
            let help = "the wait between digits is over 0; `decideMs` 0 commits a complete entry at once";
            cx.report.error(code::INTER_DIGIT_ZERO, member.value.span.clone(), "`interDigitMs` is 0", help);
            settings.inter_digit_ms = None;
        }
        lint::timeouts(cx, fields, [settings.first_digit_ms, settings.inter_digit_ms, settings.decide_ms]);
        settings.end_key = fields.get("endKey").and_then(|member| cx.optional_key(member));
        settings.no_input = fields.get("noInput").and_then(|member| handler(cx, member, NO_INPUT_OUTCOME));
        settings.no_match = fields.get("noMatch").and_then(|member| no_match(cx, member));
        settings.mask = fields.get("mask").and_then(|member| mask(cx, member));
        settings
    }

    /// Returns the timers of a node that says `self` under these defaults.
    pub(super) fn timing(&self, defaults: &Settings) -> Timing {
        let built_in = Timing::default();
        let inter_digit_ms =
            self.inter_digit_ms.or(defaults.inter_digit_ms).unwrap_or(built_in.inter_digit_ms);
        Timing {
            prompt_ms: self.prompt_ms.or(defaults.prompt_ms).unwrap_or(built_in.prompt_ms),
            first_digit_ms: self
                .first_digit_ms
                .or(defaults.first_digit_ms)
                .unwrap_or(built_in.first_digit_ms),
            inter_digit_ms,
            decide_ms: self.decide_ms.or(defaults.decide_ms).unwrap_or(inter_digit_ms),
            max_ms: self.max_ms.or(defaults.max_ms).unwrap_or(built_in.max_ms),
            guard_ms: self.guard_ms.or(defaults.guard_ms).unwrap_or(built_in.guard_ms),
        }
    }

    /// Returns the end key under these defaults.
    pub(super) fn end_key(&self, defaults: &Settings) -> Option<Key> {
        self.end_key.or(defaults.end_key).flatten()
    }

    /// Returns the mask under these defaults.
    pub(super) fn mask(&self, defaults: &Settings) -> Mask {
        self.mask.or(defaults.mask).unwrap_or(Mask::Off)
    }

    /// Takes the two handlers under these defaults: no-input, no-match.
    pub(super) fn take_handlers(&mut self, defaults: &Settings) -> (Handler, Option<Handler>) {
        let no_input =
            self.no_input.take().or_else(|| defaults.no_input.as_ref().map(copy_of)).unwrap_or_else(|| {
                Handler { tries: 1, target: Target::End(Arc::from(NO_INPUT_OUTCOME)), set: Box::default() }
            });
        let no_match = match self.no_match.take() {
            Some(own) => own,
            None => defaults.no_match.as_ref().and_then(|handler| handler.as_ref().map(copy_of)),
        };
        (no_input, no_match)
    }

    /// Returns about how many bytes a node takes that says nothing of its own.
    pub(super) fn weight(&self) -> usize {
        let handlers = [self.no_input.as_ref(), self.no_match.as_ref().and_then(Option::as_ref)];
        handlers.into_iter().flatten().map(|handler| weight(&handler.set)).sum()
    }
}

/// Where the seed leads a caller who presses nothing.
const NO_INPUT_OUTCOME: &str = "timeout_fallback";
const NO_MATCH_OUTCOME: &str = "nomatch";

/// Reads a handler; one without a target has the outcome `default`.
fn handler<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>, default: &str) -> Option<Handler> {
    let fields = Fields::open(cx, &member.value, &member.name, &HANDLER)?;
    let tries = match fields.get("tries") {
        Some(member) => cx.whole(member, 1..=TRIES_MAX).and_then(|tries| u32::try_from(tries).ok()),
        None => Some(1),
    };
    let set = fields.get("set").and_then(|member| cx.assignments(member)).unwrap_or_default();
    let target = match (fields.get("nextNode"), fields.get("outcome")) {
        (None, None) => Some(Target::End(Arc::from(default))),
        (next_node, outcome) => cx.one_target(next_node, outcome),
    };
    Some(Handler { tries: tries?, target: target?, set })
}

/// Reads `noMatch`: `"ignore"` or a handler.
fn no_match<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Option<Handler>> {
    match &member.value.kind {
        Kind::String(text) if text == "ignore" => Some(None),
        Kind::String(text) => {
            let message = format!("`noMatch` is {}", quote(text));
            let help = "it is \"ignore\" or an object, as in {\"tries\": 3, \"nextNode\": \"operator\"}";
            cx.report.error(code::WRONG_VALUE, member.value.span.clone(), message, help);
            None
        }
        Kind::Object(_) => handler(cx, member, NO_MATCH_OUTCOME).map(Some),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) => {
            cx.wrong_type(&member.value, &member.name, "\"ignore\" or an object");
            None
        }
    }
}

/// Reads `mask`: `true`, `false` or how many digits stay visible.
fn mask<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Mask> {
    match member.value.kind {
        Kind::Bool(true) => Some(Mask::All),
        Kind::Bool(false) => Some(Mask::Off),
        Kind::Number("0") => {
            let help = "it is `true` to show nothing, or how many last digits to show, from 1";
            cx.report.error(code::MASK_ZERO, member.value.span.clone(), "`mask` is 0", help);
            None
        }
        // An entry has at most `Digits::MAX` digits: a greater number shows as little.
        Kind::Number(_) => {
            let shown = cx.whole(member, 1..=u64::from(u32::MAX))?;
            Some(Mask::Last(usize::try_from(shown).unwrap_or(usize::MAX).min(Digits::MAX)))
        }
        Kind::Null | Kind::String(_) | Kind::Array(_) | Kind::Object(_) => {
            cx.wrong_type(&member.value, &member.name, "true, false or a whole number from 1");
            None
        }
    }
}

impl<'v> Cx<'v> {
    /// Reads a key, or `""` for none.
    pub(super) fn optional_key(&mut self, member: &'v Member<'v>) -> Option<Option<Key>> {
        let text = self.string(&member.value, &member.name)?;
        let mut symbols = text.chars();
        let key = match (symbols.next(), symbols.next()) {
            (None, _) => return Some(None),
            (Some(symbol), None) => Key::parse(symbol),
            (Some(_), Some(_)) => None,
        };
        match key {
            Some(key) => Some(Some(key)),
            None => {
                let message = format!("{} is {}", quote(&member.name), quote(text));
                let help = "it is one key of 0-9 * # A-D, or \"\" for none";
                self.report.error(code::WRONG_VALUE, member.value.span.clone(), message, help);
                None
            }
        }
    }

    /// Reads a target of which one of the two keys is there, or both, which is reported.
    pub(super) fn one_target(
        &mut self,
        next_node: Option<&'v Member<'v>>,
        outcome: Option<&'v Member<'v>>,
    ) -> Option<Target> {
        match (next_node, outcome) {
            (Some(_), Some(outcome)) => {
                let help =
                    "a walk either goes on to a node or ends with an outcome: one of the two stands here";
                let span = outcome.name_span.clone();
                self.report.error(code::OUTCOME_WITH_NEXT_NODE, span, "`outcome` beside `nextNode`", help);
                None
            }
            (Some(next_node), None) => {
                let name = self.string(&next_node.value, &next_node.name)?;
                self.target(name, &next_node.value.span)
            }
            (None, Some(outcome)) => self.filled(outcome).map(|outcome| Target::End(Arc::from(outcome))),
            (None, None) => None,
        }
    }
}

/// Returns a handler again: each node has its own.
fn copy_of(handler: &Handler) -> Handler {
    Handler { tries: handler.tries, target: handler.target.clone(), set: copy_of_set(&handler.set) }
}

/// Returns assignments again.
pub(super) fn copy_of_set(set: &[Assignment]) -> Box<[Assignment]> {
    set.iter()
        .map(|Assignment { name, value: Template(pieces) }| Assignment {
            name: Arc::clone(name),
            value: Template(pieces.clone()),
        })
        .collect()
}

/// Returns about how many bytes assignments take.
pub(super) fn weight(set: &[Assignment]) -> usize {
    let piece = |piece: &Piece| 32 + if let Piece::Text(text) = piece { text.len() } else { 0 };
    set.iter().map(|assignment| 64 + assignment.value.0.iter().map(piece).sum::<usize>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{NodeId, Piece};
    use crate::tree::tests::{found, loaded, tree};

    #[test]
    fn replaces_defaults_whole() {
        let nodes = r##"{"a": {"choices": {"1": {"outcome": "x"}}},
            "b": {"choices": {"1": {"outcome": "x"}}, "interDigitMs": 4000, "endKey": "", "mask": false,
                  "noInput": {"outcome": "gone"}, "noMatch": "ignore"},
            "c": {"choices": {"1": "@again"}, "decideMs": 0, "noMatch": {"tries": 2}}}"##;
        let defaults = r##", "entries": {"1": "b", "2": "c"}, "defaults": {"promptMs": 1, "firstDigitMs": 0,
            "maxMs": 2, "guardMs": 3, "endKey": "#", "mask": true, "noMatch": {"outcome": "out"},
            "noInput": {"tries": 3, "nextNode": "b", "set": {"v": "{node}"}}}"##;
        let ivr = loaded(&tree(nodes, defaults));
        let [a, b, c] = &ivr.nodes[..] else { panic!() };
        let timing = Timing { prompt_ms: 1, first_digit_ms: 0, max_ms: 2, guard_ms: 3, ..Timing::default() };
        assert_eq!(timing, a.timing);
        assert_eq!(Timing { inter_digit_ms: 4000, decide_ms: 4000, ..timing }, b.timing);
        assert_eq!(Timing { decide_ms: 0, ..timing }, c.timing);
        assert_eq!([Key::parse('#'), None, Key::parse('#')], [a.end_key, b.end_key, c.end_key]);
        assert_eq!([Mask::All, Mask::Off, Mask::All], [a.mask, b.mask, c.mask]);
        let no_input = |tries, target| (tries, target);
        assert_eq!(no_input(3, Target::Node(NodeId(1))), (a.no_input.tries, a.no_input.target.clone()));
        assert_eq!([Piece::Node], *a.no_input.set[0].value.0);
        assert_eq!(no_input(1, Target::End("gone".into())), (b.no_input.tries, b.no_input.target.clone()));
        assert!(b.no_input.set.is_empty() && b.no_match.is_none());
        let no_match = c.no_match.as_ref().unwrap();
        assert_eq!(no_input(2, Target::End("nomatch".into())), (no_match.tries, no_match.target.clone()));
        assert_eq!(Target::End("out".into()), a.no_match.as_ref().unwrap().target);
    }

    #[test]
    fn reads_decide_ms_of_the_defaults_before_a_nodes_inter_digit_ms() {
        let nodes = r#"{"a": {"choices": {"1": {"outcome": "x"}}, "interDigitMs": 5000}}"#;
        let ivr = loaded(&tree(nodes, r#", "defaults": {"decideMs": 1000}"#));
        assert_eq!(1000, ivr.nodes[0].timing.decide_ms);
    }

    #[test]
    fn says_which_setting_is_wrong() {
        for (setting, expected) in [
            (r#""promptMs": -1"#, vec![(code::WRONG_VALUE, "-1")]),
            (r#""promptMs": 1.5"#, vec![(code::WRONG_VALUE, "1.5")]),
            (r#""promptMs": 1e3"#, vec![(code::WRONG_VALUE, "1e3")]),
            (r#""maxMs": 604800001"#, vec![(code::WRONG_VALUE, "604800001")]),
            (r#""maxMs": 99999999999999999999999"#, vec![(code::WRONG_VALUE, "99999999999999999999999")]),
            (r#""guardMs": null"#, vec![(code::WRONG_TYPE, "null")]),
            (r###""endKey": "##""###, vec![(code::WRONG_VALUE, "##")]),
            (r#""endKey": "X""#, vec![(code::WRONG_VALUE, "X")]),
            (r#""mask": -1"#, vec![(code::WRONG_VALUE, "-1")]),
            (r#""mask": "yes""#, vec![(code::WRONG_TYPE, "yes")]),
            (r#""mask": 40"#, vec![]),
            (r#""noMatch": "drop""#, vec![(code::WRONG_VALUE, "drop")]),
            (r#""noMatch": 1"#, vec![(code::WRONG_TYPE, "1")]),
            (r#""noInput": "ignore""#, vec![(code::WRONG_TYPE, "ignore")]),
            (r#""noInput": {"tries": 0}"#, vec![(code::WRONG_VALUE, "0")]),
            (r#""noInput": {"try": 2}"#, vec![(code::UNKNOWN_KEY, "try")]),
            (r#""noInput": {"nextNode": "b"}"#, vec![(code::MISSING_TARGET, "b")]),
            (
                r#""noInput": {"nextNode": "a", "outcome": "x"}"#,
                vec![(code::OUTCOME_WITH_NEXT_NODE, "outcome")],
            ),
            (r#""noInput": {"set": {"v": 1}}"#, vec![(code::WRONG_TYPE, "1")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(code, text)| (code, text.to_owned())).collect();
            let node = r#"{"a": {"choices": {"1": {"outcome": "x"}}"#;
            assert_eq!(expected, found(&tree(&format!("{node}, {setting}}}}}"), "")), "{setting}");
            let defaults = format!(", \"defaults\": {{{setting}}}");
            assert_eq!(expected, found(&tree(&format!("{node}}}}}"), &defaults)), "{setting}");
        }
    }
}
