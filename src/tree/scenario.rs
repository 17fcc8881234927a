//! The `tests` of a tree as data: what a caller does, and what must come of it.

use super::diagnostic::{Span, code};
use super::fields::{Cx, Fields, MS_MAX, Shape};
use super::syntax::{Member, Value};
use crate::press::{self, Step};

/// One entry of `tests`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// What it is called, if anything.
    pub name: Option<Box<str>>,
    /// Its script as it is written.
    pub press: Box<str>,
    /// What the caller does.
    pub steps: Vec<Step>,
    /// The outcome that the walk must have.
    pub outcome: Box<str>,
    /// The node that the call must stand in when it ends: one of the tree's.
    pub at: Option<Box<str>>,
    /// Variables and values that must be among those written, in file order.
    pub set: Vec<(Box<str>, Box<str>)>,
    /// The most milliseconds from the last digit to the end.
    pub within_ms: Option<u64>,
    /// Where it stands in the file: its opening brace.
    pub span: Span,
}

const TEST: Shape =
    Shape { what: "a test", keys: &["name", "press", "outcome", "at", "set", "within"], any_case: &[] };

/// Reads `tests`, without those in which something is wrong, which has been reported.
pub(super) fn read<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Vec<Scenario> {
    let values = cx.list(&member.value, &member.name).unwrap_or_default();
    values.iter().filter_map(|value| scenario(cx, value)).collect()
}

fn scenario<'v>(cx: &mut Cx<'v>, value: &'v Value<'v>) -> Option<Scenario> {
    let fields = Fields::open(cx, value, "a test", &TEST)?;
    let span = value.span.start..value.span.start + 1;
    for key in ["press", "outcome"] {
        if fields.get(key).is_none() {
            let help = "a test says what is pressed and which outcome the walk must have";
            cx.report.error(code::MISSING_KEY, span.clone(), format!("a test without `{key}`"), help);
        }
    }
    let name = fields.get("name").and_then(|member| cx.string(&member.value, &member.name)).map(Box::from);
    let script = fields.get("press").and_then(|member| script(cx, member));
    let outcome = fields.get("outcome").and_then(|member| cx.filled(member));
    let at = fields.get("at").map(|member| {
        let name = cx.string(&member.value, &member.name)?;
        cx.node(name, &member.value.span, code::MISSING_TARGET).map(|_| name.into())
    });
    let set = fields.get("set").map_or_else(Vec::new, |member| variables(cx, member));
    let within_ms = fields.get("within").and_then(|member| cx.whole(member, 0..=MS_MAX));
    let (press, steps) = script?;
    let at = at.map_or(Some(None), |at: Option<Box<str>>| at.map(Some))?;
    Some(Scenario { name, press, steps, outcome: outcome?.into(), at, set, within_ms, span })
}

fn script<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Option<(Box<str>, Vec<Step>)> {
    let text = cx.string(&member.value, &member.name)?;
    match press::parse(text) {
        Ok(steps) => Some((text.into(), steps)),
        Err(error) => {
            let length = text[error.offset..].chars().next().map_or(0, char::len_utf8);
            let span = cx.inside(&member.value, error.offset..error.offset + length);
            let help = "a script is digits, waits (w W +ms ~) and ! to hang up; spaces only separate";
            cx.report.error(code::WRONG_VALUE, span, error.to_string(), help);
            None
        }
    }
}

fn variables<'v>(cx: &mut Cx<'v>, member: &'v Member<'v>) -> Vec<(Box<str>, Box<str>)> {
    let Some(members) = cx.object(&member.value, &member.name) else { return Vec::new() };
    members
        .filter_map(|variable| {
            let value = cx.string(&variable.value, &variable.name)?;
            Some((Box::from(&*variable.name), Box::from(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Key;
    use crate::tree::load;

    fn tree(tests: &str) -> String {
        format!("{{\"rootNode\": \"a\", \"nodes\": {{\"a\": {{\"outcome\": \"x\"}}}},\n\"tests\": {tests}}}")
    }

    #[test]
    fn keeps_what_a_test_says() {
        let text = tree(
            r#"[{"$why": 1, "name": "n", "press": "1 +5~", "outcome": "x", "at": "a",
                "set": {"b": "1", "a": "{2}"}, "within": 0}, {"press": "", "outcome": "y"}]"#,
        );
        let loaded = load(&text);
        assert_eq!(loaded.findings, []);
        let [first, second] = &loaded.tests[..] else { panic!("{:?}", loaded.tests) };
        let one = Step::Key(Key::parse('1').unwrap());
        assert_eq!((Some("n"), "1 +5~", "x"), (first.name.as_deref(), &*first.press, &*first.outcome));
        assert_eq!(vec![one, Step::Wait(5), Step::UntilDeadline], first.steps);
        assert_eq!(vec![("b".into(), "1".into()), ("a".into(), "{2}".into())], first.set);
        assert_eq!((Some("a"), Some(0)), (first.at.as_deref(), first.within_ms));
        assert_eq!(
            (None, vec![], None, None),
            (second.name.clone(), second.steps.clone(), second.at.clone(), second.within_ms)
        );
        assert_eq!("{\"press", &text[second.span.start..second.span.start + 7]);
    }

    #[test]
    fn names_the_character_of_a_script_that_is_wrong() {
        let text = tree(r#"[{"press": "\u0031 ?", "outcome": "x"}]"#);
        let loaded = load(&text);
        let [finding] = &loaded.findings[..] else { panic!("{:?}", loaded.findings) };
        assert_eq!((code::WRONG_VALUE, "?"), (finding.code, &text[finding.span.clone()]));
        assert!(finding.message.starts_with("character 3: '?' is no step"), "{}", finding.message);
        assert_eq!((true, 0), (loaded.ivr.is_none(), loaded.tests.len()));
    }
}
