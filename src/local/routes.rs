//! What the local API answers: the routes, apart from how requests come and go.

mod presses;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guard::{Door, Origins};
use super::problem::{PROBLEM_JSON, Problem};
use crate::engine::Reach;
use crate::inbox::{Ask, Inbox};
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
}

fn unavailable(code: &'static str, detail: &str) -> Problem {
    Problem::new(503, code, detail.to_owned()).with("Retry-After", "1")
}

#[cfg(test)]
mod tests;
