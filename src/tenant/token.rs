//! The token that all links share: asked for by whoever needs it first, while the others wait.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use log::{info, warn};

use super::agent::{Limits, Unanswered, agent_within};
use super::dial::Net;
use super::oauth::{self, Grant};
use super::policy::{Next, Token, TokenPolicy};
use super::retry_after::retry_after_ms;
use super::secret::Secret;
use super::url::Url;
use crate::observe::status::{Link, Status};

/// How long one waits for another's request: a little more than that may take.
const WAIT_MAX: Duration = Duration::from_secs(11);

/// The longest pause that the endpoint may ask for.
const RETRY_AFTER_MAX_MS: u64 = 300_000;

/// One request an hour needs no connection kept for it.
const LIMITS: Limits = Limits { idle: 0, ..Limits::REQUEST };

/// The token that all links share. Clones share it.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

/// There is no token to ask with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct NoToken {
    /// When it is worth another try.
    pub retry_in: Duration,
    /// Why, in words, without any secret.
    pub why: String,
}

struct Shared {
    agent: ureq::Agent,
    url: Url,
    client_id: String,
    client_secret: Secret,
    status: Arc<Status>,
    /// What the policy's milliseconds count from.
    origin: Instant,
    state: Mutex<State>,
    /// A flight has ended.
    landed: Condvar,
}

struct State {
    policy: TokenPolicy,
    /// How many flights have ended.
    landings: u64,
    /// Why the last flight brought nothing.
    why: String,
    random: u64,
    /// What `status` was told last.
    said: Link,
}

impl Tokens {
    /// Asks `oauth_url` with these credentials, once somebody needs a token. The seed decides the random pauses.
    pub fn new(
        net: &Net,
        oauth_url: Url,
        client_id: String,
        client_secret: Secret,
        status: Arc<Status>,
        seed: u64,
    ) -> Tokens {
        Tokens::within(LIMITS, net, oauth_url, client_id, client_secret, status, seed)
    }

    fn within(
        limits: Limits,
        net: &Net,
        url: Url,
        client_id: String,
        client_secret: Secret,
        status: Arc<Status>,
        seed: u64,
    ) -> Tokens {
        let state = State {
            policy: TokenPolicy::default(),
            landings: 0,
            why: String::new(),
            random: seed,
            said: Link::Untried,
        };
        Tokens {
            shared: Arc::new(Shared {
                agent: agent_within(net, limits),
                url,
                client_id,
                client_secret,
                status,
                origin: Instant::now(),
                state: Mutex::new(state),
                landed: Condvar::new(),
            }),
        }
    }

    /// Returns a token to ask with. It waits for a request only where it must: 10 s at most for its own, 11 s at most
    /// for another thread's.
    ///
    /// # Errors
    ///
    /// Returns why there is none and when to come again.
    pub fn bearer(&self) -> Result<Token, NoToken> {
        let shared = &*self.shared;
        let mut state = shared.state();
        match state.policy.next(shared.now_ms()) {
            Next::Use(token) => return Ok(token),
            Next::Fetch | Next::UseAndRefresh(_) => {
                drop(state);
                shared.fly();
                state = shared.state();
            }
            Next::InFlight => {
                let seen = state.landings;
                let is_flying = |state: &mut State| state.landings == seen;
                let waited = shared.landed.wait_timeout_while(state, WAIT_MAX, is_flying);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                if state.landings == seen {
                    let why = "another thread's request for a token hangs".to_owned();
                    return Err(NoToken { retry_in: Duration::from_secs(1), why });
                }
            }
            Next::Wait { .. } => (),
        }
        let now = shared.now_ms();
        if let Some(token) = state.policy.usable(now) {
            return Ok(token.clone());
        }
        let why = if state.why.is_empty() { "the token was refused".to_owned() } else { state.why.clone() };
        shared.say(&mut state, Link::Down(why.clone()));
        let retry_in = Duration::from_millis(state.policy.next_try().saturating_sub(now));
        Err(NoToken { retry_in, why })
    }

    /// Returns when somebody should call [`Tokens::bearer`] who needs no token, so that those who do needn't wait.
    pub fn refresh_due(&self) -> Instant {
        self.shared.at(self.shared.state().policy.refresh_due())
    }

