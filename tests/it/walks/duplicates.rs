//! Section 6: duplicates, by the event's own timestamp.

use dtmfd::engine::{Bounds, Calls, Event, Key, Source, Tick};

use crate::script::{rows, tree};

/// Takes any number of digits and does nothing before the end key.
const MANY: &str = r##"{ "rootNode": "c", "defaults": { "firstDigitMs": 60000, "interDigitMs": 60000 },
      "nodes": { "c": { "endKey": "#", "collect": { "max": 32, "digits": "0123456789AB" }, "outcome": "x" } } }"##;

fn entry(events: &str, dropped: &str, entry: &str) {
    let ends = format!("900 ends x at c, writes ivr_selection=[\"{entry}\"] ivr_status=x");
    let dropped = if dropped.is_empty() { String::new() } else { format!("{dropped}; ") };
    let begins = if dropped.starts_with("0 ") {
        dropped.replacen("0 ", "0 c, ", 1)
    } else {
        format!("0 c; {dropped}")
    };
    rows(MANY, &[(&format!("{events} 900:#"), &format!("{begins}{ends}"))]);
}

#[test]
fn a_bounce_is_the_same_digit_less_than_bounce_ms_apart_either_way() {
    entry("0:1@1700000000000 1:1@1700000000079", "1 1: duplicate", "1");
    entry("0:1@1700000000000 1:1@1700000000080", "", "11");
    entry("0:1@1700000000080 1:1@1700000000001", "1 1: duplicate", "1");
    entry("0:1@1700000000080 1:1@1700000000000", "", "11");
    // Another digit is none; nor is the same one behind another.
    entry("0:1@1700000000000 1:2@1700000000001", "", "12");
    entry("0:1@1700000000000 1:2@1700000000001 2:1@1700000000002", "", "121");
    // Against the last that was accepted: a bounce does not prolong itself.
    entry("0:1@1700000000000 1:1@1700000000060 2:1@1700000000090", "1 1: duplicate", "11");
    // By the event's time, never by arrival: bunched, and far apart.
    entry("0:1@1700000000000 0:1@1700000000200 0:1@1700000000400", "", "111");
    entry("0:1@1700000000000 800:1@1700000000010", "800 1: duplicate", "1");
    // Off for events without a time, which are not compared with either.
    entry("0:1 0:1 0:1", "", "111");
    entry("0:1@1700000000000 1:1 2:1@1700000000010", "2 1: duplicate", "11");
}

#[test]
fn how_close_is_a_bounce_is_the_tree_s_to_say() {
    let tree =
        |ms: u64| MANY.replace(r#""defaults""#, &format!(r#""dedupe": {{ "bounceMs": {ms} }}, "defaults""#));
    let ends = |entry: &str| format!("9 ends x at c, writes ivr_selection=[\"{entry}\"] ivr_status=x");
    rows(
        &tree(300),
        &[("0:1@1700000000000 1:1@1700000000299 9:#", &format!("0 c; 1 1: duplicate; {}", ends("1")))],
    );
    rows(&tree(300), &[("0:1@1700000000000 1:1@1700000000300 9:#", &format!("0 c; {}", ends("11")))]);
    // 0: only a replay is a duplicate.
    rows(&tree(0), &[("0:1@1700000000000 1:1@1700000000001 9:#", &format!("0 c; {}", ends("11")))]);
    rows(
        &tree(0),
        &[("0:1@1700000000000 1:1@1700000000000 9:#", &format!("0 c; 1 1: duplicate; {}", ends("1")))],
    );
}

#[test]
fn a_replay_is_one_of_the_last_sixteen() {
    // Key n of the row is pressed 1 s after the one before, by the event's time; then one comes again.
    let pressed = |count: u64| -> String { (0..count).map(|n| format!("{n}:{} ", press(n))).collect() };
    fn press(n: u64) -> String {
        format!("{}@{}", n % 10, 1_700_000_000_000 + n * 1000)
    }
    let keys = |count: u64| -> String { (0..count).map(|n| char::from(b'0' + (n % 10) as u8)).collect() };
    for (count, replayed, is_duplicate) in
        [(16, 0, true), (17, 0, false), (17, 1, true), (20, 3, false), (20, 4, true), (20, 19, true)]
    {
        let again = press(replayed);
        let events = format!("{}50:{again}", pressed(count));
        let key = &again[..1];
        if is_duplicate {
            entry(&events, &format!("50 {key}: duplicate"), &keys(count));
        } else {
            entry(&events, "", &format!("{}{key}", keys(count)));
        }
    }
    // Digit and timestamp: another digit at the same instant is none.
    entry("0:1@1700000000000 1:2@1700000000000 2:3@1700000000000", "", "123");
    entry("0:1@1700000000000 1:2@1700000000000 2:1@1700000000000", "2 1: duplicate", "12");
}

#[test]
fn an_older_timestamp_is_not_dropped_but_counted() {
    entry("0:1@1700000005000 1:2@1700000001000 2:3@1700000000000", "", "123");
    let call = |stamps: &[u64]| {
        let bounds = Bounds { calls_max: 1, attempts_max: 1 };
        let mut calls = Calls::new(tree(MANY), bounds, 1, Tick(0));
        for (key, &stamp) in "123456".chars().zip(stamps) {
            let key = Key::parse(key).expect("a key");
            calls.handle(
                Event::KeyPressed { source: Source::Voice, call: "A", key, stamp: Some(stamp) },
                Tick(5),
            );
        }
        calls.counts().reordered
    };
    for (stamps, reordered) in [(&[1, 2, 3][..], 0), (&[3, 2, 1], 2), (&[5, 1, 2], 1), (&[5, 5], 0)] {
        assert_eq!(reordered, call(stamps), "{stamps:?}");
    }
}
