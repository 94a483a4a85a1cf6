//! A connection to the server, and what is seen on it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::super::reference::{self, LIMIT};
use super::cause::{Cause, Finding, Trouble, is_of_the_server};
use super::{LEAST_DEADLINE, NOT_CLOSED_BEFORE};
use crate::deadline::{Timed, is_time_out};

/// The number of bytes after which the judge stops reading. It is far more than a reply has.
const FLOOD: u64 = 65_536;

/// A wait that ends so much later than its time-out shows that this machine stood still.
const STANDSTILL: Duration = Duration::from_millis(500);

/// How a server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeenEnd {
    Fin,
    /// By a reset, which may have destroyed a part of the reply, or another error.
    Error(ErrorKind),
    /// Not within the time-out.
    TimeOut,
    /// Not after [`FLOOD`] bytes.
    Flood,
}

impl fmt::Display for SeenEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "by an orderly end of the stream (FIN)",
            Self::Error(kind) => return write!(f, "by a reset (RST) or another error: {kind}"),
            Self::TimeOut => "not within the time-out",
            Self::Flood => "not: it sends endlessly",
        })
    }
}

impl From<io::Error> for SeenEnd {
    fn from(error: io::Error) -> Self {
        if is_time_out(&error) {
            Self::TimeOut
        } else {
            Self::Error(error.kind())
        }
    }
}

/// A connection to the server, and what was received on it.
pub(super) struct Connection {
    stream: TcpStream,
    /// When the client began to connect: before the server accepted the connection.
    began_at: Instant,
    /// When the client was connected: at most a second before the server accepted the connection
    /// (SPEC TIME-8).
    pub opened_at: Instant,
    /// When the client last began to send something or to end its side.
    acted_at: Instant,
    /// The first bytes that the client has sent: one more than a request has at most.
    sent: Vec<u8>,
    half_closed: bool,
    pub received: Vec<u8>,
    pub end: Option<SeenEnd>,
    pub ended_at: Option<Instant>,
    /// Whether the client could not send all bytes.
    cannot_send: bool,
    /// Whether this machine stood still while the client waited.
    pub stood_still: bool,
}

