//! An operator's commands, run as people run them: `dtmfd calls` and `dtmfd outbox` against a running
//! daemon, and against none.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant};

use dtmfd::engine::Key;
use dtmfd::sandbox::{Faults, StandIn};
use serde_json::{Value, json};

use crate::process::run_at;
use crate::program::{PATIENCE, Program, Scratch, dtmfd};

/// A tree whose calls end with a first 1, and wait for a minute after a first 2.
const TREE: &str = r#"{ "rootNode": "a", "nodes": {
    "a": { "choices": { "1": { "outcome": "one" }, "2": "b" } },
    "b": { "firstDigitMs": 60000, "choices": { "1": { "outcome": "two" } } } } }"#;

/// A daemon, and the tenant that it serves.
struct Daemon {
    program: Program,
    /// As `--listen` takes it.
    address: String,
    tenant: StandIn,
    folder: Scratch,
}

/// What a command came to.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn last(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(1, self.out.lines().count(), "one line: {self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn run(arguments: &[&str], env: &[(&str, &str)]) -> Said {
    let Output { status, stdout, stderr } =
        dtmfd(arguments).envs(env.iter().copied()).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

impl Daemon {
    /// A daemon whose tenant fails so, for example `400:1`.
    fn start(name: &str, fail: &str) -> Daemon {
        Daemon::start_at("127.0.0.1:0", name, fail, &[])
    }

    fn start_at(listen: &str, name: &str, fail: &str, more: &[&str]) -> Daemon {
        let folder = Scratch::new(name);
        folder.write("tree.json", TREE);
        let fail = vec![fail.parse().expect("a fault")];
        let tenant = StandIn::start(Faults { fail, ..Faults::default() }, |_| ()).expect("it listens");
        Daemon::start_again(listen, tenant, folder, more)
    }

    /// With what another has left in the folder.
    fn start_again(listen: &str, tenant: StandIn, folder: Scratch, more: &[&str]) -> Daemon {
        let tree = folder.path().join("tree.json").display().to_string();
        let mut command = run_at(listen, &tenant.url(), &tree);
        command.args(["--log-format", "human", "--state"]).arg(folder.path().join("state")).args(more);
        command.env("CXONE_CLIENT_SECRET", "s");
        let mut program = Program::start(command);
        let open = program.wait_for("the local API is open");
        let (_, address) = open.split_once("address=").expect("it says where");
        let address = address.split(' ').next().unwrap_or_default().to_owned();
        if !program.has_said("websocket open") {
            program.wait_for("websocket open");
        }
        Daemon { program, address, tenant, folder }
    }

    fn press(&self, call: &str, key: char) {
        self.tenant.press(call, Key::parse(key).expect("a key")).expect("there is room");
    }

    /// Lets calls end whose updates are refused, and waits until all are parked.
    fn park(&mut self, n: usize) {
        (0..n).for_each(|call| self.press(&format!("parked-{call}"), '1'));
        (0..n).for_each(|_| drop(self.program.wait_for("the update is parked")));
    }

    #[track_caller]
    fn ask(&self, arguments: &[&str], code: i32) -> Said {
        let said = run(arguments, &[("DTMFD_LISTEN", &self.address)]);
        assert_eq!(Some(code), said.code, "{arguments:?}: {said:?}");
        assert!(!said.out.contains('\x1b') && !said.err.contains('\x1b'), "no colour in a pipe: {said:?}");
        said
    }

    /// Returns every update there is.
    #[track_caller]
    fn updates(&self) -> Vec<Value> {
        let mut page = self.ask(&["outbox", "--json"], 0).json();
        let Value::Array(updates) = page["updates"].take() else { panic!("no list: {page}") };
        updates
    }

    fn end(self) -> String {
        self.program.signal("TERM");
        let (status, text) = self.program.end(Duration::from_secs(10));
        assert_eq!(Some(0), status.code(), "{text}");
        text
    }
}

