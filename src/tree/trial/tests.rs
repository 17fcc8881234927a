use super::*;
use crate::tree::tests::{found, tree};
use crate::tree::{Happened, load};

/// Plays one test on a tree with these nodes, and describes what came out in a line.
fn play(nodes: &str, more: &str, test: &str) -> String {
    let loaded = load(&tree(nodes, &format!("{more}, \"tests\": [{{{test}}}]")));
    let ivr = loaded.ivr.as_ref().unwrap_or_else(|| panic!("{:?}", loaded.findings));
    let trial = trials(ivr, &loaded.tests).next().unwrap();
    let keys: String = trial.walk.iter().map(|step| shown(&step.what)).collect();
    let set: Vec<_> = trial.set.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let end = trial.end.as_ref().unwrap();
    let (at, node) = (end.at.0, &ivr.node(end.node).name);
    let mismatches = trial
        .mismatches
        .iter()
        .map(|Mismatch { what, expected, actual }| format!("; {what} is {actual}, not {expected}"));
    let mismatches: String = mismatches.collect();
    format!("{at} {} at {node} by {keys}{}{mismatches}", end.outcome, set.concat())
}

fn shown(what: &Happened) -> String {
    match what {
        Happened::Pressed { key, verdict: crate::engine::Verdict::Accepted, .. } => {
            key.map_or('•', |key| key.symbol()).to_string()
        }
        Happened::Pressed { key, verdict, .. } => {
            format!("{}({})", key.map_or('•', |key| key.symbol()), verdict.name())
        }
        Happened::HungUp => "!".to_owned(),
        Happened::Entered { .. } | Happened::Ended(_) => String::new(),
    }
}

const MENU: &str = r#"{"a": {"choices": {"1": {"outcome": "one"}, "10": {"outcome": "ten"}, "2": "b",
    "1234": {"outcome": "long"}}, "guardMs": 300, "firstDigitMs": 5000},
    "b": {"choices": {"3": {"outcome": "three"}}, "guardMs": 100, "firstDigitMs": 4000,
          "noInput": {"tries": 2, "outcome": "gone"}}}"#;

