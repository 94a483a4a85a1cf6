//! A TCP connection whose every read and write is bounded.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::process::PATIENCE;

/// One end of a connection.
pub struct Connection(pub TcpStream);

impl Connection {
    /// A new connection to `address`.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("a connection"))
    }

    /// A connection over `stream`.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sending does not fail");
    }

    /// All bytes until the end of the stream.
    #[track_caller]
    pub fn reply(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        let read = self.0.read_to_end(&mut reply);
        read.expect("an orderly end of the stream");
        reply
    }
}
