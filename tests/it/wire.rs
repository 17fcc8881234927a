//! What a call is called, all the way: from the bytes of a message to the request line that leaves.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use dtmfd::call_id;
use dtmfd::engine::{
    AskId, Attempt, Bounds, Calls, Event, Ivr, Key, Outcome, Output, Question, Reach, Source, Tick,
};
use dtmfd::inbound::message::{Kind as Message, decode};
use dtmfd::inbox::{Batch, Incoming, Outlet, inbox};
use dtmfd::outbound::{Client, work};
use dtmfd::tenant::{Kind, Url};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::program::PATIENCE;
use crate::script::tree;
use crate::tenant::{Tenant, as_a_tenant, net, tokens};

/// How many times a call is named.
const CASES: u32 = 4000;

const ONE_KEY: &str =
    r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "1": { "outcome": "one" } } } } }"#;

/// An engine's one worker, and a tenant that tells what it hears.
struct Line {
    ivr: Arc<Ivr>,
    jobs: Sender<Attempt>,
    outlet: Outlet,
    heads: Receiver<String>,
    tenant: Tenant,
}

impl Line {
    fn start() -> Line {
        let (hear, heads) = unbounded();
        let tenant = Tenant::answering(None, move |head| {
            hear.send(head.to_owned()).expect("it is listened to");
            as_a_tenant(head)
        });
        let url = Url::parse(&format!("http://127.0.0.1:{}", tenant.port), Kind::Http).expect("a URL");
        let net = net(None, None);
        let client = Client::new(&net, &tokens(&net, &url), &url);
        let (jobs, to_do) = bounded(1);
        let (inbox, outlet) = inbox();
        thread::spawn(move || work(client, to_do, inbox));
        Line { ivr: tree(ONE_KEY), jobs, outlet, heads, tenant }
    }

    /// Gives events to an engine, and returns the lines of the requests that came of them.
    fn requests(&self, happen: impl FnOnce(&mut Calls)) -> Vec<String> {
        let bounds = Bounds { calls_max: 4, attempts_max: 1 };
        let mut calls = Calls::new(Arc::clone(&self.ivr), bounds, 7, Tick(0));
        happen(&mut calls);
        while let Some(output) = calls.poll_output() {
            let Output::Deliver(attempt) = output else { continue };
            self.jobs.send(attempt).expect("the worker is there");
            let answer = self.outlet.incoming.recv_timeout(PATIENCE).expect("every job is answered");
            let Incoming::Finished { id, outcome, .. } = answer else { panic!("{answer:?}") };
            assert_eq!(Outcome::Accepted { status: 204 }, outcome);
            calls.handle(Event::AttemptFinished { id, outcome }, Tick(1));
        }
        let lines =
            self.heads.try_iter().map(|head| head.split("\r\n").next().unwrap_or_default().to_owned());
        lines.filter(|line| line != "POST /oauth/token HTTP/1.1").collect()
    }
}

/// Returns whether this may name a call: SPEC.md section 4, in other words than the code's.
fn may_name(id: &str) -> bool {
    let allowed = |byte| matches!(byte, b'!'..=b'~') && !b"/\\?#\"<>".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(allowed) && id != "." && id != ".."
}

/// Checks that a request line has the segments that it should, and this id as one of them.
#[track_caller]
fn names(line: &str, id: &str) {
    let [method, path, version] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
    assert_eq!(("POST", "HTTP/1.1"), (method, version));
    let ["", "api", "v2", "interactions", segment, "variables"] = path.split('/').collect::<Vec<_>>()[..]
    else {
        panic!("{path:?} of {id:?}");
    };
    // Percent-decoded by hand: what is not encoded is unreserved.
    let mut bytes = segment.bytes();
    let mut read = Vec::new();
    while let Some(byte) = bytes.next() {
        read.push(match byte {
            b'%' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                let hex = std::str::from_utf8(&hex).expect("two digits");
                assert_eq!(2, hex.len(), "{segment}");
                u8::from_str_radix(hex, 16).expect("two digits")
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => byte,
            _ => panic!("{segment:?} of {id:?}"),
        });
    }
    assert_eq!(id.as_bytes(), read, "{segment}");
}

