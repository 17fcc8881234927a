//! When to ask for a token and which one to use: pure, told the time and random numbers.

use std::fmt;
use std::sync::Arc;

/// How long before its end a token is renewed: enough for a few failures on the way.
const RENEW_BEFORE_MS: u64 = 30_000;

/// The longest pause after the first failure; it doubles with each further one.
const BACKOFF_FIRST_MS: u64 = 250;

/// The longest pause after any failure.
const BACKOFF_MAX_MS: u64 = 60_000;

/// A bearer token, and which one it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// 1 for the first; later tokens have greater numbers.
    pub id: u64,
    /// The token itself: visible ASCII.
    pub bearer: Arc<str>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, …)", self.id)
    }
}

/// What somebody who needs a token does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Use this one.
    Use(Token),
    /// Ask for a new one; this one will do while that fails. Whoever is told so is the only one who asks.
    UseAndRefresh(Token),
    /// Ask for one. Whoever is told so is the only one who asks.
    Fetch,
    /// Wait for the one who asks.
    InFlight,
    /// There is none, and nobody asks before this time.
    Wait {
        /// In milliseconds, of the clock that `now` is told from.
        until: u64,
    },
}

/// The token that there is, and when to ask for another. Times are milliseconds of any one clock.
///
/// A flight is one request for a token: it begins when [`TokenPolicy::next`] returns [`Next::Fetch`] or
/// [`Next::UseAndRefresh`], and must end with [`TokenPolicy::fetched`] or [`TokenPolicy::failed`].
#[derive(Default, Debug)]
pub struct TokenPolicy {
    held: Option<Held>,
    last_id: u64,
    in_flight: bool,
    failures: u32,
    /// Nobody asks before this.
    next_try: u64,
}

#[derive(Debug)]
struct Held {
    token: Token,
    renew_at: u64,
    expires_at: u64,
}

impl TokenPolicy {
    /// Tells somebody who needs a token at `now` what to do. It may begin a flight.
    pub fn next(&mut self, now: u64) -> Next {
        let may_ask = !self.in_flight && now >= self.next_try;
        let next = match &self.held {
            Some(held) if now < held.renew_at => return Next::Use(held.token.clone()),
            Some(held) if now < held.expires_at && !may_ask => return Next::Use(held.token.clone()),
            _ if self.in_flight => return Next::InFlight,
            _ if !may_ask => return Next::Wait { until: self.next_try },
            Some(held) if now < held.expires_at => Next::UseAndRefresh(held.token.clone()),
            _ => Next::Fetch,
        };
        self.in_flight = true;
        next
    }

    /// Returns the token if it is still good at `now`. It begins nothing.
    pub fn usable(&self, now: u64) -> Option<&Token> {
        self.held.as_ref().filter(|held| now < held.expires_at).map(|held| &held.token)
    }

    /// Returns from when on somebody may ask again.
    pub fn next_try(&self) -> u64 {
        self.next_try
    }

