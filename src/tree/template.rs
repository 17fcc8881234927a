//! Templates: the values of `set`, with names in braces (IVR.md section 2).

use std::sync::Arc;

use super::diagnostic::{Span, code, quote};
use super::fields::Cx;
use super::syntax::{Member, Value};
use crate::engine::{Assignment, Piece, Template};

/// The names that every template knows, besides those of entries.
pub(super) const NAMES: [(&str, Piece); 13] = [
    ("digits", Piece::Digits),
    ("label", Piece::Label),
    ("node", Piece::Node),
    ("outcome", Piece::Outcome),
    ("reason", Piece::Reason),
    ("attempt", Piece::Attempt),
    ("callId", Piece::CallId),
    ("interaction", Piece::Interaction),
    ("from", Piece::From),
    ("to", Piece::To),
    ("path", Piece::Path),
    ("keys", Piece::Keys),
    ("elapsedMs", Piece::ElapsedMs),
];

/// What follows an entry's name to have it in clear.
const RAW: &str = "!raw";

/// The most names of entries that a message lists.
const LISTED_MAX: usize = 10;

/// A template as it is written: text and names, with the place of each name in it.
#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Name(&'t str, Span),
}

/// Takes a template apart.
///
/// # Errors
///
/// The place of the first brace that has no other half.
fn split(text: &str) -> Result<Vec<Part<'_>>, usize> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let plain = rest.find(['{', '}']).unwrap_or(rest.len());
        if plain > 0 {
            parts.push(Part::Text(&rest[..plain]));
            at += plain;
        } else if rest.starts_with("{{") || rest.starts_with("}}") {
            parts.push(Part::Text(&rest[..1]));
            at += 2;
        } else {
            // A name has no brace in it: `{a{b}` is an open brace, not a strange name.
            let end = 1 + rest[1..].find(['{', '}']).ok_or(at)?;
            if !rest.starts_with('{') || !rest[end..].starts_with('}') {
                return Err(at);
            }
            parts.push(Part::Name(&rest[1..end], at + 1..at + end));
            at += end + 1;
        }
    }
    Ok(parts)
}

impl<'v> Cx<'v> {
    /// Reads the template that `value` writes as `text`, and reports what is wrong with it.
    fn template(&mut self, value: &Value<'v>, text: &str) -> Option<Template> {
        let parts = match split(text) {
            Ok(parts) => parts,
            Err(at) => {
                let span = self.inside(value, at..at + 1);
                let brace = &text[at..at + 1];
                let message = format!("this `{brace}` has no other half");
                let help = "a name stands in braces, as in {digits}; `{{` and `}}` are literal braces";
                self.report.error(code::BAD_TEMPLATE, span, message, help);
                return None;
            }
        };
        let mut pieces = Vec::with_capacity(parts.len());
        let mut text = String::new();
        let mut is_whole = true;
        for part in parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Name(name, place) => {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                    }
                    match self.piece(name) {
                        Some(piece) => {
                            if let Piece::RawSlot(_) = piece {
                                let span = self.inside(value, place);
                                self.raw_value(name, span);
                            }
                            pieces.push(piece);
                        }
                        None => {
                            let span = self.inside(value, place);
                            self.unknown_name(name, span);
                            is_whole = false;
                        }
                    }
                }
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        is_whole.then(|| Template(pieces.into()))
    }

    fn piece(&self, name: &str) -> Option<Piece> {
        if let Some((_, piece)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(piece.clone());
        }
        // An entry may have `!raw` in its name: the whole name goes first.
        match (self.slots.get(name), name.strip_suffix(RAW)) {
            (Some(&slot), _) => Some(Piece::Slot(slot)),
            (None, Some(name)) => self.slots.get(name).copied().map(Piece::RawSlot),
            (None, None) => None,
        }
    }

    fn raw_value(&mut self, name: &str, span: Span) {
        let message = format!("the value of {} leaves in clear", quote(name));
        let plain = name.strip_suffix(RAW).unwrap_or(name);
        let help = format!(
            "without `{RAW}` it is written as its mask shows it, as in {}",
            quote(&format!("{{{plain}}}"))
        );
        self.report.note(code::RAW_VALUE, span, message, help);
    }

    fn unknown_name(&mut self, name: &str, span: Span) {
        let plain = name.strip_suffix(RAW).unwrap_or(name);
        let known = NAMES.iter().map(|(name, _)| *name).chain(self.slot_names.iter().copied());
        let nearest = self.report.nearest(plain, known);
        let mut names: Vec<String> = NAMES.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(self.slot_names.iter().take(LISTED_MAX).map(|name| quote(name)));
        let more = if self.slot_names.len() > LISTED_MAX { " …" } else { "" };
        let listed = format!("the names are {}{more}", names.join(", "));
        let help = match nearest {
            _ if plain != name && NAMES.iter().any(|(known, _)| *known == plain) => {
                "only an entry, a `collect` by its `as`, can be had in clear".to_owned()
            }
            Some(nearest) => format!("the nearest is {}; {listed}", quote(nearest)),
            None => listed,
        };
        self.report.error(code::UNKNOWN_NAME, span, format!("no value is named {}", quote(name)), help);
    }

    /// Reads `set`: variables and the templates of their values.
    pub(super) fn assignments(&mut self, member: &'v Member<'v>) -> Option<Box<[Assignment]>> {
        let mut assignments = Vec::new();
        for variable in self.object(&member.value, &member.name)? {
            let name = &variable.name;
            if name.is_empty() {
                let span = variable.name_span.clone();
                self.report.error(
                    code::WRONG_VALUE,
                    span,
                    "a variable without a name",
                    "each variable has a name",
                );
            }
            let Some(text) = self.string(&variable.value, name) else { continue };
            if let Some(value) = self.template(&variable.value, text) {
                assignments.push(Assignment { name: Arc::from(&**name), value });
            }
        }
        Some(assignments.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_templates_apart() {
        use Part::{Name, Text};
        for (text, expected) in [
            ("", Ok(vec![])),
            ("plain é", Ok(vec![Text("plain é")])),
            ("{digits}", Ok(vec![Name("digits", 1..7)])),
            ("a{b}c", Ok(vec![Text("a"), Name("b", 2..3), Text("c")])),
            ("{{x}}", Ok(vec![Text("{"), Text("x"), Text("}")])),
            ("{{{a}}}", Ok(vec![Text("{"), Name("a", 3..4), Text("}")])),
            ("{}", Ok(vec![Name("", 1..1)])),
            ("{", Err(0)),
            ("a}", Err(1)),
            ("{a", Err(0)),
            ("{a{b}", Err(0)),
            ("}a}", Err(0)),
            ("{a}}", Err(3)),
        ] {
            assert_eq!(expected, split(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_names_a_brace(text in "[{}a!é]{0,12}") {
            if let Err(at) = split(&text) {
                prop_assert!(text[at..].starts_with(['{', '}']), "no brace at {at}");
            }
        }
    }
}
