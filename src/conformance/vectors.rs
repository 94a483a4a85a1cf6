//! The vectors: what a client sends, in steps, and what a server must send back.
//!
//! They are data, `tests/vectors/upcase.json`, and state what they expect: nothing is taken from the
//! code of this crate. `tests/vectors/schema.json` explains each field.

mod json;

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::reference;
use super::report::{Violation, excerpt};

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
    pub vectors: Vec<Vector>,
}

/// What a client does on one connection, and what a server must do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// A stable ID: `area.what-it-shows`.
    pub id: String,
    /// What the client does, in one line.
    pub description: String,
    /// What the server must do, in one line.
    pub requirement: String,
    /// The IDs of the clauses of SPEC.md that it judges, the main one first.
    pub clauses: Vec<String>,
    /// How binding they are.
    pub level: Level,
    /// The request and the reply for people to read; see [`Vector::rendering`].
    pub readable: String,
    /// Whether it only illustrates: no known fault is caught by it.
    #[serde(default)]
    pub illustration: bool,
    /// How many times it is judged, one after another, each on a new connection.
    #[serde(default = "one")]
    pub repeat: usize,
    /// What the client does, in order.
    pub steps: Vec<Step>,
    /// What the server must do.
    pub expect: Expectation,
}

/// The RFC 2119 level of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// A server that fails does not conform.
    Must,
    /// A server that fails needs a reason.
    Should,
}

/// One thing that a client does.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "json::Step")]
pub enum Step {
    /// Sends the bytes this many times, in as few segments as TCP makes of them.
    Send {
        /// The bytes.
        bytes: Vec<u8>,
        /// How many times.
        times: usize,
    },
    /// Sends each of the bytes in its own segment.
    SendEachByte(Vec<u8>),
    /// Does nothing for this time. No byte may come meanwhile, if the request is not complete.
    Pause(Duration),
    /// Ends the client's side of the stream.
    HalfClose,
    /// Reads the whole reply, to the end of the server's side of the stream.
    AwaitReply,
    /// Opens another connection.
    Other(Other),
}

/// Another connection, during a vector.
#[derive(Clone, Debug)]
pub enum Other {
    /// A whole exchange, which must succeed.
    Exchange {
        /// The request, sent at once.
        request: Vec<u8>,
        /// The reply.
        reply: Vec<u8>,
    },
    /// Sends some bytes, and resets the connection.
    Reset(Vec<u8>),
    /// Opens several connections, sends the bytes on each, and keeps them open until the vector is
    /// over.
    Stall {
        /// The bytes.
        bytes: Vec<u8>,
        /// How many connections.
        connections: usize,
    },
}

/// What a server must do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "json::Expectation")]
pub struct Expectation {
    /// The bytes that it must send, and no others.
    pub reply: Vec<u8>,
    /// How it must end the connection.
    pub end: End,
}

/// How a server must end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// By an orderly end of the stream.
    Fin,
    /// By an end of the stream or a reset, by its deadline.
    Closed,
    /// By an orderly end of the stream; and it closes the connection by its deadline, although the
    /// client keeps it open.
    Gone,
}

const fn one() -> usize {
    1
}

/// The suite of this crate's version.
///
/// # Panics
/// Never: the suite is part of this crate, and a test reads it.
#[must_use]
pub fn suite() -> &'static Suite {
    static SUITE: LazyLock<Suite> = LazyLock::new(|| {
        let text = include_str!("../../tests/vectors/upcase.json");
        serde_json::from_str(text).expect("the vectors fit these types")
    });
    &SUITE
}

impl Step {
    /// The bytes that it sends on the vector's own connection.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Send { bytes, times } => bytes.repeat(*times),
            Self::SendEachByte(bytes) => bytes.clone(),
            Self::Pause(_) | Self::HalfClose | Self::AwaitReply | Self::Other(_) => Vec::new(),
        }
    }
}

impl Vector {
    /// All bytes that the client sends on the vector's own connection, and whether it ends its side.
    #[must_use]
    pub fn stream(&self) -> (Vec<u8>, bool) {
        let stream = self.steps.iter().map(Step::bytes).collect::<Vec<_>>();
        let mut steps = self.steps.iter();
        let ended = steps.any(|step| matches!(step, Step::HalfClose));
        (stream.concat(), ended)
    }

    /// The request in the stream, by the [`reference`](mod@super::reference); `None` if it is never complete.
    #[must_use]
    pub fn request(&self) -> Option<Vec<u8>> {
        let (stream, ended) = self.stream();
        reference::request(&stream, ended)
    }

    /// What the field `readable` must be: the stream and the reply as byte literals (SPEC LOG-3),
    /// long ones without their middle.
    #[must_use]
    pub fn rendering(&self) -> String {
        let (sent, _) = self.stream();
        format!("{} -> {}", excerpt(&sent), excerpt(&self.expect.reply))
    }

    /// A violation by this vector, of these `clauses` first, and then of its own.
    pub(super) fn violation(&self, clauses: &[&str], problem: String) -> Violation {
        let mut all: Vec<String> = clauses.iter().map(|id| (*id).into()).collect();
        all.extend(
            self.clauses
                .iter()
                .filter(|id| !clauses.contains(&id.as_str()))
                .cloned(),
        );
        let mut violation = Violation::new(&self.id, &all, problem);
        violation
            .details
            .splice(0..0, [self.description.clone(), self.requirement.clone()]);
        violation
    }
}
