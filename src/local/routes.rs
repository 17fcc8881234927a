//! What the local API answers: the routes, apart from how requests come and go.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::guard::{Door, Origins};
use super::head::BODY_MAX;
use super::problem::{PROBLEM_JSON, Problem};
use crate::call_id;
use crate::engine::{Answer, Key, Reach, Verdict};
use crate::inbox::{Ask, Inbox, NoAnswer};
use crate::observe::status::Status;

/// How long a key press waits for the engine.
const PRESS_PATIENCE: Duration = Duration::from_secs(2);

/// How long `/livez` waits for it: less than the prober's own patience, which is often a second or more.
const PING_PATIENCE: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Every path, and the methods that it takes, as `Allow` lists them.
const ROUTES: [(&str, Route, &str); 5] = [
    ("/", Route::Index, "GET, HEAD"),
    ("/health", Route::Health, "GET, HEAD"),
    ("/livez", Route::Livez, "GET, HEAD"),
    ("/readyz", Route::Readyz, "GET, HEAD"),
    ("/simulator", Route::Simulator, "POST"),
];

const INDEX: &str = "\
dtmfd, the local API

GET  /health            whether this answers
GET  /livez             whether the engine answers
GET  /readyz[?verbose]  whether the links to the tenant are well
POST /simulator         {\"callId\":\"c1\",\"digit\":\"1\"} presses a key on a simulated call
";

#[derive(Clone, Copy)]
enum Route {
    Index,
    Health,
    Livez,
    Readyz,
    Simulator,
}

/// A request, as far as the routes are concerned.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// In origin-form: a path and perhaps a query.
    pub(super) target: &'a str,
    pub(super) from: Origins<'a>,
    pub(super) body: &'a [u8],
}

/// An answer, before it is anything of HTTP but its status.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Cow<'static, str>,
    pub(super) header: Option<(&'static str, &'static str)>,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<Cow<'static, str>>) -> Reply {
        Reply { status, content_type, body: body.into(), header: None }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Reply {
        let body = problem.body().into();
        Reply { status: problem.status, content_type: PROBLEM_JSON, body, header: problem.header }
    }
}

/// What the routes need.
pub(super) struct Routes {
    pub(super) door: Door,
    pub(super) inbox: Inbox,
    pub(super) status: Arc<Status>,
    /// What a simulated press may do; `None` turns the simulator off.
    pub(super) simulator: Option<Reach>,
}

impl Routes {
    /// Answers. It waits for the engine at most [`PRESS_PATIENCE`].
    pub(super) fn answer(&self, asked: Asked<'_>) -> Reply {
        self.try_answer(asked).unwrap_or_else(Reply::from)
    }

    fn try_answer(&self, asked: Asked<'_>) -> Result<Reply, Problem> {
        let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
        let change = !["GET", "HEAD"].contains(&asked.method);
        self.door.check(path, change, asked.from)?;
        let Some(&(_, route, methods)) = ROUTES.iter().find(|(name, ..)| *name == path) else {
            return Err(Problem::new(404, "not_found", "there is nothing here: GET / lists what there is"));
        };
        if !methods.split(", ").any(|method| method == asked.method) {
            let detail = format!("{path} takes {methods}");
            return Err(Problem::new(405, "method_not_allowed", detail).with("Allow", methods));
        }
        match route {
            Route::Index => Ok(Reply::new(200, TEXT, INDEX)),
            Route::Health => Ok(Reply::new(200, TEXT, "ok")),
            Route::Livez => Ok(self.livez()),
            Route::Readyz => Ok(self.readyz(query)),
            Route::Simulator => self.press(asked.body),
        }
    }

    fn livez(&self) -> Reply {
        match self.inbox.ask(Ask::Ping, PING_PATIENCE) {
            Ok(_) => Reply::new(200, TEXT, "ok"),
            Err(error) => Reply::new(503, TEXT, error.to_string()),
        }
    }

