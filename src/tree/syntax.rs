//! Strict JSON (RFC 8259) with the place of every value.
//!
//! The parser tolerates a little more than RFC 8259: other white space between tokens, control
//! characters in strings, numbers of any size. What it let through is checked afterwards, token by
//! token. A byte order mark at the very start is ignored, as RFC 8259 section 8.1 allows; places stay
//! those in the whole text.

use std::borrow::Cow;
use std::collections::HashSet;

use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::tokens::{Token, TokenAndRange};
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, ParseStringErrorKind, ast};

use super::diagnostic::{Finding, Report, Span, code, quote};

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
    let parsed =
        jsonc_parser::parse_to_ast(json, &collect, &STRICT).map_err(|error| refusal(json, &error, base))?;
    check_tokens(json, parsed.tokens.as_deref().unwrap_or_default())
        .map_err(|(range, message)| not_json(shifted(range, base), message, STRICT_HELP))?;
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

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

const STRICT_HELP: &str = "the file is read as strict JSON (RFC 8259)";

fn not_json(span: Span, message: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding::error(code::NOT_JSON, span, message, help)
}

fn shifted(range: Range, base: usize) -> Span {
    range.start + base..range.end + base
}

/// Returns what the parser's error means to someone who writes a tree.
fn refusal(json: &str, error: &ParseError, base: usize) -> Finding {
    let Range { mut start, mut end } = error.range();
    let here = json.get(start..).and_then(|rest| rest.chars().next());
    let first = |start: usize| start + here.map_or(0, char::len_utf8);
    let (message, help): (String, &str) = match error.kind() {
        ParseErrorKind::CommentsNotAllowed => {
            ("a comment".into(), "JSON has none: keys that begin with `$` are comments here")
        }
        ParseErrorKind::TrailingCommasNotAllowed => (
            "a comma before the closing bracket".into(),
            "the last of a list or object has no comma after it",
        ),
        ParseErrorKind::ExpectedComma | ParseErrorKind::MultipleRootJsonValues
            if follows_zero(json, start) =>
        {
            start = json[..start].rfind('0').unwrap_or(start);
            ("a number that begins with 0".into(), "a number is written without leading zeros")
        }
        ParseErrorKind::ExpectedComma => {
            // The parser points at nothing, after the value: point at what comes instead.
            start = json.len() - json[start..].trim_start().len();
            end = start + json[start..].chars().next().map_or(0, char::len_utf8);
            ("a comma is missing before this".into(), "values and keys are separated by commas")
        }
        ParseErrorKind::MultipleRootJsonValues => {
            ("there is text after the tree's end".into(), "a file holds one object and nothing else")
        }
        ParseErrorKind::UnterminatedObject => {
            end = first(start);
            ("this `{` is never closed".into(), "each `{` has its `}`")
        }
        ParseErrorKind::UnterminatedArray => {
            end = first(start);
            ("this `[` is never closed".into(), "each `[` has its `]`")
        }
        ParseErrorKind::NestingDepthExceeded => {
            end = first(start);
            ("nested too deeply".into(), "no part of a tree is more than a few levels deep")
        }
        ParseErrorKind::String(ParseStringErrorKind::UnterminatedStringLiteral) => {
            end = first(start);
            ("this string is never closed".into(), "each string ends with `\"`")
        }
        ParseErrorKind::String(
            ParseStringErrorKind::InvalidUnicodeEscapeSequence(_)
            | ParseStringErrorKind::ExpectedFourHexDigits
            | ParseStringErrorKind::ExpectedTwoHexDigits,
        ) => (
            "this escape is no character".into(),
            "`\\u` takes four hex digits; beyond U+FFFF it takes a high and a low surrogate",
        ),
        ParseErrorKind::String(_) => {
            ("no such escape".into(), "the escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX")
        }
        ParseErrorKind::ExpectedColonAfterObjectKey => ("a `:` is missing after the key".into(), STRICT_HELP),
        ParseErrorKind::ExpectedObjectValue => ("a value is missing after the `:`".into(), STRICT_HELP),
        ParseErrorKind::ExpectedStringObjectProperty | ParseErrorKind::SingleQuotedStringsNotAllowed => {
            ("a key or string without double quotes".into(), "keys and strings stand in double quotes")
        }
        ParseErrorKind::BareDecimalPointNumbersNotAllowed
        | ParseErrorKind::ExpectedDigit
        | ParseErrorKind::ExpectedDigitFollowingNegativeSign
        | ParseErrorKind::ExpectedPlusMinusOrDigitInNumberLiteral
        | ParseErrorKind::HexadecimalNumbersNotAllowed
        | ParseErrorKind::NonFiniteNumbersNotAllowed
        | ParseErrorKind::UnaryPlusNumbersNotAllowed => {
            ("not a number as JSON writes them".into(), "a number is written in decimal, as in 3000")
        }
        ParseErrorKind::UnexpectedCloseBrace
        | ParseErrorKind::UnexpectedCloseBracket
        | ParseErrorKind::UnexpectedColon
        | ParseErrorKind::UnexpectedComma
        | ParseErrorKind::UnexpectedToken
        | ParseErrorKind::UnexpectedTokenInObject
        | ParseErrorKind::UnexpectedWord
        | ParseErrorKind::UnterminatedCommentBlock => {
            let found = json.get(start..end).filter(|found| !found.is_empty());
            (format!("{} has no place here", found.map_or("the end".into(), quote)), STRICT_HELP)
        }
    };
    not_json(shifted(Range { start, end: end.max(start) }, base), message, help)
}

/// Returns whether a digit stands at `start`, right after a number that is just `0`.
fn follows_zero(json: &str, start: usize) -> bool {
    json[..start].ends_with('0') && json[start..].starts_with(|c: char| c.is_ascii_digit())
}

/// Finds what the parser tolerates and RFC 8259 doesn't.
fn check_tokens(json: &str, tokens: &[TokenAndRange<'_>]) -> Result<(), (Range, String)> {
    let mut last_end = 0;
    for token in tokens {
        let range = token.range();
        check_space(json, last_end, range.start)?;
        last_end = range.end;
        match &token.token {
            Token::String(_) => {
                let raw = &json[range.start..range.end];
                if let Some(at) = raw.bytes().position(|byte| byte < 0x20) {
                    let at = range.start + at;
                    let byte = json.as_bytes()[at];
                    let message = format!("U+{byte:04X} inside a string: JSON writes it \\u{byte:04x}");
                    return Err((Range::new(at, at + 1), message));
                }
            }
            Token::Number(number) if !number.parse::<f64>().is_ok_and(f64::is_finite) => {
                return Err((range, "a number too big for any reader".into()));
            }
            Token::Number(_)
            | Token::OpenBrace
            | Token::CloseBrace
            | Token::OpenBracket
            | Token::CloseBracket
            | Token::Comma
            | Token::Colon
            | Token::Word(_)
            | Token::Boolean(_)
            | Token::Null
            | Token::CommentLine(_)
            | Token::CommentBlock(_) => (),
        }
    }
    check_space(json, last_end, json.len())
}

fn check_space(json: &str, start: usize, end: usize) -> Result<(), (Range, String)> {
    match json[start..end].char_indices().find(|(_, c)| !matches!(c, ' ' | '\t' | '\r' | '\n')) {
        Some((at, space)) => {
            let range = Range::new(start + at, start + at + space.len_utf8());
            Err((range, format!("U+{:04X} is no white space in JSON", u32::from(space))))
        }
        None => Ok(()),
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
