//! A tenant in the test process, plain or over TLS, that keeps what it hears; and the three ways to it.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use dtmfd::engine::{Bounds, Calls, Event, Key, Outcome, Output, Random, Source, Tick};
use dtmfd::error::Chain;
use dtmfd::inbound::connect::connect;
use dtmfd::inbox::{Incoming, inbox};
use dtmfd::observe::status::Status;
use dtmfd::outbound::{Client, work};
use dtmfd::tenant::{Kind, Net, Proxy, Secret, Tls, Tokens, Url, resolver};
use openssl::ssl::SslAcceptor;
use tungstenite::handshake::derive_accept_key;

use crate::program::PATIENCE;
use crate::script::tree;

/// What only the tenant may hear.
pub(crate) const SECRET: &str = "hush-hush-secret";
pub(crate) const BEARER: &str = "hush-hush-bearer";

/// A tenant on loopback; its threads end with the test process.
pub(crate) struct Tenant {
    pub(crate) port: u16,
    heard: Arc<Mutex<String>>,
    connections: Arc<AtomicUsize>,
}

impl Tenant {
    /// Answers every link as a tenant does.
    pub(crate) fn start(acceptor: Option<SslAcceptor>) -> Tenant {
        Tenant::answering(acceptor, as_a_tenant)
    }

    /// Answers a request's head with what `answer` says.
    pub(crate) fn answering(
        acceptor: Option<SslAcceptor>,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Tenant {
        let answer = Arc::new(answer);
        Tenant::serving(move |tcp, heard| match &acceptor {
            None => converse(tcp, heard, &*answer),
            Some(acceptor) => {
                let _ = acceptor.accept(tcp).map(|tls| converse(tls, heard, &*answer));
            }
        })
    }

    /// Gives every connection to `serve`, in a thread of its own.
    pub(crate) fn serving(serve: impl Fn(TcpStream, &Mutex<String>) + Send + Sync + 'static) -> Tenant {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let tenant = Tenant { port, heard: Arc::default(), connections: Arc::default() };
        let (heard, connections) = (Arc::clone(&tenant.heard), Arc::clone(&tenant.connections));
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                let (serve, heard) = (Arc::clone(&serve), Arc::clone(&heard));
                thread::spawn(move || {
                    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
                    serve(tcp, &heard);
                });
            }
        });
        tenant
    }

    /// Returns everything that was said to it, requests with their bodies.
    pub(crate) fn heard(&self) -> String {
        self.heard.lock().expect("nobody panics with it").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn converse(stream: impl Read + Write, heard: &Mutex<String>, answer: &dyn Fn(&str) -> String) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream) {
        let length = header(&head, "content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let request = format!("{head}{}\n", String::from_utf8_lossy(&body));
        heard.lock().expect("nobody panics with it").push_str(&request);
        if stream.get_mut().write_all(answer(&head).as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads up to the empty line; `None` where the peer leaves before it.
pub(crate) fn read_head(stream: &mut impl std::io::BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Returns the value of a header, whose name is in lower case.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.to_ascii_lowercase() == name).map(|(_, value)| value)
}

pub(crate) fn as_a_tenant(head: &str) -> String {
    match head.split(' ').nth(1).unwrap_or_default() {
        "/oauth/token" => {
            let grant = format!(r#"{{"access_token":"{BEARER}","expires_in":3600}}"#);
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{grant}", grant.len())
        }
        "/api/v2/voice/websocket" => {
            let key = header(head, "sec-websocket-key").unwrap_or_default();
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            )
        }
        _ => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    }
}

/// Returns the way out, as `run` has it.
pub(crate) fn net(ca_pem: Option<&str>, proxy: Option<Proxy>) -> Net {
    let (names, lookups) = resolver();
    thread::spawn(move || lookups.run());
    Net::new(names, Tls::new(ca_pem.map(str::as_bytes)).expect("a certificate")).through(proxy)
}

/// What came of trying a link: why it failed, in the words that an operator reads.
pub(crate) type Tried = Result<(), String>;

/// Tries all three links to a tenant with the code of `run`: token, WebSocket and REST. Each is tried though another
/// fails: what the last two need of a token comes from a tenant beside this one.
pub(crate) fn try_links(net: &Net, base: &str) -> [(&'static str, Tried); 3] {
    let url = Url::parse(base, Kind::Http).expect("a URL");
    let token = tokens(net, &url).bearer().map(drop).map_err(|none| none.why);
    let deadline = Instant::now() + Duration::from_secs(15);
    let websocket = url.to_websocket("/api/v2/voice/websocket");
    let websocket = connect(&websocket, net, BEARER, deadline, &|_| ());
    let websocket = websocket.map(drop).map_err(|error| Chain(&error).to_string());
    [("token", token), ("WebSocket", websocket), ("REST", deliver(net, &url))]
}

pub(crate) fn tokens(net: &Net, url: &Url) -> Tokens {
    let (id, secret) = ("me".to_owned(), Secret::new(SECRET.to_owned()));
    Tokens::new(net, url.join("/oauth/token"), id, secret, Arc::new(Status::default()), 7)
}

/// Brings the update of a call that has ended to the tenant, once.
fn deliver(net: &Net, url: &Url) -> Tried {
    let one_key = r#"{ "rootNode": "a", "nodes": { "a": { "choices": { "1": { "outcome": "one" } } } } }"#;
    let bounds = Bounds { calls_max: 1, attempts_max: 1 };
    let mut calls = Calls::new(tree(one_key), bounds, Random::new(7).number(), Tick(0));
    let key = Key::parse('1').expect("a key");
    calls.handle(Event::KeyPressed { source: Source::Voice, call: "c1", key, stamp: None }, Tick(0));
    let attempt = std::iter::from_fn(|| calls.poll_output())
        .find_map(|output| if let Output::Deliver(attempt) = output { Some(attempt) } else { None });
    let helper = Tenant::start(None);
    let helper = Url::parse(&format!("http://127.0.0.1:{}", helper.port), Kind::Http).expect("a URL");
    let (jobs, to_do) = bounded(1);
    let (inbox, outlet) = inbox();
    jobs.send(attempt.expect("the call has ended")).expect("there is room");
    drop(jobs);
    work(Client::new(net, &tokens(net, &helper), url), to_do, inbox);
    let answer = outlet.incoming.recv_timeout(PATIENCE).expect("every job is answered");
    let Incoming::Finished { outcome, detail, .. } = answer else { panic!("{answer:?}") };
    match matches!(outcome, Outcome::Accepted { .. }) {
        true => Ok(()),
        false => Err(format!("{outcome:?}: {}", detail.unwrap_or_default())),
    }
}
