//! What the local API answers: the routes, apart from how requests come and go.
//!
//! # The JSON of `/api/v1`
//!
//! Names of members are in camel case, names that are values in snake case; moments are ISO 8601 in UTC
//! with milliseconds. More members may come: who reads skips those it doesn't know.
//!
//! A list comes in pages: `{"calls":[…],"next":N|null}`, with `?after=N` for the page after and
//! `?limit=1..100` (default 100). Whatever `limit` says, a page ends before it gets larger than 768 KiB.
//! One of the outbox may be empty though there is a next: the engine looks at so many updates and no more.
//! `next` means something to the list that gave it, and to nobody else.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /api/v1/calls` | calls in progress: `{"calls":[call…],"next"}` |
//! | `GET /api/v1/calls/{id}` | that call, else the last one of that id in the history with its `presses` |
//! | `POST /api/v1/calls/{id}/digits` `{"digits":"1wA1"}` | presses on a simulated call, see below |
//! | `DELETE /api/v1/calls/{id}` | hangs a simulated call up: `{"status":"hung_up"}` |
//! | `GET /api/v1/outbox` (`?state=parked\|all`, default `all`) | updates: `{"updates":[update…],"next"}` |
//! | `POST /api/v1/outbox/{id}/retry` | tries it now: `{"changed":1,"parked":N}` |
//! | `DELETE /api/v1/outbox/{id}` | drops it for ever: `{"changed":1,"parked":N}` |
//! | `POST /api/v1/outbox/retry` | tries what is parked, at most 1000: ask again while `parked` goes down |
//! | `DELETE /api/v1/outbox?state=parked` | drops what is parked, at most 1000 |
//! | `GET /api/v1/history` (`?call=ID`) | ended calls, the last first: `{"calls":[ended…],"next"}` |
//!
//! * A *call*: `id`, `source` (`voice`, `simulator`), `interaction`, `state` (`in_progress`), `ageMs`, `node`,
//!   `attempt` (1 for the first at this node), `entered` (digits of the entry so far), `dueInMs` (until its
//!   next deadline), `dry` (it will write nothing).
//! * An *ended* call: `id`, `source`, `interaction`, `to` (or null), `state` (`ended`), `began`, `ended`,
//!   `outcome`, `reason` (empty, `noinput`, `invalid`, `limit`, `hangup`, …), `node`, `tree`, `writes`,
//!   `digits` (one character a press, `•` for one that was masked) and `digitsOmitted` (presses after the
//!   record was full). Alone it has `presses` as well: `{"atMs","digit","result"}` each, where `digit` is
//!   null if it was masked.
//! * An *update*: `id` (16 hexadecimal digits), `call`, `interaction`, `source`, `ended` (when its call did),
//!   `ageMs`, `attempts`, `state` (`held`, `ready`, `in_flight`, `waiting`, `parked`), `why` (in words),
//!   `variables`, `variablesOmitted`. A variable is `{"name","value"}`; where there is a `note` the value
//!   is not all of it: `cut` (only its first 1 KiB is here), `raw` (a masked entry in clear: null), `lost` (a
//!   masked entry in clear that a restart forgot: null). Past 16 KiB of them the others are only counted.
//! * Presses: the digits, pauses and hang-ups of the press language ([`crate::press`]), at most 256 steps;
//!   digits follow at once. The answer tells what each did up to the first pause:
//!   `{"presses":[{"digit":"1","result":"accepted"},…],"remaining":N}`, with 200 where that is all, else 202:
//!   the rest is played as time goes by, for an hour at most, until the call ends.
//!
//! # Problems
//!
//! Whatever is not answered as asked is RFC 9457 problem JSON: `title`, `status`, `code`, `detail`. Codes
//! under `/api/v1`, beside the guards' and the gate's: 400 `not_json`, `bad_call_id`; 404 `not_found`, `no_such_call`,
//! `no_such_update`, `no_history` (nothing is kept), `simulator_off`; 405 `method_not_allowed`; 409
//! `call_of_the_stream`, `update_in_flight`, `raw_value_lost`; 422 `bad_parameter`, `bad_press`, `bad_digits`;
//! 503 `no_room`, `too_many_plays`, `stopping`, `engine_late`, `history_unreadable`.

mod calls;
mod history;
mod outbox;
mod page;
mod presses;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::guard::{Door, Origins};
use super::plays::Plays;
use super::problem::{PROBLEM_JSON, Problem};
use crate::call_id;
use crate::engine::{Answer, Reach};
use crate::history::History;
use crate::inbox::{Ask, Inbox, NoAnswer};
use crate::observe::status::Status;

/// How long a question waits for the engine.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long `/livez` waits for it: less than the prober's own patience, which is often a second or more.
const PING_PATIENCE: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Stands for one segment of a path that names a call or an update.
const ID: &str = "{id}";