#[test]
fn outbox_shows_what_is_parked_and_retries_and_drops_it() {
    // The second request of each is accepted.
    let mut daemon = Daemon::start("outbox", "400:1");
    let said = daemon.ask(&["outbox"], 0);
    assert_eq!(("nothing waits: every update was acknowledged\n", ""), (&*said.out, &*said.err));
    assert_eq!(json!({ "updates": [] }), daemon.ask(&["outbox", "--json"], 0).json());
    daemon.park(4);

    let said = daemon.ask(&["outbox"], 0);
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(6, lines.len(), "{}", said.out);
    let heads = ["ID", "CALL", "STATE", "ATTEMPTS", "AGE", "WHY"];
    assert_eq!(heads, lines[0].split_whitespace().collect::<Vec<_>>()[..]);
    for line in &lines[1..5] {
        assert_eq!(lines[0].find("WHY"), line.find("rejected with 400"), "aligned: {}", said.out);
        assert!(line.contains("  parked  1         ") && line.contains(" s  "), "{line}");
    }
    let verdict = "4 updates are parked: `dtmfd outbox retry ID` tries one again, `drop` gives it up";
    assert_eq!((verdict, ""), (lines[5], &*said.err));

    let said = daemon.ask(&["outbox", "--json"], 0);
    assert_eq!(verdict, said.err.trim_end(), "talk goes to standard error");
    let updates = daemon.updates();
    let id = |place: usize| updates[place]["id"].as_str().expect("a text").to_owned();
    assert_eq!((4, &json!("parked")), (updates.len(), &updates[0]["state"]));
    assert_eq!(json!({ "name": "ivr_status", "value": "one" }), updates[0]["variables"][1]);

    // A beginning is enough, in capitals too.
    let said = daemon.ask(&["outbox", "retry", &id(0)[..8].to_ascii_uppercase()], 0);
    assert_eq!(format!("{}  retried\n1 update retried\n", id(0)), said.out);
    daemon.program.wait_for("variables written");
    let call = updates[0]["call"].as_str().expect("a text");
    assert!(daemon.tenant.accepted(call).is_some(), "{call} arrived");

    let said = daemon.ask(&["outbox", "drop", &id(0), &id(1), "0000"], 1);
    assert_eq!(
        format!("{}  dropped\n", id(1)),
        said.out.lines().next().unwrap_or_default().to_owned() + "\n"
    );
    assert!(said.err.starts_with(&format!("{}  not dropped: no update has this id", id(0))), "{}", said.err);
    assert!(said.err.contains("\n0000  not dropped: no update's id begins so"), "{}", said.err);
    assert_eq!("1 update dropped, 2 not: `dtmfd outbox` lists those there are", said.last());
    let said = daemon.ask(&["outbox", "--json", "drop", &id(2), "0000"], 1);
    let expected = json!({ "updates": [
        { "id": id(2), "result": "dropped" },
        { "id": "0000", "result": "no_such_update", "detail": "no update's id begins so" }
    ] });
    assert_eq!(expected, said.json());

    let said = daemon.ask(&["outbox", "drop", "--all"], 0);
    assert_eq!("1 update dropped, none is parked any more\n", said.out);
    let said = daemon.ask(&["outbox", "retry", "--all", "--json"], 0);
    assert_eq!(json!({ "changed": 0, "parked": 0 }), said.json());
    assert_eq!(Vec::<Value>::new(), daemon.updates());
    let text = daemon.end();
    assert_eq!(3, text.matches("an operator dropped the update").count(), "{text}");
}

#[test]
fn every_page_is_read_and_all_that_is_parked_is_retried() {
    let mut daemon = Daemon::start("pages", "400:1");
    daemon.park(250);
    let mut calls: Vec<_> = daemon.updates().iter().map(|update| update["call"].to_string()).collect();
    calls.sort();
    calls.dedup();
    assert_eq!(250, calls.len());
    let said = daemon.ask(&["outbox"], 0);
    assert_eq!(252, said.out.lines().count(), "heads once, and the verdict");
    let said = daemon.ask(&["outbox", "retry", "--all"], 0);
    assert_eq!("250 updates retried, none is parked any more\n", said.out);
    let deadline = Instant::now() + PATIENCE;
    while (0..250).any(|call| daemon.tenant.accepted(&format!("parked-{call}")).is_none()) {
        assert!(Instant::now() < deadline, "not all have arrived");
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon.end();
}

#[test]
fn calls_shows_those_in_progress_and_how_one_went_key_by_key() {
    let socket = Scratch::new("calls-socket");
    let at = format!("unix:{}", socket.path().join("api").display());
    let mut daemon = Daemon::start_at(&at, "calls", "503:1", &[]);
    assert_eq!(at, daemon.address);
    assert_eq!("no call is in progress\n", daemon.ask(&["calls"], 0).out);
    let id = "a84b4c%76e@pc33~1";
    daemon.press(id, '2');
    daemon.press("other", '2');
    let deadline = Instant::now() + PATIENCE;
    while daemon.ask(&["calls", "--json"], 0).json()["calls"].as_array().is_none_or(|list| list.len() < 2) {
        assert!(Instant::now() < deadline, "they never began");
    }
    let said = daemon.ask(&["calls"], 0);
    let line = said.out.lines().find(|line| line.starts_with(id)).expect("it is listed");
    assert_eq!(["voice", "b", "1", "0"], line.split_whitespace().collect::<Vec<_>>()[1..5], "{line}");
    assert_eq!("2 calls are in progress", said.last());

    let said = daemon.ask(&["calls", id], 0);
    assert!(said.out.contains("node         b, attempt 1, 0 digits entered\n"), "{}", said.out);
    assert_eq!(format!("{id} is in progress"), said.last());
    assert_eq!(json!("in_progress"), daemon.ask(&["calls", id, "--json"], 0).json()["state"]);

    daemon.press(id, '9');
    daemon.press(id, '1');
    daemon.program.wait_for("call ended: two");
    // It is in the history once it is kept.
    let deadline = Instant::now() + PATIENCE;
    while run(&["calls", id, "--listen", &at], &[]).code != Some(0) {
        assert!(Instant::now() < deadline, "it is not in the history");
    }
    let said = daemon.ask(&["calls", id], 0);
    let presses: Vec<Vec<_>> = said.out.lines().map(|line| line.split_whitespace().collect()).collect();
    for (digit, result) in [("2", "accepted"), ("9", "invalid"), ("1", "accepted")] {
        let is_it = |words: &&Vec<&str>| words.len() == 4 && words[1..] == ["s", digit, result];
        assert_eq!(1, presses.iter().filter(is_it).count(), "{digit} {result} in {}", said.out);
    }
    assert_eq!(format!("{id} ended: two"), said.last());
    assert_eq!(json!("291"), daemon.ask(&["calls", id, "--json"], 0).json()["digits"]);

    let said = daemon.ask(&["calls", "nobody"], 1);
    let told = "dtmfd: nobody is neither in progress nor in the history: see `dtmfd calls`\n";
    assert_eq!(("", told), (&*said.out, &*said.err));
    daemon.end();
}

#[test]
fn what_is_kept_is_still_in_the_outbox_after_a_restart() {
    let mut daemon = Daemon::start("restart", "400:1");
    daemon.park(1);
    let before = daemon.updates();
    let Daemon { program, tenant, folder, .. } = daemon;
    program.signal("TERM");
    let (status, text) = program.end(Duration::from_secs(10));
    assert_eq!(Some(0), status.code(), "{text}");
    let daemon = Daemon::start_again("127.0.0.1:0", tenant, folder, &[]);
    let after = daemon.updates();
    for name in ["id", "call", "state", "why", "attempts", "variables"] {
        assert_eq!(before[0][name], after[0][name], "{name}");
    }
    daemon.end();
}

#[test]
fn a_daemon_that_is_not_there_is_named_with_what_to_do_next() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let nowhere = std::env::temp_dir().join("dtmfd-no-such-socket");
    for (at, why) in [
        (free.to_string(), "Connection refused"),
        (format!("unix:{}", nowhere.display()), "No such file or directory"),
    ] {
        for arguments in [&["calls"][..], &["calls", "c"], &["outbox"], &["outbox", "drop", "--all"]] {
            let said = run(&[arguments, &["--listen", &at]].concat(), &[]);
            assert_eq!((Some(69), ""), (said.code, said.out.as_str()), "{said:?}");
            for words in [at.as_str(), "dtmfd run", "--listen", why] {
                assert!(said.err.contains(words), "{words:?} is not in {:?}", said.err);
            }
        }
    }
}

