//! Thread `api`: takes requests from tiny_http one by one, and answers them.

use std::io::Read;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use log::{error, warn};
use tiny_http::{Header, Request, Response, StatusCode};

use super::guard::Origins;
use super::head::BODY_MAX;
use super::lane::Lane;
use super::problem::{ALWAYS, Problem};
use super::routes::{Asked, Reply, Routes};

/// How long to wait before tiny_http is started anew; each time in vain twice as long, up to the other. What
/// it lacks, threads or descriptors, comes back when it does, and every attempt in vain says so.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_millis(800);

/// Thread `api`.
pub struct Api {
    pub(super) lane: Arc<Lane>,
    pub(super) routes: Routes,
}

impl Api {
    /// Answers requests until the gate has ended.
    pub fn run(self) {
        let mut pause = RESTART_PAUSE;
        while !self.lane.is_stopping() {
            let received = self.lane.current().map(|server| server.recv());
            match received {
                Some(Ok(request)) => {
                    pause = RESTART_PAUSE;
                    self.answer(request);
                }
                Some(Err(_)) | None if self.lane.is_stopping() => break,
                Some(Err(_)) | None => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(RESTART_PAUSE_MAX);
                    self.restart();
                }
            }
        }
    }

    /// Starts tiny_http anew if nobody accepts any more: one failed accept ends it for good.
    fn restart(&self) {
        if self.lane.is_stopping() || !self.lane.is_dead() {
            return;
        }
        match self.lane.start() {
            Ok(()) => warn!("the local API has been started anew"),
            Err(error) => error!("the local API cannot be started anew: {error}"),
        }
    }

    fn answer(&self, mut request: Request) {
        let mut body = Vec::new();
        // The gate has sent all of it; the bound is there for whatever it may have overlooked.
        let read = request.as_reader().take(BODY_MAX as u64 + 1).read_to_end(&mut body);
        let reply = if read.is_ok() {
            let routed = panic::catch_unwind(AssertUnwindSafe(|| self.routes.answer(asked(&request, &body))));
            routed.unwrap_or_else(|_| {
                error!("the local API panicked over a request");
                Problem::new(500, "internal", "dtmfd made a mistake: its log says which").into()
            })
        } else {
            Problem::new(400, "incomplete_request", "the request ended before it was whole").into()
        };
        // Where this fails nobody is left to tell.
        let _ = request.respond(response(reply));
    }
}

fn asked<'a>(request: &'a Request, body: &'a [u8]) -> Asked<'a> {
    let header = |name: &str| {
        let mut headers = request.headers().iter();
        headers.find(|header| header.field.as_str().as_str().eq_ignore_ascii_case(name))
    };
    let value = |name: &str| header(name).map(|header| header.value.as_str());
    let from = Origins {
        host: value("Host"),
        origin: value("Origin"),
        site: value("Sec-Fetch-Site"),
        authorization: value("Authorization"),
    };
    Asked { method: request.method().as_str(), target: request.url(), from, body }
}

fn response(reply: Reply) -> Response<std::io::Cursor<Vec<u8>>> {
    let Reply { status, content_type, body, header } = reply;
    let always = ALWAYS.into_iter().chain([("Content-Type", content_type)]).chain(header);
    // They are all constants of ours, in ASCII; one that was not would be left out.
    let headers = always.filter_map(|(name, value)| Header::from_bytes(name, value).ok());
    let body = body.into_owned().into_bytes();
    let length = body.len();
    Response::new(StatusCode(status), headers.collect(), std::io::Cursor::new(body), Some(length), None)
        .with_chunked_threshold(usize::MAX) // The gate sends an answer on when it has all of it.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_length_and_its_headers() {
        let reply = Problem::new(405, "x", "y".repeat(100_000)).with("Allow", "GET").into();
        let response = response(reply);
        assert!(response.data_length().is_some_and(|length| length > 100_000));
        assert!(response.chunked_threshold() > 1_000_000);
        let names: Vec<_> = response.headers().iter().map(|header| header.to_string()).collect();
        assert_eq!(
            vec![
                "Server: dtmfd",
                "Cache-Control: no-store",
                "X-Content-Type-Options: nosniff",
                "Content-Type: application/problem+json",
                "Allow: GET",
            ],
            names
        );
    }
}
