//! Warnings about what can be told of one place: timeouts, keys, choices that wait.
//!
//! What takes the whole graph is in [`super::reach`], what takes an entry's set in
//! [`super::satisfy`].

use super::diagnostic::{Report, Span, code, quote};
use super::fields::{Cx, Fields};
use super::menu::Written;
use super::syntax::{Kind, Member, Value};
use crate::engine::Key;

/// Callers need this long to find a key, in milliseconds.
const TIMEOUT_MS_MIN: u64 = 2_000;
/// Nobody waits longer than this, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// Warns of timeouts that callers can't keep or won't wait for.
///
/// The no-input and the inter-digit timeout are told of in both directions, 0 (for ever, or already
/// an error) aside. `decideMs` may be short: a caller who has pressed all there is waits for it.
pub(super) fn timeouts<'v>(cx: &mut Cx<'v>, fields: &Fields<'v>, [first, inter, decide]: [Option<u64>; 3]) {
    for (key, ms, least) in [
        ("firstDigitMs", first, TIMEOUT_MS_MIN),
        ("interDigitMs", inter, TIMEOUT_MS_MIN),
        ("decideMs", decide, 0),
    ] {
        let (Some(ms @ 1..), Some(member)) = (ms, fields.get(key)) else { continue };
        let what = match ms {
            _ if ms < least => "under 2 s, too short for most callers",
            _ if ms > TIMEOUT_MS_MAX => "over 60 s, longer than callers wait",
            _ => continue,
        };
        let help = format!(
            "between {TIMEOUT_MS_MIN} and {TIMEOUT_MS_MAX} ms is usual; 3000 to 10000 suits most menus"
        );
        let message = format!("`{key}` is {ms} ms: {what}");
        cx.report.warning(code::ODD_TIMEOUT, member.value.span.clone(), message, help);
    }
}

/// Warns of a choice that waits because a longer one begins like it.
///
/// `timer` is `decideMs` and the end key. Where only the longer choice is the menu's own, the
/// warning stands there: `keys` would otherwise collect one from every menu.
pub(super) fn ambiguous(
    report: &mut Report,
    node: &str,
    choice: &Written<'_>,
    longer: &Written<'_>,
    is_own: bool,
    (decide_ms, end_key): (u64, Option<Key>),
) {
    let span = if is_own { choice } else { longer }.span.clone();
    let (node, short, long) = (quote(node), plain(choice.text), plain(longer.text));
    let mut message = format!("{node}: {short} waits {decide_ms} ms because of {long}");
    if let Some(key) = end_key {
        message.push_str(&format!("; {key} commits at once"));
    }
    let help = "choices that don't begin alike commit at once; `decideMs` says how long this one waits";
    report.warning(code::AMBIGUOUS_PREFIX, span, message, help);
}

/// Returns a key string, which [`super::pattern::parse`] has found to hold nothing strange.
fn plain(text: &str) -> String {
    quote(text).trim_matches('`').to_owned()
}

/// Warns once a node of the keys A-D: phones have none.
pub(super) fn letters<'v>(cx: &mut Cx<'v>, node: &Member<'v>, fields: &Fields<'v>) {
    let mut found: Vec<(char, Span)> = Vec::new();
    let mut look_at = |value: &Value<'_>| {
        if let Kind::String(text) = &value.kind {
            found.extend(letters_in(text, &value.span));
        }
    };
    let collect = fields.get("collect").map(|member| &member.value.kind);
    let list = |value: &'v Value<'v>| match &value.kind {
        Kind::Array(values) => &values[..],
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Object(_) => {
            std::slice::from_ref(value)
        }
    };
    fields.get("endKey").into_iter().for_each(|member| look_at(&member.value));
    fields.get("allowedDigits").into_iter().flat_map(|member| list(&member.value)).for_each(&mut look_at);
    if let Some(Kind::Object(members)) = collect {
        let written =
            members.iter().filter(|member| ["digits", "pattern", "cancelKey"].contains(&&*member.name));
        written.flat_map(|member| list(&member.value)).for_each(&mut look_at);
    }
    if let Some(Kind::Object(members)) = fields.get("choices").map(|member| &member.value.kind) {
        let choices = members.iter().filter(|member| !member.is_comment());
        found.extend(choices.flat_map(|member| letters_in(&member.name, &member.name_span)));
    }
    report_letters(&mut cx.report, &node.name, found);
}

/// Warns of the keys A-D in an object of choices.
pub(super) fn letters_in_keys<'v>(cx: &mut Cx<'v>, member: &Member<'v>, choices: &[Written<'v>]) {
    let found = choices.iter().flat_map(|choice| letters_in(choice.text, &choice.span)).collect();
    report_letters(&mut cx.report, &member.name, found);
}

