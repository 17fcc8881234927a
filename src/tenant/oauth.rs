//! The token endpoint's wire: what we send, and what its answer says. Pure.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::secret::Secret;

/// How much of an answer is read.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long a token may last: more is a mistake, or milliseconds.
const LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a token may be: it must fit into a request's head.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// How much of an endpoint's own error code is repeated.
const CODE_CHARS_MAX: usize = 64;

/// A token, as it was granted.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Grant {
    /// Visible ASCII.
    pub(super) bearer: String,
    /// At least 1.
    pub(super) life_ms: u64,
}

/// Why an answer grants no token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NoGrant {
    #[error(
        "the tenant refuses our credentials ({status}{code}): check CXONE_CLIENT_ID and the client secret, and that \
         the client has the scopes voice:read, interactions:read, interactions:write"
    )]
    Refused { status: u16, code: String },
    #[error("the token endpoint redirects ({status}), which is never followed: check CXONE_OAUTH_URL")]
    Redirect { status: u16 },
    #[error("the token endpoint does not exist (404): check CXONE_OAUTH_URL")]
    NotFound,
    #[error("the token endpoint answered {status}{code}")]
    Status { status: u16, code: String },
    #[error("the token endpoint answered more than {} KiB: check CXONE_OAUTH_URL", ANSWER_BYTES_MAX >> 10)]
    TooLong,
    #[error("the token endpoint answered HTML instead of JSON: check CXONE_OAUTH_URL")]
    Html,
    #[error("the token endpoint answered something other than a JSON object: check CXONE_OAUTH_URL")]
    NotJson,
    #[error("the token endpoint's answer has no access_token")]
    NoToken,
    #[error("the token endpoint's access_token is empty")]
    EmptyToken,
    #[error("the token endpoint's access_token is {0} bytes long, and may be {TOKEN_BYTES_MAX} at most")]
    LongToken(usize),
    #[error("the token endpoint's access_token has characters that cannot stand in a header")]
    UnfitToken,
    #[error("the token endpoint's answer has no expires_in")]
    NoLife,
    #[error("the token endpoint's expires_in is not a number")]
    LifeNotNumber,
    #[error("the token endpoint's expires_in is {0}, and must be above 0")]
    LifeTooShort(String),
    #[error("the token endpoint's expires_in is {0}, and may be {max} (30 days) at most", max = LIFE_MAX.as_secs())]
    LifeTooLong(String),
}

/// Returns what asks for a token: JSON, with the secret in it.
pub(super) fn request(client_id: &str, client_secret: &Secret) -> Vec<u8> {
    #[derive(Serialize)]
    struct Ask<'a> {
        grant_type: &'static str,
        client_id: &'a str,
        client_secret: &'a str,
    }
    let ask = Ask { grant_type: "client_credentials", client_id, client_secret: client_secret.reveal() };
    serde_json::to_vec(&ask).expect("strings always become JSON")
}

/// Reads an answer, of which at most one byte more than [`ANSWER_BYTES_MAX`] was kept.
pub(super) fn grant(status: u16, body: &[u8]) -> Result<Grant, NoGrant> {
    let json = || serde_json::from_slice::<Value>(body);
    match status {
        200..=299 => (),
        401 | 403 => return Err(NoGrant::Refused { status, code: code(json().ok()) }),
        300..=399 => return Err(NoGrant::Redirect { status }),
        404 => return Err(NoGrant::NotFound),
        _ => return Err(NoGrant::Status { status, code: code(json().ok()) }),
    }
    if body.len() > ANSWER_BYTES_MAX {
        return Err(NoGrant::TooLong);
    }
    let Ok(Value::Object(answer)) = json() else {
        let is_html = body.trim_ascii_start().first() == Some(&b'<');
        return Err(if is_html { NoGrant::Html } else { NoGrant::NotJson });
    };
    let bearer = match answer.get("access_token") {
        Some(Value::String(bearer)) => bearer.clone(),
        _ => return Err(NoGrant::NoToken),
    };
    if bearer.is_empty() {
        return Err(NoGrant::EmptyToken);
    }
    if bearer.len() > TOKEN_BYTES_MAX {
        return Err(NoGrant::LongToken(bearer.len()));
    }
    if !bearer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NoGrant::UnfitToken);
    }
    Ok(Grant { bearer, life_ms: life_ms(answer.get("expires_in"))? })
}

