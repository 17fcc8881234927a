//! The digits of masked nodes appear nowhere: everything runs at its most talkative with digits that
//! occur nowhere else, and all that was written is searched for them (IVR.md section 2, `mask`).

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use dtmfd::engine::{Bounds, Calls, Event, Key, Output as Told, Source, Tick};

/// Every command that walks calls; `--ivr` with the canary tree and `--log debug` are added.
const COMMANDS: &[&[&str]] = &[
    &["sandbox", "--log-format", "human"],
    &["sandbox", "--log-format", "json"],
    &["sandbox", "--log-format", "journald"],
    &["sandbox", "--log-format", "human", "--fail", "503:1", "--fail", "401", "--slow", "300ms"],
    &["sandbox", "--log-format", "auto", "--simulator", "live"],
];

/// Masked whole, masked but for the end, and a masked menu: one of letters, so that a single one of them
/// can be searched for, and one of digits, as people have them.
const TREE: &str = r##"{
  "rootNode": "main",
  "defaults": { "endKey": "#", "firstDigitMs": 900, "interDigitMs": 700, "noInput": { "tries": 2, "outcome": "silent" },
                "noMatch": { "tries": 3, "outcome": "wrong" } },
  "limits": { "callMs": 30000 },
  "nodes": {
    "main": { "choices": { "1": "secret", "10": "card", "2": "pin", "3": "open" } },
    "open": { "choices": { "3": "pin", "3BB": { "outcome": "never" } } },
    "secret": { "mask": true, "choices": { "B": "pin", "BD": "pin", "D": "main" } },
    "pin": { "mask": true, "set": { "seen": "{digits} {keys}" },
             "collect": { "min": 6, "max": 6, "digits": "BCD", "pattern": "BDCCDB", "as": "code" }, "nextNode": "card" },
    "card": { "mask": 4, "collect": { "min": 16, "max": 19, "check": "luhn", "cancelKey": "*", "as": "number" }, "nextNode": "confirm" },
    "confirm": { "choices": { "1": { "outcome": "paid", "set": { "tail": "{number}", "code": "{code}", "last": "{digits}", "keys": "{keys}" } } } }
  }
}"##;

/// A card that passes its check; its last four digits are shown.
const CARD: &str = "4929136482750314";
/// One that does not.
const WRONG_CARD: &str = "4929136482750317";
/// The entry of `pin`.
const PIN: &str = "BDCCDB";

fn presses() -> Vec<String> {
    vec![
        // A menu, an entry and a card, to the end.
        format!("whole=1B#{PIN}{CARD}#1:paid"),
        // A card that fails its check, one that is cut off by silence, one that is cancelled.
        format!("check=10{WRONG_CARD}#{}~:silent", &WRONG_CARD[..9]),
        format!("cancel=10{}*{CARD}#1:paid", &CARD[..12]),
        // What is not valid in a masked node; a hang-up in the midst of an entry.
        "bad=2B9CDDD:wrong".to_owned(),
        "gone=2BDC!:hangup".to_owned(),
        // Digits that an open menu hands on to a masked node: in the same instant, and by its deadline.
        "ahead=1BDCC!:hangup".to_owned(),
        "late=33B~!:hangup".to_owned(),
    ]
}

fn run(tree: &Path, command: &[&str]) -> (Option<i32>, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_dtmfd"));
    program
        .args(command)
        .arg("--ivr")
        .arg(tree)
        .args(["--log", "debug"])
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    if command[0] == "sandbox" {
        program.args(["--listen", "127.0.0.1:0", "--log-digits", "--exit", "--press"]).args(presses());
    }
    for (name, _) in std::env::vars() {
        if name.starts_with("CXONE_") || name.starts_with("DTMFD_") {
            program.env_remove(name);
        }
    }
    let Output { status, stdout, stderr } = program.output().expect("it runs");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// Returns the lines that tell of a masked node's digits.
fn leaks(text: &str) -> Vec<&str> {
    let cards = [CARD, WRONG_CARD].map(|card| (0..=8).map(|at| &card[at..at + 8]).collect::<Vec<_>>());
    let entries = (0..=PIN.len() - 3).map(|at| &PIN[at..at + 3]);
    let words: Vec<&str> = cards.into_iter().flatten().chain(entries).collect();
    let leaks = |line: &&str| {
        let mut tokens = line.split(|symbol: char| !symbol.is_ascii_alphanumeric());
        words.iter().any(|word| line.contains(word))
            || tokens.any(|token| matches!(token, "B" | "C" | "D"))
            || ["card", "pin", "secret"].iter().any(|node| {
                line.contains("digit ") && line.contains(&format!("  {node} → ")) && !line.contains("digit •")
            })
    };
    text.lines().filter(leaks).collect()
}

#[test]
fn masked_digits_are_nowhere_in_what_any_command_writes() {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("canary-{}.json", std::process::id()));
    std::fs::write(&tree, TREE).expect("it can be written");
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            COMMANDS.iter().map(|command| (command, scope.spawn(|| run(&tree, command)))).collect();
        for (command, run) in runs {
            let (code, text) = run.join().expect("it does not panic");
            let leaks = leaks(&text);
            assert!(
                leaks.is_empty(),
                "{command:?} told of masked digits:\n{}\n--- all:\n{text}",
                leaks.join("\n")
            );
            if command[0] == "sandbox" {
                assert_eq!(Some(0), code, "{command:?}:\n{text}");
                assert!(
                    text.matches("digit •").count() >= 50,
                    "nothing was pressed, or nobody told:\n{text}"
                );
                assert!(text.contains("digit 1  main → "), "digits of other nodes are told:\n{text}");
                for shown in ["tail=…0314", "code=[masked]", "last=1"] {
                    assert!(text.contains(shown), "{shown} is not in\n{text}");
                }
            }
        }
    });
    std::fs::remove_file(&tree).expect("it is there");
}

