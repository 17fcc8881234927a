//! What dtmfd promises, tested from outside: one binary, so that it links once.

mod canary;
mod delivery;
mod differential;
mod graph;
mod keeping;
mod process;
mod program;
mod random_tree;
mod reference;
mod script;
mod simulation;
mod tidy;
mod tools;
mod walks;
