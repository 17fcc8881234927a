//! What must hold of an answer to an update, whatever it is.

use std::time::{Duration, UNIX_EPOCH};

use super::outcome;
use super::worker::for_operators;
use crate::engine::{Failure, Outcome, Source, Tick, Update, Variable};
use crate::tenant::{Token, retry_after_ms};

/// What an answer may repeat and nobody may be shown.
const CANARIES: [&str; 2] = ["eyJhbGciOiJub25l.Y2FuYXJ5.c2lnbmF0dXJl", "Quiet\"/Val\\ue"];

/// Any bytes as the answer to an update: 2 of status, 4 of our clock, a line with `Retry-After`, and the body.
///
/// The table of SPEC.md section 4 holds, a `Retry-After` is read as another reader does, and what an operator is
/// told is one short line without the token and the values.
pub fn answer(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<6>() else { return };
    let status = u16::from_be_bytes([head[0], head[1]]) % 1000;
    let now =
        UNIX_EPOCH + Duration::from_secs(u32::from_be_bytes([head[2], head[3], head[4], head[5]]).into());
    let (line, body) = rest.split_at(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    let line = String::from_utf8_lossy(line);

    let pause_ms = retry_after_ms(&line, now);
    let is_number = !line.trim().is_empty() && line.trim().bytes().all(|byte| byte.is_ascii_digit());
    match pause_ms {
        Some(ms) if is_number => {
            let least =
                line.trim().trim_start_matches('0').parse().unwrap_or(if ms == 0 { 0 } else { u64::MAX });
            assert_eq!(least.saturating_mul(1000), ms);
        }
        // A date in any of its forms is the one that we would write.
        Some(ms) if ms > 0 => {
            let date = httpdate::fmt_http_date(now + Duration::from_millis(ms));
            assert_eq!(Some(ms), retry_after_ms(&date, now), "{line} is {date}");
        }
        Some(_) => assert!(httpdate::parse_http_date(line.trim()).is_ok_and(|date| date <= now)),
        None => assert!(!is_number, "{line}"),
    }

    let actual = outcome(status, Some(&line), 7, now);
    let expected = match (status, pause_ms) {
        (429 | 503, Some(retry_after_ms)) => Outcome::Paused { status, retry_after_ms },
        (200..=299, _) => Outcome::Accepted { status },
        (401 | 403, _) => Outcome::Refused { status, token: 7 },
        (404 | 409, _) => Outcome::NotYet { status },
        (408 | 425 | 429, _) => Outcome::Busy { status },
        (500 | 502..=504 | 506..=599, _) => Outcome::Failed(Failure::Status(status)),
        _ => Outcome::Rejected { status },
    };
    assert_eq!(expected, actual, "status {status}, Retry-After {line}");

    let body = String::from_utf8_lossy(body);
    let place = body.char_indices().nth(body.chars().count() / 2).map_or(0, |(place, _)| place);
    let token = Token { id: 7, bearer: CANARIES[0].into() };
    let update = Update {
        source: Source::Voice,
        call: "c".into(),
        generation: Tick(1),
        interaction: None,
        variables: vec![Variable::plain("v", CANARIES[1])],
        ended: Tick(2),
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    for canary in CANARIES.into_iter().flat_map(|canary| [canary.to_owned(), quoted(canary)]) {
        let said = format!("{}{canary}{}", &body[..place], &body[place..]);
        let told = for_operators(&said, &token, &update).unwrap_or_default();
        assert!(told.chars().count() <= 200 && !told.contains(char::is_control), "{told:?}");
        // A text of the tenant's own may hold some of it by chance, but not in our place and in whole.
        let secret = canary.trim_matches('"');
        assert!(!told.contains(secret) || body.contains(secret), "{told:?} tells {secret}");
        assert!(!told.contains(CANARIES[0]), "{told:?}");
    }
}
