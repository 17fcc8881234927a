//! Whole walks, line by line: what a caller hears, and what becomes of each key.

use crate::script::check;

/// The seed's tree, in the seed's format.
pub(super) const SEED: &str = include_str!("../../trees/seed.json");

/// Menus with everything that lets them wait, fail and go on.
const MENUS: &str = r##"{
  "rootNode": "main",
  "defaults": { "firstDigitMs": 8000, "interDigitMs": 3000, "endKey": "#",
                "noInput": { "tries": 2, "nextNode": "operator" },
                "noMatch": { "tries": 3, "nextNode": "operator" } },
  "nodes": {
    "main": { "label": "Main", "choices": {
      "1":  { "label": "Sales", "outcome": "sales" },
      "10": { "label": "Ten", "nextNode": "ten" },
      "2":  { "label": "Two", "nextNode": "two", "set": { "dept": "{label}" } },
      "4XX": { "label": "Extension", "outcome": "extension", "set": { "ext": "{digits}" } },
      "7": "@again", "8": "@back" } },
    "ten": { "choices": { "1": { "outcome": "ten-one" }, "9": "@root" } },
    "two": { "guardMs": 600, "choices": { "1": { "outcome": "two-one" }, "2": "ten", "8": "@back" } },
    "operator": { "outcome": "transfer", "set": { "queue": "operator", "why": "{reason}" } }
  }
}"##;

#[test]
fn the_seed_writes_selection_and_status_when_a_terminal_node_took_its_digit() {
    check(
        SEED,
        r#"
        0 key A 1
        0 -> A hears main_menu
        0 -> A hears department
        200 key A A
        200 -> A hears confirm
        400 key A 1
        400 -> A ends: completed at confirm
        400 -> A writes ivr_selection=["1","A","1"] ivr_status=completed
        "#,
    );
}

#[test]
fn the_seed_falls_back_after_ten_seconds_without_a_digit() {
    check(
        SEED,
        "
        0 key A 1
        0 -> A hears main_menu
        0 -> A hears department
        9999 key A A
        9999 -> A hears confirm
        19999 -> A ends: timeout_fallback at confirm by noinput
        19999 -> A writes ivr_status=timeout_fallback
        ",
    );
}

#[test]
fn an_invalid_digit_is_ignored_and_does_not_extend_the_deadline() {
    check(
        SEED,
        "
        0 key A 7
        0 -> A hears main_menu
        0 -> A 7: invalid
        9000 key A 9
        9000 -> A 9: invalid
        10000 -> A ends: timeout_fallback at main_menu by noinput
        10000 -> A writes ivr_status=timeout_fallback
        ",
    );
}

#[test]
fn a_digit_and_a_deadline_at_the_same_millisecond_are_the_deadline_first() {
    check(
        SEED,
        "
        0 key A 1
        0 -> A hears main_menu
        0 -> A hears department
        10000 key A A
        10000 -> A ends: timeout_fallback at department by noinput
        10000 -> A writes ivr_status=timeout_fallback
        10000 -> dropped: late
        ",
    );
}

#[test]
fn calls_do_not_mix_and_lower_case_keys_count() {
    check(
        SEED,
        r#"
        0 key A 1
        0 -> A hears main_menu
        0 -> A hears department
        1 key B 2
        1 -> B hears main_menu
        1 -> B hears department
        2 key A b
        2 -> A hears confirm
        3 key B A
        3 -> B hears confirm
        4 key B 1
        4 -> B ends: completed at confirm
        4 -> B writes ivr_selection=["2","A","1"] ivr_status=completed
        5 key A 1
        5 -> A ends: completed at confirm
        5 -> A writes ivr_selection=["1","B","1"] ivr_status=completed
        "#,
    );
}

