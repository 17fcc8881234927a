//! A way through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6).

use std::io::{self, ErrorKind, Read, Write};

use super::proxy::Proxy;
use super::socket::Socket;
use super::url::{Url, host_and_port};

/// The most bytes that the head of the proxy's answer may have.
const HEAD_MAX: usize = 8 << 10;

/// The most header lines that it may have.
const HEADERS_MAX: usize = 64;

/// Why a proxy gave no way through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoTunnel {
    /// Time ran out.
    #[error("no answer to CONNECT in time")]
    Late,
    /// The connection to it broke.
    #[error("the connection broke while it was asked for a way through: {0}")]
    Broken(io::Error),
    /// It isn't HTTP/1.
    #[error("its answer to CONNECT is no HTTP ({0}): is this the port of an HTTP proxy?")]
    NotHttp(httparse::Error),
    /// The answer's head is longer than 8 KiB.
    #[error("the head of its answer to CONNECT is over {HEAD_MAX} bytes")]
    TooLong,
    /// It said more than its answer, where the tenant never speaks first.
    #[error("it sent more than its answer to CONNECT before anything was asked through it")]
    TooMuch,
    /// It wants a user and a password, and we have none.
    #[error(
        "it wants a user and a password ({0}): HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, both percent-encoded"
    )]
    NoCredentials(u16),
    /// It doesn't take the ones we have.
    #[error("it refuses the user and password in HTTPS_PROXY ({0})")]
    BadCredentials(u16),
    /// It wants us to prove who we are in another way.
    #[error("it takes no basic authentication (407), which is all that dtmfd can: it offers {0}")]
    NotBasic(String),
    /// It doesn't let us through.
    #[error("it does not let us through to {target} ({status}): its rules must allow CONNECT to that")]
    Forbidden {
        /// The tenant's host and port.
        target: String,
        /// What it answered.
        status: u16,
    },
    /// It couldn't get there itself.
    #[error("it cannot reach {target} ({status})")]
    Unreachable {
        /// The tenant's host and port.
        target: String,
        /// What it answered.
        status: u16,
    },
    /// It answered something else.
    #[error("it answered CONNECT with {0}: is this the port of an HTTP proxy?")]
    Status(u16),
}

/// Asks the proxy at the other end of `socket` for a way to `url`, until the socket's deadline.
///
/// What is sent from then on reaches `url`'s host, and should be TLS: the proxy hears it.
pub(super) fn open(socket: &mut Socket, proxy: &Proxy, url: &Url) -> Result<(), NoTunnel> {
    let target = host_and_port(url.host(), url.port());
    socket.write_all(request(proxy, &target).as_bytes()).map_err(broken)?;
    let mut bytes = Vec::with_capacity(1024);
    let mut buffer = [0; 1024];
    loop {
        let received = socket.read(&mut buffer).map_err(broken)?;
        if received == 0 {
            return Err(broken(io::Error::new(ErrorKind::UnexpectedEof, "the proxy closed it")));
        }
        bytes.extend_from_slice(&buffer[..received]);
        if let Some(answer) = read_answer(&bytes)? {
            return judge(&answer, bytes.len(), proxy, target);
        }
    }
}

fn broken(error: io::Error) -> NoTunnel {
    if error.kind() == ErrorKind::TimedOut { NoTunnel::Late } else { NoTunnel::Broken(error) }
}

fn request(proxy: &Proxy, target: &str) -> String {
    let authorization = proxy
        .authorization()
        .map(|value| format!("Proxy-Authorization: {}\r\n", value.reveal()))
        .unwrap_or_default();
    format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: dtmfd/{}\r\n{authorization}\r\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The head of the proxy's answer.
#[derive(PartialEq, Eq, Debug)]
struct Answer {
    /// How many bytes it has.
    length: usize,
    status: u16,
    /// The ways to prove who we are that a 407 offers.
    schemes: Vec<String>,
}

/// Reads the proxy's answer as far as `bytes` go; `None` where more is to come.
fn read_answer(bytes: &[u8]) -> Result<Option<Answer>, NoTunnel> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(bytes).map_err(NoTunnel::NotHttp)? {
        httparse::Status::Complete(length) if length <= HEAD_MAX => length,
        httparse::Status::Partial if bytes.len() < HEAD_MAX => return Ok(None),
        httparse::Status::Complete(_) | httparse::Status::Partial => return Err(NoTunnel::TooLong),
    };
    let challenges =
        answer.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"));
    let schemes = challenges.filter_map(|header| {
        let word: String =
            std::str::from_utf8(header.value).ok()?.chars().take_while(char::is_ascii_alphanumeric).collect();
        (1..=20).contains(&word.len()).then_some(word)
    });
    Ok(Some(Answer { length, status: answer.code.unwrap_or_default(), schemes: schemes.collect() }))
}

