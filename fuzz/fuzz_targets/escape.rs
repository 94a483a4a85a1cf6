//! Any bytes have a byte literal: printable, one line, bounded, readable back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upcase::conformance::fuzz::run("escape", bytes));
