//! Judges a client's whole exchange. The input is the script of the server: any bytes, cut or failing
//! at any place. The bytes are also a message.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("client", bytes));
