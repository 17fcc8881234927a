//! Section 4: a digit, step by step.

use crate::script::rows;

#[test]
fn the_filters_stand_in_their_order() {
    let tree = r##"{ "rootNode": "m", "nodes": {
      "m": { "endKey": "#", "choices": { "1": "g", "2": { "outcome": "two" } } },
      "g": { "guardMs": 400, "endKey": "*", "noMatch": { "tries": 9 }, "choices": { "1": { "outcome": "done" } } } } }"##;
    rows(
        tree,
        &[
            // 2 before 3 to 5: a duplicate in the guard is a duplicate.
            (
                "0:1@1700000000000 1:1@1700000000050 2:!",
                "0 m, g; 1 1: duplicate; 2 ends hangup at g by hangup",
            ),
            // 3: the call has ended.
            ("0:2 1:2", r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 1 dropped: late"#),
            // 4 before 5: a trailing end key in the guard is that, and is used up.
            ("0:1 1:# 2:# 3:!", "0 m, g; 1 #: trailing_end_key; 2 #: guarded; 3 ends hangup at g by hangup"),
            // A guarded digit uses the trailing end key up: it was the very next.
            (
                "0:1 1:1 2:# 400:# 401:!",
                "0 m, g; 1 1: guarded; 2 #: guarded; 400 #: invalid, g 2 invalid; 401 ends hangup at g by hangup",
            ),
            // A duplicate does not: it never was a digit.
            (
                "0:1@1700000000000 1:1@1700000000000 2:# 3:!",
                "0 m, g; 1 1: duplicate; 2 #: trailing_end_key; 3 ends hangup at g by hangup",
            ),
            // 5: now < attempt start + guardMs; after a failed attempt again.
            (
                "0:1 399:1 400:9 799:1 800:1",
                r#"0 m, g; 399 1: guarded; 400 9: invalid, g 2 invalid; 799 1: guarded; 800 ends done at g, writes ivr_selection=["1","1"] ivr_status=done"#,
            ),
        ],
    );
}

#[test]
fn an_end_key_commits_what_is_complete() {
    let tree = r##"{ "rootNode": "m", "defaults": { "endKey": "#", "noMatch": { "tries": 2, "outcome": "wrong" } }, "nodes": {
      "m": { "choices": { "1": { "outcome": "one" }, "123": { "outcome": "long" }, "5": "some", "6": "none", "7": "hash" } },
      "some": { "collect": { "min": 2, "max": 4 }, "outcome": "some" },
      "none": { "interDigitMs": 500, "collect": { "min": 0, "max": 2, "check": "luhn", "range": [10, 20] }, "outcome": "none" },
      "hash": { "choices": { "#1": { "outcome": "hash" }, "2": { "outcome": "two" }, "22": { "outcome": "more" } } } } }"##;
    rows(
        tree,
        &[
            ("0:1 9:#", r#"0 m; 9 ends one at m, writes ivr_selection=["1"] ivr_status=one"#),
            // Not complete: no-match, though a prefix is.
            ("0:1 1:2 2:# 3:!", "0 m; 2 #: incomplete, m 2 incomplete; 3 ends hangup at m by hangup"),
            // Empty: no-match; the buffer is cleared and the second is the last.
            (
                "0:# 1:#",
                "0 m, #: incomplete, m 2 incomplete; 1 #: incomplete, ends wrong at m by incomplete, writes ivr_status=wrong",
            ),
            (
                "0:5 1:1 2:# 3:!",
                "0 m, some; 2 #: incomplete, some 2 incomplete; 3 ends hangup at some by hangup",
            ),
            (
                "0:5 1:1 2:2 3:#",
                r#"0 m, some; 3 ends some at some, writes ivr_selection=["5","12"] ivr_status=some"#,
            ),
            // Empty with `min` 0: a good entry, neither checked nor in range. The first # trails.
            (
                "0:6 1:# 2:#",
                r##"0 m, none; 1 #: trailing_end_key; 2 ends none at none, writes ivr_selection=["6",""] ivr_status=none"##,
            ),
            (
                "0:6 500:# 501:#",
                r##"0 m, none; 500 #: trailing_end_key; 501 ends none at none, writes ivr_selection=["6",""] ivr_status=none"##,
            ),
            // Silence on an empty buffer is no-input even with `min` 0.
            (
                "0:6",
                "0 m, none; 10000 ends timeout_fallback at none by noinput, writes ivr_status=timeout_fallback",
            ),
            // Where a choice has the key in it, it is no end key: `2#` is invalid, so `2` commits.
            (
                "0:7 1:# 2:1",
                r##"0 m, hash; 2 ends hash at hash, writes ivr_selection=["7","#1"] ivr_status=hash"##,
            ),
            (
                "0:7 1:2 2:#",
                r##"0 m, hash; 2 #: late, ends two at hash, writes ivr_selection=["7","2"] ivr_status=two"##,
            ),
        ],
    );
}

