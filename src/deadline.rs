//! A TCP stream with one deadline for all its reads and writes (SPEC TIME-1, CLIENT-8).
//!
//! It does not know the protocol. A peer that sends byte by byte cannot extend the deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The time left until `deadline`. If none is left: an error of kind [`ErrorKind::TimedOut`], because
/// a socket refuses a time-out of zero.
pub(crate) fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

/// Whether a read or a write ended because its time was up. Systems report that in two ways.
pub(crate) fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A blocking stream with a deadline. After it, reads and writes fail with
/// [`ErrorKind::TimedOut`].
#[derive(Clone, Copy, Debug)]
pub struct Timed<'a> {
    pub(crate) stream: &'a TcpStream,
    deadline: Instant,
}

impl<'a> Timed<'a> {
    /// Gives `stream` this `deadline`.
    #[must_use]
    pub fn new(stream: &'a TcpStream, deadline: Instant) -> Self {
        Self { stream, deadline }
    }

    /// Repeats `attempt` until the deadline. Each attempt may take 7/8 of the time left, because a
    /// kernel may round a socket's time-out up by an eighth.
    fn attempt(
        &self,
        set: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = remaining(self.deadline)?;
            set(self.stream, Some(left.mul_f64(0.875)))?;
            match attempt(self.stream) {
                Err(error) if is_time_out(&error) => {}
                done => return done,
            }
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.attempt(TcpStream::set_read_timeout, |mut stream| {
            stream.read(buffer)
        })
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(TcpStream::set_write_timeout, |mut stream| {
            stream.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a TcpStream buffers nothing
    }
}
