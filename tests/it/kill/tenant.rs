//! A tenant of the test's own, over plain HTTP on loopback: it takes down what arrives, and answers as
//! the weather is. It shares no code with the stand-in of `src/sandbox`.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;
use tungstenite::WebSocket;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use crate::random_tree::Random;

/// The bearer token that it gives, and takes.
const TOKEN: &str = "token-of-the-kill-harness";
/// Updates for interactions whose name begins so are refused for good: they are to be parked.
pub(super) const PARKED: &str = "park-";
/// A head or a body is never longer: an update of these tests has some 300 bytes.
const REQUEST_MAX: usize = 16 * 1024;
/// Connections at once: the daemon's workers, its token and its WebSocket, of this process and the last.
const CONNECTIONS_MAX: u64 = 64;
/// How long an answer is withheld that never comes.
const HANG: Duration = Duration::from_millis(1_500);

/// A voice WebSocket, opened by the daemon.
pub(super) type Voice = WebSocket<TcpStream>;

/// An update that arrived.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) at: Instant,
    /// What it is written to.
    pub(super) to: String,
    /// Its idempotency key.
    pub(super) key: String,
    pub(super) variables: BTreeMap<String, String>,
    /// The body as it came.
    pub(super) body: String,
    /// Whether the tenant wrote the variables, or refused them for good.
    pub(super) settled: bool,
}

/// What an update is answered with.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Answer {
    /// Written, and said so.
    Accept,
    /// Written, and the connection ends without a word.
    AcceptAndLose,
    /// Written, and an error said.
    AcceptAndFail,
    /// Nothing is written.
    Status(u16),
    /// Nothing is said for a while, then the connection ends.
    Hang { written: bool },
    /// Refused for good.
    Park,
}

struct Shared {
    stopping: AtomicBool,
    foul: AtomicBool,
    random: Mutex<Random>,
    posts: Mutex<Vec<Post>>,
    protests: Mutex<Vec<String>>,
    connections: AtomicU64,
}

/// The tenant; it ends, with its threads, when it is dropped.
pub(super) struct Tenant {
    address: SocketAddr,
    shared: Arc<Shared>,
    voices: Receiver<Voice>,
    listening: Option<JoinHandle<()>>,
}

