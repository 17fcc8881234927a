//! The way to a running daemon: its local API, over TCP or a unix socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use ureq::config::Config;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::environment;
use crate::config::{ApiFlags, Settings};
use crate::error::Error;
use crate::local::Listen;
use crate::platform;
use crate::tenant::{NoLookup, Secret, Unanswered};

/// How long the daemon may take for an answer, in all. It takes milliseconds, or as long as it waits for its
/// engine: 2 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// How large an answer may be: it is at most 1 MiB.
const ANSWER_MAX: u64 = 1024 * 1024;
/// What is read into and written from: the heads are short, and ours.
const BUFFER_BYTES: usize = 16 << 10;

/// A running daemon.
pub(super) struct Client {
    at: Listen,
    /// What stands before a path.
    base: String,
    token: Option<Secret>,
    agent: ureq::Agent,
}

/// What the daemon would not do.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What a program tells it by.
    pub(super) code: String,
    /// What a person should know.
    pub(super) detail: String,
}

impl Client {
    /// Finds out where the daemon is, without asking it yet.
    pub(super) fn new(flags: &ApiFlags) -> Result<Client, Error> {
        let mut settings = Settings::new(&environment);
        let api = settings.api(flags.listen.as_deref(), flags.api_token_file.as_deref());
        let (at, token) = settings.finish(api)?;
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None) // Else the environment's.
            .timeout_global(Some(PATIENCE))
            .max_idle_connections(0) // The daemon closes after every answer.
            .user_agent(concat!("dtmfd/", env!("CARGO_PKG_VERSION")))
            .build();
        let base = match &at {
            Listen::Tcp(address) => format!("http://{}", reachable(*address)),
            Listen::Unix(_) => "http://localhost".to_owned(),
        };
        let agent = ureq::Agent::with_parts(config, Dialler(at.clone()), NoLookup);
        Ok(Client { at, base, token, agent })
    }

    /// Reads what is at this path.
    pub(super) fn get(&self, path: &str) -> Result<Result<Value, Refusal>, Error> {
        self.answered(self.authorized(self.agent.get(self.url(path))).call())
    }

    pub(super) fn delete(&self, path: &str) -> Result<Result<Value, Refusal>, Error> {
        self.answered(self.authorized(self.agent.delete(self.url(path))).call())
    }

    /// Posts nothing.
    pub(super) fn post(&self, path: &str) -> Result<Result<Value, Refusal>, Error> {
        self.answered(self.authorized(self.agent.post(self.url(path))).send_empty())
    }

    /// Reads every page of the list `name`, until `each` wants no more.
    pub(super) fn pages(
        &self,
        path: &str,
        name: &str,
        mut each: impl FnMut(Vec<Value>) -> bool,
    ) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let mut page = self.get(&format!("{path}?after={after}"))?.map_err(Error::from)?;
            let Some(Value::Array(entries)) = page.get_mut(name).map(Value::take) else {
                return Err(self.unreachable(foreign()));
            };
            let goes_on = each(entries);
            match page["next"].as_u64() {
                // Each begins behind the one before, so this ends.
                Some(next) if goes_on && next > after => after = next,
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {}", token.reveal())),
            None => request,
        }
    }

    fn answered(
        &self,
        answer: Result<http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Result<Value, Refusal>, Error> {
        let failed = |error: ureq::Error| self.unreachable(error.into());
        let mut answer = answer.map_err(failed)?;
        let status = answer.status();
        let is_ours = answer.headers().get("Server").is_some_and(|server| server == "dtmfd");
        let body = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_string().map_err(failed)?;
        let value = serde_json::from_str::<Value>(&body).ok().filter(|value| is_ours && value.is_object());
        let value = value.ok_or_else(|| self.unreachable(foreign()))?;
        if status.is_success() {
            return Ok(Ok(value));
        }
        let text = |name: &str| value[name].as_str().unwrap_or("no reason given").to_owned();
        Ok(Err(Refusal { code: text("code"), detail: text("detail") }))
    }

    fn unreachable(&self, source: Unanswered) -> Error {
        Error::Unreachable { at: self.at.clone(), source }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused { detail: refusal.detail }
    }
}

fn foreign() -> Unanswered {
    Unanswered { is_timeout: false, why: "what answers there is not dtmfd, or of another version".to_owned() }
}

/// Returns where a daemon is found that listens at `address`: at any address means at loopback's too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Makes ureq's connections.
#[derive(Debug)]
struct Dialler(Listen);

impl Connector for Dialler {
    type Out = Link;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Link>, ureq::Error> {
        let stream = match &self.0 {
            Listen::Tcp(address) => {
                Stream::Tcp(TcpStream::connect_timeout(&reachable(*address), *details.timeout.after)?)
            }
            Listen::Unix(path) => {
                // It connects at once or not at all: a full queue is no reason to wait.
                let stream = platform::connect_unix(path)?;
                stream.set_nonblocking(false)?;
                Stream::Unix(stream)
            }
        };
        Ok(Some(Link { stream, buffers: LazyBuffers::new(BUFFER_BYTES, BUFFER_BYTES) }))
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One of ureq's connections.
#[derive(Debug)]
struct Link {
    stream: Stream,
    buffers: LazyBuffers,
}

impl Stream {
    fn read(&mut self, into: &mut [u8], within: Duration) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(within)).and_then(|()| stream.read(into)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(within)).and_then(|()| stream.read(into)),
        }
    }

    fn write_all(&mut self, bytes: &[u8], within: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_write_timeout(Some(within)).and_then(|()| stream.write_all(bytes))
            }
            Stream::Unix(stream) => {
                stream.set_write_timeout(Some(within)).and_then(|()| stream.write_all(bytes))
            }
        }
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let bytes = &self.buffers.output()[..amount];
        self.stream.write_all(bytes, left(timeout)).map_err(|error| in_time(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let read = self.stream.read(self.buffers.input_append_buf(), left(timeout));
        let amount = read.map_err(|error| in_time(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        false // It is never used again.
    }
}

/// Returns how long one read or write may take, which is never nothing: that would mean for ever.
fn left(timeout: NextTimeout) -> Duration {
    (*timeout.after).clamp(Duration::from_millis(1), PATIENCE)
}

/// Gives a passed deadline the name that ureq has for it.
fn in_time(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}