#[test]
fn a_cancel_key_clears_the_buffer_or_leads_back() {
    let tree = r##"{ "rootNode": "m", "onEnd": { "set": { "keys": "{keys}" } }, "nodes": {
      "m": { "endKey": "*", "choices": { "1": "c", "2": { "outcome": "two" } } },
      "c": { "collect": { "min": 2, "max": 3, "digits": "0-9*", "cancelKey": "*" }, "outcome": "good" } } }"##
        .replace("0-9*", "0123456789*");
    rows(
        &tree,
        &[
            ("0:1 5000:*  5001:2", r#"0 m, c; 5000 m; 5001 ends two at m, writes keys=["2"]"#),
            (
                "0:1 5000:7 5001:* 5002:8 5003:9 5004:1",
                r#"0 m, c; 5004 ends good at c, writes keys=["1","891"]"#,
            ),
            ("0:1 5000:7 5001:* 5002:* 5003:2", r#"0 m, c; 5002 m; 5003 ends two at m, writes keys=["2"]"#),
        ],
    );
    // It begins an entry of `c`, so it is no trailing end key there: it is the cancel key.
    rows(&tree, &[("0:1 1:* 2:2", r#"0 m, c; 1 m; 2 ends two at m, writes keys=["2"]"#)]);
    let at_the_root = r#"{ "rootNode": "c", "nodes": { "c": { "collect": { "max": 2, "cancelKey": "*" }, "outcome": "good" } } }"#;
    // With an empty stack `@back` is `@again`.
    rows(
        at_the_root,
        &[(
            "0:* 9:*",
            "0 c, c; 9 c; 10009 ends timeout_fallback at c by noinput, writes ivr_status=timeout_fallback",
        )],
    );
}

#[test]
fn what_cannot_go_on_commits_the_longest_prefix_of_a_menu_and_feeds_the_rest_on() {
    let tree = r##"{ "rootNode": "m", "defaults": { "endKey": "#", "noMatch": { "tries": 5 } }, "nodes": {
      "m": { "choices": { "1": "n", "12": "n", "12345": { "outcome": "five" }, "7": "g", "78": { "outcome": "x" } } },
      "n": { "choices": { "3": "p", "34": "p", "345": { "outcome": "y" }, "4": "p", "9": { "outcome": "nine" } } },
      "p": { "choices": { "6": { "outcome": "six" }, "9": { "outcome": "p9" } } },
      "g": { "guardMs": 10, "choices": { "9": { "outcome": "g9" } } } } }"##;
    rows(
        tree,
        &[
            // The longest prefix of the buffer that is complete is `12`, not `1`; 3, 4 and 9 go on in order:
            // `34` waits in `n`, 9 ends that, and meets `p`.
            (
                "0:1 1:2 2:3 3:4 4:9",
                r#"0 m; 4 n, p, ends p9 at p, writes ivr_selection=["12","34","9"] ivr_status=p9"#,
            ),
            // A fed digit may fail in the node that it finds: the verdict is that of the last.
            (
                "0:1 1:2 2:2 3:9",
                r#"0 m; 2 2: invalid, n, n 2 invalid; 3 ends nine at n, writes ivr_selection=["12","9"] ivr_status=nine"#,
            ),
            (
                "0:1 1:8 2:9",
                r#"0 m; 1 8: invalid, n, n 2 invalid; 2 ends nine at n, writes ivr_selection=["1","9"] ivr_status=nine"#,
            ),
            // Filter 5 holds for a fed digit.
            (
                "0:7 1:9 11:9",
                r#"0 m; 1 9: guarded, g; 11 ends g9 at g, writes ivr_selection=["7","9"] ivr_status=g9"#,
            ),
            // An end key commits what was fed.
            ("0:1 1:3 2:# 3:!", "0 m; 1 n; 2 p; 3 ends hangup at p by hangup"),
            // It uses up the trailing end key of the commit that left it over.
            (
                "0:1 1:8 2:# 3:!",
                "0 m; 1 8: invalid, n, n 2 invalid; 2 #: incomplete, n 3 incomplete; 3 ends hangup at n by hangup",
            ),
            // A fed digit that commits by itself leaves its own node's.
            ("0:1 1:4 2:# 3:!", "0 m; 1 n, p; 2 #: trailing_end_key; 3 ends hangup at p by hangup"),
        ],
    );
}

#[test]
fn otherwise_it_is_no_match() {
    let tree = r##"{ "rootNode": "m", "defaults": { "noMatch": { "tries": 2, "outcome": "wrong" } }, "nodes": {
      "m": { "choices": { "1": "c", "456": { "outcome": "x" } } },
      "c": { "collect": { "min": 1, "max": 4, "digits": "123", "pattern": ["1", "123", "2XX3"] }, "outcome": "good" } } }"##;
    rows(
        tree,
        &[
            ("0:4 1:9 2:!", "0 m; 1 9: invalid, m 2 invalid; 2 ends hangup at m by hangup"),
            // The failed attempt took the buffer: it begins anew.
            (
                "0:4 1:9 2:4 3:5 4:6",
                r#"0 m; 1 9: invalid, m 2 invalid; 4 ends x at m, writes ivr_selection=["456"] ivr_status=x"#,
            ),
            // A collect never commits a prefix, though `1` is complete.
            ("0:1 1:1 2:3 3:!", "0 m, c; 2 3: invalid, c 2 invalid; 3 ends hangup at c by hangup"),
            (
                "0:1 1:1 2:2 3:3",
                r#"0 m, c; 3 ends good at c, writes ivr_selection=["1","123"] ivr_status=good"#,
            ),
            // … nor does its deadline.
            ("0:1 1:1 2:2 3003:!", "0 m, c; 3002 c 2 incomplete; 3003 ends hangup at c by hangup"),
            // The set is digits, lengths and pattern together: X is 1 to 3 here.
            ("0:1 1:2 2:4 3:!", "0 m, c; 2 4: invalid, c 2 invalid; 3 ends hangup at c by hangup"),
            (
                "0:1 1:2 2:1 3:2 4:3",
                r#"0 m, c; 4 ends good at c, writes ivr_selection=["1","2123"] ivr_status=good"#,
            ),
        ],
    );
}

