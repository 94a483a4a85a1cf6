//! What is true of an exchange, over any course that it may take.
//!
//! A [`Conversation`] is a course: the bytes that one side sends, cut into segments, with
//! interrupts and waits between, up to an end, a time-out or a failure. A [`Peer`] plays it in memory, and
//! takes note of what the other side does. Three laws are judged so, over any implementation:
//! [`framing`], [`session`] (a server's whole exchange) and [`client`] (a client's reading half).
//!
//! Rules of this file: as those of the laws. What a peer does depends on how many bytes it has
//! passed on, never on how they were asked for, so that no implementation is judged by its taste
//! in buffers. For the same reason one read gets 1024 bytes at most.

use std::io::{self, ErrorKind, Read, Write};

use crate::LIMIT;
use crate::conformance::laws::{Breach, Law, Violation};
use crate::conformance::reference;
use crate::exchange::Duplex;

/// How many turns of each kind a conversation has. Those for reads are taken over and over, but
/// without the interrupts and the waits, so that it comes to an end; after those for writes all is
/// taken.
pub const TURNS: usize = 16;

/// What happens next on a stream.
///
/// Each has a letter, so that a script of them can be read: `1` to `9` a segment of so many bytes,
/// `*` one of all that is left, `i` an interrupt, `n` nothing yet, `e` the end, `t` the time-out,
/// `x` the failure; any other ASCII byte is a segment of as many bytes as its value, or one. A byte
/// from 80 on is the first of two: their last ten bits are the length of a segment.
///
/// ```
/// use upcase::conformance::exchange_laws::Turn;
/// assert_eq!(Turn::from(b'3'), Turn::Segment(3));
/// assert_eq!(Turn::from(b'i'), Turn::Interrupt);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A segment, of this many bytes and at least one.
    Segment(usize),
    /// An interrupted system call ([`ErrorKind::Interrupted`]).
    Interrupt,
    /// Nothing can be passed on yet, but later ([`ErrorKind::WouldBlock`]).
    NothingYet,
    /// The end of the stream; of a stream written to, that it takes no more.
    End,
    /// The deadline ([`ErrorKind::TimedOut`]).
    TimeOut,
    /// A failure: a reset, or another of the kinds that there are.
    Failure,
}

impl From<u8> for Turn {
    fn from(letter: u8) -> Self {
        match letter {
            b'1'..=b'9' => Self::Segment(usize::from(letter - b'0')),
            b'*' => Self::Segment(usize::MAX),
            b'i' => Self::Interrupt,
            b'n' => Self::NothingYet,
            b'e' => Self::End,
            b't' => Self::TimeOut,
            b'x' => Self::Failure,
            other => Self::Segment(usize::from(other).max(1)),
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Turn {
    fn arbitrary(bytes: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        match u8::arbitrary(bytes)? {
            high @ 0x80.. => {
                let length = u16::from_be_bytes([high, u8::arbitrary(bytes)?]) % 0x400;
                Ok(Self::Segment(usize::from(length).max(1)))
            }
            letter => Ok(letter.into()),
        }
    }
}

/// A course that an exchange may take.
///
/// As raw bytes (feature `arbitrary`) it is sixteen turns for [`reads`](Self::reads), as many for
/// [`writes`](Self::writes), and then the very bytes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Conversation<'a> {
    /// What happens when the peer is read from, until one of them ends the stream, or `wire` is
    /// used up, which ends it too.
    pub reads: [Turn; TURNS],
    /// What happens when the peer is written to.
    pub writes: [Turn; TURNS],
    /// The bytes that the peer sends.
    pub wire: &'a [u8],
}

impl<'a> Conversation<'a> {
    /// What happens when the peer is read from, up to the ending: the end, the time-out or the
    /// failure. A segment of nothing is the end.
    fn script(&self) -> (Vec<Event<'a>>, Turn) {
        let mut events = Vec::new();
        let mut rest = self.wire;
        let passes = |turn: &&Turn| !matches!(turn, Turn::Interrupt | Turn::NothingYet);
        let again = self.reads.iter().filter(passes);
        for turn in self.reads.iter().chain(again.cycle()) {
            match turn {
                Turn::Segment(_) if rest.is_empty() => break,
                Turn::Segment(length) => {
                    let segment;
                    (segment, rest) = rest.split_at((*length).clamp(1, rest.len()));
                    events.push(Event::Segment(segment));
                }
                Turn::Interrupt => events.push(Event::Interrupt),
                Turn::NothingYet => events.push(Event::NothingYet),
                ending => return (events, *ending),
            }
        }
        (events, Turn::End)
    }

    /// All that the peer sends before its side ends.
    #[must_use]
    pub fn sent(&self) -> Vec<u8> {
        let (events, _) = self.script();
        let segment = |event: &Event<'a>| {
            if let Event::Segment(s) = event {
                s
            } else {
                &[][..]
            }
        };
        events.iter().flat_map(segment).copied().collect()
    }

    /// How the peer's side ends.
    #[must_use]
    pub fn ending(&self) -> Turn {
        self.script().1
    }

    /// The request that the peer makes, by the model, if it makes one.
    #[must_use]
    pub fn request(&self) -> Option<Vec<u8>> {
        reference::request(&self.sent(), self.ending() == Turn::End)
    }
}

/// What happens on a stream before its ending.
enum Event<'a> {
    Segment(&'a [u8]),
    Interrupt,
    NothingYet,
}

/// The other side of a conversation, in memory. It takes note of what is done to it.
///
/// It does not block: where nothing can be passed on yet it says [`ErrorKind::WouldBlock`], and
/// the next call may find more. Unless it is made by [`blocking`](Self::blocking).
pub struct Peer<'a> {
    events: std::iter::Peekable<std::vec::IntoIter<Event<'a>>>,
    ending: Turn,
    writes: std::vec::IntoIter<Turn>,
    /// How many bytes its request has, if that is complete without an end of the stream.
    request_length: Option<usize>,
    /// Chooses among the errors that mean the same.
    variant: usize,
    notes: Notes,
}

