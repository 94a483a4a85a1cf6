//! A bounded wait for a state that nothing announces.

use std::thread;
use std::time::{Duration, Instant};

use super::process::PATIENCE;

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_in_time(condition), "not within {PATIENCE:?}: {what}");
}

/// Waits until `condition` holds, and returns whether it did in time.
pub fn holds_in_time(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
