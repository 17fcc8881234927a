//! What dtmfd promises, tested from outside: one binary, so that it links once.

mod delivery;
mod graph;
mod process;
mod program;
mod script;
mod tidy;
mod tools;
mod walks;
