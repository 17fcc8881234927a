//! The real binary, run as people run it: exit codes, signals, and an independent tenant over TLS.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use dtmfd::engine::Key;
use dtmfd::sandbox::{Faults, StandIn};

use crate::pki::Plan;
use crate::program::{PATIENCE, Program, Scratch, dtmfd, output, root};

fn sandbox(more: &[&str]) -> (Option<i32>, String) {
    let usual = ["sandbox", "--listen", "127.0.0.1:0", "--ivr", "trees/seed.json"];
    output(dtmfd(&[&usual, more].concat()))
}

#[test]
fn the_sandbox_shows_the_journey_of_a_call() {
    let (code, text) = sandbox(&["--press", "demo=1A1", "--exit"]);
    assert_eq!(Some(0), code, "{text}");
    for said in [
        "token",
        "WebSocket",
        "main_menu → department",
        "department → confirm",
        "confirm → end: completed",
        r#"ivr_selection=["1","A","1"] ivr_status=completed"#,
        "200",
        "call ended: completed",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    assert!(
        text.trim_end().ends_with("ok: 1 call pressed, all ended as asked and their variables arrived"),
        "{text}"
    );
}

#[test]
fn the_sandbox_gets_through_every_fault() {
    for fault in [
        &["--fail", "429:2"][..],
        &["--fail", "503:3"],
        &["--fail", "401"],
        &["--drop", "1s"],
        &["--slow", "800ms"],
        &["--fail", "401", "--fail", "503:1", "--slow", "100ms", "--drop", "300ms"],
    ] {
        let presses = ["--exit", "--press", "demo=1A1:completed", "two=2 w B W 1:completed"];
        let (code, text) = sandbox(&[fault, &presses].concat());
        assert_eq!(Some(0), code, "{fault:?}:\n{text}");
    }
}

#[test]
fn the_sandbox_says_where_a_call_ended_otherwise() {
    let (code, text) =
        sandbox(&["--press", "demo=1A:completed", "gone=1!:hangup", "late=1~:timeout_fallback", "--exit"]);
    assert_eq!(Some(1), code, "{text}");
    let verdict = text.trim_end().lines().last().unwrap_or_default();
    assert_eq!("failed: demo ended with timeout_fallback, not completed", verdict);
}

/// A tree whose silences take a third of a second, and that writes variables where a caller hangs up.
const SHORT: &str = r#"{
  "rootNode": "a",
  "defaults": { "firstDigitMs": 300, "interDigitMs": 300, "decideMs": 100, "noInput": { "tries": 3, "outcome": "silent" },
                "noMatch": { "tries": 3, "outcome": "wrong" } },
  "onEnd": { "hangup": true, "set": { "result": "{outcome}" } },
  "nodes": {
    "a": { "choices": { "1": "b", "2": "long" } },
    "b": { "choices": { "A": { "outcome": "transfer" }, "B": { "outcome": "hangup" } } },
    "long": { "firstDigitMs": 5000, "choices": { "1": { "outcome": "late" } } }
  }
}"#;

/// Runs the sandbox on a tree with `--exit`; returns its exit code, its verdict and all that it said.
#[track_caller]
fn judged(name: &str, tree: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = Scratch::new(name);
    let tree = folder.write("tree.json", tree);
    let mut command = dtmfd(&["sandbox", "--listen", "127.0.0.1:0", "--ivr", &tree, "--exit"]);
    command.args(more);
    let (status, text) = Program::start(command).end(Duration::from_secs(30));
    // Both streams are heard, and the verdict is the only line that begins so.
    let verdict = text.lines().find(|line| line.starts_with("ok: ") || line.starts_with("failed: "));
    (status.code(), verdict.unwrap_or_default().to_owned(), text)
}

