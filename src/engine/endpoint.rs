//! The endpoint that updates go to: what holds all of them back at once (SPEC.md section 4).
//!
//! Three things do, each on its own: a pause that the endpoint asked for, a token that is missing or
//! refused, and an endpoint that fails. While one of the latter holds, one attempt at a time probes.

use super::delivery::UpdateId;
use super::event::Tick;
use super::random::Random;
use super::update::{Failure, Outcome};

/// The state of the endpoint that updates go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// Updates flow.
    Up,
    /// It asked for a pause (`Retry-After`).
    Paused,
    /// It fails: one probe at a time.
    Down,
    /// It refuses a fresh token: one probe at a time.
    Refusing,
    /// There is no token to ask with.
    NoToken,
}

/// So many failures in a row, of at least two updates, and the endpoint is down.
const FAILURES_MAX: u32 = 5;
/// After an outage the window doubles up to here, past which it is no window any more.
const WINDOW_MAX: usize = 64;
/// The first pause between probes; it doubles...
const PROBE_FIRST_MS: u64 = 250;
/// ... up to here. A probe waits between half of that and all of it, so that an hour of outage sees
/// some 80 probes.
const PROBE_MAX_MS: u64 = 60_000;
/// A fresh token was refused: nothing that a second would mend.
const REFUSED_FIRST: u32 = 3;
/// However soon the token holder wants to be asked again, this much passes.
const NO_TOKEN_MIN_MS: u64 = 50;

/// What holds back all updates at once.
#[derive(Debug)]
pub(super) struct Admission {
    paused_until: Tick,
    token: Token,
    health: Health,
    told: Endpoint,
}

#[derive(Debug)]
enum Token {
    Good,
    /// This one was refused; the next attempts bring a later one.
    Renewing(u64),
    /// A later one was refused as well.
    Refusing(Probe),
    Missing(Probe),
}

#[derive(Debug)]
enum Health {
    Up(Failures),
    Down(Probe),
    /// So many may be in flight.
    Recovering(usize),
}

/// Failures in a row.
#[derive(Clone, Copy, Default, Debug)]
struct Failures {
    count: u32,
    first: Option<UpdateId>,
    of_several: bool,
}

/// One attempt at a time, and a pause between.
#[derive(Clone, Copy, Debug)]
struct Probe {
    failed: u32,
    at: Tick,
    under_way: bool,
}

impl Probe {
    fn after(failed: u32, now: Tick, random: &mut Random) -> Probe {
        let cap = doubled(PROBE_FIRST_MS, failed, PROBE_MAX_MS);
        Probe { failed, at: now.after(cap / 2 + random.up_to(cap / 2)), under_way: false }
    }

    /// The probe came back without success.
    fn fail(&mut self, now: Tick, random: &mut Random) {
        if self.under_way {
            *self = Probe::after(self.failed + 1, now, random);
        }
    }
}

/// What an outcome says of the endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It is there and takes our token.
    Well,
    /// As `Well`, but it has enough to do.
    Busy,
    /// It is there, but refuses this token.
    Refuses(u64),
    /// It fails.
    Fails,
    /// Nothing: it was not asked, for want of a token.
    NotAsked { retry_in_ms: u64 },
}

impl Sign {
    fn of(outcome: Outcome) -> Sign {
        match outcome {
            Outcome::Refused { token, .. } => Sign::Refuses(token),
            Outcome::NoToken { retry_in_ms } => Sign::NotAsked { retry_in_ms },
            Outcome::Failed(Failure::Status(_) | Failure::Network | Failure::Timeout)
            | Outcome::Paused { status: 500.., .. }
            | Outcome::Rejected { status: 500.. } => Sign::Fails,
            Outcome::Paused { .. } | Outcome::Busy { .. } => Sign::Busy,
            Outcome::Accepted { .. } | Outcome::NotYet { .. } | Outcome::Rejected { .. } => Sign::Well,
        }
    }
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            paused_until: Tick(0),
            token: Token::Good,
            health: Health::Up(Failures::default()),
            told: Endpoint::Up,
        }
    }
}

impl Admission {
    /// Returns how many attempts may be in flight now, of `max` at best.
    pub(super) fn window(&self, now: Tick, max: usize) -> usize {
        if now < self.opens_at() {
            return 0;
        }
        match (&self.token, &self.health) {
            (Token::Refusing(_) | Token::Missing(_), _) | (_, Health::Down(_)) => 1,
            (Token::Good | Token::Renewing(_), Health::Recovering(window)) => max.min(*window),
            (Token::Good | Token::Renewing(_), Health::Up(_)) => max,
        }
    }

