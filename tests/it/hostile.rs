//! The real binary among clients that are slow, broken or malicious: honest ones are answered all the same,
//! and the process holds no more than it may. `DTMFD_LONG=1` makes it 5000 clients, and asserts times too.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::api::{Api, HONEST, Held, all_of, ask, press, set_soft_limit, soft_limit, statuses};
use crate::program::PATIENCE;

/// What SPEC.md and DESIGN.md allow for clients, and what honest ones are promised.
const DESCRIPTORS_MAX: usize = 64;
const P99_MAX: Duration = Duration::from_millis(50);

/// More than the 16 KiB for each of 64 connections, and tiny_http's threads: what is kept for good would pass it.
const GROWTH_MAX_KIB: usize = 8 * 1024;

/// What a hostile client does once it has sent how it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing, until it is thrown out.
    Wait,
    /// Another byte each second.
    Drip,
    /// As many bytes as go.
    Pour,
    /// It never looks at its answer, and comes anew after a while.
    Ignore,
    /// It resets the connection.
    Reset,
    /// It says that nothing more comes.
    HalfClose,
}

/// The kinds of hostile clients: their name, how they begin, how they go on. `{host}` is where the API is.
const KINDS: [(&str, &str, Then); 17] = [
    ("says nothing", "", Then::Wait),
    ("half a head", "GET /health HTTP/1.1\r\nHost: {host}\r\n", Then::Wait),
    ("half a body", "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4096\r\n\r\n{", Then::Wait),
    (
        "a body it waits to be asked for",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        Then::Wait,
    ),
    ("a byte a second", "GET /hea", Then::Drip),
    ("an endless header", "GET /health HTTP/1.1\r\nHost: {host}\r\nX: ", Then::Pour),
    ("an endless target", "GET /", Then::Pour),
    (
        "a body of 100 GB",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000000\r\n\r\n",
        Then::Pour,
    ),
    (
        "endless chunks",
        "POST /simulator HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        Then::Pour,
    ),
    ("sends on behind its request", "GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n", Then::Pour),
    ("never reads", "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n", Then::Ignore),
    ("pipelines 500 and never reads", "{pipeline}", Then::Ignore),
    ("resets at once", "", Then::Reset),
    ("resets in its request", "GET /health HT", Then::Reset),
    ("resets before its answer", "GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n", Then::Reset),
    ("half-closes in its request", "GET /health HT", Then::HalfClose),
    (
        "upgrades and goes on",
        "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        Then::Pour,
    ),
];

type Kind = (&'static str, &'static str, Then);

/// A hostile client's connection.
struct Client {
    stream: TcpStream,
    then: Then,
    last: Instant,
}

impl Client {
    fn open(address: SocketAddr, (_, begin, then): Kind) -> Option<Client> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_nonblocking(true).ok()?;
        let host = address.to_string();
        let pipeline = || format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(500);
        let begin = if begin == "{pipeline}" { pipeline() } else { begin.replace("{host}", &host) };
        let _ = stream.write(begin.as_bytes());
        match then {
            Then::Reset => {
                reset(stream);
                return None;
            }
            Then::HalfClose => drop(stream.shutdown(Shutdown::Write)),
            Then::Wait | Then::Drip | Then::Pour | Then::Ignore => (),
        }
        Some(Client { stream, then, last: Instant::now() })
    }

    /// Goes on being hostile. Returns whether the connection is still good for that.
    fn go_on(&mut self) -> bool {
        let written = match self.then {
            Then::Ignore => return self.last.elapsed() < Duration::from_millis(400),
            Then::Drip if self.last.elapsed() > Duration::from_secs(1) => {
                self.last = Instant::now();
                self.stream.write(b"x")
            }
            Then::Pour => self.stream.write(&[b'x'; 4096]),
            Then::Wait | Then::Drip | Then::Reset | Then::HalfClose => Ok(0),
        };
        let passing = |result: std::io::Result<usize>| {
            result.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true)
        };
        // Its answer, or the end of the connection, is what it waits for to come anew.
        passing(written)
            && self.stream.read(&mut [0; 512]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// Closes with an RST.
#[expect(unsafe_code, reason = "std has no stable way to set SO_LINGER")]
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option's value is a `linger`, whose size is given, and the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            std::ptr::from_ref(&linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(0, result);
    drop(stream);
}

