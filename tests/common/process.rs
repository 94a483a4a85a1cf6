//! A child process that is killed on drop, and the lines that it writes.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// The longest wait for anything. Only a broken program takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A child process, which is killed on drop.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of an output. A thread reads them, so that the wait for a line is bounded.
pub struct Lines(pub Receiver<String>);

impl Lines {
    /// Reads `output` from now on.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Self(receiver)
    }

    /// The next line.
    #[track_caller]
    pub fn next_line(&self) -> String {
        self.0.recv_timeout(PATIENCE).expect("a line of output")
    }
}

/// The address in the line that a server prints when it is ready (SPEC LOG-1).
#[track_caller]
pub fn ready_address(line: &str) -> SocketAddr {
    let address = line.strip_prefix("Servidor rodando em ");
    let address = address.and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("not the line of LOG-1: {line}"))
}