#[test]
fn the_sandbox_misses_what_a_hang_up_should_have_written() {
    let presses = ["--fail", "400:1", "--press", "gone=2!", "named=1B:hangup"];
    let (code, verdict, text) = judged("lost", SHORT, &presses);
    assert_eq!(Some(1), code, "{text}");
    let lost = "ended with hangup, but its variables did not arrive";
    assert_eq!(format!("failed: gone {lost}; named {lost}"), verdict, "{text}");
    let (code, _, text) = judged("arrived", SHORT, &presses[2..]);
    assert_eq!(Some(0), code, "{text}");
    // Nothing is missed where nothing is to be written.
    let (code, _, text) = judged("nothing", &SHORT.replace(r#""hangup": true, "#, ""), &presses[..4]);
    assert_eq!(Some(0), code, "{text}");
}

#[test]
fn the_sandbox_begins_a_call_that_begins_with_no_key() {
    let presses = [
        "--press",
        "silent=~:silent",
        "thrice=~ ~ ~:silent",
        "then=~1A:transfer",
        "gone=!:hangup",
        "after=~!:hangup",
        "waits=w:silent",
        "plus=+50 1A:transfer",
        "blank=1~:silent",
    ];
    let (code, verdict, text) = judged("no-key", SHORT, &presses);
    assert_eq!(Some(0), code, "{text}");
    assert!(verdict.starts_with("ok: 8 calls pressed"), "{text}");
    // What is pressed while the socket is gone comes too late for such a tree: how they end is open.
    let presses = presses.map(|press| press.split_once(':').map_or(press, |(script, _)| script));
    let (code, _, text) = judged("no-key-drop", SHORT, &[&["--drop", "200ms"][..], &presses].concat());
    assert_eq!(Some(0), code, "{text}");
}

#[test]
fn the_sandbox_gives_up_calls_that_do_not_begin() {
    let (code, verdict, text) = judged(
        "refused",
        SHORT,
        &["--max-calls", "1", "--press", "a=2+4000 1:late", "b=1A", "c=~1A", "d=!", "e=1~ ~A"],
    );
    assert_eq!(Some(1), code, "{text}");
    assert_eq!(
        "failed: b did not begin; c did not begin; d did not begin; e did not begin", verdict,
        "{text}"
    );
}

#[test]
fn the_sandbox_counts_what_is_acknowledged_while_it_stops() {
    let folder = Scratch::new("while-it-stops");
    let tree = folder.write("tree.json", SHORT);
    let mut command = dtmfd(&["sandbox", "--listen", "127.0.0.1:0", "--ivr", &tree, "--exit"]);
    command.args(["--slow", "1500ms", "--press", "demo=1A:transfer"]);
    let mut program = Program::start(command);
    program.wait_for("call ended: transfer");
    // It has seen the end by then, and waits for the update.
    std::thread::sleep(Duration::from_millis(500));
    program.signal("TERM");
    let (status, text) = program.end(Duration::from_secs(20));
    assert_eq!(Some(0), status.code(), "{text}");
    assert!(text.contains("every update was acknowledged"), "{text}");
}

#[test]
fn the_sandbox_takes_no_sample_for_a_tree_that_leads_nowhere() {
    let folder = Scratch::new("dangling");
    let sandbox = || {
        let mut command = dtmfd(&["sandbox", "--listen", "127.0.0.1:0", "--exit", "--press", "demo=!"]);
        command.current_dir(folder.path());
        output(command)
    };
    let (code, text) = sandbox();
    assert_eq!(Some(0), code, "without a tree it takes the sample: {text}");
    std::os::unix::fs::symlink("nowhere.json", folder.path().join("ivr.json")).expect("a link can be made");
    let (code, text) = sandbox();
    assert_eq!(Some(78), code, "{text}");
    assert!(text.contains("ivr.json"), "{text}");
}

#[test]
fn the_sandbox_hides_what_leaves_in_clear() {
    let tree = r#"{ "rootNode": "pin", "nodes": {
        "pin": { "mask": true, "collect": { "as": "pin", "min": 5, "max": 5 }, "nextNode": "done" },
        "done": { "outcome": "x", "set": { "clear": "is {pin!raw}", "hidden": "{pin}" } } } }"#;
    let (code, _, text) = judged("raw", tree, &["--press", "demo=73951:x"]);
    assert_eq!(Some(0), code, "{text}");
    assert!(text.contains("clear=[raw] hidden=[masked]"), "{text}");
    assert!(!text.contains("73951"), "{text}");
}

