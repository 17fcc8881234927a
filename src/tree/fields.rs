//! Reading objects: known keys, typed values, and one finding for whatever is not as it should be.
//!
//! A value that is wrong counts as not given. It has been reported, so nothing else needs to be.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::diagnostic::{Report, Span, code, quote};
use super::overlap::Budget;
use super::syntax::{Kind, Member, Value, raw_offset};
use crate::engine::{NodeId, SlotId, Target};

/// The longest time that a key may give, in milliseconds: a week. Longer is a slip of the unit.
pub(super) const MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// What the parts of one load share.
#[derive(Debug)]
pub(super) struct Cx<'v> {
    pub(super) text: &'v str,
    pub(super) report: Report,
    pub(super) nodes: HashMap<&'v str, NodeId>,
    pub(super) slots: HashMap<&'v str, SlotId>,
    pub(super) slot_names: Vec<&'v str>,
    pub(super) budget: Budget,
}

/// The keys that an object may have.
#[derive(Debug)]
pub(super) struct Shape {
    /// What the object is, as in "a node".
    pub(super) what: &'static str,
    pub(super) keys: &'static [&'static str],
    /// Those of them that may be written in any letter case: the seed's.
    pub(super) any_case: &'static [&'static str],
}

/// The known keys that an object has.
#[derive(Debug)]
pub(super) struct Fields<'v> {
    found: Vec<(&'static str, &'v Member<'v>)>,
    has_unknown: bool,
}

impl<'v> Fields<'v> {
    /// Takes an object apart, and reports what is no key of `shape`.
    pub(super) fn open(
        cx: &mut Cx<'v>,
        value: &'v Value<'v>,
        name: &str,
        shape: &Shape,
    ) -> Option<Fields<'v>> {
        let mut found: Vec<(&'static str, &'v Member<'v>)> = Vec::new();
        let mut has_unknown = false;
        for member in cx.object(value, name)? {
            let key = shape
                .keys
                .iter()
                .find(|key| member.name == **key)
                .or_else(|| shape.any_case.iter().find(|key| member.name.eq_ignore_ascii_case(key)));
            match key {
                Some(key) if found.iter().any(|(other, _)| other == key) => {
                    cx.report.duplicate(&member.name, member.name_span.clone());
                }
                Some(&key) => found.push((key, member)),
                None => {
                    has_unknown = true;
                    cx.unknown_key(member, shape);
                }
            }
        }
        Some(Fields { found, has_unknown })
    }

    /// Returns whether there was a key that means nothing, which has been reported: what is missing may be
    /// what it was to say.
    pub(super) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// Returns the member of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'v Member<'v>> {
        self.found.iter().find(|(found, _)| *found == key).map(|&(_, member)| member)
    }

    /// Returns the member of a key of the seed's, for which `null` is the same as nothing: Go
    /// writes an empty list so.
    pub(super) fn seed(&self, key: &str) -> Option<&'v Member<'v>> {
        self.get(key).filter(|member| !matches!(member.value.kind, Kind::Null))
    }
}

