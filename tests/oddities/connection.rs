//! One connection of a right server, in parts that a control may take in odd ways.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;
use upcase::conformance::reference::{self, LIMIT, process};
use upcase::deadline::Timed;

/// A connection with its deadline.
pub struct Connection {
    pub stream: TcpStream,
    pub deadline: Instant,
    /// Whether a part of the reply could not be sent.
    is_cut: AtomicBool,
}

impl Connection {
    /// To be called when `stream` was accepted.
    pub fn new(stream: TcpStream, time: Duration) -> Self {
        let deadline = Instant::now() + time;
        // An accepted socket of some systems has the mode of its listener.
        let _ = stream.set_nonblocking(false);
        Self {
            stream,
            deadline,
            is_cut: AtomicBool::new(false),
        }
    }

    /// What one read of at most `most` bytes returns. `None` at the deadline or after an error.
    pub fn read(&self, most: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; most];
        let count = Timed::new(&self.stream, self.deadline).read(&mut bytes);
        bytes.truncate(count.ok()?);
        Some(bytes)
    }

    /// The request, from reads of at most `most` bytes. `None` if it is not complete at the deadline.
    pub fn request(&self, most: usize) -> Option<Vec<u8>> {
        let (mut bytes, mut is_ended) = (Vec::new(), false);
        loop {
            if let Some(request) = reference::request(&bytes, is_ended) {
                return Some(request);
            }
            let read = self.read(most)?;
            is_ended = read.is_empty();
            bytes.extend(read);
        }
    }

    /// The reply to the request, as [`Connection::request`] reads it.
    pub fn reply(&self, most: usize) -> Option<Vec<u8>> {
        self.request(most).map(|request| process(&request))
    }

    /// Sends a part of the reply. An error affects this client alone.
    pub fn write(&self, bytes: &[u8]) {
        if Timed::new(&self.stream, self.deadline)
            .write_all(bytes)
            .is_err()
        {
            self.is_cut.store(true, Ordering::SeqCst);
        }
    }

    /// Ends the reply; by a reset if it is not whole.
    pub fn half_close(&self) {
        if self.is_cut.load(Ordering::SeqCst) {
            self.reset();
        } else {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// Reads surplus bytes, at most `most` at a time, until the client's end or the deadline.
    pub fn discard(&self, most: usize) {
        while self.read(most).is_some_and(|bytes| !bytes.is_empty()) {}
    }

    /// Sends the reply, and ends the connection.
    pub fn finish(&self, reply: &[u8]) {
        self.write(reply);
        self.half_close();
        self.discard(65_536);
    }

    /// Makes the close a reset.
    pub fn reset(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// The whole exchange, in no odd way.
    pub fn serve(&self) {
        if let Some(reply) = self.reply(LIMIT) {
            self.finish(&reply);
        }
    }
}
