//! Sockets that are handed over to the server in the way of systemd.

use std::iter;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;

use command_fds::{CommandFdExt as _, FdMapping};

use super::connection::Connection;
use super::native::server_command;
use super::process::ready_address;
use super::server::Server;

/// A server that is started by `prefix` and gets `sockets` in the way of systemd.
pub fn handing_over<S: Into<OwnedFd>>(
    sockets: impl IntoIterator<Item = S>,
    prefix: &[&str],
    options: &[&str],
) -> Command {
    const SET_PID: [&str; 3] = ["sh", "-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""];
    let numbered = sockets.into_iter().zip(3..);
    let mappings: Vec<_> = numbered
        .map(|(socket, child_fd)| FdMapping {
            parent_fd: socket.into(),
            child_fd,
        })
        .collect();
    let mut command = server_command(&[prefix, &SET_PID].concat());
    command.args(options);
    command.env("LISTEN_FDS", mappings.len().to_string());
    command.fd_mappings(mappings).unwrap();
    command
}

/// A listener at a free port, and its address.
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Makes `count` exchanges with the server at `address`.
#[track_caller]
pub fn exchange(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut client = Connection::connect(address);
        client.send(b"hello\n");
        assert_eq!(client.reply(), b"HELLO");
    }
}

/// Reads the lines of LOG-1 for all `addresses` but the first, which the server has.
#[track_caller]
pub fn check_ready(server: &Server, addresses: &[SocketAddr]) {
    let rest = addresses[1..].iter();
    let rest = rest.map(|_| ready_address(&server.stdout.next_line()));
    let ready: Vec<_> = iter::once(server.address()).chain(rest).collect();
    assert_eq!(ready, addresses);
}

/// A client that has sent all of `request`. Nothing but the server can delay the end of its exchange.
pub fn queue(address: SocketAddr, request: &[u8]) -> Connection {
    let mut client = Connection::connect(address);
    client.send(request);
    client.0.shutdown(Shutdown::Write).unwrap();
    client
}
