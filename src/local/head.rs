//! The head of a request, read strictly (RFC 9112) and written anew for tiny_http, which must see no other.

use std::borrow::Cow;

use super::problem::Problem;

/// How many bytes a request's head may have.
pub(super) const HEAD_MAX: usize = 8 * 1024;

/// How many header lines a head may have. Browsers send about 20.
pub(super) const FIELDS_MAX: usize = 48;

/// How many bytes a request's body may have.
pub(super) const BODY_MAX: usize = 4 * 1024;

/// Says whom a request came from; the gate alone sets it.
pub(super) const PEER: &str = "X-Dtmfd-Peer";

/// The fields that are handed on as they are, besides those that frame the request.
const KEPT: [&str; 5] = ["Content-Type", "Origin", "Sec-Fetch-Site", "Authorization", "Accept"];

/// A request's head that has passed every check.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Head<'a> {
    method: &'a str,
    /// In origin-form, beginning with a slash.
    target: Cow<'a, str>,
    /// `None` is for HTTP/1.0 only.
    host: Option<&'a str>,
    kept: [Option<&'a str>; KEPT.len()],
    /// How many bytes of body follow, at most [`BODY_MAX`].
    pub(super) body_length: usize,
    /// The client waits for `100 Continue` before it sends its body.
    pub(super) expects_continue: bool,
}

impl<'a> Head<'a> {
    /// Reads a whole head, up to and with its empty line.
    ///
    /// It relies on the caller for what concerns single bytes: no control bytes, and no line that ends in
    /// anything but CR LF.
    ///
    /// # Errors
    ///
    /// Returns what to answer instead.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Head<'a>, Problem> {
        let mut lines = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut lines);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => (),
            Ok(_) => return Err(bad_line()),
            Err(error) => return Err(refuse(error, bytes)),
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(bad_line());
        };
        let fields = Fields(request.headers);
        let host = match fields.once("Host")? {
            None if minor == 1 => {
                return Err(Problem::new(400, "bad_host", "an HTTP/1.1 request names one Host"));
            }
            host => host,
        };
        if host.is_some_and(|host| !host.is_empty() && !is_authority(host)) {
            return Err(Problem::new(400, "bad_host", "Host is a name or an address, and perhaps a port"));
        }
        let (authority, target) = split_target(target)?;
        let body_length = body_length(&fields, minor)?;
        let mut kept = [None; KEPT.len()];
        for (place, name) in kept.iter_mut().zip(KEPT) {
            *place =
                if name == "Accept" { fields.all(name).next().transpose()? } else { fields.once(name)? };
        }
        let expects_continue = match fields.once("Expect")? {
            Some(_) if minor == 0 => false, // RFC 9110 section 10.1.1: it means nothing there.
            Some(value) if !value.eq_ignore_ascii_case("100-continue") => {
                return Err(Problem::new(
                    417,
                    "expectation_failed",
                    "only Expect: 100-continue is understood",
                ));
            }
            value => value.is_some(),
        };
        // RFC 9112 section 3.2.2: an absolute target's authority goes before the Host field.
        let host = authority.or(host);
        Ok(Head { method, target, host, kept, body_length, expects_continue })
    }

    /// Returns the head as tiny_http shall see it: nothing in it but what was understood.
    pub(super) fn canonical(&self, peer: &str) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let kept = KEPT.into_iter().zip(self.kept);
        for (name, value) in [("Host", self.host), (PEER, Some(peer))].into_iter().chain(kept) {
            if let Some(value) = value {
                text.extend([name, ": ", value, "\r\n"]);
            }
        }
        text.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", self.body_length));
        text
    }
}

struct Fields<'h, 'a>(&'h [httparse::Header<'a>]);

impl<'a> Fields<'_, 'a> {
    /// Returns the values of every line called `name`, without the white space around them.
    fn all(&self, name: &str) -> impl Iterator<Item = Result<&'a str, Problem>> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| {
            match std::str::from_utf8(field.value) {
                Ok(value) if value.is_ascii() => Ok(value.trim_matches([' ', '\t'])),
                _ => Err(Problem::new(400, "bad_header", format!("{} is not plain ASCII", field.name))),
            }
        })
    }

    /// Returns the value of the only line called `name`.
    ///
    /// Two of them are an error even if they agree: whoever stands before us might have read the other.
    fn once(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        let mut all = self.all(name);
        let first = all.next().transpose()?;
        match all.next() {
            None => Ok(first),
            Some(_) => {
                let code = match name {
                    "Host" => "bad_host",
                    "Content-Length" => "bad_content_length",
                    _ => "bad_header",
                };
                Err(Problem::new(400, code, format!("{name} occurs more than once")))
            }
        }
    }
}