/// Clients that keep attacking: who is thrown out comes back.
struct Siege {
    over: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    attackers: Vec<JoinHandle<()>>,
}

/// How many threads attack, and how many connections each opens before it has looked at all that it has. More
/// than 1000 a second in all would measure how soon this machine lets an honest client write what it has
/// connected for: after 39 others the gate gives up whoever has not.
const ATTACKERS: usize = 2;
const OPENED_A_ROUND: usize = 5;
const ROUND: Duration = Duration::from_millis(10);

impl Siege {
    /// Lays it, and returns once `n` connections of these kinds have been opened.
    fn lay(address: SocketAddr, kinds: &[Kind], n: usize) -> Siege {
        let (over, opened) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let attackers = (0..ATTACKERS).map(|attacker| {
            let (over, opened, kinds) = (Arc::clone(&over), Arc::clone(&opened), kinds.to_vec());
            thread::spawn(move || {
                let mut clients: Vec<Option<Client>> = (0..n / ATTACKERS).map(|_| None).collect();
                let mut in_turn = kinds.iter().cycle().skip(attacker);
                while !over.load(Ordering::Relaxed) {
                    let mut n_opened = 0;
                    let first = opened.load(Ordering::Relaxed) < n;
                    for place in &mut clients {
                        if place.as_mut().is_some_and(|client| !client.go_on()) {
                            *place = None;
                        }
                        if place.is_none() && (first || n_opened < OPENED_A_ROUND) {
                            let kind = in_turn.next().expect("it goes round for ever");
                            *place = Client::open(address, *kind);
                            opened.fetch_add(1, Ordering::Relaxed);
                            n_opened += 1;
                        }
                    }
                    thread::sleep(ROUND);
                }
            })
        });
        let attackers = attackers.collect();
        let begin = Instant::now();
        while opened.load(Ordering::Relaxed) < n {
            assert!(begin.elapsed() < PATIENCE, "the attackers cannot connect");
            thread::sleep(ROUND);
        }
        Siege { over, opened, attackers }
    }

    fn lift(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.attackers.into_iter().for_each(|attacker| attacker.join().expect("it does not panic"));
        self.opened.load(Ordering::Relaxed)
    }
}

/// What honest clients met with.
struct Met {
    asked: usize,
    answered: usize,
    p50: Duration,
    p99: Duration,
    most: Held,
}

/// Asks `n` times, one after the other, and looks at what the process holds meanwhile.
fn ask_honestly(api: &Api, n: usize) -> Met {
    let mut times = Vec::with_capacity(n);
    let mut answered = 0;
    let mut most = api.held();
    for (at, kind) in HONEST.into_iter().cycle().take(n).enumerate() {
        let begin = Instant::now();
        answered += usize::from(ask(api.address, kind));
        times.push(begin.elapsed());
        if at % 25 == 0 {
            let held = api.held();
            most.descriptors = most.descriptors.max(held.descriptors);
            most.threads = most.threads.max(held.threads);
            most.resident_kib = most.resident_kib.max(held.resident_kib);
        }
    }
    times.sort();
    Met { asked: n, answered, p50: times[n / 2], p99: times[n * 99 / 100], most }
}

/// Returns what the process holds when nobody has asked anything for a while but who warmed it up.
fn at_rest(api: &Api) -> Held {
    assert_eq!(300, ask_honestly(api, 300).answered);
    let begin = Instant::now();
    let mut held = api.held();
    // The last connections linger for a quarter of a second.
    while begin.elapsed() < Duration::from_secs(1) {
        thread::sleep(ROUND);
        let now = api.held();
        held.descriptors = held.descriptors.min(now.descriptors);
        held.resident_kib = held.resident_kib.max(now.resident_kib);
    }
    held
}

