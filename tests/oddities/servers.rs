//! The controls: servers that are right and odd, with the clauses that allow it.
//!
//! They share no code with the product but its stream with a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};
use upcase::conformance::reference::{self, LIMIT, process};

use super::connection::Connection;
use super::listening::{
    DEADLINE, Places, accept_by, listener, spawn, start, start_on, usual_listener,
};
use crate::common::command::succeeds;
use crate::common::program::Program;
use crate::common::trials::Need;

/// The least deadline (SPEC TIME-6).
const LEAST_DEADLINE: Duration = Duration::from_secs(2);

/// The longest deadline (SPEC TIME-1).
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);

/// How much surplus a server reads at least (SPEC SURPLUS-3).
const LEAST_SURPLUS: usize = 16_777_216;

/// The least maximum of connections (SPEC TIME-7).
const LEAST_MAXIMUM: usize = 40;

/// How many bytes are read at a time, where it does not matter.
const MANY: usize = 65_536;

/// A server that is right and odd.
#[derive(Clone, Copy)]
pub struct Control {
    /// What it does.
    pub name: &'static str,
    /// The clauses that allow it, and why.
    pub allowed_by: &'static str,
    /// Starts it. It runs until the process ends, or what is returned is dropped.
    pub start: fn() -> Running,
    /// What it needs of the machine.
    pub need: Option<&'static Need>,
    /// Whether it takes half a second or more for each exchange.
    pub is_slow: bool,
}

/// A running control.
pub struct Running {
    pub address: SocketAddr,
    _program: Option<Program>,
}

impl From<SocketAddr> for Running {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            _program: None,
        }
    }
}

static IPV6: Need = Need::new("IPv6", || TcpListener::bind("[::1]:0").is_ok());
static NODE: Need = Need::new("node", || succeeds(&["node", "--version"]));
// Its module `os` forks on Unix alone.
static PYTHON: Need = Need::new("python3 on Unix", || {
    cfg!(unix) && succeeds(&["python3", "--version"])
});

const fn control(name: &'static str, allowed_by: &'static str, start: fn() -> Running) -> Control {
    Control {
        name,
        allowed_by,
        start,
        need: None,
        is_slow: false,
    }
}

const fn needing(need: &'static Need, control: Control) -> Control {
    let need = Some(need);
    Control { need, ..control }
}

const fn slow(control: Control) -> Control {
    Control {
        is_slow: true,
        ..control
    }
}

/// Every control.
pub fn all() -> impl Iterator<Item = &'static Control> {
    [
        PROCESSES, LISTENERS, CROWDS, READS, REPLIES, ENDINGS, DEADLINES,
    ]
    .into_iter()
    .flatten()
}

