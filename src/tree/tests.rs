//! Whole files: the shipped tree, the seed's, one bad file per code, and files that nobody wrote.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::engine::{Content, Digits, Ivr, Key, Mask, NodeId, Target, Timing};

pub(super) const SHIPPED: &str = include_str!("../../ivr.json");

/// Returns a tree with these nodes that begins at `a`, and more at its top level.
pub(super) fn tree(nodes: &str, more: &str) -> String {
    format!("{{\"rootNode\": \"a\", \"nodes\": {nodes}{more}}}")
}

/// Returns the code of each finding, and the text that it points at, without quotes.
pub(super) fn found(text: &str) -> Vec<(&'static str, String)> {
    let findings = load(text).findings.into_iter();
    findings.map(|finding| (finding.code, text[finding.span].replace('"', ""))).collect()
}

/// Returns the tree of a text without errors.
pub(super) fn loaded(text: &str) -> Arc<Ivr> {
    let loaded = load(text);
    loaded.ivr.unwrap_or_else(|| panic!("{text}: {:?}", loaded.findings))
}

/// The bad files: the code that gives each its name, and the line and column of the finding.
pub(super) const BAD: [(&str, usize, usize); 27] = [
    (code::NOT_JSON, 4, 33),
    (code::WRONG_TYPE, 5, 23),
    (code::WRONG_VALUE, 6, 29),
    (code::BAD_PATTERN, 7, 11),
    (code::UNKNOWN_KEY, 5, 27),
    (code::DUPLICATE_KEY, 5, 5),
    (code::MISSING_KEY, 5, 5),
    (code::MISSING_ROOT, 2, 15),
    (code::MISSING_TARGET, 6, 14),
    (code::CHOICES_WITH_COLLECT, 6, 7),
    (code::OUTCOME_WITH_NEXT_NODE, 7, 7),
    (code::NO_TARGET, 4, 5),
    (code::OVERLAPPING_CHOICES, 7, 9),
    (code::SHADOWED_CHOICE, 8, 9),
    (code::INTER_DIGIT_ZERO, 3, 33),
    (code::MIN_OVER_MAX, 5, 27),
    (code::EMPTY_COLLECT, 5, 7),
    (code::MASK_ZERO, 5, 15),
    (code::UNKNOWN_NAME, 4, 57),
    (code::BAD_TEMPLATE, 4, 56),
    (code::FAILING_TEST, 5, 5),
    (code::AMBIGUOUS_PREFIX, 7, 9),
    (code::UNREACHABLE_NODE, 5, 5),
    (code::ONLY_WAITING, 4, 5),
    (code::NEVER_SATISFIED, 5, 39),
    (code::ODD_TIMEOUT, 5, 23),
    (code::ABCD_KEYS, 5, 20),
];

pub(super) fn bad_file(code: &str) -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/bad").join(format!("{code}.json"));
    read(&path).unwrap()
}

#[test]
fn finds_in_each_bad_file_what_it_is_named_for_and_nothing_else() {
    for (code, line, column) in BAD {
        let source = bad_file(code);
        let loaded = proven(source.load());
        let lines = Lines::new(&source.text);
        let found: Vec<_> =
            loaded.findings.iter().map(|found| (found.code, lines.place(found.span.start))).collect();
        assert_eq!(found, [(code, Place { line, column })], "{code}");
        assert_eq!(code::WARNINGS.contains(&code), loaded.ivr.is_some(), "{code}");
        assert!(loaded.findings[0].help.len() > 10 && !loaded.findings[0].span.is_empty(), "{code}");
    }
}

#[test]
fn has_a_bad_file_for_each_code() {
    // These two would be large files: `refuses_too_much` makes them.
    let made = [code::TOO_LARGE, code::TOO_MANY_NODES];
    for code in code::ERRORS.iter().chain(&code::WARNINGS) {
        assert_ne!(made.contains(code), BAD.iter().any(|(bad, ..)| bad == code), "{code}");
    }
}

