//! The way to the tenant: look up, connect, the proxy's CONNECT, TLS; all under one deadline.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use native_tls::{HandshakeError, TlsStream};

use super::proxy::Proxy;
use super::resolver::{ResolveError, Resolver};
use super::socket::{Socket, Stream};
use super::tls::{Tls, TlsError, explain, verify_name};
use super::tunnel::{self, NoTunnel};
use super::url::Url;

/// How many addresses of a name are tried: each gets its share of the time, and a smaller one would be too little.
const ADDRESSES_TRIED_MAX: usize = 8;

/// Everything that is needed to reach the tenant. Clones share it.
#[derive(Clone, Debug)]
pub struct Net {
    parts: Arc<Parts>,
    proxy: Option<Arc<Proxy>>,
}

#[derive(Debug)]
struct Parts {
    resolver: Resolver,
    tls: Tls,
}

/// Who a step leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// The tenant itself.
    Tenant,
    /// The proxy on the way there.
    Proxy,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hop::Tenant => "",
            Hop::Proxy => "the proxy ",
        })
    }
}

/// Why a connection did not come about: which step failed, and how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no address.
    #[error("looking up {hop}{host}: {why}")]
    Resolve {
        /// Whose name it is.
        hop: Hop,
        /// The name.
        host: String,
        /// Why.
        why: ResolveError,
    },
    /// No TCP connection; this is the last address that was tried.
    #[error("connecting to {hop}{address}: {why}")]
    Connect {
        /// Whose address it is.
        hop: Hop,
        /// The address.
        address: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// No way through the proxy.
    #[error("the proxy {proxy}: {why}")]
    Tunnel {
        /// Its host and port.
        proxy: String,
        /// Why.
        why: NoTunnel,
    },
    /// No TLS.
    #[error("TLS with {host}: {why}")]
    Tls {
        /// The name that the certificate must bear, and the proxy on the way.
        host: String,
        /// Why.
        why: String,
    },
    /// TLS did not come about in time.
    #[error("TLS with {host}: no answer in time")]
    TlsLate {
        /// The name that the certificate must bear, and the proxy on the way.
        host: String,
    },
    /// TLS can't be set up here.
    #[error(transparent)]
    Setup(#[from] TlsError),
}

impl DialError {
    /// Returns whether time ran out, rather than something failing.
    pub fn is_timeout(&self) -> bool {
        match self {
            DialError::Resolve { why, .. } => *why == ResolveError::Late,
            DialError::Connect { why, .. } => why.kind() == ErrorKind::TimedOut,
            DialError::Tunnel { why, .. } => matches!(why, NoTunnel::Late),
            DialError::TlsLate { .. } => true,
            DialError::Tls { .. } | DialError::Setup(_) => false,
        }
    }
}

impl Net {
    /// Reaches the tenant with these.
    pub fn new(resolver: Resolver, tls: Tls) -> Net {
        Net { parts: Arc::new(Parts { resolver, tls }), proxy: None }
    }

    /// Goes through this proxy, where there is one, to whatever it serves.
    #[must_use]
    pub fn through(self, proxy: Option<Proxy>) -> Net {
        Net { proxy: proxy.map(Arc::new), ..self }
    }

    /// Connects to the endpoint: TCP without delay, the proxy's CONNECT where one is on the way, and TLS where its
    /// scheme asks for it. The name of a host behind a proxy is the proxy's to look up.
    ///
    /// `opened` is shown the TCP connection before anything goes over it, so that the caller can keep a clone to shut
    /// it down from another thread, which also ends a handshake. The stream comes back without timeouts.
    ///
    /// # Errors
    ///
    /// Returns which step failed and why; at the deadline at the latest.
    pub fn dial(
        &self,
        url: &Url,
        deadline: Instant,
        opened: &dyn Fn(&TcpStream),
    ) -> Result<Stream, DialError> {
        let proxy = self.proxy.as_deref().filter(|proxy| proxy.serves(url));
        let (hop, host, port) = match proxy {
            None => (Hop::Tenant, url.host(), url.port()),
            Some(proxy) => (Hop::Proxy, proxy.host(), proxy.port()),
        };
        let addresses = self
            .parts
            .resolver
            .resolve(host, port, deadline)
            .map_err(|why| DialError::Resolve { hop, host: host.to_owned(), why })?;
        let tcp = connect(&addresses, deadline).map_err(|(address, why)| DialError::Connect {
            hop,
            address,
            why,
        })?;
        opened(&tcp);
        let mut socket = Socket::new(tcp);
        if let Some(proxy) = proxy {
            let failed = |why| DialError::Tunnel { proxy: proxy.to_string(), why };
            socket.set_deadline(Some(deadline)).map_err(|error| failed(NoTunnel::Broken(error)))?;
            tunnel::open(&mut socket, proxy, url).map_err(failed)?;
        }
        let mut stream = match url.is_secure() {
            true => Stream::Tls(Box::new(self.handshake(url.host(), proxy, socket, deadline)?)),
            false => Stream::Plain(socket),
        };
        // Only a socket that is gone refuses this; the first read will tell.
        let _ = stream.set_deadline(None);
        Ok(stream)
    }

    fn handshake(
        &self,
        host: &str,
        proxy: Option<&Proxy>,
        mut socket: Socket,
        deadline: Instant,
    ) -> Result<TlsStream<Socket>, DialError> {
        let connector = self.parts.tls.connector()?;
        let shown = match proxy {
            None => host.to_owned(),
            Some(proxy) => format!("{host} through the proxy {proxy}"),
        };
        let failed = |why: String| DialError::Tls { host: shown.clone(), why };
        let late = || DialError::TlsLate { host: shown.clone() };
        socket.set_deadline(Some(deadline)).map_err(|error| failed(error.to_string()))?;
        let mut step = connector.connect(host, socket);
        loop {
            match step {
                Ok(tls) => return verify_name(&tls, host).map(|()| tls).map_err(failed),
                Err(_) if Instant::now() >= deadline => return Err(late()),
                Err(HandshakeError::WouldBlock(half)) => step = half.handshake(),
                Err(HandshakeError::Failure(error)) => return Err(failed(explain(&error))),
            }
        }
    }
}

/// Connects to the first address that takes us.
///
/// What time is left is shared evenly among the addresses left, so that one that swallows everything doesn't eat it all.
///
/// # Errors
///
/// Returns the last address that was tried, and why it didn't.
fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, (SocketAddr, io::Error)> {
    let addresses = interleave(addresses);
    let mut failure = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).expect("a handful of addresses");
        let tried = match share.is_zero() {
            true => Err(ErrorKind::TimedOut.into()),
            false => TcpStream::connect_timeout(address, share),
        };
        match tried.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)) {
            Ok(tcp) => return Ok(tcp),
            Err(why) => failure = Some((*address, why)),
        }
    }
    Err(failure.expect("a lookup gives an address at least"))
}

