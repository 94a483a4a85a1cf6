//! The units, booted by systemd.

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![]
}
