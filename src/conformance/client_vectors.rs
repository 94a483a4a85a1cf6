//! The vectors for clients: what a server does, in steps, and what a client must send and report.
//!
//! They are data, `tests/vectors/client.json`, and state what they expect: nothing is taken from the
//! code of this crate. `tests/vectors/client.schema.json` explains each field.

mod json;

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::violation::{About, Level};

/// The suite: a header, and the vectors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The version of the suite.
    pub suite: String,
    /// The version of SPEC.md that it judges by.
    pub spec: String,
    /// The Unicode version whose mappings it expects (SPEC UPPER-2).
    pub unicode: String,
    /// The number of vectors.
    pub count: usize,
    /// The vectors.
    pub vectors: Vec<ClientVector>,
}

/// The message for a client, what the server does, and what the client must do.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "json::Vector")]
pub struct ClientVector {
    /// A stable ID: `area.what-it-shows`.
    pub id: String,
    /// What the server does, in one line.
    pub description: String,
    /// What the client must do, in one line.
    pub requirement: String,
    /// The IDs of the clauses of SPEC.md that it judges, the main one first.
    pub clauses: Vec<String>,
    /// How binding they are.
    pub level: Level,
    /// The message that the client is given.
    pub message: Vec<u8>,
    /// Whether the end of the message is held back: for [`HOLD`], or until the server has taken its steps
    /// if the client connects by then. A client that connects before it has read the message then writes
    /// after the steps.
    pub late_message: bool,
    /// The server's host as the client is given it.
    pub host: Host,
    /// What the server does on each connection, in order. After the last step, it reads to the
    /// client's end of the stream.
    pub steps: Vec<Step>,
    /// What the client must do.
    pub expect: Expectation,
}

/// How long the end of a message is held back for a client that does not connect.
pub const HOLD: Duration = Duration::from_secs(1);

/// The server's host, as the client is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IP address.
    Address(Address),
    /// A name that has these addresses, in this order; without any, no such name exists.
    Name(Vec<Address>),
}

/// An address, with the port of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether it is an IPv6 address.
    pub is_ipv6: bool,
    /// What happens if the client connects to it.
    pub answer: Answer,
}

/// What happens if a client connects to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The server accepts the connection.
    Listens,
    /// The connection is refused.
    Refuses,
    /// There is no answer.
    BlackHole,
}

/// One thing that a server does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "json::Step")]
pub enum Step {
    /// Reads until the first byte has come.
    AwaitByte,
    /// Reads until the LF has come.
    AwaitRequest,
    /// Sends the bytes.
    Send(Vec<u8>),
    /// Sends each of the bytes in its own segment.
    SendEachByte(Vec<u8>),
    /// Sends the bytes again and again, with this pause after each time, until the client is gone.
    SendEndlessly {
        /// The bytes.
        bytes: Vec<u8>,
        /// The pause.
        pause: Duration,
    },
    /// Does nothing for this time.
    Pause(Duration),
    /// Ends the server's side of the stream.
    HalfClose,
    /// Closes the connection in order.
    Close,
    /// Resets the connection.
    Reset,
}

/// What a client must do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "json::Expectation")]
pub enum Expectation {
    /// Send the message and an LF on one connection, and hand on this reply.
    Reply {
        /// The bytes of the reply.
        reply: Vec<u8>,
        /// How soon after the server's end of the stream it must close the connection.
        within: Option<Duration>,
    },
    /// Send the message and an LF, as far as the server lets it, and report an error.
    Error,
    /// Report an error, without a connection.
    Refusal,
}

/// The suite of this crate's version.
///
/// # Panics
/// Never: the suite is part of this crate, and a test reads it.
#[must_use]
pub fn suite() -> &'static Suite {
    static SUITE: LazyLock<Suite> = LazyLock::new(|| {
        let text = include_str!("../../tests/vectors/client.json");
        serde_json::from_str(text).expect("the vectors fit these types")
    });
    &SUITE
}

impl Host {
    /// The addresses that it stands for.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        match self {
            Self::Address(address) => std::slice::from_ref(address),
            Self::Name(addresses) => addresses,
        }
    }
}

impl ClientVector {
    /// What it says about itself.
    #[must_use]
    pub fn about(&self) -> About<'_> {
        About {
            id: &self.id,
            description: &self.description,
            requirement: &self.requirement,
            clauses: &self.clauses,
            level: self.level,
        }
    }

    /// Whether an address of the server accepts connections.
    #[must_use]
    pub fn listens(&self) -> bool {
        let mut addresses = self.host.addresses().iter();
        addresses.any(|address| address.answer == Answer::Listens)
    }

    /// How long the server takes at least until it has given its whole reply.
    #[must_use]
    pub fn server_time(&self) -> Duration {
        let pauses = self.steps.iter().map(|step| match step {
            Step::Pause(time) => *time,
            _ => Duration::ZERO,
        });
        let hold = if self.late_message {
            HOLD
        } else {
            Duration::ZERO
        };
        hold + pauses.sum::<Duration>()
    }

    /// All bytes that the server sends, and whether it then ends its side in order. `None` if it never
    /// stops sending.
    #[must_use]
    pub fn stream(&self) -> Option<(Vec<u8>, bool)> {
        let mut sent = Vec::new();
        for step in &self.steps {
            match step {
                Step::Send(bytes) | Step::SendEachByte(bytes) => sent.extend(bytes),
                Step::SendEndlessly { .. } => return None,
                Step::HalfClose | Step::Close => return Some((sent, true)),
                Step::Reset => return Some((sent, false)),
                Step::AwaitByte | Step::AwaitRequest | Step::Pause(_) => {}
            }
        }
        Some((sent, false))
    }
}
