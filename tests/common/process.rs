//! A child process that is killed on drop, and the lines that it writes.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command};
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

/// The environment variables of the options of `upcase-server`.
const VARIABLES: [&str; 4] = [
    "UPCASE_BIND",
    "UPCASE_LOG",
    "UPCASE_MAX_CONNECTIONS",
    "UPCASE_TIMEOUT",
];

/// Hides from `command` the variables of the server's options that these tests were started with.
pub fn without_variables(command: &mut Command) -> &mut Command {
    VARIABLES
        .iter()
        .fold(command, |command, name| command.env_remove(name))
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

/// The address in the line that a server prints when it is ready (SPEC LOG-1, LOG-6).
#[track_caller]
pub fn ready_address(line: &str) -> SocketAddr {
    let object: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let address = match &object {
        Some(object) => object["listening"].as_str(),
        None => line.strip_prefix("Servidor rodando em "),
    };
    let address = address.and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("not the line of a server that is ready: {line}"))
}
