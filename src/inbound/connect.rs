//! Opens the WebSocket: name, TCP, proxy, TLS ([`Net::dial`]) and the upgrade, under one deadline.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use tungstenite::handshake::client::generate_key;

use super::upgrade::{self, BadHead, Head, Refusal};
use crate::tenant::{DialError, Net, Stream, Url};

/// The most bytes of an error's body that are read, and how long that may take.
const BODY_MAX: usize = 1024;
const BODY_PATIENCE: Duration = Duration::from_millis(500);

/// A connection that is a WebSocket from here.
#[derive(Debug)]
pub struct Opened {
    /// The connection, without a deadline or a timeout.
    pub stream: Stream,
    /// Frames that came with the answer.
    pub rest: Vec<u8>,
    /// When the last read returned.
    pub at: Instant,
}

/// Why the WebSocket could not be opened. The message says at which step; the source says why.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There was no way to the tenant.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The token can't be sent.
    #[error("the token holds characters that no HTTP header can carry")]
    Token,
    /// The system doesn't take the connection's settings.
    #[error("cannot set up the WebSocket's connection")]
    Setup(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke while {0}")]
    Broken(Step, #[source] io::Error),
    /// The deadline passed.
    #[error("the time to connect was over while {0}")]
    Late(Step),
    /// What answered doesn't speak the protocol.
    #[error("the answer to the WebSocket upgrade is not what it must be")]
    Protocol(#[from] BadHead),
    /// The answer is no WebSocket.
    #[error("the WebSocket upgrade was answered {}", Words(.0))]
    Refused(Refusal),
}

/// A step of the upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The request goes out.
    Sending,
    /// The answer comes in.
    Waiting,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Sending => "sending the WebSocket upgrade",
            Step::Waiting => "waiting for the answer to the WebSocket upgrade",
        })
    }
}

struct Words<'a>(&'a Refusal);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { status, redirect, excerpt, .. } = self.0;
        write!(f, "{status}")?;
        match redirect.as_deref() {
            Some("") => f.write_str(", a redirect on the same host, which is not followed")?,
            Some(host) => write!(f, ", a redirect to {host}, which is not followed")?,
            None => (),
        }
        if matches!(status, 401 | 403) {
            f.write_str(" (does the client have the scope voice:read?)")?;
        }
        if excerpt.is_empty() { Ok(()) } else { write!(f, ": {excerpt}") }
    }
}

impl ConnectError {
    /// Returns whether the tenant refused our token: 401 or 403.
    pub fn is_refused_token(&self) -> bool {
        matches!(self, ConnectError::Refused(Refusal { status: 401 | 403, .. }))
    }

    /// Returns how long the tenant asks us to stay away: the `Retry-After` of a 429 or a 503.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ConnectError::Refused(refusal) => refusal.retry_after,
            ConnectError::Dial(_)
            | ConnectError::Token
            | ConnectError::Setup(_)
            | ConnectError::Broken(..)
            | ConnectError::Late(_)
            | ConnectError::Protocol(_) => None,
        }
    }
}

/// Opens the WebSocket at `url`, all in all before `deadline`. Redirects are not followed.
///
/// `opened` is shown every TCP connection as soon as it exists, so that somebody else can shut it.
///
/// # Errors
///
/// Returns the step that failed and why.
pub fn connect(
    url: &Url,
    net: &Net,
    bearer: &str,
    deadline: Instant,
    opened: &dyn Fn(&TcpStream),
) -> Result<Opened, ConnectError> {
    let key = generate_key();
    let request = upgrade::request(url, bearer, &key).ok_or(ConnectError::Token)?;
    let mut stream = net.dial(url, deadline, opened)?;
    stream.set_deadline(Some(deadline)).map_err(ConnectError::Setup)?;
    let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
    sent.map_err(|error| failed(Step::Sending, error))?;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        receive(&mut stream, &mut bytes).map_err(|error| failed(Step::Waiting, error))?;
        let at = Instant::now();
        match upgrade::read_head(&bytes, &key, SystemTime::now())? {
            Head::Partial => (),
            Head::Opened { length } => {
                stream.set_deadline(None).map_err(ConnectError::Setup)?;
                return Ok(Opened { stream, rest: bytes.split_off(length), at });
            }
            Head::Other { length, body, chunked, refusal } => {
                let whole = length + body.unwrap_or(BODY_MAX).min(BODY_MAX);
                // The status is known; a body that doesn't come takes nothing from it.
                if stream.set_deadline(Some(deadline.min(at + BODY_PATIENCE))).is_ok() {
                    while bytes.len() < whole && receive(&mut stream, &mut bytes).is_ok() {}
                }
                let excerpt = upgrade::excerpt(&bytes[length..], chunked, bearer);
                return Err(ConnectError::Refused(Refusal { excerpt, ..refusal }));
            }
        }
    }
}

