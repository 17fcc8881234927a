//! A stand-in for the tenant, in our own process on loopback, so that everything works with no account.
//!
//! It speaks the tenant's side of SPEC.md section 4 over plain HTTP and WebSocket: token, voice
//! WebSocket, variables. It knows nothing of the engine or of the client that talks to it, and it can
//! be told to misbehave in the ways that tenants do ([`Faults`]).

mod exchange;
mod faults;
mod press_spec;
mod presses;
mod store;
mod tenant;
mod voice;

pub use faults::{DurationError, Fail, FailError, Faults, parse_duration};
pub use press_spec::{PressSpec, PressSpecError};
pub use presses::Callers;
pub use store::Post;
pub use tenant::{Seen, StandIn};
pub use voice::QueueFull;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

/// Tells every thread of the stand-in to end: it is set by dropping the sender.
#[derive(Clone, Debug)]
struct Stop(Receiver<()>);

impl Stop {
    fn new() -> (Sender<()>, Stop) {
        let (sender, receiver) = crossbeam_channel::bounded(0);
        (sender, Stop(receiver))
    }

    fn is_set(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits for `duration`, or less once the stop is set; returns whether it is.
    fn pause(&self, duration: Duration) -> bool {
        self.0.recv_timeout(duration) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Locks, also where a thread has panicked meanwhile: what the stand-in keeps is whole after every
/// statement, and a fault in an observer shouldn't stop the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
