//! What a client sends to the local API: `src/local/fuzzing.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dtmfd::fuzzing::gate(bytes));
