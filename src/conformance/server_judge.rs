//! Judges a running server over TCP, by the vectors.
//!
//! Rules of this file:
//!
//! - No expectation depends on a race. What a server does after its reply, and how fast it is, is
//!   judged only by the limits in SPEC.md, counted as its section 4.4 says.
//! - A server is not blamed for what this machine lacks, nor if the judge acts so late that the
//!   server may have been at its deadline.

use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::reference;
use super::vectors::{End, Expectation, Other, Step, Vector};
use super::violation::{NotPassed, Violation, excerpt};
use crate::deadline::{Timed, is_time_out};

/// The latest close of a connection, counted from when the client was connected: the limit of SPEC
/// TIME-1, and a second in which the server accepts the connection (TIME-8).
const CLOSED_BY: Duration = Duration::from_secs(11);

/// The earliest deadline of a connection, counted from when the client began to connect (SPEC TIME-6).
const LEAST_DEADLINE: Duration = Duration::from_secs(2);

/// An end before this is too early: less than that by what a timer may be early.
const NOT_CLOSED_BEFORE: Duration = LEAST_DEADLINE.saturating_sub(Duration::from_millis(100));

/// The number of bytes after which the judge stops reading. It is far more than a reply has.
const FLOOD: u64 = 65_536;

/// How many times a vector is judged as long as this machine may be the cause of a delay.
const ATTEMPTS: usize = 3;

/// Judges a running server, over TCP.
#[derive(Clone, Copy, Debug)]
pub struct ServerJudge {
    /// Where the server listens.
    pub server: SocketAddr,
    /// How long to wait for anything before the server is judged to be wrong.
    pub timeout: Duration,
    /// How soon the end of the stream must come after the request is complete (SPEC REPLY-4). It is
    /// less than the least deadline (TIME-6), so a server that waits for its deadline is caught. A
    /// machine may be slow, so an end counts as late only if it is late three times.
    pub max_delay: Duration,
}

/// What went wrong on a connection.
enum Trouble {
    /// The server did something wrong.
    Server(String),
    /// The judge acted so late that the server may have been at its deadline.
    LateJudge,
    /// This machine lacks something.
    Machine(String),
}

impl Trouble {
    /// What an error of the system shows: that the client cannot do `what`.
    fn of(what: &str, error: &io::Error) -> Self {
        if is_of_the_server(error.kind()) {
            return Self::Server(format!("the client cannot {what}: {error}"));
        }
        let cure = match error.raw_os_error() {
            Some(23 | 24) => "; raise the limit of open files (ulimit -n)", // ENFILE and EMFILE
            _ if error.kind() == ErrorKind::AddrNotAvailable => {
                "; if no port is free, wait a minute"
            }
            _ => "",
        };
        Self::Machine(format!("this machine cannot {what}: {error}{cure}"))
    }

    /// Why the server did not pass: by the `violation` of a problem, if that is the server's fault.
    fn not_passed(self, violation: impl FnOnce(String) -> Violation) -> NotPassed {
        match self {
            Self::Server(problem) => NotPassed::Violation(violation(problem)),
            Self::LateJudge => late_judge(),
            Self::Machine(reason) => NotPassed::NotJudged(reason),
        }
    }
}

fn failed_before() -> NotPassed {
    NotPassed::NotJudged("the server failed before this; see the first violation".into())
}

fn late_judge() -> NotPassed {
    NotPassed::NotJudged(format!(
        "the judge acted more than {LEAST_DEADLINE:?} after it began to connect, when the server may \
         have been at its deadline; this machine, the network or the server is slow: try again"
    ))
}

/// Whether the server or the network to it can cause an error of this kind. Other errors are this
/// machine's: too few descriptors, ports or memory, no right or no route.
fn is_of_the_server(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::InvalidInput // macOS: an option of a connection that was reset
    )
}

