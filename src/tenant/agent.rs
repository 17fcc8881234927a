//! ureq over [`Net`]: one HTTP client for the token and the updates, with our name lookup, our TLS and our deadlines.
//!
//! ureq's own resolver runs before every request, also where a connection is kept, and spawns a thread for it where a
//! total timeout is set. Ours does neither, so that such a timeout is safe to set.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::Uri;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};

use super::dial::{DialError, Net};
use super::socket::Stream;
use super::url::{Kind, Url};

/// How large the head of an answer may be.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What is read into: more than the largest head, because ureq takes a full buffer for the peer's end.
const INPUT_BYTES: usize = HEAD_BYTES_MAX + (1 << 10);

/// What is written from: a request's head must fit, with the longest token.
const OUTPUT_BYTES: usize = 16 << 10;

/// How long a connection is kept without a request: shorter than servers commonly keep theirs, because a request that
/// meets a connection being closed counts as failed.
const IDLE_AGE_MAX: Duration = Duration::from_secs(15);

/// What a request may take, and what is kept after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Until the connection stands: name lookup, TCP and TLS.
    pub connect: Duration,
    /// In all, with reading the answer.
    pub total: Duration,
    /// How many connections are kept for the next request.
    pub idle: usize,
}

impl Limits {
    /// What SPEC.md section 4 gives a request.
    pub const REQUEST: Limits =
        Limits { connect: Duration::from_secs(5), total: Duration::from_secs(10), idle: 1 };
}

/// Returns an HTTP client within [`Limits::REQUEST`]. Its clones share its connections.
///
/// Every status is an answer, redirects too: none is ever followed, so credentials go nowhere else.
/// `ureq::Agent::shutdown` cuts its requests in flight and refuses new ones.
pub fn agent(net: &Net) -> ureq::Agent {
    agent_within(net, Limits::REQUEST)
}

/// As [`agent`], within limits of the caller's.
pub fn agent_within(net: &Net, limits: Limits) -> ureq::Agent {
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None) // Else the environment's, with rules of ureq's own.
        .timeout_connect(Some(limits.connect))
        .timeout_global(Some(limits.total))
        .max_response_header_size(HEAD_BYTES_MAX)
        .max_idle_connections(limits.idle)
        .max_idle_connections_per_host(limits.idle)
        .max_idle_age(IDLE_AGE_MAX)
        .user_agent(concat!("dtmfd/", env!("CARGO_PKG_VERSION")))
        .build();
    ureq::Agent::with_parts(config, Dialler(net.clone()), NoLookup)
}

/// Why a request got no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unanswered {
    /// Whether time ran out, rather than something failing.
    pub is_timeout: bool,
    /// What happened, in words; the step that failed where it was connecting.
    pub why: String,
}

impl From<ureq::Error> for Unanswered {
    fn from(error: ureq::Error) -> Unanswered {
        if let ureq::Error::Other(inner) = &error
            && let Some(dial) = inner.downcast_ref::<DialError>()
        {
            return Unanswered { is_timeout: dial.is_timeout(), why: dial.to_string() };
        }
        if let ureq::Error::Io(inner) = &error {
            return Unanswered { is_timeout: false, why: inner.to_string() };
        }
        let is_timeout = matches!(error, ureq::Error::Timeout(_));
        let why = if is_timeout { "no answer in time".to_owned() } else { error.to_string() };
        Unanswered { is_timeout, why }
    }
}

/// Answers at once: the lookup is part of dialling, or there is none.
#[derive(Debug)]
pub(crate) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut addresses = ResolvedSocketAddrs::from_fn(|_| nowhere);
        addresses.push(nowhere); // ureq wants one at least, and shows it to the connector only.
        Ok(addresses)
    }
}

/// Makes ureq's connections.
#[derive(Debug)]
struct Dialler(Net);

