//! The routes of `/api/v1`, with a real engine behind a real inbox.

use std::collections::BTreeSet;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use serde_json::{Value, json};

use super::tests::{ask, code, engine, routes};
use super::*;
use crate::driver::{CallEnd, Clock, Driver, Sinks};
use crate::engine::{
    Attempt, Bounds, Calls, Key, Outcome, Page, Parked, Presses, Source, Summary, Tick, Update,
    UpdateStanding, UpdateState, Value as Said, Variable, Version,
};
use crate::history::{HistoryEntry, HistoryPage};
use crate::inbox::Incoming;
use crate::local::plays;

/// A real engine behind a real inbox, with a tenant that answers as `outcome` says.
struct Engine {
    routes: Routes,
    ends: Receiver<CallEnd>,
    inbox: Inbox,
    threads: Vec<thread::JoinHandle<()>>,
}

/// A tree whose calls end with their second key, or after a silence of 50 ms at its second node.
const TWO_KEYS: &str = r#"{ "rootNode": "a", "nodes": {
    "a": { "firstDigitMs": 60000, "choices": { "1": "b", "2": "c" } },
    "b": { "firstDigitMs": 60000, "choices": { "1": { "outcome": "one" } } },
    "c": { "firstDigitMs": 50, "choices": { "1": { "outcome": "no" } }, "noInput": { "outcome": "silent" } } } }"#;

impl Engine {
    /// An attempt is answered once `outcome` returns what came of it.
    fn new(simulator: Reach, outcome: impl Fn() -> Outcome + Send + 'static) -> Engine {
        let (mut routes, outlet) = routes(Some(simulator));
        let (plays, player) = plays::plays(routes.inbox.clone());
        routes.plays = plays;
        let ivr = crate::tree::load(TWO_KEYS).ivr.unwrap();
        let clock = Clock::start();
        let bounds = Bounds { calls_max: 1_000, attempts_max: 4 };
        let (jobs, attempts) = bounded::<Attempt>(4);
        let (ended, ends) = bounded(1_000);
        let sinks = Sinks { jobs, commits: None, ends: Some(ended) };
        let calls = Calls::new(ivr, bounds, 7, clock.now());
        let driver = Driver::new(calls, clock, outlet, sinks, Arc::clone(&routes.status), false);
        let inbox = routes.inbox.clone();
        let tenant = inbox.clone();
        let threads = vec![
            thread::spawn(move || {
                let _ = driver.run();
            }),
            thread::spawn(|| player.run()),
            thread::spawn(move || {
                while let Ok(Attempt { id, .. }) = attempts.recv() {
                    let (outcome, at) = (outcome(), Instant::now());
                    // While it stops nobody hears it any more.
                    let _ = tenant.send(Incoming::Finished { id, outcome, at, detail: None });
                }
            }),
        ];
        Engine { routes, ends, inbox, threads }
    }

    fn rejecting() -> Engine {
        Engine::new(Reach::Own, || Outcome::Rejected { status: 400 })
    }