/// Reads `expires_in`: seconds, as a number or, which some endpoints send, as a number in a string.
fn life_ms(value: Option<&Value>) -> Result<u64, NoGrant> {
    let seconds = match value {
        None | Some(Value::Null) => return Err(NoGrant::NoLife),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    let seconds = seconds.filter(|seconds| seconds.is_finite()).ok_or(NoGrant::LifeNotNumber)?;
    if seconds > LIFE_MAX.as_secs_f64() {
        return Err(NoGrant::LifeTooLong(shown(seconds)));
    }
    match Duration::try_from_secs_f64(seconds).map(|life| life.as_millis()) {
        Ok(life_ms @ 1..) => Ok(u64::try_from(life_ms).expect("30 days at most")),
        Ok(0) | Err(_) => Err(NoGrant::LifeTooShort(shown(seconds))),
    }
}

/// Returns a number in digits, or as a power of ten where that would be many.
fn shown(seconds: f64) -> String {
    Some(seconds.to_string()).filter(|plain| plain.len() <= 20).unwrap_or_else(|| format!("{seconds:e}"))
}

/// Returns `, CODE` of an error answer (RFC 6749 section 5.2), if it has one that looks like one.
fn code(answer: Option<Value>) -> String {
    let answer = answer.unwrap_or_default();
    let code = answer.get("error").and_then(Value::as_str).unwrap_or_default();
    let is_code = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    if code.is_empty() || code.len() > CODE_CHARS_MAX || !code.chars().all(is_code) {
        return String::new();
    }
    format!(", {code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_in_json_whatever_the_secret_holds() {
        let secret = Secret::new("a\"b\\\n&=ä".to_owned());
        assert_eq!(
            r#"{"grant_type":"client_credentials","client_id":"me","client_secret":"a\"b\\\n&=ä"}"#,
            String::from_utf8(request("me", &secret)).expect("JSON is text")
        );
    }

    #[test]
    fn reads_a_grant() {
        for (expires_in, life_ms) in [
            ("3600", 3_600_000),
            ("3600.0", 3_600_000),
            ("0.5", 500),
            ("\"3600\"", 3_600_000),
            ("\" 3600 \"", 3_600_000),
            ("2592000", 2_592_000_000),
        ] {
            let body = format!(r#"{{"access_token":"a.b-c","expires_in":{expires_in},"scope":[]}}"#);
            let expected = Grant { bearer: "a.b-c".to_owned(), life_ms };
            assert_eq!(Ok(expected), grant(200, body.as_bytes()), "{expires_in}");
        }
        assert!(grant(201, br#"{"access_token":"a","expires_in":1}"#).is_ok());
    }

    #[test]
    fn says_why_there_is_no_token() {
        let long = format!(r#"{{"access_token":"{}","expires_in":1}}"#, "x".repeat(TOKEN_BYTES_MAX + 1));
        let huge = " ".repeat(ANSWER_BYTES_MAX + 1);
        let long_error = NoGrant::LongToken(TOKEN_BYTES_MAX + 1);
        for (body, expected) in [
            ("", NoGrant::NotJson),
            ("  <!DOCTYPE html><html>", NoGrant::Html),
            ("[]", NoGrant::NotJson),
            ("null", NoGrant::NotJson),
            (r#"{"access_token":"a","#, NoGrant::NotJson),
            (r#"{"expires_in":1}"#, NoGrant::NoToken),
            (r#"{"access_token":null,"expires_in":1}"#, NoGrant::NoToken),
            (r#"{"access_token":7,"expires_in":1}"#, NoGrant::NoToken),
            (r#"{"access_token":"","expires_in":1}"#, NoGrant::EmptyToken),
            (r#"{"access_token":"a b","expires_in":1}"#, NoGrant::UnfitToken),
            (r#"{"access_token":"a\r\nX: y","expires_in":1}"#, NoGrant::UnfitToken),
            (r#"{"access_token":"ä","expires_in":1}"#, NoGrant::UnfitToken),
            (&long, long_error),
            (&huge, NoGrant::TooLong),
            (r#"{"access_token":"a"}"#, NoGrant::NoLife),
            (r#"{"access_token":"a","expires_in":null}"#, NoGrant::NoLife),
            (r#"{"access_token":"a","expires_in":"soon"}"#, NoGrant::LifeNotNumber),
            (r#"{"access_token":"a","expires_in":"NaN"}"#, NoGrant::LifeNotNumber),
            (r#"{"access_token":"a","expires_in":"inf"}"#, NoGrant::LifeNotNumber),
            (r#"{"access_token":"a","expires_in":true}"#, NoGrant::LifeNotNumber),
            (r#"{"access_token":"a","expires_in":0}"#, NoGrant::LifeTooShort("0".to_owned())),
            (r#"{"access_token":"a","expires_in":-5}"#, NoGrant::LifeTooShort("-5".to_owned())),
            (r#"{"access_token":"a","expires_in":0.0001}"#, NoGrant::LifeTooShort("0.0001".to_owned())),
            (r#"{"access_token":"a","expires_in":2592001}"#, NoGrant::LifeTooLong("2592001".to_owned())),
            (r#"{"access_token":"a","expires_in":"1e300"}"#, NoGrant::LifeTooLong("1e300".to_owned())),
            (r#"{"access_token":"a","expires_in":-1e300}"#, NoGrant::LifeTooShort("-1e300".to_owned())),
        ] {
            assert_eq!(Err(expected), grant(200, body.as_bytes()), "{body:.80}");
        }
    }

    #[test]
    fn says_what_a_status_means() {
        for (status, body, expected) in [
            (
                401,
                r#"{"error":"invalid_client"}"#,
                "the tenant refuses our credentials (401, invalid_client): check CXONE_CLIENT_ID and the client \
                 secret, and that the client has the scopes voice:read, interactions:read, interactions:write",
            ),
            (
                403,
                "<html>",
                "the tenant refuses our credentials (403): check CXONE_CLIENT_ID and the client secret, and that \
                 the client has the scopes voice:read, interactions:read, interactions:write",
            ),
            (302, "", "the token endpoint redirects (302), which is never followed: check CXONE_OAUTH_URL"),
            (404, "", "the token endpoint does not exist (404): check CXONE_OAUTH_URL"),
            (
                400,
                r#"{"error":"unauthorized_client"}"#,
                "the token endpoint answered 400, unauthorized_client",
            ),
            (400, r#"{"error":"a b\n"}"#, "the token endpoint answered 400"),
            (400, r#"{"error":{"code":1}}"#, "the token endpoint answered 400"),
            (503, "", "the token endpoint answered 503"),
            (101, "", "the token endpoint answered 101"),
        ] {
            let actual = grant(status, body.as_bytes()).expect_err(expected).to_string();
            assert_eq!(expected, actual, "{status} {body}");
        }
    }
}
