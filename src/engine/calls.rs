//! Every call in progress, as one state machine that does no I/O and reads no clock.

/// Names a call in progress. It is never reused while anything may still speak of the call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId {
    pub(super) slot: u32,
    pub(super) turn: u32,
}

/// Every call in progress.
#[derive(Debug)]
pub struct Calls {}
