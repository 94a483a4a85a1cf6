//! A server program in any language, which prints its address when it is ready.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::process::{Lines, Process, ready_address, without_variables};

/// A running server program, which is killed on drop.
pub struct Program {
    _process: Process,
    /// Read on, because a program may fail if nobody reads what it prints.
    _stdout: Lines,
    /// The address that it printed.
    pub address: SocketAddr,
}

impl Program {
    /// Starts `command`, and waits until the program is ready.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let child = without_variables(command).stdout(Stdio::piped()).spawn();
        let mut process = Process(child.expect("the program starts"));
        let stdout = Lines::of(process.0.stdout.take().expect("a pipe"));
        let address = ready_address(&stdout.next_line());
        Self {
            _process: process,
            _stdout: stdout,
            address,
        }
    }
}