/// What was done to a [`Peer`].
#[derive(Clone, Debug, Default)]
struct Notes {
    /// How many bytes were read.
    taken: usize,
    /// How many reads and writes found an ending.
    idle_calls: usize,
    /// How many reads and writes had no room for a byte, or none to pass on.
    empty_calls: usize,
    /// Whether more was read after its request was complete, and before a half-close.
    read_on: bool,
    /// How many times its ending was read.
    endings: usize,
    /// What was written.
    written: Vec<u8>,
    /// How writing came to its end, if it did.
    write_ended: Option<Turn>,
    /// How many times it was written to after that.
    late_writes: usize,
    half_closes: usize,
    /// Whether it was written to, or half-closed, before its request was complete, or could not be
    /// any more.
    acted_early: bool,
    half_close_failed: bool,
}

impl<'a> Peer<'a> {
    /// A peer that will act as `conversation` has it.
    #[must_use]
    pub fn new(conversation: &Conversation<'a>) -> Self {
        let (events, ending) = conversation.script();
        Self {
            events: events.into_iter().peekable(),
            ending,
            writes: Vec::from(conversation.writes).into_iter(),
            request_length: reference::request(&conversation.sent(), false).map(|r| r.len()),
            variant: conversation.wire.len(),
            notes: Notes::default(),
        }
    }

    /// The same, but that each call waits until something can be passed on.
    #[must_use]
    pub fn blocking(conversation: &Conversation<'a>) -> Self {
        let mut peer = Self::new(conversation);
        let passes = |event: &Event| !matches!(event, Event::NothingYet);
        let events: Vec<_> = peer.events.filter(passes).collect();
        peer.events = events.into_iter().peekable();
        let writes: Vec<_> = peer
            .writes
            .filter(|turn| *turn != Turn::NothingYet)
            .collect();
        peer.writes = writes.into_iter();
        peer
    }

    /// Notes that the other side does something that can be seen.
    fn act(&mut self) {
        self.notes.acted_early |= !self.has_request() && self.notes.endings == 0;
    }

    fn accept(&mut self, bytes: &[u8]) -> usize {
        self.act();
        self.notes.written.extend(bytes);
        bytes.len()
    }

    /// What a stream answers at its ending.
    ///
    /// # Panics
    /// Where it is asked without end, which would otherwise go on for ever.
    fn end(&mut self, ending: Turn) -> io::Result<usize> {
        const FAILURES: [ErrorKind; 3] = [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::BrokenPipe,
        ];
        self.notes.idle_calls += 1;
        assert!(self.notes.idle_calls < 10_000, "it spins at a stream's end");
        match ending {
            Turn::TimeOut => Err(ErrorKind::TimedOut.into()),
            Turn::Failure => Err(FAILURES[self.variant % FAILURES.len()].into()),
            Turn::Segment(_) | Turn::Interrupt | Turn::NothingYet | Turn::End => Ok(0),
        }
    }

