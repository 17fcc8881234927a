//! Name lookups with a deadline, remembered.
//!
//! getaddrinfo has no deadline and can't be called off, so one thread of its own does it, one name at a time, and
//! whoever asks waits with a deadline. Each name is in the queue at most once, however many wait for it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

/// How long an answer counts as fresh: long enough for a burst of connections, short enough to follow a tenant that
/// moves (getaddrinfo doesn't tell the record's own time to live).
const FRESH: Duration = Duration::from_secs(30);

/// How long a lookup may take where an old answer could be used instead: it leaves the caller time to connect.
const STALE_PATIENCE: Duration = Duration::from_secs(1);

/// How many names are remembered. There are three endpoints and a proxy; more would be a mistake of ours.
const NAMES_MAX: usize = 64;

/// How many addresses of a name are kept.
const ADDRESSES_MAX: usize = 16;

/// Why a name has no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver says so.
    #[error("{0}")]
    Failed(String),
    /// The system's resolver did not answer in time.
    #[error("no answer in time")]
    Late,
    /// The thread that looks names up is gone, or has too many names to look up.
    #[error("name lookups are not available")]
    Unavailable,
}

/// Asks for addresses; any number of threads may hold one.
#[derive(Clone, Debug)]
pub struct Resolver {
    names: Arc<Names>,
    queue: Sender<String>,
}

/// Does the lookups: what the thread "resolver" runs.
#[derive(Debug)]
pub struct Lookups {
    names: Arc<Names>,
    queue: Receiver<String>,
}

#[derive(Debug)]
struct Names {
    known: Mutex<Vec<Name>>,
    /// A lookup has come back.
    landed: Condvar,
    fresh: Duration,
}

#[derive(Debug)]
struct Name {
    host: String,
    /// The last lookup that found something, with its addresses at port 0.
    found: Option<(Instant, Vec<SocketAddr>)>,
    /// Why the last lookup failed, if it did.
    failed: Option<String>,
    /// Since when a lookup is under way.
    asked: Option<Instant>,
    /// How many lookups have come back.
    turn: u64,
}

/// Returns the asking and the answering side of name lookups.
pub fn resolver() -> (Resolver, Lookups) {
    resolver_with(FRESH)
}

fn resolver_with(fresh: Duration) -> (Resolver, Lookups) {
    // A name is in the queue at most once and only while it is known, so this never fills.
    let (asking, asked) = bounded(NAMES_MAX);
    let names = Arc::new(Names { known: Mutex::default(), landed: Condvar::new(), fresh });
    (Resolver { names: Arc::clone(&names), queue: asking }, Lookups { names, queue: asked })
}

