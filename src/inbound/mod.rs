//! From the tenant's voice WebSocket to the inbox: thread `reader`.
//!
//! [`message`] and [`policy`] are pure: what a message says, when to ping and when to come back.
//! [`connect`] opens the WebSocket and [`Reader`] holds it until its [`Stop`] is used.

#[cfg(test)]
mod autobahn;
pub mod connect;
mod counts;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod message;
pub mod policy;
mod reader;
mod session;
mod stop;
mod tap;
pub mod upgrade;

pub use counts::ReaderCounts;
pub use reader::Reader;
pub use stop::Stop;