    /// Returns from when on somebody should ask, so that there is a token at hand whenever one is needed: when the one
    /// that is held is to be renewed, at once where none is held, and not before [`TokenPolicy::next_try`].
    pub fn refresh_due(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.renew_at).max(self.next_try)
    }

    /// Takes in the token that a flight brought: it is good for `life_ms` from `asked_at`, when it was asked for, since
    /// nobody knows when on the way it was made.
    ///
    /// It is renewed at the later of 30 s before its end and half its life.
    pub fn fetched(&mut self, asked_at: u64, bearer: &str, life_ms: u64) -> Token {
        self.last_id += 1;
        let token = Token { id: self.last_id, bearer: bearer.into() };
        let expires_at = asked_at.saturating_add(life_ms);
        let renew_at = expires_at.saturating_sub(RENEW_BEFORE_MS).max(asked_at.saturating_add(life_ms / 2));
        self.held = Some(Held { token: token.clone(), renew_at, expires_at });
        (self.in_flight, self.failures, self.next_try) = (false, 0, 0);
        token
    }

    /// Takes in that a flight brought nothing: nobody asks for a random while, and for `at_least_ms`.
    ///
    /// The while is full jitter from 0.25 s, doubling with each failure, 60 s at most.
    pub fn failed(&mut self, now: u64, random: u64, at_least_ms: u64) {
        let ceiling = BACKOFF_FIRST_MS.saturating_mul(1 << self.failures.min(32)).min(BACKOFF_MAX_MS);
        let pause = (random % (ceiling + 1)).max(at_least_ms);
        self.failures = self.failures.saturating_add(1);
        self.next_try = now.saturating_add(pause);
        self.in_flight = false;
    }

    /// Takes in that the tenant refused a token. It is dropped if it is the one we hold; returns whether it was: of a
    /// hundred requests with the same token only the first refusal counts.
    pub fn refused(&mut self, id: u64) -> bool {
        self.held.take_if(|held| held.token.id == id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(next: Next) -> (&'static str, u64) {
        match next {
            Next::Use(token) => ("use", token.id),
            Next::UseAndRefresh(token) => ("refresh", token.id),
            Next::Fetch => ("fetch", 0),
            Next::InFlight => ("in flight", 0),
            Next::Wait { until } => ("wait", until),
        }
    }

    #[test]
    fn renews_at_the_later_of_30_seconds_before_the_end_and_half_its_life() {
        for (life_ms, renew_at) in [
            (3_600_000, 3_570_000),
            (60_000, 30_000),
            (61_000, 31_000),
            (40_000, 20_000),
            (1_000, 500),
            (1, 0),
        ] {
            for asked_at in [0, 1_000_000] {
                let mut policy = TokenPolicy::default();
                assert_eq!(("fetch", 0), id(policy.next(asked_at)));
                policy.fetched(asked_at, "t", life_ms);
                if renew_at > 0 {
                    assert_eq!(("use", 1), id(policy.next(asked_at + renew_at - 1)), "{life_ms}");
                }
                assert_eq!(("refresh", 1), id(policy.next(asked_at + renew_at)), "{life_ms}");
                assert_eq!(life_ms > renew_at, policy.usable(asked_at + life_ms - 1).is_some());
                assert_eq!(None, policy.usable(asked_at + life_ms), "{life_ms}");
            }
        }
    }

    #[test]
    fn one_asks_and_the_others_wait_or_use_what_there_is() {
        let mut policy = TokenPolicy::default();
        assert_eq!(("fetch", 0), id(policy.next(0)));
        assert_eq!(("in flight", 0), id(policy.next(1)));
        policy.fetched(0, "one", 100_000);
        assert_eq!(("use", 1), id(policy.next(2)));
        assert_eq!(("refresh", 1), id(policy.next(70_000)));
        assert_eq!(("use", 1), id(policy.next(70_000)), "the others");
        assert_eq!(("in flight", 0), id(policy.next(100_000)), "it has expired meanwhile");
        assert_eq!("two", &*policy.fetched(70_000, "two", 100_000).bearer);
        assert_eq!(("use", 2), id(policy.next(100_000)));
    }

    #[test]
    fn a_token_that_is_still_good_is_used_while_refreshing_fails() {
        let mut policy = TokenPolicy::default();
        policy.next(0);
        policy.fetched(0, "one", 100_000);
        assert_eq!(("refresh", 1), id(policy.next(70_000)));
        policy.failed(71_000, u64::MAX, 0);
        let next_try = policy.next_try();
        assert!((71_000..=71_250).contains(&next_try));
        assert_eq!(("use", 1), id(policy.next(next_try - 1)));
        assert_eq!(("refresh", 1), id(policy.next(next_try)));
        policy.failed(99_999, 100, 0);
        assert_eq!(("wait", 100_099), id(policy.next(100_000)));
        assert_eq!(("fetch", 0), id(policy.next(100_099)));
    }

    #[test]
    fn a_refresh_is_due_when_a_token_is_to_be_renewed_or_a_pause_is_over() {
        let mut policy = TokenPolicy::default();
        assert_eq!(0, policy.refresh_due(), "there is none");
        policy.next(0);
        policy.failed(5, 100, 0);
        assert_eq!(105, policy.refresh_due());
        policy.fetched(200, "one", 100_000);
        assert_eq!(70_200, policy.refresh_due());
        assert_eq!(("refresh", 1), id(policy.next(70_200)));
        policy.failed(70_300, 100, 0);
        assert_eq!(70_400, policy.refresh_due());
        policy.refused(1);
        assert_eq!(70_400, policy.refresh_due());
    }

    #[test]
    fn failures_pause_ever_longer_and_a_success_forgets_them() {
        let mut policy = TokenPolicy::default();
        for ceiling in [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000] {
            for (random, pause) in [(ceiling, ceiling), (ceiling + 1, 0)] {
                let failures = policy.failures;
                policy.failed(5, random, 0);
                assert_eq!(5 + pause, policy.next_try(), "{failures} failures");
                policy.failures = failures;
            }
            policy.failed(5, 0, 0);
        }
        policy.failures = u32::MAX;
        policy.failed(5, 60_000, 0);
        assert_eq!(60_005, policy.next_try());
        policy.failed(5, 60_000, 300_000);
        assert_eq!(300_005, policy.next_try(), "the tenant asked for more");
        policy.fetched(5, "t", 1000);
        assert_eq!((0, 0), (policy.failures, policy.next_try()));
    }

    #[test]
    fn only_the_token_that_is_held_can_be_refused() {
        let mut policy = TokenPolicy::default();
        policy.next(0);
        policy.fetched(0, "one", 100_000);
        assert!(!policy.refused(0));
        assert!(!policy.refused(2));
        assert!(policy.refused(1));
        assert!(!policy.refused(1), "once");
        assert_eq!(("fetch", 0), id(policy.next(1)));
        assert!(!policy.refused(1), "in flight");
        policy.fetched(1, "two", 100_000);
        assert!(!policy.refused(1), "an answer that is late");
        assert_eq!(("use", 2), id(policy.next(2)));
        assert_eq!(("refresh", 2), id(policy.next(80_000)));
        assert!(policy.refused(2), "while a refresh is in flight");
        assert_eq!(("in flight", 0), id(policy.next(80_000)));
    }

    #[test]
    fn hides_the_token() {
        assert_eq!("Token(3, …)", format!("{:?}", Token { id: 3, bearer: "hush".into() }));
    }
}
