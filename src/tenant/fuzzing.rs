//! What must hold of [`grant`](super::oauth::grant) for any answer, and of [`request`](super::oauth::request) for
//! any credentials.

use http::HeaderValue;
use serde_json::Value;

use super::Secret;
use super::oauth::{Grant, grant, request};

/// The most that is said of an answer that grants nothing: a sentence of ours, a code of 64 and a number.
const SAID_MAX: usize = 400;

/// Any bytes as a status and the body of a token answer: what is granted is what another reader finds there and
/// fits into a header; what isn't is said in one line. And as credentials: they arrive as they were given.
pub fn token(bytes: &[u8]) {
    let (head, body) = bytes.split_at(bytes.len().min(2));
    let status = head.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)) % 1000;
    for status in [status, 200] {
        match grant(status, body) {
            Ok(Grant { bearer, life_ms }) => {
                assert!((200..=299).contains(&status));
                assert!((1..=30 * 24 * 3_600_000).contains(&life_ms), "{life_ms} ms");
                assert!(bearer.len() <= 8 << 10 && bearer.bytes().all(|byte| byte.is_ascii_graphic()));
                assert!(HeaderValue::try_from(format!("Bearer {bearer}")).is_ok());
                let read: Value = serde_json::from_slice(body).expect("it was read before");
                assert_eq!(Some(bearer.as_str()), read["access_token"].as_str());
            }
            Err(why) => {
                let said = why.to_string();
                assert!(
                    said.len() <= SAID_MAX && said.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                    "{said:?}"
                );
            }
        }
    }
    let text = String::from_utf8_lossy(body);
    let (id, secret) = text.split_at(text.find(',').unwrap_or(text.len()));
    let asked = request(id, &Secret::new(secret.to_owned()));
    let read: Value = serde_json::from_slice(&asked).expect("we write JSON");
    assert_eq!((Some(id), Some(secret)), (read["client_id"].as_str(), read["client_secret"].as_str()));
}