#[test]
fn the_simulator_answers_exactly_as_the_seed_and_silence_falls_back() {
    let mut command = dtmfd(&["sandbox", "--ivr", "trees/seed.json"]);
    command.args(["--listen", "127.0.0.1:0"]);
    let mut program = Program::start(command);
    let line = program.wait_for("/simulator");
    let (_, rest) = line.split_once("http://").expect("it says where");
    let address = rest.split('/').next().unwrap_or_default().to_owned();
    let pressed = Instant::now();
    let answer = post(&address, "/simulator", r#"{"callId":"c1","digit":"1"}"#);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    assert_eq!(r#"{"status":"digit_processed"}"#, body);
    program.wait_for("ivr_status=timeout_fallback");
    assert!(pressed.elapsed() >= Duration::from_secs(10), "{:?} of silence", pressed.elapsed());
    program.signal("INT");
    let (status, text) = program.end(Duration::from_secs(10));
    assert_eq!(Some(0), status.code(), "{text}");
}

fn post(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

#[test]
fn every_missing_and_wrong_setting_is_told_at_once() {
    let mut command = dtmfd(&["run", "--workers", "0", "--api-url", "http://tenant.example"]);
    command.env("DTMFD_SIMULATOR", "perhaps");
    let (code, text) = output(command);
    assert_eq!(Some(78), code, "{text}");
    for named in [
        "CXONE_TENANT (--tenant)",
        "CXONE_CLIENT_ID (--client-id)",
        "CXONE_CLIENT_SECRET",
        "CXONE_API_URL (--api-url)",
        "DTMFD_WORKERS (--workers)",
        "DTMFD_SIMULATOR (--simulator)",
    ] {
        assert!(text.contains(named), "{named} is not in\n{text}");
    }
}

#[test]
fn a_tree_that_is_wrong_is_told_with_its_place_and_what_would_be_right() {
    let folder = Scratch::new("tree");
    let tree = folder.write(
        "wrong.json",
        "{\n  \"rootNode\": \"a\",\n  \"nodes\": {\n    \"a\": { \"choices\": { \"1\": \"b\" } }\n  }\n}\n",
    );
    let mut command = dtmfd(&["run", "--tenant", "t", "--client-id", "c", "--ivr", &tree]);
    command.env("CXONE_CLIENT_SECRET", "s");
    let (code, text) = output(command);
    assert_eq!(Some(78), code, "{text}");
    assert!(text.contains("wrong.json:4:30"), "{text}");
    assert!(text.contains("= help:"), "{text}");
    let (code, text) = output(dtmfd(&["run", "--ivr", "no-such-file.json"]));
    assert_eq!(Some(78), code, "{text}");
    assert!(text.contains("no-such-file.json") && text.contains("CXONE_TENANT"), "all at once: {text}");
    let mut command = dtmfd(&["run", "--tenant", "t", "--client-id", "c", "--ivr", "no-such-file.json"]);
    command.env("CXONE_CLIENT_SECRET", "s");
    let (code, text) = output(command);
    assert_eq!(Some(78), code, "{text}");
    assert!(text.contains("no-such-file.json") && text.contains("DTMFD_IVR"), "{text}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in
        [&["fly"][..], &["sandbox", "--fail", "x"], &["sandbox", "--press", "=1"], &["sandbox", "--exit"]]
    {
        let (code, text) = output(dtmfd(arguments));
        assert_eq!(Some(2), code, "{arguments:?}: {text}");
    }
}

/// A tree whose calls end with their first key.
pub(crate) const ONE_KEY: &str =
    r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "1": { "outcome": "one" } } } } }"#;

/// The service, on a free port, against the tenant at `url`; its secret is still to be told.
pub(crate) fn run_against(url: &str, tree: &str) -> Command {
    run_at("127.0.0.1:0", url, tree)
}

