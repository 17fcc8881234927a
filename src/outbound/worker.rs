//! The workers: one job, one attempt, one answer into the inbox.
//!
//! A worker decides nothing. When to try again, and whether, is the engine's: a waiting retry holds no worker.

use std::fmt;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use log::error;

use super::request::{body, idempotency_key, outcome, path};
use crate::engine::{Attempt, Failure, Outcome, Update};
use crate::inbox::{Inbox, Incoming};
use crate::observe::blot::blot;
use crate::tenant::{Limits, Net, Token, Tokens, Unanswered, Url, agent_within};

/// How much of an answer is read; a connection with more on it is dropped.
const ANSWER_BYTES_MAX: u64 = 8 << 10;

/// How much of an answer an operator is told.
const DETAIL_CHARS_MAX: usize = 200;

/// How long a worker without a job keeps its connection: the tenant has closed it by then, or will soon.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// The shortest time between two looks at the token of an idle worker that refreshes it.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// What a worker sends with. Each worker has its own, so that keeping a connection takes no lock that others hold.
#[derive(Debug)]
pub struct Client {
    net: Net,
    tokens: Tokens,
    api_url: Url,
    limits: Limits,
    line: Arc<Line>,
    refreshes_token: bool,
}

/// Cuts what a worker has in flight, from another thread.
#[derive(Debug)]
pub struct Cutter {
    line: Arc<Line>,
}

/// The worker's HTTP client, where its cutter finds it.
struct Line {
    agent: Mutex<Agent>,
}

struct Agent {
    agent: ureq::Agent,
    is_cut: bool,
}

/// Works until `jobs` closes, or until nobody takes the answers any more.
///
/// Every job has exactly one answer, whatever happens while it is worked on.
pub fn work(client: Client, jobs: Receiver<Attempt>, inbox: Inbox) {
    while let Ok(job) = next_job(&client, &jobs, IDLE_MAX) {
        let Answer { outcome, detail } =
            unless_it_panics(|| client.attempt(&job.update)).unwrap_or_else(|| {
                client.hang_up(); // Whatever state the panic left it in.
                Answer { outcome: Outcome::Failed(Failure::Network), detail: Some("worker panicked".into()) }
            });
        let finished = Incoming::Finished { id: job.id, outcome, at: Instant::now(), detail };
        if inbox.send(finished).is_err() {
            return;
        }
    }
}

/// Waits for the next job: hangs up once it has waited for `idle_max`, and refreshes the token whenever that is due
/// from then on, if that is this worker's to do.
fn next_job(client: &Client, jobs: &Receiver<Attempt>, idle_max: Duration) -> Result<Attempt, RecvError> {
    match jobs.recv_timeout(idle_max) {
        Err(RecvTimeoutError::Timeout) => client.hang_up(),
        Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
        Ok(job) => return Ok(job),
    }
    if !client.refreshes_token {
        return jobs.recv();
    }
    loop {
        let wait = client.tokens.refresh_due().saturating_duration_since(Instant::now());
        match jobs.recv_timeout(wait.max(REFRESH_PAUSE)) {
            Err(RecvTimeoutError::Timeout) => client.refresh_token(),
            Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
            Ok(job) => return Ok(job),
        }
    }
}

/// What came of an attempt, and what to tell an operator beside it.
#[derive(PartialEq, Eq, Debug)]
struct Answer {
    outcome: Outcome,
    detail: Option<Box<str>>,
}

/// Returns what `attempt` does, or nothing if it panics. A job that is never answered would count as in flight for ever.
fn unless_it_panics(attempt: impl FnOnce() -> Answer) -> Option<Answer> {
    let answer = catch_unwind(AssertUnwindSafe(attempt));
    answer.inspect_err(|_| error!("a worker panicked, its update will be tried again")).ok()
}

impl Client {
    /// Returns what one worker sends updates to `api_url` with.
    pub fn new(net: &Net, tokens: &Tokens, api_url: &Url) -> Client {
        Client::within(Limits::REQUEST, net, tokens, api_url)
    }

