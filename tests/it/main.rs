//! What dtmfd promises, tested from outside: one binary, so that it links once.

mod canary;
mod delivery;
mod differential;
mod graph;
mod pki;
mod process;
mod program;
mod proxy;
mod random_tree;
mod reference;
mod script;
mod secrets;
mod tenant;
mod tidy;
mod tls;
mod tools;
mod walks;
mod wire;