#[test]
fn the_search_finds_what_it_is_for() {
    for line in [
        "ivr_selection=[\"4929136482750315\"]",
        "entry 36482750",
        "digit C  main → pin",
        "{\"message\":\"digit B\"}",
        "seen DCC",
        "DEBUG digit 4  card → card",
    ] {
        assert_eq!(vec![line], leaks(line));
    }
    assert!(leaks("DEBUG digit •  card → card\ntail=…0315\nadbdcc10-0b\ndigit 1  main → secret").is_empty());
}

/// What an engine tells of a key says whether it may be shown: the node that the key found is not all.
#[test]
fn a_key_that_reaches_a_masked_node_by_any_way_is_told_as_masked() {
    let ivr = dtmfd::tree::load(TREE).ivr.expect("it is a tree");
    for (keys, expected) in [
        // Open, and open with something masked behind it.
        ("1", "-"),
        ("3", "-"),
        // In a masked node: accepted, invalid, ended, cancelled.
        ("2BX", "-••"),
        ("2B#", "-••"),
        ("104*", "--••"),
        // Handed on by an open node at once, even where no masked one is left at last.
        ("1B", "-•"),
        ("1D", "-•"),
        // It may be handed on by a deadline yet: `3BB` is a choice, but `3` alone is one as well.
        ("33B", "--•"),
        // A replay may be one of a masked node's, whatever node it finds.
        ("1D=", "-••"),
    ] {
        let told = told(&ivr, keys);
        assert_eq!(expected, told, "{keys}");
    }
}

/// Presses keys, `=` for the last event once more and `X` for one that is valid nowhere, and tells for each
/// whether it may be shown.
fn told(ivr: &Arc<dtmfd::engine::Ivr>, keys: &str) -> String {
    let bounds = Bounds { calls_max: 1, attempts_max: 1 };
    let mut calls = Calls::new(Arc::clone(ivr), bounds, 1, Tick(0));
    let mut last = ('1', 0);
    let mut told = String::new();
    for (index, symbol) in keys.chars().enumerate() {
        last = match symbol {
            '=' => last,
            'X' => ('9', index as u64 * 200_000),
            _ => (symbol, index as u64 * 200_000),
        };
        let key = Key::parse(last.0).expect("a key");
        let event = Event::KeyPressed { source: Source::Voice, call: "A", key, stamp: Some(last.1) };
        calls.handle(event, Tick(index as u64));
        while let Some(output) = calls.poll_output() {
            if let Told::Pressed { masked, .. } = output {
                told.push(if masked { '•' } else { '-' });
            }
        }
    }
    told
}

/// Every command that looks at a tree, in each of its formats; the file is added.
const LOOKS: &[&[&str]] = &[
    &["test"],
    &["test", "--json"],
    &["test", "--junit", "/dev/stdout"],
    &["check"],
    &["check", "--format", "json"],
    &["check", "--format", "github"],
    &["graph"],
    &["graph", "--format", "json"],
    &["graph", "--format", "svg"],
    &["graph", "--format", "dot"],
    &["graph", "--format", "mermaid"],
];

/// A tree's own tests may press what callers would: a walk that fails is shown without the digits. The
/// presses stand on lines of their own, since a finding shows the line that it points at.
#[test]
fn masked_digits_of_a_trees_own_tests_are_nowhere_in_what_is_told_of_them() {
    let tests = format!(
        r#""tests": [
    {{ "name": "whole",
      "press": "1B# {PIN} {CARD}# 1", "outcome": "paid" }},
    {{ "name": "fails",
      "press": "10 {WRONG_CARD}# +100 {CARD}# 1", "outcome": "unheard-of", "set": {{ "tail": "unheard-of" }} }},
    {{ "name": "ahead",
      "press": "1BDCC!", "outcome": "unheard-of" }}
  ],
  "rootNode""#
    );
    let text = TREE.replacen(r#""rootNode""#, &tests, 1);
    let tree =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("canary-tests-{}.json", std::process::id()));
    std::fs::write(&tree, text).expect("it can be written");
    for look in LOOKS {
        let program = Command::new(env!("CARGO_BIN_EXE_dtmfd")).args(*look).arg(&tree).output();
        let Output { stdout, stderr, .. } = program.expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(said.len() > 20, "{look:?} said nothing: {said}");
        // Drawings and findings show the tree's own keys, of which the letters are some.
        let told: Vec<_> = match look[0] {
            "graph" | "check" => said.lines().filter(|line| line.contains(&CARD[..8])).collect(),
            _ => leaks(&said),
        };
        assert!(told.is_empty(), "{look:?} told of masked digits:\n{}", told.join("\n"));
    }
    std::fs::remove_file(tree).expect("it can be removed");
}
