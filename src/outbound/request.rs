//! An update as an HTTP request, and an answer as an outcome. Pure.

use std::time::SystemTime;

use serde::Serialize;
use uuid::Uuid;

use crate::call_id;
use crate::engine::{Failure, Outcome, Update};
use crate::tenant::retry_after_ms;

/// What idempotency keys are made under. It must never change: after an update of dtmfd the same key must come out.
const NAMESPACE: Uuid = Uuid::from_u128(0x3f0c_98a4_6f0b_4f58_9d0e_27ab_71c5_e264);

/// Returns the path that an interaction's variables are posted to.
pub fn path(interaction: &str) -> String {
    format!("/api/v2/interactions/{}/variables", call_id::encode(interaction))
}

/// Returns what is posted: the variables in their order, as compact JSON.
pub fn body(update: &Update) -> Vec<u8> {
    #[derive(Serialize)]
    struct Variable<'a> {
        name: &'a str,
        value: &'a str,
    }
    // One that lost a value is parked, and never comes here.
    let variables: Vec<_> = update.texts().map(|(name, value)| Variable { name, value }).collect();
    serde_json::to_vec(&variables).expect("strings always become JSON")
}

/// Returns what names the update over retries and restarts: a UUID of its source, call and generation.
pub fn idempotency_key(update: &Update) -> String {
    // Names of sources hold no NUL and a generation is a number, so no two updates are written alike.
    let name = format!("{}\0{}\0{}", update.source.name(), update.generation.0, update.call);
    Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string()
}

