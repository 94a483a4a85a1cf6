//! Judges how a client reads a reply. The input is the script of the server: any bytes, cut or
//! failing at any place.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("client", bytes));
