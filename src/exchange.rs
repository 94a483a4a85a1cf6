//! The server's side of one exchange, as a state machine (SPEC section 4).
//!
//! [`Exchange::next`] says what to do next on the connection. Its owner does it and reports the
//! result. The machine has no socket, clock or thread, so blocking code, an event loop, a fuzzer and a
//! simulation all drive the same machine.
//!
//! It does not know the deadline (SPEC TIME-1): the owner closes the connection then, whatever the
//! state. It does not know the transformation: it hands out the request and takes the reply.
//!
//! With the feature `std`, `Exchange::advance` drives the machine for any stream, and the following is a
//! whole conforming server with a thread for each connection. The tests judge it by the whole suite.
//!
#![doc = concat!("```no_run\n", include_str!("../tests/peers/threads.rs"), "```")]

#[cfg(feature = "std")]
mod stream;

use alloc::vec::Vec;

use crate::LIMIT;
use crate::framing::Framing;

#[cfg(feature = "std")]
pub use stream::Duplex;

/// The server's side of one exchange.
///
/// ```
/// use upcase::exchange::{Exchange, Next};
///
/// let mut exchange = Exchange::new();
/// assert_eq!(exchange.next(), Next::Read);
/// exchange.received(b"hello\n");
/// assert_eq!(exchange.next(), Next::Reply(b"hello\n"));
/// exchange.reply(b"HELLO".to_vec());
/// assert_eq!(exchange.next(), Next::Write(b"HELLO"));
/// exchange.sent(5);
/// assert_eq!(exchange.next(), Next::HalfClose);
/// exchange.half_closed();
/// assert_eq!(exchange.next(), Next::Read); // surplus bytes, to be discarded
/// exchange.ended();
/// assert_eq!(exchange.next(), Next::Close);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    framing: Framing,
    state: State,
    has_replied: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Read, and call [`received`](Exchange::received), [`ended`](Exchange::ended) or
    /// [`failed`](Exchange::failed).
    Read,
    /// This is the request. Call [`reply`](Exchange::reply) with its reply.
    Reply(&'a [u8]),
    /// Write these bytes, and call [`sent`](Exchange::sent) or [`failed`](Exchange::failed).
    Write(&'a [u8]),
    /// End the sending side (half-close), and call [`half_closed`](Exchange::half_closed) or
    /// [`failed`](Exchange::failed).
    HalfClose,
    /// Close the connection: the exchange is over.
    Close,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// The request is being received, or is complete.
    #[default]
    Receiving,
    /// The first `sent` bytes of `reply` were written. The half-close follows the last.
    Replying {
        reply: Vec<u8>,
        sent: usize,
    },
    /// Surplus bytes are read and discarded. A close with unread bytes would reset the connection,
    /// and the reset may overtake the reply (SPEC SURPLUS-2).
    Discarding,
    Over,
}

impl Exchange {
    /// An exchange whose connection has just been accepted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The request as far as it was received.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        self.framing.received()
    }

    /// Whether the whole reply and its end were sent.
    #[must_use]
    pub fn has_replied(&self) -> bool {
        self.has_replied
    }

    /// What to do next. Only the methods below change it. A method that does not fit the current
    /// step has no effect, except [`failed`](Self::failed).
    #[must_use]
    pub fn next(&self) -> Next<'_> {
        match &self.state {
            State::Receiving => self.framing.request().map_or(Next::Read, Next::Reply),
            State::Replying { reply, sent } if *sent < reply.len() => Next::Write(&reply[*sent..]),
            State::Replying { .. } => Next::HalfClose,
            State::Discarding => Next::Read,
            State::Over => Next::Close,
        }
    }

    /// Reports that these bytes were read.
    pub fn received(&mut self, bytes: &[u8]) {
        if let State::Receiving = self.state {
            self.framing.push(bytes);
        }
    }

    /// Reports that the end of the stream was read.
    pub fn ended(&mut self) {
        match self.state {
            State::Receiving => self.framing.end(),
            State::Discarding => self.state = State::Over,
            State::Replying { .. } | State::Over => {}
        }
    }

    /// Takes the reply to the request, and keeps it until it is sent.
    ///
    /// # Panics
    /// If the reply has more than [`LIMIT`] bytes (SPEC CAP-2).
    pub fn reply(&mut self, reply: Vec<u8>) {
        let length = reply.len();
        assert!(length <= LIMIT, "a reply of {length} bytes");
        if let Next::Reply(_) = self.next() {
            self.state = State::Replying { reply, sent: 0 };
        }
    }

    /// Reports that `count` of the bytes were written.
    pub fn sent(&mut self, count: usize) {
        if let State::Replying { reply, sent } = &mut self.state {
            *sent = sent.saturating_add(count).min(reply.len());
        }
    }

    /// Reports that the sending side was ended.
    pub fn half_closed(&mut self) {
        if self.next() == Next::HalfClose {
            self.state = State::Discarding;
            self.has_replied = true;
        }
    }

    /// Reports that the connection has failed or its deadline has come. Nothing more is sent.
    pub fn failed(&mut self) {
        self.state = State::Over;
    }
}
