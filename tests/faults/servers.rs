//! Wrong servers: right replies, over TCP, with one fault each.
//!
//! A fault must show in every run, however busy the machine is:
//!
//! - What a client sends in pieces may arrive as one. A server whose fault depends on what one read
//!   returns has a small buffer, or is judged by a vector that sends everything at once.
//! - Connections are counted and listed by the thread that accepts them, in the order in which they
//!   were made.
//! - A server that must fail to read surplus is judged by more surplus than any buffer holds.
//! - A worker that is lost is lost in the order in which the connections were made. The vector that
//!   aims at that makes more of them than there are workers.
//! - Where only time shows a fault, only a delay of about half a second or more can hide it.

use std::cell::Cell;
use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use upcase::conformance::reference::{self, LIMIT, process};

/// How long a wrong server gives a connection.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// How long a wrong server gives a connection whose fault is that it gives this time twice.
const LONG_DEADLINE: Duration = Duration::from_secs(9);

/// How long a right server gives a connection: long enough for every vector on a busy machine.
const RIGHT_DEADLINE: Duration = Duration::from_secs(4);

/// Longer than any judge of the zoo waits.
const ENDLESS: Duration = Duration::from_secs(30);

/// A short wait.
const MOMENT: Duration = Duration::from_millis(50);

/// Serves one connection.
type Serve = fn(&mut Connection);

/// A server with a fault.
pub struct Fault {
    /// What it does.
    pub name: &'static str,
    /// The IDs of the vectors that aim at it. Each of them catches it in every run.
    pub caught_by: &'static [&'static str],
    /// How long it gives a connection.
    pub deadline: Duration,
    serve: Serve,
    /// How many connections it serves at a time. `None`: all.
    at_a_time: Option<usize>,
    /// How long it waits before it accepts another connection.
    pace: Duration,
}

impl Fault {
    /// Starts a server with this fault.
    pub fn start(&self) -> SocketAddr {
        start(self.serve, self.deadline, self.at_a_time, self.pace)
    }
}

/// Starts a right server.
pub fn start_right() -> SocketAddr {
    start(right, RIGHT_DEADLINE, None, Duration::ZERO)
}

/// Starts another right server, which ends an incomplete request by a reset.
pub fn start_right_with_resets() -> SocketAddr {
    let serve = |c: &mut Connection| match c.request() {
        Some(request) => c.finish(&process(&request)),
        None => c.reset(),
    };
    start(serve, RIGHT_DEADLINE, None, Duration::ZERO)
}

/// Starts another right server, as slow and with as short a deadline as SPEC REPLY-4 and TIME-6 allow,
/// except for what a busy machine adds.
pub fn start_right_at_the_limits() -> SocketAddr {
    let serve = |c: &mut Connection| {
        c.serve_with(|c, reply| {
            thread::sleep(DEADLINE * 2 / 5);
            c.finish(reply);
        });
    };
    start(serve, DEADLINE, None, Duration::ZERO)
}

/// Starts a server on a free port. It runs until the process ends.
fn start(serve: Serve, deadline: Duration, at_a_time: Option<usize>, pace: Duration) -> SocketAddr {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("an address");
    let memory = Arc::<Memory>::default();
    for _ in 0..at_a_time.unwrap_or(1) {
        let (listener, memory) = (Arc::clone(&listener), Arc::clone(&memory));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = Connection::new(stream, deadline, &memory);
                if at_a_time.is_some() {
                    if connection.serve(serve) {
                        break;
                    }
                } else {
                    thread::spawn(move || connection.serve(serve));
                }
                thread::sleep(pace);
            }
        });
    }
    address
}

/// What a server remembers. A right one needs none of it.
#[derive(Default)]
struct Memory {
    accepted: AtomicUsize,
    /// The connections whose request is not complete.
    incomplete: Mutex<Vec<Arc<TcpStream>>>,
    text: Mutex<Vec<u8>>,
}

impl Memory {
    fn incomplete(&self) -> MutexGuard<'_, Vec<Arc<TcpStream>>> {
        self.incomplete.lock().expect("no panic")
    }

    fn text(&self) -> MutexGuard<'_, Vec<u8>> {
        self.text.lock().expect("no panic")
    }
}

/// How the client's part of a connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// By a complete request.
    Complete,
    /// By a half-close before that.
    HalfClose,
    /// By the deadline or an error.
    Failure,
}

