//! Strict JSON (RFC 8259) with the place of every value.
//!
//! The parser tolerates a little more than RFC 8259: other white space between tokens, control
//! characters in strings, numbers of any size. What it let through is checked afterwards, token by
//! token. A byte order mark at the very start is ignored, as RFC 8259 section 8.1 allows; places stay
//! those in the whole text.

use std::borrow::Cow;
use std::collections::HashSet;

use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ast};

use super::diagnostic::{Finding, Report, Span, code};
use super::strict::{self, not_json, shifted};

/// The most bytes of a tree's file.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Value<'a> {
    pub(super) span: Span,
    pub(super) kind: Kind<'a>,
}

/// What a value is. Numbers stay text: who wants one says which numbers it takes.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<Member<'a>>),
}

/// A key of an object and its value.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) name_span: Span,
    pub(super) value: Value<'a>,
}

impl Member<'_> {
    /// Returns whether the key is a comment, and its value of no concern.
    pub(super) fn is_comment(&self) -> bool {
        self.name.starts_with('$')
    }
}

impl Value<'_> {
    /// Returns what people call a value of this kind.
    pub(super) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }
}

/// Reads `text` as one JSON value, without the repeated keys, which are reported.
///
/// # Errors
///
/// The first place where `text` is not JSON. It is the only finding then: what follows can't be
/// told.
pub(super) fn parse<'a>(text: &'a str, report: &mut Report) -> Result<Value<'a>, Finding> {
    if text.len() > FILE_BYTES_MAX {
        return Err(too_large());
    }
    let base = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let json = &text[base..];
    let collect = CollectOptions { comments: CommentCollectionStrategy::Off, tokens: true };
    let parsed = jsonc_parser::parse_to_ast(json, &collect, &strict::OPTIONS)
        .map_err(|error| strict::refusal(json, &error, base))?;
    strict::check_tokens(json, parsed.tokens.as_deref().unwrap_or_default())
        .map_err(|(range, message)| not_json(shifted(range, base), message, strict::HELP))?;
    let Some(value) = parsed.value else {
        return Err(not_json(
            base..base,
            "the file is empty",
            "a tree is an object with `rootNode` and `nodes`",
        ));
    };
    Ok(Converter { base, report }.value(value, true))
}

/// Returns the finding for a file over [`FILE_BYTES_MAX`].
pub(super) fn too_large() -> Finding {
    Finding::error(
        code::TOO_LARGE,
        0..0,
        "the file is over 1 MiB",
        format!("a tree has at most {FILE_BYTES_MAX} bytes"),
    )
}

/// Returns the finding for a file that is not UTF-8, `valid` bytes after its start.
pub(super) fn not_utf8(valid: usize, byte: u8) -> Finding {
    let span = valid..valid + char::REPLACEMENT_CHARACTER.len_utf8();
    not_json(span, format!("byte 0x{byte:02x} is not UTF-8"), "JSON is written in UTF-8")
}

/// Returns where the byte `offset` of a decoded string stands in the text it was written as.
///
/// `raw` is the string with its quotes, valid JSON; escapes make it longer than what it means.
pub(super) fn raw_offset(raw: &str, offset: usize) -> usize {
    let mut decoded = 0;
    let mut at = 1;
    let body = raw.as_bytes();
    while decoded < offset && at + 1 < raw.len() {
        let (written, meant) = match (body[at], body.get(at + 1)) {
            (b'\\', Some(b'u')) => escaped_lengths(raw.get(at + 2..at + 6)),
            (b'\\', _) => (2, 1),
            _ => raw[at..].chars().next().map_or((1, 1), |c| (c.len_utf8(), c.len_utf8())),
        };
        at += written;
        decoded += meant;
    }
    at.min(raw.len())
}

/// Returns how long `\uXXXX` is (with its low surrogate), and the UTF-8 of what it means.
fn escaped_lengths(hex: Option<&str>) -> (usize, usize) {
    match hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()) {
        Some(0xd800..=0xdbff) => (12, 4),
        Some(unit) => (6, char::from_u32(unit).map_or(1, char::len_utf8)),
        None => (6, 1),
    }
}

/// Turns the parser's values into ours. The parser's limit of 512 levels bounds its recursion.
struct Converter<'r> {
    base: usize,
    report: &'r mut Report,
}