/// Warns of a key A-D as the end key of all nodes.
pub(super) fn letters_in_defaults<'v>(cx: &mut Cx<'v>, member: &Member<'v>) {
    let Kind::Object(members) = &member.value.kind else { return };
    let end_key = members.iter().filter(|member| member.name == "endKey");
    let found = end_key.flat_map(|member| match &member.value.kind {
        Kind::String(text) => letters_in(text, &member.value.span),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_) => Vec::new(),
    });
    let found = found.collect();
    report_letters(&mut cx.report, &member.name, found);
}

fn letters_in(text: &str, span: &Span) -> Vec<(char, Span)> {
    let letters = text.chars().filter(|symbol| matches!(symbol, 'A'..='D' | 'a'..='d'));
    letters.map(|letter| (letter, span.clone())).collect()
}

fn report_letters(report: &mut Report, place: &str, mut found: Vec<(char, Span)>) {
    found.sort_by_key(|(_, span)| span.start);
    let Some((_, span)) = found.first().cloned() else { return };
    let mut letters: Vec<String> =
        found.iter().map(|(letter, _)| letter.to_ascii_uppercase().to_string()).collect();
    letters.sort_unstable();
    letters.dedup();
    let message = format!("{} takes {}", quote(place), letters.join(", "));
    let help = "phones have 0-9 * and #: the keys A-D can be pressed only by equipment and by tests";
    report.warning(code::ABCD_KEYS, span, message, help);
}

#[cfg(test)]
mod tests {
    use crate::tree::load;
    use crate::tree::tests::tree;

    /// Returns the messages for a tree with this node and more at its top level.
    fn messages(node: &str, more: &str) -> Vec<String> {
        let loaded = load(&tree(&format!("{{\"a\": {{{node}}}}}"), more));
        loaded.findings.into_iter().map(|finding| finding.message).collect()
    }

    const MENU: &str = r#""choices": {"1": {"outcome": "x"}}"#;

    #[test]
    fn tells_of_timeouts_that_are_too_short_or_too_long() {
        for (timers, expected) in [
            (
                r#""firstDigitMs": 1999"#,
                &["`firstDigitMs` is 1999 ms: under 2 s, too short for most callers"][..],
            ),
            (
                r#""interDigitMs": 60001"#,
                &["`interDigitMs` is 60001 ms: over 60 s, longer than callers wait"],
            ),
            (r#""decideMs": 60001"#, &["`decideMs` is 60001 ms: over 60 s, longer than callers wait"]),
            (
                r#""firstDigitMs": 0, "interDigitMs": 2000, "decideMs": 500, "promptMs": 90000, "maxMs": 90000"#,
                &[],
            ),
            (r#""firstDigitMs": 60000, "decideMs": 0, "guardMs": 100"#, &[]),
        ] {
            assert_eq!(expected, messages(&format!("{MENU}, {timers}"), ""), "{timers}");
            let defaults = format!(", \"defaults\": {{{timers}}}");
            assert_eq!(expected, messages(MENU, &defaults), "{timers}");
        }
    }

    #[test]
    fn tells_of_choices_that_wait_how_long_and_why() {
        let choices = r#""choices": {"1": {"outcome": "x"}, "10": {"outcome": "y"}}"#;
        let first = "`a`: 1 waits 3000 ms because of 10";
        assert_eq!(messages(choices, ""), [first]);
        assert_eq!(
            messages(&format!(r##"{choices}, "endKey": "#""##), ""),
            [format!("{first}; # commits at once")]
        );
        let slower = format!(r#"{choices}, "interDigitMs": 5000"#);
        assert_eq!(messages(&slower, ""), ["`a`: 1 waits 5000 ms because of 10"]);
    }

    #[test]
    fn tells_once_a_node_of_keys_that_phones_do_not_have() {
        let takes = |place: &str, keys: &str| vec![format!("`{place}` takes {keys}")];
        let choices = r#""choices": {"b": {"outcome": "x"}, "[A1]": {"outcome": "x"}, "2": "@back"}"#;
        assert_eq!(takes("a", "A, B"), messages(choices, ""));
        let collect =
            r#""collect": {"digits": "012A", "pattern": ["B1", "1"], "cancelKey": "D"}, "outcome": "x""#;
        assert_eq!(takes("a", "A, B, D"), messages(collect, ""));
        assert_eq!(takes("a", "C"), messages(&format!(r#"{MENU}, "endKey": "C""#), ""));
        assert_eq!(takes("keys", "A"), messages(MENU, r#", "keys": {"A": "@back"}"#));
        assert_eq!(takes("defaults", "A"), messages(MENU, r#", "defaults": {"endKey": "a"}"#));
    }
}
