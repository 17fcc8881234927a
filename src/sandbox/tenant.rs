//! The stand-in itself: its listener, its threads, and who is answered what.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::http::header::AUTHORIZATION;
use ::http::{Method, Request, StatusCode};
use crossbeam_channel::Sender;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tungstenite::handshake::server::{create_response_with_body, write_response};

use super::exchange::{Answer, Connection, NoRequest, keeps_alive, not_allowed};
use super::faults::Faults;
use super::store::{Post, Store, TOKEN_LIFE};
use super::voice::{Deed, Ended, QueueFull, Voice};
use super::{Stop, lock};
use crate::engine::Key;

/// How many connections are open at once: our client has 32 workers, a WebSocket and a token to
/// fetch, and after a fault as many again may linger.
const CONNECTIONS_MAX: usize = 128;
/// How long to wait after a connection couldn't be accepted, for lack of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the stop tries to wake the thread that accepts.
const WAKE_MAX: Duration = Duration::from_millis(200);

/// What the stand-in saw, for whoever shows the journey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A token was asked for.
    TokenAsked {
        /// What was answered.
        status: u16,
    },
    /// A voice WebSocket opened.
    WebSocketOpened,
    /// A voice WebSocket was cut, as [`Faults::drop_every`] says.
    WebSocketCut,
    /// Variables were brought for an interaction.
    VariablesPosted(Post),
}

/// A stand-in for the tenant, listening on a port of its own on loopback.
///
/// It ends by [`StandIn::stop`], or when it is dropped.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Dropping it is the signal to stop.
    running: Option<Sender<()>>,
    accepting: Option<JoinHandle<()>>,
}

/// What all threads of the stand-in have in common.
struct Shared {
    faults: Faults,
    store: Mutex<Store>,
    voice: Voice,
    observer: Box<dyn Fn(Seen) + Send + Sync>,
    /// A second handle on every connection, to shut it.
    open: Mutex<HashMap<u64, TcpStream>>,
    stop: Stop,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl StandIn {
    /// Starts to listen, on a free port.
    ///
    /// `observer` is told what happens, by the threads that it happens on, and before the client is
    /// told; it should return soon.
    ///
    /// # Errors
    ///
    /// Returns an error if the system gives no port or no thread.
    pub fn start(faults: Faults, observer: impl Fn(Seen) + Send + Sync + 'static) -> io::Result<StandIn> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (running, stop) = Stop::new();
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new(&faults.fail)),
            faults,
            voice: Voice::default(),
            observer: Box::new(observer),
            open: Mutex::default(),
            stop,
        });
        let accepting = thread::Builder::new().name("sandbox".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        })?;
        Ok(StandIn { address, shared, running: Some(running), accepting: Some(accepting) })
    }

    /// Returns the base of all its addresses: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Begins a call on the voice WebSocket; without one open, on the next.
    ///
    /// # Errors
    ///
    /// Returns [`QueueFull`] if too many events wait already.
    pub fn start_call(&self, call: &str) -> Result<(), QueueFull> {
        self.shared.voice.tell(call, Deed::Start)
    }

    /// Presses a key on a call, on the voice WebSocket; without one open, on the next.
    ///
    /// # Errors
    ///
    /// Returns [`QueueFull`] if too many events wait already.
    pub fn press(&self, call: &str, key: Key) -> Result<(), QueueFull> {
        self.shared.voice.tell(call, Deed::Press(key))
    }

    /// Hangs a call up, on the voice WebSocket; without one open, on the next.
    ///
    /// # Errors
    ///
    /// Returns [`QueueFull`] if too many events wait already.
    pub fn hang_up(&self, call: &str) -> Result<(), QueueFull> {
        self.shared.voice.tell(call, Deed::HangUp)
    }

    /// Returns whether every event has been sent; those that wait for a voice WebSocket have not.
    pub fn has_told_all(&self) -> bool {
        self.shared.voice.is_told()
    }

    /// Returns the variables of an interaction's last accepted update, in the order sent.
    pub fn accepted(&self, interaction: &str) -> Option<Vec<(String, String)>> {
        lock(&self.shared.store).accepted(interaction).cloned()
    }

    /// Returns the last 4096 requests to set variables, the oldest first.
    pub fn posts(&self) -> Vec<Post> {
        lock(&self.shared.store).posts().cloned().collect()
    }

    /// Ends every connection and joins every thread, within a second unless the observer keeps one.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.running.take());
        // The listener has no other way to be woken. Where not even this connects for lack of
        // descriptors, `accept` fails for the same reason and looks at the stop itself.
        _ = TcpStream::connect_timeout(&self.address, WAKE_MAX);
        if let Some(accepting) = self.accepting.take() {
            _ = accepting.join(); // Its panic has been reported where it happened.
        }
    }
}

