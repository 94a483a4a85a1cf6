//! The server's side of one exchange, as a state machine (SPEC section 4).
//!
//! [`Exchange::next`] says what is to be done on the connection. Its owner does that, and reports
//! the result. There is no socket, clock, thread or allocation in it, so blocking code, an event loop,
//! a fuzzer and a simulation drive the same machine.
//!
//! It does not know the deadline (SPEC TIME-1): the owner closes the connection then, whatever the
//! state. And it does not know the transformation: a complete request goes out, and its reply comes
//! in.
//!
//! [`Exchange::advance`] is such an owner, for any stream. With it, this is a whole conforming
//! server, with a thread for each connection; the project's tests judge it by the whole suite:
//!
#![doc = concat!("```no_run\n", include_str!("../tests/peers/threads.rs"), "```")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::LIMIT;
use crate::deadline::Timed;
use crate::framing::Framing;

/// The size of the buffer of [`Exchange::advance`], in bytes. It is larger than a request, so that
/// surplus is discarded in fewer reads.
const READ: usize = 4 * LIMIT;

/// The server's side of one exchange.
///
/// ```
/// use upcase::exchange::{Exchange, Next};
///
/// let mut exchange = Exchange::new();
/// assert_eq!(exchange.next(), Next::Read);
/// exchange.received(b"hello\n");
/// assert_eq!(exchange.next(), Next::Reply(b"hello\n"));
/// exchange.reply(b"HELLO");
/// assert_eq!(exchange.next(), Next::Write(b"HELLO"));
/// exchange.sent(5);
/// assert_eq!(exchange.next(), Next::HalfClose);
/// exchange.half_closed();
/// assert_eq!(exchange.next(), Next::Read); // and discard: that is surplus
/// exchange.ended();
/// assert_eq!(exchange.next(), Next::Close);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    state: State,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Read, and call [`received`](Exchange::received), [`ended`](Exchange::ended) or
    /// [`failed`](Exchange::failed).
    Read,
    /// The request is complete: call [`reply`](Exchange::reply) with the reply to it.
    Reply(&'a [u8]),
    /// Write these bytes, and call [`sent`](Exchange::sent) or [`failed`](Exchange::failed).
    Write(&'a [u8]),
    /// End the sending side, and call [`half_closed`](Exchange::half_closed) or
    /// [`failed`](Exchange::failed).
    HalfClose,
    /// Close the connection: the exchange is over.
    Close,
}

#[derive(Clone, Debug)]
enum State {
    /// The request is coming, or is complete.
    Receiving(Framing),
    /// `sent` of the `length` bytes of `reply` are written. The half-close follows the last.
    Replying {
        reply: [u8; LIMIT],
        length: usize,
        sent: usize,
    },
    /// Closing now, with bytes unread or still under way, would reset the connection, and the reset
    /// may overtake the reply (SPEC SURPLUS-2).
    Discarding,
    Over,
}

impl Default for State {
    fn default() -> Self {
        Self::Receiving(Framing::new())
    }
}

impl Exchange {
    /// An exchange whose connection has just been accepted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is to be done next. It changes only by the methods below. A call that does not match
    /// what is to be done is ignored, but for [`failed`](Self::failed).
    #[must_use]
    pub fn next(&self) -> Next<'_> {
        match &self.state {
            State::Receiving(framing) => framing.request().map_or(Next::Read, Next::Reply),
            State::Replying {
                reply,
                length,
                sent,
            } if sent < length => Next::Write(&reply[*sent..*length]),
            State::Replying { .. } => Next::HalfClose,
            State::Discarding => Next::Read,
            State::Over => Next::Close,
        }
    }

    /// These bytes were read.
    pub fn received(&mut self, bytes: &[u8]) {
        if let State::Receiving(framing) = &mut self.state {
            framing.push(bytes);
        }
    }

    /// The end of the stream was read.
    pub fn ended(&mut self) {
        match &mut self.state {
            State::Receiving(framing) => framing.end(),
            State::Discarding => self.state = State::Over,
            State::Replying { .. } | State::Over => {}
        }
    }

    /// This is the reply to the request.
    ///
    /// # Panics
    /// If the reply has more than [`LIMIT`] bytes (SPEC CAP-2).
    pub fn reply(&mut self, bytes: &[u8]) {
        let length = bytes.len();
        assert!(length <= LIMIT, "a reply of {length} bytes");
        if let Next::Reply(_) = self.next() {
            let mut reply = [0; LIMIT];
            reply[..length].copy_from_slice(bytes);
            self.state = State::Replying {
                reply,
                length,
                sent: 0,
            };
        }
    }

    /// `count` of the bytes were written.
    pub fn sent(&mut self, count: usize) {
        if let State::Replying { length, sent, .. } = &mut self.state {
            *sent = sent.saturating_add(count).min(*length);
        }
    }

    /// The sending side was ended.
    pub fn half_closed(&mut self) {
        if self.next() == Next::HalfClose {
            self.state = State::Discarding;
        }
    }

    /// The connection has failed, or its deadline has come. Nothing more is sent.
    pub fn failed(&mut self) {
        self.state = State::Over;
    }

    /// Does on `stream` what is to be done, with `answer` for the reply to the request, until the
    /// exchange is over or the stream has to be waited for. Interrupted calls are made again.
    ///
    /// # Errors
    /// - [`ErrorKind::WouldBlock`] where the stream has nothing yet, or takes nothing yet. Call
    ///   again when it does. A blocking stream must not say so. At its deadline it must say
    ///   [`ErrorKind::TimedOut`], as [`Timed`] does.
    /// - Any other: the stream's own, and [`ErrorKind::WriteZero`] where it takes no more. The
    ///   exchange has failed.
    ///
    /// # Panics
    /// As [`reply`](Self::reply), and where `answer` does.
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
                    self.reply(&reply);
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

/// A two-way byte stream whose sending side can be ended alone.
pub trait Duplex: Read + Write {
    /// Ends the sending side; the other end reads the end of the stream.
    ///
    /// # Errors
    /// If the connection is gone.
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
