//! `collect`: the set of entries that digits, lengths and pattern make together.

use super::diagnostic::{code, quote};
use super::fields::{Cx, Fields, Shape};
use super::satisfy;
use super::syntax::{Kind, Member, Value};
use super::{pattern, template};
use crate::engine::{Digits, Entry, KeySet, Pattern, SlotId, Target};

const COLLECT: Shape = Shape {
    what: "`collect`",
    keys: &["min", "max", "digits", "pattern", "check", "range", "cancelKey", "as"],
    any_case: &[],
};

/// The most decimal digits of a number in `range`: as many as an entry can have.
const RANGE_DIGITS_MAX: usize = Digits::MAX;

/// Returns the name under which a node's entry is found: `collect.as`, else the node's.
pub(super) fn slot_name<'v>(node: &'v Member<'v>) -> Option<&'v str> {
    let Kind::Object(members) = &node.value.kind else { return None };
    let collect = members.iter().find(|member| member.name == "collect")?;
    let named = match &collect.value.kind {
        Kind::Object(members) => members.iter().find(|member| member.name == "as"),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Array(_) => None,
    };
    match named.map(|named| &named.value.kind) {
        Some(Kind::String(name)) => Some(name),
        Some(Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_)) | None => {
            Some(&node.name)
        }
    }
}

/// Reads the `collect` of the node `node`, whose good entries go to `target`.
///
/// `None` where something in it is wrong, which has been reported.
pub(super) fn read<'v>(
    cx: &mut Cx<'v>,
    node: &str,
    member: &'v Member<'v>,
    slot: SlotId,
    target: Option<Target>,
) -> Option<Entry> {
    let fields = Fields::open(cx, &member.value, &member.name, &COLLECT)?;
    check_name(cx, &fields);
    let longest = Digits::MAX as u64;
    let length = |cx: &mut Cx<'v>, key, least, default| match fields.get(key) {
        Some(member) => cx.whole(member, least..=longest).and_then(|length| usize::try_from(length).ok()),
        None => Some(default),
    };
    let (min, max) = (length(cx, "min", 0, 1), length(cx, "max", 1, Digits::MAX));
    let digits = match fields.get("digits") {
        Some(member) => digits(cx, member),
        None => Some(KeySet::DECIMAL),
    };
    let patterns = match fields.get("pattern") {
        Some(member) => patterns(cx, member).map(Some),
        None => Some(None),
    };
    let luhn = fields.get("check").map_or(Some(false), |member| luhn(cx, member));
    let range = fields.get("range").map_or(Some(None), |member| range(cx, member).map(Some));
    let cancel_key = fields.get("cancelKey").map_or(Some(None), |member| cx.optional_key(member));

    let (min, max, digits, patterns) = (min?, max?, digits?, patterns?);
    if min > max {
        let place = fields.get("min").or(fields.get("max")).unwrap_or(member);
        let message = format!("`min` is {min} and `max` is {max}");
        cx.report.error(code::MIN_OVER_MAX, place.value.span.clone(), message, "`min` is at most `max`");
        return None;
    }
    let patterns = patterns.map(|patterns| within(patterns, min, max, digits));
    if digits.is_empty() || patterns.as_ref().is_some_and(|patterns| patterns.is_empty()) {
        let message = format!("{} has no entry", quote(node));
        let help =
            format!("an entry has {min} to {max} of the keys {digits:?} and matches `pattern` besides");
        cx.report.error(code::EMPTY_COLLECT, member.name_span.clone(), message, help);
        return None;
    }
    let (luhn, range) = (luhn?, range?);
    let entry =
        Entry { min, max, digits, patterns, cancel_key: cancel_key?, luhn, range, slot, target: target? };
    if !satisfy::is_satisfiable(&entry) {
        let place = fields.get("range").or(fields.get("check")).unwrap_or(member);
        let what = match (luhn, entry.range) {
            (true, None) => "its last digit as check digit (`luhn`)".to_owned(),
            (false, Some((least, greatest))) => format!("a number from {least} to {greatest}"),
            (_, range) => {
                let (least, greatest) = range.unwrap_or((0, u128::MAX));
                format!("a number from {least} to {greatest} with its last digit as check digit (`luhn`)")
            }
        };
        let message = format!("{}: no entry of {min} to {max} digits is {what}", quote(node));
        let help = "every entry here fails, so callers leave only by `noMatch`, `noInput` or `cancelKey`";
        cx.report.warning(code::NEVER_SATISFIED, place.value.span.clone(), message, help);
    }
    Some(entry)
}