    fn within(limits: Limits, net: &Net, tokens: &Tokens, api_url: &Url) -> Client {
        let agent = Agent { agent: agent_within(net, limits), is_cut: false };
        Client {
            net: net.clone(),
            tokens: tokens.clone(),
            api_url: api_url.clone(),
            limits,
            line: Arc::new(Line { agent: Mutex::new(agent) }),
            refreshes_token: false,
        }
    }

    /// Returns the client of the one worker that refreshes the token in time while it has nothing else to do, so that
    /// no update has to wait for that after a quiet hour.
    #[must_use]
    pub fn refreshing_token(self) -> Client {
        Client { refreshes_token: true, ..self }
    }

    /// Returns what cuts this worker's request in flight.
    pub fn cutter(&self) -> Cutter {
        Cutter { line: Arc::clone(&self.line) }
    }

    /// Makes one attempt: a token, one request, one answer.
    fn attempt(&self, update: &Update) -> Answer {
        let token = match self.tokens.bearer() {
            Ok(token) => token,
            Err(none) => {
                let retry_in_ms = u64::try_from(none.retry_in.as_millis()).unwrap_or(u64::MAX);
                return Answer { outcome: Outcome::NoToken { retry_in_ms }, detail: Some(none.why.into()) };
            }
        };
        match self.post(update, &token) {
            Ok(answer) => {
                if let Outcome::Refused { token, .. } = answer.outcome {
                    self.tokens.refused(token);
                }
                answer
            }
            Err(Unanswered { is_timeout, why }) => {
                let failure = if is_timeout { Failure::Timeout } else { Failure::Network };
                Answer { outcome: Outcome::Failed(failure), detail: Some(why.into()) }
            }
        }
    }

    fn post(&self, update: &Update, token: &Token) -> Result<Answer, Unanswered> {
        let url = self.api_url.join(&path(update.interaction()));
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", token.bearer))
            .expect("a token is visible ASCII: that was checked when it came");
        authorization.set_sensitive(true);
        let agent = self.line.agent().agent.clone();
        let mut response = agent
            .post(url.to_string())
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", idempotency_key(update))
            .send(&body(update)[..])?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let outcome = outcome(status, header(RETRY_AFTER), token.id, SystemTime::now());
        let location = header(LOCATION).map(str::to_owned);
        // ureq keeps the connection once it has seen the end of the answer. What is read doesn't change the outcome.
        let mut answer = Vec::new();
        let _ = response.body_mut().as_reader().take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer);
        let detail = match status {
            300..=399 => location.map(|location| format!("redirects to {location}, which is never followed")),
            400.. => Some(String::from_utf8_lossy(&answer).into_owned()),
            _ => None,
        };
        Ok(Answer { outcome, detail: detail.and_then(|detail| for_operators(&detail, token, update)) })
    }

    /// Asks for a new token, if that is due. What comes of it is the tokens' to tell.
    fn refresh_token(&self) {
        let asked = catch_unwind(AssertUnwindSafe(|| drop(self.tokens.bearer())));
        if asked.is_err() {
            error!("a worker panicked while it refreshed the token, which will be tried again");
        }
    }

    /// Drops the connection that is kept, if any.
    fn hang_up(&self) {
        let mut line = self.line.agent();
        if !line.is_cut {
            line.agent = agent_within(&self.net, self.limits);
        }
    }
}

impl Cutter {
    /// Cuts the worker's request in flight, which fails then, and fails every later one.
    ///
    /// A name lookup or TCP connect in progress isn't cut; it takes 5 s at most.
    pub fn cut(self) {
        let mut line = self.line.agent();
        line.is_cut = true;
        let agent = line.agent.clone();
        drop(line);
        agent.shutdown();
    }
}