impl<'v> Cx<'v> {
    /// Returns an object's members but for the comments.
    pub(super) fn object(
        &mut self,
        value: &'v Value<'v>,
        name: &str,
    ) -> Option<impl Iterator<Item = &'v Member<'v>> + use<'v>> {
        match &value.kind {
            Kind::Object(members) => Some(members.iter().filter(|member| !member.is_comment())),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Array(_) => {
                self.wrong_type(value, name, "an object, as in {…}");
                None
            }
        }
    }

    /// Returns a list's elements.
    pub(super) fn list(&mut self, value: &'v Value<'v>, name: &str) -> Option<&'v [Value<'v>]> {
        match &value.kind {
            Kind::Array(elements) => Some(elements),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Object(_) => {
                self.wrong_type(value, name, "a list, as in […]");
                None
            }
        }
    }

    /// Returns a string.
    pub(super) fn string(&mut self, value: &'v Value<'v>, name: &str) -> Option<&'v str> {
        match &value.kind {
            Kind::String(text) => Some(text),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_) => {
                self.wrong_type(value, name, "a string, as in \"…\"");
                None
            }
        }
    }

    /// Returns a string that has something in it.
    pub(super) fn filled(&mut self, member: &'v Member<'v>) -> Option<&'v str> {
        let text = self.string(&member.value, &member.name)?;
        if text.is_empty() {
            let message = format!("{} is empty", quote(&member.name));
            self.report.error(
                code::WRONG_VALUE,
                member.value.span.clone(),
                message,
                "it needs at least a letter",
            );
            return None;
        }
        Some(text)
    }

    /// Returns `true` or `false`.
    pub(super) fn flag(&mut self, member: &'v Member<'v>) -> Option<bool> {
        match member.value.kind {
            Kind::Bool(flag) => Some(flag),
            Kind::Null | Kind::Number(_) | Kind::String(_) | Kind::Array(_) | Kind::Object(_) => {
                self.wrong_type(&member.value, &member.name, "true or false");
                None
            }
        }
    }

    /// Returns a whole number within bounds.
    pub(super) fn whole(&mut self, member: &'v Member<'v>, bounds: RangeInclusive<u64>) -> Option<u64> {
        let Kind::Number(number) = member.value.kind else {
            self.wrong_type(&member.value, &member.name, "a whole number");
            return None;
        };
        // Too many digits for 64 bits are out of bounds too; a sign, fraction or exponent is not whole.
        let parsed = number.parse::<u64>().ok();
        if parsed.is_some_and(|parsed| bounds.contains(&parsed)) {
            return parsed;
        }
        let message = format!("{} is {}", quote(&member.name), quote(number));
        let help = format!("it is a whole number from {} to {}", bounds.start(), bounds.end());
        self.report.error(code::WRONG_VALUE, member.value.span.clone(), message, help);
        None
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, value: &Value<'_>, name: &str, needed: &str) {
        let message = format!("{} is {}", quote(name), value.kind_name());
        // An object may span half of the file: its first character shows it well enough.
        let span = match value.kind {
            Kind::Array(_) | Kind::Object(_) => value.span.start..value.span.start + 1,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => value.span.clone(),
        };
        self.report.error(code::WRONG_TYPE, span, message, format!("it is {needed}"));
    }

    fn unknown_key(&mut self, member: &Member<'_>, shape: &Shape) {
        let message = format!("unknown key {} in {}", quote(&member.name), shape.what);
        let help = match self.report.nearest(&member.name, shape.keys.iter().copied()) {
            Some(nearest) => {
                format!("the nearest key here is `{nearest}`; keys that begin with `$` are comments")
            }
            None => format!("the keys of {} are {}", shape.what, shape.keys.join(", ")),
        };
        self.report.error(code::UNKNOWN_KEY, member.name_span.clone(), message, help);
    }

    /// Returns the place of a part of a string, given in bytes of what the string means.
    pub(super) fn inside(&self, value: &Value<'_>, part: Span) -> Span {
        let raw = self.text.get(value.span.clone()).unwrap_or_default();
        let start = value.span.start;
        start + raw_offset(raw, part.start)..start + raw_offset(raw, part.end)
    }

    /// Returns the node of a name.
    pub(super) fn node(&mut self, name: &str, span: &Span, missing: &'static str) -> Option<NodeId> {
        if let Some(&node) = self.nodes.get(name) {
            return Some(node);
        }
        let nearest = self.report.nearest(name, self.nodes.keys().copied());
        let help = match nearest {
            _ if name.starts_with('$') => {
                "a key that begins with `$` is a comment, so it names no node".into()
            }
            _ if name.starts_with('@') => "besides nodes, targets are `@back`, `@root` and `@again`".into(),
            Some(nearest) => format!("the nearest node is {}", quote(nearest)),
            None => "each target is a key of `nodes`".to_owned(),
        };
        self.report.error(missing, span.clone(), format!("no node is named {}", quote(name)), help);
        None
    }

    /// Returns what a target's name leads to.
    pub(super) fn target(&mut self, name: &str, span: &Span) -> Option<Target> {
        match name {
            "@back" => Some(Target::Back),
            "@root" => Some(Target::Root),
            "@again" => Some(Target::Again),
            _ => self.node(name, span, code::MISSING_TARGET).map(Target::Node),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tree::{load, tests::tree};

    fn findings(node: &str) -> Vec<(String, String)> {
        let loaded =
            load(&tree(&format!("{{\"a\": {{{node}}}, \"main menu\": {{\"outcome\": \"x\"}}}}"), ""));
        loaded.findings.into_iter().map(|finding| (finding.message, finding.help)).collect()
    }

    #[test]
    fn names_what_is_there_and_what_is_right() {
        for (node, message, help) in [
            (
                r#""choices": {"1": "main_menu"}"#,
                "no node is named `main_menu`",
                "the nearest node is `main menu`",
            ),
            (
                r#""choices": {"1": "$x"}"#,
                "no node is named `$x`",
                "a key that begins with `$` is a comment, so it names no node",
            ),
            (
                r#""choices": {"1": {"outcom": "main menu", "outcome": "x"}}"#,
                "unknown key `outcom` in a choice",
                "the nearest key here is `outcome`; keys that begin with `$` are comments",
            ),
            (
                r#""outcome": "x", "firstDigitMs": "8 s""#,
                "`firstDigitMs` is a string",
                "it is a whole number",
            ),
            (
                r#""outcome": "x", "maxMs": 1e9"#,
                "`maxMs` is `1e9`",
                "it is a whole number from 0 to 604800000",
            ),
        ] {
            assert_eq!(Some(&(message.to_owned(), help.to_owned())), findings(node).first(), "{node}");
        }
    }

    #[test]
    fn escapes_and_cuts_what_it_repeats() {
        let (message, _) = &findings(&format!("\"\\u001b[2J{}\": 1, \"outcome\": \"x\"", "x".repeat(99)))[0];
        assert_eq!(&format!("unknown key `\\u{{1b}}[2J{}…` in a node", "x".repeat(36)), message);
    }
}