/// Which processes and threads serve the connections.
static PROCESSES: &[Control] = &[
    control(
        "serves_on_a_thread_for_each_connection",
        "TIME-3: a thread that waits delays no other",
        || start(DEADLINE, Connection::serve),
    ),
    control(
        "serves_on_64_threads",
        "TIME-7: its maximum is 64, and more wait unaccepted",
        || {
            let listener = Arc::new(usual_listener());
            let address = listener.local_addr().expect("an address");
            for _ in 0..64 {
                let listener = Arc::clone(&listener);
                thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        Connection::new(stream, DEADLINE).serve();
                    }
                });
            }
            address.into()
        },
    ),
    control(
        "serves_on_two_threads_for_each_connection",
        "SURPLUS-1: it discards surplus bytes while it replies",
        || {
            start(DEADLINE, |c| {
                let Some(reply) = c.reply(LIMIT) else { return };
                let write = || {
                    c.write(&reply);
                    c.half_close();
                };
                thread::scope(|scope| {
                    scope.spawn(write);
                    c.discard(MANY);
                });
            })
        },
    ),
    control(
        "serves_on_one_thread_by_turns",
        "TIME-3: no connection waits for another",
        || {
            let listener = usual_listener();
            listener.set_nonblocking(true).expect("a listener");
            accept_by(listener, |listener| {
                let mut connections = Vec::<Turn>::new();
                loop {
                    while let Ok((stream, _)) = listener.accept() {
                        connections.push(Turn::new(stream));
                    }
                    connections.retain_mut(Turn::goes_on);
                    thread::sleep(Duration::from_millis(2));
                }
            })
        },
    ),
    needing(
        &PYTHON,
        control(
            "serves_on_a_process_for_each_connection",
            "TIME-3: a process that waits delays no other",
            || python("fork.py"),
        ),
    ),
    needing(
        &PYTHON,
        control(
            "serves_on_48_processes",
            "TIME-7: its maximum is 48, and more wait unaccepted",
            || python("prefork.py"),
        ),
    ),
    needing(
        &PYTHON,
        control(
            "serves_on_one_thread_by_selectors",
            "TIME-3: no connection waits for another",
            || python("selectors_loop.py"),
        ),
    ),
    needing(
        &PYTHON,
        control(
            "serves_on_one_thread_by_asyncio",
            "TIME-3: no connection waits for another",
            || python("asyncio_streams.py"),
        ),
    ),
    needing(
        &NODE,
        control(
            "serves_on_one_thread_by_node",
            "TIME-3: no connection waits for another",
            || program("node", "net.mjs"),
        ),
    ),
    needing(
        &NODE,
        control(
            "serves_on_two_processes_by_node",
            "TIME-3: no connection waits for another",
            || program("node", "cluster.mjs"),
        ),
    ),
];

/// How it listens and accepts.
static LISTENERS: &[Control] = &[
    control(
        "has_a_backlog_of_5",
        "TIME-8: it accepts at once what has completed the handshake",
        || {
            let listener = listener("127.0.0.1:0", 5, |_| {});
            start_on(listener, DEADLINE, Connection::serve)
        },
    ),
    control(
        "has_an_address_that_is_not_reusable",
        "TIME-8: it accepts at once, until it is told to stop",
        || {
            let listener = listening(|socket| socket.set_reuse_address(false));
            start_on(listener, DEADLINE, Connection::serve)
        },
    ),
    #[cfg(unix)]
    control(
        "has_two_listeners_on_one_port",
        "TIME-8: each accepts at once",
        || {
            let first = listening(|socket| socket.set_reuse_port(true));
            let address = first.local_addr().expect("an address").to_string();
            let second = listener(&address, 1024, |socket| {
                socket.set_reuse_port(true).expect("a shared port");
            });
            start_on(second, DEADLINE, Connection::serve);
            start_on(first, DEADLINE, Connection::serve)
        },
    ),
    needing(
        &IPV6,
        control(
            "listens_on_ipv6_alone",
            "PROC-1: the reply depends on nothing but the request",
            || {
                let listener = listener("[::1]:0", 1024, |socket| {
                    socket.set_only_v6(true).expect("IPv6");
                });
                start_on(listener, DEADLINE, Connection::serve)
            },
        ),
    ),
    needing(
        &IPV6,
        control(
            "listens_on_ipv6_for_ipv4_too",
            "PROC-1: the reply depends on nothing but the request",
            || {
                let listener = listener("[::]:0", 1024, |socket| {
                    socket.set_only_v6(false).expect("IPv6");
                });
                let port = listener.local_addr().expect("an address").port();
                start_on(listener, DEADLINE, Connection::serve);
                SocketAddr::from(([127, 0, 0, 1], port)).into()
            },
        ),
    ),
    control(
        "accepts_every_20_ms",
        "TIME-8: it accepts within a second",
        || accepts_every(Duration::from_millis(20)),
    ),
    slow(control(
        "accepts_every_500_ms",
        "TIME-8: it accepts within a second",
        || accepts_every(Duration::from_millis(500)),
    )),
];

