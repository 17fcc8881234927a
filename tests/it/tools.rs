//! The tools of those who write trees, run as they run them: check, test and schema.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output};

use dtmfd::sandbox::{Faults, StandIn};
use serde_json::{Value, json};

use crate::program::{BINARY, Scratch, dtmfd, output, root};

/// Runs dtmfd; returns the exit code, what went to standard output, and what to standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    run_command(dtmfd(arguments))
}

fn run_command(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn last(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

/// A tree with a warning (`b` can't be reached), and more at its top level.
fn warned(more: &str) -> String {
    format!(
        "{{\n  \"rootNode\": \"a\",\n  \"nodes\": {{\n    \"a\": {{ \"outcome\": \"x\" }},\n    \
         \"b\": {{ \"outcome\": \"y\" }}\n  }}{more}\n}}\n"
    )
}

const FAILING: &str = r#",
  "tests": [
    { "name": "right", "press": "", "outcome": "x" },
    { "name": "wrong <&>", "press": "1", "outcome": "z", "set": { "ivr_status": "z" } }
  ]"#;

#[test]
fn check_says_how_a_tree_stands_in_its_last_line_and_its_exit_code() {
    let folder = Scratch::new("check");
    let (warned, failing) =
        (folder.write("warned.json", &warned("")), folder.write("f.json", &warned(FAILING)));
    let binary = folder.write("binary.json", "\u{0}\u{1}");
    for (arguments, code, verdict) in [
        (&["../ivr.json"][..], 0, "../ivr.json: ok, 7 nodes, 10 tests passed".to_owned()),
        (&["trees/seed.json"], 0, "trees/seed.json: ok, 3 nodes, no tests, 1 warning".to_owned()),
        (&[&warned], 0, format!("{warned}: ok, 2 nodes, no tests, 1 warning")),
        (&[&warned, "--deny-warnings"], 1, format!("{warned}: 1 warning, which --deny-warnings denies")),
        (&[&failing], 1, format!("{failing}: 1 error, 1 warning")),
        (&[&binary], 1, format!("{binary}: 1 error")),
        (&[&warned, "--format", "github"], 0, format!("{warned}: ok, 2 nodes, no tests, 1 warning")),
    ] {
        let (actual, stdout, stderr) = run(&[&["check"], arguments].concat());
        assert_eq!(
            (Some(code), verdict.as_str(), ""),
            (actual, last(&stdout), stderr.as_str()),
            "{arguments:?}"
        );
    }
    // Here there is no ivr.json.
    for arguments in [&["check"][..], &["test"], &["check", "trees"], &["check", "no/such.json"]] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((Some(78), ""), (code, stdout.as_str()), "{arguments:?}");
        assert!(stderr.starts_with("dtmfd: there is no tree to look at"), "{stderr}");
    }
    for arguments in
        [&["check", "--format", "xml"][..], &["check", "a", "b"], &["check", "--json", "--format", "human"]]
    {
        assert_eq!(Some(2), run(arguments).0, "{arguments:?}");
    }
}

#[test]
fn check_reads_the_tree_in_the_working_directory() {
    let mut command = dtmfd(&["check"]);
    command.current_dir(root("."));
    assert_eq!((Some(0), "ivr.json: ok, 7 nodes, 10 tests passed\n".to_owned()), output(command));
}

#[test]
fn check_shows_all_findings_in_each_format() {
    let folder = Scratch::new("formats");
    let more = "\n,\"onEnd\": { \"set\": { \"pan\": \"{card!raw}\" } }, \"keys\": { \"0\": \"nowhere\" }";
    let text = warned(more).replace(
        "\"b\": { \"outcome\"",
        "\"b\": { \"collect\": { \"as\": \"card\", \"min\": 9, \"max\": 3 }, \"outcome\"",
    );
    let tree = folder.write("t.json", &text);

    let (code, stdout, _) = run(&["check", &tree]);
    assert_eq!(Some(1), code);
    for shown in [
        "error[min-over-max]: `min` is 9 and `max` is 3\n",
        &format!(" --> {tree}:5:46\n"),
        "error[missing-target]: no node is named `nowhere`\n",
        "note[raw-value]: the value of `card!raw` leaves in clear\n",
        &format!(" --> {tree}:7:31\n"),
        "  = help: ",
    ] {
        assert!(stdout.contains(shown), "{shown:?} is not in\n{stdout}");
    }
    assert_eq!(format!("{tree}: 2 errors, 1 note"), last(&stdout));

    let (code, stdout, stderr) = run(&["check", "--format", "json", &tree]);
    let found: Value = serde_json::from_str(&stdout).expect("standard output is JSON and nothing else");
    assert_eq!((Some(1), &json!(2), &json!(0)), (code, &found["errors"], &found["warnings"]));
    let codes: Vec<_> =
        found["findings"].as_array().expect("a list").iter().map(|f| f["code"].as_str()).collect();
    assert_eq!(vec![Some("min-over-max"), Some("raw-value"), Some("missing-target")], codes);
    assert_eq!((&json!(5), &json!(46)), (&found["findings"][0]["line"], &found["findings"][0]["column"]));
    assert_eq!(format!("{tree}: 2 errors, 1 note\n"), stderr);
    assert_eq!(stdout, run(&["check", "--json", &tree]).1);

    let (code, stdout, _) = run(&["check", "--format", "github", &tree]);
    assert_eq!(Some(1), code);
    let line = format!("::error file={tree},line=5,col=46,title=min-over-max::");
    assert!(stdout.starts_with(&line), "{stdout}");
    assert!(stdout.contains(&format!("\n::notice file={tree},line=7,col=31,title=raw-value::")), "{stdout}");
}

/// Runs a command on a terminal of its own, and returns what that shows; nothing where there is no Python.
fn on_a_terminal(arguments: &[&str], variable: Option<(&str, &str)>) -> Option<String> {
    let program = "import pty, sys; pty.spawn(sys.argv[1:])";
    let mut command = Command::new("python3");
    command.args(["-c", program, BINARY]).args(arguments).current_dir(root("tests"));
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(variable);
    match command.output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(_) => {
            // Loudly: a test that did not run must not look like one that passed.
            let _ = writeln!(std::io::stderr(), "SKIPPED colours: a terminal needs python3");
            None
        }
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let arguments = ["check", "trees/bad/missing-root.json"];
    assert!(!run(&arguments).1.contains('\u{1b}'));
    let Some(colored) = on_a_terminal(&arguments, None) else { return };
    assert!(colored.contains("\u{1b}[") && colored.contains("mian"), "{colored:?}");
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(&arguments, Some(variable)).expect("it ran before");
        assert!(!plain.contains('\u{1b}') && plain.contains("mian"), "{variable:?}: {plain:?}");
    }
    let set_and_empty = on_a_terminal(&arguments, Some(("NO_COLOR", ""))).expect("it ran before");
    assert!(set_and_empty.contains('\u{1b}'), "{set_and_empty:?}");
}

