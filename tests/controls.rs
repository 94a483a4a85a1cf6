//! Servers that are right and odd are not blamed.
//!
//! The *controls* are the zoo's counterpart. Each keeps SPEC.md in an unusual way, which the clause
//! beside it allows, and each passes all vectors. With `--ignored` each is judged 20 times, while two
//! threads keep the processors busy.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod process;
    pub mod program;
    pub mod trials;
}

mod oddities {
    pub mod connection;
    pub mod listening;
    pub mod servers;
}

use std::fmt::Write as _;
use std::hint;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use common::command::succeeds;
use common::program::Program;
use common::trials::{self, Need, trial};
use oddities::servers;
use upcase::conformance::clauses::clause;
use upcase::conformance::vectors::{Other, Step, Vector, suite};
use upcase::conformance::{NotPassed, ServerJudge};

/// A server that is right and odd.
struct Control {
    /// What is odd.
    name: &'static str,
    /// The clause that allows it, and why.
    allowed_by: &'static str,
    start: fn() -> Running,
    need: Option<&'static Need>,
    /// The vectors by which it cannot always be judged on a busy machine: the judge comes too late.
    may_be_late_for: &'static [&'static str],
}

/// A running control.
struct Running {
    address: SocketAddr,
    _program: Option<Program>,
}

static PYTHON: Need = Need::new("python3", || succeeds(&["python3", "--version"]));
static NODE: Need = Need::new("node", || succeeds(&["node", "--version"]));
static IPV6: Need = Need::new("IPv6", || TcpListener::bind("[::1]:0").is_ok());

/// A control that is a function of `oddities/servers.rs`, and the clause that allows it.
macro_rules! control {
    ($name:ident, $allowed_by:literal) => {
        control!($name, $allowed_by, None)
    };
    ($name:ident, $allowed_by:literal, $need:expr) => {
        Control {
            name: stringify!($name),
            allowed_by: $allowed_by,
            start: || Running {
                address: servers::$name(),
                _program: None,
            },
            need: $need,
            may_be_late_for: &[],
        }
    };
}

/// A control that is a program in `oddities/`, and the clause that allows it.
macro_rules! program {
    ($name:literal, $interpreter:literal, $file:literal, $allowed_by:literal, $need:expr) => {
        Control {
            name: $name,
            allowed_by: $allowed_by,
            start: || {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oddities");
                let program = Program::start(Command::new($interpreter).arg(folder.join($file)));
                Running {
                    address: program.address,
                    _program: Some(program),
                }
            },
            need: Some($need),
            may_be_late_for: &[],
        }
    };
}

const CONTROLS: &[Control] = &[
    control!(
        thread_for_each_connection,
        "TIME-3: a thread that waits delays no other"
    ),
    control!(
        pool_of_64_threads,
        "TIME-7: its maximum is 64, and more wait unaccepted"
    ),
    control!(
        backlog_of_5,
        "TIME-8: it accepts at once what the handshake has completed"
    ),
    control!(
        reads_a_byte_at_a_time,
        "FRAME-5: reads do not change the request"
    ),
    control!(
        writes_a_byte_at_a_time,
        "REPLY-2: the reply ends with the stream, not with a segment"
    ),
    control!(
        spreads_its_reply_over_most_of_a_second,
        "REPLY-4: a second is allowed"
    ),
    control!(replies_after_600_ms, "REPLY-4: a second is allowed"),
    control!(deadline_of_2_seconds, "TIME-6: the least deadline"),
    control!(deadline_of_10_seconds, "TIME-1: the longest deadline"),
    control!(resets_at_the_deadline, "TIME-1: a reset counts as closing"),
    control!(
        ends_the_stream_at_the_deadline,
        "TIME-1: closing needs no reset"
    ),
    control!(
        resets_behind_16_mebibytes_of_surplus,
        "SURPLUS-3: it may close behind 16 MiB"
    ),
    control!(
        leaves_the_41st_connection_unaccepted,
        "TIME-7: the least maximum, and more wait"
    ),
    control!(
        resets_the_41st_connection,
        "TIME-7: the least maximum, and more may be reset"
    ),
    control!(
        closes_the_41st_connection,
        "TIME-7: the least maximum, and more may be closed"
    ),
    control!(
        ipv6_alone,
        "PROC-1: the reply depends on the request alone",
        Some(&IPV6)
    ),
    control!(
        both_families_on_one_socket,
        "PROC-1: the reply depends on the request alone",
        Some(&IPV6)
    ),
    control!(accepts_every_20_ms, "TIME-8: it accepts within a second"),
    control!(accepts_every_500_ms, "TIME-8: it accepts within a second"),
    control!(reads_only_every_50_ms, "REPLY-4: a second is allowed"),
    control!(
        small_receive_buffer,
        "FRAME-5: segments do not change the request"
    ),
    control!(
        small_send_buffer,
        "REPLY-2: the reply ends with the stream, not with a segment"
    ),
    control!(
        discards_256_bytes_at_a_time,
        "SURPLUS-3: it reads 16 MiB by the deadline"
    ),
    control!(two_listeners_on_one_port, "TIME-8: each accepts at once"),
    control!(
        closes_behind_the_clients_end,
        "SURPLUS-2: it reads until the client's end"
    ),
    control!(
        stays_until_the_deadline,
        "TIME-1: it closes by the deadline"
    ),
    control!(address_not_reusable, "TIME-8: it accepts at once"),
    control!(lingers_at_the_close, "TIME-1: it closes by the deadline"),
    control!(
        deadlines_that_differ,
        "TIME-1, TIME-6: each is from 2 to 10 s"
    ),
    control!(
        deadlines_kept_by_another_thread,
        "TIME-1, TIME-6: each is from 2 to 2.5 s"
    ),
    control!(
        one_thread_that_asks_in_turn,
        "TIME-3: none waits for another"
    ),
    control!(
        reads_and_writes_on_two_threads,
        "SURPLUS-1: surplus does not change the reply"
    ),
    control!(
        segments_of_536_bytes,
        "FRAME-5: segments do not change the request"
    ),
    program!(
        "process_for_each_connection",
        "python3",
        "fork.py",
        "TIME-3: a process that waits delays no other",
        &PYTHON
    ),
    program!(
        "pool_of_48_processes",
        "python3",
        "prefork.py",
        "TIME-7: its maximum is 48, and more wait unaccepted",
        &PYTHON
    ),
    program!(
        "one_thread_with_selectors",
        "python3",
        "selectors_loop.py",
        "TIME-3: none waits for another",
        &PYTHON
    ),
    program!(
        "one_thread_with_asyncio",
        "python3",
        "asyncio_streams.py",
        "TIME-3: none waits for another",
        &PYTHON
    ),
    program!(
        "peeks_until_the_request_is_complete",
        "python3",
        "peek.py",
        "FRAME-5: reads do not change the request",
        &PYTHON
    ),
    program!(
        "one_thread_with_node",
        "node",
        "net.mjs",
        "TIME-3: none waits for another",
        &NODE
    ),
];

