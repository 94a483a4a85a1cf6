//! Attacks, as a well-behaved client beside them sees them.

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![]
}