    fn readyz(&self, query: &str) -> Reply {
        let lines = self.status.lines(Instant::now());
        let ready = lines.iter().all(|(well, _)| *well);
        let verbose = query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="));
        let mut text = String::new();
        for (well, line) in lines.iter().filter(|(well, _)| verbose || !well) {
            text.extend([
                if !verbose {
                    ""
                } else if *well {
                    "[+] "
                } else {
                    "[-] "
                },
                line,
                "\n",
            ]);
        }
        if ready {
            text.push_str("ready");
        } else if verbose {
            text.push_str("not ready");
        }
        Reply::new(if ready { 200 } else { 503 }, TEXT, text)
    }

    fn press(&self, body: &[u8]) -> Result<Reply, Problem> {
        let Some(reach) = self.simulator else {
            return Err(Problem::new(404, "simulator_off", "the simulator is off: see --simulator"));
        };
        let (call, key) = read_press(body)?;
        match self.inbox.ask(Ask::Press { call, key, reach }, PRESS_PATIENCE) {
            Ok(Answer::OfTheStream) => {
                let detail = "the voice stream has shown this call, so it is not the simulator's";
                Err(Problem::new(409, "call_of_the_stream", detail))
            }
            Ok(Answer::Pressed(Verdict::Refused)) => {
                let detail = "there is no room for another call: GET /readyz says what is full";
                Err(Problem::new(503, "no_room", detail).with("Retry-After", "1"))
            }
            Ok(Answer::Pressed(_)) => Ok(Reply::new(200, JSON, r#"{"status":"digit_processed"}"#)),
            // A press has no other answer; while the engine drains it takes none.
            Ok(_) | Err(NoAnswer::Closed) => Err(unavailable("stopping", "dtmfd is stopping")),
            Err(error @ NoAnswer::Late) => Err(unavailable("engine_late", &error.to_string())),
        }
    }
}

fn unavailable(code: &'static str, detail: &str) -> Problem {
    Problem::new(503, code, detail.to_owned()).with("Retry-After", "1")
}

/// What `POST /simulator` takes. Other members are ignored, and nothing of them is kept.
#[derive(Deserialize)]
struct Press<'a> {
    #[serde(rename = "callId", borrow)]
    call: Cow<'a, str>,
    #[serde(borrow)]
    digit: Cow<'a, str>,
}

fn read_press(body: &[u8]) -> Result<(String, Key), Problem> {
    if body.len() > BODY_MAX {
        let detail = format!("a request's body has at most {BODY_MAX} bytes");
        return Err(Problem::new(413, "body_too_large", detail));
    }
    let example = r#"send {"callId":"c1","digit":"1"}"#;
    let not_json = |error: &dyn std::fmt::Display| {
        Problem::new(400, "not_json", format!("the body is not JSON ({error}): {example}"))
    };
    let text = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
    // The whole of it is read first, so that whether it is JSON does not hang on where a type is wrong.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
    let press: Press<'_> = serde_json::from_str(text).map_err(|_| {
        Problem::new(
            422,
            "bad_press",
            format!("`callId` and `digit` are strings, each there once: {example}"),
        )
    })?;
    call_id::check(&press.call).map_err(|error| Problem::new(422, "bad_call_id", error.to_string()))?;
    let mut symbols = press.digit.chars();
    match (symbols.next().and_then(Key::parse), symbols.next()) {
        (Some(key), None) => Ok((press.call.into_owned(), key)),
        _ => Err(Problem::new(422, "bad_digit", "`digit` is one of 0-9 * # A-D")),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::engine::NoMatch;
    use crate::inbox::{Incoming, Outlet, inbox};
    use crate::observe::status::Link;

    fn routes(simulator: Option<Reach>) -> (Routes, Outlet) {
        let (inbox, outlet) = inbox();
        (Routes { door: Door::Unix, inbox, status: Arc::default(), simulator }, outlet)
    }

    fn ask(routes: &Routes, method: &str, target: &str, body: &str) -> Reply {
        routes.answer(Asked { method, target, body: body.as_bytes(), ..Asked::default() })
    }

    fn code(reply: &Reply) -> String {
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
    fn engine(
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
}