#[test]
fn an_ended_call_stays_ended_until_it_starts_anew() {
    check(
        SEED,
        r#"
        0 key A 1
        0 -> A hears main_menu
        0 -> A hears department
        1 key A A
        1 -> A hears confirm
        2 key A 1
        2 -> A ends: completed at confirm
        2 -> A writes ivr_selection=["1","A","1"] ivr_status=completed
        3 key A 1
        3 -> dropped: late
        43200002 key A 1
        43200002 -> dropped: late
        86400001 key A 2
        86400001 -> dropped: late
        86400010 start A
        86400010 -> A hears main_menu
        86400011 end A
        86400011 -> A ends: hangup at main_menu by hangup
        86400012 key A 1
        86400012 -> dropped: late
        87000011 key A 1
        87000011 -> A hears main_menu
        87000011 -> A hears department
        87010011 -> A ends: timeout_fallback at department by noinput
        87010011 -> A writes ivr_status=timeout_fallback
        "#,
    );
}

#[test]
fn a_silent_caller_is_seen_if_the_stream_tells_that_the_call_began() {
    check(
        SEED,
        "
        0 start A interaction=i-77
        0 -> A hears main_menu
        10000 -> A ends: timeout_fallback at main_menu by noinput
        10000 -> i-77 writes ivr_status=timeout_fallback
        ",
    );
}

#[test]
fn a_shorter_choice_waits_for_the_longer_one_and_then_commits() {
    check(
        MENUS,
        r#"
        0 key A 1
        0 -> A hears main
        3000 -> A ends: sales at main
        3000 -> A writes ivr_selection=["1"] ivr_status=sales
        "#,
    );
}

#[test]
fn the_end_key_commits_at_once_and_is_not_stored() {
    check(
        MENUS,
        r##"
        0 key A 1
        0 -> A hears main
        500 key A #
        500 -> A ends: sales at main
        500 -> A writes ivr_selection=["1"] ivr_status=sales
        600 key A #
        600 -> dropped: late
        "##,
    );
}

#[test]
fn the_longer_choice_commits_at_once_when_nothing_extends_it() {
    check(
        MENUS,
        r#"
        0 key A 1
        0 -> A hears main
        900 key A 0
        900 -> A hears ten
        1000 key A 1
        1000 -> A ends: ten-one at ten
        1000 -> A writes ivr_selection=["10","1"] ivr_status=ten-one
        "#,
    );
}

#[test]
fn a_digit_that_cannot_extend_commits_what_stands_and_goes_on_to_the_next_node() {
    check(
        MENUS,
        r#"
        0 key A 1
        0 -> A hears main
        700 key A 2
        700 -> A 2: late
        700 -> A ends: sales at main
        700 -> A writes ivr_selection=["1"] ivr_status=sales
        "#,
    );
}

#[test]
fn an_end_key_behind_a_commit_that_it_did_not_make_is_dropped_once() {
    check(
        MENUS,
        r##"
        0 key A 1
        0 -> A hears main
        100 key A 0
        100 -> A hears ten
        3100 key A #
        3100 -> A #: trailing_end_key
        3200 key A #
        3200 -> A #: incomplete
        3200 -> A hears ten, attempt 2 after incomplete
        3300 key A 1
        3300 -> A ends: ten-one at ten
        3300 -> A writes ivr_selection=["10","1"] ivr_status=ten-one
        "##,
    );
    check(
        MENUS,
        r##"
        0 key A 1
        0 -> A hears main
        100 key A 0
        100 -> A hears ten
        3101 key A #
        3101 -> A #: incomplete
        3101 -> A hears ten, attempt 2 after incomplete
        3102 key A 1
        3102 -> A ends: ten-one at ten
        3102 -> A writes ivr_selection=["10","1"] ivr_status=ten-one
        "##,
    );
}

#[test]
fn a_pattern_takes_every_entry_that_it_matches_and_the_template_shows_it() {
    check(
        MENUS,
        r#"
        0 key A 4
        0 -> A hears main
        100 key A 1
        200 key A 7
        200 -> A ends: extension at main
        200 -> A writes ext=417 ivr_selection=["417"] ivr_status=extension
        "#,
    );
}

#[test]
fn an_incomplete_entry_is_never_taken_for_a_shorter_one() {
    check(
        MENUS,
        "
        0 key A 4
        0 -> A hears main
        100 key A 1
        3100 -> A hears main, attempt 2 after incomplete
        3200 key A 1
        3201 end A
        3201 -> A ends: hangup at main by hangup
        ",
    );
}

