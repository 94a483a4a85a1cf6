//! Any bytes are a request: every law holds, agreement with the naive model included.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("process", bytes));