fn check(name: &str, met: &Met, rest: Held, opened: usize) {
    let (descriptors, grown) = (
        met.most.descriptors.saturating_sub(rest.descriptors),
        met.most.resident_kib.saturating_sub(rest.resident_kib),
    );
    let _ = writeln!(
        std::io::stderr(),
        "hostile: {name}: {opened} connections, {} of {} honest requests answered, p50 {:?}, p99 {:?}, \
         {descriptors} descriptors, {} threads, RSS {} KiB (+{grown})",
        met.answered,
        met.asked,
        met.p50,
        met.p99,
        met.most.threads,
        met.most.resident_kib,
    );
    let unanswered = met.asked - met.answered;
    // One of a thousand; of fewer, one.
    assert!(
        unanswered * 1000 <= met.asked.max(1000),
        "{name}: {unanswered} of {} were not answered",
        met.asked
    );
    assert!(descriptors <= DESCRIPTORS_MAX, "{name}: {descriptors} descriptors are held for clients");
    assert!(grown <= GROWTH_MAX_KIB, "{name}: it has grown by {grown} KiB");
    if is_long() {
        assert!(met.p99 <= P99_MAX, "{name}: p99 is {:?}", met.p99);
    }
}

fn is_long() -> bool {
    std::env::var_os("DTMFD_LONG").is_some()
}

/// Lets this process have enough descriptors for the attackers' ends.
fn allow_descriptors(n: usize) {
    let pid = std::process::id();
    if soft_limit(pid, "Max open files").parse().is_ok_and(|now: usize| now < n) {
        set_soft_limit(pid, "nofile", &n.to_string(), None);
    }
}

/// Sieges are laid one after the other: two at once would measure the machine.
static SIEGES: Mutex<()> = Mutex::new(());

#[test]
fn thousands_of_hostile_clients_keep_no_honest_one_waiting() {
    let (n, n_honest) = if is_long() { (5000, 10_000) } else { (1000, 2000) };
    let _alone = SIEGES.lock().unwrap_or_else(PoisonError::into_inner);
    allow_descriptors(n + 1000);
    let api = Api::start("thousands");
    let rest = at_rest(&api);
    let half_open: Vec<_> =
        KINDS.into_iter().filter(|(.., then)| [Then::Wait, Then::Drip].contains(then)).collect();
    for (name, kinds) in [("half-open", &half_open[..]), ("every kind", &KINDS)] {
        let siege = Siege::lay(api.address, kinds, n);
        let met = ask_honestly(&api, n_honest);
        check(&format!("{n} at once, {name}"), &met, rest, siege.lift());
    }
    // All that was held is let go of, within the 3 s that a request has to arrive.
    let begin = Instant::now();
    while api.held().descriptors > rest.descriptors {
        assert!(begin.elapsed() < PATIENCE, "{:?} are held after the siege, not {rest:?}", api.held());
        thread::sleep(ROUND);
    }
    assert!(api.is_well());
    api.end();
}

#[test]
fn no_kind_of_hostile_client_keeps_an_honest_one_waiting() {
    let _alone = SIEGES.lock().unwrap_or_else(PoisonError::into_inner);
    let api = Api::start("kinds");
    let rest = at_rest(&api);
    for kind in KINDS {
        let siege = Siege::lay(api.address, &[kind], 100);
        let met = ask_honestly(&api, if is_long() { 1000 } else { 150 });
        check(kind.0, &met, rest, siege.lift());
    }
    api.end();
}

/// SPEC.md, section 5: a slow client gets its answer where it is honest, and a 408 where it never ends.
#[test]
fn who_drips_a_request_has_three_seconds() {
    let api = Api::start("drips");
    let whole = press(api.address, "slow");
    let mut stream = api.connect();
    for piece in whole.as_bytes().chunks(whole.len() / 8) {
        stream.write_all(piece).expect("it is in time");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(vec![200], statuses(&all_of(&mut stream)));
    let begin = Instant::now();
    let mut stream = api.connect();
    let mut answer = [0; 512];
    stream.set_read_timeout(Some(Duration::from_millis(250))).expect("a timeout can be set");
    let n = loop {
        assert!(begin.elapsed() < PATIENCE, "it may go on for ever");
        let _ = stream.write(b"G");
        match stream.read(&mut answer) {
            Ok(n) => break n,
            Err(error) => assert_eq!(ErrorKind::WouldBlock, error.kind()),
        }
    };
    assert_eq!(vec![408], statuses(&answer[..n]));
    assert!(begin.elapsed() >= Duration::from_secs(3), "408 after {:?}", begin.elapsed());
    api.end();
}
