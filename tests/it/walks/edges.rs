//! Section 5: the edges, case by case.

use crate::script::rows;

/// The table's own examples: `1` and `2`; `1` and `10`.
const TEN: &str = r##"{ "rootNode": "m", "defaults": { "endKey": "#", "interDigitMs": 800, "decideMs": 500 }, "nodes": {
      "m": { "choices": { "1": "one", "10": "ten", "2": { "outcome": "two" } } },
      "one": { "choices": { "2": { "outcome": "one-two" }, "#4": { "outcome": "hash" } } },
      "ten": { "noMatch": { "tries": 3 }, "endKey": "", "choices": { "2": { "outcome": "ten-two" } } } } }"##;

#[test]
fn one_and_ten() {
    rows(
        TEN,
        &[
            // `2` has nothing longer: it commits at 0 ms.
            ("7:2", r#"7 m, ends two at m, writes ivr_selection=["2"] ivr_status=two"#),
            // `1`, then silence.
            (
                "0:1 600:2",
                r#"0 m; 500 one; 600 ends one-two at one, writes ivr_selection=["1","2"] ivr_status=one-two"#,
            ),
            // `1#` and `10`, at once.
            (
                "0:1 5:# 6:2",
                r#"0 m; 5 one; 6 ends one-two at one, writes ivr_selection=["1","2"] ivr_status=one-two"#,
            ),
            (
                "0:1 5:0 6:2",
                r#"0 m; 5 ten; 6 ends ten-two at ten, writes ivr_selection=["10","2"] ivr_status=ten-two"#,
            ),
            // `12`: `2` goes to the next node.
            (
                "0:1 5:2",
                r#"0 m; 5 one, ends one-two at one, writes ivr_selection=["1","2"] ivr_status=one-two"#,
            ),
        ],
    );
}

#[test]
fn a_trailing_end_key_is_dropped_once_and_in_time() {
    rows(
        TEN,
        &[
            // Within, and at, the committed node's interDigitMs, though the node that it finds has no end key.
            (
                "0:1 1:0 801:# 802:2",
                r##"0 m; 1 ten; 801 #: trailing_end_key; 802 ends ten-two at ten, writes ivr_selection=["10","2"] ivr_status=ten-two"##,
            ),
            (
                "0:1 1:0 802:# 803:!",
                "0 m; 1 ten; 802 #: invalid, ten 2 invalid; 803 ends hangup at ten by hangup",
            ),
            // The very next only: not the second, and not behind another digit.
            (
                "0:1 1:0 2:# 3:# 4:!",
                "0 m; 1 ten; 2 #: trailing_end_key; 3 #: invalid, ten 2 invalid; 4 ends hangup at ten by hangup",
            ),
            (
                "0:1 1:0 2:9 3:# 4:!",
                "0 m; 1 ten; 2 9: invalid, ten 2 invalid; 3 #: invalid, ten 3 invalid; 4 ends hangup at ten by hangup",
            ),
            // After a commit that a deadline made, too, counted from there. There it can begin `#4`.
            (
                "0:1 500:# 501:4",
                r##"0 m; 500 one; 501 ends hash at one, writes ivr_selection=["1","#4"] ivr_status=hash"##,
            ),
            // After a commit that the end key made, there is none.
            (
                "0:1 1:# 2:# 3:4",
                r##"0 m; 1 one; 3 ends hash at one, writes ivr_selection=["1","#4"] ivr_status=hash"##,
            ),
        ],
    );
    let plain = TEN.replace(r##", "#4": { "outcome": "hash" }"##, "");
    rows(
        &plain,
        &[
            (
                "0:1 1300:# 1301:2",
                r#"0 m; 500 one; 1300 #: trailing_end_key; 1301 ends one-two at one, writes ivr_selection=["1","2"] ivr_status=one-two"#,
            ),
            (
                "0:1 1301:# 1302:2",
                r#"0 m; 500 one; 1301 #: incomplete; 1302 ends one-two at one, writes ivr_selection=["1","2"] ivr_status=one-two"#,
            ),
            (
                "0:1 1:# 2:# 3:2",
                r#"0 m; 1 one; 2 #: incomplete; 3 ends one-two at one, writes ivr_selection=["1","2"] ivr_status=one-two"#,
            ),
            // It waits in the node, whatever deadlines pass there: a failed attempt does not end it.
            (
                "0:1 1:0 400:# 401:2",
                r##"0 m; 1 ten; 400 #: trailing_end_key; 401 ends ten-two at ten, writes ivr_selection=["10","2"] ivr_status=ten-two"##,
            ),
        ],
    );
    // Where the committed node has the key in a choice, it is no end key there, and none trails.
    let no_end_key = r##"{ "rootNode": "m", "defaults": { "endKey": "#", "noMatch": { "tries": 2 } }, "nodes": {
      "m": { "choices": { "1": "n", "5#": "n" } }, "n": { "endKey": "", "choices": { "2": { "outcome": "x" } } } } }"##;
    rows(
        no_end_key,
        &[
            (
                "0:1 1:# 2:2",
                r##"0 m, n; 1 #: invalid, n 2 invalid; 2 ends x at n, writes ivr_selection=["1","2"] ivr_status=x"##,
            ),
            ("0:5 1:# 2:2", r##"0 m; 1 n; 2 ends x at n, writes ivr_selection=["5#","2"] ivr_status=x"##),
        ],
    );
}

#[test]
fn digits_after_the_end_are_dropped_and_a_start_begins_anew() {
    rows(
        TEN,
        &[
            (
                "0:2 1:1 2:!",
                r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 1 dropped: late"#,
            ),
            (
                "0:2 1:start 2:2",
                r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 1 m; 2 ends two at m, writes ivr_selection=["2"] ivr_status=two"#,
            ),
            // 12 h after its last event.
            (
                "0:2 43199999:1",
                r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 43199999 dropped: late"#,
            ),
            (
                "0:2 43200000:2",
                r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 43200000 m, ends two at m, writes ivr_selection=["2"] ivr_status=two"#,
            ),
            (
                "0:2 43199999:1 86399998:1 86400000:!",
                r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 43199999 dropped: late; 86399998 dropped: late"#,
            ),
            // 10 min after its hang-up, be it in the walk or after its end.
            ("0:1 1:! 600000:2", "0 m; 1 ends hangup at m by hangup; 600000 dropped: late"),
            (
                "0:1 1:! 600001:2",
                r#"0 m; 1 ends hangup at m by hangup; 600001 m, ends two at m, writes ivr_selection=["2"] ivr_status=two"#,
            ),
            (
                "0:2 100:! 600099:2",
                r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 600099 dropped: late"#,
            ),
            (
                "0:2 100:! 600100:2",
                r#"0 m, ends two at m, writes ivr_selection=["2"] ivr_status=two; 600100 m, ends two at m, writes ivr_selection=["2"] ivr_status=two"#,
            ),
        ],
    );
    // A call that begins at an end: its key came after it.
    let closed = r#"{ "rootNode": "e", "nodes": { "e": { "outcome": "closed" } } }"#;
    rows(
        closed,
        &[("0:1", "0 e, ends closed at e, dropped: late, writes ivr_selection=[] ivr_status=closed")],
    );
}

#[test]
fn type_ahead_flows_into_the_node_that_it_finds_unless_guarded() {
    let tree = |guard_ms: u64| {
        format!(
            r##"{{ "rootNode": "a", "nodes": {{ "a": {{ "choices": {{ "1": "b" }} }}, "b": {{ "promptMs": 5000, "guardMs": {guard_ms}, "choices": {{ "1": "c" }} }},
              "c": {{ "promptMs": 5000, "collect": {{ "min": 2, "max": 2 }}, "outcome": "done" }} }} }}"##
        )
    };
    rows(
        &tree(0),
        &[(
            "0:1 0:1 0:4 0:5",
            r#"0 a, b, c, ends done at c, writes ivr_selection=["1","1","45"] ivr_status=done"#,
        )],
    );
    rows(
        &tree(250),
        &[(
            "0:1 0:1 0:4 250:1 250:4 250:5",
            r#"0 a, b, 1: guarded, 4: guarded; 250 c, ends done at c, writes ivr_selection=["1","1","45"] ivr_status=done"#,
        )],
    );
}

