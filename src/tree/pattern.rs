//! Key strings: what may be entered, as `choices` and `collect.pattern` write it.
//!
//! `0-9 * # A-D` stand for themselves, `X` for 0-9, `Z` for 1-9, `N` for 2-9, and `[135-8]` for one
//! of the keys in it (IVR.md section 2).

use super::diagnostic::{Span, quote};
use super::fields::Cx;
use super::syntax::Value;
use crate::engine::{Digits, Key, KeySet, Pattern};

/// Why a text is no key string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    /// Where, in bytes of the text.
    pub(super) span: Span,
    pub(super) message: String,
    /// What would be right, as a statement.
    pub(super) help: String,
}

impl PatternError {
    fn new(span: Span, message: impl Into<String>) -> PatternError {
        let help =
            "0-9 * # A-D stand for themselves, X for 0-9, Z for 1-9, N for 2-9, [135-8] for one of those";
        PatternError { span, message: message.into(), help: help.into() }
    }
}

/// Reads a key string of 1 to [`Digits::MAX`] places.
///
/// # Errors
///
/// The first character that is no symbol, a set that is empty, open or backwards, no place at all,
/// or too many.
pub(super) fn parse(text: &str) -> Result<Pattern, PatternError> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(symbol) = text[at..].chars().next() {
        let (keys, length) = match symbol {
            'X' => (KeySet::DECIMAL, 1),
            'Z' => (decimals_from(1), 1),
            'N' => (decimals_from(2), 1),
            '[' => {
                let Some(length) = text[at..].find(']') else {
                    return Err(PatternError::new(at..at + 1, "this `[` is never closed"));
                };
                (parse_set(text, at + 1..at + length)?, length + 1)
            }
            _ => (KeySet::EMPTY.with(parse_key(symbol, at)?), 1),
        };
        if places.len() == Digits::MAX {
            let mut error = PatternError::new(at..text.len(), "a key string that is too long");
            error.help = format!("it has at most {} places", Digits::MAX);
            return Err(error);
        }
        places.push(keys);
        at += length;
    }
    if places.is_empty() {
        return Err(PatternError::new(0..0, "an empty key string"));
    }
    Ok(Pattern(places.into()))
}

/// Reads what stands between `[` and `]`.
fn parse_set(text: &str, body: Span) -> Result<KeySet, PatternError> {
    let mut keys = KeySet::EMPTY;
    let mut symbols =
        text[body.clone()].char_indices().map(|(at, symbol)| (at + body.start, symbol)).peekable();
    while let Some((at, symbol)) = symbols.next() {
        let first = parse_key(symbol, at)?;
        if symbols.next_if(|&(_, symbol)| symbol == '-').is_none() {
            keys = keys.with(first);
            continue;
        }
        let Some((last_at, symbol)) = symbols.next() else {
            return Err(PatternError::new(at..body.end, "a range without an end"));
        };
        let last = parse_key(symbol, last_at)?;
        // Event numbers run 0-9 * # A-D: a range is one of digits or one of letters.
        let alike = [first, last].iter().all(|key| key.event() < 10)
            || [first, last].iter().all(|key| key.event() > 11);
        if !alike || first > last {
            return Err(PatternError::new(at..last_at + 1, "a range that doesn't run upwards in 0-9 or A-D"));
        }
        keys = Key::ALL.into_iter().filter(|key| (first..=last).contains(key)).fold(keys, KeySet::with);
    }
    if keys.is_empty() {
        return Err(PatternError::new(body.start - 1..body.end + 1, "a set without a key"));
    }
    Ok(keys)
}

fn parse_key(symbol: char, at: usize) -> Result<Key, PatternError> {
    Key::parse(symbol).ok_or_else(|| {
        let message = format!("{} is no key", quote(symbol.encode_utf8(&mut [0; 4])));
        PatternError::new(at..at + symbol.len_utf8(), message)
    })
}

/// Reads a text in which each character is one key: `collect.digits`.
pub(super) fn parse_keys(text: &str) -> Result<KeySet, PatternError> {
    text.char_indices()
        .try_fold(KeySet::EMPTY, |keys, (at, symbol)| Ok(keys.with(parse_key(symbol, at)?)))
        .map_err(|error| PatternError { help: "each character of it is one of 0-9 * # A-D".into(), ..error })
}

fn decimals_from(least: u8) -> KeySet {
    KeySet::DECIMAL.iter().filter(|key| key.event() >= least).collect()
}

/// Returns every key that a pattern can hold.
pub(super) fn keys_of(pattern: &Pattern) -> KeySet {
    pattern.0.iter().flat_map(|keys| keys.iter()).collect()
}

impl<'v> Cx<'v> {
    /// Reads the key string that `value` writes as `text`, and reports what is wrong with it.
    pub(super) fn pattern(&mut self, value: &Value<'v>, text: &str) -> Option<Pattern> {
        parse(text).map_err(|error| self.bad_pattern(value, error)).ok()
    }

    /// Reports what is wrong with a key string.
    pub(super) fn bad_pattern(&mut self, value: &Value<'v>, error: PatternError) {
        let span = self.inside(value, error.span);
        self.report.error(super::diagnostic::code::BAD_PATTERN, span, error.message, error.help);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_symbol() {
        for (text, expected) in [
            ("1", "[[1]]"),
            ("*#", "[[*], [#]]"),
            ("4XZN", "[[4], [0123456789], [123456789], [23456789]]"),
            ("[135-8]", "[[135678]]"),
            ("[*#]a", "[[*#], [A]]"),
            ("[A-C0]9", "[[0ABC], [9]]"),
        ] {
            assert_eq!(expected, format!("{:?}", parse(text).unwrap().0), "{text}");
        }
    }

    #[test]
    fn says_where_a_key_string_goes_wrong() {
        for (text, span, message) in [
            ("", 0..0, "an empty key string"),
            ("1Y", 1..2, "`Y` is no key"),
            ("x", 0..1, "`x` is no key"),
            ("1é", 1..3, "`é` is no key"),
            ("1[23", 1..2, "this `[` is never closed"),
            ("[]", 0..2, "a set without a key"),
            ("[X]", 1..2, "`X` is no key"),
            ("[1-]", 1..3, "a range without an end"),
            ("[5-3]", 1..4, "a range that doesn't run upwards in 0-9 or A-D"),
            ("[9-A]", 1..4, "a range that doesn't run upwards in 0-9 or A-D"),
            ("[*-#]", 1..4, "a range that doesn't run upwards in 0-9 or A-D"),
            ("1]", 1..2, "`]` is no key"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((span, message), (error.span, error.message.as_str()), "{text}");
        }
    }

    #[test]
    fn takes_as_many_places_as_an_entry_can_hold() {
        assert_eq!(Digits::MAX, parse(&"[12]".repeat(Digits::MAX)).unwrap().0.len());
        let error = parse(&"1".repeat(Digits::MAX + 1)).unwrap_err();
        assert_eq!("it has at most 32 places", error.help);
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_within_the_text(text in "[0-9XZN*#A-D\\[\\]é-]{0,12}") {
            if let Err(error) = parse(&text) {
                prop_assert!(text.get(error.span).is_some());
            }
        }
    }
}
