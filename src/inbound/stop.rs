//! How the reader is told to stop, whatever it is blocked in.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tells the reader to stop, from any thread. Clones tell the same one.
///
/// Every place that the reader blocks in has its way out: a read ends with the connection's reading
/// half, which [`Stop::stop`] shuts; so does a TLS handshake or an upgrade; a wait is woken. There
/// are three exceptions, each with a bound of its own: a name lookup and a TCP connect take what is
/// left of their deadline, and a full inbox lasts until `calls` has made room.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Written under the lock, so that no connection can slip in between; read without it.
    stopped: AtomicBool,
    connection: Mutex<Option<TcpStream>>,
    wake: Condvar,
}

/// A connection that a stop shuts, until this is dropped.
#[derive(Debug)]
pub(super) struct Guarded<'a>(&'a Stop);

impl Stop {
    /// Returns one that has not been used.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Stops the reader, now and for ever. It returns at once; the reader still says goodbye to
    /// the tenant.
    pub fn stop(&self) {
        let connection = self.connection();
        self.shared.stopped.store(true, Ordering::Release);
        if let Some(tcp) = &*connection {
            shut(tcp);
        }
        self.shared.wake.notify_all();
    }

    /// Returns whether the reader is to stop, or has stopped.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// Waits for `time`, or less if a stop comes first. Returns whether it did.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let connection = self.connection();
        let waited = self.shared.wake.wait_timeout_while(connection, time, |_| !self.is_stopped());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.is_stopped()
    }

    /// Returns a guard for the connections that [`Stop::guard`] is shown.
    pub(super) fn guarded(&self) -> Guarded<'_> {
        Guarded(self)
    }

    /// Has a stop shut this connection instead of the one before; at once, if it has come already.
    ///
    /// Where the process has no descriptor left for that, the stop waits for the read to time out.
    pub(super) fn guard(&self, tcp: &TcpStream) {
        let mut connection = self.connection();
        if self.is_stopped() {
            shut(tcp);
        }
        *connection = tcp.try_clone().ok();
    }

    fn connection(&self) -> MutexGuard<'_, Option<TcpStream>> {
        // Every write is one assignment: what a panicking thread left is whole.
        self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guarded<'_> {
    /// Lets go of the connection, which stays open as long as there is a handle to it.
    fn drop(&mut self) {
        *self.0.connection() = None;
    }
}

/// Ends reading only: what is to be said in parting can still go out.
fn shut(tcp: &TcpStream) {
    let _ = tcp.shutdown(Shutdown::Read); // Fails where the peer was quicker.
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn stops_soon(stop: &Stop, blocked: impl FnOnce() + Send) {
        thread::scope(|scope| {
            let blocked = scope.spawn(blocked);
            thread::sleep(Duration::from_millis(50));
            let stopped = Instant::now();
            stop.stop();
            blocked.join().unwrap();
            assert!(stopped.elapsed() < Duration::from_millis(250), "{:?}", stopped.elapsed());
        });
    }

    #[test]
    fn wakes_a_read() {
        let (stop, (mut ours, _theirs)) = (Stop::new(), pair());
        stop.guard(&ours);
        stops_soon(&stop, || assert_eq!(0, ours.read(&mut [0; 9]).unwrap()));
    }

    #[test]
    fn wakes_a_wait() {
        let stop = Stop::new();
        assert!(!stop.wait(Duration::from_millis(1)));
        stops_soon(&stop, || assert!(stop.wait(Duration::from_secs(10))));
        assert!(stop.wait(Duration::from_secs(10)), "a stop is for ever");
    }

    #[test]
    fn shuts_a_connection_that_comes_after_it() {
        let (stop, (mut ours, _theirs)) = (Stop::new(), pair());
        stop.stop();
        stop.guard(&ours);
        assert_eq!(0, ours.read(&mut [0; 9]).unwrap());
    }

    #[test]
    fn lets_go_of_a_connection_that_has_ended() {
        let (stop, (ours, mut theirs)) = (Stop::new(), pair());
        let guarded = stop.guarded();
        stop.guard(&ours);
        drop(guarded);
        drop(ours);
        assert_eq!(0, theirs.read(&mut [0; 9]).unwrap(), "the peer sees the end");
    }
}
