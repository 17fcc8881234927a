//! Every route, as a client sees it, before HTTP.

use std::thread;

use super::*;
use crate::engine::{Answer, Key, NoMatch, Verdict};
use crate::inbox::{Incoming, Outlet, inbox};
use crate::local::head::BODY_MAX;
use crate::local::plays;
use crate::observe::status::Link;

pub(super) fn routes(simulator: Option<Reach>) -> (Routes, Outlet) {
    let (inbox, outlet) = inbox();
    let (plays, _) = plays::plays(inbox.clone());
    let status = Arc::default();
    (Routes { door: Door::Unix, inbox, status, simulator, plays, history: None }, outlet)
}

pub(super) fn ask(routes: &Routes, method: &str, target: &str, body: &str) -> Reply {
    routes.answer(Asked { method, target, body: body.as_bytes(), ..Asked::default() })
}

pub(super) fn code(reply: &Reply) -> String {
    assert_eq!(PROBLEM_JSON, reply.content_type, "{}", reply.body);
    let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(u64::from(reply.status), json["status"]);
    json["code"].as_str().unwrap().to_owned()
}

#[test]
fn says_what_there_is_and_what_is_not() {
    let (routes, _outlet) = routes(Some(Reach::Own));
    for method in ["GET", "HEAD"] {
        assert_eq!(Reply::new(200, TEXT, "ok"), ask(&routes, method, "/health?x", ""));
        assert_eq!(200, ask(&routes, method, "/", "").status);
    }
    for (method, target, expected, header) in [
        ("GET", "/nothing", "not_found", None),
        ("GET", "/health/", "not_found", None),
        ("GET", "//health", "not_found", None),
        ("GET", "/simulator", "method_not_allowed", Some(("Allow", "POST"))),
        ("POST", "/health", "method_not_allowed", Some(("Allow", "GET, HEAD"))),
        ("get", "/health", "method_not_allowed", Some(("Allow", "GET, HEAD"))),
        ("", "/readyz", "method_not_allowed", Some(("Allow", "GET, HEAD"))),
    ] {
        let reply = ask(&routes, method, target, "");
        assert_eq!((expected, header), (code(&reply).as_str(), reply.header), "{method} {target}");
    }
    let (off, _outlet) = super::tests::routes(None);
    assert_eq!("simulator_off", code(&ask(&off, "POST", "/simulator", "{}")));
}

#[test]
fn guards_come_first() {
    let (mut routes, _outlet) = routes(Some(Reach::Own));
    routes.door = Door::Remote { token: "t".to_owned() };
    assert_eq!("unauthorized", code(&ask(&routes, "GET", "/nothing", "")));
    assert_eq!(200, ask(&routes, "GET", "/health", "").status);
}

