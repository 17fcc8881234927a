//! Rows of the database: `src/fuzzing/rows.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dtmfd::fuzzing::row(bytes));
