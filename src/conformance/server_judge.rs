//! The conformance suite: what the vectors are, and how an implementation is judged by them.
//!
//! The vectors are data, `tests/vectors/upcase.json`: what a client sends, in steps, and what
//! must come back. Their expectations are stated there, not taken from this crate's code. A
//! server in any language is judged by a [`Judge`] over TCP, which `cargo test --test
//! conformance` runs for each vector; a Rust function by [`judge_process`], without a socket:
//!
//! ```
//! let mine = |request: &[u8]| upcase::clip(request).to_ascii_uppercase(); // ASCII alone
//! let failures = upcase::conformance::server_judge::judge_process(&mine);
//! assert!(failures.iter().any(|failure| failure.subject == "upper.latin-1-last"));
//! assert!(upcase::conformance::server_judge::judge_process(&upcase::process).is_empty());
//! ```
//!
//! Rules of this file: no expectation depends on who wins a race. What a server does after its
//! reply, and how fast it is, is judged only as far as SPEC.md limits it.

use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use socket2::SockRef;

use crate::conformance::laws::{self, Process};
use crate::conformance::{clauses, reference};
use crate::deadline::{Timed, is_time_out};
use crate::escape::excerpt;

/// How long a [`Judge`] waits by default for anything: a server may take 10 seconds to end a
/// connection (SPEC TIME-1), and the rest is for a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How soon a [`Judge`] by default wants the end of the stream once the request is complete. Less
/// than any deadline that the suite puts up with, so that who waits for that is found out; and late
/// is only who is it three times, for a machine may be slow.
pub const PROMPTNESS: Duration = Duration::from_millis(1500);

/// How long after its beginning a connection may be closed at the latest: the limit of SPEC TIME-1,
/// and a second for the machine.
const CLOSING: Duration = Duration::from_secs(11);

/// How many bytes are a flood, after which nothing more is read: far more than a reply has.
const FLOOD: u64 = 65_536;

/// The suite: a header, and the vectors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The version of the suite.
    pub suite: String,
    /// The version of SPEC.md that it judges by.
    pub spec: String,
    /// The Unicode version whose mapping it expects (SPEC UPPER-2).
    pub unicode: String,
    /// How many vectors there are.
    pub count: usize,
    /// The vectors.
    pub vectors: Vec<Vector>,
}

/// What a client does on one connection, and what must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// A stable ID: `area.what-it-shows`.
    pub id: String,
    /// What it shows, in one line.
    pub comment: String,
    /// The clauses of SPEC.md that it judges, the main one first.
    pub clauses: Vec<String>,
    /// How binding those are.
    pub level: Level,
    /// Request and reply, for people: see [`Vector::rendering`].
    pub readable: String,
    /// Whether it only illustrates: no known fault is caught by it alone or with others.
    #[serde(default)]
    pub illustration: bool,
    /// How many times in a row, on as many connections, it is judged.
    #[serde(default = "one")]
    pub repeat: usize,
    /// What the client does, in order.
    pub steps: Vec<Step>,
    /// What must come of it.
    pub expect: Expectation,
}

/// The RFC 2119 level of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Who fails does not conform.
    Must,
    /// Who fails has to have a reason.
    Should,
}

/// One thing that a client does.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Step {
    /// Sends the bytes, as many times as it says, in as few segments as TCP makes of them.
    Send {
        /// The bytes.
        send: Hex,
        /// How many times over.
        #[serde(default = "one")]
        times: usize,
    },
    /// Sends each of the bytes in a segment of its own.
    SendEachByte {
        /// The bytes.
        send_each_byte: Hex,
    },
    /// Does nothing for a while. No byte may come meanwhile, if the request is not complete.
    Pause {
        /// The while, in milliseconds.
        pause_ms: u64,
    },
    /// Ends the client's side of the stream.
    HalfClose {
        /// Always true.
        half_close: bool,
    },
    /// Reads to the end of the server's side before it goes on.
    Await {
        /// What is awaited.
        r#await: Awaited,
    },
    /// Opens another connection meanwhile, and brings it to its end.
    Other {
        /// What is done on it.
        other: Other,
    },
}