/// As [`run_against`], listening at this address.
pub(crate) fn run_at(listen: &str, url: &str, tree: &str) -> Command {
    let mut command = dtmfd(&["run", "--tenant", "t", "--client-id", "c", "--listen", listen]);
    command.args(["--api-url", url, "--ivr", tree]);
    command
}

/// The service against a stand-in tenant with faults, with `calls` ended at once.
fn service(faults: Faults, calls: usize, folder: &Scratch) -> (Program, StandIn) {
    let tenant = StandIn::start(faults, |_| ()).expect("it listens");
    let tree = folder.write("one-key.json", ONE_KEY);
    let url = tenant.url();
    let mut command = run_against(&url, &tree);
    command
        .args(["--log-format", "human", "--workers", "8"])
        .env("CXONE_CLIENT_SECRET", "s3cr3t-of-the-test");
    let mut program = Program::start(command);
    program.wait_for("websocket open");
    let key = Key::parse('1').expect("a key");
    for call in 0..calls {
        tenant.press(&format!("call-{call}"), key).expect("there is room");
    }
    for _ in 0..calls {
        program.wait_for("call ended: one");
    }
    (program, tenant)
}

fn slow(delay: Duration) -> Faults {
    Faults { fail: Vec::new(), drop_every: None, slow: Some(delay) }
}

fn failing() -> Faults {
    Faults { fail: vec!["503:100000".parse().expect("a fault")], drop_every: None, slow: None }
}

#[test]
fn sigterm_delivers_what_is_queued() {
    let folder = Scratch::new("queued");
    // With 8 workers the queue takes seven rounds, five seconds in all.
    let (program, tenant) = service(slow(Duration::from_millis(700)), 50, &folder);
    program.signal("TERM");
    let (status, text) = program.end(Duration::from_secs(10));
    assert_eq!(Some(0), status.code(), "{text}");
    for call in 0..50 {
        assert!(tenant.accepted(&format!("call-{call}")).is_some(), "call-{call} is missing:\n{text}");
    }
    assert!(text.contains("every update was acknowledged"), "{text}");
    assert!(!text.contains("s3cr3t-of-the-test"), "{text}");
}

#[test]
fn sigterm_in_the_middle_of_retries_says_what_was_not_acknowledged() {
    let folder = Scratch::new("retries");
    let (program, _tenant) = service(failing(), 20, &folder);
    program.signal("TERM");
    let (status, text) = program.end(Duration::from_secs(10));
    assert_eq!(Some(0), status.code(), "{text}");
    assert!(text.contains("not acknowledged") && text.contains("waiting=20"), "{text}");
}

#[test]
fn a_second_sigterm_leaves_at_once() {
    let folder = Scratch::new("second");
    let (mut program, _tenant) = service(failing(), 3, &folder);
    program.signal("TERM");
    program.wait_for("stopping");
    let second = Instant::now();
    program.signal("TERM");
    let (status, text) = program.end(Duration::from_secs(3));
    assert_eq!(Some(128 + 15), status.code(), "{text}");
    assert!(second.elapsed() < Duration::from_secs(3));
    assert!(text.contains("what is not kept by now is lost"), "{text}");
}

/// As [`service`], but nobody reads what it says once it is open: the pipe is full when this returns. It
/// does so with the address of the local API.
fn unread_service(faults: Faults, calls: usize, folder: &Scratch) -> (Unread, StandIn, String) {
    let tenant = StandIn::start(faults, |_| ()).expect("it listens");
    let tree = folder.write("one-key.json", ONE_KEY);
    let url = tenant.url();
    let mut command = dtmfd(&["run", "--tenant", "t", "--client-id", "c", "--listen", "127.0.0.1:0"]);
    command
        .args(["--api-url", &url, "--ivr", &tree, "--workers", "8", "--log", "debug", "--log-format", "json"])
        .env("CXONE_CLIENT_SECRET", "s")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
    let (mut address, mut is_open) = (None, false);
    while address.is_none() || !is_open {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).expect("it is text") > 0, "it ended");
        is_open |= line.contains("websocket open");
        if let Some((_, rest)) = line.split_once(r#""address":""#) {
            address = rest.split('"').next().map(str::to_owned);
        }
    }
    let key = Key::parse('1').expect("a key");
    for call in 0..calls {
        tenant.press(&format!("call-{call}"), key).expect("there is room");
    }
    (Unread { child, lines }, tenant, address.expect("it was said"))
}

