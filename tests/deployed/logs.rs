//! The log in a file, in the journal and in a pipe.

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![]
}