fn bad_line() -> Problem {
    Problem::new(400, "bad_request_line", "a request begins with `METHOD /path HTTP/1.1`")
}

fn refuse(error: httparse::Error, bytes: &[u8]) -> Problem {
    match error {
        httparse::Error::TooManyHeaders => {
            Problem::new(431, "head_too_large", format!("a request has at most {FIELDS_MAX} header lines"))
        }
        httparse::Error::Version => {
            let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let mut words = line.split(|&byte| byte == b' ').skip(2); // Method and target.
            match (words.next().unwrap_or_default(), words.next()) {
                ([b'H', b'T', b'T', b'P', b'/', major, b'.', minor], None)
                    if major.is_ascii_digit() && minor.is_ascii_digit() =>
                {
                    Problem::new(505, "http_version_unsupported", "HTTP/1.1 and HTTP/1.0 are spoken here")
                }
                _ => bad_line(),
            }
        }
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Problem::new(
            400,
            "bad_header",
            "a header line is `Name: value`, and is not continued on the next",
        ),
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => bad_line(),
    }
}

/// Returns the authority of an absolute target, and the target in origin-form.
fn split_target(target: &str) -> Result<(Option<&str>, Cow<'_, str>), Problem> {
    let bad =
        || Problem::new(400, "bad_target", "a target is `/path` or `http://host/path`, in printable ASCII");
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(bad());
    }
    if target.starts_with('/') {
        return Ok((None, Cow::Borrowed(target)));
    }
    let (scheme, rest) = target.split_once("://").ok_or_else(bad)?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !scheme.eq_ignore_ascii_case("http") || !is_authority(authority) {
        return Err(bad());
    }
    let target = if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) };
    Ok((Some(authority), target))
}

/// Returns whether this is `host` or `host:port`. No user, which has no place in a request.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.find(']') {
        Some(end) if text.starts_with('[') => text.split_at(end + 1),
        _ => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    let inside = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)),
    };
    port && inside && !host.is_empty()
}

/// Returns how long the body is. Whatever could be read in two ways is refused.
fn body_length(fields: &Fields<'_, '_>, minor: u8) -> Result<usize, Problem> {
    let length = fields.once("Content-Length")?;
    let mut codings = Vec::new();
    for line in fields.all("Transfer-Encoding") {
        codings.extend(line?.split(',').map(|coding| coding.trim_matches([' ', '\t'])));
    }
    if let Some(last) = codings.last() {
        return Err(refuse_codings(length.is_some() || minor == 0, codings.len(), last));
    }
    let Some(digits) = length else { return Ok(0) };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::new(400, "bad_content_length", "Content-Length is one decimal number"));
    }
    // What doesn't fit a number is too large in any case.
    digits.parse().ok().filter(|&length: &usize| length <= BODY_MAX).ok_or_else(|| {
        Problem::new(413, "body_too_large", format!("a request's body has at most {BODY_MAX} bytes"))
    })
}