#[test]
fn test_tells_what_was_expected_what_came_out_and_the_walk() {
    let (code, stdout, stderr) = run(&["test", "../ivr.json"]);
    assert_eq!((Some(0), "10 passed, 0 failed", ""), (code, last(&stdout), stderr.as_str()), "{stdout}");
    assert_eq!(11, stdout.lines().count(), "{stdout}");

    let (code, stdout, _) = run(&["test", "trees/bad/failing-test.json"]);
    assert_eq!(Some(1), code);
    assert_eq!(
        "FAILED  two is billing\n    the outcome is `sales`\n    expected `billing`\n    the walk:\n         \
         0 ms  enters main\n         0 ms  presses 1: accepted\n         0 ms  ends at main with sales\n    \
         written: ivr_selection = [\"1\"]\n    written: ivr_status = sales\nok      one is sales: sales after 0 \
         ms\n1 passed, 1 failed\n",
        stdout
    );

    let (code, stdout, _) = run(&["test", "trees/seed.json"]);
    assert_eq!(Some(0), code);
    assert!(last(&stdout).starts_with("trees/seed.json has no tests"), "{stdout}");
    let (code, stdout, stderr) = run(&["test", "trees/bad/missing-root.json"]);
    assert_eq!((Some(1), ""), (code, stdout.as_str()));
    assert!(stderr.contains("error[missing-root]: no node is named `mian`\n"), "{stderr}");
    assert!(last(&stderr).ends_with("no test was run, because the tree can't be walked"), "{stderr}");
}