impl Connection {
    /// Connects to `server` within `time`.
    pub fn open(server: &SocketAddr, time: Duration) -> io::Result<Self> {
        let began_at = Instant::now();
        let stream = TcpStream::connect_timeout(server, time)?;
        let opened_at = Instant::now();
        // On macOS this fails if the connection was reset. Reading tells the same.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            began_at,
            opened_at,
            acted_at: opened_at,
            sent: Vec::new(),
            half_closed: false,
            received: Vec::new(),
            end: None,
            ended_at: None,
            cannot_send: false,
            stood_still: false,
        })
    }

    /// Sends `bytes` within `time`.
    pub fn write(&mut self, bytes: &[u8], time: Duration) -> io::Result<()> {
        self.acted_at = Instant::now();
        let room = LIMIT + 1 - self.sent.len();
        self.sent.extend(&bytes[..bytes.len().min(room)]);
        Timed::new(&self.stream, self.acted_at + time).write_all(bytes)
    }

    /// Ends the client's side of the stream.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.acted_at = Instant::now();
        self.half_closed = true;
        self.stream.shutdown(Shutdown::Write)
    }

    /// Makes the close a reset.
    pub fn reset(&self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Notes that sending has failed. What came before that is still read.
    pub fn fail(&mut self, error: io::Error, time: Duration) {
        self.read_to_end(time);
        self.end = Some(error.into());
        self.ended_at = Some(Instant::now());
        self.cannot_send = true;
    }

    /// Waits for `time`, and reads what comes meanwhile. Nothing comes after an end of a connection that
    /// the server `may_close`.
    pub fn pause(&mut self, time: Duration, may_close: bool) {
        let start = Instant::now();
        self.read_to_end(time);
        if self.end == Some(SeenEnd::TimeOut) {
            (self.end, self.ended_at) = (None, None); // the time of the pause, not the server's
        }
        if self.end.is_none() || !may_close {
            thread::sleep(time.saturating_sub(start.elapsed()));
        }
    }

    /// Reads to the end of the server's side, within `time`. A second call keeps the first end.
    pub fn read_to_end(&mut self, time: Duration) {
        if self.end.is_some() {
            return;
        }
        let until = Instant::now() + time;
        let stream = Timed::new(&self.stream, until);
        self.end = Some(match stream.take(FLOOD).read_to_end(&mut self.received) {
            Ok(count) if count as u64 == FLOOD => SeenEnd::Flood,
            Ok(_) => SeenEnd::Fin,
            Err(error) => error.into(),
        });
        let ended_at = Instant::now();
        self.stood_still = self.end == Some(SeenEnd::TimeOut) && ended_at > until + STANDSTILL;
        self.ended_at = Some(ended_at);
    }

    /// Reads what has come, without waiting.
    pub fn read_what_is_there(&mut self) {
        if self.end.is_some() || self.stream.set_nonblocking(true).is_err() {
            return;
        }
        let mut stream = (&self.stream).take(FLOOD);
        self.end = match stream.read_to_end(&mut self.received) {
            Ok(_) => Some(SeenEnd::Fin),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(error.into()),
        };
        self.ended_at = self.end.map(|_| Instant::now());
        let _ = self.stream.set_nonblocking(false);
    }

    /// Whether the server has ended it, sooner than any deadline.
    pub fn ended_early(&self) -> bool {
        let is_ended = matches!(self.end, Some(SeenEnd::Fin | SeenEnd::Error(_)));
        let earliest = self.began_at + NOT_CLOSED_BEFORE;
        is_ended && self.ended_at.is_some_and(|at| at < earliest)
    }

    /// Whether the server has closed the whole connection by `deadline`. Then it answers more bytes
    /// with a reset, and sending fails.
    pub fn is_gone(&mut self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.write(b"x", left) {
                // A close after a half-close is silent, so it has to be asked for again.
                Ok(()) => thread::sleep(Duration::from_millis(50)),
                Err(error) => return !is_time_out(&error),
            }
        }
    }

    /// The request, if it is complete.
    fn request(&self) -> Option<Vec<u8>> {
        reference::request(&self.sent, self.half_closed)
    }

    /// Whether the request is complete.
    pub fn is_complete(&self) -> bool {
        self.request().is_some()
    }

    /// The clause that a reset breaks. Surplus bytes that are not read make a close a reset.
    fn broken_by_reset(&self) -> &'static str {
        match self.request() {
            Some(request) if request.len() < self.sent.len() => "SURPLUS-2",
            _ => "REPLY-2",
        }
    }

    /// The clause that says why the request is complete, and must be answered.
    fn complete_by(&self) -> &'static str {
        let request = self.request().unwrap_or_default();
        if request.ends_with(b"\n") {
            "REPLY-1"
        } else if request.len() < LIMIT {
            "FRAME-3"
        } else {
            "FRAME-2"
        }
    }

    /// Judges what was received until the end of the stream, after a complete request.
    pub fn judge(&self, expected: &[u8]) -> Result<(), Trouble> {
        let received = &self.received[..];
        let is_beginning = expected.starts_with(received);
        let is_whole = received == expected;
        let end = self.end.unwrap_or(SeenEnd::TimeOut);
        if let SeenEnd::Error(kind) = end
            && !is_of_the_server(kind)
        {
            return Err(Trouble::of(
                "use the connection",
                &kind.into(),
                Cause::Wrong,
            ));
        }
        let is_closed = matches!(end, SeenEnd::Fin | SeenEnd::Error(_));
        let is_right = is_whole && end == SeenEnd::Fin;
        if self.stood_still {
            return Err(Trouble::LateJudge);
        }
        // The server may have been at its deadline.
        if !is_right && is_closed && is_beginning && self.acted_at > self.began_at + LEAST_DEADLINE
        {
            return Err(Trouble::LateJudge);
        }
        // A server that closes at its deadline has waited for something that does not come.
        let is_silent = !is_whole && received.is_empty() && !self.ended_early();
        let cause = match end {
            SeenEnd::Fin if is_whole => return Ok(()),
            SeenEnd::Flood => Cause::Endless,
            _ if !is_beginning => Cause::Wrong,
            _ if self.cannot_send => Cause::CannotSend,
            _ if is_silent => Cause::Silence(self.complete_by()),
            SeenEnd::Fin if received.is_empty() => Cause::NoReply,
            SeenEnd::Fin => Cause::Wrong,
            SeenEnd::Error(_) if is_whole => Cause::ResetAfterReply(self.broken_by_reset()),
            SeenEnd::Error(_) => Cause::ResetBeforeReply(self.broken_by_reset()),
            SeenEnd::TimeOut if is_whole => Cause::NoEnd,
            SeenEnd::TimeOut => Cause::PartOfReply,
        };
        Err(self.finding(cause, expected).into())
    }

    /// What was seen, of this `cause`.
    pub fn finding(&self, cause: Cause, expected: &[u8]) -> Finding {
        let end = self.end.map_or("not yet".into(), |end| end.to_string());
        let ended_at = self.ended_at.unwrap_or_else(Instant::now);
        let after = ended_at.saturating_duration_since(self.opened_at);
        Finding {
            cause,
            is_of_other: false,
            details: vec![(
                "ended",
                format!("{end}, {after:.1?} after the connection was opened"),
            )],
            bytes: Some((expected.into(), self.received.clone())),
        }
    }
}