    #[track_caller]
    fn json(&self, status: u16, method: &str, target: &str, body: &str) -> Value {
        let reply = ask(&self.routes, method, target, body);
        assert_eq!(status, reply.status, "{method} {target}: {}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    }

    fn press(&self, call: &str, digits: &str) -> Value {
        let body = json!({ "digits": digits }).to_string();
        self.json(200, "POST", &format!("/api/v1/calls/{}/digits", call_id::encode(call)), &body)
    }

    /// Reads every page, and returns how many there were and all their entries.
    fn all(&self, target: &str, name: &str) -> (usize, Vec<Value>) {
        let (mut n_pages, mut all, mut after) = (0, Vec::new(), String::new());
        loop {
            let page = self.json(200, "GET", &format!("{target}{after}"), "");
            n_pages += 1;
            let entries = page[name].as_array().unwrap();
            assert!(entries.len() <= 100);
            all.extend(entries.iter().cloned());
            match page["next"].as_u64() {
                Some(next) => after = format!("&after={next}"),
                None => return (n_pages, all),
            }
        }
    }

    /// Waits until so many updates are parked.
    fn await_parked(&self, n: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.inbox.ask(Ask::Summary, PATIENCE).is_ok_and(
            |answer| !matches!(answer, Answer::Summary(Summary { waiting: 0, parked, .. }) if parked == n),
        ) {
            assert!(Instant::now() < deadline, "not all are parked");
            thread::yield_now();
        }
    }

    /// Waits for a call to end, and returns what it came to.
    fn end(&self) -> (String, String) {
        let CallEnd { call, outcome, .. } = self.ends.recv_timeout(Duration::from_secs(10)).unwrap();
        (call, outcome)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The player ends with the way to it, and the tenant with the engine, which holds the only jobs.
        self.routes.plays = plays::plays(self.inbox.clone()).0;
        let _ = self.inbox.send(Incoming::Drain(Instant::now()));
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

#[test]
fn pages_through_calls_and_updates_show_each_once() {
    let engine = Engine::rejecting();
    for call in 0..250 {
        engine.press(&format!("going@{call}"), "1");
        engine.press(&format!("gone~{call}"), "11");
    }
    engine.await_parked(250);
    let expected = |name: &str| (0..250).map(|call| format!("{name}{call}")).collect::<BTreeSet<_>>();
    let (n_pages, calls) = engine.all("/api/v1/calls?limit=100", "calls");
    let ids: BTreeSet<_> = calls.iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((3, 250, expected("going@")), (n_pages, calls.len(), ids));
    for target in ["/api/v1/outbox?state=parked", "/api/v1/outbox?state=all", "/api/v1/outbox?limit=100"] {
        let (n_pages, updates) = engine.all(target, "updates");
        let ids: BTreeSet<_> =
            updates.iter().map(|update| update["call"].as_str().unwrap().to_owned()).collect();
        assert_eq!((3, 250, expected("gone~")), (n_pages, updates.len(), ids), "{target}");
    }
    assert_eq!(250, engine.all("/api/v1/outbox?limit=1", "updates").0);

    assert_eq!(250, engine.json(200, "POST", "/api/v1/outbox/retry", "")["changed"]);
    engine.await_parked(250);
    let dropped = engine.json(200, "DELETE", "/api/v1/outbox?state=parked", "");
    assert_eq!(json!({ "changed": 250, "parked": 0 }), dropped);
    assert_eq!(json!({ "updates": [], "next": null }), engine.json(200, "GET", "/api/v1/outbox", ""));
}

#[test]
fn a_call_is_shown_while_it_goes_on_and_hung_up() {
    let engine = Engine::rejecting();
    assert_eq!("no_such_call", engine.json(404, "GET", "/api/v1/calls/a%40b", "")["code"]);
    engine.press("a@b", "1");
    for target in ["/api/v1/calls/a%40b", "/api/v1/calls/a@b"] {
        let mut call = engine.json(200, "GET", target, "");
        for (name, most) in [("ageMs", 20_000), ("dueInMs", 60_000)] {
            assert!(call.as_object_mut().unwrap().remove(name).unwrap().as_u64().unwrap() <= most, "{name}");
        }
        let expected = json!({
            "id": "a@b", "source": "simulator", "interaction": "a@b", "state": "in_progress", "node": "b",
            "attempt": 1, "entered": 0, "dry": false
        });
        assert_eq!(expected, call);
    }
    for target in ["/api/v1/calls/a%2540b", "/api/v1/calls/a%40B", "/api/v1/calls/a%40b%40"] {
        assert_eq!("no_such_call", engine.json(404, "GET", target, "")["code"], "{target}");
    }
    for target in [
        "/api/v1/calls/a%",
        "/api/v1/calls/a%2Fb",
        "/api/v1/calls/..",
        "/api/v1/calls/%2e",
        "/api/v1/calls/a%00",
    ] {
        assert_eq!("bad_call_id", engine.json(400, "GET", target, "")["code"], "{target}");
    }
    for target in
        ["/api/v1/calls/", "/api/v1/calls/a@b/", "/api/v1/calls//digits", "/api/v1/calls/a/b", "/api/v1"]
    {
        assert_eq!("not_found", engine.json(404, "GET", target, "")["code"], "{target}");
    }
    assert_eq!("method_not_allowed", engine.json(405, "GET", "/api/v1/calls/a@b/digits", "")["code"]);
    assert_eq!(json!({ "status": "hung_up" }), engine.json(200, "DELETE", "/api/v1/calls/a%40b", ""));
    assert_eq!(("a@b".to_owned(), "hangup".to_owned()), engine.end());
    assert_eq!("no_such_call", engine.json(404, "DELETE", "/api/v1/calls/a%40b", "")["code"]);

    let mut batch = engine.inbox.empty_batch();
    batch.press("live", Key::parse('1').unwrap(), None);
    engine.inbox.send(Incoming::Batch(batch)).unwrap();
    assert_eq!("voice", engine.json(200, "GET", "/api/v1/calls/live", "")["source"]);
    assert_eq!("call_of_the_stream", engine.json(409, "DELETE", "/api/v1/calls/live", "")["code"]);
    let refused = engine.json(409, "POST", "/api/v1/calls/live/digits", r#"{"digits":"1"}"#);
    assert_eq!("call_of_the_stream", refused["code"]);
}

#[test]
fn digits_say_what_each_did() {
    let engine = Engine::rejecting();
    let expected = json!({ "presses": [
        { "digit": "9", "result": "invalid" }, { "digit": "1", "result": "accepted" },
        { "digit": "1", "result": "accepted" }, { "digit": "A", "result": "late" }
    ], "remaining": 0 });
    assert_eq!(expected, engine.press("c", "911 a"));
    let expected = json!({ "presses": [
        { "digit": "!", "result": "late" }, { "digit": "1", "result": "accepted" },
        { "digit": "!", "result": "hung_up" }
    ], "remaining": 0 });
    assert_eq!(expected, engine.press("d", "!1!"));
    let many = "1".repeat(257);
    let long = format!("1{}", "+1800001".repeat(2));
    for (body, status, code, named) in [
        ("", 400, "not_json", ""),
        ("{}", 422, "bad_press", "`digits` is a string"),
        (r#"{"digits":1}"#, 422, "bad_press", ""),
        (r#"{"digits":""}"#, 422, "bad_digits", "0 steps"),
        (r#"{"digits":"1x"}"#, 422, "bad_digits", "character 2: 'x'"),
        (&json!({ "digits": many }).to_string(), 422, "bad_digits", "257 steps"),
        (&json!({ "digits": long }).to_string(), 422, "bad_digits", "60 minutes"),
    ] {
        let problem = engine.json(status, "POST", "/api/v1/calls/e/digits", body);
        assert_eq!(code, problem["code"], "{body:.40}");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
    assert_eq!("no_such_call", engine.json(404, "GET", "/api/v1/calls/e", "")["code"]);
}

#[test]
fn what_holds_pauses_is_played_on_until_its_call_ends() {
    let engine = Engine::rejecting();
    let play = |call: &str, digits: &str| {
        let body = json!({ "digits": digits }).to_string();
        engine.json(202, "POST", &format!("/api/v1/calls/{call}/digits"), &body)
    };
    let expected = json!({ "presses": [{ "digit": "1", "result": "accepted" }], "remaining": 2 });
    assert_eq!(expected, play("waits", "1+20 1"));
    assert_eq!(("waits".to_owned(), "one".to_owned()), engine.end());
    // The key comes once the silence has ended the call, and so never: it would begin another.
    assert_eq!(3, play("silent", "2~+2100 1")["remaining"]);
    assert_eq!(("silent".to_owned(), "silent".to_owned()), engine.end());
    assert_eq!(json!({ "presses": [], "remaining": 3 }), play("later", "+1 1!"));
    assert_eq!(("later".to_owned(), "hangup".to_owned()), engine.end());
    let places = || engine.routes.plays.taken();
    let deadline = Instant::now() + Duration::from_secs(10);
    while places() > 0 {
        assert!(Instant::now() < deadline, "{} are still played", places());
        thread::yield_now();
    }
    assert_eq!("no_such_call", engine.json(404, "GET", "/api/v1/calls/silent", "")["code"]);

    for call in 0..plays::PLAYS_MAX {
        assert_eq!(1, play(&format!("p{call}"), "1+600000")["remaining"]);
    }
    let full = engine.json(503, "POST", "/api/v1/calls/p/digits", r#"{"digits":"1w1"}"#);
    assert_eq!("too_many_plays", full["code"]);
    assert_eq!("no_such_call", engine.json(404, "GET", "/api/v1/calls/p", "")["code"], "not even its first");
    engine.press("p", "1");
}

#[test]
fn an_update_is_shown_retried_and_dropped() {
    let engine = Engine::rejecting();
    engine.press("c", "11");
    engine.await_parked(1);
    let mut update = engine.json(200, "GET", "/api/v1/outbox?state=parked", "")["updates"][0].clone();
    let fields = update.as_object_mut().unwrap();
    let id = fields.remove("id").unwrap().as_str().unwrap().to_owned();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let ended = fields.remove("ended").unwrap();
    assert!(ended.as_str().unwrap().len() == 24 && ended.as_str().unwrap().ends_with('Z'), "{ended}");
    assert!(fields.remove("ageMs").unwrap().as_u64().unwrap() < 20_000);
    let expected = json!({
        "call": "c", "interaction": "c", "source": "simulator", "attempts": 1, "state": "parked",
        "why": "rejected with 400", "variablesOmitted": 0, "variables": [
            { "name": "ivr_selection", "value": "[\"1\",\"1\"]" }, { "name": "ivr_status", "value": "one" }
        ]
    });
    assert_eq!(expected, update);
    let retry = format!("/api/v1/outbox/{id}/retry");
    assert_eq!(1, engine.json(200, "POST", &retry, "")["changed"]);
    engine.await_parked(1);
    assert_eq!(2, engine.json(200, "GET", "/api/v1/outbox", "")["updates"][0]["attempts"]);
    let one = format!("/api/v1/outbox/{id}");
    assert_eq!(json!({ "changed": 1, "parked": 0 }), engine.json(200, "DELETE", &one, ""));
    for (method, target) in [
        ("DELETE", one.as_str()),
        ("POST", &retry),
        ("DELETE", "/api/v1/outbox/1"),
        ("DELETE", "/api/v1/outbox/+00000000000000f"),
        ("POST", "/api/v1/outbox/00000000000000000/retry"),
    ] {
        assert_eq!("no_such_update", engine.json(404, method, target, "")["code"], "{method} {target}");
    }
    for (method, target, named) in [
        ("GET", "/api/v1/outbox?state=ready", "`state` is `ready`"),
        ("GET", "/api/v1/outbox?limit=0", "`limit`"),
        ("GET", "/api/v1/calls?state=all", "`state` is unknown"),
        ("DELETE", "/api/v1/outbox", "`state` must be `parked`"),
        ("DELETE", "/api/v1/outbox?state=all", "`state` must be `parked`"),
        ("GET", "/api/v1/history?call=%", "`call`"),
    ] {
        let problem = engine.json(422, method, target, "");
        assert_eq!("bad_parameter", problem["code"]);
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
}

#[test]
fn an_update_whose_attempt_is_under_way_is_not_dropped() {
    let (go_on, wait) = bounded::<()>(0);
    let engine = Engine::new(Reach::Own, move || {
        let _ = wait.recv();
        Outcome::Accepted { status: 200 }
    });
    engine.press("c", "11");
    let update = &engine.json(200, "GET", "/api/v1/outbox", "")["updates"][0];
    assert_eq!(("in_flight", 1), (update["state"].as_str().unwrap(), update["attempts"].as_u64().unwrap()));
    let one = format!("/api/v1/outbox/{}", update["id"].as_str().unwrap());
    assert_eq!("update_in_flight", engine.json(409, "DELETE", &one, "")["code"]);
    assert_eq!(
        json!({ "updates": [], "next": null }),
        engine.json(200, "GET", "/api/v1/outbox?state=parked", "")
    );
    drop(go_on);
}

#[test]
fn shows_no_masked_entry_and_bounds_what_it_shows_of_variables() {
    let (routes, outlet) = routes(None);
    let variable = |name: &str, value| Variable { name: name.into(), value };
    let mut variables = vec![
        variable("clear", Said::Raw("4111111111111111".to_owned())),
        variable("gone", Said::Lost),
        variable("long", Said::Plain("x".repeat(2_000))),
    ];
    variables.extend((0..40).map(|n| Variable::plain(&n.to_string(), &"y".repeat(1_000))));
    let update = Update {
        source: Source::Voice,
        call: "c".into(),
        generation: Tick(1),
        interaction: Some("i".into()),
        variables,
        ended: Tick(1_709_251_199_999),
    };
    let standing = UpdateStanding {
        name: 0xab,
        update: Arc::new(update),
        attempts: 0,
        age_ms: 5,
        state: UpdateState::Parked(Parked::RawLost),
    };
    let _engine = engine(outlet, move |question| match question {
        Ask::Retry(_) => Answer::RawLost,
        Ask::Outbox { page, .. } => Answer::Outbox(vec![standing.clone(); page.limit], None),
        _ => Answer::Pong,
    });
    let reply = ask(&routes, "GET", "/api/v1/outbox", "");
    assert!(!reply.body.contains("4111") && reply.body.len() < 1024 * 1024, "{} bytes", reply.body.len());
    let page: Value = serde_json::from_str(&reply.body).unwrap();
    let update = &page["updates"][0];
    assert_eq!(json!("00000000000000ab"), update["id"]);
    assert_eq!("i", update["interaction"]);
    assert!(update["ended"].as_str().is_some_and(|ended| ended.starts_with("20") && ended.ends_with('Z')));
    let shown = update["variables"].as_array().unwrap();
    assert_eq!(json!({ "name": "clear", "value": null, "note": "raw" }), shown[0]);
    assert_eq!(json!({ "name": "gone", "value": null, "note": "lost" }), shown[1]);
    assert_eq!(json!({ "name": "long", "value": format!("{}…", "x".repeat(1024)), "note": "cut" }), shown[2]);
    assert!(shown.len() < 20 && update["variablesOmitted"] == 43 - shown.len(), "{} shown", shown.len());
    assert_eq!("raw_value_lost", code(&ask(&routes, "POST", "/api/v1/outbox/00000000000000ab/retry", "")));
}

/// A history of 250 calls, `c0` the oldest, in pages as the store gives them.
struct Pretended;

impl History for Pretended {
    fn page(&self, call: Option<&str>, Page { after, limit }: Page) -> Result<HistoryPage, String> {
        if call == Some("broken") {
            return Err("the disk is gone".to_owned());
        }
        let below = if after == 0 { 251 } else { after };
        let all = (1..below).rev().map(|number| (number, format!("c{}", number - 1)));
        let mut found = all.filter(|(_, id)| call.is_none_or(|call| call == id));
        let taken: Vec<_> = found.by_ref().take(limit).collect();
        let next = taken.last().filter(|_| found.next().is_some()).map(|&(number, _)| number);
        let entries = taken.into_iter().map(|(number, id)| HistoryEntry {
            number,
            source: Source::Voice,
            id,
            interaction: None,
            to: None,
            tree: Version(0x12345678 << 96),
            began_ms: number * 1_000,
            ended_ms: number * 1_000 + 500,
            outcome: "one".to_owned(),
            reason: String::new(),
            node: "b".to_owned(),
            writes: true,
            // After 200 ms the key 1, accepted, and 5 ms later a masked one, too late.
            presses: Presses::read(&[0xc8, 0x01, 9, 5, 16 * 9 + 5]).collect(),
            omitted: 2,
        });
        Ok(HistoryPage { entries: entries.collect(), next })
    }
}

#[test]
fn the_history_comes_last_call_first_and_shows_one_call_key_by_key() {
    let mut engine = Engine::rejecting();
    assert_eq!("no_history", engine.json(404, "GET", "/api/v1/history", "")["code"]);
    engine.routes.history = Some(Box::new(Pretended));
    let (n_pages, calls) = engine.all("/api/v1/history?limit=100", "calls");
    let ids: Vec<_> = calls.iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((3, (0..250).rev().map(|number| format!("c{number}")).collect::<Vec<_>>()), (n_pages, ids));
    let mut expected = json!({
        "id": "c7", "source": "voice", "interaction": "c7", "to": null, "state": "ended",
        "began": "1970-01-01T00:00:08.000Z", "ended": "1970-01-01T00:00:08.500Z", "outcome": "one", "reason": "",
        "node": "b", "tree": "12345678", "writes": true, "digits": "1•", "digitsOmitted": 2
    });
    let page = engine.json(200, "GET", "/api/v1/history?call=c7", "");
    assert_eq!(json!({ "calls": [expected], "next": null }), page);
    expected["presses"] = json!([
        { "atMs": 200, "digit": "1", "result": "accepted" }, { "atMs": 205, "digit": null, "result": "late" }
    ]);
    assert_eq!(expected, engine.json(200, "GET", "/api/v1/calls/c7", ""));
    engine.press("c7", "1");
    assert_eq!("in_progress", engine.json(200, "GET", "/api/v1/calls/c7", "")["state"], "the later one");
    assert_eq!("no_such_call", engine.json(404, "GET", "/api/v1/calls/c250", "")["code"]);
    for target in ["/api/v1/history?call=broken", "/api/v1/calls/broken"] {
        let problem = engine.json(503, "GET", target, "");
        assert_eq!("history_unreadable", problem["code"]);
        assert_eq!("the disk is gone", problem["detail"]);
    }
}

#[test]
fn nothing_of_the_api_is_answered_late_or_while_stopping() {
    let (routes, outlet) = routes(Some(Reach::Own));
    let (answered, late) = (engine(outlet, |_| Answer::Stopping), "stopping");
    for (method, target) in [
        ("GET", "/api/v1/calls"),
        ("GET", "/api/v1/calls/c"),
        ("DELETE", "/api/v1/calls/c"),
        ("GET", "/api/v1/outbox"),
        ("POST", "/api/v1/outbox/retry"),
        ("POST", "/api/v1/outbox/0000000000000000/retry"),
        ("DELETE", "/api/v1/outbox/0000000000000000"),
    ] {
        let reply = ask(&routes, method, target, "");
        assert_eq!((503, late), (reply.status, code(&reply).as_str()), "{method} {target}");
    }
    let reply = ask(&routes, "POST", "/api/v1/calls/c/digits", r#"{"digits":"1"}"#);
    assert_eq!((503, late), (reply.status, code(&reply).as_str()));
    drop(routes);
    assert_eq!(8, answered.join().unwrap().len(), "a call is looked for once and not twice");
}

#[test]
fn the_simulator_turned_off_presses_and_hangs_up_nothing() {
    let (routes, _outlet) = routes(None);
    for (method, target) in [("POST", "/api/v1/calls/c/digits"), ("DELETE", "/api/v1/calls/c")] {
        assert_eq!("simulator_off", code(&ask(&routes, method, target, r#"{"digits":"1"}"#)), "{method}");
    }
}