/// Says why a body in transfer codings is not read (RFC 9112 sections 6.1 and 6.3).
///
/// Bodies here are so short that nobody needs chunks, and to read them in one more way would be one more
/// way to disagree with whoever stands before us about where a request ends.
fn refuse_codings(in_two_ways: bool, n_codings: usize, last: &str) -> Problem {
    if in_two_ways {
        let detail = "Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0";
        Problem::new(400, "bad_content_length", detail)
    } else if !last.eq_ignore_ascii_case("chunked") {
        Problem::new(
            400,
            "bad_transfer_encoding",
            "nobody can tell where this body ends: send Content-Length",
        )
    } else if n_codings > 1 {
        Problem::new(
            501,
            "transfer_encoding_unsupported",
            "no transfer coding is supported: send the body as it is",
        )
    } else {
        Problem::new(411, "length_required", "chunked bodies are not supported: send Content-Length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head<'_>, (u16, &'static str)> {
        Head::parse(text.as_bytes()).map_err(|problem| (problem.status, problem.code))
    }

    #[test]
    fn hands_on_what_it_understood_and_nothing_else() {
        for (text, expected) in [
            (
                "GET /health HTTP/1.1\r\nHost: a:1\r\n\r\n",
                "GET /health HTTP/1.1\r\nHost: a:1\r\nX-Dtmfd-Peer: p\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ),
            (
                "POST /s?q HTTP/1.1\r\nhost:\t a \r\ncontent-length: 007\r\nConnection: Upgrade, keep-alive\r\n\
                 Upgrade: websocket\r\nX-Dtmfd-Peer: liar\r\norigin: null\r\nCookie: \u{e9}\r\n\
                 Accept: a\r\nAccept: b\r\n\r\n",
                "POST /s?q HTTP/1.1\r\nHost: a\r\nX-Dtmfd-Peer: p\r\nOrigin: null\r\nAccept: a\r\n\
                 Content-Length: 7\r\nConnection: close\r\n\r\n",
            ),
            (
                "GET http://other:80?x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nSec-Fetch-Site: none\r\n\
                 Content-Type: text/plain\r\n\r\n",
                "GET /?x HTTP/1.1\r\nHost: other:80\r\nX-Dtmfd-Peer: p\r\nContent-Type: text/plain\r\n\
                 Sec-Fetch-Site: none\r\nAuthorization: Bearer t\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ),
            (
                "GET / HTTP/1.0\r\n\r\n",
                "GET / HTTP/1.1\r\nX-Dtmfd-Peer: p\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ),
        ] {
            assert_eq!(Ok(expected.to_owned()), parse(text).map(|head| head.canonical("p")), "{text:?}");
        }
    }

    #[test]
    fn refuses_whatever_could_be_read_in_two_ways() {
        let lines = "h: v\r\n".repeat(FIELDS_MAX);
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        for (text, expected) in [
            ("GET /\r\n\r\n", (400, "bad_request_line")),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_request_line")),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", (400, "bad_request_line")),
            ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_request_line")),
            (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_request_line")),
            ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_request_line")),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", (400, "bad_request_line")),
            ("\r\n\r\n", (400, "bad_request_line")),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", (505, "http_version_unsupported")),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", (505, "http_version_unsupported")),
            ("PRI * HTTP/2.0\r\n\r\n", (505, "http_version_unsupported")),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET / HTTP/1.1\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", (400, "bad_header")),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", (400, "bad_header")),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", (400, "bad_header")),
            ("GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", (400, "bad_header")),
            ("GET / HTTP/1.1\r\nHost: a\r\nOrigin: a\r\nOrigin: b\r\n\r\n", (400, "bad_header")),
            ("GET / HTTP/1.1\r\nHost: a\r\nOrigin: \u{e9}\r\n\r\n", (400, "bad_header")),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", (400, "bad_content_length")),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", (400, "bad_content_length")),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", (400, "bad_content_length")),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", (400, "bad_content_length")),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", (400, "bad_content_length")),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                (400, "bad_content_length"),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                (400, "bad_content_length"),
            ),
            ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", (400, "bad_content_length")),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
                (400, "bad_transfer_encoding"),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                (400, "bad_transfer_encoding"),
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", (400, "bad_transfer_encoding")),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
                (501, "transfer_encoding_unsupported"),
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tChunked \r\n\r\n", (411, "length_required")),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n", (413, "body_too_large")),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                (413, "body_too_large"),
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: coffee\r\n\r\n", (417, "expectation_failed")),
            (many.as_str(), (431, "head_too_large")),
        ] {
            assert_eq!(Err(expected), parse(text), "{text:?}");
        }
    }

    #[test]
    fn reads_how_the_body_comes() {
        for (text, expected) in [
            ("POST / HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 4096\r\n\r\n", (4096, false)),
            ("POST / HTTP/1.1\r\nHost:\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n", (5, true)),
            ("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", (5, false)),
        ] {
            let head = parse(text).unwrap();
            assert_eq!(expected, (head.body_length, head.expects_continue), "{text:?}");
        }
    }
}
