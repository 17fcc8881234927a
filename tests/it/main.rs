//! What dtmfd promises, tested from outside: one binary, so that it links once.

mod api;
mod canary;
mod conformance;
mod delivery;
mod differential;
mod graph;
mod hostile;
mod pressure;
mod process;
mod program;
mod random_tree;
mod reference;
mod script;
mod tidy;
mod tools;
mod walks;
