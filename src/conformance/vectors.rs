//! The vectors: what a client sends, in steps, and what a server must send back.
//!
//! They are data, `tests/vectors/upcase.json`, and state what they expect: nothing is taken from the
//! code of this crate. `tests/vectors/schema.json` explains each field.

mod json;

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::reference;
use super::violation::{About, Level, excerpt};

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
    /// Whether the judge has no other connection open meanwhile.
    #[serde(default)]
    pub alone: bool,
    /// How many times it is judged, one after another, each on a new connection.
    #[serde(default = "one")]
    pub repeat: usize,
    /// What the client does, in order.
    pub steps: Vec<Step>,
    /// What the server must do.
    pub expect: Expectation,
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
    /// Connects. Without this step, the client connects at its first step that is not [`Step::Other`].
    Connect,
    /// Does nothing for this time. No byte may come meanwhile, if the request is not complete.
    Pause(Duration),
    /// Ends the client's side of the stream.
    HalfClose,
    /// Reads the whole reply, to the end of the server's side of the stream.
    AwaitReply,
    /// Opens other connections, this many times in a row.
    Other {
        /// What is done on them.
        other: Other,
        /// How many times.
        times: usize,
    },
}

/// Other connections, during a vector.
#[derive(Clone, Debug)]
pub enum Other {
    /// A whole exchange, which must succeed.
    Exchange {
        /// The request, sent at once.
        request: Vec<u8>,
        /// The reply.
        reply: Vec<u8>,
    },
    /// Exchanges whose requests are completed at the same time. Each is a request and its reply.
    AtOnce(Vec<(Vec<u8>, Vec<u8>)>),
    /// Exchanges of lines of these characters, from the first to the last of each range, which must
    /// come back unchanged. A line has as many as fit in 1,023 bytes, and an LF.
    Unchanged(Vec<(char, char)>),
    /// Sends some bytes, and resets the connection.
    Reset(Vec<u8>),
    /// Sends some bytes, and closes the connection.
    Close(Vec<u8>),
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
    /// By an end of the stream or a reset, by its deadline, without a byte of reply.
    Closed,
    /// By an orderly end of the stream; and it closes the connection by its deadline, although the
    /// client keeps it open.
    Gone,
    /// As [`End::Closed`] if the server's deadline comes before the request is complete, and otherwise
    /// as [`End::Gone`].
    Either,
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
            Self::Connect
            | Self::Pause(_)
            | Self::HalfClose
            | Self::AwaitReply
            | Self::Other { .. } => Vec::new(),
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

    /// Every request that is completed on a connection of this vector, and its reply.
    pub fn exchanges(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let own = self
            .request()
            .map(|request| (request, self.expect.reply.clone()));
        let others = self.steps.iter().flat_map(|step| match step {
            Step::Other { other, .. } => other.exchanges(),
            _ => Vec::new(),
        });
        own.into_iter().chain(others)
    }
}

impl Other {
    /// The requests of the exchanges, and their replies.
    #[must_use]
    pub fn exchanges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        match self {
            Self::Exchange { request, reply } => vec![(request.clone(), reply.clone())],
            Self::AtOnce(exchanges) => exchanges.clone(),
            Self::Unchanged(ranges) => {
                let line = |text: &[u8]| ([text, b"\n"].concat(), text.to_vec());
                lines(ranges).iter().map(|text| line(text)).collect()
            }
            Self::Reset(_) | Self::Close(_) | Self::Stall { .. } => Vec::new(),
        }
    }
}

/// The characters of the `ranges`, in lines of as many as fit in 1,023 bytes.
fn lines(ranges: &[(char, char)]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    for character in ranges.iter().flat_map(|(first, last)| *first..=*last) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        if lines[lines.len() - 1].len() + bytes.len() >= reference::LIMIT {
            lines.push(Vec::new());
        }
        let last = lines.len() - 1;
        lines[last].extend_from_slice(bytes);
    }
    lines
}
