//! Section 3: what each event does to the one deadline and the two counters.

use crate::script::rows;

/// A menu that says when it fails, with a different number for each timer.
const TIMED: &str = r##"{
  "rootNode": "m",
  "nodes": {
    "m": { "promptMs": 1000, "firstDigitMs": 5000, "interDigitMs": 700, "decideMs": 400, "endKey": "#",
           "noInput": { "tries": 3, "outcome": "silent" }, "noMatch": { "tries": 3, "outcome": "wrong" },
           "choices": { "1": { "outcome": "one" }, "12": { "outcome": "twelve" }, "345": { "outcome": "long" },
                        "8": "m", "9": "card" } },
    "card": { "promptMs": 1000, "firstDigitMs": 5000, "interDigitMs": 700, "decideMs": 400, "guardMs": 300,
              "maxMs": 2000, "endKey": "#", "noInput": { "tries": 2, "outcome": "silent" },
              "noMatch": { "tries": 2, "outcome": "wrong" },
              "collect": { "min": 2, "max": 4, "cancelKey": "*" }, "outcome": "good" }
  }
}"##;

#[test]
fn entering_a_node_waits_for_the_prompt_and_the_first_digit() {
    rows(
        TIMED,
        &[
            // enter node: now + promptMs + firstDigitMs; a failed attempt with tries left: the same again.
            ("7:start", "7 m; 6007 m 2 noinput; 12007 m 3 noinput; 18007 ends silent at m by noinput, writes ivr_status=silent"),
            // A digit during the prompt counts (barge-in).
            ("0:start 500:1 600:#", r#"0 m; 600 ends one at m, writes ivr_selection=["1"] ivr_status=one"#),
            // The last millisecond of the wait, and the one after it: the deadline comes first.
            ("0:start 5999:1 6000:#", r#"0 m; 6000 ends one at m, writes ivr_selection=["1"] ivr_status=one"#),
            ("0:start 6000:1 6001:#", r#"0 m; 6000 m 2 noinput; 6001 ends one at m, writes ivr_selection=["1"] ivr_status=one"#),
            // Entering sets both counters to 0: two failures of each kind before the move count no more.
            (
                "0:start 6001:7 6002:7 6003:8 6004:7 6005:7 12006:!",
                "0 m; 6000 m 2 noinput; 6001 7: invalid, m 3 invalid; 6002 7: invalid, m 4 invalid; 6003 m;
                 6004 7: invalid, m 2 invalid; 6005 7: invalid, m 3 invalid; 12005 m 4 noinput;
                 12006 ends hangup at m by hangup",
            ),
            // The counters are two: two silences and two mistakes are not four of a kind.
            (
                "0:start 6001:7 12001:7 12002:7",
                "0 m; 6000 m 2 noinput; 6001 7: invalid, m 3 invalid; 12001 m 4 noinput, 7: invalid, m 5 invalid;
                 12002 7: invalid, ends wrong at m by invalid, writes ivr_status=wrong",
            ),
        ],
    );
}

#[test]
fn a_digit_that_is_accepted_waits_for_the_next_or_for_the_decision() {
    rows(
        TIMED,
        &[
            // Incomplete: now + interDigitMs.
            ("0:3 699:4 1398:5", r#"0 m; 1398 ends long at m, writes ivr_selection=["345"] ivr_status=long"#),
            ("0:3 10:!", "0 m; 10 ends hangup at m by hangup"),
            ("0:3 699:4 1399:!", "0 m; 1399 m 2 incomplete, ends hangup at m by hangup"),
            // Complete and extendable: now + decideMs.
            ("0:1", r#"0 m; 400 ends one at m, writes ivr_selection=["1"] ivr_status=one"#),
            ("0:1 399:2", r#"0 m; 399 ends twelve at m, writes ivr_selection=["12"] ivr_status=twelve"#),
            (
                "0:1 400:2",
                r#"0 m; 400 ends one at m, writes ivr_selection=["1"] ivr_status=one, dropped: late"#,
            ),
            // Complete and not extendable: it commits in the same instant.
            ("5:1 5:2", r#"5 m, ends twelve at m, writes ivr_selection=["12"] ivr_status=twelve"#),
            // A collect, below its `min`, between `min` and `max`, and at its `max`.
            ("0:9 300:1 1000:!", "0 m, card; 1000 card 2 incomplete, ends hangup at card by hangup"),
            (
                "0:9 300:1 400:2",
                r#"0 m, card; 800 ends good at card, writes ivr_selection=["9","12"] ivr_status=good"#,
            ),
            (
                "0:9 300:1 400:2 500:3 600:4",
                r#"0 m, card; 600 ends good at card, writes ivr_selection=["9","1234"] ivr_status=good"#,
            ),
        ],
    );
}

#[test]
fn a_digit_that_is_dropped_for_any_reason_leaves_the_deadline() {
    rows(
        TIMED,
        &[
            // Guarded.
            (
                "0:9 299:1 6001:!",
                "0 m, card; 299 1: guarded; 6000 card 2 noinput; 6001 ends hangup at card by hangup",
            ),
            // A trailing end key.
            (
                "0:9 500:# 6001:!",
                "0 m, card; 500 #: trailing_end_key; 6000 card 2 noinput; 6001 ends hangup at card by hangup",
            ),
            // A duplicate.
            (
                "0:9@1700000000000 500:9@1700000000000 6001:!",
                "0 m, card; 500 9: duplicate; 6000 card 2 noinput; 6001 ends hangup at card by hangup",
            ),
        ],
    );
    let ignoring =
        TIMED.replace(r#""noMatch": { "tries": 3, "outcome": "wrong" }"#, r#""noMatch": "ignore""#);
    rows(
        &ignoring,
        &[
            // Invalid, first in an attempt and amidst an entry; an end key too.
            (
                "0:start 5999:7 6001:!",
                "0 m; 5999 7: invalid; 6000 m 2 noinput; 6001 ends hangup at m by hangup",
            ),
            ("0:3 600:7 800:!", "0 m; 600 7: invalid; 700 m 2 noinput; 800 ends hangup at m by hangup"),
            ("0:3 600:# 800:!", "0 m; 600 #: incomplete; 700 m 2 noinput; 800 ends hangup at m by hangup"),
        ],
    );
}

#[test]
fn cancelling_waits_for_a_first_digit_without_prompt_and_without_guard() {
    rows(
        TIMED,
        &[
            // A filled buffer: now + firstDigitMs.
            ("0:9 300:1 400:* 5401:!", "0 m, card; 5400 card 2 noinput; 5401 ends hangup at card by hangup"),
            // The guard does not begin again: the next digit counts at once.
            (
                "0:9 300:1 400:* 401:5 402:6 403:#",
                r#"0 m, card; 403 ends good at card, writes ivr_selection=["9","56"] ivr_status=good"#,
            ),
            // An empty buffer: `@back`.
            (
                "0:9 300:* 400:1 401:#",
                r#"0 m, card; 300 m; 401 ends one at m, writes ivr_selection=["1"] ivr_status=one"#,
            ),
            // `maxMs` begins again with the next digit.
            (
                "0:9 300:1 900:2 1000:* 3000:1 3600:5 3900:6 4200:* 4300:1 4301:!",
                "0 m, card; 4301 ends hangup at card by hangup",
            ),
        ],
    );
}

#[test]
fn the_cap_runs_from_the_first_digit_of_an_attempt() {
    let capped = r##"{
      "rootNode": "c",
      "nodes": { "c": { "firstDigitMs": 5000, "interDigitMs": 700, "maxMs": 1500, "guardMs": 0,
                        "noInput": { "tries": 2 }, "noMatch": { "tries": 3, "outcome": "wrong" },
                        "collect": { "min": 3, "max": 9, "cancelKey": "*" }, "outcome": "good" } }
    }"##;
    rows(
        capped,
        &[
            // Not from the node's entry, and not from the last digit.
            (
                "0:start 4000:1 4600:2 5200:3 5499:4",
                r#"0 c; 5500 ends good at c, writes ivr_selection=["1234"] ivr_status=good"#,
            ),
            ("0:start 4000:1 4700:2 5390:!", "0 c; 4700 c 2 incomplete; 5390 ends hangup at c by hangup"),
            // Too short when the cap comes.
            ("0:1 690:2 1500:3 1600:!", "0 c; 1390 c 2 incomplete; 1600 ends hangup at c by hangup"),
            (
                "0:1 699:2 1398:9 1499:4 1501:1",
                r#"0 c; 1500 ends good at c, writes ivr_selection=["1294"] ivr_status=good; 1501 dropped: late"#,
            ),
            // Each attempt has its own.
            (
                "0:1 700:1 1300:2 1900:3 2190:4 2201:!",
                r#"0 c; 700 c 2 incomplete; 2200 ends good at c, writes ivr_selection=["1234"] ivr_status=good"#,
            ),
            // After a cancellation it begins with the next digit.
            (
                "0:1 600:* 3000:1 3600:2 4200:3 4499:4",
                r#"0 c; 4500 ends good at c, writes ivr_selection=["1234"] ivr_status=good"#,
            ),
        ],
    );
}

#[test]
fn of_several_deadlines_the_earliest_wins_and_the_call_s_beats_the_others() {
    let limited = |call_ms: u64| {
        format!(
            r#"{{ "rootNode": "m", "limits": {{ "callMs": {call_ms} }},
              "nodes": {{ "m": {{ "firstDigitMs": 2000, "interDigitMs": 500, "decideMs": 500, "maxMs": 700,
                "choices": {{ "1": {{ "outcome": "one" }}, "111": {{ "outcome": "three" }} }} }} }} }}"#
        )
    };
    let one = r#"ends one at m, writes ivr_selection=["1"] ivr_status=one"#;
    // A wait of 500 ms, a cap of 700 ms, and a call of so many.
    rows(&limited(501), &[("0:1", &format!("0 m; 500 {one}"))]);
    rows(&limited(500), &[("0:1", "0 m; 500 ends limit at m by limit, writes ivr_status=limit")]);
    rows(
        &limited(701),
        &[("0:1 400:1", "0 m; 700 ends one at m, writes ivr_selection=[\"1\"] ivr_status=one")],
    );
    rows(&limited(700), &[("0:1 400:1", "0 m; 700 ends limit at m by limit, writes ivr_status=limit")]);
    rows(&limited(2000), &[("3:start", "3 m; 2003 ends limit at m by limit, writes ivr_status=limit")]);
    rows(
        &limited(2001),
        &[("3:start", "3 m; 2003 ends timeout_fallback at m by noinput, writes ivr_status=timeout_fallback")],
    );
    // The call's own deadline, too, comes before a digit of the same millisecond.
    rows(
        &limited(300),
        &[("0:1 300:1", "0 m; 300 ends limit at m by limit, writes ivr_status=limit, dropped: late")],
    );
}

#[test]
fn for_ever_is_bounded_by_the_longest_call() {
    let patient = r#"{ "rootNode": "m", "limits": { "callMs": 90000 },
      "nodes": { "m": { "promptMs": 500, "firstDigitMs": 0, "choices": { "11": { "outcome": "x" } } } } }"#;
    rows(
        patient,
        &[
            ("0:start", "0 m; 90000 ends limit at m by limit, writes ivr_status=limit"),
            (
                "0:start 89998:1 89999:1",
                r#"0 m; 89999 ends x at m, writes ivr_selection=["11"] ivr_status=x"#,
            ),
            // Between two digits the wait is never for ever.
            ("0:1", "0 m; 3000 ends timeout_fallback at m by noinput, writes ivr_status=timeout_fallback"),
        ],
    );
}

#[test]
fn what_a_tree_does_not_say_is_as_the_reference_says() {
    let bare = r#"{ "rootNode": "m", "nodes": { "m": { "choices": { "1": { "outcome": "a" }, "12": { "outcome": "b" } } } } }"#;
    rows(
        bare,
        &[
            (
                "0:start",
                "0 m; 10000 ends timeout_fallback at m by noinput, writes ivr_status=timeout_fallback",
            ),
            // `decideMs` is `interDigitMs`; there is no end key; no-match is ignored.
            ("0:1", r#"0 m; 3000 ends a at m, writes ivr_selection=["1"] ivr_status=a"#),
            (
                "0:# 100:1 101:2",
                r##"0 m, #: invalid; 101 ends b at m, writes ivr_selection=["12"] ivr_status=b"##,
            ),
        ],
    );
    rows(
        &bare.replace(r#""choices""#, r#""interDigitMs": 800, "choices""#),
        &[("0:1", r#"0 m; 800 ends a at m, writes ivr_selection=["1"] ivr_status=a"#)],
    );
}

#[test]
fn a_key_of_one_call_cuts_nobody_elses_time_short() {
    use dtmfd::engine::{Bounds, Calls, Event, Key, Output, Source, Tick};

    let ivr = crate::script::tree(include_str!("../../trees/seed.json"));
    let mut calls = Calls::new(ivr, Bounds { calls_max: 9, attempts_max: 1 }, 1, Tick(0));
    let mut press = |call, at| {
        let key = Key::parse('1').expect("a key");
        calls.handle(Event::KeyPressed { source: Source::Voice, call, key, stamp: None }, Tick(at));
        let mut ended = Vec::new();
        while let Some(output) = calls.poll_output() {
            if let Output::Ended { call } = output {
                ended.push(calls.call(call).expect("it can be looked at").id().to_owned());
            }
        }
        (ended, calls.poll_timeout())
    };
    assert_eq!(Vec::<String>::new(), press("A", 0).0);
    // Its own time, 10 000, may have been rounded up: of A's deadline then only the clock can tell.
    assert_eq!((vec![], Some(Tick(10_000))), press("B", 10_000));
    assert_eq!(vec!["A"], press("B", 10_001).0);
}