    /// Says that the tenant refused the token with this number. If it is the current one, the next to need a token
    /// asks for a new one; any number of refusals of one token cause one request.
    pub fn refused(&self, id: u64) {
        if self.shared.state().policy.refused(id) {
            warn!(token = id; "the tenant refused the token, asking for a new one");
        }
    }

    /// Cuts a request in flight; there are no new tokens from here on. For a stop that has run out of time.
    pub fn cut(&self) {
        self.shared.agent.clone().shutdown();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is done under the lock doesn't panic halfway; a flight that panics is ended by its guard.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).expect("a process doesn't live that long")
    }

    fn at(&self, ms: u64) -> Instant {
        self.origin + Duration::from_millis(ms)
    }

    /// Asks for a token and takes in what came of it. For whoever the policy told to, and nobody else.
    fn fly(&self) {
        let flight = Flight { shared: self, has_landed: false };
        let asked_at = self.now_ms();
        let answer = self.ask();
        flight.land(asked_at, answer);
    }

    fn ask(&self) -> Result<Grant, (String, u64)> {
        let body = oauth::request(&self.client_id, &self.client_secret);
        let sent = self
            .agent
            .post(self.url.to_string())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .send(&body[..]);
        let unanswered = |error: Unanswered| (format!("cannot ask for a token: {error}"), 0);
        let mut response = sent.map_err(|error| unanswered(error.into()))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause_ms = retry_after.and_then(|value| retry_after_ms(value, SystemTime::now())).unwrap_or(0);
        let mut answer = Vec::new();
        let mut body = response.body_mut().as_reader().take(oauth::ANSWER_BYTES_MAX as u64 + 1);
        body.read_to_end(&mut answer).map_err(|error| unanswered(ureq::Error::from(error).into()))?;
        oauth::grant(response.status().as_u16(), &answer).map_err(|why| {
            // An endpoint may repeat what it was sent.
            (why.to_string().replace(self.client_secret.reveal(), "…"), pause_ms.min(RETRY_AFTER_MAX_MS))
        })
    }

    /// Tells `status` what it hasn't been told yet.
    fn say(&self, state: &mut State, link: Link) {
        if state.said != link {
            state.said = link.clone();
            self.status.set_token(link);
        }
    }
}

/// A request for a token on its way: it lands however the thread leaves, or nobody would ever ask again.
struct Flight<'a> {
    shared: &'a Shared,
    has_landed: bool,
}

impl Flight<'_> {
    fn land(mut self, asked_at: u64, answer: Result<Grant, (String, u64)>) {
        self.has_landed = true;
        let shared = self.shared;
        let mut state = shared.state();
        match answer {
            Ok(grant) => {
                let token = state.policy.fetched(asked_at, &grant.bearer, grant.life_ms);
                state.why.clear();
                shared.status.set_token_until(shared.at(asked_at.saturating_add(grant.life_ms)));
                shared.say(&mut state, Link::Up);
                info!(token = token.id, expires_in_s = grant.life_ms / 1000; "token fetched");
            }
            Err((why, at_least_ms)) => state.fail(shared, why, at_least_ms),
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if !self.has_landed {
            state.fail(self.shared, "asking for a token panicked".to_owned(), 0);
        }
        state.landings += 1;
        drop(state);
        self.shared.landed.notify_all();
    }
}

impl State {
    fn fail(&mut self, shared: &Shared, why: String, at_least_ms: u64) {
        let now = shared.now_ms();
        let random = self.next_random();
        self.policy.failed(now, random, at_least_ms);
        let retry_in_ms = self.policy.next_try().saturating_sub(now);
        let has_token = self.policy.usable(now).is_some();
        warn!(why = why.as_str(), retry_in_ms, has_token; "no new token");
        if !has_token {
            shared.say(self, Link::Down(why.clone()));
        }
        self.why = why;
    }

    /// Steele, Lea and Flood's SplitMix64: enough to spread pauses.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("url", &self.shared.url.to_string()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::tenant::stand_in::{Gate, Reply, Seen, StandIn, answer, net};

