//! The HTTP request that becomes a WebSocket, and its answer. Pure.
//!
//! Written here rather than left to tungstenite, which logs the whole request, token included, and
//! drops the connection with the better part of an error's body unread.

use std::time::{Duration, SystemTime};

use tungstenite::handshake::derive_accept_key;

use crate::observe::blot::blot;
use crate::tenant::{Url, retry_after_ms};

/// The most bytes that the head of an answer may have.
pub const HEAD_MAX: usize = 16 * 1024;

/// The most header lines that it may have.
const HEADERS_MAX: usize = 64;

/// The most characters of an error's body that are shown.
const EXCERPT_MAX: usize = 200;

/// Returns the request; `None` where `bearer` holds what no header can carry.
///
/// `key` is a random one (`generate_key`), to be given to [`read_head`] again.
pub fn request(url: &Url, bearer: &str, key: &str) -> Option<String> {
    if bearer.is_empty() || !bearer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Authorization: Bearer {bearer}\r\n\
         User-Agent: dtmfd/{version}\r\n\
         \r\n",
        path = url.path(),
        host = url.authority(),
        version = env!("CARGO_PKG_VERSION"),
    ))
}

/// The head of an answer.
#[derive(PartialEq, Eq, Debug)]
pub enum Head {
    /// It goes on.
    Partial,
    /// The connection is a WebSocket from here.
    Opened {
        /// How many bytes the head has; frames follow.
        length: usize,
    },
    /// It is none, and stays HTTP.
    Other {
        /// How many bytes the head has; the body follows.
        length: usize,
        /// How many bytes the body has, where that is said.
        body: Option<usize>,
        /// Whether the body comes in chunks.
        chunked: bool,
        /// What it says.
        refusal: Refusal,
    },
}

/// An answer that is no WebSocket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refusal {
    /// Its status.
    pub status: u16,
    /// The host that a redirect leads to, with its port; empty for one on the same host.
    pub redirect: Option<String>,
    /// How long it asks us to stay away.
    pub retry_after: Option<Duration>,
    /// The beginning of its body, fit to be shown; see [`excerpt`].
    pub excerpt: String,
}

/// Why an answer is no HTTP or no proper upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadHead {
    /// It isn't HTTP/1.
    #[error("it is no HTTP answer: {0}")]
    NotHttp(httparse::Error),
    /// It is longer than [`HEAD_MAX`].
    #[error("its head is over {HEAD_MAX} bytes")]
    TooLong,
    /// Its status is 101, but what belongs to that is not there.
    #[error("its status is 101, but {0}")]
    NotOurs(&'static str),
}

/// Reads the head of the answer to the request with `key`, as far as `bytes` go.
///
/// `now` tells how far away a `Retry-After` is that is a date.
///
/// # Errors
///
/// Returns why the peer doesn't speak the protocol.
pub fn read_head(bytes: &[u8], key: &str, now: SystemTime) -> Result<Head, BadHead> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(bytes).map_err(BadHead::NotHttp)? {
        httparse::Status::Complete(length) if length <= HEAD_MAX => length,
        httparse::Status::Partial if bytes.len() < HEAD_MAX => return Ok(Head::Partial),
        httparse::Status::Complete(_) | httparse::Status::Partial => return Err(BadHead::TooLong),
    };
    let header = |name: &str| {
        let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    let status = answer.code.unwrap_or_default();
    if status == 101 {
        let words = answer.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
        let mut words = words.flat_map(|header| header.value.split(|&byte| byte == b','));
        let upgrades = words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
        return verify(header, upgrades, key)
            .map_or(Ok(Head::Opened { length }), |why| Err(BadHead::NotOurs(why)));
    }
    let redirect = header("location").filter(|_| (300..400).contains(&status)).map(|location| {
        let host = location.split_once("//").map_or("", |(_, rest)| rest);
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        printable(host.rsplit('@').next().unwrap_or_default())
    });
    let retry_after = header("retry-after").filter(|_| matches!(status, 429 | 503));
    Ok(Head::Other {
        length,
        body: header("content-length").and_then(|text| text.parse().ok()),
        chunked: header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")),
        refusal: Refusal {
            status,
            redirect,
            retry_after: retry_after.and_then(|text| retry_after_ms(text, now)).map(Duration::from_millis),
            excerpt: String::new(),
        },
    })
}

/// Returns what is wrong with a 101 (RFC 6455 section 4.1); we ask for no subprotocol and no
/// extension, so there must be none.
fn verify<'a>(header: impl Fn(&str) -> Option<&'a str>, upgrades: bool, key: &str) -> Option<&'static str> {
    if !header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        Some("it doesn't say `Upgrade: websocket`")
    } else if !upgrades {
        Some("it doesn't say `Connection: Upgrade`")
    } else if header("sec-websocket-accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
        Some("its `Sec-WebSocket-Accept` doesn't fit our key")
    } else if header("sec-websocket-extensions").is_some_and(|value| !value.is_empty()) {
        Some("it uses an extension that we didn't ask for")
    } else if header("sec-websocket-protocol").is_some() {
        Some("it chose a subprotocol that we didn't ask for")
    } else {
        None
    }
}