/// Another connection, in the course of a vector.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Other {
    /// A whole exchange, which must succeed.
    Exchange {
        /// The request, in one piece.
        send: Hex,
        /// The reply.
        reply: Hex,
    },
    /// Some bytes, and a reset.
    Reset {
        /// The bytes.
        send: Hex,
        /// Always true.
        reset: bool,
    },
    /// Some bytes, on so many connections, which then stay open until the vector is over.
    Stall {
        /// The bytes.
        send: Hex,
        /// How many connections.
        stall: usize,
    },
}

/// What a client can wait for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Awaited {
    /// The reply, whole.
    Reply,
}

/// What must come of a vector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    reply: Option<Hex>,
    reply_times: Option<Vec<(Hex, usize)>>,
    /// How the server must end the connection.
    pub end: ExpectedEnd,
}

impl Expectation {
    /// The bytes that the server must send, and no others.
    #[must_use]
    pub fn reply(&self) -> Vec<u8> {
        let mut reply = self.reply.clone().unwrap_or_default().0;
        for (bytes, times) in self.reply_times.iter().flatten() {
            reply.extend(bytes.0.repeat(*times));
        }
        reply
    }
}

/// How a server must end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedEnd {
    /// By an orderly end of the stream.
    Fin,
    /// In either way, by its deadline.
    Closed,
    /// By an orderly end of the stream, and the connection is closed by its deadline though the
    /// client keeps it open.
    Gone,
}

/// Bytes, in hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hex(pub Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2);
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        bytes
            .map(Self)
            .ok_or_else(|| format!("not bytes in hexadecimal digits: {digits:?}"))
    }
}

const fn one() -> usize {
    1
}

/// The suite of this crate's version.
///
/// # Panics
/// Never: a test parses the suite.
#[must_use]
pub fn suite() -> &'static Suite {
    static SUITE: LazyLock<Suite> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../tests/vectors/upcase.json"))
            .expect("the vectors fit these types")
    });
    &SUITE
}

impl Vector {
    /// All that the client sends on the connection, and whether it ends its side.
    #[must_use]
    pub fn stream(&self) -> (Vec<u8>, bool) {
        let stream = self.steps.iter().flat_map(Step::bytes).collect();
        let mut steps = self.steps.iter();
        let ended = steps.any(|step| matches!(step, Step::HalfClose { .. }));
        (stream, ended)
    }

    /// The request that the stream makes, by the model; `None` if it is never complete.
    #[must_use]
    pub fn request(&self) -> Option<Vec<u8>> {
        let (stream, ended) = self.stream();
        reference::request(&stream, ended)
    }

    /// What the field `readable` must be: the stream and the reply as byte literals (SPEC LOG-3),
    /// the middle of the long ones left out.
    #[must_use]
    pub fn rendering(&self) -> String {
        format!(
            "{} -> {}",
            excerpt(&self.stream().0),
            excerpt(&self.expect.reply())
        )
    }

    /// Judges `process` by the vector, without a socket. A vector whose request is never complete
    /// says nothing of it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge_process(&self, process: Process) -> Result<(), Failure> {
        let (Some(request), wanted) = (self.request(), self.expect.reply()) else {
            return Ok(());
        };
        let came = process(&request);
        if came == wanted {
            return Ok(());
        }
        let mut failure = self.failure("the reply is wrong");
        failure
            .details
            .push(format!("sent    {}", excerpt(&request)));
        failure.compare(&wanted, &came);
        Err(failure)
    }

    fn failure(&self, fault: impl Into<String>) -> Failure {
        let mut details = vec![self.comment.clone()];
        for id in &self.clauses {
            details.push(format!("{id}: {}", clauses::clause(id).unwrap_or_default()));
        }
        Failure {
            subject: self.id.clone(),
            fault: fault.into(),
            details,
        }
    }
}