#[test]
fn a_mashed_key_is_one_failed_attempt_where_there_is_a_guard() {
    let tree = r##"{ "rootNode": "m", "nodes": { "m": { "guardMs": 600, "noMatch": { "tries": 3, "outcome": "wrong" }, "choices": { "1": { "outcome": "one" } } } } }"##;
    let one = r#"700 ends one at m, writes ivr_selection=["1"] ivr_status=one"#;
    rows(
        tree,
        &[(
            "0:9 100:9 200:9 700:1",
            &format!("0 m, 9: invalid, m 2 invalid; 100 9: guarded; 200 9: guarded; {one}"),
        )],
    );
    rows(
        &tree.replace("600", "0"),
        &[(
            "0:9 100:9 200:9",
            "0 m, 9: invalid, m 2 invalid; 100 9: invalid, m 3 invalid; 200 9: invalid, ends wrong at m by invalid, writes ivr_status=wrong",
        )],
    );
}

#[test]
fn a_partial_card_is_never_a_short_value() {
    let tree = |no_match: &str| {
        format!(
            r##"{{ "rootNode": "c", "nodes": {{ "c": {{ "firstDigitMs": 4000, "interDigitMs": 1000, "noMatch": {no_match}, "noInput": {{ "tries": 2, "outcome": "silent" }},
              "collect": {{ "min": 4, "max": 6 }}, "outcome": "card" }} }} }}"##
        )
    };
    rows(
        &tree(r#"{ "tries": 2, "outcome": "wrong" }"#),
        &[
            (
                "0:1 1:2 2:3",
                "0 c; 1002 c 2 incomplete; 5002 c 3 noinput; 9002 ends silent at c by noinput, writes ivr_status=silent",
            ),
            (
                "0:1 1:2 2:3 1500:9",
                "0 c; 1002 c 2 incomplete; 2500 ends wrong at c by incomplete, writes ivr_status=wrong",
            ),
            ("0:1 1:2 2:3 3:4", r#"0 c; 1003 ends card at c, writes ivr_selection=["1234"] ivr_status=card"#),
        ],
    );
    // Under `ignore` it counts as no-input.
    rows(
        &tree(r#""ignore""#),
        &[(
            "0:1 1:2 2:3",
            "0 c; 1002 c 2 noinput; 5002 ends silent at c by noinput, writes ivr_status=silent",
        )],
    );
}

#[test]
fn a_loop_for_ever_ends() {
    let tree = r##"{ "rootNode": "a", "limits": { "steps": 5, "callMs": 30000 }, "nodes": {
      "a": { "firstDigitMs": 2000, "noInput": { "nextNode": "b" }, "choices": { "1": { "outcome": "x" } } },
      "b": { "firstDigitMs": 7000, "noInput": { "nextNode": "@root" }, "choices": { "1": { "outcome": "x" } } } } }"##;
    rows(
        tree,
        &[(
            "0:start",
            "0 a; 2000 b 1 noinput; 9000 a 1 noinput; 11000 b 1 noinput; 18000 a 1 noinput; 20000 ends limit at a by limit, writes ivr_status=limit",
        )],
    );
    rows(
        &tree.replace("30000", "18000"),
        &[(
            "0:start",
            "0 a; 2000 b 1 noinput; 9000 a 1 noinput; 11000 b 1 noinput; 18000 ends limit at b by limit, writes ivr_status=limit",
        )],
    );
}

#[test]
fn a_start_in_the_midst_of_a_walk_changes_nothing() {
    rows(
        TEN,
        &[(
            "0:1 200:start 600:2",
            r#"0 m; 500 one; 600 ends one-two at one, writes ivr_selection=["1","2"] ivr_status=one-two"#,
        )],
    );
}