/// Reports an `as` that templates could never reach.
fn check_name<'v>(cx: &mut Cx<'v>, fields: &Fields<'v>) {
    let Some(member) = fields.get("as") else { return };
    let Some(name) = cx.filled(member) else { return };
    if template::NAMES.iter().any(|(known, _)| *known == name) {
        let message = format!("`as` is {}", quote(name));
        let help = format!("{{{name}}} has a meaning of its own in templates, so an entry has another name");
        cx.report.error(code::WRONG_VALUE, member.value.span.clone(), message, help);
    } else if name.contains(['{', '}']) {
        let message = format!("`as` is {}", quote(name));
        let help = "a name in a template has no braces in it";
        cx.report.error(code::WRONG_VALUE, member.value.span.clone(), message, help);
    }
}

fn digits<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<KeySet> {
    let text = cx.string(&member.value, &member.name)?;
    pattern::parse_keys(text).map_err(|error| cx.bad_pattern(&member.value, error)).ok()
}

/// Reads `pattern`: a key string or a list of them.
fn patterns<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<Vec<Pattern>> {
    let values: &'v [Value<'v>] = match &member.value.kind {
        Kind::Array(values) => values,
        Kind::String(_) => std::slice::from_ref(&member.value),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Object(_) => {
            cx.wrong_type(&member.value, &member.name, "a key string or a list of them");
            return None;
        }
    };
    // All are read, so that all that is wrong is reported.
    let mut patterns = Vec::with_capacity(values.len());
    for value in values {
        let text = cx.string(value, &member.name);
        patterns.push(text.and_then(|text| cx.pattern(value, text)));
    }
    patterns.into_iter().collect()
}

/// Returns what of the patterns is left within lengths and digits.
fn within(patterns: Vec<Pattern>, min: usize, max: usize, digits: KeySet) -> Box<[Pattern]> {
    patterns
        .into_iter()
        .filter(|pattern| (min..=max).contains(&pattern.0.len()))
        .map(|pattern| Pattern(pattern.0.iter().map(|keys| keys.intersection(digits)).collect()))
        .filter(|pattern| !pattern.0.iter().any(|keys| keys.is_empty()))
        .collect()
}

fn luhn<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<bool> {
    let text = cx.string(&member.value, &member.name)?;
    if text == "luhn" {
        return Some(true);
    }
    let message = format!("`check` is {}", quote(text));
    cx.report.error(
        code::WRONG_VALUE,
        member.value.span.clone(),
        message,
        "the one check there is is \"luhn\"",
    );
    None
}

/// Reads `range`: two whole numbers, the greater ones as strings of digits.
fn range<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<(u128, u128)> {
    let values = cx.list(&member.value, &member.name)?;
    let [least, greatest] = values else {
        let message = format!("`range` has {} numbers", values.len());
        let help = "it is the least and the greatest number, as in [1, 31]";
        let span = member.value.span.start..member.value.span.start + 1;
        cx.report.error(code::WRONG_VALUE, span, message, help);
        return None;
    };
    let (least, greatest) = (bound(cx, least), bound(cx, greatest));
    Some((least?, greatest?))
}

