//! Bringing updates to their interactions: what is sent and what an answer means, and the workers that send it.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod request;
mod worker;

pub use request::{body, idempotency_key, outcome, path};
pub use worker::{Client, Cutter, work};