impl ServerJudge {
    /// A judge of the server at `server`, with a time-out of 15 seconds (a server may take 11 to
    /// close a connection, SPEC TIME-1 and TIME-8) and a maximum delay of 1.5 seconds (REPLY-4 has 1;
    /// the rest is for the network).
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            timeout: Duration::from_secs(15),
            max_delay: Duration::from_millis(1500),
        }
    }

    /// Makes one simple exchange, to see that the server answers.
    ///
    /// # Errors
    /// Why there is no right reply.
    pub fn probe(&self) -> Result<(), NotPassed> {
        let exchange = self.exchange(b"Are you there?\n", b"ARE YOU THERE?");
        let violation = |problem| Violation::new("a simple exchange", &["PROC-1".into()], problem);
        exchange
            .map(drop)
            .map_err(|trouble| trouble.not_passed(violation))
    }

    /// Judges the server by `vector`, between two simple exchanges.
    ///
    /// # Errors
    /// Why the server did not pass.
    pub fn judge(&self, vector: &Vector) -> Result<(), NotPassed> {
        self.probe().map_err(|probe| match probe {
            NotPassed::Violation(_) => failed_before(),
            not_judged @ NotPassed::NotJudged(_) => not_judged,
        })?;
        self.judge_alone(vector)?;
        self.probe().map_err(|probe| match probe {
            NotPassed::Violation(Violation { problem, .. }) => {
                let problem = format!("after this vector the server fails: {problem}");
                NotPassed::Violation(vector.about().violation(&[], problem))
            }
            not_judged @ NotPassed::NotJudged(_) => not_judged,
        })
    }

    /// Judges the server by `vector` and nothing else. A violation may be caused by earlier
    /// connections.
    ///
    /// # Errors
    /// Why the server did not pass.
    pub fn judge_alone(&self, vector: &Vector) -> Result<(), NotPassed> {
        (0..vector.repeat).try_for_each(|_| self.judge_once(vector))
    }

    fn judge_once(&self, vector: &Vector) -> Result<(), NotPassed> {
        let violation = |problem| vector.about().violation(&[], problem);
        let run = || Run::of(self, vector).map_err(|trouble| trouble.not_passed(violation));
        let mut last = run()?;
        let mut late_runs = 0;
        for attempt in 1..=ATTEMPTS {
            late_runs += usize::from(last.late > Some(Late::Judge));
            if last.late.is_some() && last.problems.is_empty() && attempt < ATTEMPTS {
                last = run()?;
            } else {
                break;
            }
        }
        let (mut problems, mut clauses) = (last.problems, last.clauses);
        if problems.is_empty() {
            let whose = match last.late {
                None => return Ok(()),
                Some(_) if late_runs < ATTEMPTS => return Err(late_judge()),
                Some(Late::End) => {
                    clauses.push("REPLY-4");
                    "the end of the stream"
                }
                // What delays another client is what the vector is about.
                Some(_) => "the end of another client's stream",
            };
            problems.push(format!(
                "{whose} came more than {:?} after the request was complete, {ATTEMPTS} times",
                self.max_delay
            ));
        }
        let mut violation = vector.about().violation(&clauses, problems.join("; "));
        violation.detail("sent", describe(&vector.steps));
        violation.compare(&vector.expect.reply, &last.connection.received);
        violation.detail("ended", last.connection.describe_end());
        Err(NotPassed::Violation(violation))
    }

    fn connect(&self) -> Result<Connection, Trouble> {
        let began_at = Instant::now();
        let connected = TcpStream::connect_timeout(&self.server, self.timeout);
        let stream = connected.map_err(|error| Trouble::of("connect", &error))?;
        let prepared = stream.set_nodelay(true);
        prepared.map_err(|error| Trouble::of("use the connection", &error))?;
        let opened_at = Instant::now();
        Ok(Connection {
            stream,
            began_at,
            opened_at,
            acted_at: opened_at,
            received: Vec::new(),
            end: None,
            ended_at: None,
        })
    }

    /// Makes an exchange on a new connection. Returns whether its end was late.
    fn exchange(&self, request: &[u8], reply: &[u8]) -> Result<bool, Trouble> {
        let mut connection = self.connect()?;
        let written = connection.write(request, self.timeout);
        connection.read_to_end(self.timeout);
        if written.is_ok() && connection.end == Some(SeenEnd::Fin) && connection.received == reply {
            return Ok(connection.opened_at.elapsed() > self.max_delay);
        }
        if connection.may_be_at_its_deadline(reply) {
            return Err(Trouble::LateJudge);
        }
        written.map_err(|error| Trouble::of("send", &error))?;
        connection.check_machine()?;
        Err(Trouble::Server(format!(
            "expected {}, received {}, ended {}",
            excerpt(reply),
            excerpt(&connection.received),
            connection.describe_end()
        )))
    }

    /// Sends `bytes` on a new connection, and resets it.
    fn reset(&self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut connection = self.connect()?;
        connection
            .write(bytes, self.timeout)
            .and_then(|()| SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO)))
            .map_err(|error| Trouble::of("send and reset", &error))
    }

    /// Sends `bytes` on `count` new connections, which stay open.
    fn stall(&self, bytes: &[u8], count: usize) -> Result<Vec<Connection>, Trouble> {
        let stalled = (0..count).map(|_| {
            let mut connection = self.connect()?;
            let written = connection.write(bytes, self.timeout);
            let connection = written.map(|()| connection);
            connection.map_err(|error| Trouble::of("send", &error))
        });
        stalled.collect()
    }
}