    /// Returns from when on it may be asked again.
    pub(super) fn opens_at(&self) -> Tick {
        let token = match &self.token {
            Token::Refusing(probe) | Token::Missing(probe) => probe.at,
            Token::Good | Token::Renewing(_) => Tick(0),
        };
        let health = match &self.health {
            Health::Down(probe) => probe.at,
            Health::Up(_) | Health::Recovering(_) => Tick(0),
        };
        self.paused_until.max(token).max(health)
    }

    /// An attempt starts.
    pub(super) fn start(&mut self) {
        if let Token::Refusing(probe) | Token::Missing(probe) = &mut self.token {
            probe.under_way = true;
        }
        if let Health::Down(probe) = &mut self.health {
            probe.under_way = true;
        }
    }

    /// What was left by an earlier process waits: it goes out step by step, as after an outage.
    pub(super) fn begin_slowly(&mut self) {
        self.health = Health::Recovering(1);
    }

    /// It asked for a pause.
    pub(super) fn pause(&mut self, until: Tick) {
        self.paused_until = self.paused_until.max(until);
    }

    /// An attempt came back. What was in flight before the endpoint went down counts for nothing then.
    pub(super) fn answered(&mut self, outcome: Outcome, id: UpdateId, now: Tick, random: &mut Random) {
        let sign = Sign::of(outcome);
        self.token_answered(sign, now, random);
        match (&mut self.health, sign) {
            (Health::Down(probe), Sign::Fails) => probe.fail(now, random),
            // It says nothing of the endpoint, but there may be another probe.
            (Health::Down(probe), Sign::NotAsked { .. }) => probe.under_way = false,
            (Health::Up(_) | Health::Recovering(_), Sign::NotAsked { .. }) => (),
            (Health::Recovering(_), Sign::Fails) => {
                self.health = Health::Down(Probe::after(0, now, random));
            }
            (Health::Up(failures), Sign::Fails) => {
                failures.count += 1;
                failures.of_several |= *failures.first.get_or_insert(id) != id;
                if failures.count >= FAILURES_MAX && failures.of_several {
                    self.health = Health::Down(Probe::after(0, now, random));
                }
            }
            (Health::Up(failures), Sign::Well | Sign::Busy | Sign::Refuses(_)) => {
                *failures = Failures::default();
            }
            (Health::Down(_), Sign::Well | Sign::Busy | Sign::Refuses(_)) => {
                self.health = Health::Recovering(1);
            }
            (Health::Recovering(_), Sign::Busy | Sign::Refuses(_)) => (),
            (Health::Recovering(window), Sign::Well) => {
                *window *= 2;
                if *window > WINDOW_MAX {
                    self.health = Health::Up(Failures::default());
                }
            }
        }
    }

    fn token_answered(&mut self, sign: Sign, now: Tick, random: &mut Random) {
        match (&mut self.token, sign) {
            (Token::Refusing(probe), Sign::Refuses(_)) => probe.fail(now, random),
            (Token::Renewing(refused), Sign::Refuses(token)) if token > *refused => {
                self.token = Token::Refusing(Probe::after(REFUSED_FIRST, now, random));
            }
            (Token::Renewing(_), Sign::Refuses(_)) => (),
            (Token::Good | Token::Missing(_), Sign::Refuses(token)) => self.token = Token::Renewing(token),
            (_, Sign::NotAsked { retry_in_ms }) => {
                let at = now.after(retry_in_ms.clamp(NO_TOKEN_MIN_MS, PROBE_MAX_MS));
                self.token = Token::Missing(Probe { failed: 0, at, under_way: false });
            }
            (_, Sign::Well | Sign::Busy) | (Token::Missing(_), Sign::Fails) => self.token = Token::Good,
            // The probe found out nothing about the token.
            (Token::Refusing(probe), Sign::Fails) => probe.fail(now, random),
            (Token::Good | Token::Renewing(_), Sign::Fails) => (),
        }
    }

    /// Returns the endpoint's state if it is another than was told last.
    pub(super) fn news(&mut self, now: Tick) -> Option<Endpoint> {
        let endpoint = match (&self.token, &self.health) {
            (Token::Missing(_), _) => Endpoint::NoToken,
            (Token::Refusing(_), _) => Endpoint::Refusing,
            (_, Health::Down(_)) => Endpoint::Down,
            _ if now < self.paused_until => Endpoint::Paused,
            _ => Endpoint::Up,
        };
        (std::mem::replace(&mut self.told, endpoint) != endpoint).then_some(endpoint)
    }
}