#[test]
fn what_is_not_dtmfd_is_not_taken_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
    let at = listener.local_addr().expect("it has an address").to_string();
    let answers =
        ["HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"calls\":[]}", "SSH-2.0-OpenSSH_9.2\r\n", ""];
    let others = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _): (TcpStream, _) = listener.accept().expect("it asks");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    for answer in answers {
        let said = run(&["calls", "--listen", &at], &[]);
        assert_eq!((Some(69), ""), (said.code, said.out.as_str()), "{answer:?}: {said:?}");
        assert!(said.err.contains(&at), "{answer:?}: {said:?}");
    }
    others.join().expect("it does not panic");
}

#[test]
fn off_loopback_the_token_is_shown() {
    let folder = Scratch::new("token");
    let token = folder.write("token", "t0k3n-of-the-test\n");
    let daemon = Daemon::start_at("0.0.0.0:0", "remote", "400:1", &["--api-token-file", &token]);
    let with = ["calls", "--listen", &daemon.address, "--api-token-file", &token];
    let said = run(&with, &[]);
    assert_eq!((Some(0), "no call is in progress\n"), (said.code, said.out.as_str()), "{said:?}");
    let wrong = folder.write("wrong", "another");
    let said = run(&["calls", "--api-token-file", &wrong], &[("DTMFD_LISTEN", &daemon.address)]);
    assert_eq!(Some(1), said.code, "{said:?}");
    assert!(said.err.contains("--api-token-file") && !said.err.contains("another"), "{said:?}");
    let text = daemon.end();
    assert!(!text.contains("t0k3n-of-the-test"), "{text}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error_and_a_wrong_setting_one_of_configuration() {
    for arguments in [
        &["outbox", "retry"][..],
        &["outbox", "drop"],
        &["outbox", "drop", "abc"],
        &["outbox", "drop", "12345678901234567"],
        &["outbox", "retry", "wxyz"],
        &["outbox", "retry", "--all", "abcd"],
        &["outbox", "burn"],
        &["calls", "a b"],
        &["calls", ".."],
    ] {
        let said = run(arguments, &[]);
        assert_eq!((Some(2), ""), (said.code, said.out.as_str()), "{arguments:?}: {said:?}");
    }
    let said = run(&["calls"], &[("DTMFD_LISTEN", "somewhere")]);
    assert_eq!(Some(78), said.code, "{said:?}");
    assert!(said.err.contains("DTMFD_LISTEN (--listen) is `somewhere`"), "{said:?}");
}
