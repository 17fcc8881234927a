//! An answer of the API: `src/outbound/fuzzing.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dtmfd::fuzzing::answer(bytes));
