//! A client's reading half, against whatever a server may send.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("client", bytes));
