//! Judges byte literals. The literal of any bytes is printable, on one line and of bounded length,
//! and can be read back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("escape", bytes));