/// How a server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeenEnd {
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
struct Connection {
    stream: TcpStream,
    /// When the client began to connect: before the server accepted the connection.
    began_at: Instant,
    /// When the client was connected: at most a second before the server accepted the connection
    /// (SPEC TIME-8).
    opened_at: Instant,
    /// When the client last began to send something or to end its side.
    acted_at: Instant,
    received: Vec<u8>,
    end: Option<SeenEnd>,
    ended_at: Option<Instant>,
}

impl Connection {
    /// Sends `bytes` within `time`.
    fn write(&mut self, bytes: &[u8], time: Duration) -> io::Result<()> {
        self.acted_at = Instant::now();
        Timed::new(&self.stream, self.acted_at + time).write_all(bytes)
    }

    /// Ends the client's side of the stream.
    fn half_close(&mut self) -> io::Result<()> {
        self.acted_at = Instant::now();
        self.stream.shutdown(Shutdown::Write)
    }

    /// Waits for `time`, and reads what comes meanwhile.
    fn pause(&mut self, time: Duration) {
        let start = Instant::now();
        self.read_to_end(time);
        if self.end == Some(SeenEnd::TimeOut) {
            (self.end, self.ended_at) = (None, None); // the time of the pause, not the server's
        }
        thread::sleep(time.saturating_sub(start.elapsed()));
    }

    /// Reads to the end of the server's side, within `time`. A second call keeps the first end.
    fn read_to_end(&mut self, time: Duration) {
        if self.end.is_some() {
            return;
        }
        let stream = Timed::new(&self.stream, Instant::now() + time);
        self.end = Some(match stream.take(FLOOD).read_to_end(&mut self.received) {
            Ok(count) if count as u64 == FLOOD => SeenEnd::Flood,
            Ok(_) => SeenEnd::Fin,
            Err(error) => error.into(),
        });
        self.ended_at = Some(Instant::now());
    }

    fn describe_end(&self) -> String {
        let end = self.end.unwrap_or(SeenEnd::TimeOut);
        let ended_at = self.ended_at.unwrap_or_else(Instant::now);
        let after = ended_at.saturating_duration_since(self.opened_at);
        format!("{end}, {after:.1?} after the connection was opened")
    }

    /// Whether it was closed, without a wrong byte, after the client had acted so late that the server
    /// may have been at its deadline.
    fn may_be_at_its_deadline(&self, reply: &[u8]) -> bool {
        let is_late = self.acted_at > self.began_at + LEAST_DEADLINE;
        let is_closed = matches!(self.end, Some(SeenEnd::Fin | SeenEnd::Error(_)));
        is_late && is_closed && reply.starts_with(&self.received)
    }

