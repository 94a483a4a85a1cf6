//! How a server stops, and what it says then.

use rustix::process::Signal;

use super::listener::queued;
use super::server::Server;
use super::wait::wait_until;

/// Sends a signal that stops `server`, and waits until it does not listen any more.
#[track_caller]
pub fn stop_listening(server: &Server, signal: Signal) {
    server.signal(signal);
    wait_until_closed(server);
}

/// Waits until `server` does not listen any more.
#[track_caller]
pub fn wait_until_closed(server: &Server) {
    wait_until("the listener is closed", || {
        queued(server.address()).is_none()
    });
}

/// How many requests or connections are missing from the log, according to these lines of standard
/// error.
#[track_caller]
pub fn missing(stderr: &[String]) -> usize {
    let count = |line: &String| {
        let count = line.strip_prefix("upcase-server: ")?;
        let count = count.strip_suffix(" are missing from the log")?;
        let count = count
            .strip_suffix(" requests")
            .or(count.strip_suffix(" connections"))?;
        count.parse::<usize>().ok()
    };
    let counts = stderr.iter().map(|line| count(line).expect(line));
    counts.sum()
}