/// A connection with its deadline.
struct Connection {
    stream: Arc<TcpStream>,
    deadline: Instant,
    /// The most bytes that one read returns.
    buffer: usize,
    /// How many connections were accepted before it.
    number: usize,
    /// How many of them had an incomplete request then.
    incomplete_before: usize,
    memory: Arc<Memory>,
    /// Whether reading or writing has failed, but not by a time-out.
    has_failed: Cell<bool>,
    /// Whether the worker that serves it does not serve another.
    loses_worker: bool,
}

impl Connection {
    /// To be called by the thread that accepts.
    fn new(stream: TcpStream, deadline: Duration, memory: &Arc<Memory>) -> Self {
        let stream = Arc::new(stream);
        let mut incomplete = memory.incomplete();
        let incomplete_before = incomplete.len();
        incomplete.push(Arc::clone(&stream));
        Self {
            stream,
            deadline: Instant::now() + deadline,
            buffer: LIMIT,
            number: memory.accepted.fetch_add(1, Ordering::Relaxed),
            incomplete_before,
            memory: Arc::clone(memory),
            has_failed: Cell::new(false),
            loses_worker: false,
        }
    }

    /// Returns whether its worker is lost.
    fn serve(mut self, serve: Serve) -> bool {
        serve(&mut self);
        self.is_complete();
        self.loses_worker
    }

    /// Removes it from the list of the incomplete ones.
    fn is_complete(&self) {
        let other = |stream: &Arc<TcpStream>| !Arc::ptr_eq(stream, &self.stream);
        self.memory.incomplete().retain(other);
    }

    /// What one read returns. `None` at the deadline or after an error.
    fn read(&self) -> Option<Vec<u8>> {
        let left = self.time_left();
        if left.is_zero() {
            return None;
        }
        self.stream.set_read_timeout(Some(left)).ok()?;
        let mut bytes = vec![0; self.buffer];
        let read = (&*self.stream).read(&mut bytes);
        self.note_break(read.as_ref().err());
        bytes.truncate(read.ok()?);
        Some(bytes)
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn write(&self, bytes: &[u8]) {
        let written = (&*self.stream).write_all(bytes);
        self.note_break(written.as_ref().err());
    }

    fn note_break(&self, error: Option<&io::Error>) {
        let is_break = |error: &io::Error| !matches!(error.kind(), WouldBlock | TimedOut);
        self.has_failed
            .set(self.has_failed.get() || error.is_some_and(is_break));
    }

    /// Whether the client has broken it. The error that shows this is used up.
    fn is_broken(&self) -> bool {
        self.has_failed.get() || self.stream.take_error().is_ok_and(|error| error.is_some())
    }

    fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Makes the close a reset.
    fn reset(&self) {
        let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
    }

    fn discard(&self) {
        while self.read().is_some_and(|bytes| !bytes.is_empty()) {}
    }

    /// Receives until `ends` gives the length of the request, from all bytes that have come. Calls
    /// `on_read` with them after each read.
    fn receive(
        &mut self,
        ends: impl Fn(&[u8]) -> Option<usize>,
        mut on_read: impl FnMut(&mut Self, &[u8]),
    ) -> (Vec<u8>, Ending) {
        let mut request = Vec::new();
        loop {
            if let Some(length) = ends(&request) {
                request.truncate(length);
                return (request, Ending::Complete);
            }
            match self.read() {
                None => return (request, Ending::Failure),
                Some(bytes) if bytes.is_empty() => return (request, Ending::HalfClose),
                Some(bytes) => request.extend(bytes),
            }
            on_read(self, &request);
        }
    }

    /// The request. `None` if it is not complete at the deadline.
    fn request(&mut self) -> Option<Vec<u8>> {
        self.request_by(complete)
    }

    /// The request, if `ends` says when it is complete.
    fn request_by(&mut self, ends: fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        let (request, ending) = self.receive(ends, |_, _| ());
        if ending == Ending::Failure {
            return None;
        }
        self.is_complete();
        Some(request)
    }

    /// Sends the reply, and ends the connection (SPEC REPLY-2, SURPLUS-2).
    fn finish(&self, reply: &[u8]) {
        self.write(reply);
        self.half_close();
        self.discard();
    }

    /// Is right, except that `ends` says when a request is complete.
    fn serve_by(&mut self, ends: fn(&[u8]) -> Option<usize>) {
        if let Some(request) = self.request_by(ends) {
            self.finish(&process(&request));
        }
    }

    /// Is right, except for what it does after its request.
    fn serve_with(&mut self, finish: fn(&mut Self, &[u8])) {
        if let Some(request) = self.request() {
            finish(self, &process(&request));
        }
    }

    /// Is right, except for what it does after each read.
    fn serve_reading(&mut self, on_read: fn(&mut Self)) {
        let (request, ending) = self.receive(complete, |c, _| on_read(c));
        if ending != Ending::Failure {
            self.finish(&process(&request));
        }
    }
}

/// The length of the request at the beginning of `bytes`, if it is complete.
fn complete(bytes: &[u8]) -> Option<usize> {
    reference::request(bytes, false).map(|request| request.len())
}

/// The length of the line at the beginning of `bytes`.
fn line(bytes: &[u8], end: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == end).map(|at| at + 1)
}