/// Takes connections until the stop, each with a thread of its own, then ends and joins them.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 0.. {
        let accepted = listener.accept();
        if shared.stop.is_set() {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let served = match accepted {
            Ok((stream, _)) if threads.len() == CONNECTIONS_MAX => turn_away(stream),
            Ok((stream, _)) => serve(number, stream, shared).map(|thread| threads.push(thread)),
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            log::warn!("the stand-in tenant could not take a connection: {error}");
            shared.stop.pause(ACCEPT_PAUSE);
        }
    }
    for stream in lock(&shared.open).values() {
        _ = stream.shutdown(Shutdown::Both); // It may have ended meanwhile.
    }
    for thread in threads {
        _ = thread.join(); // Its panic has been reported where it happened.
    }
}

fn turn_away(stream: TcpStream) -> io::Result<()> {
    let answer = Answer::error(StatusCode::SERVICE_UNAVAILABLE, "128 connections are open already");
    Connection::new(stream)?.write(&answer, false)
}

/// Starts the thread that answers on `stream`.
fn serve(number: u64, stream: TcpStream, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let another = stream.try_clone()?;
    let connection = Connection::new(stream)?;
    lock(&shared.open).insert(number, another);
    let place = Place { number, shared: Arc::clone(shared) };
    thread::Builder::new().name(format!("sandbox-{number}")).spawn(move || {
        // The client's going away, at whatever moment, is nothing to tell of.
        _ = place.shared.converse(connection);
    })
}

/// A connection's entry among the open ones, taken out when its thread ends, or doesn't begin.
struct Place {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(stream) = lock(&self.shared.open).remove(&self.number) {
            _ = stream.shutdown(Shutdown::Both); // It may have ended already.
        }
    }
}

/// What a request is answered.
enum Reply {
    Json(Answer, Option<Seen>),
    /// The head of the answer that makes the connection a voice WebSocket.
    Upgrade(Vec<u8>),
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    client_id: String,
    client_secret: String,
}

impl Shared {
    /// Answers one request after another.
    fn converse(&self, mut connection: Connection) -> io::Result<()> {
        loop {
            let request = match connection.read() {
                Ok(request) => request,
                Err(NoRequest::Gone) => return Ok(()),
                Err(NoRequest::Bad(answer)) => return connection.write(&answer, false),
            };
            let reply = self.reply(&request);
            if let Some(slow) = self.faults.slow
                && self.stop.pause(slow)
            {
                return Ok(());
            }
            match reply {
                Reply::Json(answer, seen) => {
                    if let Some(seen) = seen {
                        (self.observer)(seen);
                    }
                    let keep_alive = keeps_alive(&request);
                    connection.write(&answer, keep_alive)?;
                    if !keep_alive {
                        return Ok(());
                    }
                }
                Reply::Upgrade(head) => return self.speak(connection, &head),
            }
        }
    }

    /// Turns the connection into a voice WebSocket, for as long as that lasts.
    fn speak(&self, connection: Connection, head: &[u8]) -> io::Result<()> {
        let (mut stream, read) = connection.into_parts();
        (self.observer)(Seen::WebSocketOpened);
        stream.write_all(head)?;
        match self.voice.serve(stream, read, self.faults.drop_every, &self.stop) {
            Ended::Cut => (self.observer)(Seen::WebSocketCut),
            Ended::Left => (),
        }
        Ok(())
    }