/// Returns what an answer came to: SPEC.md section 4, where the first row that fits holds.
///
/// `token` is the number of the token that was sent. A `Retry-After` that can't be read counts as absent, and one that
/// can is passed on as it is, however long.
pub fn outcome(status: u16, retry_after: Option<&str>, token: u64, now: SystemTime) -> Outcome {
    let pause_ms = retry_after.and_then(|value| retry_after_ms(value, now));
    match (status, pause_ms) {
        (200..=299, _) => Outcome::Accepted { status },
        (401 | 403, _) => Outcome::Refused { status, token },
        (429 | 503, Some(retry_after_ms)) => Outcome::Paused { status, retry_after_ms },
        (408 | 425 | 429, _) => Outcome::Busy { status },
        (501 | 505, _) => Outcome::Rejected { status },
        (500..=599, _) => Outcome::Failed(Failure::Status(status)),
        (404 | 409, _) => Outcome::NotYet { status },
        _ => Outcome::Rejected { status },
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::engine::{Source, Tick, Variable};

    fn update(source: Source, call: &str, generation: u64) -> Update {
        Update {
            source,
            call: call.into(),
            generation: Tick(generation),
            interaction: None,
            variables: vec![
                Variable::plain("ivr_selection", r#"["1","A","1"]"#),
                Variable::plain("ivr_status", "completed"),
            ],
            ended: Tick(9),
        }
    }

    #[test]
    fn encodes_all_but_unreserved_characters() {
        for (interaction, encoded) in [
            ("c-7f3a91", "c-7f3a91"),
            ("AZaz09-._~", "AZaz09-._~"),
            ("a@b%c~", "a%40b%25c~"),
            ("a/../b", "a%2F..%2Fb"),
            ("!$&'()*+,;=:", "%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A"),
            ("ä", "%C3%A4"),
        ] {
            assert_eq!(format!("/api/v2/interactions/{encoded}/variables"), path(interaction));
        }
    }

    #[test]
    fn writes_the_variables_as_compact_json() {
        assert_eq!(
            r#"[{"name":"ivr_selection","value":"[\"1\",\"A\",\"1\"]"},{"name":"ivr_status","value":"completed"}]"#,
            String::from_utf8(body(&update(Source::Voice, "c", 1))).expect("JSON is text")
        );
        let empty = Update { variables: Vec::new(), ..update(Source::Voice, "c", 1) };
        assert_eq!(b"[]", &body(&empty)[..]);
    }

    #[test]
    fn names_an_update_the_same_for_ever_and_no_two_alike() {
        let key = |source, call, generation| idempotency_key(&update(source, call, generation));
        assert_eq!("4a0b3e42-9981-5c89-b5f2-4bf5b06fa8f3", key(Source::Voice, "c", 1));
        let mut keys = vec![
            key(Source::Voice, "c", 1),
            key(Source::Simulator, "c", 1),
            key(Source::Voice, "c", 2),
            key(Source::Voice, "c1", 1),
            key(Source::Voice, "1", 11),
            key(Source::Voice, "11", 1),
        ];
        keys.sort();
        keys.dedup();
        assert_eq!(6, keys.len());
        // What it is written to and what it says make no difference.
        let other =
            Update { interaction: Some("i".into()), variables: Vec::new(), ..update(Source::Voice, "c", 1) };
        assert_eq!(key(Source::Voice, "c", 1), idempotency_key(&other));
    }

    #[test]
    fn tells_what_an_answer_came_to() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let paused = |status, retry_after_ms| Outcome::Paused { status, retry_after_ms };
        let failed = |status| Outcome::Failed(Failure::Status(status));
        for (status, retry_after, expected) in [
            (200, None, Outcome::Accepted { status: 200 }),
            (204, Some("9"), Outcome::Accepted { status: 204 }),
            (299, None, Outcome::Accepted { status: 299 }),
            (401, None, Outcome::Refused { status: 401, token: 7 }),
            (403, Some("9"), Outcome::Refused { status: 403, token: 7 }),
            (429, Some("9"), paused(429, 9_000)),
            (503, Some("9"), paused(503, 9_000)),
            (503, Some("0"), paused(503, 0)),
            (429, Some("Sun, 06 Nov 1994 08:50:07 GMT"), paused(429, 30_000)),
            (429, Some("Sun, 06 Nov 1994 08:49:07 GMT"), paused(429, 0)),
            (429, Some("301"), paused(429, 301_000)),
            (429, Some("99999999999999999999"), paused(429, u64::MAX)),
            (429, None, Outcome::Busy { status: 429 }),
            (429, Some("soon"), Outcome::Busy { status: 429 }),
            (408, None, Outcome::Busy { status: 408 }),
            (408, Some("9"), Outcome::Busy { status: 408 }),
            (425, None, Outcome::Busy { status: 425 }),
            (500, None, failed(500)),
            (500, Some("9"), failed(500)),
            (502, None, failed(502)),
            (503, None, failed(503)),
            (503, Some("-1"), failed(503)),
            (504, None, failed(504)),
            (599, None, failed(599)),
            (404, None, Outcome::NotYet { status: 404 }),
            (409, None, Outcome::NotYet { status: 409 }),
            (100, None, Outcome::Rejected { status: 100 }),
            (199, None, Outcome::Rejected { status: 199 }),
            (300, None, Outcome::Rejected { status: 300 }),
            (302, None, Outcome::Rejected { status: 302 }),
            (308, None, Outcome::Rejected { status: 308 }),
            (400, None, Outcome::Rejected { status: 400 }),
            (405, None, Outcome::Rejected { status: 405 }),
            (413, Some("9"), Outcome::Rejected { status: 413 }),
            (418, None, Outcome::Rejected { status: 418 }),
            (422, None, Outcome::Rejected { status: 422 }),
            (501, None, Outcome::Rejected { status: 501 }),
            (505, Some("9"), Outcome::Rejected { status: 505 }),
            (600, None, Outcome::Rejected { status: 600 }),
            (999, None, Outcome::Rejected { status: 999 }),
        ] {
            let actual = outcome(status, retry_after, 7, now);
            assert_eq!(expected, actual, "status {status}, Retry-After {retry_after:?}");
        }
    }
}
