//! dtmfd: from a key press on a call to the variables of its interaction.
//!
//! Everything that dtmfd decides is decided by [`engine`], which is pure and told the time. The rest
//! carries events to it and its outputs away:
//!
//! ```text
//! CXone WebSocket ─▶ inbound ──┐                          ┌─(jobs)─▶ outbound ─▶ CXone REST
//!                              ├─(inbox)─▶ driver ⇄ engine ─(commit)─▶ store ─▶ SQLite
//! curl, keypad ───▶ local ─────┘     ▲                                  │
//!                                    └──────── AttemptFinished ─────────┘
//! ```

pub mod cli;
pub mod config;
pub mod error;
pub mod serve;

pub mod engine;
pub mod press;

pub mod call_id;
pub mod driver;
pub mod history;
pub mod inbox;

pub mod inbound;
pub mod outbound;
pub mod tenant;

pub mod local;
pub mod store;
pub mod tree;

pub mod observe;
pub mod platform;
pub mod sandbox;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