impl Connector for Dialler {
    type Out = Link;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Link>, ureq::Error> {
        let url =
            Url::from_uri(details.uri, Kind::Http).map_err(|error| ureq::Error::BadUri(error.to_string()))?;
        let deadline = deadline(details.timeout).unwrap_or_else(|| Instant::now() + Limits::REQUEST.connect);
        let registered = RefCell::new(Ok(None));
        let opened = |tcp: &TcpStream| {
            *registered.borrow_mut() = register(details, tcp).map(Some).inspect_err(|_| {
                let _ = tcp.shutdown(std::net::Shutdown::Both); // The agent is shut: don't begin TLS.
            });
        };
        let dialled = self.0.dial(&url, deadline, &opened);
        let handle = registered.into_inner()?;
        let stream = dialled.map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let buffers = LazyBuffers::new(INPUT_BYTES, OUTPUT_BYTES);
        Ok(Some(Link { stream, buffers, _handle: handle }))
    }
}

/// Lets `ureq::Agent::shutdown` shut the connection for as long as the returned handle lives.
fn register(details: &ConnectionDetails, tcp: &TcpStream) -> Result<Arc<TcpStream>, ureq::Error> {
    let handle = Arc::new(tcp.try_clone()?);
    let weak: Weak<dyn ShutdownHandle> = Arc::downgrade(&(Arc::clone(&handle) as Arc<dyn ShutdownHandle>));
    (details.register_shutdown)(weak)?;
    Ok(handle)
}

