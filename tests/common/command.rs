//! Checks whether a command works here.

use std::process::{Command, Stdio};

/// Whether `command` can be run here, and succeeds.
pub fn succeeds(command: &[&str]) -> bool {
    let run = Command::new(command[0])
        .args(&command[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}
