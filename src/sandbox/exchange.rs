//! One connection's requests and answers: HTTP/1.1 with keep-alive, bounded in every direction.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ::http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use ::http::{HeaderMap, Method, Request, StatusCode, Version};

/// The most bytes of a request line and headers.
const HEAD_MAX: usize = 16 * 1024;
/// The most headers of a request.
const HEADERS_MAX: usize = 64;
/// The most bytes of a body; a call's variables are far below.
const BODY_MAX: usize = 64 * 1024;
/// How long a connection may lie idle; longer than the 15 s for which our client keeps one.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// How long a request may take to arrive, once it has begun.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// How long the client may leave an answer unread.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// An answer: a status and some JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
    /// For 405: what would be allowed.
    pub(super) allow: Option<&'static str>,
}

impl Answer {
    /// Returns 200 with `body`, which is JSON.
    pub(super) fn ok(body: String) -> Answer {
        Answer { status: StatusCode::OK, body, allow: None }
    }

    /// Returns an error that says why in its body.
    pub(super) fn error(status: StatusCode, why: &str) -> Answer {
        Answer { status, body: serde_json::json!({ "error": why }).to_string(), allow: None }
    }
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The connection ended, or nothing came in time.
    Gone,
    /// What came is no request that we read; say so and close.
    Bad(Answer),
}

impl From<io::Error> for NoRequest {
    fn from(_: io::Error) -> NoRequest {
        NoRequest::Gone
    }
}

/// A client's connection, with what has been read of it and not yet used.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_MAX))?;
        Ok(Connection { stream, buffer: Vec::new() })
    }

    /// Waits for the next request.
    ///
    /// # Errors
    ///
    /// Returns why there will be no more on this connection.
    pub(super) fn read(&mut self) -> Result<Request<Vec<u8>>, NoRequest> {
        if self.buffer.is_empty() {
            self.fill(Instant::now() + IDLE_MAX)?;
        }
        let deadline = Instant::now() + REQUEST_MAX;
        let (head_bytes, mut request) = loop {
            if let Some(parsed) = parse_head(&self.buffer)? {
                break parsed;
            }
            if self.buffer.len() >= HEAD_MAX {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Err(bad(status, "the head is over 16 KiB"));
            }
            self.fill(deadline)?;
        };
        let end = head_bytes + body_bytes(request.headers())?;
        while self.buffer.len() < end {
            self.fill(deadline)?;
        }
        *request.body_mut() = self.buffer[head_bytes..end].to_vec();
        self.buffer.drain(..end);
        Ok(request)
    }

    /// Reads what there is, waiting for it until `deadline`.
    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes an answer, in one piece.
    pub(super) fn write(&mut self, answer: &Answer, keep_alive: bool) -> io::Result<()> {
        let Answer { status, body, allow } = answer;
        let mut text = format!("HTTP/1.1 {status}\r\n{CONTENT_TYPE}: application/json\r\n");
        text += &format!("{CONTENT_LENGTH}: {}\r\n", body.len());
        if let Some(allow) = allow {
            text += &format!("{ALLOW}: {allow}\r\n");
        }
        if !keep_alive {
            text += &format!("{CONNECTION}: close\r\n");
        }
        text += "\r\n";
        text += body;
        self.stream.write_all(text.as_bytes())
    }

    /// Returns the stream, and what was read of it beyond the last request.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }
}

/// Returns whether the client wants to go on after this request.
pub(super) fn keeps_alive(request: &Request<Vec<u8>>) -> bool {
    let asks_to_close = request
        .headers()
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("close"));
    request.version() == Version::HTTP_11 && !asks_to_close
}

fn bad(status: StatusCode, why: &str) -> NoRequest {
    NoRequest::Bad(Answer::error(status, why))
}

/// How many bytes a head has, and the request that it is, still without its body.
type Head = (usize, Request<Vec<u8>>);

/// Returns the head once it is complete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, NoRequest> {
    let malformed = || bad(StatusCode::BAD_REQUEST, "the head is malformed");
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(|_| malformed())? else {
        return Ok(None);
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        unreachable!("a complete head has all three");
    };
    let version = if version == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut request = Request::builder().method(method).uri(target).version(version);
    for header in parsed.headers {
        request = request.header(header.name, header.value);
    }
    Ok(Some((length, request.body(Vec::new()).map_err(|_| malformed())?)))
}

/// Returns how long the body is.
fn body_bytes(headers: &HeaderMap) -> Result<usize, NoRequest> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(bad(StatusCode::LENGTH_REQUIRED, "say the Content-Length; chunks are not read"));
    }
    if headers.contains_key(EXPECT) {
        return Err(bad(StatusCode::EXPECTATION_FAILED, "nothing is answered before the whole request"));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (length, another) = (lengths.next(), lengths.next());
    let Some(length) = length else { return Ok(0) };
    let length = length
        .to_str()
        .ok()
        .filter(|text| another.is_none() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| bad(StatusCode::BAD_REQUEST, "the Content-Length is no length"))?;
    match length.parse() {
        Ok(length) if length <= BODY_MAX => Ok(length),
        _ => Err(bad(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 64 KiB")),
    }
}

/// Returns the answer for a method that the route doesn't have.
pub(super) fn not_allowed(allow: &'static str, found: &Method) -> Answer {
    let why = format!("{found} is not for this path, {allow} is");
    Answer { allow: Some(allow), ..Answer::error(StatusCode::METHOD_NOT_ALLOWED, &why) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Returns what is read of a client that writes `pieces`, each on its own, and then closes.
    fn read_all(pieces: &[&[u8]]) -> Vec<Result<Request<Vec<u8>>, NoRequest>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let mut server = Connection::new(listener.accept().unwrap().0).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for piece in pieces {
                    client.write_all(piece).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let mut requests = Vec::new();
            loop {
                requests.push(server.read());
                if requests.last().is_some_and(Result::is_err) {
                    return requests;
                }
            }
        })
    }

    #[test]
    fn reads_requests_however_they_are_cut() {
        let text = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET /b HTTP/1.0\r\n\r\n";
        for size in [1, 7, 40, text.len()] {
            let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
            let requests = read_all(&pieces);
            let [Ok(first), Ok(second), Err(NoRequest::Gone)] = &requests[..] else {
                panic!("{requests:?}");
            };
            assert_eq!(
                ("/a", &b"xyz"[..], true),
                (first.uri().path(), &first.body()[..], keeps_alive(first))
            );
            assert_eq!(
                ("/b", &b""[..], false),
                (second.uri().path(), &second.body()[..], keeps_alive(second))
            );
        }
    }

    #[test]
    fn refuses_what_has_no_bounds_or_no_sense() {
        let huge = [b'a'; HEAD_MAX];
        for (text, expected) in [
            (&b"no request\r\n\r\n"[..], 400),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            (b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", 417),
            (&[b"GET /", &huge[..]].concat(), 431),
        ] {
            let requests = read_all(&[text]);
            let [Err(NoRequest::Bad(answer))] = &requests[..] else { panic!("{requests:?}") };
            assert_eq!(expected, answer.status, "{}", String::from_utf8_lossy(text));
        }
    }
}
