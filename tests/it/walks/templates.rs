//! Section 2: what `set` writes when, the templates, the masks, and what an end writes.

use crate::script::rows;

#[test]
fn each_set_is_expanded_at_its_moment() {
    let tree = r##"{ "rootNode": "m", "defaults": { "endKey": "#" }, "nodes": {
      "m": { "label": "Main", "set": { "enter": "{node}/{label}/{digits}/{attempt}/{elapsedMs}" },
             "choices": { "1": { "label": "Card", "nextNode": "card", "set": { "choice": "{node}/{label}/{digits}/{reason}/{elapsedMs}/{pin}" } },
                          "2": "card", "3": { "outcome": "out", "set": { "choice": "{outcome}" } } } },
      "card": { "set": { "entry": "{node}/{label}/{digits}/{pin}" }, "collect": { "max": 2, "as": "pin", "cancelKey": "*" }, "nextNode": "end" },
      "end": { "label": "The end", "outcome": "done", "set": { "end": "{node}/{label}/{digits}/{outcome}/{keys}/{elapsedMs}" } } } }"##;
    rows(
        tree,
        &[
            // A menu's when the walk enters it; a choice's when it is taken; an end's when it is entered;
            // an entry's not when it is entered, but when a good one was given.
            (
                "10:1 20:4 30:5",
                r#"10 m, card; 30 end, ends done at end, writes enter=m/Main//1/0 choice=m/Card/1//0/ entry=card/card/45/45
                   end=end/The end/45/done/["1","45"]/20 ivr_selection=["1","45"] ivr_status=done"#,
            ),
            // A choice without a label of its own shows the node's.
            ("10:2 20:!", "10 m, card; 20 ends hangup at card by hangup"),
            (
                "10:2 20:4 21:*  22:* 9999:3",
                r#"10 m, card; 22 m; 9999 ends out at m, writes enter=m/Main/2/1/12 choice=out ivr_selection=["3"] ivr_status=out"#,
            ),
            (
                "10:3",
                r#"10 m, ends out at m, writes enter=m/Main//1/0 choice=out ivr_selection=["3"] ivr_status=out"#,
            ),
        ],
    );
}

#[test]
fn every_name_expands_to_what_it_stands_for() {
    let tree = r##"{ "rootNode": "m", "onEnd": { "hangup": true, "set": { "what": "{outcome}/{reason}/{attempt}/{node}", "who": "{callId}/{interaction}/{from}/{to}",
        "last": "{digits} {label}", "way": "{keys}:{path}", "braces": "{{x}} {{{node}}}" } }, "nodes": {
      "m": { "label": "Main", "noInput": { "tries": 2, "set": { "h": "{reason} {attempt} {label}" } }, "noMatch": { "tries": 2, "set": { "h": "{reason} {attempt}" } },
             "choices": { "1": { "outcome": "one", "label": "One" }, "23": { "outcome": "x" } } } } }"##;
    let rest = "braces={x} {m}";
    for (events, expected) in [
        (
            "5:start,interaction=i-1,from=+49,to=+33 6:1",
            r#"5 m; 6 ends one at m, i-1 writes what=one//1/m who=A/i-1/+49/+33 last=1 One way=["1"]:One"#,
        ),
        ("5:1", r#"5 m, ends one at m, writes what=one//1/m who=A/A// last=1 One way=["1"]:One"#),
        // The reasons: a handler's, of its kind; the walk's end has it too. Two attempts failed.
        (
            "0:start",
            "0 m; 10000 m 2 noinput; 20000 ends timeout_fallback at m by noinput, writes h=noinput 3 Main what=timeout_fallback/noinput/3/m who=A/A// last= Main way=[]:",
        ),
        (
            "0:9 1:9",
            "0 m, 9: invalid, m 2 invalid; 1 9: invalid, ends nomatch at m by invalid, writes h=invalid 3 what=nomatch/invalid/3/m who=A/A// last= Main way=[]:",
        ),
        (
            "0:2 4000:2 7000:!",
            "0 m; 3000 m 2 incomplete; 7000 ends nomatch at m by incomplete, writes h=incomplete 3 what=nomatch/incomplete/3/m who=A/A// last= Main way=[]:",
        ),
        (
            "0:9 3:!",
            "0 m, 9: invalid, m 2 invalid; 3 ends hangup at m by hangup, writes what=hangup/hangup/2/m who=A/A// last= Main way=[]:",
        ),
    ] {
        rows(tree, &[(events, &format!("{expected} {rest}"))]);
    }
}

#[test]
fn the_last_commit_stays_what_it_was_when_the_path_is_cut() {
    let tree = r##"{ "rootNode": "m", "limits": { "callMs": 5000 }, "onEnd": { "set": { "last": "{digits}/{label}/{keys}" } }, "nodes": {
      "m": { "choices": { "1": { "nextNode": "n", "label": "One" } } }, "n": { "choices": { "2": { "nextNode": "@back", "label": "Back" } } } } }"##;
    rows(tree, &[("0:1 1:2", "0 m, n; 1 m; 5000 ends limit at m by limit, writes last=2/Back/[]")]);
}