#[test]
fn shows_each_finding_with_its_line_and_a_caret() {
    let source = bad_file(code::UNKNOWN_KEY);
    assert_eq!(
        r#"error[unknown-key]: unknown key `nextnode` in a choice
 --> ivr.json:5:27
  |
5 |       "choices": { "1": { "nextnode": "sales", "outcome": "sales" } }
  |                           ^^^^^^^^^^
  |
  = help: the nearest key here is `nextNode`; keys that begin with `$` are comments

"#,
        human(&source.load().findings, "ivr.json", &source.text, false)
    );
    let source = bad_file(code::AMBIGUOUS_PREFIX);
    let text = human(&source.load().findings, "ivr.json", &source.text, false);
    let title = "warning[ambiguous-prefix]: `main`: 1 waits 3000 ms because of 10; # commits at once\n";
    assert!(text.starts_with(title), "{text}");
}

#[test]
fn refuses_too_much() {
    let codes = |text: &str| load(text).findings.iter().map(|finding| finding.code).collect::<Vec<_>>();
    let nodes = |count: usize| {
        let nodes: Vec<String> = (0..count).map(|n| format!("\"{n}\":{{\"outcome\":\"x\"}}")).collect();
        format!("{{\"rootNode\":\"0\",\"nodes\":{{{}}}}}", nodes.join(","))
    };
    assert_eq!(codes(&nodes(NODES_MAX + 1)), [code::TOO_MANY_NODES]);
    assert!(codes(&nodes(NODES_MAX)).iter().all(|&code| code == code::UNREACHABLE_NODE));
    assert_eq!(codes(&" ".repeat(FILE_BYTES_MAX + 1)), [code::TOO_LARGE]);
    assert_eq!(codes(&" ".repeat(FILE_BYTES_MAX)), [code::NOT_JSON]);
    let copied = format!(
        "{},\"keys\":{{\"0\":{{\"nextNode\":\"0\",\"set\":{{\"a\":\"{}\"}}}}}}}}",
        nodes(NODES_MAX).trim_end_matches('}').to_owned() + "}}",
        "x".repeat(10_000)
    );
    assert_eq!(codes(&copied), [code::TOO_LARGE]);
}

#[test]
fn loads_the_shipped_tree_without_a_finding_and_its_tests_pass() {
    let loaded = proven(load(SHIPPED));
    assert_eq!(loaded.findings, []);
    let ivr = loaded.ivr.unwrap();
    assert_eq!((7, 10), (ivr.nodes.len(), loaded.tests.len()));
    let main = ivr.node(ivr.root);
    let Content::Menu(choices) = &main.content else { panic!("{main:?}") };
    let labels: Vec<&str> = choices.iter().map(|choice| &*choice.label).collect();
    assert_eq!(labels, ["Sales", "Billing", "Support", "Extension", "Operator", "Back"]);
    assert_eq!(&Target::Node(NodeId(6)), &choices[4].target);
    let account = ivr.nodes.iter().find(|node| &*node.name == "account").unwrap();
    assert_eq!((Mask::Last(2), Key::parse('#')), (account.mask, account.end_key));
}

#[test]
fn loads_the_seeds_tree_as_the_seed_walks_it() {
    let loaded = load(SAMPLE);
    let codes: Vec<_> = loaded.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [code::ABCD_KEYS]);
    let ivr = loaded.ivr.unwrap();
    let root = ivr.node(ivr.root);
    assert_eq!(("main_menu", Timing::default()), (&*root.name, root.timing));
    assert_eq!(
        (&Target::End("timeout_fallback".into()), None),
        (&root.no_input.target, root.no_match.as_ref())
    );
    let mut at = ivr.root;
    for symbol in ['3', 'b'] {
        let entry = Digits::EMPTY.pushed(Key::parse(symbol).unwrap()).unwrap();
        let Target::Node(next) = ivr.node(at).choice(entry).unwrap().target else { panic!("{symbol}") };
        at = next;
    }
    let entry = Digits::EMPTY.pushed(Key::parse('1').unwrap()).unwrap();
    assert_eq!(Target::End("completed".into()), ivr.node(at).choice(entry).unwrap().target);
}

