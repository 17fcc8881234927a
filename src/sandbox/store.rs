//! What the stand-in knows: the tokens it gave out, and the variables it was brought.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::faults::Fail;

/// How long a token is good for.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// How many tokens are good at a time; one more makes the oldest useless.
const TOKENS_MAX: usize = 64;
/// How many requests for variables are remembered, for whoever wants to judge them.
const POSTS_MAX: usize = 4096;
/// How many interactions, and how many updates, are remembered: more than anyone watches, and a
/// sandbox that runs for weeks stays small.
const REMEMBERED_MAX: usize = 16_384;

/// A request to set variables, and what it was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post {
    /// The interaction that it named.
    pub interaction: String,
    /// Its idempotency key, if it had one.
    pub key: Option<String>,
    /// Counts the requests of that key, from 1.
    pub attempt: u32,
    /// What it was answered.
    pub status: u16,
    /// Names and values in the order sent; none if the body couldn't be read.
    pub variables: Vec<(String, String)>,
}

/// What the stand-in knows.
#[derive(Debug)]
pub(super) struct Store {
    tokens: VecDeque<(String, Instant)>,
    n_tokens: u64,
    /// The faults in their order, and for [`Fail::Once401`] whether it has been.
    fails: Vec<(Fail, bool)>,
    updates: Recent<(String, Option<String>), Standing>,
    accepted: Recent<String, Vec<(String, String)>>,
    posts: VecDeque<Post>,
}

/// How an update stands, by interaction and idempotency key.
#[derive(Clone, Copy, Default, Debug)]
struct Standing {
    attempts: u32,
    /// How many of them failed because of [`Fail::Status`].
    failed: u32,
    applied: bool,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

impl Store {
    pub(super) fn new(fails: &[Fail]) -> Store {
        Store {
            tokens: VecDeque::new(),
            n_tokens: 0,
            fails: fails.iter().map(|&fail| (fail, false)).collect(),
            updates: Recent::new(REMEMBERED_MAX),
            accepted: Recent::new(REMEMBERED_MAX),
            posts: VecDeque::new(),
        }
    }

    /// Gives out a token that was never given out before.
    pub(super) fn issue_token(&mut self, now: Instant) -> String {
        if self.tokens.len() == TOKENS_MAX {
            self.tokens.pop_front();
        }
        self.n_tokens += 1;
        // std's hasher is keyed by the system's random numbers: no crate just for this.
        let token = format!("sandbox-{}-{:016x}", self.n_tokens, RandomState::new().hash_one(self.n_tokens));
        self.tokens.push_back((token.clone(), now));
        token
    }

    /// Returns whether a token is good at `now`.
    pub(super) fn admits(&self, token: Option<&str>, now: Instant) -> bool {
        self.tokens
            .iter()
            .any(|(known, issued)| Some(known.as_str()) == token && now.duration_since(*issued) < TOKEN_LIFE)
    }

    /// Takes in a request to set variables; the status in what is returned is the answer.
    pub(super) fn post(
        &mut self,
        interaction: String,
        key: Option<String>,
        token: Option<&str>,
        body: &[u8],
        now: Instant,
    ) -> Post {
        let admitted = self.admits(token, now);
        let standing = self.updates.entry((interaction.clone(), key.clone()));
        standing.attempts = standing.attempts.saturating_add(1);
        let attempt = standing.attempts;
        let variables = read_variables(body);
        let status = if !admitted {
            401
        } else if let Some(status) = next_failure(&mut self.fails, standing) {
            if status == (401, Fail::Once401) {
                self.tokens.retain(|(known, _)| Some(known.as_str()) != token);
            }
            status.0
        } else if let Some(variables) = &variables {
            // A repeated key changes nothing: its update has been applied.
            if !std::mem::replace(&mut standing.applied, true) {
                *self.accepted.entry(interaction.clone()) = variables.clone();
            }
            200
        } else {
            400
        };
        let post = Post { interaction, key, attempt, status, variables: variables.unwrap_or_default() };
        if self.posts.len() == POSTS_MAX {
            self.posts.pop_front();
        }
        self.posts.push_back(post.clone());
        post
    }

    /// Returns the variables of an interaction's last accepted update.
    pub(super) fn accepted(&self, interaction: &str) -> Option<&Vec<(String, String)>> {
        self.accepted.get(interaction)
    }

