//! What a server does with requests, and what it is told about connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// What a server does with requests. Any `fn(&[u8]) -> Vec<u8>` is a service.
///
/// All other connections of the event loop wait while a method runs, so it must not block.
pub trait Service: Sync {
    /// The reply to `request` from `peer`: at most [`LIMIT`](crate::LIMIT) bytes.
    ///
    /// If this panics or returns too many bytes, that connection is closed, and no other.
    fn answer(&self, peer: SocketAddr, request: &[u8]) -> Vec<u8>;

    /// Called once, before the first connection is accepted. The server starts no thread after this.
    fn on_start(&self) {}

    /// Called once for each accepted connection, when it has ended.
    fn on_end(&self, _connection: &Ended<'_>) {}

    /// Called when a connection could not be accepted or watched. The server continues. This may be
    /// called often.
    fn on_error(&self, _error: &io::Error) {}
}

impl<F: Fn(&[u8]) -> Vec<u8> + Sync> Service for F {
    fn answer(&self, _: SocketAddr, request: &[u8]) -> Vec<u8> {
        self(request)
    }
}

/// A connection that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The address of the peer.
    pub peer: SocketAddr,
    /// The bytes of the request that were received: all of them if it was complete.
    pub request: &'a [u8],
    /// How it ended.
    pub outcome: Outcome,
    /// The time from its acceptance to its end.
    pub duration: Duration,
}

/// How a connection ended. The first that applies is the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The request had a byte or more, and the whole reply and its end were sent. A reset or the
    /// deadline may have come after that.
    Replied,
    /// The server is at fault: the service panicked, or the system could not watch the connection.
    Failed,
    /// The deadline came first. If the request is empty, the peer has sent nothing.
    TimedOut,
    /// The peer sent no byte, and closed or reset the connection before its deadline.
    Silent,
    /// The peer reset the connection, or the network lost it.
    Reset,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Replied,
        Self::Failed,
        Self::TimedOut,
        Self::Silent,
        Self::Reset,
    ];

    /// Its name in a log, such as `timed-out`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Silent => "silent",
            Self::Reset => "reset",
        }
    }
}