/// What it does beyond its maximum of connections.
static CROWDS: &[Control] = &[
    control(
        "does_not_accept_the_41st_connection",
        "TIME-7: 40 is the least maximum, and more wait unaccepted",
        || {
            accept_by(usual_listener(), |listener| {
                let places = Places::new(LEAST_MAXIMUM);
                loop {
                    let place = places.wait();
                    if let Ok((stream, _)) = listener.accept() {
                        place.serve(Connection::new(stream, DEADLINE));
                    }
                }
            })
        },
    ),
    control(
        "resets_the_41st_connection",
        "TIME-7: beyond the maximum, connections may be reset",
        || has_40_places(Connection::reset),
    ),
    control(
        "closes_the_41st_connection",
        "TIME-7: beyond the maximum, connections may be closed",
        || has_40_places(Connection::half_close),
    ),
];

/// How it reads the request.
static READS: &[Control] = &[
    control(
        "reads_a_byte_at_a_time",
        "FRAME-5: the reads do not change the request",
        || serves_with(|c| c.reply(1)),
    ),
    control(
        "reads_a_mebibyte_at_a_time",
        "SURPLUS-1: bytes that come with the request are discarded",
        || serves_with(|c| c.reply(1_048_576)),
    ),
    control(
        "reads_after_50_ms",
        "REPLY-4: it replies within a second",
        || {
            serves_with(|c| {
                thread::sleep(Duration::from_millis(50));
                c.reply(LIMIT)
            })
        },
    ),
    needing(
        &PYTHON,
        control(
            "reads_when_the_request_is_complete",
            "FRAME-5: the reads do not change the request",
            || python("peek.py"),
        ),
    ),
    control(
        "has_a_small_receive_buffer",
        "FRAME-5: the segments do not change the request",
        || {
            let listener = listening(|socket| socket.set_recv_buffer_size(2048));
            start_on(listener, DEADLINE, Connection::serve)
        },
    ),
    #[cfg(unix)]
    control(
        "has_segments_of_536_bytes",
        "FRAME-5: the segments do not change the request",
        || {
            let listener = listening(|socket| socket.set_tcp_mss(536));
            start_on(listener, DEADLINE, Connection::serve)
        },
    ),
];

/// How it sends the reply.
static REPLIES: &[Control] = &[
    control(
        "sends_a_byte_at_a_time",
        "REPLY-2: the reply ends with the stream, not with a segment",
        || {
            replies(|c, reply| {
                let _ = c.stream.set_nodelay(true);
                reply.chunks(1).for_each(|byte| c.write(byte));
            })
        },
    ),
    control(
        "sends_a_reply_in_two_parts_with_nagle",
        "REPLY-4: it replies within a second",
        || {
            replies(|c, reply| {
                let (first, second) = reply.split_at(reply.len() / 2);
                c.write(first);
                c.write(second);
            })
        },
    ),
    slow(control(
        "spreads_a_reply_over_720_ms",
        "REPLY-4: it replies within a second",
        || {
            replies(|c, reply| {
                for part in reply.chunks(reply.len().div_ceil(8).max(1)) {
                    thread::sleep(Duration::from_millis(90));
                    c.write(part);
                }
            })
        },
    )),
    slow(control(
        "replies_after_600_ms",
        "REPLY-4: it replies within a second",
        || {
            replies(|c, reply| {
                thread::sleep(Duration::from_millis(600));
                c.write(reply);
            })
        },
    )),
    slow(control(
        "ends_the_stream_600_ms_after_the_reply",
        "REPLY-4: it half-closes within a second",
        || {
            replies(|c, reply| {
                c.write(reply);
                thread::sleep(Duration::from_millis(600));
            })
        },
    )),
    control(
        "has_a_small_send_buffer",
        "REPLY-2: the reply ends with the stream, not with a segment",
        || {
            let listener = listening(|socket| socket.set_send_buffer_size(1));
            start_on(listener, DEADLINE, Connection::serve)
        },
    ),
];

