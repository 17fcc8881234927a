//! Section 2: targets, the path and the back stack, steps, and what holds for the tree as a whole.

use crate::script::rows;

/// Four menus that can go everywhere. Every end tells the path.
const TARGETS: &str = r##"{
  "rootNode": "a",
  "defaults": { "noMatch": { "tries": 1, "nextNode": "b" } },
  "onEnd": { "set": { "k": "{keys}", "p": "{path}" } },
  "nodes": {
    "a": { "label": "A", "choices": { "1": { "label": "to b", "nextNode": "b" }, "2": "@back", "3": "@root", "4": "@again",
                        "5": { "label": "five", "outcome": "five" }, "6": "end", "7": "a" } },
    "b": { "label": "B", "choices": { "1": "c", "2": "@back", "3": "@root", "4": "@again", "5": { "label": "five", "outcome": "five" } } },
    "c": { "label": "C", "choices": { "1": "a", "2": "@back", "3": "@root", "4": "@again", "5": { "label": "five", "outcome": "five" } },
           "noMatch": { "tries": 2, "nextNode": "@back" }, "noInput": { "tries": 1, "nextNode": "@again" } },
    "end": { "outcome": "end" }
  }
}"##;

#[test]
fn targets_move_the_walk_the_path_and_the_back_stack() {
    rows(
        TARGETS,
        &[
            ("0:1 1:1 2:5", r#"0 a, b; 1 c; 2 ends five at c, writes k=["1","1","5"] p=to b > B > five"#),
            // `@back` takes the top and cuts the path to where it was before that move.
            ("0:1 1:2 2:5", r#"0 a, b; 1 a; 2 ends five at a, writes k=["5"] p=five"#),
            ("0:1 1:1 2:2 3:5", r#"0 a, b; 1 c; 2 b; 3 ends five at b, writes k=["1","5"] p=to b > five"#),
            ("0:1 1:1 2:2 3:2 4:5", r#"0 a, b; 1 c; 2 b; 3 a; 4 ends five at a, writes k=["5"] p=five"#),
            // With an empty stack it is `@again`.
            ("0:2 1:5", r#"0 a, a; 1 ends five at a, writes k=["5"] p=five"#),
            ("0:1 1:2 2:2 3:5", r#"0 a, b; 1 a; 2 a; 3 ends five at a, writes k=["5"] p=five"#),
            // What went back can't go forth: the stack has no memory of it.
            (
                "0:1 1:1 2:2 3:1 4:5",
                r#"0 a, b; 1 c; 2 b; 3 c; 4 ends five at c, writes k=["1","1","5"] p=to b > B > five"#,
            ),
            // `@root` empties both.
            ("0:1 1:1 2:3 3:5", r#"0 a, b; 1 c; 2 a; 3 ends five at a, writes k=["5"] p=five"#),
            ("0:1 1:1 2:3 3:2 4:5", r#"0 a, b; 1 c; 2 a; 3 a; 4 ends five at a, writes k=["5"] p=five"#),
            ("0:3 1:5", r#"0 a, a; 1 ends five at a, writes k=["5"] p=five"#),
            // `@again` adds nothing and leaves the stack.
            ("0:1 1:4 2:5", r#"0 a, b; 1 b; 2 ends five at b, writes k=["1","5"] p=to b > five"#),
            ("0:1 1:4 2:2 3:5", r#"0 a, b; 1 b; 2 a; 3 ends five at a, writes k=["5"] p=five"#),
            // A node that names itself is a named node: it adds, and is put on the stack.
            ("0:7 1:5", r#"0 a, a; 1 ends five at a, writes k=["7","5"] p=A > five"#),
            ("0:7 1:7 2:2 3:5", r#"0 a, a; 1 a; 2 a; 3 ends five at a, writes k=["7","5"] p=A > five"#),
            // An end is a node too, and the call's end stands in it.
            ("0:6", r#"0 a, end, ends end at end, writes k=["6"] p=A"#),
        ],
    );
}

#[test]
fn handlers_move_too_but_add_nothing_to_the_path() {
    rows(
        TARGETS,
        &[
            // To a named node: the node that it left is on the stack, with the path's length.
            ("0:9 1:5", r#"0 a, 9: invalid, b 1 invalid; 1 ends five at b, writes k=["5"] p=five"#),
            ("0:9 1:2 2:5", r#"0 a, 9: invalid, b 1 invalid; 1 a; 2 ends five at a, writes k=["5"] p=five"#),
            (
                "0:7 1:9 2:1 3:2 4:2 5:5",
                r#"0 a, a; 1 9: invalid, b 1 invalid; 2 c; 3 b; 4 a; 5 ends five at a, writes k=["7","5"] p=A > five"#,
            ),
            // `@back`, from a handler.
            (
                "0:1 1:1 2:9 3:9 4:5",
                r#"0 a, b; 1 c; 2 9: invalid, c 2 invalid; 3 9: invalid, b 1 invalid; 4 ends five at b, writes k=["1","5"] p=to b > five"#,
            ),
            // `@again`, from a handler: counters 0 and the deadline afresh; the path stays.
            (
                "0:1 1:1 2:9 10003:9 10004:5",
                r#"0 a, b; 1 c; 2 9: invalid, c 2 invalid; 10002 c 1 noinput; 10003 9: invalid, c 2 invalid;
                   10004 ends five at c, writes k=["1","1","5"] p=to b > B > five"#,
            ),
        ],
    );
    let root = TARGETS.replace(
        r#""noInput": { "tries": 1, "nextNode": "@again" }"#,
        r#""noInput": { "nextNode": "@root" }"#,
    );
    rows(
        &root,
        &[(
            "0:1 1:1 10002:2 10003:5",
            r#"0 a, b; 1 c; 10001 a 1 noinput; 10002 a; 10003 ends five at a, writes k=["5"] p=five"#,
        )],
    );
}

#[test]
fn again_takes_guard_and_deadline_afresh() {
    let tree = r##"{ "rootNode": "m", "nodes": { "m": { "guardMs": 100, "firstDigitMs": 2000, "noInput": { "tries": 2 },
      "choices": { "1": "@again", "2": { "outcome": "two" } } } } }"##;
    rows(
        tree,
        &[
            // The root's first entry has no guard; entered again it has.
            (
                "0:1 99:2 100:2",
                r#"0 m, m; 99 2: guarded; 100 ends two at m, writes ivr_selection=["2"] ivr_status=two"#,
            ),
            ("0:start 1:2", r#"0 m; 1 ends two at m, writes ivr_selection=["2"] ivr_status=two"#),
            // A failed attempt of the first entry is guarded as well.
            (
                "0:start 2099:2 2100:2",
                r#"0 m; 2000 m 2 noinput; 2099 2: guarded; 2100 ends two at m, writes ivr_selection=["2"] ivr_status=two"#,
            ),
            (
                "0:start 2100:1",
                "0 m; 2000 m 2 noinput; 2100 m; 4100 m 2 noinput; 6100 ends timeout_fallback at m by noinput, writes ivr_status=timeout_fallback",
            ),
        ],
    );
}

#[test]
fn variables_are_not_taken_back() {
    let tree = r##"{ "rootNode": "m", "nodes": {
      "m": { "set": { "m": "{elapsedMs}" }, "choices": { "1": { "nextNode": "n", "set": { "one": "{digits}" } }, "2": { "outcome": "x", "set": { "one": "2" } } } },
      "n": { "choices": { "1": "@back", "2": "@root" } } } }"##;
    rows(
        tree,
        &[
            (
                "0:1 5:1 9:2",
                r#"0 m, n; 5 m; 9 ends x at m, writes m=5 one=2 ivr_selection=["2"] ivr_status=x"#,
            ),
            ("0:1 5:2 15:!", "0 m, n; 5 m; 15 ends hangup at m by hangup"),
            (
                "0:1 5:2 10005:!",
                "0 m, n; 5 m; 10005 ends timeout_fallback at m by noinput, writes one=1 m=5 ivr_status=timeout_fallback",
            ),
        ],
    );
}

#[test]
fn each_entry_of_a_node_is_a_step() {
    let tree = |steps: u32| {
        format!(
            r##"{{ "rootNode": "a", "limits": {{ "steps": {steps} }}, "defaults": {{ "noMatch": {{ "tries": 9 }} }}, "nodes": {{
              "a": {{ "choices": {{ "1": {{ "nextNode": "b", "set": {{ "v": "taken" }} }}, "2": "@back", "3": "@root", "4": "@again", "5": "end", "6": {{ "outcome": "out" }} }} }},
              "b": {{ "set": {{ "b": "entered" }}, "choices": {{ "1": "a", "2": "@back", "6": {{ "outcome": "out" }} }} }},
              "end": {{ "outcome": "end", "set": {{ "end": "entered" }} }} }} }}"##
        )
    };
    // One step: only the root. Whatever would be the second ends the call before anything of it applies.
    let limit = "ends limit at a by limit, writes ivr_status=limit";
    rows(
        &tree(1),
        &[
            ("0:2", &format!("0 a, {limit}")),
            ("0:3", &format!("0 a, {limit}")),
            ("0:4", &format!("0 a, {limit}")),
            ("0:5", &format!("0 a, {limit}")),
            // The choice was taken; the node was not entered.
            ("0:1", "0 a, ends limit at a by limit, writes v=taken ivr_status=limit"),
            // An outcome is no node.
            ("0:6", r#"0 a, ends out at a, writes ivr_selection=["6"] ivr_status=out"#),
            // A new attempt is no step.
            (
                "0:9 1:9 2:6",
                r#"0 a, 9: invalid, a 2 invalid; 1 9: invalid, a 3 invalid; 2 ends out at a, writes ivr_selection=["6"] ivr_status=out"#,
            ),
        ],
    );
    rows(
        &tree(2),
        &[
            ("0:5", r#"0 a, end, ends end at end, writes end=entered ivr_selection=["5"] ivr_status=end"#),
            ("0:1 1:2", "0 a, b; 1 ends limit at b by limit, writes v=taken b=entered ivr_status=limit"),
            (
                "0:1 1:6",
                r#"0 a, b; 1 ends out at b, writes v=taken b=entered ivr_selection=["1","6"] ivr_status=out"#,
            ),
        ],
    );
}

#[test]
fn a_call_begins_where_its_number_says() {
    let tree = r##"{ "rootNode": "a", "entries": { "+49891234": "b", "+33": "end" }, "nodes": {
      "a": { "choices": { "1": { "outcome": "a1" }, "2": "b" } }, "b": { "guardMs": 50, "choices": { "1": { "outcome": "b1" }, "3": "a", "4": "@root" } },
      "end": { "outcome": "closed", "set": { "to": "{to}" } } } }"##;
    rows(
        tree,
        &[
            ("0:start,to=+49891234 1:1", r#"0 b; 1 ends b1 at b, writes ivr_selection=["1"] ivr_status=b1"#),
            ("0:start,to=+4989 1:1", r#"0 a; 1 ends a1 at a, writes ivr_selection=["1"] ivr_status=a1"#),
            ("0:start 1:1", r#"0 a; 1 ends a1 at a, writes ivr_selection=["1"] ivr_status=a1"#),
            // `@root` is where this call began.
            (
                "0:start,to=+49891234 1:3 2:2 52:4 102:1",
                r#"0 b; 1 a; 2 b; 52 b; 102 ends b1 at b, writes ivr_selection=["1"] ivr_status=b1"#,
            ),
            (
                "0:start,to=+33",
                r#"0 end, ends closed at end, writes to=+33 ivr_selection=[] ivr_status=closed"#,
            ),
        ],
    );
}

#[test]
fn global_keys_are_choices_of_every_menu_that_does_not_define_them() {
    let tree = r##"{ "rootNode": "a", "keys": { "0": { "outcome": "operator", "label": "Help" }, "*": "@back" },
      "onEnd": { "set": { "p": "{path}" } }, "nodes": {
      "a": { "choices": { "1": "own", "2": "without", "3": "card" } },
      "own": { "choices": { "0": { "outcome": "own" } } },
      "without": { "globalKeys": false, "choices": { "1": { "outcome": "x" } } },
      "card": { "collect": { "max": 2 }, "outcome": "card" } } }"##;
    rows(
        tree,
        &[
            ("0:0", "0 a, ends operator at a, writes p=Help"),
            ("0:1 1:0", "0 a, own; 1 ends own at own, writes p=a > own"),
            ("0:1 1:* 2:0", "0 a, own; 1 a; 2 ends operator at a, writes p=Help"),
            ("0:2 1:0 2:1", "0 a, without; 1 0: invalid; 2 ends x at without, writes p=a > without"),
            ("0:3 1:0 2:* 3:0", "0 a, card; 2 *: invalid; 3 ends card at card, writes p=a > card"),
        ],
    );
}

#[test]
fn a_node_s_own_value_replaces_the_default_whole() {
    let tree = r##"{ "rootNode": "a", "defaults": { "firstDigitMs": 2000, "guardMs": 50, "endKey": "#", "mask": true, "decideMs": 100, "maxMs": 150,
        "noInput": { "tries": 2, "outcome": "silent", "set": { "v": "default" } }, "noMatch": { "tries": 2, "outcome": "wrong" } }, "nodes": {
      "a": { "choices": { "1": "b", "2": "a", "3": { "outcome": "three" }, "33": { "outcome": "x" } } },
      "b": { "firstDigitMs": 3000, "guardMs": 0, "endKey": "", "mask": false, "noInput": { "tries": 1 }, "noMatch": "ignore", "decideMs": 0,
             "choices": { "3": { "outcome": "b3" }, "333": { "outcome": "never" } } } } }"##
        .replace(r#", "333": { "outcome": "never" }"#, "");
    rows(
        &tree,
        &[
            (
                "0:start",
                "0 a; 2000 a 2 noinput; 4000 ends silent at a by noinput, writes v=default ivr_status=silent",
            ),
            // A handler of its own has its own tries, target and set.
            ("0:1", "0 a, b; 3000 ends timeout_fallback at b by noinput, writes ivr_status=timeout_fallback"),
            (
                "0:1 0:9 0:3",
                r#"0 a, b, 9: invalid, ends b3 at b, writes ivr_selection=["[masked]","3"] ivr_status=b3"#,
            ),
            ("0:3", r#"0 a; 100 ends three at a, writes ivr_selection=["[masked]"] ivr_status=three"#),
            (
                "0:2 49:3 50:3 60:#",
                r#"0 a, a; 49 3: guarded; 60 ends three at a, writes ivr_selection=["[masked]","[masked]"] ivr_status=three"#,
            ),
        ],
    );
}

#[test]
fn deciding_at_once_takes_the_shortest_match() {
    let tree = r##"{ "rootNode": "m", "nodes": { "m": { "choices": { "1": "c" } },
      "c": { "decideMs": 0, "endKey": "#", "interDigitMs": 600, "collect": { "min": 3, "max": 9 }, "nextNode": "e" },
      "e": { "noMatch": { "tries": 2 }, "choices": { "4": { "outcome": "four" } } } } }"##;
    rows(
        tree,
        &[
            (
                "0:1 1:1 2:2 3:3 3:4",
                r#"0 m, c; 3 e, ends four at e, writes ivr_selection=["1","123","4"] ivr_status=four"#,
            ),
            // The end key behind it trails.
            (
                "0:1 1:1 2:2 3:3 603:# 604:4",
                r#"0 m, c; 3 e; 603 #: trailing_end_key; 604 ends four at e, writes ivr_selection=["1","123","4"] ivr_status=four"#,
            ),
        ],
    );
}