#[test]
fn plays_the_script_to_the_millisecond() {
    for (test, expected) in [
        (
            r#""press": "10", "outcome": "ten", "within": 0"#,
            r#"200 ten at a by 10 ivr_selection=["10"] ivr_status=ten"#,
        ),
        // The call begins with its first digit, which no guard keeps out.
        (
            r#""press": "2 3", "outcome": "three", "at": "b""#,
            r#"200 three at b by 23 ivr_selection=["2","3"] ivr_status=three"#,
        ),
        (
            r#""press": "1", "outcome": "one", "within": 3000"#,
            r#"3000 one at a by 1 ivr_selection=["1"] ivr_status=one"#,
        ),
        (
            r#""press": "1~3", "outcome": "one""#,
            r#"3000 one at a by 13(late) ivr_selection=["1"] ivr_status=one"#,
        ),
        // Silence begins with the stream's word that the call began.
        (
            r#""press": "", "outcome": "timeout_fallback""#,
            "5000 timeout_fallback at a by  ivr_status=timeout_fallback",
        ),
        (
            r#""press": "~", "outcome": "timeout_fallback", "within": 5000"#,
            "5000 timeout_fallback at a by  ivr_status=timeout_fallback",
        ),
        (
            r#""press": "+100 2w3", "outcome": "three""#,
            r#"800 three at b by 23 ivr_selection=["2","3"] ivr_status=three"#,
        ),
        // The deadline of `b` at 4000, and a digit in the same instant: the deadline comes first.
        (
            r#""press": "2 ~ +100 3", "outcome": "three""#,
            r#"4100 three at b by 23 ivr_selection=["2","3"] ivr_status=three"#,
        ),
        (r#""press": "2 ~ 3", "outcome": "gone""#, r#"8000 gone at b by 23(guarded) ivr_status=gone"#),
        (
            r#""press": "2 +3600 3", "outcome": "three""#,
            r#"3800 three at b by 23 ivr_selection=["2","3"] ivr_status=three"#,
        ),
        (r#""press": "2 +3800 3", "outcome": "gone""#, r#"8000 gone at b by 23(guarded) ivr_status=gone"#),
        (r#""press": "2 W !", "outcome": "hangup""#, "1200 hangup at b by 2!"),
        (r#""press": "! 1 ! ~", "outcome": "hangup""#, "0 hangup at a by !1(late)"),
    ] {
        assert_eq!(expected, play(MENU, "", test), "{test}");
    }
}

#[test]
fn says_all_that_came_out_otherwise() {
    let test = r#""press": "2", "outcome": "three", "at": "a", "within": 10,
        "set": {"ivr_status": "x", "other": "y", "ivr_selection": ""}"#;
    assert_eq!(
        "8000 gone at b by 2 ivr_status=gone; the outcome is `gone`, not `three`; the last node is `b`, not `a`; \
         the time from the last digit to the end is 8000 ms, not at most 10 ms; the variable `ivr_status` is \
         `gone`, not `x`; the variable `other` is not written, not `y`; the variable `ivr_selection` is not \
         written, not ``",
        play(MENU, "", test)
    );
}

#[test]
fn shows_no_key_of_a_masked_node_and_no_value_in_clear() {
    let nodes = r#"{
        "a": {"choices": {"1": "pin", "12": "pin", "7": {"outcome": "x"}}, "interDigitMs": 2000},
        "pin": {"collect": {"as": "pin", "min": 4, "max": 4}, "mask": true, "nextNode": "end"},
        "end": {"outcome": "done", "set": {"clear": "{pin!raw}", "pin": "{pin}"}}}"#;
    let written = "clear=[raw] pin=[masked] ivr_selection=[\"1\",\"[masked]\"] ivr_status=done";
    for (press, keys, at) in [
        ("1 ~ 9876", "1••••", 2600),
        // The 9 is no choice together with the 1: the menu feeds it to the masked node.
        ("1 9876", "1••••", 800),
        ("1 ~ 9876 5", "1••••5(late)", 2600),
    ] {
        let test = format!(r#""press": "{press}", "outcome": "done", "set": {{"clear": "9876"}}"#);
        assert_eq!(format!("{at} done at end by {keys} {written}"), play(nodes, "", &test));
    }
    let test = r#""press": "1 9876", "outcome": "done", "set": {"clear": "0000"}"#;
    let text = play(nodes, "", test);
    assert!(
        text.ends_with("the variable `clear` is another value, [raw], not the one that the test gives"),
        "{text}"
    );
}

#[test]
fn hides_what_a_deadline_feeds_to_a_masked_node() {
    let nodes = r#"{
        "a": {"choices": {"1": "pin", "1234": {"outcome": "x"}}, "interDigitMs": 2000},
        "pin": {"choices": {"2": "more"}, "mask": true, "globalKeys": false},
        "more": {"choices": {"3": {"outcome": "x"}}}}"#;
    assert!(play(nodes, "", r#""press": "1 2 3", "outcome": "x""#).starts_with("2400 x at more by 1•• "));
}

#[test]
fn stops_what_takes_too_long() {
    let nodes = r#"{"a": {"choices": {"1": "@again"}, "firstDigitMs": 1,
        "noInput": {"tries": 1000000, "outcome": "x"}}}"#;
    let test = r#"{"press": "", "outcome": "x"}"#;
    let tests = vec![test; 200].join(",");
    let loaded = load(&tree(nodes, &format!(", \"tests\": [{tests}]")));
    let ivr = loaded.ivr.as_ref().unwrap();
    let all: Vec<_> = trials(ivr, &loaded.tests).collect();
    assert!(all.iter().all(|trial| trial.end.is_none() && !trial.passed()));
    assert_eq!((1000, 0), (all[0].walk.len(), all[199].walk.len()));
    assert!(all[0].omitted > 10_000, "{}", all[0].omitted);
}

#[test]
fn a_tree_whose_tests_fail_is_none_that_calls_can_walk() {
    let nodes = r#"{"a": {"outcome": "x"}, "b": {"outcome": "y"}}"#;
    let text = tree(nodes, r#", "tests": [{"press": "", "outcome": "x"}, {"press": "", "outcome": "y"}]"#);
    assert_eq!(vec![(code::UNREACHABLE_NODE, "b".to_owned())], found(&text));
    let loaded = proven(load(&text));
    let codes: Vec<_> = loaded.findings.iter().map(|finding| finding.code).collect();
    assert_eq!((true, vec![code::UNREACHABLE_NODE, code::FAILING_TEST]), (loaded.ivr.is_none(), codes));
    let failed = &loaded.findings[1];
    assert_eq!("`test 2` fails: the outcome is `x`, not `y`", failed.message);
    assert_eq!(r#"{"press": "", "outcome": "y"}"#, &text[failed.span.start..text.len() - 2]);
    assert!(proven(load(SHIPPED)).findings.is_empty());
}

const SHIPPED: &str = include_str!("../../../ivr.json");