    /// Returns the last requests to set variables, the oldest first.
    pub(super) fn posts(&self) -> impl Iterator<Item = &Post> {
        self.posts.iter()
    }
}

/// Returns what an update's next request is to fail with, and by which fault; `None` if by none.
fn next_failure(fails: &mut [(Fail, bool)], standing: &mut Standing) -> Option<(u16, Fail)> {
    let mut behind = standing.failed;
    for (fail, been) in fails {
        match *fail {
            Fail::Status { status, times } if behind < times => {
                standing.failed += 1;
                return Some((status, *fail));
            }
            Fail::Status { times, .. } => behind -= times,
            Fail::Once401 if *been => (),
            Fail::Once401 => {
                *been = true;
                return Some((401, *fail));
            }
        }
    }
    None
}

/// Reads `[{"name": …, "value": …}, …]`; `None` if it is anything else.
fn read_variables(body: &[u8]) -> Option<Vec<(String, String)>> {
    let variables: Vec<Variable> = serde_json::from_slice(body).ok()?;
    let named = variables.iter().all(|variable| !variable.name.is_empty());
    named.then(|| variables.into_iter().map(|Variable { name, value }| (name, value)).collect())
}

/// A map that forgets its oldest entries beyond a maximum.
#[derive(Debug)]
struct Recent<K, V> {
    max: usize,
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Default> Recent<K, V> {
    fn new(max: usize) -> Recent<K, V> {
        Recent { max, map: HashMap::new(), order: VecDeque::new() }
    }

    /// Returns the value at `key`, which is the default one at first.
    fn entry(&mut self, key: K) -> &mut V {
        if !self.map.contains_key(&key) {
            if self.order.len() == self.max
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        self.map.entry(key).or_default()
    }

    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"[{"name":"ivr_status","value":"completed"}]"#;

    fn statuses(fails: &[&str], posts: &[&str]) -> Vec<u16> {
        let fails: Vec<Fail> = fails.iter().map(|fail| fail.parse().unwrap()).collect();
        let now = Instant::now();
        let mut store = Store::new(&fails);
        let mut token = store.issue_token(now);
        posts
            .iter()
            .map(|key| {
                let post = store.post("i".to_owned(), Some((*key).to_owned()), Some(&token), BODY, now);
                if post.status == 401 {
                    assert!(!store.admits(Some(&token), now), "the token is revoked");
                    token = store.issue_token(now);
                }
                post.status
            })
            .collect()
    }

    #[test]
    fn fails_by_update_in_the_order_given() {
        for (fails, posts, expected) in [
            (&[][..], &["a", "a"][..], &[200, 200][..]),
            (&["429:2"], &["a", "b", "a", "a", "b", "b"], &[429, 429, 429, 200, 429, 200]),
            (&["429:1", "503:2"], &["a", "a", "a", "a"], &[429, 503, 503, 200]),
            (&["401"], &["a", "a", "b"], &[401, 200, 200]),
            (&["401", "429:1"], &["a", "a", "a", "b", "b"], &[401, 429, 200, 429, 200]),
            (&["429:1", "401"], &["a", "b", "b", "a"], &[429, 429, 401, 200]),
        ] {
            assert_eq!(expected, statuses(fails, posts), "{fails:?} {posts:?}");
        }
    }

    #[test]
    fn applies_an_update_once_and_remembers_what_it_was_asked() {
        let now = Instant::now();
        let mut store = Store::new(&[]);
        let token = store.issue_token(now);
        let mut post = |key: &str, token: &str, body: &str| {
            store.post("i".to_owned(), Some(key.to_owned()), Some(token), body.as_bytes(), now).status
        };
        assert_eq!(401, post("a", "wrong", r#"[{"name":"n","value":"1"}]"#));
        assert_eq!(400, post("a", &token, r#"{"name":"n","value":"1"}"#));
        assert_eq!(400, post("a", &token, r#"[{"name":"","value":"1"}]"#));
        assert_eq!(400, post("a", &token, r#"[{"name":"n","value":1}]"#));
        assert_eq!(200, post("a", &token, r#"[{"name":"n","value":"1"}]"#));
        assert_eq!(200, post("a", &token, r#"[{"name":"n","value":"2"}]"#));
        assert_eq!(Some(&vec![("n".to_owned(), "1".to_owned())]), store.accepted("i"));
        assert_eq!(None, store.accepted("j"));
        let posts: Vec<_> = store.posts().map(|post| (post.attempt, post.status)).collect();
        assert_eq!(vec![(1, 401), (2, 400), (3, 400), (4, 400), (5, 200), (6, 200)], posts);
    }

    #[test]
    fn gives_out_a_new_token_each_time_and_lets_them_expire() {
        let now = Instant::now();
        let mut store = Store::new(&[]);
        let (first, second) = (store.issue_token(now), store.issue_token(now));
        assert_ne!(first, second);
        assert!(store.admits(Some(&first), now));
        assert!(!store.admits(None, now));
        assert!(!store.admits(Some(&first), now + TOKEN_LIFE));
        for _ in 1..TOKENS_MAX {
            store.issue_token(now);
        }
        assert!(!store.admits(Some(&first), now));
        assert!(store.admits(Some(&second), now));
    }

    #[test]
    fn forgets_the_oldest() {
        let mut recent = Recent::new(2);
        for key in ["a", "b", "a", "c"] {
            *recent.entry(key) += 1;
        }
        assert_eq!((None, Some(&1), Some(&1)), (recent.get("a"), recent.get("b"), recent.get("c")));
    }
}
