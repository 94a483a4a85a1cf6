//! `upcase-server` as a child process, with its outputs and signals.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Once};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::connection::Connection;
use super::process::{Lines, PATIENCE, Process, ready_address};

/// A running `upcase-server`, which is killed on drop.
pub struct Server {
    process: Process,
    address: Option<SocketAddr>,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Server {
    /// Starts `command`, which becomes the server, and waits until it is ready.
    #[track_caller]
    pub fn start_by(command: Command) -> Self {
        let server = Self::spawn(command, Stdio::piped(), Stdio::piped());
        let line = server.stdout.next_line();
        server.ready(&line)
    }

    /// Starts `command`, which becomes the server, with these outputs. It does not wait.
    pub fn spawn(mut command: Command, stdout: Stdio, stderr: Stdio) -> Self {
        DEFAULT_SIGNALS.call_once(catch_ignored_signals);
        let spawned = command.stdout(stdout).stderr(stderr).spawn();
        let mut child = spawned.expect("upcase-server starts");
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        Self {
            process: Process(child),
            address: None,
            stdout: stdout.map_or_else(|| Lines::of(io::empty()), Lines::of),
            stderr: stderr.map_or_else(|| Lines::of(io::empty()), Lines::of),
        }
    }

    /// The server with the address in `line`, which it printed when it was ready.
    #[track_caller]
    pub fn ready(mut self, line: &str) -> Self {
        self.address = Some(ready_address(line));
        self
    }

    /// The address that the server printed.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the server is ready")
    }

    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::connect(self.address())
    }

    /// The whole reply to `request`, on a new connection.
    #[track_caller]
    pub fn reply_to(&self, request: &[u8]) -> Vec<u8> {
        let mut connection = self.connect();
        connection.send(request);
        connection.reply()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process.0)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Waits until the server has ended by itself. Returns its status, and the unread lines of
    /// standard output and standard error.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        // The pipes end with the process.
        let stderr = rest_of(&self.stderr);
        let stdout = rest_of(&self.stdout);
        let status = self.process.0.wait();
        (status.expect("the server ends"), stdout, stderr)
    }
}

static DEFAULT_SIGNALS: Once = Once::new();

/// Catches the signals that this process was started to ignore, for example by `nohup`. The server
/// would ignore them too. A signal that is caught has its default again in a new program.
fn catch_ignored_signals() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        if has_signal(&status, "SigIgn:", signal) {
            signal_hook::flag::register(signal.as_raw(), Arc::default()).unwrap();
        }
    }
}

/// Whether `signal` is in the mask `field` of the status of a process, as the kernel prints it.
pub fn has_signal(status: &str, field: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(field));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (signal.as_raw() - 1) != 0)
}

/// All lines until the end of the output.
#[track_caller]
fn rest_of(lines: &Lines) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    let mut rest = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match lines.0.recv_timeout(left) {
            Ok(line) => rest.push(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("the server did not end; it wrote {rest:?}"),
        }
    }
}