/// 0 to 200 bytes: any, such as ids are made of, and all that has ever led a path astray.
fn ids() -> impl Strategy<Value = Vec<u8>> {
    let astray = prop::sample::select(
        &[
            "..",
            ".",
            "/",
            "\\",
            "%2e",
            "%2F",
            "%252f",
            "%00",
            "%",
            "?",
            "#",
            ";",
            "@",
            ":",
            "&",
            "=",
            " ",
            "\t",
            "\r\n",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{ff0f}",
            "é",
            "\"",
            "<",
            ">",
            "\u{1b}[2J",
            "HTTP/1.1",
            "a",
            "1",
            "~",
            "//evil.example",
            "../../admin",
        ][..],
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(b'!'..=b'~', 0..200),
        "[a-z0-9@%~.:-]{1,140}".prop_map(String::into_bytes),
        prop::collection::vec(astray, 0..12).prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

/// Gives a message to the engine as the reader does, and returns what it was.
fn hear(calls: &mut Calls, message: &[u8]) -> Message {
    let mut batch = Batch::default();
    let kind = decode(message, &mut batch).kind;
    batch.events(Source::Voice).for_each(|event| calls.handle(event, Tick(0)));
    kind
}

#[test]
fn whatever_a_call_is_called_its_request_has_the_expected_segments_or_there_is_none() {
    let line = Line::start();
    let sent = Cell::new(0u32);
    let refused = Cell::new(0u32);
    let count = |requests: &[String]| match requests.len() {
        0 => refused.set(refused.get() + 1),
        more => sent.set(sent.get() + more as u32),
    };
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let result = runner.run(&(ids(), ids(), 0..4), |(call, interaction, way)| {
        let json = |bytes: &[u8]| serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string();
        let text = String::from_utf8_lossy(&call).into_owned();
        let requests = match way {
            // A digit of a call of this name.
            0 => line.requests(|calls| {
                let kind = hear(
                    calls,
                    format!(r#"{{"type":"dtmf","digit":"1","callId":{}}}"#, json(&call)).as_bytes(),
                );
                assert_eq!(
                    if may_name(&text) { Message::Dtmf } else { Message::BadCallId },
                    kind,
                    "{text:?}"
                );
            }),
            // A call whose variables are written to something of this name; one that can't be counts as none.
            1 => line.requests(|calls| {
                let (call, interaction) = (json(&call), json(&interaction));
                let start =
                    format!(r#"{{"type":"call_started","callId":{call},"interactionId":{interaction}}}"#);
                hear(calls, start.as_bytes());
                hear(calls, format!(r#"{{"type":"dtmf","digit":"1","callId":{call}}}"#).as_bytes());
            }),
            // The local API, which asks the same of a call's name before it asks the engine.
            2 => line.requests(|calls| {
                if call_id::check(&text).is_ok() {
                    let key = Key::parse('1').expect("a key");
                    let press = Question::Press { call: &text, key, reach: Reach::Own };
                    calls.handle(Event::Asked(AskId(1), press), Tick(0));
                }
            }),
            // The bytes as they are, quotes, backslashes and broken UTF-8 and all.
            _ => {
                let digit = [br#"{"type":"dtmf","digit":"1","callId":""#, &call[..], br#""}"#].concat();
                let mut named = None;
                let requests = line.requests(|calls| {
                    let kind = hear(calls, &digit);
                    let read = serde_json::from_slice::<serde_json::Value>(&digit).ok();
                    named = read.and_then(|read| read["callId"].as_str().map(str::to_owned));
                    assert!(kind != Message::Dtmf || named.as_deref().is_some_and(may_name), "{digit:?}");
                    named = named.take().filter(|_| kind == Message::Dtmf);
                });
                assert_eq!(usize::from(named.is_some()), requests.len());
                requests.iter().zip(named).for_each(|(line, id)| names(line, &id));
                count(&requests);

                return Ok(());
            }
        };
        let other = String::from_utf8_lossy(&interaction).into_owned();
        let expected = if way == 1 && may_name(&other) { &other } else { &text };
        prop_assert_eq!(usize::from(may_name(&text)), requests.len(), "{:?}", text);
        requests.iter().for_each(|line| names(line, expected));
        count(&requests);

        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let (sent, refused) = (sent.get(), refused.get());
    let connections = line.tenant.connections();
    let _ = writeln!(
        std::io::stderr(),
        "calls' names: {sent} requests, {refused} refused, {connections} connections"
    );
    assert!(sent >= CASES / 8 && refused >= CASES / 8, "{sent} sent, {refused} refused");
    assert!(connections <= 2, "one for the token, one for all the requests");
}