#[test]
fn a_named_entry_is_empty_until_given_and_the_later_one_wins() {
    let tree = r##"{ "rootNode": "m", "nodes": {
      "m": { "choices": { "1": "a", "2": "b", "3": { "outcome": "x", "set": { "v": "{n}|{b}" } } } },
      "a": { "collect": { "max": 1, "as": "n" }, "nextNode": "m" },
      "b": { "collect": { "max": 1 }, "nextNode": "m" } } }"##;
    rows(
        tree,
        &[
            ("0:3", r#"0 m, ends x at m, writes v=| ivr_selection=["3"] ivr_status=x"#),
            (
                "0:1 1:7 2:3",
                r#"0 m, a; 1 m; 2 ends x at m, writes v=7| ivr_selection=["1","7","3"] ivr_status=x"#,
            ),
            (
                "0:2 1:8 2:3",
                r#"0 m, b; 1 m; 2 ends x at m, writes v=|8 ivr_selection=["2","8","3"] ivr_status=x"#,
            ),
            (
                "0:1 1:7 2:1 3:9 4:3",
                r#"0 m, a; 1 m; 2 a; 3 m; 4 ends x at m, writes v=9| ivr_selection=["1","7","1","9","3"] ivr_status=x"#,
            ),
        ],
    );
}

#[test]
fn of_two_writes_to_a_name_the_later_wins() {
    let tree = r##"{ "rootNode": "m", "onEnd": { "set": { "ivr_status": "end" } }, "nodes": {
      "m": { "set": { "v": "enter", "w": "1" }, "choices": { "1": { "nextNode": "e", "set": { "v": "choice", "ivr_status": "early" } } } },
      "e": { "outcome": "x", "set": { "v": "end" } } } }"##;
    rows(tree, &[("0:1", "0 m, e, ends x at e, writes w=1 v=end ivr_status=end")]);
}

#[test]
fn a_masked_entry_is_shown_masked_everywhere_but_raw() {
    let tree = |mask: &str| {
        format!(
            r##"{{ "rootNode": "c", "defaults": {{ "endKey": "#" }}, "onEnd": {{ "set": {{ "k": "{{keys}}", "d": "{{digits}}", "n": "{{pin}}", "raw": "{{pin!raw}}" }} }}, "nodes": {{
              "c": {{ "mask": {mask}, "set": {{ "own": "{{digits}}" }}, "collect": {{ "min": 0, "as": "pin" }}, "outcome": "x" }} }} }}"##
        )
    };
    for (mask, entry, shown) in [
        ("false", "123456", "123456"),
        ("true", "123456", "[masked]"),
        ("2", "123456", "…56"),
        ("2", "12345", "[masked]"),
        ("1", "123", "…3"),
        ("1", "12", "[masked]"),
        ("4", "", "[masked]"),
    ] {
        let mut events = "0:start".to_owned();
        for (index, key) in entry.chars().enumerate() {
            events.push_str(&format!(" {}:{key}", index + 1));
        }
        events.push_str(" 9:#");
        let expected = format!(
            r#"0 c; 9 ends x at c, writes own={shown} k=["{shown}"] d={shown} n={shown} raw={entry}"#
        );
        rows(&tree(mask), &[(&events, &expected)]);
    }
    // A menu's entries are masked as well.
    let menu = r##"{ "rootNode": "m", "nodes": { "m": { "mask": true, "choices": { "1": { "outcome": "x", "set": { "v": "{digits}" } } } } } }"##;
    rows(menu, &[("0:1", r#"0 m, ends x at m, writes v=[masked] ivr_selection=["[masked]"] ivr_status=x"#)]);
}

/// A tree that writes something everywhere before its end.
const ENDS: &str = r##"{ "rootNode": "m", "limits": { "callMs": 9000, "steps": 3 }, "nodes": {
      "m": { "set": { "v": "1" }, "firstDigitMs": 2000, "noInput": { "nextNode": "silent" }, "noMatch": { "tries": 1 },
             "choices": { "1": { "outcome": "one" }, "2": "end", "3": "slow", "4": "@again" } },
      "slow": { "firstDigitMs": 0, "choices": { "1": "@back" } },
      "silent": { "outcome": "silence" }, "end": { "outcome": "end" } } }"##;

#[test]
fn without_on_end_a_commit_writes_two_and_a_handler_or_a_limit_one() {
    rows(
        ENDS,
        &[
            ("0:1", r#"0 m, ends one at m, writes v=1 ivr_selection=["1"] ivr_status=one"#),
            ("0:2", r#"0 m, end, ends end at end, writes v=1 ivr_selection=["2"] ivr_status=end"#),
            (
                "0:start",
                "0 m; 2000 silent 1 noinput, ends silence at silent by noinput, writes v=1 ivr_status=silence",
            ),
            ("0:9", "0 m, 9: invalid, ends nomatch at m by invalid, writes v=1 ivr_status=nomatch"),
            ("0:3", "0 m, slow; 9000 ends limit at slow by limit, writes v=1 ivr_status=limit"),
            ("0:4 1:4 2:4", "0 m, m; 1 m; 2 ends limit at m by limit, writes v=1 ivr_status=limit"),
            // Nothing at a hang-up, whatever was set.
            ("0:start 1:!", "0 m; 1 ends hangup at m by hangup"),
        ],
    );
}

#[test]
fn with_on_end_its_set_holds_for_every_end_but_a_hang_up() {
    let told = |hangup: bool| {
        ENDS.replace(
            r#""limits""#,
            &format!(r#""onEnd": {{ "set": {{ "s": "{{outcome}}" }}, "hangup": {hangup} }}, "limits""#),
        )
    };
    let ends = [
        ("0:1", "0 m, ends one at m, writes v=1 s=one"),
        ("0:2", "0 m, end, ends end at end, writes v=1 s=end"),
        ("0:start", "0 m; 2000 silent 1 noinput, ends silence at silent by noinput, writes v=1 s=silence"),
        ("0:3", "0 m, slow; 9000 ends limit at slow by limit, writes v=1 s=limit"),
    ];
    rows(&told(false), &ends);
    rows(&told(false), &[("0:start 1:!", "0 m; 1 ends hangup at m by hangup")]);
    rows(&told(true), &ends);
    rows(&told(true), &[("0:start 1:!", "0 m; 1 ends hangup at m by hangup, writes v=1 s=hangup")]);
}