/// What it does after its reply.
static ENDINGS: &[Control] = &[
    control(
        "discards_256_bytes_at_a_time",
        "SURPLUS-3: it reads 16 MiB before the deadline",
        || {
            start(DEADLINE, |c| {
                if let Some(reply) = c.reply(LIMIT) {
                    c.write(&reply);
                    c.half_close();
                    c.discard(256);
                }
            })
        },
    ),
    control(
        "resets_behind_16_mebibytes_of_surplus",
        "SURPLUS-3: it may close behind 16 MiB",
        || {
            start(DEADLINE, |c| {
                let Some(reply) = c.reply(1) else { return };
                c.write(&reply);
                c.half_close();
                let mut left = LEAST_SURPLUS;
                while let Some(bytes) = c.read(left.min(MANY)).filter(|bytes| !bytes.is_empty()) {
                    left -= bytes.len();
                    if left == 0 {
                        return c.reset();
                    }
                }
            })
        },
    ),
    control(
        "closes_at_once_if_the_client_has_ended",
        "SURPLUS-2: it reads until the client's end of the stream",
        || {
            start(DEADLINE, |c| {
                let Some(request) = c.request(1) else { return };
                c.write(&process(&request));
                if reference::request(&request, false).is_some() {
                    c.half_close();
                    c.discard(MANY);
                }
            })
        },
    ),
    control(
        "keeps_a_connection_that_the_client_has_closed",
        "TIME-1: it closes by the deadline",
        || {
            start(LEAST_DEADLINE, |c| {
                c.serve();
                thread::sleep(c.deadline.saturating_duration_since(Instant::now()));
            })
        },
    ),
    control(
        "lingers_at_the_close",
        "TIME-1: it closes by the deadline",
        || {
            start(DEADLINE, |c| {
                let _ = SockRef::from(&c.stream).set_linger(Some(Duration::from_secs(1)));
                c.serve();
            })
        },
    ),
];

/// When its deadline comes, and what it does then.
static DEADLINES: &[Control] = &[
    control("has_a_deadline_of_2_s", "TIME-6: it is the least", || {
        start(LEAST_DEADLINE, Connection::serve)
    }),
    control(
        "has_a_deadline_of_10_s",
        "TIME-1: it is the longest",
        || start(LONGEST_DEADLINE, Connection::serve),
    ),
    control(
        "has_deadlines_from_2_to_10_s_by_turns",
        "TIME-1, TIME-6: each is allowed",
        || {
            accept_by(usual_listener(), |listener| {
                let seconds = (2..=10).cycle();
                for (stream, seconds) in listener.incoming().flatten().zip(seconds) {
                    spawn(stream, Duration::from_secs(seconds), Connection::serve);
                }
            })
        },
    ),
    control(
        "looks_for_deadlines_twice_a_second",
        "TIME-1, TIME-6: each is from 2 to 2.5 s",
        || {
            accept_by(usual_listener(), |listener| {
                let all = Arc::new(Mutex::new(Vec::new()));
                let watched = Arc::clone(&all);
                thread::spawn(move || {
                    loop {
                        thread::sleep(Duration::from_millis(500));
                        watched.lock().expect("no panic").retain(is_young);
                    }
                });
                for stream in listener.incoming().flatten() {
                    if let Ok(copy) = stream.try_clone() {
                        all.lock().expect("no panic").push((copy, Instant::now()));
                        spawn(stream, LONGEST_DEADLINE, Connection::serve);
                    }
                }
            })
        },
    ),
    control(
        "resets_at_the_deadline",
        "TIME-1: a reset counts as closing",
        || {
            start(LEAST_DEADLINE, |c| {
                c.serve();
                if Instant::now() >= c.deadline {
                    c.reset();
                }
            })
        },
    ),
    control(
        "ends_the_stream_at_the_deadline",
        "TIME-1: closing needs no reset",
        || {
            start(LEAST_DEADLINE, |c| {
                c.serve();
                c.half_close();
                // A close would be a reset if something were unread.
                let _ = c.stream.set_nonblocking(true);
                let mut bytes = [0; LIMIT];
                while (&c.stream).read(&mut bytes).is_ok_and(|count| count > 0) {}
            })
        },
    ),
];