/// Judges `process`, an implementation of the transformation, by every vector, and by every law
/// on every vector's request.
///
/// Returns what is wrong, nothing if it conforms as far as the suite can tell.
///
/// # Panics
/// Where `process` does, which no request excuses (SPEC PROC-2), and with a toolchain that the
/// [`model`] cannot judge with.
#[must_use]
pub fn judge_process(process: Process) -> Vec<Failure> {
    let mut failures = Vec::new();
    for vector in &suite().vectors {
        failures.extend(vector.judge_process(process).err());
        let request = vector.request().unwrap_or_default();
        if let Err(violation) = laws::judge(process, &request) {
            failures.push(Failure {
                subject: format!("{} (the law {})", vector.id, violation.law),
                fault: "a law is broken".into(),
                details: violation.to_string().lines().map(str::to_owned).collect(),
            });
        }
    }
    failures
}

/// What is wrong with an implementation, by one vector or law.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The ID of the vector, or the name of the law.
    pub subject: String,
    /// What is wrong, in one line.
    pub fault: String,
    /// The clauses, what was sent, what was wanted, and what came, a line each.
    pub details: Vec<String>,
}

impl Failure {
    fn compare(&mut self, wanted: &[u8], came: &[u8]) {
        self.details.push(format!("wanted  {}", excerpt(wanted)));
        self.details.push(format!("came    {}", excerpt(came)));
        let same = wanted
            .iter()
            .zip(came)
            .take_while(|(wanted, came)| wanted == came)
            .count();
        if wanted != came {
            let at = |bytes: &[u8]| match bytes.get(same) {
                Some(byte) => format!("{byte:02x}"),
                None => "its end".into(),
            };
            self.details.push(format!(
                "differs at offset {same}: wanted {}, came {}",
                at(wanted),
                at(came)
            ));
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.fault)?;
        self.details
            .iter()
            .try_for_each(|detail| write!(f, "\n    {detail}"))
    }
}

impl std::error::Error for Failure {}

/// Judges a running server, over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    /// Where the server listens.
    pub server: SocketAddr,
    /// How long to wait for anything before the server is judged to be at fault.
    pub patience: Duration,
    /// How soon the end of the stream is wanted once the request is complete.
    pub promptness: Duration,
}

/// How a server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By an orderly end of the stream.
    Fin,
    /// By a reset, which may have destroyed a part of the reply, or another failure.
    Failure(ErrorKind),
    /// Not in the time that it was given.
    TimeOut,
    /// Not after far more bytes than a reply has.
    Flood,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "an orderly end of the stream (FIN)",
            Self::Failure(kind) => return write!(f, "a reset (RST) or another failure: {kind}"),
            Self::TimeOut => "none in the time given (time-out)",
            Self::Flood => "none, it sends on and on",
        })
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if is_time_out(&error) {
            Self::TimeOut
        } else {
            Self::Failure(error.kind())
        }
    }
}