    /// Fails if it was ended by an error of this machine.
    fn check_machine(&self) -> Result<(), Trouble> {
        match self.end {
            Some(SeenEnd::Error(kind)) if !is_of_the_server(kind) => {
                Err(Trouble::of("use the connection", &kind.into()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the server has closed the whole connection by `deadline`. Then it answers more bytes
    /// with a reset, and sending fails.
    fn is_gone(&mut self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.write(b"x", left) {
                // A close after a half-close is silent, so it has to be asked for again.
                Ok(()) => thread::sleep(Duration::from_millis(50)),
                Err(error) => return !is_time_out(&error),
            }
        }
    }
}

/// What was late in a run. It counts only if it is late again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Late {
    /// The judge acted so late that the server may have been at its deadline.
    Judge,
    /// The end of another client's stream came too late.
    OtherClient,
    /// The end of the stream came too late.
    End,
}

/// One run of a vector: what its client does, and what was seen.
struct Run<'a> {
    judge: &'a ServerJudge,
    connection: Connection,
    expected: &'a Expectation,
    /// When it must have closed it.
    close_by: Instant,
    sent: Vec<u8>,
    half_closed: bool,
    /// When the request was complete and the judge could read.
    complete_at: Option<Instant>,
    /// Whether the client could not send all bytes.
    cannot_send: bool,
    /// The last of what was late, in the order of [`Late`].
    late: Option<Late>,
    /// Other connections that stay open.
    stalled: Vec<Connection>,
    /// What is wrong, except for being late.
    problems: Vec<String>,
    /// The clauses that this violates, besides those of the vector.
    clauses: Vec<&'static str>,
}

impl<'a> Run<'a> {
    /// Takes the steps of `vector`, and then reads to the end.
    fn of(judge: &'a ServerJudge, vector: &'a Vector) -> Result<Self, Trouble> {
        let connection = judge.connect()?;
        let mut run = Run {
            judge,
            close_by: connection.opened_at + CLOSED_BY.min(judge.timeout),
            connection,
            expected: &vector.expect,
            sent: Vec::new(),
            half_closed: false,
            complete_at: None,
            cannot_send: false,
            late: None,
            stalled: Vec::new(),
            problems: Vec::new(),
            clauses: Vec::new(),
        };
        // Bytes of several send steps in a row are one text, which the file has in parts.
        let is_send = |step: &Step| matches!(step, Step::Send { .. });
        for steps in vector.steps.chunk_by(|a, b| is_send(a) && is_send(b)) {
            if run.connection.end == Some(SeenEnd::TimeOut) {
                break;
            }
            run.take(steps)?;
        }
        run.finish()?;
        Ok(run)
    }

    fn note_late(&mut self, late: Late) {
        self.late = self.late.max(Some(late));
    }

    /// Takes one step, or several that send.
    fn take(&mut self, steps: &[Step]) -> Result<(), Trouble> {
        let taken = match &steps[0] {
            Step::Other { other, times } => {
                for _ in 0..*times {
                    self.open(other)?;
                }
                Ok(())
            }
            Step::Connect => Ok(()),
            _ if self.is_over() => Ok(()),
            Step::Send { .. } => {
                let text = steps.iter().flat_map(Step::bytes).collect::<Vec<_>>();
                self.sent.extend(&text);
                self.connection.write(&text, self.time_left())
            }
            Step::SendEachByte(bytes) => {
                self.sent.extend(bytes);
                let (mut bytes, time) = (bytes.chunks(1), self.time_left());
                bytes.try_for_each(|byte| self.connection.write(byte, time))
            }
            Step::HalfClose => {
                self.half_closed = true;
                self.connection.half_close()
            }
            Step::Pause(time) => {
                self.pause(*time);
                Ok(())
            }
            Step::AwaitReply => {
                self.connection.read_to_end(self.time_left());
                Ok(())
            }
        };
        if reference::request(&self.sent, self.half_closed).is_some() {
            self.complete_at.get_or_insert_with(Instant::now);
        }
        if let Err(error) = taken {
            // The connection is broken. What came before that is still read.
            self.connection.read_to_end(self.time_left());
            self.connection.end = Some(error.into());
            self.connection.ended_at = Some(Instant::now());
            self.cannot_send = true;
        }
        self.look_for_early_end();
        Ok(())
    }

    /// Looks whether the server has ended the connection before the request was complete, and before
    /// it could be at its deadline (SPEC TIME-6).
    fn look_for_early_end(&mut self) {
        let is_ended = matches!(self.connection.end, Some(SeenEnd::Fin | SeenEnd::Error(_)));
        let earliest = self.connection.began_at + NOT_CLOSED_BEFORE;
        let is_early = self.connection.ended_at.is_some_and(|at| at < earliest);
        if is_ended && is_early && self.complete_at.is_none() && self.clauses.is_empty() {
            let problem = "the server ended the connection before the request was complete, and \
                           sooner than the least deadline";
            self.problems.push(problem.into());
            self.clauses.push("TIME-6");
        }
    }

    /// Whether the server has ended a connection that it may end, or is past its deadline.
    fn is_over(&self) -> bool {
        self.may_close() && (self.connection.end.is_some() || Instant::now() >= self.close_by)
    }

    /// How long the next step may take.
    fn time_left(&self) -> Duration {
        if self.may_close() {
            self.close_by.saturating_duration_since(Instant::now())
        } else {
            self.judge.timeout
        }
    }

    /// Waits. If the request is not complete, no byte may come meanwhile.
    fn pause(&mut self, time: Duration) {
        let before = self.connection.received.len();
        self.connection.pause(time);
        if self.connection.received.len() > before && self.complete_at.is_none() {
            let problem = "the server acts on an incomplete request";
            self.problems.push(problem.into());
        }
    }

    /// Opens another connection.
    fn open(&mut self, other: &Other) -> Result<(), Trouble> {
        let done = match other {
            Other::Exchange { request, reply } => self.judge.exchange(request, reply),
            Other::AtOnce(_) | Other::Unchanged(_) => {
                let exchanges = other.exchanges();
                let mut exchanges = exchanges.iter();
                exchanges.try_fold(false, |late, (request, reply)| {
                    self.judge.exchange(request, reply).map(|is| is || late)
                })
            }
            Other::Close(bytes) => self.judge.stall(bytes, 1).map(|_| false),
            Other::Reset(bytes) => self.judge.reset(bytes).map(|()| false),
            Other::Stall { bytes, connections } => {
                self.judge.stall(bytes, *connections).map(|stalled| {
                    self.stalled.extend(stalled);
                    false
                })
            }
        };
        match done {
            Ok(true) => self.note_late(Late::OtherClient),
            Ok(false) => {}
            Err(Trouble::Server(problem)) => self
                .problems
                .push(format!("another client fails meanwhile: {problem}")),
            Err(Trouble::LateJudge) => self.note_late(Late::Judge),
            Err(machine @ Trouble::Machine(_)) => return Err(machine),
        }
        // Nothing was read on this connection meanwhile.
        self.complete_at = self.complete_at.map(|_| Instant::now());
        Ok(())
    }

    /// Whether the server may end the connection at any time, by its deadline.
    fn may_close(&self) -> bool {
        self.expected.end == End::Closed
    }

    /// Reads to the end, and compares what was seen with what is expected.
    fn finish(&mut self) -> Result<(), Trouble> {
        let expected = self.expected;
        self.connection.read_to_end(self.time_left());
        self.connection.check_machine()?;
        self.look_for_early_end();
        let Connection { end, ended_at, .. } = self.connection;
        let delay = (ended_at.zip(self.complete_at))
            .map(|(end, complete)| end.saturating_duration_since(complete));
        if !self.may_close() && delay.is_some_and(|delay| delay > self.judge.max_delay) {
            self.note_late(Late::End);
        }
        let is_whole = end == Some(SeenEnd::Fin) && self.connection.received == expected.reply;
        if !self.may_close() && !is_whole && self.connection.may_be_at_its_deadline(&expected.reply)
        {
            self.note_late(Late::Judge);
            return Ok(());
        }
        if self.connection.received != expected.reply {
            self.problems.push("the bytes are wrong".into());
        }
        let end_is_right = match end {
            Some(SeenEnd::Fin) => true,
            Some(SeenEnd::Error(_)) => self.may_close(),
            _ => false,
        };
        if !end_is_right {
            let took = self.connection.began_at.elapsed();
            self.problems.push(if !self.cannot_send {
                "the end of the connection is wrong".into()
            } else if took < LEAST_DEADLINE {
                "the client cannot send all bytes, although it is too early for a deadline".into()
            } else {
                format!("the client cannot send all bytes within {took:.1?}; is the network slow?")
            });
        }
        let may_be_open = expected.end != End::Fin && end == Some(SeenEnd::Fin);
        if may_be_open && !self.connection.is_gone(self.close_by) {
            let problem = "the server half-closes, but keeps the connection open past its deadline";
            self.problems.push(problem.into());
        }
        Ok(())
    }
}

/// The steps of a vector, in words.
fn describe(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing to a String does not fail.
        let _ = match step {
            Step::Send { bytes, times: 1 } => write!(text, "{}", excerpt(bytes)),
            Step::Send { bytes, times } => write!(text, "{} {times} times", excerpt(bytes)),
            Step::SendEachByte(bytes) => write!(text, "{} byte by byte", excerpt(bytes)),
            Step::Pause(time) => write!(text, "a pause of {time:?}"),
            Step::HalfClose => write!(text, "a half-close"),
            Step::AwaitReply => write!(text, "(the reply is read)"),
            Step::Connect => write!(text, "(the client connects)"),
            Step::Other { other, times } => {
                let _ = describe_other(&mut text, other);
                match times {
                    1 => Ok(()),
                    times => write!(text, ", {times} times"),
                }
            }
        };
    }
    text
}

fn describe_other(text: &mut String, other: &Other) -> fmt::Result {
    match other {
        Other::Exchange { request, .. } => {
            write!(text, "{} by another client", excerpt(request))
        }
        Other::AtOnce(exchanges) => {
            write!(
                text,
                "different texts by {} clients at once",
                exchanges.len()
            )
        }
        Other::Unchanged(ranges) => {
            write!(text, "{} ranges of characters by others", ranges.len())
        }
        Other::Reset(bytes) => {
            write!(text, "{} and a reset by another client", excerpt(bytes))
        }
        Other::Close(bytes) => {
            write!(text, "{} and a close by another client", excerpt(bytes))
        }
        Other::Stall { bytes, connections } => {
            write!(text, "{} by {connections} stalled clients", excerpt(bytes))
        }
    }
}