impl Resolver {
    /// Returns the addresses of `host` at `port`, at least one, in the order the system prefers them.
    ///
    /// An IP address (IPv6 without brackets) is its own answer. A lookup that fails, or isn't back in time (1 s where
    /// there is something to fall back to), gives the last answer there was, however old: an address that worked
    /// is better than none.
    ///
    /// # Errors
    ///
    /// Returns why there is no address.
    pub fn resolve(&self, host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let mut known = self.names.known();
        let index = self.ask(&mut known, host)?;
        let (turn, mut deadline) = (known[index].turn, deadline);
        if let (Some(_), Some(asked)) = (&known[index].found, known[index].asked) {
            deadline = deadline.min(asked + STALE_PATIENCE);
        }
        loop {
            let Some(name) = known.iter().find(|name| name.host == host) else {
                return Err(ResolveError::Unavailable); // Forgotten for others meanwhile.
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let landed = name.asked.is_none() || name.turn != turn;
            if landed || left.is_zero() {
                return match (&name.found, &name.failed) {
                    (Some((_, addresses)), _) => {
                        Ok(addresses.iter().map(|address| with_port(*address, port)).collect())
                    }
                    (None, Some(why)) if landed => Err(ResolveError::Failed(why.clone())),
                    (None, _) => Err(ResolveError::Late),
                };
            }
            known = self.names.landed.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sees to it that `host` is known, and looked up where its answer isn't fresh. Returns its place.
    fn ask(&self, known: &mut Vec<Name>, host: &str) -> Result<usize, ResolveError> {
        let index = match known.iter().position(|name| name.host == host) {
            Some(index) => index,
            None => {
                if known.len() >= NAMES_MAX {
                    let idle = known.iter().position(|name| name.asked.is_none());
                    known.remove(idle.ok_or(ResolveError::Unavailable)?);
                }
                known.push(Name { host: host.to_owned(), found: None, failed: None, asked: None, turn: 0 });
                known.len() - 1
            }
        };
        let now = Instant::now();
        let name = &mut known[index];
        let is_fresh = name.found.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < self.names.fresh);
        if !is_fresh && name.asked.is_none() {
            match self.queue.try_send(host.to_owned()) {
                Ok(()) => name.asked = Some(now),
                Err(_) if name.found.is_some() => (), // An old answer will do.
                Err(_) => return Err(ResolveError::Unavailable),
            }
        }
        Ok(index)
    }
}

impl Lookups {
    /// Looks names up until every [`Resolver`] is gone.
    pub fn run(self) {
        self.run_with(|host| (host, 0).to_socket_addrs().map(Iterator::collect));
    }

    fn run_with(self, mut look_up: impl FnMut(&str) -> io::Result<Vec<SocketAddr>>) {
        for host in &self.queue {
            let answer = look_up(&host).map(|mut addresses| {
                addresses.truncate(ADDRESSES_MAX);
                addresses
            });
            let mut known = self.names.known();
            let Some(name) = known.iter_mut().find(|name| name.host == host) else { continue };
            name.asked = None;
            name.turn += 1;
            name.failed = match answer {
                Ok(addresses) if addresses.is_empty() => Some("the name has no address".to_owned()),
                Ok(addresses) => {
                    name.found = Some((Instant::now(), addresses));
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            drop(known);
            self.names.landed.notify_all();
        }
    }
}

impl Names {
    fn known(&self) -> MutexGuard<'_, Vec<Name>> {
        // Nothing that is done under the lock can panic halfway through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_its_own_answer_and_needs_no_thread() {
        let (resolver, lookups) = resolver();
        drop(lookups);
        for (host, expected) in [("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7")] {
            assert_eq!(Ok(vec![address(expected)]), resolver.resolve(host, 7, soon()));
        }
        assert_eq!(Err(ResolveError::Unavailable), resolver.resolve("x", 7, soon()));
    }

    #[test]
    fn the_system_knows_localhost_and_the_thread_ends_with_the_last_resolver() {
        let (resolver, lookups) = resolver();
        let thread = thread::spawn(move || lookups.run());
        let found = resolver.resolve("localhost", 80, soon()).expect("localhost");
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
        drop(resolver);
        thread.join().expect("no panic");
    }

    #[test]
    fn many_who_ask_at_once_cause_one_lookup_and_its_answer_is_remembered() {
        let (resolver, lookups) = resolver();
        let (go, gate) = bounded::<()>(1);
        let thread = thread::spawn(move || {
            let mut count = 0;
            lookups.run_with(|_| {
                gate.recv_timeout(Duration::from_secs(5)).expect("the gate opens");
                count += 1;
                Ok(vec![address("10.0.0.1:0")])
            });
            count
        });
        let askers = [(); 8].map(|()| {
            let resolver = resolver.clone();
            thread::spawn(move || resolver.resolve("x", 1, soon()))
        });
        go.send(()).expect("the thread waits");
        for asker in askers {
            assert_eq!(Ok(vec![address("10.0.0.1:1")]), asker.join().expect("no panic"));
        }
        assert_eq!(Ok(vec![address("10.0.0.1:2")]), resolver.resolve("x", 2, soon()));
        drop(resolver);
        assert_eq!(1, thread.join().expect("no panic"));
    }

    #[test]
    fn an_old_answer_is_better_than_none() {
        let (resolver, lookups) = resolver_with(Duration::ZERO);
        let (go, gate) = bounded::<io::Result<Vec<SocketAddr>>>(4);
        let thread = thread::spawn(move || {
            lookups.run_with(|_| gate.recv_timeout(Duration::from_secs(5)).expect("an answer"));
        });
        go.send(Err(io::Error::other("down"))).expect("the thread waits");
        assert_eq!(Err(ResolveError::Failed("down".to_owned())), resolver.resolve("x", 1, soon()));
        go.send(Ok(Vec::new())).expect("the thread waits");
        let error = ResolveError::Failed("the name has no address".to_owned());
        assert_eq!(Err(error), resolver.resolve("x", 1, soon()));
        let late = Instant::now() + Duration::from_millis(20);
        assert_eq!(Err(ResolveError::Late), resolver.resolve("x", 1, late));
        go.send(Ok(vec![address("10.0.0.1:0")])).expect("the thread waits");
        let found = Ok(vec![address("10.0.0.1:1")]);
        assert_eq!(found, resolver.resolve("x", 1, soon()));
        go.send(Err(io::Error::other("down"))).expect("the thread waits");
        assert_eq!(found, resolver.resolve("x", 1, soon()), "after a failure");
        let late = Instant::now() + Duration::from_millis(20);
        assert_eq!(found, resolver.resolve("x", 1, late), "a late answer");
        go.send(Err(io::Error::other("down"))).expect("the thread waits");
        drop((resolver, go));
        thread.join().expect("no panic");
    }

    #[test]
    fn remembers_a_bounded_number_of_names() {
        let (resolver, lookups) = resolver();
        let thread = thread::spawn(move || lookups.run_with(|_| Ok(vec![address("10.0.0.1:0")])));
        for number in 0..2 * NAMES_MAX {
            resolver.resolve(&format!("h{number}"), 1, soon()).expect("an address");
        }
        assert_eq!(NAMES_MAX, resolver.names.known().len());
        drop(resolver);
        thread.join().expect("no panic");
    }
}
