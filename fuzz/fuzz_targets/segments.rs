//! Judges the framing. The input is the script of a stream: how it is cut, interrupted, timed out
//! or reset.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("segments", bytes));
