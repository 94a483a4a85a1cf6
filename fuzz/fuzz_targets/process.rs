//! Any bytes are a request; all the laws hold for it, agreement with the naive model included.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|request: &[u8]| {
    if let Err(violation) = upcase::laws::judge(&upcase::process, request) {
        panic!("{violation}");
    }
});