impl Judge {
    /// A judge of the server at `server`, with the default [`PATIENCE`].
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            patience: PATIENCE,
            promptness: PROMPTNESS,
        }
    }

    /// One plain exchange, to see that the server lives.
    ///
    /// # Errors
    /// What is wrong.
    pub fn plain_exchange(&self) -> Result<(), Failure> {
        self.exchange(b"Are you there?\n", b"ARE YOU THERE?")
            .map(drop)
            .map_err(|fault| Failure {
                subject: "a plain exchange".into(),
                fault,
                details: vec![format!("the server at {} does not answer it", self.server)],
            })
    }

    /// Judges the server by `vector`, between two plain exchanges.
    ///
    /// # Errors
    /// What is wrong, with all that is needed to see why.
    pub fn judge(&self, vector: &Vector) -> Result<(), Failure> {
        if self.plain_exchange().is_err() {
            let fault = "not judged: the server had failed before, so look at the first failure";
            return Err(vector.failure(fault));
        }
        self.judge_alone(vector)?;
        self.plain_exchange().map_err(|plain| {
            let fault = format!(
                "it is answered, but after it the server fails: {}",
                plain.fault
            );
            vector.failure(fault)
        })
    }

    /// Judges the server by `vector` and nothing else: a failure may be the fault of what came
    /// before.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    pub fn judge_alone(&self, vector: &Vector) -> Result<(), Failure> {
        (0..vector.repeat).try_for_each(|_| self.judge_once(vector))
    }

    fn judge_once(&self, vector: &Vector) -> Result<(), Failure> {
        let perform = || Course::perform(self, vector).map_err(|fault| vector.failure(fault));
        let mut course = perform()?;
        for _ in 1..3 {
            // A machine may be slow, and then nothing else is wrong.
            if course.late && course.faults.is_empty() {
                course = perform()?;
            }
        }
        let mut faults = course.faults;
        if faults.is_empty() && course.late {
            faults.push(format!(
                "the server waits for something else: the end came more than {:?} after the \
                 request was complete, three times",
                self.promptness
            ));
        }
        if faults.is_empty() {
            return Ok(());
        }
        let mut failure = vector.failure(faults.join("; "));
        failure.details.push(format!("sent    {}", vector.sent()));
        failure.compare(&vector.expect.reply(), &course.connection.came);
        let ending = course.connection.ending();
        failure.details.push(format!("ended   {ending}"));
        Err(failure)
    }

    fn connect(&self) -> Result<Connection, String> {
        let connected = TcpStream::connect_timeout(&self.server, self.patience);
        let stream = connected.map_err(|error| format!("cannot connect: {error}"))?;
        let prepared = stream.set_nodelay(true);
        prepared.map_err(|error| format!("cannot use the connection: {error}"))?;
        Ok(Connection {
            stream,
            since: Instant::now(),
            came: Vec::new(),
            end: None,
            ended_at: None,
        })
    }

    /// Sends `bytes` on a connection of its own, and resets it.
    fn reset(&self, bytes: &[u8]) -> Result<(), String> {
        let mut connection = self.connect()?;
        connection
            .write(bytes, self.patience)
            .and_then(|()| SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO)))
            .map_err(|error| format!("it cannot send and reset: {error}"))
    }

    /// Sends `bytes` on `count` connections of their own, and no more.
    fn stall(&self, bytes: &[u8], count: usize) -> Result<Vec<Connection>, String> {
        let stalled = (0..count).map(|_| {
            let mut connection = self.connect()?;
            let written = connection.write(bytes, self.patience);
            let stays = written.map(|()| connection);
            stays.map_err(|error| format!("it cannot send: {error}"))
        });
        stalled.collect()
    }

    /// One exchange on a connection of its own. Whether the end was late.
    fn exchange(&self, request: &[u8], wanted: &[u8]) -> Result<bool, String> {
        let mut connection = self.connect()?;
        let written = connection.write(request, self.patience);
        connection.read_to_end(self.patience);
        written.map_err(|error| format!("the client cannot send: {error}"))?;
        if connection.end == Some(End::Fin) && connection.came == wanted {
            return Ok(connection.since.elapsed() > self.promptness);
        }
        Err(format!(
            "wanted {}, came {}, ended {}",
            excerpt(wanted),
            excerpt(&connection.came),
            connection.ending()
        ))
    }
}

/// A connection to the server, and what has come over it.
struct Connection {
    stream: TcpStream,
    /// When it was made.
    since: Instant,
    came: Vec<u8>,
    end: Option<End>,
    ended_at: Option<Instant>,
}

impl Connection {
    /// Sends `bytes`, in at most `time`.
    fn write(&mut self, bytes: &[u8], time: Duration) -> io::Result<()> {
        Timed::new(&self.stream, Instant::now() + time).write_all(bytes)
    }

    /// Lets `time` pass, and reads what comes in it.
    fn pause(&mut self, time: Duration) {
        let start = Instant::now();
        self.read_to_end(time);
        if self.end == Some(End::TimeOut) {
            (self.end, self.ended_at) = (None, None); // the server's time is not over
        }
        // The end may have come before the pause was over, or long before.
        thread::sleep(time.saturating_sub(start.elapsed()));
    }

    /// Reads to the end of the server's side, for at most `time`. Once that has come, it stays.
    fn read_to_end(&mut self, time: Duration) {
        if self.end.is_some() {
            return;
        }
        let stream = Timed::new(&self.stream, Instant::now() + time);
        self.end = Some(match stream.take(FLOOD).read_to_end(&mut self.came) {
            Ok(count) if count as u64 == FLOOD => End::Flood,
            Ok(_) => End::Fin,
            Err(error) => error.into(),
        });
        self.ended_at = Some(Instant::now());
    }