/// Returns `first` doubled `times` times, at most `max`.
pub(super) fn doubled(first: u64, times: u32, max: u64) -> u64 {
    first.checked_shl(times).filter(|grown| grown >> times == first).map_or(max, |grown| grown.min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 8;
    const DONE: Outcome = Outcome::Accepted { status: 200 };
    const BROKEN: Outcome = Outcome::Failed(Failure::Status(500));

    fn refused(token: u64) -> Outcome {
        Outcome::Refused { status: 401, token }
    }

    struct Played {
        admission: Admission,
        random: Random,
        now: Tick,
    }

    impl Played {
        fn new() -> Played {
            Played { admission: Admission::default(), random: Random::new(1), now: Tick(0) }
        }

        /// One update's attempt starts as soon as it may and comes back at once.
        fn attempt(&mut self, update: u32, outcome: Outcome) -> (usize, Option<Endpoint>) {
            self.now = self.now.max(self.admission.opens_at());
            self.admission.start();
            self.admission.answered(outcome, UpdateId::of_test(update), self.now, &mut self.random);
            let window = self.admission.window(self.admission.opens_at().max(self.now), MAX);
            (window, self.admission.news(self.now))
        }
    }

    #[test]
    fn is_down_after_five_failures_of_two_updates_and_opens_step_by_step() {
        let mut played = Played::new();
        for _ in 0..4 {
            assert_eq!((MAX, None), played.attempt(1, BROKEN));
        }
        assert_eq!((1, Some(Endpoint::Down)), played.attempt(2, BROKEN));
        assert_eq!((1, None), played.attempt(1, BROKEN));
        assert_eq!((1, Some(Endpoint::Up)), played.attempt(1, DONE));
        for window in [2, 4, 8] {
            assert_eq!((window, None), played.attempt(3, DONE));
        }
        assert_eq!((1, Some(Endpoint::Down)), played.attempt(1, BROKEN), "one failure while it recovers");
    }

    #[test]
    fn one_update_alone_does_not_bring_the_endpoint_down() {
        let mut played = Played::new();
        for _ in 0..50 {
            assert_eq!((MAX, None), played.attempt(1, BROKEN));
        }
    }

    #[test]
    fn an_answer_in_between_begins_the_count_anew() {
        let mut played = Played::new();
        for outcome in [BROKEN, BROKEN, BROKEN, BROKEN, Outcome::NotYet { status: 404 }, BROKEN, BROKEN] {
            assert_eq!((MAX, None), played.attempt(1, outcome));
            assert_eq!(None, played.attempt(2, DONE).1);
        }
    }

    #[test]
    fn an_hour_of_outage_sees_few_probes() {
        let mut played = Played::new();
        for update in 0..5 {
            played.attempt(update, BROKEN);
        }
        let mut probes = 0;
        while played.now < Tick(3_600_000) {
            played.attempt(probes, BROKEN);
            probes += 1;
        }
        assert!((60..=120).contains(&probes), "{probes} probes");
    }

    #[test]
    fn a_refused_token_is_renewed_once_and_then_the_tenant_is_refusing() {
        let mut played = Played::new();
        assert_eq!((MAX, None), played.attempt(1, refused(1)));
        assert_eq!((MAX, None), played.attempt(2, refused(1)), "it was in flight with the old one");
        assert_eq!((1, Some(Endpoint::Refusing)), played.attempt(1, refused(2)));
        assert_eq!((1, None), played.attempt(2, refused(3)));
        assert_eq!((1, None), played.attempt(2, BROKEN));
        assert_eq!((MAX, Some(Endpoint::Up)), played.attempt(3, DONE));
        assert_eq!((MAX, None), played.attempt(4, refused(9)), "later it begins anew");
    }

    #[test]
    fn without_a_token_one_attempt_at_a_time_asks_for_one() {
        let mut played = Played::new();
        let missing = Outcome::NoToken { retry_in_ms: 700 };
        assert_eq!((1, Some(Endpoint::NoToken)), played.attempt(1, missing));
        assert_eq!(Tick(700), played.admission.opens_at());
        assert_eq!((1, None), played.attempt(1, missing));
        assert_eq!((MAX, Some(Endpoint::Up)), played.attempt(1, BROKEN), "it had a token");
    }

    #[test]
    fn a_pause_holds_everything_back_until_it_is_over() {
        let mut played = Played::new();
        played.admission.pause(Tick(900));
        played.admission.pause(Tick(300));
        assert_eq!(0, played.admission.window(Tick(899), MAX));
        assert_eq!(MAX, played.admission.window(Tick(900), MAX));
    }

    #[test]
    fn doubles_up_to_its_bound() {
        for (times, expected) in [(0, 250), (1, 500), (7, 32_000), (8, 60_000), (63, 60_000), (200, 60_000)] {
            assert_eq!(expected, doubled(250, times, 60_000), "{times}");
        }
    }
}
