//! The local API.

mod head;
mod problem;
mod request;
