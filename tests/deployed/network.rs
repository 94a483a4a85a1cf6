//! A bad network between client and server.

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![]
}
