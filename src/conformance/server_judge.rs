//! Judges a running server over TCP, by the vectors.
//!
//! Rules of the judge:
//!
//! - No expectation depends on a race. What a server does after its reply, and how fast it is, is
//!   judged only by the limits in SPEC.md, counted as its section 4.4 says.
//! - A server is not blamed for what this machine lacks, nor if the judge acts so late that the
//!   server may have been at its deadline.
//! - Vectors are judged side by side if the server serves several connections at once. What may be
//!   due to that is judged again alone, unless many slow failures were confirmed before.
//! - A server that does not serve a simple exchange, one short line, is tried only a few times.

mod cause;
mod connection;
mod room;
mod run;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::vectors::{End, Expectation, Other, Step, Vector};
use super::violation::{Level, NotPassed};
use cause::{Cause, Finding, Trouble};
use connection::Connection;
use room::{ALL, Room};
use run::{LINES_AT_ONCE, Late, describe, of_other, run};

/// The earliest deadline of a connection, counted from when the client began to connect (SPEC TIME-6).
const LEAST_DEADLINE: Duration = Duration::from_secs(2);

/// An end before this is too early. It is a little less than the limit, because timers can be early.
const NOT_CLOSED_BEFORE: Duration = LEAST_DEADLINE.saturating_sub(Duration::from_millis(100));

/// After how many attempts a delay is the server's and not this machine's.
const ATTEMPTS: usize = 3;

/// How long a vector is repeated. A slow server is judged by fewer repetitions.
const REPEATING: Duration = Duration::from_secs(10);

/// A server that needs longer for a simple exchange is slow (SPEC REPLY-4).
const SLOW: Duration = Duration::from_secs(1);

/// How many exchanges a vector may have to be judged for a slow server.
const FEW_EXCHANGES: usize = 4;

/// How many vectors a server may fail by its slowness, if it is too slow for a simple exchange as well.
const SLOW_VECTORS: usize = 10;

/// How long a server that served before is tried again at least, after it did not serve a simple exchange.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many times it is tried again at least.
const TRIALS: usize = 3;

/// After this many confirmed slow failures, later ones are not confirmed, because that takes long.
const CONFIRMED: usize = 10;

/// Time in which the server may see that earlier connections have ended.
const SETTLING: Duration = Duration::from_millis(300);

/// Judges a running server, over TCP.
pub struct ServerJudge {
    /// Where the server listens.
    pub server: SocketAddr,
    /// How long to wait for a reply and its end, before the server is judged not to send it.
    pub timeout: Duration,
    /// How soon the end of the stream must come after the request is complete (SPEC REPLY-4). It is
    /// less than the least deadline (TIME-6), so a server that waits for its deadline is caught. A
    /// machine may be slow, so an end counts as late only if it is late three times.
    pub max_delay: Duration,
    /// The deadline that the server promises for a connection, at most 10 seconds (SPEC TIME-1). The
    /// judge waits for it, and a second more, in which the server accepts the connection (TIME-8).
    pub deadline: Duration,
    state: State,
}

/// What the judge has seen so far.
#[derive(Default)]
struct State {
    first: OnceLock<First>,
    room: Room,
    /// How many connections were made.
    connections: AtomicUsize,
    /// How many vectors the server failed by its slowness.
    slow: AtomicUsize,
    /// How many slow failures were confirmed alone.
    confirmed: AtomicUsize,
    service: Mutex<Service>,
}

/// Whether a server that served at first still does.
#[derive(Default)]
enum Service {
    #[default]
    Serves,
    /// It did not serve a simple exchange.
    HasFailed,
    /// It is not tried again, for this reason.
    Ended(String),
}

/// How the server served at first.
struct First {
    /// A simple exchange.
    simple: Result<(), Trouble>,
    /// How long simple exchanges took, if each was slow.
    slow: Option<Duration>,
    /// Whether it served another connection while one waited.
    serves_several: bool,
}

impl fmt::Debug for ServerJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("ServerJudge");
        fields.field("server", &self.server).finish_non_exhaustive()
    }
}