/// Puts IPv6 and IPv4 addresses by turns, beginning with the first one's kind, and each kind in its order: where one of
/// them leads nowhere, the second try is the other.
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    while mixed.len() < addresses.len() {
        mixed.extend(first.next());
        mixed.extend(second.next());
    }
    mixed.truncate(ADDRESSES_TRIED_MAX);
    mixed
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::tenant::resolver;
    use crate::tenant::stand_in::{Authority, Certified, net, net_trusting};
    use crate::tenant::url::Kind;

    fn url(text: &str) -> Url {
        Url::parse(text, Kind::Http).expect("a URL")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// Accepts TLS once and answers `hi` if it comes about. Returns its port.
    fn tls_peer(certified: Certified) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            let (tcp, _) = listener.accept().expect("a connection");
            if let Ok(mut tls) = certified.acceptor().accept(tcp) {
                let _ = tls.write_all(b"hi");
            }
        });
        port
    }

    #[test]
    fn reaches_a_peer_that_proves_who_it_is() {
        let authority = Authority::new("our own CA");
        let port = tls_peer(authority.certify("127.0.0.1"));
        let seen = Cell::new(None);
        let opened = |tcp: &TcpStream| seen.set(tcp.peer_addr().ok());
        let net = net_trusting(&authority);
        let mut stream =
            net.dial(&url(&format!("https://127.0.0.1:{port}")), soon(), &opened).expect("a connection");
        assert_eq!(Some(port), seen.get().map(|peer| peer.port()));
        assert!(stream.is_tls());
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(b"hi", &answer);
        assert_eq!(None, stream.tcp().read_timeout().unwrap());
        assert!(stream.tcp().nodelay().unwrap());
    }

    #[test]
    fn says_why_a_certificate_is_refused() {
        let ours = Authority::new("our own CA");
        for (certified, expected) in [
            (
                Authority::new("another").certify("127.0.0.1"),
                "its certificate is refused: unable to get local issuer certificate; no CA that is trusted here has \
                 issued it: a CA of your own is added by CXONE_CA_FILE (--ca-file), and a server must send its \
                 intermediate certificates",
            ),
            (
                Authority::new("127.0.0.1").itself(),
                "its certificate is refused: self-signed certificate; no CA that is trusted here has issued it: a CA \
                 of your own is added by CXONE_CA_FILE (--ca-file), and a server must send its intermediate \
                 certificates",
            ),
            (
                ours.certify("127.0.0.2"),
                "its certificate is refused: IP address mismatch: it is made out to another host than the URL names",
            ),
            (
                ours.certify("example.com"),
                "its certificate is refused: IP address mismatch: it is made out to another host than the URL names",
            ),
            (
                ours.certify_expired("127.0.0.1"),
                "its certificate is refused: certificate has expired: it or a CA above it must be renewed, unless the \
                 clock of this machine is wrong",
            ),
        ] {
            let port = tls_peer(certified);
            let error = net_trusting(&ours)
                .dial(&url(&format!("https://127.0.0.1:{port}")), soon(), &|_| ())
                .expect_err(expected);
            assert_eq!(format!("TLS with 127.0.0.1: {expected}"), error.to_string());
            assert!(!error.is_timeout());
        }
    }

    #[test]
    fn checks_the_name_of_a_certificate() {
        let ours = Authority::new("our own CA");
        for (name, is_right) in [("localhost", true), ("example.com", false)] {
            let port = tls_peer(ours.certify(name));
            let dialled =
                net_trusting(&ours).dial(&url(&format!("https://localhost:{port}")), soon(), &|_| ());
            match dialled {
                Ok(_) => assert!(is_right),
                Err(error) => {
                    let expected = "TLS with localhost: its certificate is refused: hostname mismatch: it is made out \
                                    to another host than the URL names";
                    assert_eq!((false, expected), (is_right, error.to_string().as_str()));
                }
            }
        }
    }

    #[test]
    fn says_when_a_peer_speaks_no_tls_or_nothing_at_all() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = url(&format!("https://{}", listener.local_addr().expect("an address")));
        let peer = thread::spawn(move || {
            let (mut tcp, _) = listener.accept().expect("a connection");
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
            (listener.accept().expect("a connection"), listener, tcp)
        });
        let error = net().dial(&url, soon(), &|_| ()).expect_err("no TLS");
        let expected =
            "TLS with 127.0.0.1: wrong version number: what answers there speaks no TLS, is the port right?";
        assert_eq!(expected, error.to_string());
        let begin = Instant::now();
        let error = net().dial(&url, begin + Duration::from_millis(300), &|_| ()).expect_err("nothing");
        assert_eq!("TLS with 127.0.0.1: no answer in time", error.to_string());
        assert!(error.is_timeout());
        assert!((300..5000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        peer.join().expect("no panic");
    }

    #[test]
    fn shutting_the_connection_ends_a_handshake() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = url(&format!("https://{}", listener.local_addr().expect("an address")));
        let shut = |tcp: &TcpStream| tcp.shutdown(std::net::Shutdown::Both).expect("shut");
        let error = net().dial(&url, soon(), &shut).expect_err("it was shut");
        assert!(matches!(error, DialError::Tls { .. }), "not late: {error}");
    }

    #[test]
    fn says_where_it_could_not_connect_and_what_it_could_not_look_up() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
        let error = net().dial(&url(&format!("http://{free}")), soon(), &|_| ()).expect_err("nobody listens");
        assert_eq!(format!("connecting to {free}: Connection refused (os error 111)"), error.to_string());
        assert!(!error.is_timeout());

        let (resolver, _lookups) = resolver();
        let net = Net::new(resolver, Tls::new(None).expect("the system's store"));
        let late = Instant::now() + Duration::from_millis(20);
        let error = net.dial(&url("https://x.invalid"), late, &|_| ()).expect_err("nobody looks it up");
        assert_eq!("looking up x.invalid: no answer in time", error.to_string());
        assert!(error.is_timeout());
    }

    #[test]
    fn an_address_that_refuses_does_not_hide_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let good = listener.local_addr().expect("an address");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
        let tcp = connect(&[free, good], soon()).expect("the second takes us");
        assert_eq!(good, tcp.peer_addr().unwrap());
    }

    #[test]
    fn tries_both_kinds_of_addresses_by_turns() {
        let texts =
            |mixed: Vec<SocketAddr>| mixed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(address);
        assert_eq!("[::1]:1 1.1.1.1:1 [::2]:1 [::3]:1", texts(interleave(&given)));
        let given = ["1.1.1.1:1", "1.1.1.2:1"].map(address);
        assert_eq!("1.1.1.1:1 1.1.1.2:1", texts(interleave(&given)));
        let many: Vec<_> = (0..20).map(|port| SocketAddr::from(([1, 1, 1, 1], port))).collect();
        assert_eq!(ADDRESSES_TRIED_MAX, interleave(&many).len());
    }
}
