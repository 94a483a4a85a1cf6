//! A peer that acts by a script, in memory, and records what is done to it.
//!
//! A [`Script`] is the bytes that the peer sends, cut into segments, with interrupts and waits
//! between them, up to an end, a time-out or an error. A [`ScriptedPeer`] plays it.
//!
//! Rules of this file: what the peer does depends on how many bytes it has sent, not on the sizes
//! of the caller's buffers, so buffer sizes do not affect the result. For the same reason one read
//! returns at most 1024 bytes.

use std::io::{self, ErrorKind, Read, Write};

use super::reference::{self, LIMIT};
use crate::exchange::Duplex;

/// How many actions a script has for reads, and how many for writes.
pub const ACTIONS: usize = 16;

/// What happens at one call on a stream.
///
/// Each has a letter, so that a script can be read: `1` to `9` a segment of that many bytes, `*` one
/// of all that is left, `i` an interrupt, `n` not ready, `e` the end, `t` the time-out, `x` an error.
/// Any other ASCII byte is a segment of as many bytes as its value, and at least one. A byte from 80
/// on is the first of two: their last ten bits are the length of a segment.
///
/// ```
/// use upcase::conformance::script::Action;
/// assert_eq!(Action::from(b'3'), Action::Segment(3));
/// assert_eq!(Action::from(b'i'), Action::Interrupt);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A segment of this many bytes, at least one.
    Segment(usize),
    /// An interrupted system call ([`ErrorKind::Interrupted`]).
    Interrupt,
    /// The stream is not ready now, but will be later ([`ErrorKind::WouldBlock`]).
    NotReady,
    /// The end of the stream. When writing: the stream takes no more bytes.
    End,
    /// The deadline ([`ErrorKind::TimedOut`]).
    TimeOut,
    /// A reset or another error.
    Error,
}