impl ServerJudge {
    /// A judge of the server at `server`, with a time-out of 4 seconds, a deadline of 10 seconds and a
    /// maximum delay of 1.5 seconds (SPEC REPLY-4 has 1; the rest is for the network).
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            timeout: Duration::from_secs(4),
            max_delay: Duration::from_millis(1500),
            deadline: Duration::from_secs(10),
            state: State::default(),
        }
    }

    /// Makes one simple exchange, to see that the server answers.
    ///
    /// # Errors
    /// Why there is no right reply.
    pub fn probe(&self) -> Result<(), NotPassed> {
        let vector = simple();
        let judged = self.try_times(&vector);
        judged.map_err(|trouble| not_passed(trouble, &vector))
    }

    /// Judges the server by `vector`. It may be called by several threads at the same time: it waits
    /// until nothing that is judged meanwhile can change the result.
    ///
    /// # Errors
    /// Why the server did not pass.
    pub fn judge(&self, vector: &Vector) -> Result<(), NotPassed> {
        let judged = self.judge_in_turn(vector);
        if judged.as_ref().is_err_and(Trouble::is_slow) {
            self.state.slow.fetch_add(1, Ordering::SeqCst);
        }
        judged.map_err(|trouble| not_passed(trouble, vector))
    }

    /// Where `vector` stands in the order by which all vectors are judged soonest: those that wait for the
    /// deadline come first, and those that are judged alone last.
    #[must_use]
    pub fn order(vector: &Vector) -> impl Ord + use<> {
        (places(vector) == ALL, vector.expect.end == End::Fin)
    }

    /// Judges the server by `vector` and nothing else. A violation may be caused by other connections.
    ///
    /// # Errors
    /// Why the server did not pass.
    pub fn judge_alone(&self, vector: &Vector) -> Result<(), NotPassed> {
        let judged = self.try_times(vector);
        judged.map_err(|trouble| not_passed(trouble, vector))
    }

    fn judge_in_turn(&self, vector: &Vector) -> Result<(), Trouble> {
        let first = self.state.first.get_or_init(|| First::of(self));
        let served = match &first.simple {
            Ok(()) => true,
            Err(Trouble::Server(finding)) if finding.cause != Cause::NoConnection => false,
            Err(trouble) => return Err(Trouble::Machine(self.no_service(trouble))),
        };
        if let Some(time) = first.slow
            && vector.exchanges().count() * vector.repeat > FEW_EXCHANGES
        {
            return Err(Trouble::Machine(format!(
                "the server needs {time:.1?} for a simple exchange, so it is not judged by vectors with \
                 more than {FEW_EXCHANGES} exchanges; make it faster first"
            )));
        }
        let places = if first.serves_several {
            places(vector)
        } else {
            ALL
        };
        if !served {
            let _places = self.state.room.take(places);
            if first.simple.as_ref().is_err_and(Trouble::is_slow) {
                self.look_for_slowness()?;
            }
            return self.try_times(vector);
        }
        let judged = {
            let _places = self.state.room.take(places);
            self.judge_between(vector)
        };
        let takes_long = |judged: &Result<(), Trouble>| {
            (judged.as_ref()).is_err_and(|trouble| trouble.is_slow() || first.slow.is_some())
        };
        let is_believed =
            || takes_long(&judged) && self.state.confirmed.load(Ordering::SeqCst) >= CONFIRMED;
        if !judged.as_ref().is_err_and(Trouble::is_doubtful) || is_believed() {
            return judged;
        }
        let _places = self.state.room.take(ALL);
        if is_believed() {
            return judged;
        }
        // A server may hold its maximum for as long as it has not seen that earlier connections have ended.
        let has_many = places == ALL || makes_trouble(vector);
        let attempts = if has_many { ATTEMPTS } else { 1 };
        let mut again = Ok(());
        for _ in 0..attempts {
            thread::sleep(SETTLING);
            again = self.judge_between(vector);
            if !again.as_ref().is_err_and(Trouble::is_doubtful) {
                break;
            }
        }
        if takes_long(&again) {
            self.state.confirmed.fetch_add(1, Ordering::SeqCst);
        }
        match again {
            Err(Trouble::Machine(_)) => judged,
            again => again,
        }
    }

    /// Judges by `vector`, if the server still serves. Checks afterwards that it does, if the vector failed
    /// or may disturb it.
    fn judge_between(&self, vector: &Vector) -> Result<(), Trouble> {
        self.look_for_service()?;
        let judged = self.try_times(vector);
        if judged.is_ok() && !makes_trouble(vector) {
            return Ok(());
        }
        let after = self.simple_exchange().map_err(|trouble| match trouble {
            Trouble::Server(finding) => {
                self.note_failure();
                let cause = Cause::FailsAfterwards;
                let finding = {
                    let why = finding.cause.sentence();
                    Finding { cause, ..finding }.with("why", why)
                };
                Trouble::Server(finding)
            }
            other => other,
        });
        judged.and(after.map(drop))
    }

    /// Fails if a server that has stopped serving does not serve again soon.
    fn look_for_service(&self) -> Result<(), Trouble> {
        let mut service = self.state.service.lock().expect("nobody panics with it");
        let (began_at, mut trials) = (Instant::now(), 0);
        while matches!(*service, Service::HasFailed) {
            trials += 1;
            let is_last = trials >= TRIALS && began_at.elapsed() > PATIENCE;
            match self.simple_exchange() {
                Ok(_) => *service = Service::Serves,
                Err(trouble @ Trouble::Server(_)) if is_last => {
                    *service = Service::Ended(self.no_service(&trouble));
                }
                Err(trouble) if is_last => return Err(trouble),
                Err(_) => thread::sleep(SETTLING),
            }
        }
        match &*service {
            // The same for all vectors, so that they are one group.
            Service::Ended(why) => Err(Trouble::Machine(why.clone())),
            Service::Serves | Service::HasFailed => Ok(()),
        }
    }

    /// Notes that the server did not serve a simple exchange.
    fn note_failure(&self) {
        let mut service = self.state.service.lock().expect("nobody panics with it");
        if matches!(*service, Service::Serves) {
            *service = Service::HasFailed;
        }
    }

    /// Fails if a slow server has failed enough vectors.
    fn look_for_slowness(&self) -> Result<(), Trouble> {
        if self.state.slow.load(Ordering::SeqCst) < SLOW_VECTORS {
            return Ok(());
        }
        // The same for all vectors, so that they are one group.
        Err(Trouble::Machine(format!(
            "the server is too slow for a simple exchange, and failed at least {SLOW_VECTORS} vectors \
             by this; make it faster first"
        )))
    }

    /// Why the server serves nothing, in one line.
    fn no_service(&self, trouble: &Trouble) -> String {
        let why = match trouble {
            Trouble::Server(finding) => finding.to_string(),
            Trouble::Machine(reason) => return reason.clone(),
            Trouble::LateJudge => "this machine is too slow".into(),
        };
        let connections = self.state.connections.load(Ordering::SeqCst);
        format!(
            "the server does not serve a simple exchange, after {connections} connections: {why}"
        )
    }

    /// How long after the client was connected the server must have closed a connection.
    fn closed_after(&self) -> Duration {
        self.deadline + Duration::from_secs(1)
    }

    /// How many exchanges of lines are made at the same time.
    fn lines_at_once(&self) -> usize {
        match self.state.first.get() {
            Some(first) if first.serves_several => LINES_AT_ONCE,
            _ => 1,
        }
    }

    /// Judges by `vector` as many times as it says.
    fn try_times(&self, vector: &Vector) -> Result<(), Trouble> {
        let began_at = Instant::now();
        let may_go_on = |time: &usize| *time == 0 || began_at.elapsed() < REPEATING;
        let mut times = (0..vector.repeat).take_while(may_go_on);
        times.try_for_each(|_| self.try_once(vector))
    }

    /// Judges by `vector`, again if something was late.
    fn try_once(&self, vector: &Vector) -> Result<(), Trouble> {
        let mut lates = Vec::new();
        for _ in 0..ATTEMPTS {
            match run(self, vector) {
                Ok(None) => return Ok(()),
                Ok(Some(late)) => lates.push(late),
                Err(Trouble::LateJudge) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let is_late_each_time = lates.len() == ATTEMPTS;
        let Some(late) = lates.last().filter(|_| is_late_each_time) else {
            return Err(Trouble::LateJudge);
        };
        let delay = format!(
            "more than {:?} after the request was complete, {ATTEMPTS} times",
            self.max_delay
        );
        let mut finding = Finding::new(Cause::Late, "late", delay);
        // What delays another client is what the vector is about.
        finding.is_of_other = *late == Late::OtherClient;
        Err(finding.into())
    }

    fn connect(&self) -> Result<Connection, Trouble> {
        let before = self.state.connections.fetch_add(1, Ordering::SeqCst);
        let connection = Connection::open(&self.server, self.timeout);
        connection.map_err(
            |error| match Trouble::of("connect", &error, Cause::NoConnection) {
                Trouble::Server(finding) => finding
                    .with("before", format!("{before} connections were made"))
                    .into(),
                other => other,
            },
        )
    }

    /// Sends `bytes` on a new connection.
    fn send(&self, bytes: &[u8]) -> Result<Connection, Trouble> {
        let mut connection = self.connect()?;
        let written = connection.write(bytes, self.timeout);
        written.map_err(|error| Trouble::of("send", &error, Cause::CannotSend))?;
        Ok(connection)
    }

    /// Makes an exchange on a new connection. Returns whether its end was late.
    fn exchange(&self, request: &[u8], reply: &[u8]) -> Result<bool, Trouble> {
        let exchange = || {
            let mut connection = self.connect()?;
            if let Err(error) = connection.write(request, self.timeout) {
                connection.fail(error, self.timeout);
            }
            connection.read_to_end(self.timeout);
            connection.judge(reply)?;
            Ok(connection.opened_at.elapsed() > self.max_delay)
        };
        exchange().map_err(|trouble| of_other(trouble, request))
    }

    /// Makes a simple exchange. Returns whether its end was late.
    fn simple_exchange(&self) -> Result<bool, Trouble> {
        self.exchange(SIMPLE.0, SIMPLE.1)
    }
}

fn not_passed(trouble: Trouble, vector: &Vector) -> NotPassed {
    trouble.not_passed(vector.about(), &describe(&vector.steps))
}

impl First {
    fn of(judge: &ServerJudge) -> Self {
        let began_at = Instant::now();
        let simple = judge.try_times(&simple());
        let serves = simple.as_ref().err().is_none_or(Trouble::is_late);
        let slow = if serves && began_at.elapsed() > SLOW {
            least_time(judge).filter(|time| *time > SLOW)
        } else {
            None
        };
        let waiting = judge.connect();
        // A server that is too slow is given up soon, so that it does not matter.
        let serves_several = simple.as_ref().is_err_and(Trouble::is_doubtful)
            || !judge
                .simple_exchange()
                .is_err_and(|trouble| trouble.is_doubtful());
        drop(waiting);
        Self {
            simple,
            slow,
            serves_several,
        }
    }
}

/// How long a simple exchange takes. Exchanges that are slow are made again, because a machine may be slow.
fn least_time(judge: &ServerJudge) -> Option<Duration> {
    let mut least = None;
    for _ in 0..ATTEMPTS {
        let began_at = Instant::now();
        if judge.simple_exchange().is_ok() {
            let time = began_at.elapsed();
            least = Some(least.map_or(time, |least| time.min(least)));
        }
        if least.is_some_and(|time| time <= SLOW) {
            break;
        }
    }
    least
}

/// The request and the reply of a simple exchange.
const SIMPLE: (&[u8], &[u8]) = (b"Are you there?\n", b"ARE YOU THERE?");

/// A vector of a simple exchange.
fn simple() -> Vector {
    Vector {
        id: "a simple exchange".into(),
        description: "Sends a short question and an LF.".into(),
        requirement: "The reply is the question in upper case.".into(),
        clauses: vec!["PROC-1".into()],
        level: Level::Must,
        readable: String::new(),
        illustration: false,
        alone: false,
        repeat: 1,
        steps: vec![Step::Send {
            bytes: SIMPLE.0.into(),
            times: 1,
        }],
        expect: Expectation {
            reply: SIMPLE.1.into(),
            end: End::Fin,
        },
    }
}

/// How many connections of the judge `vector` needs, or [`ALL`] if it must be judged alone.
fn places(vector: &Vector) -> usize {
    let others = vector.steps.iter().map(|step| match step {
        Step::Other { other, .. } => match other {
            Other::Unchanged(_) => LINES_AT_ONCE,
            Other::AtOnce(_) | Other::Stall { .. } => ALL,
            Other::Exchange { .. } | Other::Reset(_) | Other::Close(_) => 1,
        },
        _ => 0,
    });
    let others = if vector.alone {
        ALL
    } else {
        others.max().unwrap_or(0)
    };
    ALL.min(1 + others)
}

/// Whether the server may fail after the vector, although it passed.
fn makes_trouble(vector: &Vector) -> bool {
    let is_trouble = |step: &Step| {
        let is = |other: &Other| {
            matches!(
                other,
                Other::Reset(_) | Other::Close(_) | Other::Stall { .. }
            )
        };
        matches!(step, Step::Other { other, .. } if is(other))
    };
    vector.expect.end != End::Fin || vector.steps.iter().any(is_trouble)
}