impl Line {
    fn agent(&self) -> MutexGuard<'_, Agent> {
        // Every write is an assignment: what a panicking thread left is whole.
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// Returns the beginning of what a server said: one line, control characters escaped, and blotted out what it may
/// repeat of ours: the token, the values of the variables, and, for they may be a caller's, all runs of 3 or more
/// decimal digits. So statuses and ids in its words are lost.
pub(super) fn for_operators(said: &str, token: &Token, update: &Update) -> Option<Box<str>> {
    let said = blot(said, &token.bearer, update.texts().map(|(_, value)| value));
    // `escape_debug` escapes what would not show, or would change how the rest shows; quotes are harmless here.
    let is_printable = |char: char| "\"'\\".contains(char) || char.escape_debug().len() == 1;
    let mut detail = String::new();
    let mut n_chars = 0;
    for char in said.trim().chars() {
        let escaped = char.escape_default();
        let width = if is_printable(char) { 1 } else { escaped.len() };
        if n_chars + width > DETAIL_CHARS_MAX {
            break;
        }
        n_chars += width;
        match is_printable(char) {
            true => detail.push(char),
            false => detail.extend(escaped),
        }
    }
    (!detail.is_empty()).then(|| detail.into())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::engine::{Source, Tick, Variable};
    use crate::observe::status::Status;
    use crate::tenant::Secret;
    use crate::tenant::stand_in::{Authority, Gate, Reply, Seen, StandIn, answer, net, net_trusting};

    fn update(call: &str) -> Update {
        Update {
            source: Source::Voice,
            call: call.into(),
            generation: Tick(1),
            interaction: None,
            variables: vec![Variable::plain("ivr_status", "completed")],
            ended: Tick(9),
        }
    }

    /// Grants the tokens t1, t2, … and gives everything else to `handler`.
    fn tenant(
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
        let granted = std::sync::atomic::AtomicUsize::new(0);
        move |seen| {
            if seen.line != "POST /oauth/token HTTP/1.1" {
                return handler(seen);
            }
            let number = 1 + granted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            answer(200, &format!(r#"{{"access_token":"t{number}","expires_in":3600}}"#))
        }
    }

    fn client_within(limits: Limits, net: &Net, peer: &StandIn) -> Client {
        let secret = Secret::new("hush".to_owned());
        let oauth_url = peer.url.join("/oauth/token");
        let tokens = Tokens::new(net, oauth_url, "me".to_owned(), secret, Arc::new(Status::default()), 7);
        Client::within(limits, net, &tokens, &peer.url)
    }

    fn client(peer: &StandIn) -> Client {
        client_within(Limits::REQUEST, &net(), peer)
    }

    /// Returns the requests that were for updates.
    fn posts(peer: &StandIn) -> Vec<Seen> {
        peer.requests().into_iter().filter(|seen| !seen.line.contains("/oauth/")).collect()
    }

    fn plain(outcome: Outcome) -> Answer {
        Answer { outcome, detail: None }
    }

    #[test]
    fn sends_what_the_tenant_expects() {
        let peer = StandIn::new(tenant(|_| answer(204, "")));
        let sent = update("a@b%c~");
        assert_eq!(plain(Outcome::Accepted { status: 204 }), client(&peer).attempt(&sent));
        let [seen] = &posts(&peer)[..] else { panic!("one request, not {:?}", peer.requests()) };
        assert_eq!("POST /api/v2/interactions/a%40b%25c~/variables HTTP/1.1", seen.line);
        assert_eq!(r#"[{"name":"ivr_status","value":"completed"}]"#, seen.body);
        let mut headers = seen.headers.clone();
        headers.sort();
        let expected = [
            ("accept", "application/json".to_owned()),
            ("authorization", "Bearer t1".to_owned()),
            ("content-length", "43".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("host", peer.url.authority()),
            ("idempotency-key", idempotency_key(&sent)),
            ("user-agent", concat!("dtmfd/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        assert_eq!(expected.map(|(name, value)| (name.to_owned(), value)).to_vec(), headers);
    }

    #[test]
    fn keeps_its_connection_whatever_the_answer_unless_that_is_too_long() {
        let authority = Authority::new("our own CA");
        for (is_tls, length, n_connections) in
            [(false, 8 << 10, 1), (true, 8 << 10, 1), (false, (8 << 10) + 1, 3), (true, 9000, 3)]
        {
            let handler = tenant(move |_| answer(422, &"x".repeat(length)));
            let peer = if is_tls { StandIn::over_tls(&authority, handler) } else { StandIn::new(handler) };
            let client = client_within(Limits::REQUEST, &net_trusting(&authority), &peer);
            for _ in 0..3 {
                assert_eq!(Outcome::Rejected { status: 422 }, client.attempt(&update("c")).outcome);
            }
            // One more for the token.
            assert_eq!(n_connections + 1, peer.connections(), "{length} bytes, TLS {is_tls}");
        }
    }

    #[test]
    fn a_worker_that_has_nothing_to_do_hangs_up_and_goes_on_later() {
        let peer = StandIn::new(tenant(|_| answer(204, "")));
        let client = client(&peer);
        client.attempt(&update("c"));
        client.hang_up();
        peer.await_closed();
        assert_eq!(Outcome::Accepted { status: 204 }, client.attempt(&update("c")).outcome);
        assert_eq!(3, peer.connections());
    }

    #[test]
    fn follows_no_redirect_and_sends_its_credentials_nowhere_else() {
        let elsewhere = StandIn::new(|_| answer(200, ""));
        for status in [301, 302, 303, 307, 308] {
            let location = elsewhere.url.to_string();
            let peer = StandIn::new(tenant(move |_| answer(status, "").with("Location", &location)));
            let detail = "redirects to http://[digits].0.0.1:[digits]/, which is never followed";
            let expected = Answer { outcome: Outcome::Rejected { status }, detail: Some(detail.into()) };
            assert_eq!(expected, client(&peer).attempt(&update("c")));
        }
        assert_eq!(0, elsewhere.connections());
    }

    #[test]
    fn passes_on_how_long_the_tenant_wants_to_be_left_alone() {
        let peer = StandIn::new(tenant(|_| answer(429, "").with("Retry-After", "7")));
        let expected = Outcome::Paused { status: 429, retry_after_ms: 7000 };
        assert_eq!(plain(expected), client(&peer).attempt(&update("c")));
    }

    #[test]
    fn a_refused_token_is_not_used_again() {
        let handler = |seen: &Seen| match seen.header("authorization") {
            Some("Bearer t1") => answer(401, r#"{"message":"Bearer t1 has expired"}"#),
            _ => answer(200, ""),
        };
        let peer = StandIn::new(tenant(handler));
        let client = client(&peer);
        let refused = Answer {
            outcome: Outcome::Refused { status: 401, token: 1 },
            detail: Some(r#"{"message":"Bearer … has expired"}"#.into()),
        };
        assert_eq!(refused, client.attempt(&update("c")));
        assert_eq!(plain(Outcome::Accepted { status: 200 }), client.attempt(&update("c")));
        assert_eq!(4, peer.requests().len(), "two for tokens");
    }

    #[test]
    fn sends_nothing_without_a_token() {
        let peer = StandIn::new(|_| answer(503, "").with("Retry-After", "20"));
        let Answer { outcome, detail } = client(&peer).attempt(&update("c"));
        let Outcome::NoToken { retry_in_ms } = outcome else { panic!("{outcome:?}") };
        assert!((19_000..=20_000).contains(&retry_in_ms), "{retry_in_ms}");
        assert_eq!(Some("the token endpoint answered 503"), detail.as_deref());
        assert_eq!(0, posts(&peer).len());
    }

    #[test]
    fn tells_a_timeout_from_a_broken_connection() {
        let gate = Gate::default();
        let waiting = gate.clone();
        let slow = StandIn::new(tenant(move |_| {
            waiting.wait();
            answer(200, "")
        }));
        let limits = Limits { total: Duration::from_millis(300), ..Limits::REQUEST };
        let answered = client_within(limits, &net(), &slow).attempt(&update("c"));
        let late =
            Answer { outcome: Outcome::Failed(Failure::Timeout), detail: Some("no answer in time".into()) };
        assert_eq!(late, answered);
        gate.open();

        let cut = StandIn::new(tenant(|_| Reply::nothing()));
        let answered = client(&cut).attempt(&update("c"));
        assert_eq!(Outcome::Failed(Failure::Network), answered.outcome);
        assert_eq!(Some("Peer disconnected"), answered.detail.as_deref());
    }

    #[test]
    fn an_answer_that_breaks_off_counts_by_its_status() {
        let peer = StandIn::new(tenant(|_| answer(200, "x").with("Content-Length", "9").then_close()));
        assert_eq!(plain(Outcome::Accepted { status: 200 }), client(&peer).attempt(&update("c")));
    }

    #[test]
    fn cutting_ends_what_is_in_flight_and_all_that_follows() {
        let gate = Gate::default();
        let waiting = gate.clone();
        let peer = StandIn::new(tenant(move |_| {
            waiting.wait();
            answer(200, "")
        }));
        let client = client(&peer);
        let cutter = client.cutter();
        let worker = thread::spawn(move || {
            let first = client.attempt(&update("c")).outcome;
            client.hang_up();
            (first, client.attempt(&update("c")))
        });
        peer.await_requests(2);
        let begin = Instant::now();
        cutter.cut();
        let (first, second) = worker.join().expect("no panic");
        assert_eq!(Outcome::Failed(Failure::Network), first);
        assert_eq!(Outcome::Failed(Failure::Network), second.outcome);
        assert_eq!(Some("Agent is shut down"), second.detail.as_deref());
        assert!(begin.elapsed() < Duration::from_secs(5));
        gate.open();
    }

    #[test]
    fn a_panic_ends_an_attempt_and_not_the_worker() {
        assert_eq!(None, unless_it_panics(|| panic!("on purpose")));
        let answer = || plain(Outcome::Accepted { status: 200 });
        assert_eq!(Some(answer()), unless_it_panics(answer));
    }

    #[test]
    fn a_worker_ends_when_its_channel_closes() {
        let peer = StandIn::new(|_| answer(200, ""));
        let (jobs, queue) = crossbeam_channel::bounded(1);
        let (inbox, outlet) = crate::inbox::inbox();
        let client = client(&peer);
        let worker = thread::spawn(move || work(client, queue, inbox));
        drop(jobs);
        worker.join().expect("no panic");
        assert!(outlet.incoming.recv().is_err(), "it let go of the inbox and had said nothing");
    }

    #[test]
    fn an_echo_of_what_was_sent_shows_no_value() {
        let keys = r#"["1","A","1"]"#.to_owned();
        let sent = Update {
            variables: vec![Variable::plain("ivr_selection", &keys), Variable::plain("ivr_pin", "4#")],
            ..update("c")
        };
        let whole = String::from_utf8(body(&sent)).expect("JSON is text");
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        for echo in [keys.clone(), quoted(&keys), quoted(&quoted(&keys)), whole.clone(), quoted(&whole)] {
            let peer = StandIn::new(tenant(move |_| answer(422, &format!("{{\"got\":{echo}}}"))));
            let detail = client(&peer).attempt(&sent).detail.expect("it said something");
            assert!(detail.contains("[value]"), "{detail}");
            assert!(!detail.contains(['1', '4', 'A', '#']), "{detail}");
        }
    }

    #[test]
    fn an_idle_worker_refreshes_the_token_if_that_is_its_to_do() {
        let granting =
            |seen: &Seen| answer(200, &format!(r#"{{"access_token":"t{}","expires_in":3}}"#, 1 + seen.index));
        let [idle, refreshing] = [StandIn::new(granting), StandIn::new(granting)];
        let clients = [client(&idle), client(&refreshing).refreshing_token()];
        let workers = clients.map(|client| {
            let (jobs, queue) = crossbeam_channel::bounded(1);
            let worker = thread::spawn(move || {
                client.tokens.bearer().expect("a token");
                next_job(&client, &queue, Duration::from_millis(1)).map(drop)
            });
            (jobs, worker)
        });
        refreshing.await_requests(2);
        let begin = Instant::now();
        refreshing.await_requests(3);
        // Half its life; it is not asked for over and over.
        assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(1, idle.requests().len());
        for (jobs, worker) in workers {
            drop(jobs);
            assert_eq!(Err(RecvError), worker.join().expect("no panic"));
        }
    }

    #[test]
    fn shows_operators_one_short_line() {
        let token = Token { id: 1, bearer: "sesame".into() };
        let long = "ä".repeat(300);
        for (said, expected) in [
            ("", None),
            (" \n ", None),
            (" no such thing\n", Some("no such thing")),
            ("a\r\nb\u{1b}[31m\u{202e}c", Some("a\\r\\nb\\u{1b}[31m\\u{202e}c")),
            (r#"{"a":'\'}"#, Some(r#"{"a":'\'}"#)),
            ("open sesame!", Some("open …!")),
            (&long, Some(&long[..400])),
        ] {
            assert_eq!(expected, for_operators(said, &token, &update("c")).as_deref(), "{said:?}");
        }
    }
}