#[test]
fn silence_is_offered_again_and_then_goes_where_the_handler_leads() {
    check(
        MENUS,
        "
        0 start A
        0 -> A hears main
        8000 -> A hears main, attempt 2 after noinput
        16000 -> A hears operator, attempt 1 after noinput
        16000 -> A ends: transfer at operator by noinput
        16000 -> A writes queue=operator why=noinput ivr_status=transfer
        ",
    );
}

#[test]
fn three_mistakes_go_where_the_handler_leads() {
    check(
        MENUS,
        "
        0 key A 9
        0 -> A hears main
        0 -> A 9: invalid
        0 -> A hears main, attempt 2 after invalid
        100 key A 9
        100 -> A 9: invalid
        100 -> A hears main, attempt 3 after invalid
        200 key A 0
        200 -> A 0: invalid
        200 -> A hears operator, attempt 1 after invalid
        200 -> A ends: transfer at operator by invalid
        200 -> A writes queue=operator why=invalid ivr_status=transfer
        ",
    );
}

#[test]
fn a_guard_drops_what_comes_too_soon_after_a_node_was_entered_or_failed() {
    check(
        MENUS,
        r#"
        0 key A 2
        0 -> A hears main
        0 -> A hears two
        599 key A 1
        599 -> A 1: guarded
        600 key A 9
        600 -> A 9: invalid
        600 -> A hears two, attempt 2 after invalid
        1199 key A 1
        1199 -> A 1: guarded
        1200 key A 1
        1200 -> A ends: two-one at two
        1200 -> A writes dept=Two ivr_selection=["2","1"] ivr_status=two-one
        "#,
    );
}

#[test]
fn back_takes_the_path_back_but_not_the_variables() {
    check(
        MENUS,
        r##"
        0 key A 2
        0 -> A hears main
        0 -> A hears two
        700 key A 8
        700 -> A hears main
        800 key A 1
        900 key A 0
        900 -> A hears ten
        1000 key A 1
        1000 -> A ends: ten-one at ten
        1000 -> A writes dept=Two ivr_selection=["10","1"] ivr_status=ten-one
        "##,
    );
}

#[test]
fn root_empties_the_path_and_back_with_nothing_behind_it_is_again() {
    check(
        MENUS,
        r##"
        0 key A 1
        0 -> A hears main
        100 key A 0
        100 -> A hears ten
        200 key A 9
        200 -> A hears main
        300 key A 8
        300 -> A hears main
        400 key A 7
        400 -> A hears main
        500 key A 1
        600 key A #
        600 -> A ends: sales at main
        600 -> A writes ivr_selection=["1"] ivr_status=sales
        "##,
    );
}

#[test]
fn a_walk_that_goes_round_for_ever_ends_with_limit_where_it_stood() {
    let round = r#"{ "rootNode": "a", "limits": { "steps": 4 },
      "nodes": { "a": { "choices": { "1": "b" } }, "b": { "choices": { "1": "a" } } } }"#;
    check(
        round,
        "
        0 key A 1
        0 -> A hears a
        0 -> A hears b
        1 key A 1
        1 -> A hears a
        2 key A 1
        2 -> A hears b
        3 key A 1
        3 -> A ends: limit at b by limit
        3 -> A writes ivr_status=limit
        ",
    );
}

#[test]
fn the_longest_call_ends_with_limit_even_where_another_deadline_is_due_then() {
    let slow = r#"{ "rootNode": "a", "limits": { "callMs": 5000 },
      "nodes": { "a": { "firstDigitMs": 5000, "choices": { "1": { "outcome": "one" } } } } }"#;
    check(
        slow,
        "
        0 start A
        0 -> A hears a
        5000 -> A ends: limit at a by limit
        5000 -> A writes ivr_status=limit
        ",
    );
    let patient = r#"{ "rootNode": "a", "limits": { "callMs": 60000 },
      "nodes": { "a": { "firstDigitMs": 0, "choices": { "1": { "outcome": "one" } } } } }"#;
    check(
        patient,
        "
        7 start A
        7 -> A hears a
        60007 -> A ends: limit at a by limit
        60007 -> A writes ivr_status=limit
        ",
    );
}