struct Unread {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Unread {
    fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    #[track_caller]
    fn end(mut self, within: Duration) -> (Option<i32>, String) {
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(Instant::now() < deadline, "still running after {within:?}");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut text = String::new();
        self.lines.read_to_string(&mut text).expect("it is text");
        assert!(text.len() > 32 * 1024, "the pipe was not full: {} bytes", text.len());
        (status.code(), text)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let folder = Scratch::new("unread");
    // What is said of so many is more than the pipe and the queue before it take.
    const CALLS: usize = 4000;
    let (unread, tenant, address) = unread_service(Faults::default(), CALLS, &folder);
    let deadline = Instant::now() + PATIENCE;
    while (0..CALLS).any(|call| tenant.accepted(&format!("call-{call}")).is_none()) {
        assert!(Instant::now() < deadline, "not every call was delivered");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let request = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    unread.terminate();
    let (code, text) = unread.end(Duration::from_secs(10));
    assert_eq!(Some(0), code, "{text}");
    let whole = text.rsplit_once('\n').expect("there are lines").0;
    assert!(whole.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{text}");
}

#[test]
fn a_second_sigterm_leaves_at_once_though_nobody_reads_the_log() {
    let folder = Scratch::new("unread-second");
    let (unread, _tenant, _) = unread_service(failing(), 2000, &folder);
    std::thread::sleep(Duration::from_secs(2));
    unread.terminate();
    std::thread::sleep(Duration::from_millis(300)); // Two of the same at once are one.
    unread.terminate();
    assert_eq!(Some(128 + 15), unread.end(Duration::from_secs(3)).0);
}

#[test]
fn sighup_reads_the_tree_again_and_keeps_it_where_the_new_one_is_wrong() {
    let folder = Scratch::new("reload");
    let (mut program, tenant) = service(Faults::default(), 1, &folder);
    let key = Key::parse('1').expect("a key");
    folder.write("one-key.json", "{");
    program.signal("HUP");
    program.wait_for("the tree stays as it is");
    let failing = r#""tests": [{ "name": "one is two", "press": "1", "outcome": "two" }], "rootNode""#;
    folder.write("one-key.json", &ONE_KEY.replace("\"rootNode\"", failing));
    program.signal("HUP");
    program.wait_for("`one is two` fails: the outcome is `one`, not `two`");
    tenant.press("before", key).expect("there is room");
    program.wait_for("call ended: one");
    folder.write("one-key.json", &ONE_KEY.replace("\"one\"", "\"uno\""));
    program.signal("HUP");
    program.wait_for("new calls walk the tree");
    tenant.press("after", key).expect("there is room");
    program.wait_for("call ended: uno");
    program.signal("TERM");
    assert_eq!(Some(0), program.end(Duration::from_secs(10)).0.code());
}

/// Runs the independent tenant, over TLS with a CA of its own, and the service against it. Returns what
/// the tenant found, or nothing where there is no Python.
fn against_the_independent_tenant(name: &str, options: &[&str]) -> Option<String> {
    if Command::new("python3").arg("--version").output().is_err() {
        // Loudly: a test that did not run must not look like one that passed.
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: the independent tenant needs python3");
        return None;
    }
    let folder = Scratch::new(name);
    let (authority, certificate, key) = certificates();
    let ca = folder.write("ca.pem", &authority);
    let (cert, key) = (folder.write("cert.pem", &certificate), folder.write("key.pem", &key));
    let mut command = Command::new("python3");
    command.arg(root("tests/standin/tenant.py")).args(["--cert", &cert, "--key", &key, "--deadline", "240"]);
    command.args(options);
    let mut tenant = Program::start(command);
    let listening = tenant.wait_for("LISTENING");
    let url = format!("https://localhost:{}", listening.trim_start_matches("LISTENING").trim());
    let tree = root("tests/trees/seed.json").display().to_string();
    let mut command = run_against(&url, &tree);
    command.args(["--ca-file", &ca, "--log", "warn"]).env("CXONE_CLIENT_SECRET", "s");
    let service = Program::start(command);
    let (status, text) = tenant.end(Duration::from_secs(250));
    let figures = text.lines().last().unwrap_or_default().to_owned();
    service.signal("TERM");
    let (ended, said) = service.end(Duration::from_secs(10));
    assert!(status.success(), "the tenant found fault:\n{text}\n--- the service said:\n{said}");
    assert_eq!(Some(0), ended.code(), "{said}");
    let _ = writeln!(std::io::stderr(), "{name}: {figures}");
    Some(figures)
}

/// Returns a certificate authority, and a certificate for localhost with its key, all as PEM.
fn certificates() -> (String, String, String) {
    let authority = Plan::ca("dtmfd test CA").sign_itself();
    let server = Plan::server(&["localhost"]).signed_by(&authority);
    let key = server.key.private_key_to_pem_pkcs8().expect("a PEM");
    (authority.pem(), server.pem(), String::from_utf8(key).expect("PEM is ASCII"))
}

#[test]
fn ten_thousand_calls_each_get_exactly_one_right_update() {
    against_the_independent_tenant("plain", &["--calls", "10000", "--window", "500", "--garbage", "200"]);
}

/// Each `Retry-After` pauses everything for a second, so 10 000 calls take minutes: the long setting.
#[test]
fn every_call_survives_drops_and_failing_answers() {
    let calls = if std::env::var_os("DTMFD_LONG").is_some() { "10000" } else { "2000" };
    let load = ["--calls", calls, "--window", "500", "--drops", "20", "--garbage", "200"];
    let answers = ["--p429", "5", "--p500", "5", "--preset", "1"];
    let kinds = ["--drop-kinds", "rst,fin,1000,1001,1011,utf8,huge"];
    against_the_independent_tenant("faults", &[&load[..], &answers, &kinds].concat());
}

#[test]
fn two_hundred_calls_ended_at_once_are_delivered_though_each_answer_takes_a_second() {
    against_the_independent_tenant("burst", &["--calls", "1", "--burst", "200", "--hold", "--silent", "50"]);
}

/// A file may be called anything, and so may what was set.
#[test]
fn no_name_of_a_file_moves_the_cursor_or_makes_a_line_of_its_own() {
    let folder = Scratch::new("names");
    let name = "no\n\u{1b}[31msuch\u{202e}\u{85}";
    let wrong = folder.write(&format!("wrong{name}"), "{");
    let seed = root("tests/trees/seed.json").display().to_string();
    for arguments in [
        &["check", name][..],
        &["test", name],
        &["run", "--ivr", name],
        &["run", "--ivr", &wrong],
        &["sandbox", "--ivr", &wrong],
        &["run", "--ivr", &seed, "--listen", &format!("unix:/{name}/x")],
        &["run", "--ivr", &seed, "--listen", name],
        &["run", "--ivr", &seed, "--tenant", name],
        &["run", "--ivr", &seed, "--api-url", name, "--proxy", name, "--log", name, "--workers", name],
    ] {
        let mut command = dtmfd(arguments);
        command.envs([("CXONE_TENANT", "t"), ("CXONE_CLIENT_ID", "c"), ("CXONE_CLIENT_SECRET_FILE", name)]);
        if !arguments.contains(&"--workers") {
            command.env_remove("CXONE_CLIENT_SECRET_FILE").env("CXONE_CLIENT_SECRET", "s");
        }
        let (code, text) = output(command);
        assert_eq!(Some(78), code, "{arguments:?}: {text}");
        let disturbs = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(disturbs) && text.lines().all(|line| !line.starts_with("such")), "{text:?}");
        assert!(!text.contains("no\n"), "{text:?}");
    }
}