    /// How and when the server ended it, for people.
    fn ending(&self) -> String {
        let end = self.end.unwrap_or(End::TimeOut);
        let after = (self.ended_at).map(|at| at.saturating_duration_since(self.since));
        format!(
            "by {end}, {:.1?} after it began",
            after.unwrap_or(self.since.elapsed())
        )
    }

    /// Whether the server has closed all of the connection by `deadline`: what is sent to it is
    /// answered by a reset then, and sending fails.
    fn is_gone(&mut self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.write(b"x", left) {
                // A closing behind a half-close is silent, so it has to be asked for again.
                Ok(()) => thread::sleep(Duration::from_millis(50)),
                Err(error) => return !is_time_out(&error),
            }
        }
    }
}

/// What a vector's client does on its connection, and what comes of it.
struct Course<'a> {
    judge: &'a Judge,
    connection: Connection,
    /// Whether the server may end the connection whenever it likes.
    may_close: bool,
    /// When it has to, at the latest.
    closing: Instant,
    sent: Vec<u8>,
    half_closed: bool,
    /// When the request was complete, and the judge free to read.
    complete_at: Option<Instant>,
    /// Whether this or another client was kept waiting.
    late: bool,
    /// Connections beside it that stay open.
    stalled: Vec<Connection>,
    /// What is wrong, but for being late.
    faults: Vec<String>,
}

impl<'a> Course<'a> {
    /// Goes through the steps of `vector`, and then reads to the end.
    fn perform(judge: &'a Judge, vector: &Vector) -> Result<Self, String> {
        let mut course = Course {
            judge,
            closing: Instant::now() + CLOSING.min(judge.patience),
            connection: judge.connect()?,
            may_close: vector.expect.end == ExpectedEnd::Closed,
            sent: Vec::new(),
            half_closed: false,
            complete_at: None,
            late: false,
            stalled: Vec::new(),
            faults: Vec::new(),
        };
        // What is sent step after step is one text, written out in parts to be short.
        let is_send = |step: &Step| matches!(step, Step::Send { .. });
        for steps in vector.steps.chunk_by(|a, b| is_send(a) && is_send(b)) {
            if course.connection.end == Some(End::TimeOut) {
                break;
            }
            course.take(steps);
        }
        course.finish(&vector.expect);
        Ok(course)
    }

    /// Takes one step, or several that send.
    fn take(&mut self, steps: &[Step]) {
        let taken = match &steps[0] {
            Step::Other { other } => {
                self.meet(other);
                Ok(())
            }
            _ if self.is_over() => Ok(()),
            Step::Send { .. } => {
                let text = steps.iter().flat_map(Step::bytes).collect::<Vec<_>>();
                self.sent.extend(&text);
                self.connection.write(&text, self.time_left())
            }
            Step::SendEachByte { send_each_byte } => {
                self.sent.extend(&send_each_byte.0);
                let (mut bytes, time) = (send_each_byte.0.chunks(1), self.time_left());
                bytes.try_for_each(|byte| self.connection.write(byte, time))
            }
            Step::HalfClose { .. } => {
                self.half_closed = true;
                self.connection.stream.shutdown(Shutdown::Write)
            }
            Step::Pause { pause_ms } => {
                self.pause(Duration::from_millis(*pause_ms));
                Ok(())
            }
            Step::Await { .. } => {
                self.connection.read_to_end(self.time_left());
                Ok(())
            }
        };
        if let Err(error) = taken {
            // It is over; what came before is read.
            self.connection.read_to_end(self.time_left());
            self.connection.end = Some(error.into());
        }
        if reference::request(&self.sent, self.half_closed).is_some() {
            self.complete_at.get_or_insert_with(Instant::now);
        }
    }

    /// Whether the server has ended a connection that it may end, or should have.
    fn is_over(&self) -> bool {
        self.may_close && (self.connection.end.is_some() || Instant::now() >= self.closing)
    }