    fn granted(number: usize, expires_in_s: f64) -> Reply {
        answer(200, &format!(r#"{{"access_token":"t{number}","expires_in":{expires_in_s}}}"#))
    }

    fn tokens(peer: &StandIn) -> (Tokens, Arc<Status>) {
        tokens_within(peer, LIMITS)
    }

    fn tokens_within(peer: &StandIn, limits: Limits) -> (Tokens, Arc<Status>) {
        let status = Arc::new(Status::default());
        let secret = Secret::new("hush\"".to_owned());
        let url = peer.url.join("/oauth/token");
        (Tokens::within(limits, &net(), url, "me".to_owned(), secret, Arc::clone(&status), 7), status)
    }

    fn token_line(status: &Status) -> String {
        status.lines(Instant::now()).remove(0).1
    }

    fn bearer(tokens: &Tokens) -> (u64, String) {
        let token = tokens.bearer().expect("a token");
        (token.id, token.bearer.to_string())
    }

    /// Asks until the pause after a failure is over.
    fn bearer_after_pause(tokens: &Tokens) -> (u64, String) {
        loop {
            match tokens.bearer() {
                Ok(token) => return (token.id, token.bearer.to_string()),
                Err(none) => thread::sleep(none.retry_in),
            }
        }
    }

    #[test]
    fn asks_as_the_tenant_wants_it_and_keeps_the_answer() {
        let peer = StandIn::new(|seen| granted(seen.index, 3600.0));
        let (tokens, status) = tokens(&peer);
        assert_eq!("token: not tried yet", token_line(&status));
        for _ in 0..3 {
            assert_eq!((1, "t0".to_owned()), bearer(&tokens));
        }
        assert_eq!("token: up", token_line(&status));
        let [seen] = &peer.requests()[..] else { panic!("one request, not {:?}", peer.requests()) };
        assert_eq!("POST /oauth/token HTTP/1.1", seen.line);
        assert_eq!(
            r#"{"grant_type":"client_credentials","client_id":"me","client_secret":"hush\""}"#,
            seen.body
        );
        for (name, value) in [
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("user-agent", concat!("dtmfd/", env!("CARGO_PKG_VERSION"))),
            ("host", &peer.url.authority()),
        ] {
            assert_eq!(Some(value), seen.header(name), "{name}");
        }
    }

    #[test]
    fn any_number_of_callers_cause_one_request() {
        let gate = Gate::default();
        let waiting = gate.clone();
        let peer = StandIn::new(move |seen| {
            waiting.wait();
            granted(seen.index, 3600.0)
        });
        let (tokens, _) = tokens(&peer);
        let callers = [(); 8].map(|()| {
            let tokens = tokens.clone();
            thread::spawn(move || bearer(&tokens))
        });
        peer.await_requests(1);
        gate.open();
        for caller in callers {
            assert_eq!((1, "t0".to_owned()), caller.join().expect("no panic"));
        }
        assert_eq!(1, peer.requests().len());
    }

    #[test]
    fn any_number_of_refusals_cause_one_request() {
        let peer = StandIn::new(|seen| granted(seen.index, 3600.0));
        let (tokens, _) = tokens(&peer);
        let (id, _) = bearer(&tokens);
        let callers = [(); 8].map(|()| {
            let tokens = tokens.clone();
            thread::spawn(move || {
                tokens.refused(id);
                bearer(&tokens)
            })
        });
        for caller in callers {
            assert_eq!((2, "t1".to_owned()), caller.join().expect("no panic"));
        }
        assert_eq!(2, peer.requests().len());
    }

    /// Puts in a token of 60 s that was fetched 45 s ago: due for a refresh, and still good.
    fn with_an_old_token(mut tokens: Tokens) -> Tokens {
        let shared = Arc::get_mut(&mut tokens.shared).expect("not shared yet");
        shared.origin -= Duration::from_secs(45);
        shared.state().policy.fetched(0, "old", 60_000);
        tokens
    }

    #[test]
    fn a_token_that_is_still_good_is_used_while_refreshing_fails() {
        let peer =
            StandIn::new(|seen| if seen.index == 0 { answer(500, "") } else { granted(seen.index, 99.0) });
        let (tokens, status) = tokens(&peer);
        let tokens = with_an_old_token(tokens);
        assert_eq!((1, "old".to_owned()), bearer(&tokens));
        peer.await_requests(1);
        assert_eq!("token: not tried yet", token_line(&status), "nothing is wrong yet");
        // Once the pause of 250 ms at most is over, somebody asks again.
        let new = (0..).map(|_| bearer(&tokens)).find(|(id, _)| *id != 1);
        assert_eq!(Some((2, "t1".to_owned())), new);
        assert_eq!("token: up", token_line(&status));
        assert_eq!(2, peer.requests().len());
    }

    #[test]
    fn while_one_refreshes_the_others_use_the_token_that_is_still_good() {
        let gate = Gate::default();
        let waiting = gate.clone();
        let peer = StandIn::new(move |seen| {
            waiting.wait();
            granted(seen.index, 3600.0)
        });
        let (tokens, _) = tokens(&peer);
        let tokens = with_an_old_token(tokens);
        let refreshing = thread::spawn({
            let tokens = tokens.clone();
            move || bearer(&tokens)
        });
        peer.await_requests(1);
        for _ in 0..3 {
            assert_eq!((1, "old".to_owned()), bearer(&tokens));
        }
        gate.open();
        assert_eq!((2, "t0".to_owned()), refreshing.join().expect("no panic"));
        assert_eq!((2, "t0".to_owned()), bearer(&tokens));
        assert_eq!(1, peer.requests().len());
    }

    #[test]
    fn failures_are_shared_and_said_without_the_secret() {
        type Handler = fn(&Seen) -> Reply;
        let fails: [(Handler, &str); 4] = [
            (|_| answer(401, r#"{"error":"hush\""}"#), "the tenant refuses our credentials (401): "),
            (|_| answer(200, "<html>"), "the token endpoint answered HTML instead of JSON"),
            (|_| answer(302, "").with("Location", "/elsewhere"), "the token endpoint redirects (302)"),
            (|_| answer(200, "").with("Content-Length", "9"), "cannot ask for a token: no answer in time"),
        ];
        for (fail, expected) in fails {
            let peer = StandIn::new(fail);
            let limits = Limits { total: Duration::from_millis(300), ..LIMITS };
            let (tokens, status) = tokens_within(&peer, limits);
            let none = tokens.bearer().expect_err(expected);
            assert!(none.why.starts_with(expected), "{none}");
            assert!(none.retry_in <= Duration::from_millis(250));
            assert_eq!(format!("token: {}", none.why), token_line(&status));
            assert!(!format!("{none:?}").contains("hush"));
            assert_eq!(1, peer.requests().len(), "no redirect is followed");
        }
    }

    #[test]
    fn a_pause_that_the_endpoint_asks_for_is_kept_and_shared() {
        let peer = StandIn::new(|_| answer(429, "").with("Retry-After", "9999"));
        let (tokens, _) = tokens(&peer);
        for _ in 0..3 {
            let none = tokens.bearer().expect_err("it is busy");
            assert!((299..=300).contains(&none.retry_in.as_secs()), "{none:?}");
            assert_eq!("the token endpoint answered 429", none.why);
        }
        assert_eq!(1, peer.requests().len());
    }

    #[test]
    fn a_thread_that_panics_while_asking_leaves_the_others_free_to_ask() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&calls);
        let peer = StandIn::new(move |seen| {
            counting.fetch_add(1, Ordering::Relaxed);
            granted(seen.index, 3600.0)
        });
        let (tokens, _) = tokens(&peer);
        let panicking = tokens.clone();
        let panicked = thread::spawn(move || {
            let shared = &*panicking.shared;
            assert_eq!(Next::Fetch, shared.state().policy.next(shared.now_ms()));
            let _flight = Flight { shared, has_landed: false };
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert_eq!((1, "t0".to_owned()), bearer_after_pause(&tokens));
        assert_eq!(1, calls.load(Ordering::Relaxed));
    }

    #[test]
    fn cutting_ends_a_request_in_flight_and_all_that_wait_for_it() {
        let gate = Gate::default();
        let waiting = gate.clone();
        let peer = StandIn::new(move |_| {
            waiting.wait();
            answer(200, "")
        });
        let (tokens, _) = tokens(&peer);
        let callers = [(); 3].map(|()| {
            let tokens = tokens.clone();
            thread::spawn(move || tokens.bearer())
        });
        peer.await_requests(1);
        let begin = Instant::now();
        tokens.cut();
        for caller in callers {
            caller.join().expect("no panic").expect_err("it was cut");
        }
        assert!(begin.elapsed() < Duration::from_secs(5));
        gate.open();
    }
}
