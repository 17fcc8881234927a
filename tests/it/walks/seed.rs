//! Section 7: the seed's own format, and the two differences.

use super::whole::SEED;
use crate::script::rows;

#[test]
fn the_seed_s_tree_walks_as_the_seed_did() {
    rows(
        SEED,
        &[
            (
                "0:1 9999:A 19998:1",
                r#"0 main_menu, department; 9999 confirm; 19998 ends completed at confirm, writes ivr_selection=["1","A","1"] ivr_status=completed"#,
            ),
            // 10 s a digit, and the first silence ends it.
            (
                "0:start",
                "0 main_menu; 10000 ends timeout_fallback at main_menu by noinput, writes ivr_status=timeout_fallback",
            ),
            (
                "0:1",
                "0 main_menu, department; 10000 ends timeout_fallback at department by noinput, writes ivr_status=timeout_fallback",
            ),
            // Invalid digits are ignored, # too, and do not extend the deadline.
            (
                "0:1 9999:# 10001:A",
                "0 main_menu, department; 9999 #: invalid; 10000 ends timeout_fallback at department by noinput, writes ivr_status=timeout_fallback; 10001 dropped: late",
            ),
            // An ended call stays ended.
            (
                "0:1 1:A 2:1 3:1 4:A",
                r#"0 main_menu, department; 1 confirm; 2 ends completed at confirm, writes ivr_selection=["1","A","1"] ivr_status=completed; 3 dropped: late; 4 dropped: late"#,
            ),
        ],
    );
}

#[test]
fn keys_are_read_in_any_case_and_a_terminal_node_takes_a_digit_if_it_has_some() {
    let tree = r##"{ "RootNode": "a", "Nodes": {
      "a": { "AllowedDigits": ["1", "2"], "NextNode": "b" },
      "b": { "alloweddigits": ["1", "#"], "nextnode": "", "ISTERMINAL": true } } }"##;
    rows(
        tree,
        &[
            (
                "0:1 1:1",
                r#"0 a, b; 1 ends completed at b, writes ivr_selection=["1","1"] ivr_status=completed"#,
            ),
            (
                "0:2 1:#",
                r##"0 a, b; 1 ends completed at b, writes ivr_selection=["2","#"] ivr_status=completed"##,
            ),
            (
                "0:2 1:3 10001:1",
                "0 a, b; 1 3: invalid; 10000 ends timeout_fallback at b by noinput, writes ivr_status=timeout_fallback; 10001 dropped: late",
            ),
        ],
    );
    // Alone it is an end.
    let alone = r#"{ "rootNode": "a", "nodes": { "a": { "allowedDigits": ["1"], "nextNode": "b" }, "b": { "isTerminal": true, "nextNode": "" } } }"#;
    rows(
        alone,
        &[("0:1", r#"0 a, b, ends completed at b, writes ivr_selection=["1"] ivr_status=completed"#)],
    );
}