/// Every path, and the methods that it takes, as `Allow` lists them. The first that fits holds.
const ROUTES: [(&str, Route, &str); 13] = [
    ("/", Route::Index, "GET, HEAD"),
    ("/health", Route::Health, "GET, HEAD"),
    ("/livez", Route::Livez, "GET, HEAD"),
    ("/readyz", Route::Readyz, "GET, HEAD"),
    ("/simulator", Route::Simulator, "POST"),
    ("/api/v1/calls", Route::Calls, "GET, HEAD"),
    ("/api/v1/calls/{id}", Route::Call, "GET, HEAD, DELETE"),
    ("/api/v1/calls/{id}/digits", Route::Digits, "POST"),
    ("/api/v1/outbox", Route::Outbox, "GET, HEAD, DELETE"),
    ("/api/v1/outbox/retry", Route::RetryParked, "POST"),
    ("/api/v1/outbox/{id}", Route::Update, "DELETE"),
    ("/api/v1/outbox/{id}/retry", Route::Retry, "POST"),
    ("/api/v1/history", Route::History, "GET, HEAD"),
];

const INDEX: &str = "\
dtmfd, the local API

GET    /health                    whether this answers
GET    /livez                     whether the engine answers
GET    /readyz[?verbose]          whether the links to the tenant are well
POST   /simulator                 {\"callId\":\"c1\",\"digit\":\"1\"} presses a key on a simulated call

Lists come in pages: ?after=N, which the page before named as `next`, and ?limit=1..100.

GET    /api/v1/calls              calls in progress
GET    /api/v1/calls/ID           one of them, else how it went
POST   /api/v1/calls/ID/digits    {\"digits\":\"1wA1\"} presses keys on a simulated call; w and W are pauses
DELETE /api/v1/calls/ID           hangs a simulated call up
GET    /api/v1/outbox             updates that are not acknowledged; ?state=parked
POST   /api/v1/outbox/ID/retry    tries one now
DELETE /api/v1/outbox/ID          drops one for ever
POST   /api/v1/outbox/retry       tries those that are parked, a thousand at a time
DELETE /api/v1/outbox?state=parked    drops them
GET    /api/v1/history[?call=ID]  calls that have ended, the last first
";

#[derive(Clone, Copy, Debug)]
enum Route {
    Index,
    Health,
    Livez,
    Readyz,
    Simulator,
    Calls,
    Call,
    Digits,
    Outbox,
    RetryParked,
    Update,
    Retry,
    History,
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

    fn json(status: u16, value: &impl Serialize) -> Reply {
        Reply::new(status, JSON, to_json(value))
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them always become JSON")
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
    /// Where presses go that hold pauses.
    pub(super) plays: Plays,
    /// Where ended calls are found; `None` if nothing is kept.
    pub(super) history: Option<Box<dyn History>>,
}

impl Routes {
    /// Answers. Each question to the engine waits at most [`PATIENCE`].
    pub(super) fn answer(&self, asked: Asked<'_>) -> Reply {
        self.try_answer(asked).unwrap_or_else(Reply::from)
    }

    fn try_answer(&self, asked: Asked<'_>) -> Result<Reply, Problem> {
        let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
        let change = !["GET", "HEAD"].contains(&asked.method);
        self.door.check(path, change, asked.from)?;
        let found = ROUTES.iter().find_map(|&(pattern, route, methods)| {
            segment_of(pattern, path).map(|segment| (route, methods, segment))
        });
        let Some((route, methods, segment)) = found else {
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
            Route::Calls => self.calls(query),
            Route::Call if change => self.hang_up(&call_of(segment)?),
            Route::Call => self.call(&call_of(segment)?),
            Route::Digits => self.press_digits(call_of(segment)?, asked.body),
            Route::Outbox if change => self.drop_parked(query),
            Route::Outbox => self.outbox(query),
            Route::RetryParked => self.retry_parked(),
            Route::Update => self.drop_update(segment),
            Route::Retry => self.retry_update(segment),
            Route::History => self.history(query),
        }
    }

    /// Asks the engine.
    fn ask(&self, question: Ask) -> Result<Answer, Problem> {
        match self.inbox.ask(question, PATIENCE) {
            Ok(Answer::Stopping) | Err(NoAnswer::Closed) => Err(unavailable("stopping", "dtmfd is stopping")),
            Ok(answer) => Ok(answer),
            Err(error @ NoAnswer::Late) => Err(unavailable("engine_late", &error.to_string())),
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
}

/// Returns the segment of `path` that stands where [`ID`] does in `pattern`, and nothing where none does.
/// `None` if the path is another.
fn segment_of<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let mut found = "";
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected {
            ID if segment.is_empty() => return None,
            ID => found = segment,
            _ if segment != expected => return None,
            _ => (),
        }
    }
    segments.next().is_none().then_some(found)
}

/// Reads a call's id out of a path.
fn call_of(segment: &str) -> Result<String, Problem> {
    call_id::decode(segment).map_err(|error| Problem::new(400, "bad_call_id", error.to_string()))
}

fn no_such_call() -> Problem {
    let detail = "no such call is in progress, and none that ended is known: GET /api/v1/calls lists those in progress";
    Problem::new(404, "no_such_call", detail)
}

fn of_the_stream() -> Problem {
    let detail = "the voice stream has shown this call, so it is not the simulator's";
    Problem::new(409, "call_of_the_stream", detail)
}

/// The engine never gives this answer to that question.
fn unexpected() -> Problem {
    Problem::new(500, "internal", "dtmfd made a mistake: please report what you asked")
}

fn unavailable(code: &'static str, detail: &str) -> Problem {
    Problem::new(503, code, detail.to_owned()).with("Retry-After", "1")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod v1_tests;
