//! `upcase-server` under load: how fast it serves, and what it uses. One test at a time.

mod common {
    pub mod command_line;
    pub mod connection;
    pub mod kernel;
    pub mod listener;
    pub mod native;
    pub mod process;
    pub mod server;
    pub mod trials;
    pub mod wait;
}

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use common::connection::Connection;
use common::kernel::{number, open_descriptors, path, status};
use common::listener::queued;
use common::server::Server;
use common::trials::{self, Need, trial};
use common::wait::wait_until;
use rustix::process::{Resource, Signal, getrlimit, setrlimit};

fn main() -> ExitCode {
    let trials = vec![
        trial(stalled_connections_do_not_delay_others, [&MANY_DESCRIPTORS]),
        trial(
            queue_holds_two_thousand_clients,
            [&SOME_DESCRIPTORS, &LONG_QUEUE],
        ),
        trial(idle_server_wakes_no_thread, []),
        trial(no_thread_is_started_after_the_start, []),
    ];
    trials::run(1, trials)
}

static MANY_DESCRIPTORS: Need = Need::new("10,100 descriptors", || descriptors() >= 10_100);
static SOME_DESCRIPTORS: Need = Need::new("2,100 descriptors", || descriptors() >= 2_100);
static LONG_QUEUE: Need = Need::new("a somaxconn of 2,000", || {
    let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn");
    somaxconn.is_ok_and(|text| text.trim().parse().is_ok_and(|most: usize| most >= 2_000))
});

/// Raises this process's limit of descriptors as far as possible. Returns the limit.
fn descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(u64::MAX)
}

fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// How long one exchange takes, in seconds.
fn exchange_time(server: &Server) -> f64 {
    let start = Instant::now();
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    start.elapsed().as_secs_f64()
}

/// SPEC: TIME-1, TIME-3
fn stalled_connections_do_not_delay_others() {
    const STALLED: usize = 10_000;
    const PAIRS: usize = 40;
    let idle = Server::start(&["--quiet"]);
    let (idle_memory, idle_descriptors) = (status(&idle, "VmRSS"), open_descriptors(&idle));
    assert!(idle_memory <= 8 * 1024, "{idle_memory} KiB");

    let server = Server::start(&["--quiet", "--timeout", "10"]);
    let stall = |_| {
        let mut connection = server.connect();
        connection.send(b"x");
        connection
    };
    let mut stalled: Vec<Connection> = (0..STALLED).map(stall).collect();
    wait_until("all are held", || open_descriptors(&server) >= STALLED);
    // The two servers take turns, so that other work on this machine slows both alike.
    let time = |server: &Server| median((0..5).map(|_| exchange_time(server)));
    let ratio = median((0..PAIRS).map(|_| time(&server) / time(&idle)));
    assert!(ratio <= 2.0, "{ratio} times as slow as an idle server");
    let each = (status(&server, "VmRSS") - idle_memory) * 1024 / STALLED as u64;
    assert!(each <= 1536, "{each} bytes for each connection");

    for connection in &mut stalled {
        assert_eq!(connection.reply(), b"", "closed at its deadline");
    }
    drop(stalled);
    wait_until("all are closed", || {
        open_descriptors(&server) <= idle_descriptors
    });
    assert_eq!(server.stop(), (vec![], vec![]));
}

fn queue_holds_two_thousand_clients() {
    const CLIENTS: usize = 2_000;
    let server = Server::start(&["--quiet", "--timeout", "10"]);
    // A stopped process accepts nothing.
    server.signal(Signal::STOP);
    wait_until("all threads are stopped", || {
        threads_in_state(&server, 'T').is_some()
    });
    let connect = |_| {
        let mut client = server.connect();
        client.send(b"hello\n");
        client
    };
    let clients: Vec<Connection> = (0..CLIENTS).map(connect).collect();
    wait_until("all are queued, and none was dropped", || {
        queued(server.address()) == Some(CLIENTS)
    });
    server.signal(Signal::CONT);
    for mut client in clients {
        assert_eq!(client.reply(), b"HELLO");
    }
    assert_eq!(server.stop(), (vec![], vec![]));
}

fn idle_server_wakes_no_thread() {
    let server = Server::start(&[]);
    // All loops have worked, and the log has written.
    let mut held: Vec<Connection> = (0..100).map(|_| server.connect()).collect();
    for connection in &mut held {
        connection.send(b"x\n");
        assert_eq!(connection.reply(), b"X");
        assert_eq!(server.stdout.next_line(), "Recebido de 127.0.0.1:");
        assert_eq!(server.stdout.next_line(), "b'x'");
    }
    drop(held);
    wait_until("no thread runs for a second", || {
        let before = threads_in_state(&server, 'S');
        thread::sleep(Duration::from_secs(1));
        before.is_some() && before == threads_in_state(&server, 'S')
    });
}

/// All threads of the server, and how often each was given a processor; `None` if one is not in this
/// state: `S` is sleeping, `T` stopped.
fn threads_in_state(server: &Server, state: char) -> Option<Vec<(PathBuf, u64)>> {
    let state = format!("State:\t{state}");
    let mut threads = Vec::new();
    for thread in fs::read_dir(path(server, "task")).unwrap() {
        let thread = thread.unwrap().path();
        let status = fs::read_to_string(thread.join("status")).ok()?;
        if !status.contains(&state) {
            return None;
        }
        let switches = number(&status, "voluntary_ctxt_switches")
            + number(&status, "nonvoluntary_ctxt_switches");
        threads.push((thread, switches));
    }
    threads.sort();
    Some(threads)
}

/// A server that creates no threads cannot reach a limit of threads.
fn no_thread_is_started_after_the_start() {
    let server = Server::start(&[]);
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let threads = status(&server, "Threads");
    let mut stalled: Vec<Connection> = (0..300).map(|_| server.connect()).collect();
    for connection in &mut stalled {
        connection.send(b"x");
    }
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    assert_eq!(status(&server, "Threads"), threads);
}