    /// How long the next step may take.
    fn time_left(&self) -> Duration {
        if self.may_close {
            self.closing.saturating_duration_since(Instant::now())
        } else {
            self.judge.patience
        }
    }

    /// Does nothing for a while, in which neither a byte nor the end may come if the request is
    /// not complete.
    fn pause(&mut self, time: Duration) {
        let before = self.connection.came.len();
        self.connection.pause(time);
        let acts = self.connection.came.len() > before
            || (self.connection.end.is_some() && !self.may_close);
        if acts && self.complete_at.is_none() {
            let fault = "the server acts on an incomplete request";
            self.faults.push(fault.into());
        }
    }

    /// Opens another connection meanwhile.
    fn meet(&mut self, other: &Other) {
        let done = match other {
            Other::Exchange { send, reply } => self.judge.exchange(&send.0, &reply.0),
            Other::Reset { send, .. } => self.judge.reset(&send.0).map(|()| false),
            Other::Stall { send, stall } => self.judge.stall(&send.0, *stall).map(|stalled| {
                self.stalled.extend(stalled);
                false
            }),
        };
        match done {
            Ok(late) => self.late |= late,
            Err(fault) => {
                let fault = format!("meanwhile another client fails: {fault}");
                self.faults.push(fault);
            }
        }
        // Nobody has read in the meantime.
        self.complete_at = self.complete_at.map(|_| Instant::now());
    }

    /// Reads to the end, and judges what came by what was `expected`.
    fn finish(&mut self, expected: &Expectation) {
        self.connection.read_to_end(self.time_left());
        let Connection { end, ended_at, .. } = self.connection;
        let waited = (ended_at.zip(self.complete_at))
            .map(|(end, complete)| end.saturating_duration_since(complete));
        self.late |= !self.may_close && waited.is_some_and(|time| time > self.judge.promptness);
        if self.connection.came != expected.reply() {
            self.faults.push("the bytes are wrong".into());
        }
        let end_is_right = match end {
            Some(End::Fin) => true,
            Some(End::Failure(_)) => self.may_close,
            _ => false,
        };
        if !end_is_right {
            self.faults
                .push("the end of the connection is wrong".into());
        }
        let half = expected.end != ExpectedEnd::Fin && end == Some(End::Fin);
        if half && !self.connection.is_gone(self.closing) {
            let fault =
                "the server ends its side alone, and keeps the connection past any deadline";
            self.faults.push(fault.into());
        }
    }
}

impl Step {
    /// What it sends on the vector's own connection.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Send { send, times } => send.0.repeat(*times),
            Self::SendEachByte { send_each_byte } => send_each_byte.0.clone(),
            Self::Pause { .. }
            | Self::HalfClose { .. }
            | Self::Await { .. }
            | Self::Other { .. } => Vec::new(),
        }
    }
}

impl Vector {
    /// The steps, for people.
    fn sent(&self) -> String {
        let mut sent = String::new();
        for step in &self.steps {
            if !sent.is_empty() {
                sent.push_str(", ");
            }
            // Writing to a String does not fail.
            let _ = match step {
                Step::Send { send, times: 1 } => write!(sent, "{}", excerpt(&send.0)),
                Step::Send { send, times } => write!(sent, "{} {times} times", excerpt(&send.0)),
                Step::SendEachByte { send_each_byte } => {
                    write!(sent, "{} byte by byte", excerpt(&send_each_byte.0))
                }
                Step::Pause { pause_ms } => write!(sent, "a pause of {pause_ms} ms"),
                Step::HalfClose { .. } => write!(sent, "half-close"),
                Step::Await { .. } => write!(sent, "the reply read"),
                Step::Other {
                    other: Other::Exchange { send, .. },
                } => {
                    write!(sent, "{} by another client", excerpt(&send.0))
                }
                Step::Other {
                    other: Other::Reset { send, .. },
                } => {
                    write!(sent, "{} and a reset by another client", excerpt(&send.0))
                }
                Step::Other {
                    other: Other::Stall { send, stall },
                } => {
                    write!(sent, "{} by {stall} clients that stay", excerpt(&send.0))
                }
            };
        }
        sent
    }
}