/// One of ureq's connections.
#[derive(Debug)]
struct Link {
    stream: Stream,
    buffers: LazyBuffers,
    _handle: Option<Arc<TcpStream>>,
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        self.stream.set_deadline(deadline(timeout))?;
        self.stream.write_all(&self.buffers.output()[..amount]).map_err(|error| in_time(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        self.stream.set_deadline(deadline(timeout))?;
        let amount =
            self.stream.read(self.buffers.input_append_buf()).map_err(|error| in_time(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.is_idle()
    }

    fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }
}

fn deadline(timeout: NextTimeout) -> Option<Instant> {
    if timeout.after.is_not_happening() { None } else { Instant::now().checked_add(*timeout.after) }
}

/// Gives a passed deadline the name that ureq has for it.
fn in_time(error: std::io::Error, timeout: NextTimeout) -> ureq::Error {
    if error.kind() == ErrorKind::TimedOut { ureq::Error::Timeout(timeout.reason) } else { error.into() }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::tenant::Proxy;
    use crate::tenant::stand_in::{Authority, Gate, Seen, StandIn, answer, net, net_trusting};

    const SHORT: Limits =
        Limits { connect: Duration::from_millis(150), total: Duration::from_millis(150), idle: 1 };

    fn post(agent: &ureq::Agent, url: &Url) -> Result<(u16, String), Unanswered> {
        let mut response = agent.post(url.to_string()).send("{}")?;
        Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
    }

    #[test]
    fn keeps_a_connection_for_the_next_request() {
        let authority = Authority::new("our own CA");
        for (peer, agent) in [
            (StandIn::new(|_| answer(200, "one")), agent(&net())),
            (StandIn::over_tls(&authority, |_| answer(200, "one")), agent(&net_trusting(&authority))),
            (StandIn::over_tls_1_2(&authority, |_| answer(200, "one")), agent(&net_trusting(&authority))),
        ] {
            for _ in 0..5 {
                assert_eq!(Ok((200, "one".to_owned())), post(&agent, &peer.url));
            }
            assert_eq!((5, 1), (peer.requests().len(), peer.connections()), "{}", peer.url);
        }
    }

    #[test]
    fn a_connection_that_the_peer_has_closed_is_not_used_again() {
        let authority = Authority::new("our own CA");
        let closing = |_: &Seen| answer(200, "one").then_close();
        for (peer, agent) in [
            (StandIn::new(closing), agent(&net())),
            (StandIn::over_tls(&authority, closing), agent(&net_trusting(&authority))),
        ] {
            for _ in 0..3 {
                assert_eq!(Ok((200, "one".to_owned())), post(&agent, &peer.url));
                peer.await_closed();
            }
            assert_eq!(3, peer.connections());
        }
    }

    #[test]
    fn every_status_is_an_answer_and_no_redirect_is_followed() {
        let elsewhere = StandIn::new(|_| answer(200, ""));
        for status in [301, 302, 303, 307, 308, 401, 429, 500, 599] {
            let location = elsewhere.url.to_string();
            let peer = StandIn::new(move |_| answer(status, "x").with("Location", &location));
            assert_eq!(Ok((status, "x".to_owned())), post(&agent(&net()), &peer.url));
        }
        assert_eq!(0, elsewhere.connections());
    }

    #[test]
    fn time_runs_out_at_every_step() {
        let authority = Authority::new("our own CA");
        let gate = Gate::default();
        let waiting = [gate.clone(), gate.clone()];
        let silent = waiting.map(|gate| {
            move |_: &Seen| {
                gate.wait();
                answer(200, "")
            }
        });
        let [silent, silent_too] = silent;
        let plain = StandIn::new(silent);
        let tls = StandIn::over_tls(&authority, silent_too);
        // Its answer promises more than ever comes.
        let cut = StandIn::new(|_| answer(200, "").with("Content-Length", "9"));
        for peer in [&plain, &tls, &cut] {
            let begin = Instant::now();
            let error = post(&agent_within(&net_trusting(&authority), SHORT), &peer.url).expect_err("late");
            // On a busy host the time may be over before TLS stands.
            assert!(error.is_timeout && error.why.ends_with("no answer in time"), "{}: {error:?}", peer.url);
            assert!(
                (140..3000).contains(&begin.elapsed().as_millis()),
                "{}: {:?}",
                peer.url,
                begin.elapsed()
            );
        }
        gate.open();
    }

    #[test]
    fn a_silent_proxy_costs_no_more_than_connecting_may_take() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let net = net().through(Some(Proxy::parse(&address).expect("a proxy")));
        let limits = Limits { total: Duration::from_secs(10), ..SHORT };
        let begin = Instant::now();
        let url = Url::parse("https://x.invalid", Kind::Http).unwrap();
        let error = post(&agent_within(&net, limits), &url).expect_err("late");
        let why = format!("the proxy {address}: no answer to CONNECT in time");
        assert_eq!(Unanswered { is_timeout: true, why }, error);
        assert!((140..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    }

    #[test]
    fn names_the_step_that_failed() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = Url::parse(&format!("http://{free}/"), Kind::Http).unwrap();
        let error = post(&agent(&net()), &url).expect_err("nobody listens");
        let why = format!("connecting to {free}: Connection refused (os error 111)");
        assert_eq!(Unanswered { is_timeout: false, why }, error);

        let peer = StandIn::over_tls(&Authority::new("another"), |_| answer(200, ""));
        let error = post(&agent(&net()), &peer.url).expect_err("an unknown issuer");
        assert!(error.why.starts_with("TLS with 127.0.0.1: its certificate is refused: "), "{error}");
    }

    #[test]
    fn a_large_head_is_refused() {
        let peer = StandIn::new(|_| answer(200, "").with("X-Long", &"x".repeat(HEAD_BYTES_MAX)));
        let error = post(&agent(&net()), &peer.url).expect_err("too large");
        assert!(error.why.contains("header is too big"), "{error}");
    }

    #[test]
    fn shutting_down_cuts_what_is_in_flight_and_refuses_what_comes() {
        let authority = Authority::new("our own CA");
        let gate = Gate::default();
        let waiting = gate.clone();
        let peer = StandIn::over_tls(&authority, move |_| {
            waiting.wait();
            answer(200, "")
        });
        let agent = agent(&net_trusting(&authority));
        let in_flight = thread::spawn({
            let (agent, url) = (agent.clone(), peer.url.clone());
            move || post(&agent, &url)
        });
        peer.await_requests(1);
        let begin = Instant::now();
        agent.clone().shutdown();
        let error = in_flight.join().expect("no panic").expect_err("it was cut");
        assert!(!error.is_timeout, "{error}");
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert_eq!("Agent is shut down", post(&agent, &peer.url).expect_err("it is shut").why);
        gate.open();
    }
}