#[test]
fn tells_a_wrong_body_from_wrong_values() {
    let (routes, _outlet) = routes(Some(Reach::Own));
    let large = format!("{}{}", r#"{"callId":"c1","digit":"1"}"#, " ".repeat(BODY_MAX));
    let deep = "[".repeat(4000);
    for (body, status, expected) in [
        ("", 400, "not_json"),
        ("callId=c1&digit=1", 400, "not_json"),
        (r#"{"callId":"c1","digit":"1"} x"#, 400, "not_json"),
        (r#"{"callId":1,"digit":"1""#, 400, "not_json"),
        (deep.as_str(), 400, "not_json"),
        ("[]", 422, "bad_press"),
        ("1", 422, "bad_press"),
        ("{}", 422, "bad_press"),
        (r#"{"callId":"c1"}"#, 422, "bad_press"),
        (r#"{"callId":"c1","digit":1}"#, 422, "bad_press"),
        (r#"{"callId":null,"digit":"1"}"#, 422, "bad_press"),
        (r#"{"callId":"c1","digit":"1","digit":"2"}"#, 422, "bad_press"),
        (r#"{"callId":"","digit":"1"}"#, 422, "bad_call_id"),
        (r#"{"callId":"a b","digit":"1"}"#, 422, "bad_call_id"),
        (r#"{"callId":"..","digit":"1"}"#, 422, "bad_call_id"),
        (r#"{"callId":"c1","digit":""}"#, 422, "bad_digit"),
        (r#"{"callId":"c1","digit":"12"}"#, 422, "bad_digit"),
        (r#"{"callId":"c1","digit":"E"}"#, 422, "bad_digit"),
        (large.as_str(), 413, "body_too_large"),
    ] {
        let reply = ask(&routes, "POST", "/simulator", body);
        assert_eq!((status, expected), (reply.status, code(&reply).as_str()), "{body:.50}");
    }
    let reply = routes.answer(Asked {
        method: "POST",
        target: "/simulator",
        body: b"{\"callId\":\"\xff\",\"digit\":\"1\"}",
        ..Asked::default()
    });
    assert_eq!("not_json", code(&reply));
}

/// Answers every question, and returns the questions in the end.
pub(super) fn engine(
    outlet: Outlet,
    mut answer: impl FnMut(&Ask) -> Answer + Send + 'static,
) -> thread::JoinHandle<Vec<Ask>> {
    thread::spawn(move || {
        let mut questions = Vec::new();
        while let Ok(Incoming::Asked { question, reply }) = outlet.incoming.recv() {
            reply.send(answer(&question)).unwrap();
            questions.push(question);
        }
        questions
    })
}

#[test]
fn presses_and_says_what_came_of_it() {
    let (routes, outlet) = routes(Some(Reach::Dry));
    let mut answers = [
        Answer::Pressed(Verdict::Accepted),
        Answer::Pressed(Verdict::Rejected(NoMatch::Invalid)),
        Answer::Pressed(Verdict::Late),
        Answer::OfTheStream,
        Answer::Pressed(Verdict::Refused),
    ]
    .into_iter();
    let engine = engine(outlet, move |_| answers.next().unwrap());
    let body = r#"{"x":[{}],"callId":"c\u0031","digit":"a"}"#;
    for _ in 0..3 {
        let expected = Reply::new(200, JSON, r#"{"status":"digit_processed"}"#);
        assert_eq!(expected, ask(&routes, "POST", "/simulator", body));
    }
    for (status, expected) in [(409, "call_of_the_stream"), (503, "no_room")] {
        let reply = ask(&routes, "POST", "/simulator", body);
        assert_eq!((status, expected), (reply.status, code(&reply).as_str()));
    }
    drop(routes);
    let press = Ask::Press { call: "c1".to_owned(), key: Key::parse('A').unwrap(), reach: Reach::Dry };
    assert_eq!(vec![press; 5], engine.join().unwrap());
}

#[test]
fn says_so_where_the_engine_is_late_or_gone() {
    let (routes, outlet) = routes(Some(Reach::Own));
    assert_eq!(503, ask(&routes, "GET", "/livez", "").status);
    assert_eq!("engine_late", code(&ask(&routes, "POST", "/simulator", r#"{"callId":"c","digit":"1"}"#)));
    drop(outlet);
    assert_eq!(503, ask(&routes, "GET", "/livez", "").status);
    assert_eq!("stopping", code(&ask(&routes, "POST", "/simulator", r#"{"callId":"c","digit":"1"}"#)));
}

#[test]
fn is_ready_once_every_link_is() {
    let (routes, outlet) = routes(None);
    let _engine = engine(outlet, |_| Answer::Pong);
    assert_eq!(Reply::new(200, TEXT, "ok"), ask(&routes, "GET", "/livez", ""));
    routes.status.set_token(Link::Up);
    routes.status.set_websocket(Link::Down("refused".to_owned()));
    assert_eq!(Reply::new(503, TEXT, "websocket: refused\n"), ask(&routes, "GET", "/readyz", ""));
    let verbose = "[+] token: up\n[-] websocket: refused\n[+] updates: up\nnot ready";
    assert_eq!(Reply::new(503, TEXT, verbose), ask(&routes, "GET", "/readyz?verbose", ""));
    routes.status.set_websocket(Link::Up);
    assert_eq!(Reply::new(200, TEXT, "ready"), ask(&routes, "GET", "/readyz", ""));
}