#[test]
fn test_gives_scripts_and_ci_the_same() {
    let folder = Scratch::new("test-formats");
    let tree = folder.write("t.json", &warned(FAILING));
    let xml = folder.write("junit.xml", "");
    let (code, stdout, stderr) = run(&["test", "--json", "--junit", &xml, &tree]);
    assert_eq!((Some(1), "1 passed, 1 failed\n"), (code, stderr.as_str()));
    let found: Value = serde_json::from_str(&stdout).expect("standard output is JSON and nothing else");
    let tests = found["tests"].as_array().expect("a list");
    let [right, wrong] = &tests[..] else { panic!("{stdout}") };
    assert_eq!((&json!("right"), &json!(true)), (&right["name"], &right["passed"]));
    assert_eq!((&json!("wrong <&>"), &json!(false)), (&wrong["name"], &wrong["passed"]));
    assert_eq!(
        (&json!("x"), &json!("a"), &json!(0), &json!({"ivr_selection": "[]", "ivr_status": "x"})),
        (&wrong["outcome"], &wrong["at"], &wrong["endedMs"], &wrong["set"])
    );
    assert_eq!(json!("end"), wrong["walk"][1]["event"]);

    let text = fs::read_to_string(&xml).expect("it was written");
    assert!(text.contains("<testsuite name=") && text.contains(r#"tests="2" failures="1""#), "{text}");
    assert!(text.contains(r#"name="wrong &lt;&amp;&gt;""#) && text.contains(r#"line="9""#), "{text}");
    if let Ok(parsed) = Command::new("python3")
        .args(["-c", "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])", &xml])
        .status()
    {
        assert!(parsed.success(), "{text}");
    }

    let (code, _, stderr) = run(&["test", "--junit", "no/such/folder.xml", "../ivr.json"]);
    assert_eq!(Some(1), code);
    assert!(stderr.starts_with("dtmfd: cannot write no/such/folder.xml: "), "{stderr}");
}

#[test]
fn a_tree_whose_tests_fail_is_not_run() {
    let mut command =
        dtmfd(&["run", "--tenant", "t", "--client-id", "c", "--ivr", "trees/bad/failing-test.json"]);
    command.env("CXONE_CLIENT_SECRET", "s");
    let sandbox = ["sandbox", "--ivr", "trees/bad/failing-test.json", "--press", "c=1", "--exit"];
    for command in [command, dtmfd(&sandbox)] {
        let (code, text) = output(command);
        assert_eq!(Some(78), code, "{text}");
        assert!(text.contains("failing-test.json:5:5"), "{text}");
        assert!(
            text.contains("error[failing-test]: `two is billing` fails: the outcome is `sales`"),
            "{text}"
        );
    }
}

#[test]
fn no_output_holds_the_digits_of_a_masked_node() {
    let folder = Scratch::new("masked");
    let tree = folder.write(
        "t.json",
        r#"{ "rootNode": "a", "nodes": {
            "a": { "choices": { "1": "pin", "12": "pin" } },
            "pin": { "mask": true, "collect": { "as": "pin", "min": 5, "max": 5 }, "nextNode": "b" },
            "b": { "mask": 1, "choices": { "XXX": { "outcome": "x", "set": { "clear": "{pin!raw}", "as": "{pin}" } } } } },
          "tests": [ {
            "name": "fails",
            "press": "1 73951 739", "outcome": "y"
          }, {
            "press": "1 ~ 73951 7399", "outcome": "y"
          } ] }"#,
    );
    let xml = folder.write("junit.xml", "");
    let mut all = String::new();
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["check", "--format", "github"],
        &["test", "--junit", &xml],
        &["test", "--json"],
        &["sandbox", "--log", "debug", "--ivr"],
    ] {
        let (code, stdout, stderr) = run(&[arguments, &[&tree]].concat());
        assert!(matches!(code, Some(1 | 78)), "{arguments:?}: {stderr}");
        all.push_str(&stdout);
        all.push_str(&stderr);
    }
    all.push_str(&fs::read_to_string(&xml).expect("it was written"));
    assert!(all.contains("presses •: accepted") && all.contains("clear = [raw]"), "{all}");
    for canary in ["7395", "73951", "739", "\"key\":\"7\"", "presses 7", "presses 3"] {
        assert!(!all.contains(canary), "{canary} is in\n{all}");
    }
}

#[test]
fn check_online_says_whether_the_tenant_lets_us_in() {
    let tenant = StandIn::start(Faults::default(), |_| ()).expect("it listens");
    let url = tenant.url();
    let usual = ["check", "../ivr.json", "--online", "--tenant", "t", "--client-id", "c", "--api-url"];
    let online = |url: &str, more: &[&str]| {
        let mut command = dtmfd(&[&usual[..], &[url], more].concat());
        command.env("CXONE_CLIENT_SECRET", "s3cr3t-of-the-test");
        run_command(command)
    };
    let (code, stdout, stderr) = online(&url, &[]);
    assert_eq!((Some(0), ""), (code, stderr.as_str()), "{stdout}");
    assert!(stdout.contains("online: token: ok after "), "{stdout}");
    assert!(stdout.contains("online: voice WebSocket: ok after "), "{stdout}");
    assert_eq!("../ivr.json: ok, 7 nodes, 10 tests passed; the tenant lets us in", last(&stdout));

    let (code, stdout, _) = online(&url, &["--json"]);
    let found: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((Some(0), &json!(true)), (code, &found["online"][1]["ok"]), "{stdout}");

    // A port at which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|bound| bound.local_addr())
        .expect("a port")
        .port();
    let (code, stdout, stderr) = online(&format!("http://127.0.0.1:{port}"), &[]);
    assert_eq!(Some(1), code, "{stderr}");
    assert!(stdout.contains("online: token: failed (http://127.0.0.1:"), "{stdout}");
    assert!(last(&stdout).ends_with("; the tenant doesn't let us in"), "{stdout}");
    assert!(!format!("{stdout}{stderr}").contains("s3cr3t"), "{stdout}{stderr}");

    let (code, _, stderr) = run(&["check", "../ivr.json", "--online"]);
    assert_eq!(Some(78), code);
    assert!(stderr.contains("CXONE_TENANT (--tenant)"), "{stderr}");
}

#[test]
fn schema_prints_the_schema() {
    let (code, stdout, stderr) = run(&["schema"]);
    assert_eq!((Some(0), ""), (code, stderr.as_str()));
    let schema: Value = serde_json::from_str(&stdout).expect("it is JSON");
    assert_eq!(json!("http://json-schema.org/draft-07/schema#"), schema["$schema"]);
}
