//! Updates due, in flight, backing off, parked; the state of the endpoint they go to.

/// Names an update that is not yet acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UpdateId {
    pub(super) slot: u32,
    pub(super) turn: u32,
}

/// The state of the endpoint that updates go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// Updates flow.
    Up,
    /// It asked for a pause (`Retry-After`).
    Paused,
    /// It fails: one probe at a time.
    Down,
    /// It refuses a fresh token: one probe at a time.
    Refusing,
    /// There is no token to ask with.
    NoToken,
}
