//! An answer of the token endpoint: `src/tenant/fuzzing.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dtmfd::fuzzing::token(bytes));
