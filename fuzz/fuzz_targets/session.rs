//! A server's whole exchange with a peer that does whatever it likes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("session", bytes));