impl Tenant {
    /// Starts a tenant whose faults come from `seed`.
    pub(super) fn start(seed: u64) -> Tenant {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            foul: AtomicBool::new(false),
            random: Mutex::new(Random(seed)),
            posts: Mutex::default(),
            protests: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        // One process of the daemon opens one WebSocket at a time; who isn't waited for is let go.
        let (sender, voices) = bounded(16);
        let listening = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || listen(&listener, &shared, &sender))
        };
        Tenant { address, shared, voices, listening: Some(listening) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the voice WebSockets that are opened.
    pub(super) fn voices(&self) -> &Receiver<Voice> {
        &self.voices
    }

    /// Lets answers fail from now on, or not any more.
    pub(super) fn set_foul(&self, foul: bool) {
        self.shared.foul.store(foul, Ordering::Relaxed);
    }

    /// Returns every update that has arrived, in order.
    pub(super) fn posts(&self) -> Vec<Post> {
        lock(&self.shared.posts).clone()
    }

    pub(super) fn post_count(&self) -> usize {
        lock(&self.shared.posts).len()
    }

    /// Returns how many updates were written, or refused for good.
    pub(super) fn settled_count(&self) -> usize {
        let posts = lock(&self.shared.posts);
        let keys: HashSet<_> = posts.iter().filter(|post| post.settled).map(|post| &post.key).collect();
        keys.len()
    }

    /// Returns what arrived that should not have.
    pub(super) fn protests(&self) -> Vec<String> {
        lock(&self.shared.protests).clone()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // Its `accept` has no other way out.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>, voices: &Sender<Voice>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.stopping.load(Ordering::Relaxed) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            lock(&shared.protests).push(format!("more than {CONNECTIONS_MAX} connections at once"));
        }
        let (shared, voices) = (Arc::clone(shared), voices.clone());
        threads.push(std::thread::spawn(move || {
            Connection { stream, shared: &shared, inbound: Vec::new() }.serve(&voices);
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        }));
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

struct Connection<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    inbound: Vec<u8>,
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Connection<'_> {
    fn serve(mut self, voices: &Sender<Voice>) {
        let nodelay = self.stream.set_nodelay(true);
        let timeout = self.stream.set_read_timeout(Some(Duration::from_millis(100)));
        if nodelay.is_err() || timeout.is_err() {
            return;
        }
        while let Some(request) = self.read() {
            let mut segments = request.path.split('/').skip(1);
            let goes_on = match (request.method.as_str(), request.path.as_str()) {
                ("POST", "/oauth/token") => {
                    let token = format!(r#"{{"access_token":"{TOKEN}","expires_in":3600}}"#);
                    self.answer(200, &token)
                }
                ("GET", "/api/v2/voice/websocket") => return self.upgrade(&request, voices),
                ("POST", path) if path.starts_with("/api/v2/interactions/") => {
                    match (segments.nth(3), segments.next(), segments.next()) {
                        (Some(to), Some("variables"), None) => self.take(to, &request),
                        _ => self.protest(&request, "no such path"),
                    }
                }
                _ => self.protest(&request, "no such path"),
            };
            if !goes_on {
                break;
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Reads the next request; `None` where none comes any more.
    fn read(&mut self) -> Option<Request> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = self.inbound.windows(4).position(|window| window == b"\r\n\r\n") {
                let mut headers = [httparse::EMPTY_HEADER; 32];
                let mut head = httparse::Request::new(&mut headers);
                head.parse(&self.inbound[..end + 4]).ok()?;
                let headers: BTreeMap<_, _> = head
                    .headers
                    .iter()
                    .map(|header| {
                        (header.name.to_lowercase(), String::from_utf8_lossy(header.value).into_owned())
                    })
                    .collect();
                let length =
                    headers.get("content-length").map_or(Ok(0), |length| length.parse::<usize>()).ok()?;
                let whole = end + 4 + length.min(REQUEST_MAX);
                if self.inbound.len() >= whole {
                    let (method, path) = (head.method?.to_owned(), head.path?.to_owned());
                    let body = self.inbound[end + 4..whole].to_vec();
                    self.inbound.drain(..whole);
                    return Some(Request { method, path, headers, body });
                }
            } else if self.inbound.len() > REQUEST_MAX {
                return None;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.inbound.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) && !self.shared.stopping.load(Ordering::Relaxed) => (),
                Err(_) => return None,
            }
        }
    }

    fn answer(&mut self, status: u16, body: &str) -> bool {
        let head = format!("HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(answer.as_bytes()).is_ok()
    }

    fn protest(&mut self, request: &Request, why: &str) -> bool {
        lock(&self.shared.protests).push(format!("{why}: {} {}", request.method, request.path));
        self.answer(404, "{}")
    }

    fn upgrade(mut self, request: &Request, voices: &Sender<Voice>) {
        let Some(key) = request.headers.get("sec-websocket-key") else {
            self.protest(request, "an upgrade without a key");
            return;
        };
        let accept = derive_accept_key(key.as_bytes());
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        let answer = format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n");
        let is_open = self.stream.write_all(answer.as_bytes()).is_ok();
        if is_open && self.inbound.is_empty() {
            let _ = voices.try_send(WebSocket::from_raw_socket(self.stream, Role::Server, None));
        }
    }

    /// Takes an update; returns whether the connection goes on.
    fn take(&mut self, to: &str, request: &Request) -> bool {
        let authorized =
            request.headers.get("authorization").is_some_and(|value| *value == format!("Bearer {TOKEN}"));
        let Some(key) = request.headers.get("idempotency-key").filter(|_| authorized) else {
            return self.protest(request, "an update without a key, or without our token");
        };
        let Some(variables) = variables(&request.body) else {
            return self.protest(request, "an update that is no list of variables");
        };
        let answer = self.weather(to);
        let settled = match answer {
            Answer::Accept | Answer::AcceptAndLose | Answer::AcceptAndFail | Answer::Park => true,
            Answer::Status(_) => false,
            Answer::Hang { written } => written,
        };
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let post = Post { at: Instant::now(), to: to.to_owned(), key: key.clone(), variables, body, settled };
        lock(&self.shared.posts).push(post);
        match answer {
            Answer::Accept => self.answer(200, "{}"),
            Answer::AcceptAndFail => self.answer(500, "{}"),
            Answer::Status(status) => self.answer(status, "{}"),
            Answer::Park => self.answer(400, "{}"),
            Answer::AcceptAndLose => false,
            Answer::Hang { .. } => {
                let until = Instant::now() + HANG;
                while Instant::now() < until && self.shared.foul.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                false
            }
        }
    }

    fn weather(&self, to: &str) -> Answer {
        if to.starts_with(PARKED) {
            return Answer::Park;
        }
        if !self.shared.foul.load(Ordering::Relaxed) {
            return Answer::Accept;
        }
        match lock(&self.shared.random).below(100) {
            0..=4 => Answer::AcceptAndLose,
            5..=8 => Answer::AcceptAndFail,
            9..=13 => Answer::Status(429),
            14..=20 => Answer::Status(500),
            21 => Answer::Hang { written: true },
            22 => Answer::Hang { written: false },
            _ => Answer::Accept,
        }
    }
}

fn variables(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let list: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    list.as_array()?
        .iter()
        .map(|variable| Some((text(&variable["name"])?, text(&variable["value"])?)))
        .collect()
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
