//! Judges the transformation by every law, including agreement with the reference. The input is a
//! request.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("process", bytes));
