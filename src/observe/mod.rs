//! What operators see of the service: logs, and the state of its links.

pub mod blot;
pub mod latency;
pub mod log;
pub mod status;
