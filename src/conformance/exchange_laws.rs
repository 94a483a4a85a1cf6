//! The laws of an exchange: each stated once, for any implementation and any script.
//!
//! An [`Implementation`] has three parts: how it frames a request, how it serves a connection, and
//! how a client exchanges a message for a reply. One law judges each of them with a [`ScriptedPeer`]
//! at the other end.
//!
//! Rules of this file: no I/O, and nothing of the implementation in this crate. What is expected
//! comes from the [`reference`](mod@super::reference).

use std::io::Read;

use super::reference::{self, LIMIT};
use super::script::{Action, Recording, Script, ScriptedPeer};
use super::violation::{Counterexample, Violation, byte_string};

/// An implementation of the exchange, to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Implementation {
    /// Reads the request at the beginning of a stream that does not block.
    pub frame: fn(&mut dyn Read) -> Framed,
    /// Serves a whole exchange with a client that does not block.
    pub serve: fn(&mut ScriptedPeer),
    /// Sends a message to a blocking server, and reads the reply. Returns `None` if the message is
    /// refused, or if there is no valid reply.
    pub exchange: fn(&mut ScriptedPeer, &[u8]) -> Option<Vec<u8>>,
}

/// The result of framing the beginning of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// The request.
    Request(Vec<u8>),
    /// The deadline came before the request was complete.
    TimedOut,
    /// The stream failed before the request was complete.
    Failed,
}

type Check = fn(&Implementation, &Script) -> Result<(), Counterexample>;

/// A law of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLaw {
    /// A short stable name.
    pub name: &'static str,
    /// The IDs of the clauses of SPEC.md that it follows from.
    pub clauses: &'static [&'static str],
    /// The law in words.
    pub statement: &'static str,
    check: Check,
}

impl ExchangeLaw {
    /// Judges `implementation` with a peer that acts as `script` says.
    ///
    /// # Errors
    /// The [`Violation`], if the law is broken.
    ///
    /// # Panics
    /// If the implementation panics, or makes thousands of calls at the end of a stream.
    pub fn check(&self, implementation: &Implementation, script: &Script) -> Result<(), Violation> {
        (self.check)(implementation, script)
            .map_err(|found| found.violates(self.name, self.clauses, self.statement))
    }
}

/// Every law of an exchange.
pub const EXCHANGE_LAWS: &[ExchangeLaw] = &[FRAMING, SESSION, CLIENT];

/// The law of the framing.
pub const FRAMING: ExchangeLaw = ExchangeLaw {
    name: "framing",
    clauses: &[
        "FRAME-1",
        "FRAME-2",
        "FRAME-3",
        "FRAME-4",
        "FRAME-5",
        "REPLY-1",
        "SURPLUS-1",
        "TIME-2",
    ],
    statement: "a request depends only on the bytes of the stream, however they are cut, and \
                nothing is read after it",
    check: framing,
};

/// The law of a server's whole exchange.
pub const SESSION: ExchangeLaw = ExchangeLaw {
    name: "session",
    clauses: &[
        "PROC-1",
        "REPLY-1",
        "REPLY-2",
        "REPLY-3",
        "SURPLUS-1",
        "SURPLUS-2",
        "TIME-2",
    ],
    statement: "a server writes the reply to the complete request, or nothing; then it \
                half-closes once and reads to the end",
    check: session,
};

/// The law of a client's whole exchange. Each script is judged with a text, with white space alone,
/// and with the bytes that the peer sends as the message.
pub const CLIENT: ExchangeLaw = ExchangeLaw {
    name: "client",
    clauses: &[
        "CLIENT-1",
        "CLIENT-2",
        "CLIENT-3",
        "CLIENT-4",
        "CLIENT-5",
        "CLIENT-6",
        "CLIENT-7",
        "CLIENT-9",
        "CLIENT-10",
    ],
    statement: "a client refuses a message that would be cut, sends any other with one LF and nothing \
                more, and returns all bytes that came before an orderly end if they are at most 1024, \
                no write has failed and a text has an answer, and otherwise an error, after at most \
                another 1024 bytes",
    check: client,
};

fn framing(implementation: &Implementation, script: &Script) -> Result<(), Counterexample> {
    let mut peer = ScriptedPeer::new(script);
    let framed = (implementation.frame)(&mut peer);
    let expected = match (script.request(), script.ending()) {
        (Some(request), _) => Framed::Request(request),
        (None, Action::TimeOut) => Framed::TimedOut,
        (None, _) => Framed::Failed,
    };
    let problem = if framed != expected {
        Some(match &expected {
            Framed::Request(request) => byte_string(request),
            other => format!("no request: {other:?}"),
        })
    } else if peer.recording.read_past_request {
        Some("no read after the request was complete".into())
    } else {
        peer.recording.excess_of_calls(allowed_endings(script))
    };
    let output = match framed {
        Framed::Request(request) => request,
        Framed::TimedOut | Framed::Failed => Vec::new(),
    };
    conclude(problem, script, output)
}