fn bound(cx: &mut Cx<'_>, value: &Value<'_>) -> Option<u128> {
    let digits: &str = match &value.kind {
        Kind::Number(digits) => digits,
        Kind::String(digits) => digits,
        Kind::Null | Kind::Bool(_) | Kind::Array(_) | Kind::Object(_) => {
            cx.wrong_type(value, "range", "two whole numbers, as in [1, 31]");
            return None;
        }
    };
    let is_number = digits.len() <= RANGE_DIGITS_MAX && digits.bytes().all(|digit| digit.is_ascii_digit());
    match digits.parse() {
        Ok(number) if is_number => Some(number),
        _ => {
            let message = format!("`range` has {}", quote(digits));
            let help = format!("its numbers are whole, with at most {RANGE_DIGITS_MAX} digits");
            cx.report.error(code::WRONG_VALUE, value.span.clone(), message, help);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Content, Key};
    use crate::tree::tests::{found, loaded, tree};

    fn node(collect: &str) -> String {
        tree(&format!("{{\"a\": {{\"collect\": {collect}, \"outcome\": \"x\"}}}}"), "")
    }

    #[test]
    fn reads_what_an_entry_is() {
        let ivr = loaded(&node("{}"));
        let Content::Entry(entry) = &ivr.nodes[0].content else { panic!() };
        assert_eq!((1, 32, KeySet::DECIMAL), (entry.min, entry.max, entry.digits));
        assert_eq!(
            (None, None, false, None),
            (entry.patterns.as_ref(), entry.cancel_key, entry.luhn, entry.range)
        );
        assert_eq!((&["a".into()][..], SlotId(0)), (&ivr.slots[..], entry.slot));

        let ivr = loaded(&node(
            r#"{"$": 1, "as": "card", "min": 0, "max": 4, "digits": "0123*", "pattern": ["12X", "45", "11111", "*"],
                "check": "luhn", "range": [1, "12345678901234567890123456789012"], "cancelKey": "*"}"#,
        ));
        let Content::Entry(entry) = &ivr.nodes[0].content else { panic!() };
        let patterns: Vec<_> =
            entry.patterns.iter().flatten().map(|pattern| format!("{:?}", pattern.0)).collect();
        assert_eq!(patterns, ["[[1], [2], [0123]]", "[[*]]"]);
        assert_eq!(Some((1, 12_345_678_901_234_567_890_123_456_789_012)), entry.range);
        assert_eq!((0, 4, true, Key::parse('*')), (entry.min, entry.max, entry.luhn, entry.cancel_key));
        assert_eq!([Box::from("card")], *ivr.slots);
    }

    #[test]
    fn shares_a_name_between_entries_and_knows_it_everywhere() {
        let nodes = r#"{"a": {"collect": {"as": "n"}, "nextNode": "b"},
            "b": {"collect": {"as": "n"}, "nextNode": "c"},
            "c": {"outcome": "x", "set": {"v": "{n} {n!raw} {d}"}}, "d": {"collect": {}, "nextNode": "c"}}"#;
        assert_eq!([Box::from("n"), Box::from("d")], *loaded(&tree(nodes, "")).slots);
    }

    #[test]
    fn says_what_is_wrong_with_an_entry() {
        for (collect, expected) in [
            ("[]", vec![(code::WRONG_TYPE, "[")]),
            (r#"{"max": 33}"#, vec![(code::WRONG_VALUE, "33")]),
            (r#"{"max": 0}"#, vec![(code::WRONG_VALUE, "0")]),
            (r#"{"min": 3, "max": 2}"#, vec![(code::MIN_OVER_MAX, "3")]),
            (r#"{"digits": ""}"#, vec![(code::EMPTY_COLLECT, "collect")]),
            (r#"{"digits": "12x"}"#, vec![(code::BAD_PATTERN, "x")]),
            (r#"{"pattern": []}"#, vec![(code::EMPTY_COLLECT, "collect")]),
            (r#"{"pattern": "Z", "digits": "0"}"#, vec![(code::EMPTY_COLLECT, "collect")]),
            (r#"{"pattern": "12", "min": 3}"#, vec![(code::EMPTY_COLLECT, "collect")]),
            (r#"{"pattern": ["1?", 2]}"#, vec![(code::BAD_PATTERN, "?"), (code::WRONG_TYPE, "2")]),
            (r#"{"pattern": "111111111111111111111111111111111"}"#, vec![(code::BAD_PATTERN, "1")]),
            (r#"{"check": "mod10"}"#, vec![(code::WRONG_VALUE, "mod10")]),
            (r#"{"range": [1]}"#, vec![(code::WRONG_VALUE, "[")]),
            (r#"{"range": 1}"#, vec![(code::WRONG_TYPE, "1")]),
            (r#"{"range": [-1, "x"]}"#, vec![(code::WRONG_VALUE, "-1"), (code::WRONG_VALUE, "x")]),
            (r#"{"range": ["", "+1"]}"#, vec![(code::WRONG_VALUE, ""), (code::WRONG_VALUE, "+1")]),
            (r#"{"range": [5, 4]}"#, vec![(code::NEVER_SATISFIED, "[5, 4]")]),
            (r#"{"check": "luhn", "digits": "5", "max": 1}"#, vec![(code::NEVER_SATISFIED, "luhn")]),
            (r#"{"cancelKey": "12"}"#, vec![(code::WRONG_VALUE, "12")]),
            (r#"{"as": "digits"}"#, vec![(code::WRONG_VALUE, "digits")]),
            (r#"{"as": "a{b"}"#, vec![(code::WRONG_VALUE, "a{b")]),
            (r#"{"as": ""}"#, vec![(code::WRONG_VALUE, "")]),
            (r#"{"as": 1, "maximum": 3}"#, vec![(code::WRONG_TYPE, "1"), (code::UNKNOWN_KEY, "maximum")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(code, text)| (code, text.to_owned())).collect();
            assert_eq!(expected, found(&node(collect)), "{collect}");
        }
    }
}