fn main() -> ExitCode {
    let once = CONTROLS.iter().map(|control| {
        let name = format!("passes_{}", control.name);
        trials::named(&name, || control.passes(1), control.need)
    });
    let often = CONTROLS.iter().map(|control| {
        let name = format!("passes_20_times_beside_busy_loops_{}", control.name);
        let test = || {
            let _busy = BusyLoops::shared();
            control.passes(20);
        };
        trials::named(&name, test, control.need).with_ignored_flag(true)
    });
    let clauses = trial(every_control_is_allowed_by_a_clause, []);
    trials::run(8, once.chain([clauses]).chain(often).collect())
}

fn every_control_is_allowed_by_a_clause() {
    for control in CONTROLS {
        let (ids, _) = control.allowed_by.split_once(": ").expect("IDs");
        for id in ids.split(", ") {
            assert!(clause(id).is_some(), "{}: {id}", control.name);
        }
    }
}

impl Control {
    /// Judges it by all vectors, so many times.
    fn passes(&self, times: usize) {
        let running = (self.start)();
        let judge = ServerJudge::new(running.address);
        let mut text = String::new();
        for time in 1..=times {
            for (vector, judged) in judge_all(&judge) {
                let may_be_late = self.may_be_late_for.contains(&&*vector.id);
                let why = match judged {
                    Ok(()) => continue,
                    Err(NotPassed::NotJudged(_)) if may_be_late => continue,
                    Err(why) => why,
                };
                let _ = writeln!(text, "time {time} of {times}, {}: {why}", vector.id);
            }
        }
        assert!(text.is_empty(), "{}\n{text}", self.allowed_by);
    }
}

/// How many vectors are judged at once: with what they open, fewer connections than the least maximum
/// (SPEC TIME-7).
const JOBS: usize = 16;

/// The results of all vectors: of those that allow it side by side, and then of each of the others.
fn judge_all(judge: &ServerJudge) -> Vec<(&'static Vector, Result<(), NotPassed>)> {
    let (alone, others): (Vec<_>, Vec<_>) =
        suite().vectors.iter().partition(|vector| is_alone(vector));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(vector) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let judged = judge.judge(vector);
                    results.lock().expect("no panic").push((*vector, judged));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panic");
    results.extend(alone.iter().map(|vector| (*vector, judge.judge(vector))));
    results
}

fn is_alone(vector: &Vector) -> bool {
    let is_crowd = |step: &Step| {
        matches!(
            step,
            Step::Other {
                other: Other::Stall { .. },
                ..
            }
        )
    };
    vector.alone || vector.steps.iter().any(is_crowd)
}

/// Two threads that keep the processors busy until this is dropped.
struct BusyLoops(Arc<AtomicBool>);

impl BusyLoops {
    /// The loops that all who want them share.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<BusyLoops>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().expect("no panic");
        shared.upgrade().unwrap_or_else(|| {
            let busy = Arc::new(Self::start());
            *shared = Arc::downgrade(&busy);
            busy
        })
    }

    fn start() -> Self {
        let is_over = Arc::<AtomicBool>::default();
        for _ in 0..2 {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        Self(is_over)
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
