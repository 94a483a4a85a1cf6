//! How a server stops.

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
