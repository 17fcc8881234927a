//! The voice WebSocket: what callers do, on its way to whoever listens.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::{Stop, lock};
use crate::engine::Key;

/// How many events wait for a WebSocket to open: some thousands of digits, far more than anyone
/// presses while it is gone.
const WAITING_MAX: usize = 4096;
/// How often a WebSocket looks for pings, its cut and the stop; an event wakes it at once.
const ROUND: Duration = Duration::from_millis(20);
/// How long a cut WebSocket goes on reading: closing a socket with unread bytes sends a reset, which
/// would destroy what was written before the cut.
const LINGER: Duration = Duration::from_millis(500);
/// The most bytes of a frame from the client, which has nothing to say but pings.
const MESSAGE_MAX: usize = 64 * 1024;

/// As many events wait for a WebSocket as the stand-in keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{WAITING_MAX} events wait already for a voice WebSocket to open")]
pub struct QueueFull;

/// What a caller does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    Start,
    Press(Key),
    HangUp,
}

/// How a voice WebSocket ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// We cut it.
    Cut,
    /// The client left, a newer WebSocket took over, or the stand-in stops.
    Left,
}

/// The events not yet sent, and the right to send them.
#[derive(Debug, Default)]
pub(super) struct Voice {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Held by the WebSocket that sends: an event goes to one of them, and the next begins where the
    /// last one stopped.
    floor: Mutex<()>,
    /// Counts WebSockets: all but the newest leave.
    newest: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<String>,
    last_ms: u64,
}

/// The WebSocket that has the floor.
struct Line {
    socket: WebSocket<TcpStream>,
    /// Whether the first event that waits is in the socket's buffer, or part of it.
    begun: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digit: Option<char>,
    call_id: &'a str,
    timestamp: u64,
}