    fn reply(&self, request: &Request<Vec<u8>>) -> Reply {
        let (method, path) = (request.method(), request.uri().path());
        let interaction = path
            .strip_prefix("/api/v2/interactions/")
            .and_then(|rest| rest.strip_suffix("/variables"))
            .filter(|interaction| !interaction.is_empty() && !interaction.contains('/'));
        match (path, interaction) {
            ("/oauth/token", _) if method == Method::POST => self.give_token(request.body()),
            ("/oauth/token", _) => Reply::Json(not_allowed("POST", method), None),
            ("/api/v2/voice/websocket", _) if method == Method::GET => self.upgrade(request),
            ("/api/v2/voice/websocket", _) => Reply::Json(not_allowed("GET", method), None),
            (_, Some(interaction)) if method == Method::POST => self.take_variables(interaction, request),
            (_, Some(_)) => Reply::Json(not_allowed("POST", method), None),
            (_, None) => Reply::Json(Answer::error(StatusCode::NOT_FOUND, "there is nothing here"), None),
        }
    }

    /// Gives a token to whoever asks in the right words: every id and secret will do.
    fn give_token(&self, body: &[u8]) -> Reply {
        let refusal = match serde_json::from_slice::<TokenRequest>(body) {
            Err(_) => Some("the body is no JSON with grant_type, client_id and client_secret"),
            Ok(asked) if asked.grant_type != "client_credentials" => {
                Some("the grant_type is not client_credentials")
            }
            Ok(asked) if asked.client_id.is_empty() => Some("the client_id is empty"),
            Ok(asked) if asked.client_secret.is_empty() => Some("the client_secret is empty"),
            Ok(_) => None,
        };
        let answer = match refusal {
            Some(why) => Answer::error(StatusCode::BAD_REQUEST, why),
            None => {
                let token = lock(&self.store).issue_token(Instant::now());
                let body = serde_json::json!({
                    "access_token": token,
                    "expires_in": TOKEN_LIFE.as_secs(),
                    "token_type": "Bearer",
                });
                Answer::ok(body.to_string())
            }
        };
        let status = answer.status.as_u16();
        Reply::Json(answer, Some(Seen::TokenAsked { status }))
    }

    fn upgrade(&self, request: &Request<Vec<u8>>) -> Reply {
        if !lock(&self.store).admits(bearer(request), Instant::now()) {
            return Reply::Json(unauthorized(), None);
        }
        let mut head = Vec::new();
        let written = create_response_with_body(request, || ())
            .and_then(|response| write_response(&mut head, &response));
        match written {
            Ok(()) => Reply::Upgrade(head),
            Err(error) => Reply::Json(Answer::error(StatusCode::BAD_REQUEST, &error.to_string()), None),
        }
    }

    fn take_variables(&self, interaction: &str, request: &Request<Vec<u8>>) -> Reply {
        let Ok(interaction) = percent_decode_str(interaction).decode_utf8() else {
            return Reply::Json(Answer::error(StatusCode::BAD_REQUEST, "the interaction is not UTF-8"), None);
        };
        let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
        let post = lock(&self.store).post(
            interaction.into_owned(),
            key.map(str::to_owned),
            bearer(request),
            request.body(),
            Instant::now(),
        );
        let answer = match StatusCode::from_u16(post.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
            StatusCode::OK => Answer::ok("{}".to_owned()),
            StatusCode::UNAUTHORIZED => unauthorized(),
            StatusCode::BAD_REQUEST => {
                Answer::error(StatusCode::BAD_REQUEST, "the body is no JSON list of names and values")
            }
            status => Answer::error(status, "the sandbox was told to fail this request"),
        };
        Reply::Json(answer, Some(Seen::VariablesPosted(post)))
    }
}

fn unauthorized() -> Answer {
    Answer::error(StatusCode::UNAUTHORIZED, "the bearer token is missing, unknown or expired")
}

