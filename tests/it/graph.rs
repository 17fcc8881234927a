//! `dtmfd graph`, run as people run it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `dtmfd graph` in the folder of the repository.
fn graph(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dtmfd"))
        .arg("graph")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

/// Returns what it drew, which is all that it said.
#[track_caller]
fn drawn(arguments: &[&str]) -> String {
    let output = graph(arguments);
    assert_eq!("", String::from_utf8_lossy(&output.stderr), "{arguments:?}");
    assert_eq!(Some(0), output.status.code(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("it is UTF-8")
}

#[test]
fn draws_every_format_of_every_tree_in_the_repository() {
    for file in ["ivr.json", "tests/trees/seed.json"] {
        for (format, beginning, end) in [
            ("text", "main", "nodes)\n"),
            ("mermaid", "flowchart TD\n  start", "stroke-dasharray:5 4\n"),
            ("dot", "digraph ivr {\n", "}\n"),
            ("svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"", "</svg>\n"),
            ("json", "{\n  \"starts\": [", "}\n"),
        ] {
            let drawing = drawn(&[file, "--format", format]);
            let is_whole = drawing.starts_with(beginning) && drawing.ends_with(end);
            assert!(is_whole, "{file} as {format}: {drawing}");
            assert!(!drawing.contains('\u{1b}'), "colours without a terminal: {drawing}");
            assert_eq!(drawing, drawn(&[file, "--format", format]), "{file} as {format}, drawn again");
        }
    }
}

#[test]
fn draws_ivr_json_for_a_terminal_unless_told_otherwise() {
    assert_eq!(drawn(&["ivr.json", "--format", "text"]), drawn(&[]));
}

#[test]
fn json_and_svg_are_what_they_say() {
    let json: serde_json::Value = serde_json::from_str(&drawn(&["--format", "json"])).expect("it is JSON");
    assert_eq!(Some("main"), json["nodes"][0]["name"].as_str());
    let svg = drawn(&["--format", "svg"]);
    let svg = roxmltree::Document::parse(&svg).expect("it is XML");
    let title = svg.descendants().find(|node| node.has_tag_name("title")).and_then(|title| title.text());
    assert_eq!(Some("Call flow: Main menu"), title);
}

#[test]
fn an_invalid_tree_is_not_drawn_but_explained() {
    for format in ["text", "svg", "json"] {
        let output = graph(&["tests/trees/bad/missing-target.json", "--format", format]);
        assert_eq!((Some(1), 0), (output.status.code(), output.stdout.len()), "{format}");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains("missing-target.json:6:14"), "{words}");
        assert!(words.ends_with("can't be drawn before its errors are mended\n"), "{words}");
        assert!(!words.contains('\u{1b}'), "{words}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = graph(&["no/such/tree.json"]);
    assert_eq!((Some(78), 0), (output.status.code(), output.stdout.len()));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains(": cannot read no/such/tree.json: "), "{words}");
}

#[test]
fn a_format_that_there_is_not_is_a_usage_error() {
    assert_eq!(Some(2), graph(&["--format", "png"]).status.code());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dtmfd"))
        .args(["graph", "--format", "svg"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((Some(0), ""), (output.status.code(), &*String::from_utf8_lossy(&output.stderr)));
}