#[test]
fn a_deadline_is_no_input_a_commit_or_incomplete() {
    let tree = r##"{ "rootNode": "m", "defaults": { "firstDigitMs": 2000, "interDigitMs": 500, "guardMs": 0,
        "noMatch": { "tries": 2, "outcome": "wrong" }, "noInput": { "tries": 2, "outcome": "silent" } }, "nodes": {
      "m": { "choices": { "1": "n", "123": { "outcome": "x" }, "5": "c", "8": "g", "89": "g", "8955": { "outcome": "z" }, "456": { "outcome": "y" } } },
      "n": { "choices": { "2": { "outcome": "n2" } } },
      "g": { "guardMs": 100, "choices": { "5": { "outcome": "g5" } } },
      "c": { "collect": { "min": 2, "max": 3, "pattern": ["12", "1234", "123"] }, "outcome": "good" } } }"##;
    rows(
        tree,
        &[
            ("0:start", "0 m; 2000 m 2 noinput; 4000 ends silent at m by noinput, writes ivr_status=silent"),
            // A menu: the longest complete prefix; the rest is fed on, as of that instant.
            (
                "0:1",
                "0 m; 500 n; 2500 n 2 noinput; 4500 ends silent at n by noinput, writes ivr_status=silent",
            ),
            ("0:1 100:2", r#"0 m; 600 n, ends n2 at n, writes ivr_selection=["1","2"] ivr_status=n2"#),
            // … where a guard may drop it. `89` is longer than `8`.
            (
                "0:8 1:9 2:5 602:5",
                r#"0 m; 502 g; 602 ends g5 at g, writes ivr_selection=["89","5"] ivr_status=g5"#,
            ),
            (
                "0:8 1:9 2:5 601:5 602:5",
                r#"0 m; 502 g; 601 5: guarded; 602 ends g5 at g, writes ivr_selection=["89","5"] ivr_status=g5"#,
            ),
            // A collect: the whole buffer or nothing.
            ("0:5 1:1 2:2", r#"0 m, c; 502 ends good at c, writes ivr_selection=["5","12"] ivr_status=good"#),
            ("0:5 1:1 502:!", "0 m, c; 501 c 2 incomplete; 502 ends hangup at c by hangup"),
            // Nothing complete: no-match.
            ("0:4 400:5 901:!", "0 m; 900 m 2 incomplete; 901 ends hangup at m by hangup"),
            (
                "0:4 500:4",
                "0 m; 500 m 2 incomplete; 1000 ends wrong at m by incomplete, writes ivr_status=wrong",
            ),
        ],
    );
}

#[test]
fn a_collect_commits_what_passes_its_check_and_range() {
    let tree = r##"{ "rootNode": "m", "defaults": { "endKey": "#", "interDigitMs": 500 }, "nodes": {
      "m": { "choices": { "1": "luhn", "2": "range", "3": "both", "4": "ignoring" } },
      "luhn": { "noMatch": { "tries": 2, "outcome": "wrong" }, "collect": { "min": 2, "max": 4, "check": "luhn" }, "outcome": "good" },
      "range": { "noMatch": { "tries": 2, "outcome": "wrong" }, "collect": { "max": 2, "range": [1, 31] }, "outcome": "good" },
      "both": { "noMatch": { "tries": 2, "outcome": "wrong" }, "collect": { "max": 2, "range": [10, 20], "check": "luhn" }, "outcome": "good" },
      "ignoring": { "noMatch": "ignore", "noInput": { "tries": 2, "outcome": "silent" },
                    "collect": { "max": 2, "range": [1, 31] }, "outcome": "good" } } }"##;
    let good = |entry: &str, keys: &str, at: &str| {
        format!(r#"ends good at {at}, writes ivr_selection=["{keys}","{entry}"] ivr_status=good"#)
    };
    rows(
        tree,
        &[
            // ISO/IEC 7812-1: 18 holds, 81 does not; by the end key, by the deadline, by the last digit.
            ("0:1 1:1 2:8 3:#", &format!("0 m, luhn; 3 {}", good("18", "1", "luhn"))),
            ("0:1 1:8 2:1 3:# 4:!", "0 m, luhn; 3 #: check, luhn 2 check; 4 ends hangup at luhn by hangup"),
            ("0:1 1:8 2:1 503:!", "0 m, luhn; 502 luhn 2 check; 503 ends hangup at luhn by hangup"),
            (
                "0:1 1:1 2:1 3:1 4:1 5:1 6:1 7:1 8:2",
                "0 m, luhn; 4 1: check, luhn 2 check; 8 2: check, ends wrong at luhn by check, writes ivr_status=wrong",
            ),
            // A failed check leaves no trailing key: the end key behind it is judged.
            (
                "0:1 1:1 2:1 3:1 4:1 5:#",
                "0 m, luhn; 4 1: check, luhn 2 check; 5 #: incomplete, ends wrong at luhn by incomplete, writes ivr_status=wrong",
            ),
            // From the least to the greatest, both included; leading zeros do not count.
            ("0:2 1:0 2:1", &format!("0 m, range; 2 {}", good("01", "2", "range"))),
            ("0:2 1:3 2:1", &format!("0 m, range; 2 {}", good("31", "2", "range"))),
            ("0:2 1:3 2:2 3:!", "0 m, range; 2 2: check, range 2 check; 3 ends hangup at range by hangup"),
            ("0:2 1:0 2:# 3:!", "0 m, range; 2 #: check, range 2 check; 3 ends hangup at range by hangup"),
            // Both must hold.
            ("0:3 1:1 2:8", &format!("0 m, both; 2 {}", good("18", "3", "both"))),
            (
                "0:3 1:2 2:6 3:1 4:9",
                "0 m, both; 2 6: check, both 2 check; 4 9: check, ends wrong at both by check, writes ivr_status=wrong",
            ),
            // Under `ignore` a failed check counts as no-input, and so takes the buffer.
            (
                "0:4 1:4 2:4 3:3 4:1",
                &format!("0 m, ignoring; 2 4: check, ignoring 2 noinput; 4 {}", good("31", "4", "ignoring")),
            ),
            (
                "0:4 1:4 2:4 3:0 4:#",
                "0 m, ignoring; 2 4: check, ignoring 2 noinput; 4 #: check, ends silent at ignoring by noinput, writes ivr_status=silent",
            ),
        ],
    );
}