fn session(implementation: &Implementation, script: &Script) -> Result<(), Counterexample> {
    let mut peer = ScriptedPeer::new(script);
    (implementation.serve)(&mut peer);
    let seen = &peer.recording;
    let reply = script.request().map(|request| reference::process(&request));
    let problem = match reply {
        // A server cannot know yet whether the request will be complete.
        _ if seen.acted_early => Some("nothing before the request is complete".into()),
        None if seen.written.is_empty() => None,
        None => Some("nothing written, because there is no request".into()),
        Some(reply) if !reply.starts_with(&seen.written) => {
            Some(format!("{} or the beginning of it", byte_string(&reply)))
        }
        Some(_) if seen.writes_after_ending > 0 => Some("no write after a failed one".into()),
        Some(_) if seen.write_ending.is_some() && seen.half_closes > 0 => {
            Some("no half-close after an incomplete reply".into())
        }
        Some(_) if seen.write_ending.is_some() => None,
        Some(_) if seen.read_past_request => {
            Some("no read between the request and the half-close".into())
        }
        Some(reply) if seen.written.len() < reply.len() => {
            Some(format!("{}, all of it", byte_string(&reply)))
        }
        Some(_) if seen.half_closes != 1 => Some("one half-close after the reply".into()),
        Some(_) if seen.half_close_failed => None,
        Some(_) if seen.endings_read > allowed_endings(script) => {
            Some("no read of a stream that has failed or timed out".into())
        }
        Some(_) if seen.endings_read == 0 => Some("the client's stream read to its end".into()),
        Some(_) => None,
    };
    // One while reading the request, one while writing, one while discarding.
    let problem = problem.or_else(|| seen.excess_of_calls(3));
    conclude(problem, script, peer.recording.written)
}

fn client(implementation: &Implementation, script: &Script) -> Result<(), Counterexample> {
    let messages = [b"hello", &b" \t"[..], script.wire];
    messages
        .iter()
        .try_for_each(|message| client_with(implementation, script, message))
}

fn client_with(
    implementation: &Implementation,
    script: &Script,
    message: &[u8],
) -> Result<(), Counterexample> {
    let mut peer = ScriptedPeer::blocking(script);
    let reply = (implementation.exchange)(&mut peer, message);
    let seen = &peer.recording;
    let request = [message, b"\n"].concat();
    let stream = script.stream();
    let is_answer = !stream.is_empty() || reference::process(&request).is_empty();
    // A failed write may have taken the error of a reset away.
    let is_reply = script.ending() == Action::End
        && stream.len() <= LIMIT
        && seen.write_ending.is_none()
        && is_answer;
    let reads = seen.bytes_read + seen.endings_read;
    let problem = match &reply {
        _ if is_cut(message) => {
            let is_refused = reply.is_none() && seen.written.is_empty() && seen.half_closes == 0;
            (!is_refused).then(|| "a refusal of the message, and nothing sent".into())
        }
        _ if !request.starts_with(&seen.written) => Some(format!(
            "{} sent, or the beginning of it",
            byte_string(&request)
        )),
        _ if seen.write_ending.is_none() && seen.written.len() < request.len() => {
            Some(format!("{} sent, all of it", byte_string(&request)))
        }
        Some(reply) if !is_reply => Some(format!("an error, not {} bytes", reply.len())),
        Some(reply) if *reply != stream => Some(byte_string(&stream)),
        None if is_reply => Some(byte_string(&stream)),
        _ if reads == 0 && seen.write_ending != Some(Action::TimeOut) => {
            Some("a read, even after a failed write".into())
        }
        _ if seen.bytes_read > 2 * LIMIT => {
            let (most, read) = (2 * LIMIT, seen.bytes_read);
            Some(format!("at most {most} bytes read, not {read}"))
        }
        _ => {
            let failed_write = usize::from(seen.write_ending.is_some());
            seen.excess_of_calls(allowed_endings(script) + failed_write)
        }
    };
    let problem =
        problem.map(|problem| format!("{problem}; the message is {}", byte_string(message)));
    conclude(problem, script, reply.unwrap_or_default())
}

/// Whether the protocol would cut `message`: whether the reply to it would not be the whole upper
/// case of the trimmed message.
fn is_cut(message: &[u8]) -> bool {
    let request = [message, b"\n"].concat();
    let upper = reference::upper(&reference::clip(message));
    message.contains(&b'\n') || request.len() > LIMIT || reference::process(&request) != upper
}

/// How many reads may reach the end of the stream. A second read of a stream that has timed out or
/// failed would wait again. A second read of the end of the stream costs nothing.
fn allowed_endings(script: &Script) -> usize {
    if script.ending() == Action::End { 3 } else { 1 }
}

impl Recording {
    /// If more than `most` calls reached the end of a stream: what was expected. Every other call
    /// transfers at least one byte, is interrupted, or is not ready.
    fn excess_of_calls(&self, most: usize) -> Option<String> {
        let expected = format!("at most {most} calls at the end of a stream");
        (self.calls_at_ending > most).then_some(expected)
    }
}

fn conclude(
    problem: Option<String>,
    script: &Script,
    output: Vec<u8>,
) -> Result<(), Counterexample> {
    let counterexample = problem.map(|expected| Counterexample {
        input: script.stream(),
        output,
        expected,
    });
    counterexample.map_or(Ok(()), Err)
}
