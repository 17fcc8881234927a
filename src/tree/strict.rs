//! RFC 8259 to the letter: what the parser may let through, what it still lets through, and what its
//! errors mean to someone who writes a tree. [`super::syntax`] tests all of it.

use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::tokens::{Token, TokenAndRange};
use jsonc_parser::{ParseOptions, ParseStringErrorKind};

use super::diagnostic::{Finding, Span, code, quote};

pub(super) const OPTIONS: ParseOptions = ParseOptions {
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

pub(super) const HELP: &str = "the file is read as strict JSON (RFC 8259)";

pub(super) fn not_json(span: Span, message: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding::error(code::NOT_JSON, span, message, help)
}

pub(super) fn shifted(range: Range, base: usize) -> Span {
    range.start + base..range.end + base
}

/// Returns what the parser's error means to someone who writes a tree.
pub(super) fn refusal(json: &str, error: &ParseError, base: usize) -> Finding {
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
        ParseErrorKind::ExpectedColonAfterObjectKey => ("a `:` is missing after the key".into(), HELP),
        ParseErrorKind::ExpectedObjectValue => ("a value is missing after the `:`".into(), HELP),
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
            (format!("{} has no place here", found.map_or("the end".into(), quote)), HELP)
        }
    };
    not_json(shifted(Range { start, end: end.max(start) }, base), message, help)
}

/// Returns whether a digit stands at `start`, right after a number that is just `0`.
fn follows_zero(json: &str, start: usize) -> bool {
    json[..start].ends_with('0') && json[start..].starts_with(|c: char| c.is_ascii_digit())
}

/// Finds what the parser tolerates and RFC 8259 doesn't.
pub(super) fn check_tokens(json: &str, tokens: &[TokenAndRange<'_>]) -> Result<(), (Range, String)> {
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