impl Converter<'_> {
    fn value<'a>(&mut self, value: ast::Value<'a>, strict: bool) -> Value<'a> {
        let span = shifted(value.range(), self.base);
        let kind = match value {
            ast::Value::NullKeyword(_) => Kind::Null,
            ast::Value::BooleanLit(literal) => Kind::Bool(literal.value),
            ast::Value::NumberLit(literal) => Kind::Number(literal.value),
            ast::Value::StringLit(literal) => Kind::String(literal.value),
            ast::Value::Array(array) => {
                Kind::Array(array.elements.into_iter().map(|element| self.value(element, strict)).collect())
            }
            ast::Value::Object(object) => Kind::Object(self.members(object, strict)),
        };
        Value { span, kind }
    }

    /// Returns an object's members, of those with one name the first. In comments (not `strict`)
    /// names may repeat.
    fn members<'a>(&mut self, object: ast::Object<'a>, strict: bool) -> Vec<Member<'a>> {
        let mut seen = HashSet::new();
        let mut members = Vec::with_capacity(object.properties.len());
        for property in object.properties {
            let (name, range) = match property.name {
                ast::ObjectPropName::String(literal) => (literal.value, literal.range),
                ast::ObjectPropName::Word(word) => (Cow::Borrowed(word.value), word.range),
            };
            let name_span = shifted(range, self.base);
            if strict && !seen.insert(name.clone()) {
                self.report.duplicate(&name, name_span);
                continue;
            }
            let strict = strict && !name.starts_with('$');
            let value = self.value(property.value, strict);
            members.push(Member { name, name_span, value });
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<(String, Span)> {
        parse(text, &mut Report::default()).err().map(|finding| (finding.message, finding.span))
    }

    #[test]
    fn reads_json_with_the_place_of_each_value() {
        let text = "\u{feff} {\"a\\u00e9\" : [1, -2.5e3, true, null, \"\\ud83d\\ude00\\/\"]}\r\n";
        let value = parse(text, &mut Report::default()).unwrap();
        let Kind::Object(members) = &value.kind else { panic!("{value:?}") };
        assert_eq!(("aé", "\"a\\u00e9\""), (&*members[0].name, &text[members[0].name_span.clone()]));
        let Kind::Array(values) = &members[0].value.kind else { panic!("{value:?}") };
        let texts: Vec<&str> = values.iter().map(|value| &text[value.span.clone()]).collect();
        assert_eq!(texts, ["1", "-2.5e3", "true", "null", "\"\\ud83d\\ude00\\/\""]);
        assert!(matches!(&values[4].kind, Kind::String(text) if text == "😀/"));
    }

    #[test]
    fn refuses_what_rfc_8259_refuses() {
        for (text, message, span) in [
            ("", "the file is empty", 0..0),
            ("\u{feff}", "the file is empty", 3..3),
            ("{} x", "there is text after the tree's end", 3..4),
            ("{}{}", "there is text after the tree's end", 2..3),
            ("[1,]", "a comma before the closing bracket", 2..3),
            ("[1 [2]]", "a comma is missing before this", 3..4),
            ("{\"a\": 1 \"b\": 2}", "a comma is missing before this", 8..9),
            ("[01]", "a number that begins with 0", 1..2),
            ("00", "a number that begins with 0", 0..2),
            ("[1.]", "not a number as JSON writes them", 1..3),
            ("[.5]", "not a number as JSON writes them", 1..2),
            ("[-]", "not a number as JSON writes them", 2..3),
            ("[+1]", "not a number as JSON writes them", 1..2),
            ("[0x1]", "not a number as JSON writes them", 1..2),
            ("[1e999]", "a number too big for any reader", 1..6),
            ("[\"\\x41\"]", "no such escape", 2..4),
            ("[\"\\ud800\"]", "this escape is no character", 2..9),
            ("[\"a\nb\"]", "U+000A inside a string: JSON writes it \\u000a", 3..4),
            ("{\"a\tb\": 1}", "U+0009 inside a string: JSON writes it \\u0009", 3..4),
            ("[1,\u{b}2]", "U+000B is no white space in JSON", 3..4),
            ("[1\u{a0}]", "U+00A0 is no white space in JSON", 2..4),
            ("[1] \u{feff}", "`\\u{feff}` has no place here", 4..7),
            ("// x\n1", "a comment", 0..4),
            ("['a']", "a key or string without double quotes", 1..2),
            ("{a: 1}", "a key or string without double quotes", 1..2),
            ("{\"a\" 1}", "a `:` is missing after the key", 5..6),
            ("{\"a\":", "a value is missing after the `:`", 5..5),
            ("[tru]", "`tru` has no place here", 1..4),
            ("[NaN]", "`NaN` has no place here", 1..4),
            ("[\"a", "this string is never closed", 1..2),
            ("{\"a\": [1", "this `[` is never closed", 6..7),
            ("{\n\"a\": 1", "this `{` is never closed", 0..1),
            ("]", "`]` has no place here", 0..1),
        ] {
            assert_eq!(Some((message.to_owned(), span)), refused(text), "{text:?}");
        }
    }

    #[test]
    fn refuses_deep_nesting_without_overflowing() {
        for text in
            ["[".repeat(100_000), "{\"a\":".repeat(100_000), "[".repeat(100_000) + &"]".repeat(100_000)]
        {
            assert_eq!(Some("nested too deeply".to_owned()), refused(&text).map(|(message, _)| message));
        }
    }

    #[test]
    fn keeps_the_first_of_keys_that_repeat_and_lets_comments_repeat_theirs() {
        let mut report = Report::default();
        let text = r#"{"a": 1, "b": {"c": 1, "\u0063": 2}, "a": 3, "$x": {"d": 1, "d": 2}}"#;
        let value = parse(text, &mut report).unwrap();
        let Kind::Object(members) = &value.kind else { panic!("{value:?}") };
        assert_eq!(3, members.len());
        let (findings, _) = report.into_findings();
        let found: Vec<_> = findings.into_iter().map(|finding| (finding.code, &text[finding.span])).collect();
        assert_eq!(found, [(code::DUPLICATE_KEY, "\"\\u0063\""), (code::DUPLICATE_KEY, "\"a\"")]);
    }

    #[test]
    fn finds_places_in_strings_with_escapes() {
        let raw = r#""a\n\u00e9é\ud83d\ude00x""#;
        for (offset, expected) in [(0, 1), (1, 2), (2, 4), (4, 10), (6, 12), (10, 24), (11, 25), (99, 25)] {
            assert_eq!(expected, raw_offset(raw, offset), "{offset}");
        }
    }
}