/// Starts the program `file` of this folder, which `interpreter` runs.
fn program(interpreter: &str, file: &str) -> Running {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oddities");
    let mut command = Command::new(interpreter);
    command.env("PYTHONDONTWRITEBYTECODE", "1"); // keeps the folder as it is
    let program = Program::start(command.arg(folder.join(file)));
    Running {
        address: program.address,
        _program: Some(program),
    }
}

fn python(file: &str) -> Running {
    program("python3", file)
}

/// A usual listener whose socket has an option.
fn listening(set: fn(&Socket) -> std::io::Result<()>) -> TcpListener {
    listener("127.0.0.1:0", 1024, |socket| {
        set(socket).expect("an option");
    })
}

/// Is not odd but for how it reads the request.
fn serves_with(reply: fn(&Connection) -> Option<Vec<u8>>) -> Running {
    start(DEADLINE, move |c| {
        if let Some(reply) = reply(c) {
            c.finish(&reply);
        }
    })
}

/// Is not odd but for how it sends the reply.
fn replies(send: fn(&Connection, &[u8])) -> Running {
    start(DEADLINE, move |c| {
        if let Some(reply) = c.reply(LIMIT) {
            send(c, &reply);
            c.finish(b"");
        }
    })
}

/// Accepts all connections that wait, and then none for this time.
fn accepts_every(time: Duration) -> Running {
    let listener = usual_listener();
    listener.set_nonblocking(true).expect("a listener");
    accept_by(listener, move |listener| {
        loop {
            thread::sleep(time);
            while let Ok((stream, _)) = listener.accept() {
                spawn(stream, DEADLINE, Connection::serve);
            }
        }
    })
}

/// Serves 40 connections at most, and closes more of them after `turn_away`.
fn has_40_places(turn_away: fn(&Connection)) -> Running {
    accept_by(usual_listener(), move |listener| {
        let places = Places::new(LEAST_MAXIMUM);
        for stream in listener.incoming().flatten() {
            let connection = Connection::new(stream, DEADLINE);
            match places.take() {
                Some(place) => place.serve(connection),
                None => turn_away(&connection),
            }
        }
    })
}

/// Whether a connection that was accepted then is before its deadline. Shuts it down otherwise.
fn is_young((stream, accepted_at): &(TcpStream, Instant)) -> bool {
    let is_young = accepted_at.elapsed() < LEAST_DEADLINE;
    if !is_young {
        let _ = stream.shutdown(Shutdown::Both);
    }
    is_young
}

/// A connection that never waits.
struct Turn {
    connection: Connection,
    bytes: Vec<u8>,
    is_replied: bool,
}

impl Turn {
    fn new(stream: TcpStream) -> Self {
        let connection = Connection::new(stream, DEADLINE);
        let _ = connection.stream.set_nonblocking(true);
        Self {
            connection,
            bytes: Vec::new(),
            is_replied: false,
        }
    }

    /// Reads what has come, and replies if the request is complete. Returns whether there is more to
    /// do.
    fn goes_on(&mut self) -> bool {
        let mut buffer = vec![0; MANY];
        while Instant::now() < self.connection.deadline {
            let count = match (&self.connection.stream).read(&mut buffer) {
                Ok(count) => count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            if !self.is_replied {
                self.bytes.extend(&buffer[..count]);
                self.is_replied = self.replies(count == 0);
            }
            if count == 0 {
                return false;
            }
        }
        false
    }

    /// Replies if the request is complete. Returns whether it is.
    fn replies(&self, is_ended: bool) -> bool {
        let request = reference::request(&self.bytes, is_ended);
        request.is_some_and(|request| {
            // The kernel has room for a reply. An error affects this client alone.
            let _ = (&self.connection.stream).write_all(&process(&request));
            self.connection.half_close();
            true
        })
    }
}