#[test]
fn reports_all_that_is_wrong_in_one_run() {
    let text = r#"{"rootNode": "nowhere", "nodes": {
        "a": {"choices": {"1": "b", "2": {"lable": "x", "outcome": ""}}, "mask": 0, "noInput": {"tries": -1}},
        "b": {"collect": {"min": 5, "max": 3, "check": "mod11", "as": "card"}, "nextNode": "@bakc"},
        "c": {"outcome": "x", "set": {"v": "{card} {cart}"}}}}"#;
    let codes: Vec<_> = load(text).findings.iter().map(|finding| finding.code).collect();
    assert_eq!(
        codes,
        [
            code::MISSING_ROOT,
            code::UNKNOWN_KEY,
            code::WRONG_VALUE,
            code::MASK_ZERO,
            code::WRONG_VALUE,
            code::MIN_OVER_MAX,
            code::WRONG_VALUE,
            code::MISSING_TARGET,
            code::UNKNOWN_NAME,
        ]
    );
}

#[test]
fn takes_time_in_proportion_to_the_file() {
    // Each holds as much as a file can of what is looked at in pairs.
    let menus: Vec<String> = (0..9000)
        .map(|n| format!("\"n{n}\":{{\"choices\":{{\"1\":\"n{}\",\"2XX\":\"@back\"}}}}", n + 1))
        .collect();
    let chain =
        format!("{{\"rootNode\":\"n0\",\"nodes\":{{{},\"n9000\":{{\"outcome\":\"x\"}}}}}}", menus.join(","));
    let choices: Vec<String> = (0..40_000).map(|n| format!("\"{n:05}\":\"@again\"")).collect();
    let exact =
        format!("{{\"rootNode\":\"a\",\"nodes\":{{\"a\":{{\"choices\":{{{}}}}}}}}}", choices.join(","));
    let wild = exact.replace("0\":", "X\":").replace("\"1", "\"[12]");
    let wild = &wild[..wild.len().min(FILE_BYTES_MAX)];
    let missing = chain.replace("\"n1", "\"m1");
    for text in [&chain, &exact, wild, &missing] {
        let start = Instant::now();
        load(text);
        // A debug build on a busy machine: what is quadratic would take minutes.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}: {}", start.elapsed(), &text[..60]);
    }
}

/// Whatever a load gives keeps its promises.
fn check(text: &str) -> Result<(), TestCaseError> {
    let loaded = proven(load(text));
    prop_assert_eq!(
        loaded.ivr.is_none(),
        loaded.findings.iter().any(|finding| finding.severity == Severity::Error),
        "{:?}",
        loaded.findings
    );
    for finding in loaded.findings.iter().chain(&loaded.notes) {
        prop_assert!(text.get(finding.span.clone()).is_some(), "{:?}", finding);
        let known = code::ERRORS.contains(&finding.code)
            || code::WARNINGS.contains(&finding.code)
            || finding.code == code::RAW_VALUE;
        prop_assert!(known && !finding.message.contains(char::is_control), "{:?}", finding);
    }
    human(&loaded.findings, "x", text, true);
    json(&loaded.findings, "x", text);
    github(&loaded.findings, "x", text);
    Ok(())
}

proptest! {
    #[test]
    fn never_panics_on_any_text(text in ".{0,60}") {
        check(&text)?;
    }

    #[test]
    fn never_panics_on_any_tokens(
        tokens in prop::collection::vec(
            prop::sample::select(&[
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"nodes\"", "\"rootNode\"", "\"collect\"", "1", "01", "-",
                "1.", "1e9", "true", "null", "\"\\u00e9{\"", "\"\\ud800\"", " ", "\u{b}", "\u{feff}", "//", "'a'",
            ][..]),
            0..20,
        )
    ) {
        check(&tokens.concat())?;
    }

    /// A good tree in which a few spots are cut, doubled or replaced.
    #[test]
    fn never_panics_on_a_mutated_tree(
        shipped: bool,
        changes in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                0usize..12,
                prop::sample::select(&[
                    "", "\"", "{", "}", "0", "-1", "null", "\"@back\"", "[", "X", "{digits}", "99999999999", "é",
                    "\\", ",", "\u{202e}", "\"main\"", "{}", "[]", "true",
                ][..]),
            ),
            1..4,
        )
    ) {
        let mut text = (if shipped { SHIPPED } else { EVERYTHING }).to_owned();
        for (at, length, with) in changes {
            let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let start = at.index(bounds.len());
            let end = bounds.get(start + length).copied().unwrap_or(text.len());
            text.replace_range(bounds[start]..end, with);
        }
        check(&text)?;
    }

    /// Values are swapped for others of any type, so that the text stays JSON.
    #[test]
    fn never_panics_on_values_that_nobody_expects(
        at: prop::sample::Index,
        with in prop::sample::select(&[
            "null", "true", "0", "-3", "1.5", "1e400", "\"\"", "\"x\"", "[]", "{}", "[1, \"2\"]", "{\"1\": \"main\"}",
            "{\"tries\": 1, \"outcome\": \"x\"}", "12345678901234567890123456789012345",
        ][..]),
    ) {
        let values: Vec<usize> = EVERYTHING.match_indices(": ").map(|(at, _)| at + 2).collect();
        let start = values[at.index(values.len())];
        let rest = &EVERYTHING[start..];
        let end = match rest.as_bytes()[0] {
            b'{' | b'[' => start + 1 + rest[1..].find(['}', ']']).unwrap_or(0) + 1,
            b'"' => start + 1 + rest[1..].find('"').unwrap_or(0) + 1,
            _ => start + rest.find([',', ' ', '}']).unwrap_or(0),
        };
        check(&format!("{}{with}{}", &EVERYTHING[..start], &EVERYTHING[end..]))?;
    }
}