impl From<u8> for Action {
    fn from(letter: u8) -> Self {
        match letter {
            b'1'..=b'9' => Self::Segment(usize::from(letter - b'0')),
            b'*' => Self::Segment(usize::MAX),
            b'i' => Self::Interrupt,
            b'n' => Self::NotReady,
            b'e' => Self::End,
            b't' => Self::TimeOut,
            b'x' => Self::Error,
            other => Self::Segment(usize::from(other).max(1)),
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Action {
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

/// What a peer does in one exchange.
///
/// As raw bytes (feature `arbitrary`): sixteen actions for [`reads`](Self::reads), sixteen for
/// [`writes`](Self::writes), and then the bytes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Script<'a> {
    /// The actions of reads. The stream ends at the first action that ends it, or when `wire` is
    /// used up. Until then the actions repeat; only the first round has interrupts and waits, so
    /// that every script ends.
    pub reads: [Action; ACTIONS],
    /// What happens when the peer is written to. After these it takes everything.
    pub writes: [Action; ACTIONS],
    /// The bytes that the peer sends.
    pub wire: &'a [u8],
}

impl<'a> Script<'a> {
    /// What happens when the peer is read from, up to the ending: the end, the time-out or the
    /// error.
    fn events(&self) -> (Vec<Event<'a>>, Action) {
        let mut events = Vec::new();
        let mut rest = self.wire;
        let passes = |action: &&Action| !matches!(action, Action::Interrupt | Action::NotReady);
        let again = self.reads.iter().filter(passes);
        for action in self.reads.iter().chain(again.cycle()) {
            match action {
                Action::Segment(_) if rest.is_empty() => break,
                Action::Segment(length) => {
                    let segment;
                    (segment, rest) = rest.split_at((*length).clamp(1, rest.len()));
                    events.push(Event::Segment(segment));
                }
                Action::Interrupt => events.push(Event::Interrupt),
                Action::NotReady => events.push(Event::NotReady),
                ending => return (events, *ending),
            }
        }
        (events, Action::End)
    }

    /// All bytes that the peer sends before its stream ends.
    #[must_use]
    pub fn stream(&self) -> Vec<u8> {
        stream_of(&self.events().0)
    }

    /// How the peer's stream ends: [`Action::End`], [`Action::TimeOut`] or [`Action::Error`].
    #[must_use]
    pub fn ending(&self) -> Action {
        self.events().1
    }

    /// The request that the peer sends, by the reference; `None` if it is not complete.
    #[must_use]
    pub fn request(&self) -> Option<Vec<u8>> {
        let (events, ending) = self.events();
        reference::request(&stream_of(&events), ending == Action::End)
    }
}

/// What happens on a stream before its ending.
enum Event<'a> {
    Segment(&'a [u8]),
    Interrupt,
    NotReady,
}

/// The bytes of all segments.
fn stream_of(events: &[Event]) -> Vec<u8> {
    let mut stream = Vec::new();
    for event in events {
        if let Event::Segment(segment) = event {
            stream.extend_from_slice(segment);
        }
    }
    stream
}

/// The other end of a connection, which acts by a [`Script`].
///
/// A peer made by [`new`](Self::new) does not block: if it is not ready, the call fails with
/// [`ErrorKind::WouldBlock`], and the next call may succeed. A peer made by
/// [`blocking`](Self::blocking) skips the action [`Action::NotReady`].
pub struct ScriptedPeer<'a> {
    events: std::iter::Peekable<std::vec::IntoIter<Event<'a>>>,
    ending: Action,
    writes: std::vec::IntoIter<Action>,
    /// How many bytes its request has, if it is complete without the end of the stream.
    request_length: Option<usize>,
    /// Chooses among the errors that mean the same.
    variant: usize,
    pub(super) recording: Recording,
}

/// What was done to a [`ScriptedPeer`].
#[derive(Clone, Debug, Default)]
pub(super) struct Recording {
    /// How many bytes were read.
    pub bytes_read: usize,
    /// How many reads and writes met an ending.
    pub calls_at_ending: usize,
    /// How many reads and writes had an empty buffer.
    pub empty_calls: usize,
    /// Whether the peer was read after its request was complete and before a half-close.
    pub read_past_request: bool,
    /// How many reads met the ending.
    pub endings_read: usize,
    /// The bytes that were written.
    pub written: Vec<u8>,
    /// How writing ended, if it did.
    pub write_ending: Option<Action>,
    /// How many writes came after that.
    pub writes_after_ending: usize,
    pub half_closes: usize,
    /// Whether the peer was written to, or half-closed, while its request could still come.
    pub acted_early: bool,
    pub half_close_failed: bool,
}

impl<'a> ScriptedPeer<'a> {
    /// A peer that acts as `script` says, and does not block.
    #[must_use]
    pub fn new(script: &Script<'a>) -> Self {
        let (events, ending) = script.events();
        Self {
            request_length: reference::request(&stream_of(&events), false).map(|r| r.len()),
            events: events.into_iter().peekable(),
            ending,
            writes: Vec::from(script.writes).into_iter(),
            variant: script.wire.len(),
            recording: Recording::default(),
        }
    }

    /// The same, but each call waits until something can be passed on.
    #[must_use]
    pub fn blocking(script: &Script<'a>) -> Self {
        let mut peer = Self::new(script);
        let ready = |event: &Event| !matches!(event, Event::NotReady);
        let events: Vec<_> = peer.events.filter(ready).collect();
        peer.events = events.into_iter().peekable();
        let writes = peer.writes.filter(|action| *action != Action::NotReady);
        peer.writes = writes.collect::<Vec<_>>().into_iter();
        peer
    }

    /// Records an act that the peer can see.
    fn record_act(&mut self) {
        self.recording.acted_early |= !self.has_request() && self.recording.endings_read == 0;
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        self.record_act();
        self.recording.written.extend(bytes);
        bytes.len()
    }

    /// The result of a call at the ending of a stream.
    ///
    /// # Panics
    /// After 10,000 such calls, which would never stop otherwise.
    fn end(&mut self, ending: Action) -> io::Result<usize> {
        const ERRORS: [ErrorKind; 3] = [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::BrokenPipe,
        ];
        self.recording.calls_at_ending += 1;
        let calls = self.recording.calls_at_ending;
        assert!(calls < 10_000, "endless calls at the end of a stream");
        match ending {
            Action::TimeOut => Err(ErrorKind::TimedOut.into()),
            Action::Error => Err(ERRORS[self.variant % ERRORS.len()].into()),
            Action::Segment(_) | Action::Interrupt | Action::NotReady | Action::End => Ok(0),
        }
    }

    /// The result of a call with an empty buffer, which is allowed.
    ///
    /// # Panics
    /// After 10,000 such calls.
    fn pass_nothing(&mut self) -> usize {
        self.recording.empty_calls += 1;
        let calls = self.recording.empty_calls;
        assert!(calls < 10_000, "endless calls with an empty buffer");
        0
    }

    /// Whether all of the request has been read, if there is one.
    fn has_request(&self) -> bool {
        let read = self.recording.bytes_read;
        self.request_length.is_some_and(|length| read >= length)
            || self.ending == Action::End && self.recording.endings_read > 0
    }
}

impl Read for ScriptedPeer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(self.pass_nothing());
        }
        // A read at the end of the stream, or after the half-close, delays no reply.
        let delays = self.recording.endings_read == 0 && self.recording.half_closes == 0;
        self.recording.read_past_request |= self.has_request() && delays;
        match self.events.peek_mut() {
            None => {
                self.recording.endings_read += 1;
                self.end(self.ending)
            }
            Some(Event::Interrupt) => {
                self.events.next();
                Err(ErrorKind::Interrupted.into())
            }
            Some(Event::NotReady) => {
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
                self.recording.bytes_read += count;
                Ok(count)
            }
        }
    }
}

impl Write for ScriptedPeer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(self.pass_nothing());
        }
        let ended = self.recording.write_ending.is_some();
        self.recording.writes_after_ending += usize::from(ended);
        if ended || self.recording.half_closes > 0 {
            return self.end(Action::Error);
        }
        match self.writes.next() {
            Some(Action::Interrupt) => Err(ErrorKind::Interrupted.into()),
            Some(Action::NotReady) => Err(ErrorKind::WouldBlock.into()),
            Some(Action::Segment(length)) => Ok(self.take(&bytes[..length.clamp(1, bytes.len())])),
            None => Ok(self.take(bytes)),
            Some(ending) => {
                self.recording.write_ending = Some(ending);
                self.end(ending)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Duplex for ScriptedPeer<'_> {
    fn half_close(&mut self) -> io::Result<()> {
        // A connection that has failed has no sending side to end.
        if self.recording.write_ending == Some(Action::Error) {
            return Err(ErrorKind::NotConnected.into());
        }
        self.recording.half_closes += 1;
        self.record_act();
        if self.ending == Action::Error && self.events.peek().is_none() {
            self.recording.half_close_failed = true;
            return Err(ErrorKind::NotConnected.into());
        }
        Ok(())
    }
}