/// Appends what one read returns; the end is an error.
fn receive(stream: &mut Stream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 1024];
    match stream.read(&mut buffer)? {
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the tenant closed it")),
        received => {
            bytes.extend_from_slice(&buffer[..received]);
            Ok(())
        }
    }
}

fn failed(step: Step, error: io::Error) -> ConnectError {
    if error.kind() == ErrorKind::TimedOut {
        ConnectError::Late(step)
    } else {
        ConnectError::Broken(step, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::Kind;
    use crate::tenant::stand_in::{Authority, StandIn, answer, net, net_trusting};

    fn refusal(server: &StandIn, net: &Net) -> ConnectError {
        let url = server.url.to_websocket("/voice");
        connect(&url, net, "s3cret", Instant::now() + Duration::from_secs(10), &|_| ()).expect_err("refused")
    }

    #[test]
    fn tells_what_the_tenant_answers_instead() {
        let server = StandIn::new(|seen| match seen.index {
            0 => answer(401, "{\"error\":\"expired s3cret\"}"),
            1 => answer(403, ""),
            2 => answer(302, "").with("Location", "https://login.example/a?b"),
            3 => answer(503, "busy").with("Retry-After", "7"),
            4 => answer(101, ""),
            _ => answer(200, "<html>hello</html>").with("Content-Length", "1000").then_close(),
        });
        for (expected, is_refused_token, retry_after_s) in [
            (
                "the WebSocket upgrade was answered 401 (does the client have the scope voice:read?): {\"error\":\"expired …\"}",
                true,
                None,
            ),
            (
                "the WebSocket upgrade was answered 403 (does the client have the scope voice:read?)",
                true,
                None,
            ),
            (
                "the WebSocket upgrade was answered 302, a redirect to login.example, which is not followed",
                false,
                None,
            ),
            ("the WebSocket upgrade was answered 503: busy", false, Some(7)),
            ("the answer to the WebSocket upgrade is not what it must be", false, None),
            ("the WebSocket upgrade was answered 200: <html>hello</html>", false, None),
        ] {
            let error = refusal(&server, &net());
            assert_eq!(expected, error.to_string());
            assert_eq!(is_refused_token, error.is_refused_token(), "{expected}");
            assert_eq!(retry_after_s.map(Duration::from_secs), error.retry_after(), "{expected}");
        }
        let request = &server.requests()[0];
        assert_eq!("GET /voice HTTP/1.1", request.line);
        assert_eq!(Some("Bearer s3cret"), request.header("authorization"));
        assert_eq!(Some(server.url.authority().as_str()), request.header("host"));
        assert_eq!(Some(concat!("dtmfd/", env!("CARGO_PKG_VERSION"))), request.header("user-agent"));
    }

    #[test]
    fn does_the_same_over_tls() {
        let authority = Authority::new("ca");
        let server = StandIn::over_tls(&authority, |_| answer(404, "no"));
        let error = refusal(&server, &net_trusting(&authority));
        assert_eq!("the WebSocket upgrade was answered 404: no", error.to_string());
        assert!(matches!(refusal(&server, &net()), ConnectError::Dial(_)));
    }

    #[test]
    fn gives_up_at_the_deadline_however_slowly_the_answer_trickles_in() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            let mut head = b"HTTP/1.1 101 Switching".iter().chain(std::iter::repeat(&b'!'));
            while head.next().is_some_and(|byte| peer.write_all(&[*byte]).is_ok()) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let url = Url::parse(&url, Kind::WebSocket).unwrap();
        let began = Instant::now();
        let error = connect(&url, &net(), "t", began + Duration::from_millis(300), &|_| ()).unwrap_err();
        assert!(matches!(error, ConnectError::Late(Step::Waiting)), "{error:?}");
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    }
}
