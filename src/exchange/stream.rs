//! Drives an exchange on a stream. Only this part of an exchange does I/O.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::{Exchange, Next};
use crate::LIMIT;
use crate::deadline::Timed;

/// The size of the buffer of [`Exchange::advance`], in bytes. It is larger than a request, to discard
/// surplus in fewer reads.
const READ: usize = 4 * LIMIT;

impl Exchange {
    /// Drives the exchange on `stream` until it is over or the stream is not ready. `answer` computes
    /// the reply to the request. Interrupted calls are repeated.
    ///
    /// # Errors
    /// - [`ErrorKind::WouldBlock`]: the stream is not ready. Call again when it is. A blocking stream
    ///   must not return this; at its deadline it must return [`ErrorKind::TimedOut`], as [`Timed`]
    ///   does.
    /// - Any other error of the stream, or [`ErrorKind::WriteZero`] if it takes no more bytes: the
    ///   exchange has failed.
    ///
    /// # Panics
    /// As [`reply`](Self::reply), and if `answer` does.
    pub fn advance(
        &mut self,
        stream: &mut (impl Duplex + ?Sized),
        answer: impl Fn(&[u8]) -> Vec<u8>,
    ) -> io::Result<()> {
        let mut buffer = [0; READ];
        loop {
            let done = match self.next() {
                Next::Read => stream.read(&mut buffer).map(|count| match count {
                    0 => self.ended(),
                    count => self.received(&buffer[..count]),
                }),
                Next::Reply(request) => {
                    let reply = answer(request);
                    self.reply(reply);
                    Ok(())
                }
                Next::Write(bytes) => match stream.write(bytes) {
                    Ok(0) => Err(ErrorKind::WriteZero.into()),
                    written => written.map(|count| self.sent(count)),
                },
                Next::HalfClose => stream.half_close().map(|()| self.half_closed()),
                Next::Close => return Ok(()),
            };
            match done {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.failed();
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
    }
}

/// A two-way byte stream that can be half-closed.
pub trait Duplex: Read + Write {
    /// Ends the sending side. The other end reads the end of the stream.
    ///
    /// # Errors
    /// If the connection has failed.
    fn half_close(&mut self) -> io::Result<()>;
}

impl Duplex for TcpStream {
    fn half_close(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Duplex for Timed<'_> {
    fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}