/// Says what an answer means, with which `received` bytes came.
fn judge(answer: &Answer, received: usize, proxy: &Proxy, target: String) -> Result<(), NoTunnel> {
    let is_basic = |scheme: &String| scheme.eq_ignore_ascii_case("basic");
    Err(match answer.status {
        200..=299 if received > answer.length => NoTunnel::TooMuch,
        200..=299 => return Ok(()),
        407 if !answer.schemes.is_empty() && !answer.schemes.iter().any(is_basic) => {
            NoTunnel::NotBasic(answer.schemes.join(", "))
        }
        // 407 is a proxy's, and tinyproxy answers 401 to a wrong password.
        status @ (401 | 407) if proxy.authorization().is_none() => NoTunnel::NoCredentials(status),
        status @ (401 | 407) => NoTunnel::BadCredentials(status),
        status @ (403 | 405 | 451) => NoTunnel::Forbidden { target, status },
        status @ (500 | 502..=504) => NoTunnel::Unreachable { target, status },
        status => NoTunnel::Status(status),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::tenant::stand_in::{Authority, PATIENCE, net, net_trusting};
    use crate::tenant::{DialError, Kind, Net, Stream};

    /// A proxy that gives one answer. Returns its host and port, and what it is asked.
    fn proxy(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (asked, heard) = channel();
        thread::spawn(move || {
            let (mut tcp, _) = listener.accept().expect("a connection");
            tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                tcp.read_exact(&mut byte).expect("the request goes on");
                request.extend(byte);
            }
            let _ = asked.send(String::from_utf8(request).expect("text"));
            answer(&mut tcp);
            let _ = io::copy(&mut tcp, &mut io::sink()); // Until the other side has had enough.
        });
        (address, heard)
    }

    fn dial(net: Net, proxy: &str, url: &str, patience: Duration) -> Result<Stream, DialError> {
        let net = net.through(Some(Proxy::parse(proxy).expect("a proxy")));
        net.dial(&Url::parse(url, Kind::Http).expect("a URL"), Instant::now() + patience, &|_| ())
    }

    fn refusal(credentials: &str, answer: Vec<u8>) -> DialError {
        let (address, _) = proxy(move |tcp| {
            // A proxy whose answer is too long hears of it before it has sent everything.
            let _ = tcp.write_all(&answer).and_then(|()| tcp.shutdown(std::net::Shutdown::Write));
        });
        let error = dial(net(), &format!("{credentials}{address}"), "https://x.invalid:8443", PATIENCE);
        let error = error.expect_err("no way through");
        assert!(error.to_string().starts_with(&format!("the proxy {address}: ")), "{error}");
        error
    }

    #[test]
    fn asks_for_the_host_by_name_with_user_and_password_and_goes_on_with_tls() {
        let authority = Authority::new("our own CA");
        let acceptor = authority.certify("tenant.invalid").acceptor();
        let (address, heard) = proxy(move |tcp| {
            tcp.write_all(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n").expect("written");
            let mut tls = acceptor.accept(tcp.try_clone().expect("a clone")).expect("TLS");
            tls.write_all(b"hi").expect("written");
        });
        let proxy = format!("http://me:p%40ss@{address}");
        let mut stream =
            dial(net_trusting(&authority), &proxy, "https://Tenant.invalid", PATIENCE).expect("a way");
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!((b"hi", None), (&answer, stream.tcp().read_timeout().unwrap()));
        let expected = format!(
            "CONNECT tenant.invalid:443 HTTP/1.1\r\nHost: tenant.invalid:443\r\nUser-Agent: dtmfd/{}\r\n\
             Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(expected, heard.recv_timeout(PATIENCE).expect("it was asked"));
        let plain = Proxy::parse("proxy:1").expect("a proxy");
        assert!(!request(&plain, "[::1]:443").contains("Authorization"));
    }

    #[test]
    fn says_why_there_is_no_way_through() {
        let basic = "Proxy-Authenticate: Negotiate\r\nproxy-authenticate: basic realm=\"x\"\r\n";
        for (credentials, answer, expected) in [
            (
                "",
                format!("407 x\r\n{basic}"),
                "it wants a user and a password (407): HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, both percent-encoded",
            ),
            (
                "",
                "407 x\r\n".to_owned(),
                "it wants a user and a password (407): HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, both percent-encoded",
            ),
            (
                "me:hush@",
                format!("407 x\r\n{basic}"),
                "it refuses the user and password in HTTPS_PROXY (407)",
            ),
            (
                "me:hush@",
                "407 x\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM hush\r\n".to_owned(),
                "it takes no basic authentication (407), which is all that dtmfd can: it offers Negotiate, NTLM",
            ),
            (
                "me:hush@",
                "401 Unauthorized\r\n".to_owned(),
                "it refuses the user and password in HTTPS_PROXY (401)",
            ),
            (
                "",
                "403 Filtered\r\n".to_owned(),
                "it does not let us through to x.invalid:8443 (403): its rules must allow CONNECT to that",
            ),
            ("", "502 Bad Gateway\r\n".to_owned(), "it cannot reach x.invalid:8443 (502)"),
            ("", "504 x\r\n".to_owned(), "it cannot reach x.invalid:8443 (504)"),
            (
                "",
                "302 Found\r\nLocation: https://login.invalid/\r\n".to_owned(),
                "it answered CONNECT with 302: is this the port of an HTTP proxy?",
            ),
            (
                "",
                "200 OK\r\n\r\n!".to_owned(),
                "it sent more than its answer to CONNECT before anything was asked through it",
            ),
            (
                "",
                format!("200 OK\r\nX: {}\r\n", "x".repeat(HEAD_MAX)),
                "the head of its answer to CONNECT is over 8192 bytes",
            ),
            (
                "",
                format!("200 OK\r\nX: {}", "x".repeat(1 << 20)),
                "the head of its answer to CONNECT is over 8192 bytes",
            ),
            (
                "",
                format!("200 OK\r\n{}", "X: x\r\n".repeat(100_000)),
                "its answer to CONNECT is no HTTP (too many headers): is this the port of an HTTP proxy?",
            ),
            (
                "",
                "200 OK\r\nX".to_owned(),
                "its answer to CONNECT is no HTTP (invalid header name): is this the port of an HTTP proxy?",
            ),
        ] {
            let error = refusal(credentials, format!("HTTP/1.1 {answer}\r\n").into_bytes());
            let DialError::Tunnel { why, .. } = &error else { panic!("{error}") };
            assert_eq!(expected, why.to_string());
            assert!(!error.is_timeout());
        }
        for (answer, expected) in [
            (
                "SSH-2.0-OpenSSH_9.2\r\n",
                "its answer to CONNECT is no HTTP (invalid HTTP version): is this the port of an HTTP proxy?",
            ),
            (
                "HTTP/1.1 200 OK\r\nVia",
                "the connection broke while it was asked for a way through: the proxy closed it",
            ),
            ("", "the connection broke while it was asked for a way through: the proxy closed it"),
        ] {
            let DialError::Tunnel { why, .. } = refusal("", answer.into()) else { panic!("{answer:?}") };
            assert_eq!(expected, why.to_string());
        }
    }

    #[test]
    fn the_deadline_holds_for_a_proxy_that_is_silent_or_drips_and_for_tls_behind_it() {
        let patience = Duration::from_millis(300);
        let drip = |tcp: &mut TcpStream| {
            let mut head = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
            while head.next().is_some_and(|byte| tcp.write_all(&[*byte]).is_ok()) {
                thread::sleep(Duration::from_millis(10));
            }
        };
        let open = |tcp: &mut TcpStream| tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("written");
        for ((address, _), expected) in [
            (proxy(|_| ()), "the proxy ADDRESS: no answer to CONNECT in time"),
            (proxy(drip), "the proxy ADDRESS: no answer to CONNECT in time"),
            (proxy(open), "TLS with x.invalid through the proxy ADDRESS: no answer in time"),
        ] {
            let begin = Instant::now();
            let error = dial(net(), &address, "https://x.invalid", patience).expect_err("late");
            assert_eq!(expected.replace("ADDRESS", &address), error.to_string());
            assert!(error.is_timeout());
            assert!((300..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        }
    }

    #[test]
    fn shutting_the_connection_ends_the_wait_for_a_proxy() {
        let (address, _) = proxy(|_| ());
        let net = net().through(Some(Proxy::parse(&address).expect("a proxy")));
        let shut = |tcp: &TcpStream| tcp.shutdown(std::net::Shutdown::Both).expect("shut");
        let url = Url::parse("https://x.invalid", Kind::Http).expect("a URL");
        let error = net.dial(&url, Instant::now() + PATIENCE, &shut).expect_err("it was shut");
        assert!(matches!(&error, DialError::Tunnel { why: NoTunnel::Broken(_), .. }), "not late: {error}");
    }

    #[test]
    fn says_when_the_proxy_itself_cannot_be_reached() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
        let error = dial(net(), &free.to_string(), "https://x.invalid", PATIENCE).expect_err("nobody");
        let expected = format!("connecting to the proxy {free}: Connection refused (os error 111)");
        assert_eq!(expected, error.to_string());
        let error = dial(net(), "proxy.invalid:1", "https://127.0.0.1", PATIENCE).expect_err("no such name");
        assert!(error.to_string().starts_with("looking up the proxy proxy.invalid: "), "{error}");
    }
}