/// Returns the token that a request bears.
fn bearer(request: &Request<Vec<u8>>) -> Option<&str> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tungstenite::client::IntoClientRequest;
    use tungstenite::{Message, WebSocket};

    use super::*;

    const CREDENTIALS: &str = r#"{"grant_type":"client_credentials","client_id":"i","client_secret":"s"}"#;
    const COMPLETED: &str = r#"[{"name":"ivr_status","value":"completed"}]"#;

    /// A stand-in, and what it saw.
    fn start(faults: Faults) -> (StandIn, Arc<Mutex<Vec<Seen>>>) {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let tenant = StandIn::start(faults, {
            let seen = Arc::clone(&seen);
            move |what| lock(&seen).push(what)
        });
        (tenant.unwrap(), seen)
    }

    /// A client of a kept-alive connection.
    struct Client(TcpStream);

    impl Client {
        fn new(tenant: &StandIn) -> Client {
            let stream = TcpStream::connect(tenant.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            Client(stream)
        }

        /// Returns the status and the body.
        fn ask(&mut self, method: &str, target: &str, headers: &str, body: &str) -> (u16, String) {
            let length = body.len();
            let request =
                format!("{method} {target} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
            self.0.write_all(request.as_bytes()).unwrap();
            self.read_answer()
        }

        fn read_answer(&mut self) -> (u16, String) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                self.0.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut body).unwrap();
            (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
        }

        fn token(&mut self) -> String {
            let (status, body) = self.ask("POST", "/oauth/token", "", CREDENTIALS);
            assert_eq!(200, status, "{body}");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(3600, body["expires_in"]);
            body["access_token"].as_str().unwrap().to_owned()
        }

        fn post(&mut self, token: &str, interaction: &str, key: &str) -> u16 {
            let target = format!("/api/v2/interactions/{interaction}/variables");
            let headers = format!("Authorization: Bearer {token}\r\nIdempotency-Key: {key}\r\n");
            self.ask("POST", &target, &headers, COMPLETED).0
        }

        fn upgrade(self, token: &str) -> Result<WebSocket<TcpStream>, u16> {
            let mut request = "ws://127.0.0.1/api/v2/voice/websocket".into_client_request().unwrap();
            request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().unwrap());
            match tungstenite::client::client(request, self.0) {
                Ok((socket, _)) => Ok(socket),
                Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                    Err(answer.status().as_u16())
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn gives_tokens_to_whoever_asks_in_the_right_words() {
        let (tenant, seen) = start(Faults::default());
        let mut client = Client::new(&tenant);
        assert_ne!(client.token(), client.token());
        for body in ["", "{}", "grant_type=client_credentials", &CREDENTIALS.replace("\"s\"", "\"\"")] {
            assert_eq!(400, client.ask("POST", "/oauth/token", "", body).0, "{body}");
        }
        let statuses = [200, 200, 400, 400, 400, 400];
        assert_eq!(statuses.map(|status| Seen::TokenAsked { status }).to_vec(), *lock(&seen));
    }

    #[test]
    fn takes_variables_and_says_which() {
        let (tenant, seen) = start(Faults::default());
        let mut client = Client::new(&tenant);
        let token = client.token();
        assert_eq!(401, client.post("wrong", "c1", "k"));
        assert_eq!(200, client.post(&token, "sip%3A7%25%40host", "k"));
        assert_eq!(200, client.post(&token, "sip%3A7%25%40host", "k"));
        assert_eq!(400, client.post(&token, "%ff", "k"));
        let variables = vec![("ivr_status".to_owned(), "completed".to_owned())];
        assert_eq!(Some(variables.clone()), tenant.accepted("sip:7%@host"));
        assert_eq!(None, tenant.accepted("c1"));
        let post = |interaction: &str, attempt, status| Post {
            interaction: interaction.to_owned(),
            key: Some("k".to_owned()),
            attempt,
            status,
            variables: variables.clone(),
        };
        let posts = vec![post("c1", 1, 401), post("sip:7%@host", 1, 200), post("sip:7%@host", 2, 200)];
        assert_eq!(posts, tenant.posts());
        let seen_posts: Vec<_> = lock(&seen).drain(..).skip(1).collect();
        assert_eq!(posts.into_iter().map(Seen::VariablesPosted).collect::<Vec<_>>(), seen_posts);
    }

    #[test]
    fn has_nothing_elsewhere() {
        let (tenant, _) = start(Faults::default());
        let mut client = Client::new(&tenant);
        for (method, target, expected) in [
            ("GET", "/", 404),
            ("POST", "/api/v2/interactions//variables", 404),
            ("POST", "/api/v2/interactions/a/b/variables", 404),
            ("POST", "/api/v2/interactions/variables", 404),
            ("GET", "/oauth/token", 405),
            ("GET", "/api/v2/interactions/a/variables", 405),
            ("POST", "/api/v2/voice/websocket", 405),
            ("POST", "/api/v2/interactions/a/variables", 401),
            ("GET", "/api/v2/voice/websocket", 401),
        ] {
            assert_eq!(expected, client.ask(method, target, "", "").0, "{method} {target}");
        }
        let authorization = format!("Authorization: Bearer {}\r\n", client.token());
        assert_eq!(400, client.ask("GET", "/api/v2/voice/websocket", &authorization, "").0);
    }

    #[test]
    fn sends_what_callers_do_over_the_websocket() {
        let (tenant, seen) = start(Faults::default());
        tenant.press("c1", Key::parse('7').unwrap()).unwrap();
        tenant.hang_up("c1").unwrap();
        assert_eq!(Err(401), Client::new(&tenant).upgrade("wrong").map(drop));
        let mut client = Client::new(&tenant);
        let token = client.token();
        let mut socket = client.upgrade(&token).unwrap();
        for expected in
            [r#"{"type":"dtmf","digit":"7","callId":"c1","#, r#"{"type":"call_ended","callId":"c1","#]
        {
            let Message::Text(text) = socket.read().unwrap() else { panic!("a text") };
            assert!(text.starts_with(expected), "{text}");
        }
        assert_eq!(vec![Seen::TokenAsked { status: 200 }, Seen::WebSocketOpened], *lock(&seen));
    }

    #[test]
    fn misbehaves_as_told() {
        let (tenant, seen) = start(Faults {
            fail: vec!["401".parse().unwrap(), "429:1".parse().unwrap()],
            drop_every: Some(Duration::from_millis(30)),
            slow: Some(Duration::from_millis(30)),
        });
        let begin = Instant::now();
        let mut client = Client::new(&tenant);
        let token = client.token();
        assert!(begin.elapsed() >= Duration::from_millis(30));
        assert_eq!(401, client.post(&token, "a", "k1"));
        assert_eq!(401, client.post(&token, "a", "k1"), "the token is revoked");
        let token = client.token();
        assert_eq!(429, client.post(&token, "a", "k1"));
        assert_eq!(200, client.post(&token, "a", "k1"));
        assert_eq!(429, client.post(&token, "b", "k2"));
        let mut socket = client.upgrade(&token).unwrap();
        assert!(socket.read().is_err());
        drop(socket);
        tenant.stop();
        assert_eq!(Some(&Seen::WebSocketCut), lock(&seen).last());
    }

    #[test]
    fn turns_away_more_connections_than_it_has_room_for() {
        let (tenant, _) = start(Faults::default());
        let mut clients: Vec<_> = (0..CONNECTIONS_MAX).map(|_| Client::new(&tenant)).collect();
        assert_eq!(503, Client::new(&tenant).read_answer().0);
        clients[0].token();
        clients.truncate(1);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !lock(&tenant.shared.open).is_empty() && lock(&tenant.shared.open).len() > 1 {
            assert!(Instant::now() < deadline, "the others' places are free again");
            thread::sleep(Duration::from_millis(1));
        }
        Client::new(&tenant).token();
    }

    #[test]
    fn stops_at_once_whatever_it_is_at() {
        let (tenant, _) = start(Faults { slow: Some(Duration::from_secs(60)), ..Faults::default() });
        let mut waiting = Client::new(&tenant);
        waiting.0.write_all(b"GET / HTTP/1.1\r\n\r\nGET").unwrap();
        let mut half = Client::new(&tenant);
        half.0.write_all(b"GET / HT").unwrap();
        let idle = Client::new(&tenant);
        thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        tenant.stop();
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        drop((waiting, half, idle));
    }
}