impl Voice {
    /// Sends what a caller did, or keeps it until a WebSocket opens.
    ///
    /// # Errors
    ///
    /// Returns [`QueueFull`] if too many are kept already.
    pub(super) fn tell(&self, call: &str, deed: Deed) -> Result<(), QueueFull> {
        let (r#type, digit) = match deed {
            Deed::Start => ("call_started", None),
            Deed::Press(key) => ("dtmf", Some(key.symbol())),
            Deed::HangUp => ("call_ended", None),
        };
        let mut waiting = lock(&self.waiting);
        if waiting.events.len() == WAITING_MAX {
            return Err(QueueFull);
        }
        // Two events never share a timestamp: they would pass for one that came twice.
        let timestamp = unix_ms().max(waiting.last_ms + 1);
        waiting.last_ms = timestamp;
        let event = Event { r#type, digit, call_id: call, timestamp };
        let text = serde_json::to_string(&event).expect("strings and numbers are always JSON");
        waiting.events.push_back(text);
        self.arrived.notify_all();
        Ok(())
    }

    /// Returns whether all that was told has been sent.
    pub(super) fn is_told(&self) -> bool {
        lock(&self.waiting).events.is_empty()
    }

    /// Sends events over `stream`, which has been upgraded and of which `read` was read beyond that,
    /// until it ends.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        read: Vec<u8>,
        drop_every: Option<Duration>,
        stop: &Stop,
    ) -> Ended {
        let cut_at = drop_every.map(|drop_every| Instant::now() + drop_every);
        let mine = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let _floor = lock(&self.floor);
        if stream.set_nonblocking(true).is_err() {
            return Ended::Left;
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let socket = WebSocket::from_partially_read(stream, read, Role::Server, Some(config));
        let mut line = Line { socket, begun: false };
        while !stop.is_set() && self.newest.load(Ordering::Relaxed) == mine {
            if cut_at.is_some_and(|cut_at| Instant::now() >= cut_at) {
                cut(line.socket.get_mut(), stop);
                return Ended::Cut;
            }
            match read_all(&mut line.socket).and_then(|()| self.send_all(&mut line)) {
                Ok(()) => self.wait(cut_at),
                // The client reads slower than callers press.
                Err(error) if is_would_block(&error) => _ = stop.pause(ROUND),
                Err(_) => return Ended::Left,
            }
        }
        Ended::Left
    }

    /// Sends what waits. An event leaves the queue only once the system has all of it, so that
    /// otherwise the next WebSocket sends it.
    fn send_all(&self, line: &mut Line) -> tungstenite::Result<()> {
        loop {
            if !line.begun {
                let Some(event) = lock(&self.waiting).events.front().cloned() else { return Ok(()) };
                line.socket.write(Message::text(event))?;
                line.begun = true;
            }
            line.socket.flush()?;
            lock(&self.waiting).events.pop_front();
            line.begun = false;
        }
    }

    /// Waits until there is something to send, or for one round.
    fn wait(&self, cut_at: Option<Instant>) {
        let until_cut = cut_at.map(|cut_at| cut_at.saturating_duration_since(Instant::now()));
        let round = until_cut.unwrap_or(ROUND).min(ROUND);
        drop(
            self.arrived.wait_timeout_while(lock(&self.waiting), round, |waiting| waiting.events.is_empty()),
        );
    }
}

/// Reads what the client has sent, which answers its pings.
fn read_all(socket: &mut WebSocket<TcpStream>) -> tungstenite::Result<()> {
    loop {
        match socket.read() {
            Ok(_) => (),
            Err(error) if is_would_block(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn is_would_block(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Ends the stream without a close frame, so that all that was written still arrives.
fn cut(stream: &mut TcpStream, stop: &Stop) {
    let end = Instant::now() + LINGER;
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    while Instant::now() < end && !stop.is_set() {
        match stream.read(&mut [0; 512]) {
            Ok(0) => return,
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => _ = stop.pause(ROUND),
            Err(_) => return,
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::{self, JoinHandle};

    use tungstenite::Error;

    use super::*;

    struct Scene {
        voice: Arc<Voice>,
        stop: Stop,
        _running: crossbeam_channel::Sender<()>,
    }

    impl Scene {
        fn new() -> Scene {
            let (running, stop) = Stop::new();
            Scene { voice: Arc::default(), stop, _running: running }
        }

        fn press(&self, keys: &str) {
            for key in keys.chars() {
                let key = Key::parse(key).unwrap();
                self.voice.tell("c", Deed::Press(key)).unwrap();
            }
        }

        fn open(&self, drop_every: Option<Duration>) -> (WebSocket<TcpStream>, JoinHandle<Ended>) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let server = listener.accept().unwrap().0;
            let (voice, stop) = (Arc::clone(&self.voice), self.stop.clone());
            let thread = thread::spawn(move || voice.serve(server, Vec::new(), drop_every, &stop));
            (WebSocket::from_raw_socket(client, Role::Client, None), thread)
        }
    }

    fn read_digit(client: &mut WebSocket<TcpStream>) -> (String, u64) {
        loop {
            if let Message::Text(text) = client.read().unwrap() {
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                let digit = event["digit"].as_str().unwrap_or("none");
                return (digit.to_owned(), event["timestamp"].as_u64().unwrap());
            }
        }
    }

    fn read_digits(client: &mut WebSocket<TcpStream>, n: usize) -> String {
        (0..n).map(|_| read_digit(client).0).collect()
    }

    #[test]
    fn writes_the_events_as_the_tenant_does() {
        let voice = Voice::default();
        let key = Key::parse('#').unwrap();
        for deed in [Deed::Start, Deed::Press(key), Deed::HangUp] {
            voice.tell("c", deed).unwrap();
        }
        let waiting = lock(&voice.waiting);
        let last_ms = waiting.last_ms;
        assert_eq!(
            vec![
                format!(r#"{{"type":"call_started","callId":"c","timestamp":{}}}"#, last_ms - 2),
                format!(r##"{{"type":"dtmf","digit":"#","callId":"c","timestamp":{}}}"##, last_ms - 1),
                format!(r#"{{"type":"call_ended","callId":"c","timestamp":{last_ms}}}"#),
            ],
            waiting.events.iter().cloned().collect::<Vec<_>>()
        );
    }

    #[test]
    fn keeps_events_until_a_websocket_opens_and_not_without_end() {
        let scene = Scene::new();
        assert!(scene.voice.is_told());
        scene.press("1A1");
        assert!(!scene.voice.is_told());
        let (mut client, _thread) = scene.open(None);
        let events: Vec<_> = (0..3).map(|_| read_digit(&mut client)).collect();
        assert!(events.is_sorted_by(|(_, earlier), (_, later)| earlier < later), "{events:?}");
        scene.press("23");
        assert_eq!("23", read_digits(&mut client, 2));

        let voice = Voice::default();
        for _ in 0..WAITING_MAX {
            voice.tell("c", Deed::Start).unwrap();
        }
        assert_eq!(Err(QueueFull), voice.tell("c", Deed::Start));
    }

    #[test]
    fn answers_pings() {
        let scene = Scene::new();
        let (mut client, _thread) = scene.open(None);
        client.send(Message::Ping("hello".into())).unwrap();
        assert_eq!(Message::Pong("hello".into()), client.read().unwrap());
    }

    #[test]
    fn is_cut_without_a_close_frame_and_loses_nothing() {
        let scene = Scene::new();
        let (mut client, thread) = scene.open(Some(Duration::from_millis(50)));
        scene.press("12");
        thread::sleep(Duration::from_millis(100));
        scene.press("34");
        // Unread until now, and a ping of ours may lie unread over there: both must not matter.
        _ = client.send(Message::Ping("hello".into()));
        assert_eq!("12", read_digits(&mut client, 2));
        let error = client.read().unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        drop(client);
        assert_eq!(Ended::Cut, thread.join().unwrap());
        assert_eq!("34", read_digits(&mut scene.open(None).0, 2));
    }

    #[test]
    fn a_newer_websocket_takes_over() {
        let scene = Scene::new();
        let (mut first, thread) = scene.open(None);
        scene.press("1");
        assert_eq!("1", read_digits(&mut first, 1));
        let (mut second, _thread) = scene.open(None);
        assert_eq!(Ended::Left, thread.join().unwrap());
        scene.press("2");
        assert_eq!("2", read_digits(&mut second, 1));
        assert!(first.read().is_err());
    }

    #[test]
    fn leaves_at_once_when_stopped() {
        let scene = Scene::new();
        let (_client, thread) = scene.open(None);
        drop(scene);
        assert_eq!(Ended::Left, thread.join().unwrap());
    }
}