#[test]
fn on_end_writes_what_it_says_for_every_end_but_a_hang_up() {
    let told = r#"{ "rootNode": "a",
      "onEnd": { "set": { "s": "{outcome}/{reason}/{node}/{label}", "k": "{keys}", "p": "{path}", "id": "{callId}", "f": "{from}{to}", "e": "{elapsedMs}" } },
      "nodes": { "a": { "label": "First", "choices": { "1": { "label": "One", "nextNode": "b" } } },
                 "b": { "choices": { "2": { "label": "Two", "outcome": "done" } } } } }"#;
    check(
        told,
        r#"
        0 start A from=+49 to=+33
        0 -> A hears a
        5 key A 1
        5 -> A hears b
        30 key A 2
        30 -> A ends: done at b
        30 -> A writes s=done//b/Two k=["1","2"] p=One > Two id=A f=+49+33 e=30
        31 start B
        31 -> B hears a
        10031 -> B ends: timeout_fallback at a by noinput
        10031 -> B writes s=timeout_fallback/noinput/a/First k=[] p= id=B f= e=10000
        10032 start C
        10032 -> C hears a
        10033 end C
        10033 -> C ends: hangup at a by hangup
        "#,
    );
    check(
        &told.replace("\"onEnd\": {", "\"onEnd\": { \"hangup\": true,"),
        "
        0 start C
        0 -> C hears a
        1 end C
        1 -> C ends: hangup at a by hangup
        1 -> C writes s=hangup/hangup/a/First k=[] p= id=C f= e=1
        ",
    );
}

#[test]
fn a_replay_or_a_bounce_counts_once_and_an_older_event_counts() {
    check(
        SEED,
        r#"
        0 key A 1 @1700000000000
        0 -> A hears main_menu
        0 -> A hears department
        1 key A 1 @1700000000000
        1 -> A 1: duplicate
        2 key A A @1700000000500
        2 -> A hears confirm
        3 key A A @1700000000579
        3 -> A A: duplicate
        4 key A A @1700000000421
        4 -> A A: duplicate
        5 key A A @1700000000580
        5 -> A A: invalid
        6 key A 1 @1700000000000
        6 -> A 1: duplicate
        7 key A 1 @1700000000300
        7 -> A ends: completed at confirm
        7 -> A writes ivr_selection=["1","A","1"] ivr_status=completed
        "#,
    );
}

#[test]
fn without_a_timestamp_nothing_is_a_duplicate() {
    let twice = r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "11": { "outcome": "twice" } } } } }"#;
    check(
        twice,
        r#"
        0 key A 1
        0 -> A hears a
        0 key A 1
        0 -> A ends: twice at a
        0 -> A writes ivr_selection=["11"] ivr_status=twice
        "#,
    );
}

#[test]
fn a_simulated_call_gives_way_to_the_stream_and_may_begin_anew_two_seconds_after_its_end() {
    check(
        SEED,
        r#"
        0 sim A 1
        0 -> A hears main_menu
        0 -> A hears department
        10 key A 2
        10 -> A is discarded
        10 -> A hears main_menu
        10 -> A hears department
        20 sim A A
        20 -> answers OfTheStream
        30 live A A
        30 -> A hears confirm
        40 end A
        40 -> A ends: hangup at confirm by hangup
        50 sim A 1
        50 -> answers OfTheStream
        60 sim B 1
        60 -> B hears main_menu
        60 -> B hears department
        61 sim B A
        61 -> B hears confirm
        62 sim B 1
        62 -> B ends: completed at confirm
        62 -> B writes ivr_selection=["1","A","1"] ivr_status=completed
        2061 sim B 1
        2061 -> dropped: late
        2062 dry B 1
        2062 -> B hears main_menu
        2062 -> B hears department
        12062 -> B ends: timeout_fallback at department by noinput
        "#,
    );
}
