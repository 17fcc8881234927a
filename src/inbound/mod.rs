//! From the tenant's voice WebSocket to the inbox: thread `reader`.

pub mod message;
pub mod policy;
