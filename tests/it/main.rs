//! What dtmfd promises, tested from outside: one binary, so that it links once.

mod api;
mod canary;
mod conformance;
mod delivery;
mod differential;
mod graph;
mod hostile;
mod keeping;
mod kill;
mod pki;
mod pressure;
mod process;
mod program;
mod proxy;
mod random_tree;
mod reference;
mod script;
mod secrets;
mod simulation;
mod store;
mod tenant;
mod tidy;
mod tls;
mod tools;
mod walks;
mod wire;