/// Returns the beginning of a body, fit for a line of a log: at most 200 printable characters, runs
/// of anything else as one space. Our token and runs of digits are left out, see [`blot`].
pub fn excerpt(body: &[u8], chunked: bool, bearer: &str) -> String {
    let text = String::from_utf8_lossy(body);
    // The first line of a chunked body is the length of its first chunk.
    let text = if chunked { text.split_once("\r\n").map_or("", |(_, rest)| rest) } else { &*text };
    printable(&blot(text, bearer, []))
}

fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { ' ' } else { c };
    let text: String = text.chars().map(shown).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(EXCERPT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::Kind;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\
        Connection: keep-alive\r\nConnection: TE , upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn read(head: &str) -> Result<Head, BadHead> {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        read_head(head.as_bytes(), KEY, now)
    }

    #[test]
    fn asks_for_the_path_at_the_host_with_the_token() {
        let url = Url::parse("wss://t.example:8443/api/v2/voice/websocket?a=1", Kind::WebSocket).unwrap();
        let request = request(&url, "abc.def", KEY).unwrap();
        assert!(request.starts_with("GET /api/v2/voice/websocket?a=1 HTTP/1.1\r\nHost: t.example:8443\r\n"));
        for line in ["Authorization: Bearer abc.def", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] {
            assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
        assert!(request.ends_with("\r\n\r\n"));
        for bad in ["", "a b", "a\r\nX: y", "é"] {
            assert_eq!(None, super::request(&url, bad, KEY), "{bad:?}");
        }
    }

    #[test]
    fn takes_an_answer_that_is_a_websocket_of_ours_only() {
        assert_eq!(Ok(Head::Opened { length: OPENED.len() }), read(&format!("{OPENED}\u{1}frames")));
        for cut in [0, 7, OPENED.len() - 1] {
            assert_eq!(Ok(Head::Partial), read(&OPENED[..cut]));
        }
        for (from, to, expected) in [
            ("WebSocket", "h2c", "Upgrade: websocket"),
            ("TE , upgrade", "close", "Connection: Upgrade"),
            ("s3pP", "S3pP", "our key"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\n\r\n", "subprotocol"),
            ("HTTP/1.1", "SSH-2.0", "no HTTP answer"),
        ] {
            let error = read(&OPENED.replace(from, to)).expect_err(from).to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(Err(BadHead::TooLong), read(&format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_MAX))));
    }

    #[test]
    fn reads_what_a_refusal_says() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        for (status, headers, expected_retry, expected_redirect) in [
            ("401 Unauthorized", "Retry-After: 5", None, None),
            ("429 Too Many Requests", "Retry-After: 5", s(5), None),
            ("503 Busy", "retry-after:  Sun, 06 Nov 1994 08:50:37 GMT ", s(60), None),
            ("503 Busy", "Retry-After: Sun, 06 Nov 1994 08:00:00 GMT", s(0), None),
            ("503 Busy", "Retry-After: soon", None, None),
            ("503 Busy", "Location: https://a/", None, None),
            ("302 Found", "Location: https://u:p@login.example:8/x?y", None, Some("login.example:8")),
            ("307 Moved", "Location: //other\x07", None, None),
            ("307 Moved", "Location: /login", None, Some("")),
            ("300 Choices", "A: b", None, None),
            ("200 OK", "A: b", None, None),
        ] {
            match read(&format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\nbody")) {
                Ok(Head::Other { refusal, .. }) => {
                    assert_eq!(status[..3].parse(), Ok(refusal.status));
                    assert_eq!(expected_retry, refusal.retry_after, "{status} {headers}");
                    assert_eq!(expected_redirect, refusal.redirect.as_deref(), "{status} {headers}");
                }
                other => assert!(headers.contains('\x07'), "{status} {headers}: {other:?}"),
            }
        }
        let head = read("HTTP/1.1 403 No\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(matches!(head, Ok(Head::Other { body: Some(7), chunked: true, .. })), "{head:?}");
    }

    #[test]
    fn shows_the_beginning_of_a_body_and_no_secret() {
        for (body, chunked, expected) in [
            (&b"{\"error\":\r\n\t \"no\"}"[..], false, "{\"error\": \"no\"}"),
            (b"1f\r\nscope missing\r\n0\r\n\r\n", true, "scope missing 0"),
            (b"\x1b[31mred\xff\0", false, "[31mred"),
            (b"you sent Bearer s3cret!", false, "you sent Bearer …!"),
            (b"", true, ""),
        ] {
            assert_eq!(expected, excerpt(body, chunked, "s3cret"));
        }
        assert_eq!(200, excerpt("ä".repeat(999).as_bytes(), false, "x").chars().count());
    }
}
