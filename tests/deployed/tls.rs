//! Encryption and authentication in front of the server.

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![]
}
