//! A message of the voice WebSocket: `src/inbound/fuzzing.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dtmfd::fuzzing::message(bytes));
