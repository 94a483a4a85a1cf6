//! Judges a server's whole exchange. The input is the script of the peer, which can read and write
//! in any way.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("session", bytes));