#[test]
fn of_several_choices_the_one_with_the_fewest_wildcards_is_taken() {
    let tree = r##"{ "rootNode": "m", "keys": { "0": { "outcome": "global" } }, "nodes": {
      "m": { "choices": { "XX": { "outcome": "two-wild" }, "1X": { "outcome": "one-wild" }, "12": { "outcome": "exact" },
                          "9[135-8]": { "outcome": "set" }, "2Z": { "outcome": "z" }, "A#": { "outcome": "letters" } } },
      "n": { "choices": { "X": { "outcome": "any" } } } }, "entries": { "n": "n" } }"##;
    for (events, outcome, entry) in [
        ("0:1 1:2", "exact", "12"),
        ("0:1 1:3", "one-wild", "13"),
        ("0:3 1:4", "two-wild", "34"),
        ("0:2 1:4", "z", "24"),
        ("0:2 1:0", "two-wild", "20"),
        ("0:9 1:8", "set", "98"),
        ("0:A 1:#", "letters", "A#"),
        ("0:a 1:#", "letters", "A#"),
    ] {
        let expected =
            format!("0 m; 1 ends {outcome} at m, writes ivr_selection=[\"{entry}\"] ivr_status={outcome}");
        rows(tree, &[(events, &expected)]);
    }
    // A global key that a pattern also matches is exact, and wins.
    rows(
        tree,
        &[
            ("0:start,to=n 1:0", r#"0 n; 1 ends global at n, writes ivr_selection=["0"] ivr_status=global"#),
            ("0:start,to=n 1:1", r#"0 n; 1 ends any at n, writes ivr_selection=["1"] ivr_status=any"#),
        ],
    );
}

#[test]
fn ignoring_drops_the_digit_and_keeps_the_buffer() {
    let tree = r##"{ "rootNode": "m", "defaults": { "firstDigitMs": 2000, "interDigitMs": 500, "endKey": "#", "noInput": { "tries": 2 } }, "nodes": {
      "m": { "choices": { "12": { "outcome": "x" } } } } }"##;
    rows(
        tree,
        &[
            (
                "0:1 100:9 200:2",
                r#"0 m; 100 9: invalid; 200 ends x at m, writes ivr_selection=["12"] ivr_status=x"#,
            ),
            (
                "0:1 100:# 200:2",
                r##"0 m; 100 #: incomplete; 200 ends x at m, writes ivr_selection=["12"] ivr_status=x"##,
            ),
            // A deadline that finds it incomplete counts as no-input.
            (
                "0:1 499:9",
                "0 m; 499 9: invalid; 500 m 2 noinput; 2500 ends timeout_fallback at m by noinput, writes ivr_status=timeout_fallback",
            ),
        ],
    );
}
