//! Judges a client, a program in any language, by the vectors for clients.
//!
//! Rules of this file:
//!
//! - No expectation depends on a race. Where a client may or may not see something, such as a reset
//!   before it writes, the vector expects the same of both.
//! - A client is not blamed for what this machine lacks.
//! - The cause is named, not its consequence: what was sent comes before what was reported.

mod command;
mod place;
mod server;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::client_vectors::{ClientVector, Expectation, HOLD, Host, Step};
use super::reference;
use super::violation::{NotPassed, Violation, excerpt};
use crate::platform::has_gone;
use command::{Arguments, CommandLine, Finished, NAME, NO_NAME, can_name};
use place::Place;
use server::{Connection, Seen};

/// The time after which a client with this deadline is killed. It also has to start, and the machine may
/// be busy.
fn limit(deadline: Duration) -> Duration {
    deadline + deadline / 4 + Duration::from_secs(1)
}

/// How often the judge looks for connections, and for the end of the client.
const POLL: Duration = Duration::from_millis(2);

/// How many connections of one run are served.
const MAX_CONNECTIONS: usize = 64;

/// How many times a vector is judged as long as this machine may be the cause of a delay.
const ATTEMPTS: usize = 3;

/// How many vectors a client must fail by lateness until its lateness is believed at once.
const CONFIRMED: usize = 5;

/// Locked while a child is started. Until it runs its program it has a copy of every socket, and a socket is closed only
/// when all copies are.
static STARTING: Mutex<()> = Mutex::new(());

/// How many bytes of standard error are shown.
const SHOWN: usize = 400;

/// Judges a client, which is run as a child process for each vector.
///
/// In the command line, `{host}` and `{port}` stand for the server's address, and `{address}` for both
/// as `HOST:PORT`, with an IPv6 address in brackets. If none of them is there, the host and the port
/// are added as two arguments. The client reads the message from standard input, to its end. If
/// `{message}` is in the command line, it stands for the message, and standard input is empty.
///
/// The client writes the bytes of the reply and nothing else to standard output, and exits with 0. Or
/// it says on standard error why there is no reply, writes nothing to standard output, and exits with
/// another code.
#[derive(Debug)]
pub struct ClientJudge {
    /// The program and its arguments.
    command: Vec<OsString>,
    /// What the client promises for a whole exchange (SPEC CLIENT-8).
    pub deadline: Duration,
    /// How many vectors it failed by lateness.
    late: AtomicUsize,
}

impl ClientJudge {
    /// A judge of the client with this command line, and a deadline of 10 seconds.
    #[must_use]
    pub fn new(command: Vec<OsString>) -> Self {
        Self {
            command,
            deadline: Duration::from_secs(10),
            late: AtomicUsize::new(0),
        }
    }

