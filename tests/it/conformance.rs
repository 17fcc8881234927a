//! What RFC 9112 (HTTP/1.1) and RFC 9110 ask of a server, held against the real binary over raw sockets.
//!
//! Behind every request of the table another one is sent, on the same connection, which presses a key. No
//! request may be read so that this one is answered, or acted upon: that is request smuggling.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use crate::api::{Api, Honest, all_of, ask, press, statuses};

/// The call that a smuggled request would begin.
const SMUGGLED: &str = "smuggled-call";

/// What must come back.
enum Expected {
    /// One answer with one of these statuses, and the end of the connection.
    Status(&'static [u16]),
    /// As `Status`, with these words in its head or its body.
    With(u16, &'static str),
    /// No answer: the connection ends.
    End,
}

use Expected::{End, Status, With};

/// The section of RFC 9112 (or 9110), what is tried, the request, what must come back. `{host}` is where the
/// API is; `{long:N}` is N times `x`.
const CASES: &[(&str, &str, &str, Expected)] = &[
    // The message as a whole.
    (
        "9112 2.1",
        "a request as in the book",
        "GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        With(200, "\r\n\r\nok"),
    ),
    ("9112 2.1", "nothing at all", "", End),
    (
        "9112 2.2",
        "an empty line before it",
        "\r\nGET /health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[200]),
    ),
    ("9112 2.2", "LF alone ends the lines", "GET /health HTTP/1.1\nHost: {host}\n\n", Status(&[400])),
    (
        "9112 2.2",
        "LF alone ends one header",
        "GET /health HTTP/1.1\r\nHost: {host}\nX: y\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 2.2",
        "CR alone in the request line",
        "GET /health\rHTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 2.2",
        "CR alone in a value",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nX: a\rb\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 2.2",
        "CR alone before a header",
        "GET /health HTTP/1.1\r\nHost: {host}\r\n\rX: y\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 2.2",
        "white space before the first header",
        "GET /health HTTP/1.1\r\n Host: {host}\r\n\r\n",
        Status(&[400]),
    ),
    ("9112 2.2", "not HTTP: a TLS handshake", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", Status(&[400])),
    // Versions.
    ("9112 2.3", "HTTP/1.0", "GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n", Status(&[200])),
    ("9112 2.3", "HTTP/1.0 knows no Host", "GET /health HTTP/1.0\r\n\r\n", Status(&[200])),
    ("9112 2.3", "the version in lower case", "GET /health http/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    ("9112 2.3", "no version", "GET /health\r\nHost: {host}\r\n\r\n", Status(&[400])),
    ("9112 2.3", "half a version", "GET /health HTTP/1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    ("9110 15.6.6", "another major version", "GET /health HTTP/9.9\r\nHost: {host}\r\n\r\n", Status(&[505])),
    ("9113 3.4", "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Status(&[505])),
    // The request line.
    ("9112 3", "two spaces in it", "GET  /health HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    ("9112 3", "a space after it", "GET /health HTTP/1.1 \r\nHost: {host}\r\n\r\n", Status(&[400])),
    ("9112 3", "a tab in it", "GET\t/health HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    ("9112 3", "words before it", "Extra line GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    (
        "9112 3",
        "a target longer than we wish to read",
        "GET /{long:9000} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[414]),
    ),
    ("9112 3.1", "a method that is no token", "G(T /health HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    (
        "9110 9.1",
        "methods tell cases apart",
        "get /health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[405, 501]),
    ),
    ("9110 9.1", "an unknown method", "BREW /health HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[405, 501])),
    (
        "9110 15.5.6",
        "405 comes with Allow",
        "POST /health HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n",
        With(405, "\r\nAllow: GET, HEAD\r\n"),
    ),
    (
        "9110 9.3.2",
        "HEAD has no body",
        "HEAD /health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        With(200, "\r\nContent-Length: 2\r\n"),
    ),
    (
        "9110 9.3.8",
        "TRACE repeats no secrets",
        "TRACE /health HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer x\r\n\r\n",
        Status(&[405, 501]),
    ),
    // Targets.
    (
        "9112 3.2.1",
        "a query is not part of the path",
        "GET /health?a=/b?c HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[200]),
    ),
    ("9112 3.2", "a space in the target", "GET /health /x HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    ("9112 3.2", "a fragment", "GET /health#x HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    (
        "9112 3.2.2",
        "absolute-form",
        "GET http://{host}/health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[200]),
    ),
    (
        "9112 3.2.2",
        "its authority wins over Host",
        "GET http://evil.example/health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[403]),
    ),
    (
        "9110 4.2.4",
        "a user in its authority",
        "GET http://u:p@{host}/health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 3.2.3",
        "CONNECT: this is no proxy",
        "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[400, 405, 501]),
    ),
    (
        "9112 3.2.4",
        "OPTIONS of the whole server",
        "OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[400, 405, 501]),
    ),
    ("9112 3.2.4", "an asterisk for GET", "GET * HTTP/1.1\r\nHost: {host}\r\n\r\n", Status(&[400])),
    // Host.
    ("9112 3.2", "no Host", "GET /health HTTP/1.1\r\nX: y\r\n\r\n", Status(&[400])),
    (
        "9112 3.2",
        "two Hosts",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 3.2",
        "two Hosts that agree",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nhost: {host}\r\n\r\n",
        Status(&[400]),
    ),
    ("9112 3.2", "a Host that is none", "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", Status(&[400])),
    ("9112 3.2", "a Host with a path", "GET /health HTTP/1.1\r\nHost: {host}/x\r\n\r\n", Status(&[400])),
    // Header fields.
    ("9112 5.1", "a space before the colon", "GET /health HTTP/1.1\r\nHost : {host}\r\n\r\n", Status(&[400])),
    (
        "9112 5.1",
        "white space around a value, any case of a name",
        "GET /health HTTP/1.1\r\nhoSt:\t {host} \t\r\n\r\n",
        Status(&[200]),
    ),
    (
        "9110 5.5",
        "values may be empty",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nX-Empty:\r\nY: \r\n\r\n",
        Status(&[200]),
    ),
    (
        "9110 5.1",
        "a name that is no token",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nX[]: y\r\n\r\n",
        Status(&[400]),
    ),
    ("9110 5.1", "no name", "GET /health HTTP/1.1\r\nHost: {host}\r\n: y\r\n\r\n", Status(&[400])),
    (
        "9112 5",
        "a line without a colon",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nnothing\r\n\r\n",
        Status(&[400]),
    ),
    ("9112 5.2", "obs-fold", "GET /health HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n", Status(&[400])),
    (
        "9112 5.2",
        "obs-fold that hides a length",
        "POST /health HTTP/1.1\r\nHost: {host}\r\nX: a\r\n\tContent-Length: 9\r\n\r\n",
        Status(&[400]),
    ),
    ("9110 5.5", "NUL in a value", "GET /health HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n", Status(&[400])),
    (
        "9110 5.5",
        "a control character in a value",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nX: a\x07\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9110 5.5",
        "bytes beyond ASCII where nobody looks",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nX: \u{e9}\r\n\r\n",
        Status(&[200]),
    ),
    (
        "9110 5.4",
        "a header longer than we wish to read",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nX: {long:9000}\r\n\r\n",
        Status(&[431]),
    ),
    // Where the body ends.
    (
        "9112 6.2",
        "a body",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 27\r\n\r\n{\"callId\":\"c1\",\"digit\":\"1\"}",
        With(200, "digit_processed"),
    ),
    (
        "9112 6.3",
        "neither length nor coding: no body",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\n\r\n",
        Status(&[400, 411]),
    ),
    (
        "9112 6.3",
        "two lengths",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        Status(&[400]),
    ),
    (
        "9112 6.3",
        "two lengths that agree",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        Status(&[400]),
    ),
    (
        "9112 6.3",
        "two lengths in a line",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2, 2\r\n\r\n{}",
        Status(&[400]),
    ),
    (
        "9110 8.6",
        "a length below zero",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1234\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9110 8.6",
        "a length far below zero",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: -123456789123456789123456789\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9110 8.6",
        "a length with a sign",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: +2\r\n\r\n{}",
        Status(&[400]),
    ),
    (
        "9110 8.6",
        "a length in hexadecimal",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0x2\r\n\r\n{}",
        Status(&[400]),
    ),
    (
        "9110 8.6",
        "a length in words",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: two\r\n\r\n{}",
        Status(&[400]),
    ),
    (
        "9110 8.6",
        "an empty length",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length:\r\n\r\n{}",
        Status(&[400]),
    ),
    (
        "9110 8.6",
        "100 GB",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000000\r\n\r\n{}",
        Status(&[413]),
    ),
    (
        "9110 8.6",
        "more than a number holds",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 18446744073709551618\r\n\r\n{}",
        Status(&[413]),
    ),
    (
        "9112 6.1",
        "a length and a coding",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 6.1",
        "a coding and a length",
        "GET /health HTTP/1.1\r\nHost: {host}\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 5\r\n\r\n0\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 6.1",
        "a coding in HTTP/1.0",
        "POST /simulator HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 6.3",
        "chunks: a length is asked for",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        Status(&[411]),
    ),
    (
        "9112 6.3",
        "a coding without an end",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 6.3",
        "a coding that looks like chunked",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        Status(&[400]),
    ),
    (
        "9112 6.1",
        "a coding that nobody here knows",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Status(&[501]),
    ),
    (
        "9112 6.1",
        "a coding behind a space",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Status(&[400]),
    ),
    // Connections.
    (
        "9110 7.8",
        "an upgrade may be passed over",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Status(&[200]),
    ),
    (
        "9110 7.8",
        "an upgrade to HTTP/2",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        Status(&[200]),
    ),
    (
        "9112 9.3",
        "keep-alive is not granted",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n",
        With(200, "\r\nConnection: close\r\n"),
    ),
    (
        "9110 6.6.1",
        "an answer has a date",
        "GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        With(200, "\r\nDate: "),
    ),
    (
        "9110 10.1.1",
        "an expectation that nobody here knows",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nExpect: coffee\r\n\r\n{}",
        Status(&[417]),
    ),
    (
        "9110 10.1.1",
        "nothing to continue with",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n\r\n",
        Status(&[200]),
    ),
];

fn request(template: &str, host: &str) -> Vec<u8> {
    let mut text = template.replace("{host}", host);
    while let Some((before, rest)) = text.split_once("{long:") {
        let (digits, after) = rest.split_once('}').expect("it ends");
        text = format!("{before}{}{after}", "x".repeat(digits.parse().expect("a number")));
    }
    text.into_bytes()
}

#[test]
fn every_case_of_the_rfcs_gets_its_one_answer() {
    let api = Api::start("conformance");
    let host = api.address.to_string();
    let smuggled = press(api.address, SMUGGLED);
    let mut failures = Vec::new();
    for (section, what, template, expected) in CASES {
        let mut bytes = request(template, &host);
        if !bytes.is_empty() {
            bytes.extend_from_slice(smuggled.as_bytes());
        }
        let answer = api.exchange(&bytes);
        let (found, text) = (statuses(&answer), String::from_utf8_lossy(&answer));
        let well = match expected {
            End => answer.is_empty(),
            Status(statuses) => found.len() == 1 && statuses.contains(&found[0]),
            With(status, words) => found == [*status] && text.contains(words),
        };
        // Whoever reads on would take a later answer for that to the next request.
        let closes = answer.is_empty() || text.contains("\r\nConnection: close\r\n");
        let bodiless = !template.starts_with("HEAD ") || text.ends_with("\r\n\r\n");
        if !well || !closes || !bodiless {
            failures.push(format!("RFC {section}, {what}: {text:.600}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), CASES.len(), failures.join("\n---\n"));
    assert!(api.is_well());
    let said = api.end();
    assert!(said.contains("honest") && !said.contains(SMUGGLED), "a request was smuggled: {said}");
    let _ = writeln!(std::io::stderr(), "conformance: {} cases of RFC 9112 and 9110 hold", CASES.len());
}

#[test]
fn a_request_cut_anywhere_waits_for_its_rest() {
    let api = Api::start("cut");
    let host = api.address;
    let body = r#"{"callId":"cut","digit":"1"}"#;
    let head = format!("POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
    let whole = format!("{head}\r\n{body}");
    for at in 1..whole.len() {
        let mut stream = api.connect();
        stream.write_all(&whole.as_bytes()[..at]).expect("it reads");
        // One thread reads for everybody: once another client is answered, it has seen this half.
        assert!(ask(api.address, Honest::Health));
        stream.set_nonblocking(true).expect("it can be set");
        let early = stream.peek(&mut [0]);
        assert!(
            early.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "an answer after {at} bytes"
        );
        stream.set_nonblocking(false).expect("it can be set");
        stream.write_all(&whole.as_bytes()[at..]).expect("it reads");
        assert_eq!(vec![200], statuses(&all_of(&mut stream)), "cut after {at} bytes");
    }
    let _ =
        writeln!(std::io::stderr(), "conformance: {} cuts of a request, each waited for", whole.len() - 1);
    // What is cut for ever is refused, once it is clear that nothing comes.
    for at in 1..whole.len() {
        let found = statuses(&api.exchange(&whole.as_bytes()[..at]));
        assert_eq!(vec![400], found, "ended after {at} bytes");
    }
    api.end();
}

#[test]
fn a_body_that_is_held_back_is_asked_for_once() {
    let api = Api::start("continue");
    let host = api.address;
    let body = r#"{"callId":"c1","digit":"1"}"#;
    let mut stream = api.connect();
    let head = format!("POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
    stream.write_all(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).expect("it reads");
    let mut line = [0; 25];
    stream.read_exact(&mut line).expect("it asks for the body");
    assert_eq!(b"HTTP/1.1 100 Continue\r\n\r\n", &line);
    stream.write_all(body.as_bytes()).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(vec![200], statuses(&all_of(&mut stream)));
    // RFC 9110 section 10.1.1: nobody is asked for what is too long anyway, nor in HTTP/1.0.
    let long = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000000\r\nExpect: 100-continue\r\n\r\n"
    );
    assert_eq!(vec![413], statuses(&api.exchange(long.as_bytes())));
    let old = format!("{}Expect: 100-continue\r\n\r\n{body}", head.replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(vec![200], statuses(&api.exchange(old.as_bytes())));
    api.end();
}
