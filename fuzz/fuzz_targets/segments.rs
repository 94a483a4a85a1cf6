//! The framing, over any course that a stream may take.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("segments", bytes));