    /// What a read or a write of no bytes comes to, which is no fault.
    ///
    /// # Panics
    /// As [`end`](Self::end).
    fn pass_nothing(&mut self) -> usize {
        self.notes.empty_calls += 1;
        assert!(self.notes.empty_calls < 10_000, "it spins on no bytes");
        0
    }

    /// Whether all of the request has been read, if there is one.
    fn has_request(&self) -> bool {
        let taken = self.notes.taken;
        self.request_length.is_some_and(|length| taken >= length)
            || self.ending == Turn::End && self.notes.endings > 0
    }
}

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(self.pass_nothing());
        }
        // At the end of the stream there is nothing to wait for.
        let waits = self.notes.endings == 0 && self.notes.half_closes == 0;
        self.notes.read_on |= self.has_request() && waits;
        match self.events.peek_mut() {
            None => {
                self.notes.endings += 1;
                self.end(self.ending)
            }
            Some(Event::Interrupt) => {
                self.events.next();
                Err(ErrorKind::Interrupted.into())
            }
            Some(Event::NothingYet) => {
                self.events.next();
                Err(ErrorKind::WouldBlock.into())
            }
            Some(Event::Segment(segment)) => {
                let count = segment.len().min(buffer.len()).min(LIMIT);
                buffer[..count].copy_from_slice(&segment[..count]);
                *segment = &segment[count..];
                if segment.is_empty() {
                    self.events.next();
                }
                self.notes.taken += count;
                Ok(count)
            }
        }
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(self.pass_nothing());
        }
        self.notes.late_writes += usize::from(self.notes.write_ended.is_some());
        // What is written after a half-close goes nowhere.
        if self.notes.write_ended.is_some() || self.notes.half_closes > 0 {
            return self.end(Turn::Failure);
        }
        match self.writes.next() {
            Some(Turn::Interrupt) => Err(ErrorKind::Interrupted.into()),
            Some(Turn::NothingYet) => Err(ErrorKind::WouldBlock.into()),
            Some(Turn::Segment(length)) => Ok(self.accept(&bytes[..length.clamp(1, bytes.len())])),
            None => Ok(self.accept(bytes)),
            Some(ending) => {
                self.notes.write_ended = Some(ending);
                self.end(ending)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Duplex for Peer<'_> {
    fn half_close(&mut self) -> io::Result<()> {
        // A connection that is gone has no sending side to end.
        if self.notes.write_ended == Some(Turn::Failure) {
            return Err(ErrorKind::NotConnected.into());
        }
        self.notes.half_closes += 1;
        self.act();
        if self.ending == Turn::Failure && self.events.peek().is_none() {
            self.notes.half_close_failed = true;
            return Err(ErrorKind::NotConnected.into());
        }
        Ok(())
    }
}

/// The law of the framing.
pub const FRAMING: Law<()> = Law {
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
    says: "a request is a function of the stream's bytes, however they are cut, and is read no \
           further",
    check: (),
};

/// The law of a server's whole exchange.
pub const SESSION: Law<()> = Law {
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
    says: "what a server writes is the reply to the complete request, or nothing; then it \
           half-closes once, and reads to the end",
    check: (),
};

/// The law of a client's reading half.
pub const CLIENT: Law<()> = Law {
    name: "client",
    clauses: &["CLIENT-3", "CLIENT-4", "CLIENT-5"],
    says: "a client has the whole of what came before an orderly end, if that is 1024 bytes at \
           most, and otherwise an error; it takes no more than another 1024 bytes to find out",
    check: (),
};

/// What the framing is to make of a stream: a request, or [`Turn::TimeOut`] or [`Turn::Failure`]
/// where that came before one was complete.
pub type Framed = Result<Vec<u8>, Turn>;

/// Judges `frame`, which makes a request of a stream.
///
/// # Errors
/// The [`Violation`], if the law [`FRAMING`] is broken.
///
/// # Panics
/// Where the implementation does, or asks without end where nothing more can come.
pub fn framing(
    frame: &dyn Fn(&mut dyn Read) -> Framed,
    conversation: &Conversation,
) -> Result<(), Violation> {
    let mut peer = Peer::new(conversation);
    let request = frame(&mut peer);
    let wanted = conversation.request().ok_or(conversation.ending());
    let fault = if request != wanted {
        Some(match wanted {
            Ok(wanted) => format!("b\"{}\"", wanted.escape_ascii()),
            Err(ending) => format!("no request, but {ending:?}"),
        })
    } else if peer.notes.read_on {
        Some("no read after the request was complete".into())
    } else {
        peer.notes.too_much_work(endings(conversation))
    };
    FRAMING.judged(fault, &conversation.sent(), request.ok().as_deref())
}

/// Judges `serve`, a server's whole exchange with a peer.
///
/// # Errors
/// The [`Violation`], if the law [`SESSION`] is broken.
///
/// # Panics
/// Where the implementation does, or asks without end where nothing more can come.
pub fn session(serve: &dyn Fn(&mut Peer), conversation: &Conversation) -> Result<(), Violation> {
    let mut peer = Peer::new(conversation);
    serve(&mut peer);
    let notes = &peer.notes;
    let reply = conversation
        .request()
        .map(|request| reference::process(&request));
    let fault = match reply {
        // It might never be complete, as far as a server knows.
        _ if notes.acted_early => Some("nothing before the request is complete".into()),
        None if notes.written.is_empty() => None,
        None => Some("nothing written, as there is no request".into()),
        Some(reply) if !reply.starts_with(&notes.written) => {
            Some(format!("b\"{}\" or a part of it", reply.escape_ascii()))
        }
        Some(_) if notes.late_writes > 0 => Some("no write after one has failed".into()),
        Some(_) if notes.write_ended.is_some() && notes.half_closes > 0 => {
            Some("no orderly end of a reply that is cut off".into())
        }
        Some(_) if notes.write_ended.is_some() => None,
        Some(_) if notes.read_on => {
            Some("no read between the request and the half-close after its reply".into())
        }
        Some(reply) if notes.written.len() < reply.len() => {
            Some(format!("b\"{}\", all of it", reply.escape_ascii()))
        }
        Some(_) if notes.half_closes != 1 => Some("one half-close after the reply".into()),
        Some(_) if notes.half_close_failed => None,
        Some(_) if notes.endings > endings(conversation) => {
            Some("no read of a stream that has failed or timed out".into())
        }
        Some(_) if notes.endings == 0 => Some("the peer's stream read to its end".into()),
        Some(_) => None,
    };
    // Once while reading the request, once while writing, and once while discarding.
    let fault = fault.or_else(|| notes.too_much_work(3));
    SESSION.judged(fault, &conversation.sent(), Some(&notes.written))
}

/// Judges `read`, which makes a reply of what a server sends, or none of what is not one. Its
/// stream blocks.
///
/// # Errors
/// The [`Violation`], if the law [`CLIENT`] is broken.
///
/// # Panics
/// Where the implementation does, or asks without end where nothing more can come.
pub fn client(
    read: &dyn Fn(&mut dyn Read) -> Option<Vec<u8>>,
    conversation: &Conversation,
) -> Result<(), Violation> {
    let mut peer = Peer::blocking(conversation);
    let reply = read(&mut peer);
    let sent = conversation.sent();
    let wanted = conversation.ending() == Turn::End && sent.len() <= LIMIT;
    let fault = match &reply {
        Some(reply) if !wanted => Some(format!("an error, not {} bytes", reply.len())),
        Some(reply) if *reply != sent => Some(format!("b\"{}\"", sent.escape_ascii())),
        None if wanted => Some(format!("b\"{}\"", sent.escape_ascii())),
        _ if peer.notes.taken > 2 * LIMIT => Some(format!(
            "at most {} bytes taken, not {}",
            2 * LIMIT,
            peer.notes.taken
        )),
        _ => peer.notes.too_much_work(endings(conversation)),
    };
    CLIENT.judged(fault, &sent, reply.as_deref())
}

/// How often a reader may find the ending: a time-out or a failure once, for to try again is to
/// wait again; the end of the stream, which costs nothing, some times more.
fn endings(conversation: &Conversation) -> usize {
    if conversation.ending() == Turn::End {
        3
    } else {
        1
    }
}

impl Notes {
    /// Each call passes on a byte at least, or is interrupted, or finds an ending, which it is to
    /// do `most` times.
    fn too_much_work(&self, most: usize) -> Option<String> {
        let found = format!("a stream's ending found {most} times at most");
        (self.idle_calls > most).then_some(found)
    }
}

impl Law<()> {
    fn judged(
        &self,
        fault: Option<String>,
        sent: &[u8],
        made: Option<&[u8]>,
    ) -> Result<(), Violation> {
        let breach = fault.map(|wanted| {
            let (request, reply) = (sent.to_vec(), made.unwrap_or_default().to_vec());
            Breach {
                request,
                reply,
                wanted,
            }
        });
        self.named(breach.map_or(Ok(()), Err))
    }
}