    /// Judges the client by `vector`.
    ///
    /// # Errors
    /// Why the client did not pass.
    pub fn judge(&self, vector: &ClientVector) -> Result<(), NotPassed> {
        let needs = match vector.expect {
            Expectation::Reply {
                within: Some(within),
                ..
            } => within,
            _ => vector.server_time(),
        } * 2;
        if self.deadline < needs {
            return Err(NotPassed::NotJudged(format!(
                "this vector needs a client whose deadline is at least {needs:?}, and this client's is {:?}",
                self.deadline
            )));
        }
        let mut attempt = 1;
        loop {
            let run = self.run(vector).map_err(NotPassed::NotJudged)?;
            let Some(fault) = run.fault(vector) else {
                return Ok(());
            };
            // A machine may be slow, so lateness counts only if it comes every time.
            let is_late = fault.is_late() || run.finished.status.is_none();
            let is_believed = self.late.load(Ordering::Relaxed) >= CONFIRMED;
            if is_late && attempt < ATTEMPTS && !is_believed {
                attempt += 1;
                continue;
            }
            if is_late {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            let mut violation = run.violation(vector, &fault);
            violation.detail("command", self.describe());
            return Err(NotPassed::Violation(violation));
        }
    }

    /// The command line, for people to read.
    fn describe(&self) -> String {
        let words = self.command.iter().map(|word| {
            let text = word.to_string_lossy();
            let is_plain =
                !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
            if is_plain {
                text.into_owned()
            } else {
                format!("{text:?}")
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Runs the client once.
    ///
    /// # Errors
    /// What this machine lacks.
    fn run(&self, vector: &ClientVector) -> Result<Run, String> {
        let has_name = matches!(&vector.host, Host::Name(addresses) if !addresses.is_empty());
        if has_name {
            can_name()?;
        }
        let place = Place::open(vector.host.addresses())?;
        let host = match place.ips.first() {
            None => NO_NAME,
            Some(_) if has_name => NAME,
            Some(ip) => &ip.to_string(),
        };
        let arguments = Arguments {
            host,
            port: place.port,
            message: &vector.message,
        };
        let mut command = CommandLine::new(&self.command, &arguments)?;
        if has_name {
            command = command.with_name(&place.ips);
        }
        let (connected, first_connection) = channel();
        let (steps_taken, all_steps) = channel();
        let is_late = vector.late_message;
        let before_end = move || {
            if is_late && first_connection.recv_timeout(HOLD).is_ok() {
                let _ = all_steps.recv();
            }
        };
        let mut client = command.start(vector.message.clone(), before_end)?;
        // Its time begins when it runs.
        let start = Instant::now();
        let limit = start + limit(self.deadline);
        thread::scope(|scope| {
            let mut connections = Vec::new();
            let ended_at = loop {
                // In this order: every connection that it has made before its end is accepted.
                let has_exited = client.has_exited().map_err(|error| error.to_string())?;
                let now = Instant::now();
                for stream in place.listeners.iter().flat_map(accepted) {
                    let stream = stream?;
                    let _ = connected.send(());
                    let steps_taken = steps_taken.clone();
                    if connections.len() < MAX_CONNECTIONS {
                        let connection = Connection::new(stream, limit);
                        let done = move || {
                            let _ = steps_taken.send(());
                        };
                        let serve = move || connection.serve(&vector.steps, done);
                        connections.push(scope.spawn(serve));
                    }
                }
                if has_exited || now > limit {
                    break now;
                }
                thread::sleep(POLL);
            };
            let finished = client.finish()?;
            let served = connections.into_iter().map(ScopedJoinHandle::join);
            let served = served.collect::<Result<Vec<_>, _>>();
            let served = served.map_err(|_| "the judge's server panicked")?;
            let mut connections: Vec<Seen> = served.into_iter().map(|(seen, _)| seen).collect();
            // A client may try several addresses at once, and then leave those that it does not need.
            let has_sent = |seen: &Seen| !seen.sent.is_empty();
            if place.ips.len() > 1 && connections.iter().any(has_sent) {
                connections.retain(has_sent);
            }
            Ok(Run {
                finished,
                connections,
                time: ended_at - start,
                ended_at,
            })
        })
    }
}

/// The connections in the queue of a non-blocking `listener`.
fn accepted(listener: &TcpListener) -> impl Iterator<Item = Result<TcpStream, String>> {
    let mut has_failed = false;
    std::iter::from_fn(move || {
        loop {
            match listener.accept() {
                _ if has_failed => return None,
                Ok((stream, _)) => return Some(Ok(stream)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                // What it was is not known, so the next one counts.
                Err(error) if has_gone(error.kind()) => {}
                Err(error) => {
                    has_failed = true;
                    return Some(Err(format!(
                        "this machine cannot accept a connection: {error}; if there are too many open \
                         files, raise their limit (ulimit -n)"
                    )));
                }
            }
        }
    })
}

/// One run of a client.
struct Run {
    finished: Finished,
    connections: Vec<Seen>,
    /// How long the client ran.
    time: Duration,
    ended_at: Instant,
}

/// What is wrong: the clause that it violates, if that is not the main one of the vector, and a
/// sentence that is the same for the same cause.
#[derive(PartialEq, Eq)]
struct Fault(&'static [&'static str], &'static str);

impl Fault {
    const CLOSES_LATE: Self = Self(
        &["CLIENT-9"],
        "the client keeps the connection open after the end of the reply",
    );
    const CONNECTS_LATE: Self = Self(&["CLIENT-8"], "the client does not connect in time");
    const ENDS_LATE: Self = Self(&["CLIENT-8"], "the client has not ended by its deadline");

    /// Whether a slow machine may be the reason.
    fn is_late(&self) -> bool {
        [Self::CLOSES_LATE, Self::CONNECTS_LATE, Self::ENDS_LATE].contains(self)
    }
}

impl Run {
    /// What is wrong first.
    fn fault(&self, vector: &ClientVector) -> Option<Fault> {
        let sending = self.fault_of_connecting(vector).or_else(|| {
            let mut connections = self.connections.iter();
            connections.find_map(|seen| fault_of_sending(vector, seen))
        });
        sending.or_else(|| self.fault_of_reporting(vector))
    }

    fn fault_of_connecting(&self, vector: &ClientVector) -> Option<Fault> {
        let has_exited = self.finished.status.is_some();
        match (&vector.expect, self.connections.len()) {
            (Expectation::Refusal, 1..) => {
                let has_sent = self.connections.iter().any(|seen| !seen.sent.is_empty());
                Some(Fault(
                    &[],
                    if has_sent {
                        "the client does not refuse the message"
                    } else {
                        "the client connects before it refuses the message"
                    },
                ))
            }
            (Expectation::Refusal, 0) => None,
            (_, 0) if !vector.listens() => None,
            (_, 0) if !has_exited => Some(Fault::CONNECTS_LATE),
            (_, 0) if matches!(vector.host, Host::Name(_)) => Some(Fault(
                &["CLIENT-8"],
                "the client does not connect to the address that accepts connections",
            )),
            (_, 0) if self.succeeded() => Some(Fault(
                &["CLIENT-1"],
                "the client exits with 0, and has sent nothing",
            )),
            (_, 0) => Some(Fault(
                &["CLIENT-1"],
                "the client refuses a message that it must send, or cannot connect",
            )),
            // After an error, a client may repeat the exchange (SPEC section 12).
            (Expectation::Reply { .. }, 2..) => Some(Fault(
                &["CLIENT-1"],
                "the client connects again after a whole exchange",
            )),
            _ => None,
        }
    }

    fn fault_of_reporting(&self, vector: &ClientVector) -> Option<Fault> {
        let Finished {
            status,
            stdout,
            stderr,
        } = &self.finished;
        let Some(status) = status else {
            return Some(Fault::ENDS_LATE);
        };
        if status.code().is_none() {
            return Some(Fault(&[], "the client was ended by a signal"));
        }
        let Expectation::Reply { reply, within } = &vector.expect else {
            return match (status.success(), stdout.is_empty(), stderr.is_empty()) {
                (true, true, _) => Some("the client exits with 0, although there is no reply"),
                (true, false, _) => {
                    Some("the client exits with 0 and writes a reply, although there is none")
                }
                (false, false, _) => {
                    Some("the client writes to standard output, although there is no reply")
                }
                (false, true, true) => Some("the client gives no reason on standard error"),
                (false, true, false) => None,
            }
            .map(|problem| Fault(&[], problem));
        };
        if !status.success() {
            return Some(Fault(
                &[],
                "the client reports an error, although there is a reply",
            ));
        }
        if stdout != reply {
            let is_part = reply.starts_with(stdout);
            return Some(if stdout.is_empty() {
                Fault(&["CLIENT-10"], "the client withholds the reply")
            } else if is_part {
                Fault(
                    &["CLIENT-3"],
                    "the client hands on only a part of the reply",
                )
            } else if stdout.starts_with(reply) {
                Fault(&["CLIENT-10"], "the client adds bytes to the reply")
            } else {
                Fault(&["CLIENT-10"], "the client changes the reply")
            });
        }
        let mut closes = self.connections.iter().filter_map(|seen| {
            let ended_at = seen.ended_at?;
            // After a half-close, the close is seen only by the client's exit.
            let closed_at = seen
                .client_ended_at
                .filter(|closed_at| *closed_at > ended_at);
            Some(
                closed_at
                    .unwrap_or(self.ended_at)
                    .saturating_duration_since(ended_at),
            )
        });
        let is_late = within.is_some_and(|within| closes.any(|time| time > within));
        is_late.then_some(Fault::CLOSES_LATE)
    }

    fn succeeded(&self) -> bool {
        self.finished.status.is_some_and(|status| status.success())
    }

    fn violation(&self, vector: &ClientVector, fault: &Fault) -> Violation {
        let Fault(clauses, problem) = fault;
        let mut violation = vector.about().violation(clauses, (*problem).into());
        violation.detail("message", excerpt(&vector.message));
        let wrong = |seen: &&Seen| fault_of_sending(vector, seen).as_ref() == Some(fault);
        if let Some(seen) = self.connections.iter().find(wrong) {
            violation.compare(&line(vector), &seen.sent);
        } else if let Expectation::Reply { reply, .. } = &vector.expect {
            violation.compare(reply, &self.finished.stdout);
        } else {
            violation.detail("stdout", excerpt(&self.finished.stdout));
        }
        let stderr = self.finished.stderr.trim_ascii();
        let shown = &stderr[..stderr.len().min(SHOWN)];
        let more = if shown.len() < stderr.len() {
            "…"
        } else {
            ""
        };
        violation.detail("stderr", format!("{}{more}", reference::literal(shown)));
        let status = self.finished.status.map(|status| status.to_string());
        let status = status.unwrap_or_else(|| "killed".into());
        violation.detail("ended", format!("{status}, after {:.1?}", self.time));
        violation.detail("connects", format!("{} times", self.connections.len()));
        violation
    }
}

/// What a client must send: its message and one LF (SPEC CLIENT-1).
fn line(vector: &ClientVector) -> Vec<u8> {
    [&vector.message[..], b"\n"].concat()
}

fn fault_of_sending(vector: &ClientVector, seen: &Seen) -> Option<Fault> {
    let line = line(vector);
    let awaits = vector.steps.contains(&Step::AwaitRequest);
    let must_be_whole = awaits || matches!(vector.expect, Expectation::Reply { .. });
    if seen.sent == line || !must_be_whole && line.starts_with(&seen.sent) {
        return None;
    }
    Some(if seen.sent == vector.message {
        Fault(&["CLIENT-1"], "the client sends no LF after the message")
    } else if seen.sent.is_empty() {
        Fault(&["CLIENT-1"], "the client connects, and sends nothing")
    } else if line.starts_with(&seen.sent) {
        Fault(&["CLIENT-1"], "the client sends only a part of the message")
    } else if seen.sent.starts_with(&line) {
        Fault(&["CLIENT-9"], "the client sends bytes after the LF")
    } else {
        Fault(&["CLIENT-1"], "the client changes the message")
    })
}