fn right(c: &mut Connection) {
    c.serve_by(complete);
}

const fn fault(name: &'static str, caught_by: &'static [&'static str], serve: Serve) -> Fault {
    Fault {
        name,
        caught_by,
        deadline: DEADLINE,
        serve,
        at_a_time: None,
        pace: Duration::ZERO,
    }
}

const fn pool(name: &'static str, caught_by: &'static [&'static str], at_a_time: usize) -> Fault {
    Fault {
        at_a_time: Some(at_a_time),
        ..fault(name, caught_by, right)
    }
}

/// Has as many workers as a server must have, and may lose them.
const fn workers(name: &'static str, caught_by: &'static [&'static str], serve: Serve) -> Fault {
    Fault {
        at_a_time: Some(40),
        ..fault(name, caught_by, serve)
    }
}

/// Takes several seconds to be seen.
const fn patient(name: &'static str, caught_by: &'static [&'static str], serve: Serve) -> Fault {
    Fault {
        deadline: LONG_DEADLINE,
        ..fault(name, caught_by, serve)
    }
}

/// Every wrong server.
pub fn wrong() -> impl Iterator<Item = &'static Fault> {
    [
        FRAMINGS, REPLIES, ENDINGS, DEADLINES, OTHERS, AT_ONCE, CROWDS, TROUBLE,
    ]
    .into_iter()
    .flatten()
}

/// Where a request ends (SPEC FRAME-1 to FRAME-5).
const FRAMINGS: &[Fault] = &[
    fault(
        "takes one read for one request",
        &["frame.each-byte"],
        |c| {
            c.buffer = 8;
            if let Some(request) = c.read() {
                c.finish(&process(&request));
            }
        },
    ),
    fault(
        "ends a request only where a read ends with LF",
        &["reply.second-request"],
        |c| c.serve_by(|bytes| bytes.ends_with(b"\n").then_some(bytes.len())),
    ),
    fault("ends a request at the last LF", &["frame.lf-first"], |c| {
        c.serve_by(|bytes| {
            let last = bytes.iter().rposition(|byte| *byte == b'\n');
            complete(bytes).map(|length| last.map_or(length, |at| at + 1))
        });
    }),
    fault(
        "waits for the end of the stream",
        &["surplus.one-byte"],
        |c| {
            if let (request, Ending::HalfClose) = c.receive(|_| None, |_, _| ()) {
                let length = complete(&request).unwrap_or(request.len());
                c.finish(&process(&request[..length]));
            }
        },
    ),
    fault(
        "waits for an LF after the limit",
        &["frame.limit-1024"],
        |c| {
            c.serve_by(|bytes| line(bytes, b'\n'));
        },
    ),
    fault(
        "waits for a byte after the limit",
        &["frame.limit-1024"],
        |c| {
            c.serve_by(|bytes| {
                complete(bytes).filter(|length| *length < LIMIT || bytes.len() > LIMIT)
            });
        },
    ),
    fault(
        "answers a full request without LF at its deadline",
        &["frame.limit-1024"],
        |c| {
            let (request, ending) = c.receive(|bytes| line(bytes, b'\n'), |_, _| ());
            let is_short = request.len() < LIMIT;
            if ending == Ending::Failure && is_short {
                return;
            }
            c.deadline += DEADLINE;
            c.finish(&process(&request));
        },
    ),
    fault("ends a request at 1023 bytes", &["frame.limit-1024"], |c| {
        c.serve_by(|bytes| {
            let full = (bytes.len() >= 1023).then_some(1023);
            complete(bytes).filter(|length| *length < 1023).or(full)
        });
    }),
    fault("ends a request at CR", &["frame.cr-does-not-end"], |c| {
        c.serve_by(|bytes| line(bytes, b'\r').or(complete(bytes)));
    }),
    fault("ends a request at NUL", &["frame.nul-does-not-end"], |c| {
        c.serve_by(|bytes| line(bytes, 0).or(complete(bytes)));
    }),
    fault("skips empty lines", &["frame.lf-first"], |c| {
        c.serve_by(|bytes| {
            let start = bytes.iter().position(|byte| *byte != b'\n')?;
            complete(&bytes[start..]).map(|length| start + length)
        });
    }),
    fault(
        "takes white space alone for an empty request",
        &["frame.white-space-first"],
        |c| {
            c.buffer = 1;
            c.serve_by(|bytes| {
                let is_blank = !bytes.is_empty() && bytes.trim_ascii().is_empty();
                complete(bytes).or(is_blank.then_some(0))
            });
        },
    ),
    fault("closes at a half-close", &["frame.end-after-text"], |c| {
        if let (request, Ending::Complete) = c.receive(complete, |_, _| ()) {
            c.finish(&process(&request));
        }
    }),
    fault(
        "waits for more after an empty half-close",
        &["frame.end-without-a-byte"],
        |c| {
            c.serve_with(|c, reply| {
                if reply.is_empty() {
                    thread::sleep(c.time_left());
                    c.reset();
                } else {
                    c.finish(reply);
                }
            });
        },
    ),
    fault(
        "maps each two bytes by themselves",
        &["frame.split-2-bytes-after-1"],
        |c| {
            if let Some(request) = c.request() {
                let reply: Vec<u8> = request.chunks(2).flat_map(reference::upper).collect();
                c.finish(&reference::clip(&reply));
            }
        },
    ),
];

/// What is sent, and when (SPEC REPLY-1 to REPLY-3).
const REPLIES: &[Fault] = &[
    fault("greets", &["reply.no-greeting"], |c| {
        c.write(b"UPCASE ready\n");
        right(c);
    }),
    fault(
        "replies as it reads",
        &["time.incomplete-at-the-deadline"],
        |c| {
            let mut written = 0;
            let (_, ending) = c.receive(complete, |c, bytes| {
                let length = complete(bytes).unwrap_or(bytes.len());
                let reply = process(&bytes[..length]);
                c.write(reply.get(written..).unwrap_or_default());
                written = written.max(reply.len());
            });
            if ending != Ending::Failure {
                c.finish(b"");
            }
        },
    ),
    fault(
        "answers at the end of the stream or at its deadline",
        &["reply.nothing-behind-it"],
        |c| {
            let (request, _) = c.receive(|_| None, |_, _| ());
            c.deadline += DEADLINE;
            if let Some(length) = complete(&request) {
                c.finish(&process(&request[..length]));
            }
        },
    ),
    fault(
        "answers every request of a connection",
        &["reply.second-request"],
        |c| {
            let (bytes, ending) = c.receive(|b| complete(b).map(|_| b.len()), |_, _| ());
            if ending != Ending::Failure {
                let requests = bytes.split_inclusive(|byte| *byte == b'\n');
                c.finish(&requests.flat_map(process).collect::<Vec<_>>());
            }
        },
    ),
    fault("replies endlessly", &["reply.nothing-behind-it"], |c| {
        while (&*c.stream).write_all(&[b'X'; LIMIT]).is_ok() {}
    }),
    fault(
        "resets after an empty reply",
        &["frame.end-without-a-byte"],
        |c| {
            c.serve_with(|c, reply| match reply {
                [] => c.reset(),
                reply => c.finish(reply),
            });
        },
    ),
    fault(
        "resets after its reply",
        &["reply.nothing-behind-it"],
        |c| {
            c.serve_with(|c, reply| {
                c.reset();
                c.write(reply);
            });
        },
    ),
    fault("does not half-close", &["reply.nothing-behind-it"], |c| {
        c.serve_with(|c, reply| {
            c.deadline += ENDLESS;
            c.write(reply);
            c.discard();
        });
    }),
    fault(
        "half-closes a second after its reply",
        &["reply.nothing-behind-it"],
        |c| {
            c.serve_with(|c, reply| {
                c.write(reply);
                thread::sleep(DEADLINE * 3 / 4);
                c.finish(b"");
            });
        },
    ),
    fault("takes a second for a reply", &["reply.prompt"], |c| {
        c.serve_with(|c, reply| {
            thread::sleep(DEADLINE / 2);
            c.finish(reply);
        });
    }),
];

/// How a connection ends after its reply (SPEC SURPLUS-2, SURPLUS-3, TIME-1).
const ENDINGS: &[Fault] = &[
    fault("closes with surplus unread", &["surplus.unread"], |c| {
        c.serve_with(|c, reply| c.write(reply));
    }),
    fault(
        "closes right after its half-close",
        &["surplus.sixteen-megabytes"],
        |c| {
            c.serve_with(|c, reply| {
                c.write(reply);
                c.half_close();
            });
        },
    ),
    fault(
        "discards only 64 KiB",
        &["surplus.sixteen-megabytes"],
        |c| {
            c.serve_with(|c, reply| {
                c.write(reply);
                c.half_close();
                let mut reads = (0..64).map(|_| c.read());
                let _ = reads.find(|read| read.as_ref().is_none_or(Vec::is_empty));
            });
        },
    ),
    fault("discards only 8 MiB", &["surplus.sixteen-megabytes"], |c| {
        c.serve_with(|c, reply| {
            // Otherwise the system could enlarge it until the rest fits.
            let _ = SockRef::from(&*c.stream).set_recv_buffer_size(64 << 10);
            c.write(reply);
            c.half_close();
            let mut left: usize = 8 << 20;
            while let Some(read) = c.read().filter(|read| !read.is_empty() && left > 0) {
                left = left.saturating_sub(read.len());
            }
        });
    }),
    fault(
        "does not read surplus",
        &["surplus.sixteen-megabytes"],
        |c| {
            c.serve_with(|c, reply| {
                c.write(reply);
                c.half_close();
                thread::sleep(c.time_left());
            });
        },
    ),
    fault(
        "discards only for a moment",
        &["surplus.a-second-later"],
        |c| {
            c.serve_with(|c, reply| {
                c.deadline = Instant::now() + MOMENT;
                c.finish(reply);
            });
        },
    ),
    fault(
        "discards only for most of a second and a half",
        &["surplus.late-as-can-be"],
        |c| {
            c.serve_with(|c, reply| {
                c.deadline = Instant::now() + DEADLINE * 3 / 5;
                c.finish(reply);
            });
        },
    ),
    fault(
        "discards until nothing comes for a second",
        &["surplus.late-as-can-be"],
        |c| {
            c.serve_with(|c, reply| {
                c.write(reply);
                c.half_close();
                let deadline = c.deadline;
                loop {
                    c.deadline = deadline.min(Instant::now() + DEADLINE / 2);
                    if c.read().is_none_or(|bytes| bytes.is_empty()) {
                        break;
                    }
                }
            });
        },
    ),
    fault(
        "never closes after its reply",
        &["time.gone-behind-its-reply"],
        |c| {
            c.serve_with(|c, reply| {
                c.deadline += ENDLESS;
                c.finish(reply);
            });
        },
    ),
];

/// The deadline (SPEC TIME-1, TIME-2, TIME-6), and patience before it (FRAME-5).
const DEADLINES: &[Fault] = &[
    fault(
        "gives a connection half a second",
        &[
            "time.incomplete-at-the-deadline",
            "frame.a-second-before",
            "frame.a-second-between",
            "surplus.a-second-later",
        ],
        |c| {
            c.deadline -= DEADLINE * 3 / 4;
            right(c);
        },
    ),
    fault(
        "has no deadline",
        &["time.incomplete-at-the-deadline"],
        |c| {
            c.deadline += ENDLESS;
            right(c);
        },
    ),
    fault(
        "only half-closes at its deadline",
        &["time.incomplete-at-the-deadline"],
        |c| {
            if let Some(request) = c.request() {
                c.finish(&process(&request));
            } else {
                c.half_close();
                thread::sleep(ENDLESS);
            }
        },
    ),
    fault(
        "replies to an incomplete request at its deadline",
        &["time.incomplete-at-the-deadline"],
        |c| {
            let (request, _) = c.receive(complete, |_, _| ());
            c.deadline += DEADLINE;
            c.finish(&process(&request));
        },
    ),
    fault(
        "says why it closes",
        &["time.incomplete-at-the-deadline"],
        |c| match c.request() {
            Some(request) => c.finish(&process(&request)),
            None => c.finish(b"408 Request Timeout"),
        },
    ),
    fault("gives more time for each byte", &["time.drip"], |c| {
        c.buffer = 1;
        c.serve_reading(|c| c.deadline += DEADLINE * 3 / 5);
    }),
    fault(
        "gives each read a time-out of its own",
        &["time.drip"],
        |c| c.serve_reading(|c| c.deadline = Instant::now() + DEADLINE * 3 / 2),
    ),
    fault(
        "gives more time for each surplus byte",
        &["time.drip-behind-its-reply"],
        |c| {
            c.serve_with(|c, reply| {
                c.write(reply);
                c.half_close();
                c.buffer = 1;
                while c.read().is_some_and(|bytes| !bytes.is_empty()) {
                    c.deadline = Instant::now() + DEADLINE;
                }
            });
        },
    ),
    patient(
        "gives its reply a deadline of its own",
        &["time.drip-then-stays"],
        |c| {
            c.serve_with(|c, reply| {
                c.deadline = Instant::now() + LONG_DEADLINE;
                c.finish(reply);
            });
        },
    ),
    patient(
        "begins its deadline with the first byte",
        &["time.silent-then-a-byte"],
        |c| {
            let _ = c.stream.set_read_timeout(Some(LONG_DEADLINE));
            if c.stream.peek(&mut [0]).is_ok() {
                c.deadline = Instant::now() + LONG_DEADLINE;
                right(c);
            }
        },
    ),
    patient(
        "begins its deadline anew with each byte",
        &["time.silent-then-a-byte", "time.drip-then-stays"],
        |c| c.serve_reading(|c| c.deadline = Instant::now() + LONG_DEADLINE),
    ),
    fault(
        "looks at its deadlines only when another client connects",
        &["time.silent-and-alone"],
        |c| {
            if let Some(request) = c.request() {
                return c.finish(&process(&request));
            }
            let is_last = || c.memory.accepted.load(Ordering::Relaxed) == c.number + 1;
            let start = Instant::now();
            while is_last() && start.elapsed() < ENDLESS {
                thread::sleep(MOMENT);
            }
        },
    ),
    fault(
        "closes at a pause in a request",
        &["frame.a-second-between"],
        |c| {
            let deadline = c.deadline;
            let (request, ending) =
                c.receive(complete, |c, _| c.deadline = Instant::now() + MOMENT);
            c.deadline = deadline;
            if ending != Ending::Failure {
                c.finish(&process(&request));
            }
        },
    ),
    fault(
        "closes at a pause before a request",
        &["frame.a-second-before"],
        |c| {
            let _ = c.stream.set_read_timeout(Some(MOMENT));
            if c.stream.peek(&mut [0]).is_ok() {
                right(c);
            }
        },
    ),
];

/// The connections before it and beside it (SPEC FRAME-5, TIME-3, TIME-4).
const OTHERS: &[Fault] = &[
    fault(
        "keeps the text of the connection before",
        &["connection.short-behind-long"],
        |c| {
            if let Some(request) = c.request() {
                let mut text = c.memory.text().clone();
                text.resize(text.len().max(request.len()), b' ');
                text[..request.len()].copy_from_slice(&request);
                c.memory.text().clone_from(&text);
                c.finish(&process(&text));
            }
        },
    ),
    fault(
        "caches replies by their length",
        &["connection.two-at-once"],
        |c| {
            c.serve_with(|c, reply| {
                let mut cached = c.memory.text().clone();
                if cached.len() != reply.len() {
                    reply.clone_into(&mut cached);
                    c.memory.text().clone_from(&cached);
                }
                c.finish(&cached);
            });
        },
    ),
    fault(
        "forgets the reply of every 50th connection",
        &["connection.many"],
        |c| {
            c.serve_with(|c, reply| {
                let forgets = c.number % 50 == 49;
                c.finish(if forgets { b"" } else { reply });
            });
        },
    ),
    fault(
        "is late and wrong at every 40th connection",
        &["connection.many"],
        |c| {
            c.serve_with(|c, reply| {
                if c.number % 40 == 39 {
                    thread::sleep(DEADLINE * 3 / 4);
                    c.finish(b"?");
                } else {
                    c.finish(reply);
                }
            });
        },
    ),
    fault(
        "answers wrongly beside an incomplete request",
        &["time.reset-one-costs-no-other"],
        |c| {
            c.serve_with(|c, reply| {
                let wrong = c.incomplete_before > 0;
                c.finish(if wrong { b"?" } else { reply });
            });
        },
    ),
    fault(
        "answers late beside an incomplete request",
        &["time.reset-one-costs-no-other"],
        |c| {
            c.serve_with(|c, reply| {
                if c.incomplete_before > 0 {
                    thread::sleep(DEADLINE * 3 / 4);
                }
                c.finish(reply);
            });
        },
    ),
    fault(
        "stops at a reset",
        &["time.reset-one-costs-no-other"],
        |c| {
            let Some(request) = c.request() else {
                return thread::sleep(ENDLESS); // it stays in the list of the incomplete ones
            };
            // This does not consume the error, and the peer of a reset connection stays unknown.
            let is_reset = |stream: &Arc<TcpStream>| stream.peer_addr().is_err();
            let stops = c.memory.incomplete().iter().any(is_reset);
            if !stops {
                c.finish(&process(&request));
            }
        },
    ),
    fault(
        "closes a connection for each that failed",
        &["time.resets-within-a-request"],
        |c| match c.request() {
            None => c.memory.text().push(b'x'),
            Some(request) => {
                let pays = c.memory.text().pop().is_some();
                if !pays {
                    c.finish(&process(&request));
                }
            }
        },
    ),
    fault(
        "stops at a deadline",
        &["time.failed-one-costs-no-other"],
        |c| match c.request() {
            None => c.memory.text().push(b'x'),
            Some(request) if c.memory.text().is_empty() => c.finish(&process(&request)),
            Some(_) => {}
        },
    ),
    fault(
        "finishes one connection after another",
        &["time.others-while-one-stays"],
        |c| {
            c.serve_with(|c, reply| {
                let turn = c.memory.text();
                c.finish(reply);
                drop(turn);
            });
        },
    ),
    pool(
        "serves one connection at a time",
        &["time.others-while-one-is-silent"],
        1,
    ),
    pool(
        "serves sixteen connections at a time",
        &["time.others-while-many-stall"],
        16,
    ),
    pool(
        "serves 39 connections at a time",
        &["time.forty-at-once"],
        39,
    ),
    Fault {
        pace: MOMENT,
        ..fault(
            "accepts twenty connections a second",
            &["time.forty-at-once"],
            right,
        )
    },
];

/// Requests that are complete at the same time (SPEC FRAME-5, REPLY-4, TIME-3).
const AT_ONCE: &[Fault] = &[
    fault(
        "shares one buffer for replies",
        &[
            "connection.many-at-once",
            "connection.many-of-a-length-at-once",
        ],
        |c| {
            c.serve_with(|c, reply| {
                reply.clone_into(&mut c.memory.text());
                thread::sleep(MOMENT);
                let shared = c.memory.text().clone();
                c.finish(&shared);
            });
        },
    ),
    fault(
        "shares the length of replies",
        &["connection.many-at-once"],
        |c| {
            c.serve_with(|c, reply| {
                reply.clone_into(&mut c.memory.text());
                thread::sleep(MOMENT);
                let length = c.memory.text().len();
                c.finish(&reply[..length.min(reply.len())]);
            });
        },
    ),
    fault(
        "shares the first bytes of replies",
        &["connection.many-of-a-length-at-once"],
        |c| {
            c.serve_with(|c, reply| {
                reply.clone_into(&mut c.memory.text());
                thread::sleep(MOMENT);
                let shared = c.memory.text().clone();
                let mut mixed = reply.to_vec();
                let count = mixed.len().min(shared.len()).min(8);
                mixed[..count].copy_from_slice(&shared[..count]);
                c.finish(&mixed);
            });
        },
    ),
    fault(
        "answers only one of two that are complete at once",
        &["connection.many-at-once"],
        |c| {
            c.serve_with(|c, reply| {
                let turn = c.memory.text.try_lock();
                if turn.is_ok() {
                    thread::sleep(MOMENT);
                }
                let is_answered = turn.is_ok();
                drop(turn);
                c.finish(if is_answered { reply } else { b"" });
            });
        },
    ),
    fault(
        "answers one request after another, ten a second",
        &["connection.many-at-once", "time.forty-complete-at-once"],
        |c| {
            c.serve_with(|c, reply| {
                let turn = c.memory.text();
                thread::sleep(MOMENT * 2);
                drop(turn);
                c.finish(reply);
            });
        },
    ),
];

/// More connections than some number (SPEC TIME-6, TIME-7).
const CROWDS: &[Fault] = &[
    fault(
        "says that it is busy past 8 connections",
        &["time.forty-at-once", "time.others-while-many-stall"],
        |c| turn_away_past(c, 8, |c| c.finish(b"BUSY")),
    ),
    fault(
        "says that it is busy past 32 connections",
        &["time.forty-at-once"],
        |c| turn_away_past(c, 32, |c| c.finish(b"BUSY")),
    ),
    fault(
        "says that it is busy past 40 connections",
        &["time.a-hundred-more"],
        |c| turn_away_past(c, 40, |c| c.finish(b"BUSY")),
    ),
    fault("resets past 16 connections", &["time.forty-at-once"], |c| {
        turn_away_past(c, 16, Connection::reset);
    }),
    fault("closes past 32 connections", &["time.forty-at-once"], |c| {
        turn_away_past(c, 32, |_| ());
    }),
    fault(
        "closes the oldest past 32 connections",
        &["time.the-first-of-forty-goes-on"],
        |c| close_oldest_past(c, 32),
    ),
    fault(
        "closes the oldest past 40 connections",
        &["time.a-hundred-more"],
        |c| close_oldest_past(c, 40),
    ),
];

/// Is right up to `most` connections, and does `otherwise` with more.
fn turn_away_past(c: &mut Connection, most: usize, otherwise: fn(&Connection)) {
    if c.incomplete_before < most {
        right(c);
    } else {
        otherwise(c);
    }
}

/// Is right, except that it closes the oldest connection if there are more than `most`.
fn close_oldest_past(c: &mut Connection, most: usize) {
    if c.incomplete_before >= most
        && let Some(oldest) = c.memory.incomplete().first()
    {
        let _ = oldest.shutdown(Shutdown::Both);
    }
    right(c);
}

/// Connections that fail (SPEC TIME-4).
const TROUBLE: &[Fault] = &[
    workers(
        "loses a worker to a reset before a byte",
        &["time.resets-without-a-byte"],
        |c| {
            let (request, ending) = c.receive(complete, |_, _| ());
            c.loses_worker = request.is_empty() && c.is_broken();
            if ending != Ending::Failure {
                c.finish(&process(&request));
            }
        },
    ),
    workers(
        "loses a worker to a reset within a request",
        &["time.resets-within-a-request"],
        |c| {
            let (request, ending) = c.receive(complete, |_, _| ());
            c.loses_worker = !request.is_empty() && c.is_broken();
            if ending != Ending::Failure {
                c.finish(&process(&request));
            }
        },
    ),
    workers(
        "loses a worker to a reset behind a request",
        &["time.resets-behind-a-request"],
        |c| {
            right(c);
            c.loses_worker = c.is_broken();
        },
    ),
    workers(
        "loses a worker to a connection without a byte",
        &["time.closed-unused"],
        |c| {
            c.serve_with(|c, reply| {
                c.loses_worker = reply.is_empty();
                c.finish(reply);
            });
        },
    ),
    workers(
        "loses a worker to a reply that nobody reads",
        &["time.closed-behind-a-request"],
        |c| {
            right(c);
            c.loses_worker = c.is_broken();
        },
    ),
    workers(
        "loses a worker to a half-close within a request",
        &["time.closed-within-a-request"],
        |c| {
            let (request, ending) = c.receive(complete, |_, _| ());
            c.loses_worker = !request.is_empty() && ending == Ending::HalfClose;
            if ending != Ending::Failure {
                c.finish(&process(&request));
            }
        },
    ),
    workers(
        "loses a worker to a deadline",
        &["time.forty-failures-cost-no-other"],
        |c| {
            right(c);
            c.loses_worker = c.time_left().is_zero();
        },
    ),
    fault(
        "stops after sixteen resets",
        &["time.sixteen-resets-while-one-waits"],
        |c| {
            let Some(request) = c.request() else {
                return thread::sleep(ENDLESS); // it stays in the list of the incomplete ones
            };
            let is_reset = |stream: &&Arc<TcpStream>| stream.peer_addr().is_err();
            let resets = c.memory.incomplete().iter().filter(is_reset).count();
            if resets < 16 {
                c.finish(&process(&request));
            }
        },
    ),
];