/// IVR.md's example, with the rest of the language added.
pub(super) const EVERYTHING: &str = r##"{
  "rootNode": "main",
  "$schema": "x",
  "entries": { "+49891234": "confirm" },
  "defaults": { "firstDigitMs": 8000, "interDigitMs": 3000, "endKey": "#",
                "noInput": { "tries": 3, "nextNode": "operator" },
                "noMatch": { "tries": 3, "nextNode": "operator" } },
  "keys":   { "0": "operator", "*": "@back" },
  "limits": { "callMs": 600000, "steps": 100 },
  "dedupe": { "bounceMs": 80 },
  "onEnd":  { "set": { "ivr_status": "{outcome}", "ivr_selection": "{keys}", "ivr_path": "{path}" }, "hangup": true },
  "nodes": {
    "main": {
      "label": "Main menu", "promptMs": 10, "decideMs": 1500, "maxMs": 9000,
      "choices": {
        "1":    { "label": "Sales",     "outcome": "sales" },
        "2":    { "label": "Billing",   "nextNode": "billing", "set": { "dept": "billing" } },
        "3":    "seed",
        "4XXX": { "label": "Extension", "outcome": "extension", "set": { "ext": "{digits}" } }
      }
    },
    "billing": {
      "label": "Card number", "mask": 4, "interDigitMs": 5000, "globalKeys": false,
      "collect": { "as": "card", "min": 13, "max": 19, "digits": "0123456789", "pattern": ["4XXXXXXXXXXXXXXX"],
                   "check": "luhn", "range": [0, "9999999999999999999"], "cancelKey": "*" },
      "nextNode": "confirm", "noMatch": "ignore"
    },
    "confirm": {
      "guardMs": 600,
      "choices": { "1": { "outcome": "paid", "set": { "card_tail": "{card} {card!raw}" } }, "2": "billing" }
    },
    "seed": { "allowedDigits": ["1"], "nextNode": "done", "isTerminal": false },
    "done": { "AllowedDigits": ["1"], "NextNode": "", "IsTerminal": true },
    "operator": { "outcome": "transfer", "set": { "queue": "operator" } }
  },
  "tests": [
    { "name": "sales is instant", "press": "1",                          "outcome": "sales", "within": 0 },
    { "name": "a card",           "press": "2 4111111111111111# +700 1", "outcome": "paid", "set": { "card_tail": "…1111" } },
    { "name": "silence",          "press": "~ ~ ~",                      "outcome": "transfer", "at": "operator" }
  ]
}"##;

#[test]
fn loads_the_whole_language_without_a_finding() {
    let loaded = load(EVERYTHING);
    assert_eq!(loaded.findings, []);
    assert_eq!(3, loaded.tests.len());
    let [note] = &loaded.notes[..] else { panic!("{:?}", loaded.notes) };
    assert_eq!((code::RAW_VALUE, Severity::Note), (note.code, note.severity));
    assert_eq!("card!raw", &EVERYTHING[note.span.clone()]);
}
