//! The programs in unusual systems: kernel errors, limits, namespaces, inherited signals and sockets,
//! IPv6. Errors are real where possible, and otherwise injected by strace.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod connection;
    pub mod kernel;
    pub mod listener;
    pub mod missing;
    pub mod native;
    pub mod process;
    pub mod server;
    pub mod stop;
    pub mod trials;
    pub mod wait;
}

use std::fs::{self, File, OpenOptions};
use std::iter;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket,
};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::{cargo_bin, cargo_bin_cmd};
use command_fds::{CommandFdExt as _, FdMapping};
use common::command::succeeds;
use common::connection::Connection;
use common::kernel::{open_descriptors, path, status};
use common::listener::queued;
use common::missing::missing;
use common::native::server_command;
use common::process::{PATIENCE, ready_address};
use common::server::{Server, has_signal};
use common::stop::{stop_listening, wait_until_closed};
use common::trials::{self, Need, trial};
use common::wait::wait_until;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use socket2::{Domain, Socket, Type};
use upcase::server::event_loop::BACKLOG;
use upcase::server::{self, MAX_TIMEOUT};

fn main() -> ExitCode {
    let trials = vec![
        trial(memory_limit_loses_no_reply, []),
        trial(accept_errors_lose_no_reply, [&STRACE]),
        trial(start_without_a_thread_fails_with_one_line, [&STRACE]),
        trial(signal_during_the_start_stops_the_server, [&STRACE]),
        trial(few_descriptors_lower_the_connection_limit, []),
        trial(lowered_descriptor_limit_loses_no_reply, []),
        trial(full_disk_loses_no_reply_and_counts_missing_requests, []),
        trial(size_limit_loses_no_reply_and_counts_missing_requests, []),
        trial(handed_over_listener_is_served_with_its_queue, []),
        trial(handed_over_ipv4_and_ipv6_are_both_served, [&IPV6]),
        trial(queues_of_two_listeners_are_answered_after_a_stop, [&IPV6]),
        trial(stop_accepts_a_whole_queue_of_each_listener, [&LONG_QUEUE]),
        trial(flood_at_one_listener_does_not_starve_others, []),
        trial(systemd_is_told_when_the_server_is_ready, []),
        trial(listener_made_blocking_by_others_hangs_no_exchange, []),
        trial(failed_listener_does_not_affect_others, []),
        trial(listener_that_is_passed_twice_is_served, []),
        trial(each_listener_lowers_the_connection_limit, []),
        trial(unfit_socket_fails_with_one_line, []),
        trial(restarts_on_a_shared_socket_lose_no_request, []),
        trial(server_that_shares_its_socket_stops_at_once, []),
        trial(server_without_a_network_stops_at_once, [&NET_NAMESPACE]),
        trial(second_signal_ends_process_1, [&PID_NAMESPACE]),
        trial(blocked_signals_stop_the_server, [&ENV_WITH_SIGNALS]),
        trial(ignored_signals_stay_ignored, [&ENV_WITH_SIGNALS]),
        trial(ipv4_client_of_ipv6_server_is_printed_as_ipv4, [&IPV6]),
        trial(idle_server_stops_at_any_ipv6_address, [&IPV6]),
        trial(client_finds_localhost_at_ipv4, [&LOCALHOST_IPV4]),
        trial(client_finds_localhost_at_ipv6, [&LOCALHOST_IPV6]),
        trial(client_finds_an_interface_by_name, [&LINK_LOCAL]),
        trial(zone_is_printed_as_the_name_of_the_interface, [&LINK_LOCAL]),
        trial(unknown_zone_fails_with_one_line, []),
    ];
    trials::run(8, trials)
}

static STRACE: Need = Need::new("strace", || {
    succeeds(&["strace", "-qq", "-o", "/dev/null", "true"])
});
static NET_NAMESPACE: Need = Need::new("unshare --net", || succeeds(&["unshare", "--net", "true"]));
static PID_NAMESPACE: Need = Need::new("unshare --pid", || {
    succeeds(&[&NEW_PID_NAMESPACE[..], &["true"]].concat())
});
static ENV_WITH_SIGNALS: Need = Need::new("env --block-signal --ignore-signal", || {
    succeeds(&["env", "--block-signal", "--ignore-signal=INT", "true"])
});
static IPV6: Need = Need::new("IPv6", || {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
});
static LOCALHOST_IPV4: Need = Need::new("localhost as 127.0.0.1", || {
    is_localhost(Ipv4Addr::LOCALHOST.into())
});
static LOCALHOST_IPV6: Need = Need::new("localhost as ::1", || {
    is_localhost(Ipv6Addr::LOCALHOST.into())
});
static LONG_QUEUE: Need = Need::new("net.core.somaxconn of 4096", || {
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    most.trim().parse().is_ok_and(|most: usize| most >= BACKLOG)
});

static LINK_LOCAL: Need = Need::new("unshare --net, nsenter and ip with IPv6", || {
    succeeds(&[&IN_LINK_LOCAL[..], &["nsenter", "--version"]].concat())
});

fn is_localhost(ip: IpAddr) -> bool {
    let resolved = ("localhost", 0).to_socket_addrs();
    let is_resolved = resolved.is_ok_and(|mut all| all.any(|address| address.ip() == ip));
    is_resolved && TcpListener::bind((ip, 0)).is_ok()
}

/// The command `prefix`, which becomes the server.
fn server_by(prefix: &[&str], options: &[&str]) -> Command {
    let mut command = server_command(prefix);
    command.args(["--bind", "127.0.0.1:0"]).args(options);
    command
}

/// A shell with a limit of its own, which becomes the server.
fn limited(limit: &str, options: &[&str]) -> Command {
    let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
    server_by(&["sh", "-c", &script], options)
}

/// A path for a file of one test.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A server into whose system calls strace injects a fault. The calls are written to `calls`.
fn injecting(fault: &str, calls: &Path) -> Command {
    let fault = format!("inject={fault}");
    let calls = calls.to_str().expect("a path in UTF-8");
    // -D: the server is the child, and strace the grandchild.
    let options = [
        "-D",
        "-f",
        "-qq",
        "-e",
        "signal=none",
        "-e",
        &fault,
        "-o",
        calls,
    ];
    server_by(&[&["strace"], &options[..]].concat(), &[])
}

/// The warning about a connection that could not be accepted.
const CANNOT_SERVE: &str = "cannot serve a new connection; the server continues: ";

/// Checks the lines on standard error of a server that could not accept, and was started at `start`:
/// at most one warning every five seconds, and how many more there were.
#[track_caller]
fn check_warnings(stderr: &[String], start: Instant) {
    let (warnings, others): (Vec<_>, Vec<_>) =
        stderr.iter().partition(|line| line.contains(CANNOT_SERVE));
    let most = 1 + start.elapsed().as_secs() / 5;
    assert!((1..=most).contains(&(warnings.len() as u64)), "{stderr:?}");
    let is_count = |line: &&String| line.ends_with(" more warnings were not printed");
    assert!(others.iter().all(is_count), "{stderr:?}");
}

/// SPEC: TIME-4
fn accept_errors_lose_no_reply() {
    // Each temporary error of `accept`, and whether it is reported.
    let errors = [
        ("EMFILE", true),
        ("ENFILE", true),
        ("ENOBUFS", true),
        ("ENOMEM", true),
        ("EINTR", false),
        ("ECONNABORTED", false),
    ];
    thread::scope(|scope| {
        for (error, is_reported) in errors {
            scope.spawn(move || check_accept_error(error, is_reported));
        }
    });
}

fn check_accept_error(error: &str, is_reported: bool) {
    let calls = scratch(&format!("accept-{error}"));
    // The first and the third call of each event loop fail.
    let fault = format!("accept4:error={error}:when=1..3+2");
    let start = Instant::now();
    let server = Server::start_by(injecting(&fault, &calls));
    for _ in 0..20 {
        assert_eq!(server.reply_to(b"hello\n"), b"HELLO", "{error}");
    }
    let (_, stderr) = server.stop();
    let calls = fs::read_to_string(&calls).unwrap();
    assert!(calls.matches("(INJECTED)").count() > 1, "{error}: {calls}");
    if is_reported {
        check_warnings(&stderr, start);
    } else {
        assert!(stderr.is_empty(), "{error}: {stderr:?}");
    }
}

fn start_without_a_thread_fails_with_one_line() {
    let check = |call: usize| {
        let calls = scratch(&format!("clone-{call}"));
        let fault = format!("clone3:error=EAGAIN:when={call}");
        let mut command = assert_cmd::Command::from_std(injecting(&fault, &calls));
        let output = command.timeout(PATIENCE).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{call}: {stderr}");
        assert!(stderr.contains("cannot start a thread: "), "{stderr}");
        assert!(stderr.contains("ulimit -u"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    };
    thread::scope(|scope| {
        // The threads for the signals, the log, the warnings and the server.
        for call in 1..=4 {
            scope.spawn(move || check(call));
        }
    });
}

/// SPEC: TIME-5
fn signal_during_the_start_stops_the_server() {
    // The sockets that wake the signal thread exist a while later than the handlers.
    let command = injecting("socketpair:delay_exit=100000", &scratch("signals"));
    let server = Server::spawn(command, Stdio::piped(), Stdio::piped());
    wait_until("SIGTERM is caught, and SIGINT before it", || {
        let status = fs::read_to_string(path(&server, "status")).unwrap();
        let is_caught = has_signal(&status, "SigCgt:", Signal::TERM);
        status.starts_with("Name:\tupcase-server\n") && is_caught
    });
    server.signal(Signal::INT);
    let (status, _, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr:?}");
}

/// Several connections to `server` that stall.
fn stall(server: &Server, count: usize) -> Vec<Connection> {
    let mut stalled: Vec<Connection> = (0..count).map(|_| server.connect()).collect();
    for connection in &mut stalled {
        connection.send(b"x");
    }
    stalled
}

/// SPEC: TIME-4
fn memory_limit_loses_no_reply() {
    const WARM_UP: usize = 24;
    // In KiB, more than the server has after some exchanges. By then every event loop has served,
    // and has the memory that it takes once.
    let check = |room: u64| {
        let server = Server::start(&["--timeout", "1"]);
        assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
        for mut connection in stall(&server, WARM_UP) {
            connection.send(b"\n");
            assert_eq!(connection.reply(), b"X");
        }
        let limit = Rlimit {
            current: Some((status(&server, "VmSize") + room) * 1024),
            maximum: None,
        };
        prlimit(Some(server.pid()), Resource::As, limit).unwrap();
        let stalled = stall(&server, 12);
        assert_eq!(server.reply_to(b"hello\n"), b"HELLO", "{room} KiB");
        drop(stalled);
        let (stdout, stderr) = server.stop();
        assert_eq!(stdout.len(), 2 * (14 + WARM_UP), "{room} KiB: {stdout:?}");
        assert!(stderr.is_empty(), "{room} KiB: {stderr:?}");
    };
    thread::scope(|scope| {
        for first in [0, 12, 24, 36] {
            scope.spawn(move || (first..1100).step_by(48).for_each(check));
        }
    });
}

/// Checks that a server with 50 descriptors uses nearly all of them and never all, by the connection
/// limit in its `warning`. Returns the number of descriptors that it has open, and this limit.
#[track_caller]
fn check_limit_of_fifty(server: &Server, warning: &str) -> (usize, usize) {
    let most = connection_limit(warning).unwrap_or_else(|| panic!("{warning}"));
    let idle = open_descriptors(server);
    assert!(
        most == 1 || (40..50).contains(&(idle + most)),
        "{idle} {most}"
    );
    (idle, most)
}

/// SPEC: TIME-3, TIME-5
fn few_descriptors_lower_the_connection_limit() {
    let start = |options: &[&str]| Server::start_by(limited("-n 50", options));
    let server = start(&["--max-connections", "100", "--timeout", "10", "--quiet"]);
    let warning = server.stderr.next_line();
    let (idle, most) = check_limit_of_fifty(&server, &warning);
    // `most` connections are held at once, and one more waits.
    let mut held = stall(&server, most);
    wait_until("all are held", || open_descriptors(&server) == idle + most);
    let mut late = server.connect();
    late.send(b"late\n");
    wait_until("one is queued", || queued(server.address()) == Some(1));
    assert_eq!(open_descriptors(&server), idle + most);
    for connection in &mut held {
        connection.send(b"\n");
        assert_eq!(connection.reply(), b"X");
    }
    drop(held);
    assert_eq!(late.reply(), b"LATE");
    drop(late);
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");

    // A deadline makes room for the next.
    let server = start(&["--max-connections", "100", "--timeout", "1", "--quiet"]);
    assert_eq!(server.stderr.next_line(), warning);
    let mut stalled = stall(&server, 60);
    drop(stalled.split_off(most));
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");

    // The server warns only if there is too little room.
    let warnings = |options: &[&str]| start(options).stop().1.len();
    assert_eq!(warnings(&[]), 0);
    assert_eq!(warnings(&["--max-connections", &most.to_string()]), 0);
    assert_eq!(warnings(&["--max-connections", &(most + 1).to_string()]), 1);
}

/// The number of connections in the warning of a server that has 50 descriptors and was to hold 100.
fn connection_limit(warning: &str) -> Option<usize> {
    let (_, limit) = warning.split_once("limit of 50 file descriptors allows ")?;
    let (limit, _) = limit.split_once(" connections at once, not 100")?;
    limit.parse().ok()
}

/// SPEC: TIME-4
fn lowered_descriptor_limit_loses_no_reply() {
    let start = Instant::now();
    let server = Server::start(&["--timeout", "2"]);
    let idle = open_descriptors(&server) as u64;
    let mut held: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    for connection in &mut held {
        connection.send(b"x\n");
        assert_eq!(connection.reply(), b"X");
    }
    // Fewer than are in use, because the clients have not closed yet.
    let limit = Rlimit {
        current: Some(idle + 4),
        ..getrlimit(Resource::Nofile)
    };
    prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
    let mut late: Vec<Connection> = (0..100).map(|_| server.connect()).collect();
    for connection in &mut late {
        connection.send(b"late\n");
    }
    let warning = server.stderr.next_line();
    drop(held);
    for mut connection in late {
        assert_eq!(connection.reply(), b"LATE");
    }
    let (_, stderr) = server.stop();
    check_warnings(&[&[warning], &stderr[..]].concat(), start);
}

/// A server that is started by `prefix` and gets `sockets` in the way of systemd.
fn handing_over<S: Into<OwnedFd>>(
    sockets: impl IntoIterator<Item = S>,
    prefix: &[&str],
    options: &[&str],
) -> Command {
    const SET_PID: [&str; 3] = ["sh", "-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""];
    let numbered = sockets.into_iter().zip(3..);
    let mappings: Vec<_> = numbered
        .map(|(socket, child_fd)| FdMapping {
            parent_fd: socket.into(),
            child_fd,
        })
        .collect();
    let mut command = server_by(&[prefix, &SET_PID].concat(), options);
    command.env("LISTEN_FDS", mappings.len().to_string());
    command.fd_mappings(mappings).unwrap();
    command
}

fn listen() -> (TcpListener, SocketAddr) {
    listen_at("127.0.0.1:0")
}

fn listen_at(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Makes `count` exchanges with the server at `address`.
#[track_caller]
fn exchange(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut client = Connection::connect(address);
        client.send(b"hello\n");
        assert_eq!(client.reply(), b"HELLO");
    }
}

/// The beginning of the warning about a log that cannot be written.
const CANNOT_LOG: &str = "upcase-server: cannot write the log; the server continues: ";

/// SPEC: LOG-4
fn full_disk_loses_no_reply_and_counts_missing_requests() {
    let (listener, address) = listen();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let command = handing_over([listener], &[], &[]);
    let server = Server::spawn(command, full.into(), Stdio::piped());
    let warning = server.stderr.next_line();
    assert!(warning.starts_with(CANNOT_LOG), "{warning}");
    exchange(address, 3);
    let (_, stderr) = server.stop();
    assert_eq!(missing(&stderr), 3);
}

/// SPEC: LOG-4
fn size_limit_loses_no_reply_and_counts_missing_requests() {
    let (listener, address) = listen();
    let log = scratch("limited.log");
    let limit = ["sh", "-c", "ulimit -f 1; exec \"$0\" \"$@\""];
    let command = handing_over([listener], &limit, &[]);
    let stdout = File::create(&log).unwrap();
    let server = Server::spawn(command, stdout.into(), Stdio::piped());
    exchange(address, 200);
    let (_, stderr) = server.stop();
    assert!(stderr[0].starts_with(CANNOT_LOG), "{stderr:?}");
    let written = fs::read_to_string(&log).unwrap();
    let whole = written.matches("b'hello'\n").count();
    assert!(whole > 0);
    assert_eq!(missing(&stderr[1..]), 200 - whole);
}

fn handed_over_listener_is_served_with_its_queue() {
    let (listener, address) = listen();
    listener.set_nonblocking(true).unwrap();
    let mut early = Connection::connect(address);
    early.send(b"early\n");
    let server = Server::start_by(handing_over([listener], &[], &[]));
    assert_eq!(server.address(), address);
    assert_eq!(early.reply(), b"EARLY");
    drop(early);
    assert_eq!(server.reply_to(b"late\n"), b"LATE");
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
}

fn systemd_is_told_when_the_server_is_ready() {
    let path = scratch("notify");
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = server_by(&[], &[]);
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::start_by(command);
    let mut message = [0; 64];
    let length = socket.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
    // Nobody listens there any more.
    drop(socket);
    let mut command = server_by(&[], &[]);
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::start_by(command);
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let (_, stderr) = server.stop();
    let [warning] = &stderr[..] else {
        panic!("{stderr:?}");
    };
    let expected = "upcase-server: cannot tell systemd that the server is ready: ";
    assert!(warning.starts_with(expected), "{warning}");
}

/// SPEC: TIME-1, TIME-5
fn listener_made_blocking_by_others_hangs_no_exchange() {
    let (listener, address) = listen();
    let other = listener.try_clone().unwrap();
    let server = Server::start_by(handing_over([listener], &[], &["--timeout", "1"]));
    // A loop that is about to accept would wait for the next connection.
    let make_blocking = || {
        wait_until("every thread sleeps", || {
            let threads = fs::read_dir(path(&server, "task")).unwrap();
            let mut threads = threads.map(|thread| thread.unwrap().path().join("status"));
            threads.all(|thread| fs::read_to_string(thread).unwrap().contains("\nState:\tS"))
        });
        other.set_nonblocking(false).unwrap();
    };
    let mut silent = server.connect();
    exchange(address, 1);
    for _ in 0..20 {
        make_blocking();
        exchange(address, 1);
    }
    make_blocking();
    assert_eq!(silent.reply(), b"");
    make_blocking();
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
}

/// A listener for each version of IP, and their addresses.
fn listen_at_both() -> ([TcpListener; 2], [SocketAddr; 2]) {
    let [(four, four_address), (six, six_address)] = ["127.0.0.1:0", "[::1]:0"].map(listen_at);
    ([four, six], [four_address, six_address])
}

/// Reads the lines of LOG-1 for all `addresses` but the first, which the server has.
#[track_caller]
fn check_ready(server: &Server, addresses: &[SocketAddr]) {
    let rest = addresses[1..].iter();
    let rest = rest.map(|_| ready_address(&server.stdout.next_line()));
    let ready: Vec<_> = iter::once(server.address()).chain(rest).collect();
    assert_eq!(ready, addresses);
}

/// SPEC: LOG-1, TIME-5
fn handed_over_ipv4_and_ipv6_are_both_served() {
    let (listeners, addresses) = listen_at_both();
    let mut early = addresses.map(Connection::connect);
    let server = Server::start_by(handing_over(listeners, &[], &["--timeout", "10"]));
    check_ready(&server, &addresses);
    for client in &mut early {
        client.send(b"early\n");
        assert_eq!(client.reply(), b"EARLY");
    }
    for ip in ["127.0.0.1", "::1"] {
        assert_eq!(server.stdout.next_line(), format!("Recebido de {ip}:"));
        assert_eq!(server.stdout.next_line(), "b'early'");
    }
    drop(early);
    let mut clients = addresses.map(Connection::connect);
    for client in &mut clients {
        client.send(b"under");
    }
    server.signal(Signal::TERM);
    wait_until("both listeners are closed", || {
        addresses.iter().all(|address| queued(*address).is_none())
    });
    for client in &mut clients {
        client.send(b" way\n");
        assert_eq!(client.reply(), b"UNDER WAY");
    }
    drop(clients);
    let (status, _, stderr) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert!(stderr.is_empty(), "{stderr:?}");
}

/// SPEC: TIME-5
fn queues_of_two_listeners_are_answered_after_a_stop() {
    for counts in [[1, 20], [20, 1]] {
        let (listeners, addresses) = listen_at_both();
        let options = ["--max-connections", "1", "--timeout", "10"];
        let server = Server::start_by(handing_over(listeners, &[], &options));
        check_ready(&server, &addresses);
        let mut first = server.connect();
        first.send(b"first");
        wait_until("the first is accepted", || queued(addresses[0]) == Some(0));
        let mut others = Vec::new();
        for (address, count) in addresses.into_iter().zip(counts) {
            others.extend((0..count).map(|_| Connection::connect(address)));
            wait_until("the others are queued", || queued(address) == Some(count));
        }
        server.signal(Signal::TERM);
        first.send(b"\n");
        assert_eq!(first.reply(), b"FIRST");
        drop(first);
        // Each holds the only place until its client has read the reply and closed.
        thread::scope(|scope| {
            for mut client in others {
                scope.spawn(move || {
                    client.send(b"queued\n");
                    assert_eq!(client.reply(), b"QUEUED");
                });
            }
        });
        assert_eq!(server.wait().0.code(), Some(0));
    }
}

/// SPEC: TIME-5
fn stop_accepts_a_whole_queue_of_each_listener() {
    let listeners = [(); 2].map(|()| server::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
    let addresses = listeners
        .each_ref()
        .map(|listener| listener.local_addr().unwrap());
    let options = ["--max-connections", "1", "--timeout", "10"];
    let server = Server::start_by(handing_over(listeners, &[], &options));
    check_ready(&server, &addresses);
    let mut first = server.connect();
    first.send(b"hello");
    wait_until("the first is accepted", || queued(addresses[0]) == Some(0));
    for address in addresses {
        // A closed connection stays in the queue, and needs no descriptor here.
        (0..BACKLOG).for_each(|_| Connection::connect(address).send(b"hello\n"));
        wait_until("the others are queued", || queued(address) == Some(BACKLOG));
    }
    server.signal(Signal::TERM);
    first.send(b"\n");
    assert_eq!(first.reply(), b"HELLO");
    drop(first);
    let (status, stdout, stderr) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(logged(&stdout) + missing(&stderr), 1 + 2 * BACKLOG);
}

/// A client that has sent all of `request`. Nothing but the server can delay the end of its exchange.
fn queue(address: SocketAddr, request: &[u8]) -> Connection {
    let mut client = Connection::connect(address);
    client.send(request);
    client.0.shutdown(Shutdown::Write).unwrap();
    client
}

/// SPEC: TIME-3, TIME-5
fn flood_at_one_listener_does_not_starve_others() {
    for flooded in 0..3 {
        let (listeners, addresses): (Vec<_>, Vec<_>) = (0..3).map(|_| listen()).unzip();
        let mut clients: Vec<_> = (0..50)
            .map(|_| queue(addresses[flooded], b"flood\n"))
            .collect();
        clients.extend(addresses.iter().map(|address| queue(*address, b"single\n")));
        let options = ["--max-connections", "1", "--timeout", "10"];
        let server = Server::start_by(handing_over(listeners, &[], &options));
        check_ready(&server, &addresses);
        for client in &mut clients {
            let reply = client.reply();
            assert!(reply == b"FLOOD" || reply == b"SINGLE", "{reply:?}");
        }
        let (stdout, _) = server.stop();
        // They are served one after another, and the log has their order.
        let first: Vec<_> = stdout.chunks(2).take(3).map(|lines| &lines[1]).collect();
        let singles = first.iter().filter(|request| **request == "b'single'");
        assert_eq!(singles.count(), 2, "{flooded}: {first:?}");
    }
}

/// SPEC: TIME-4, TIME-5
fn failed_listener_does_not_affect_others() {
    let check = |failed: usize| {
        let (listeners, addresses): (Vec<_>, Vec<_>) = (0..2).map(|_| listen()).unzip();
        let kept = Socket::from(listeners[failed].try_clone().unwrap());
        let start = Instant::now();
        let options = ["--max-connections", "1", "--timeout", "3"];
        let server = Server::start_by(handing_over(listeners, &[], &options));
        check_ready(&server, &addresses);
        // From now on `accept` fails for this listener.
        kept.shutdown(Shutdown::Both).unwrap();
        let warning = server.stderr.next_line();
        let fit = addresses[1 - failed];
        let mut stalled = Connection::connect(fit);
        stalled.send(b"x");
        wait_until("it is accepted", || queued(fit) == Some(0));
        let clients: Vec<_> = (0..100).map(|_| queue(fit, b"hello\n")).collect();
        server.signal(Signal::TERM);
        drop(stalled);
        // If each were followed by a pause for the other listener, they would be too late.
        for mut client in clients {
            assert_eq!(client.reply(), b"HELLO");
        }
        let (status, _, stderr) = server.wait();
        assert_eq!(status.code(), Some(0));
        check_warnings(&[&[warning], &stderr[..]].concat(), start);
    };
    thread::scope(|scope| {
        for failed in 0..2 {
            scope.spawn(move || check(failed));
        }
    });
}

fn listener_that_is_passed_twice_is_served() {
    let (listener, address) = listen();
    let twice = [listener.try_clone().unwrap(), listener];
    let server = Server::start_by(handing_over(twice, &[], &["--timeout", "10"]));
    check_ready(&server, &[address, address]);
    exchange(address, 20);
    let (stdout, stderr) = server.stop();
    assert_eq!(logged(&stdout), 20);
    assert!(stderr.is_empty(), "{stderr:?}");
}

/// SPEC: TIME-4
fn each_listener_lowers_the_connection_limit() {
    let (listeners, addresses): (Vec<_>, Vec<_>) = (0..8).map(|_| listen()).unzip();
    let limit = ["sh", "-c", "ulimit -n 50; exec \"$0\" \"$@\""];
    let options = ["--max-connections", "100", "--timeout", "10", "--quiet"];
    let server = Server::start_by(handing_over(listeners, &limit, &options));
    check_ready(&server, &addresses);
    let warning = server.stderr.next_line();
    let (idle, most) = check_limit_of_fifty(&server, &warning);
    let mut held = stall(&server, most);
    wait_until("all are held", || open_descriptors(&server) == idle + most);
    for client in &mut held {
        client.send(b"\n");
        assert_eq!(client.reply(), b"X");
    }
    drop(held);
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
}

fn unfit_socket_fails_with_one_line() {
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&any.into()).unwrap();
    let datagrams = UdpSocket::bind(any).unwrap();
    let file = File::open("/dev/null").unwrap();
    let (local, _other_end) = UnixStream::pair().unwrap();
    let (listener, address) = listen();
    let _client = Connection::connect(address);
    let accepted = listener.accept().unwrap().0;
    let unfit: [(OwnedFd, _); 5] = [
        (bound.into(), "it does not listen"),
        (accepted.into(), "it does not listen"),
        (datagrams.into(), "not a valid tcp socket"),
        (local.into(), "not a valid tcp socket"),
        (file.into(), "is not a socket"),
    ];
    for (socket, cause) in unfit {
        check_unfit([socket.try_clone().unwrap()], "socket 1 of 1", cause);
        let fit = || listener.try_clone().unwrap().into();
        check_unfit([fit(), socket, fit()], "socket 2 of 3", cause);
    }
}

/// Checks that a server refuses `sockets`, and says which is unfit, and why.
#[track_caller]
fn check_unfit<const N: usize>(sockets: [OwnedFd; N], which: &str, cause: &str) {
    let output = handing_over(sockets, &[], &[]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty());
    for part in [which, cause, "ListenStream="] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// Hands `listener` over to a new server, and keeps it.
fn start_at(listener: &TcpListener) -> Server {
    let socket = listener.try_clone().unwrap();
    Server::start_by(handing_over([socket], &[], &["--timeout", "10"]))
}

/// Sets a flag on drop, so also when a test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Calls `meanwhile` while four clients make exchanges with the server at `address`, of which none
/// may fail. Returns the number of exchanges.
fn under_load(address: SocketAddr, meanwhile: impl FnOnce()) -> usize {
    let is_over = AtomicBool::new(false);
    let exchanges = || {
        let mut count = 0;
        while !is_over.load(Ordering::SeqCst) {
            exchange(address, 1);
            count += 1;
        }
        count
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(exchanges)).collect();
        let over = SetOnDrop(&is_over);
        meanwhile();
        drop(over);
        let counts = clients.into_iter().map(|client| client.join().unwrap());
        counts.sum()
    })
}

/// How many requests are in `stdout`. Each must be "hello".
#[track_caller]
fn logged(stdout: &[String]) -> usize {
    let mut entries = stdout.chunks(2);
    let entry = ["Recebido de 127.0.0.1:", "b'hello'"];
    assert!(entries.all(|lines| lines == entry), "not a client's");
    stdout.len() / 2
}

/// SPEC: TIME-5
fn restarts_on_a_shared_socket_lose_no_request() {
    let (listener, address) = listen();
    let mut in_log = 0;
    let mut last = None;
    let answered = under_load(address, || {
        for _ in 0..40 {
            let server = start_at(&listener);
            assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
            let (stdout, stderr) = server.stop();
            in_log += logged(&stdout);
            assert!(stderr.is_empty(), "{stderr:?}");
        }
        last = Some(start_at(&listener)); // for the clients that still wait
    });
    in_log += logged(&last.unwrap().stop().0);
    assert_eq!(in_log, answered + 40);
}

/// SPEC: TIME-5
fn server_that_shares_its_socket_stops_at_once() {
    let (listener, address) = listen();
    let remaining = start_at(&listener);
    let mut in_log = 0;
    let answered = under_load(address, || {
        for _ in 0..4 {
            let server = start_at(&listener);
            assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
            let stop = Instant::now();
            in_log += logged(&server.stop().0);
            assert_at_once(stop.elapsed());
        }
    });
    in_log += logged(&remaining.stop().0);
    assert_eq!(in_log, answered + 4);
}

/// Checks that a server with the longest time-out did not wait for a deadline.
#[track_caller]
fn assert_at_once(elapsed: Duration) {
    assert!(elapsed < MAX_TIMEOUT / 2, "after {elapsed:?}");
}

/// SPEC: TIME-5
fn server_without_a_network_stops_at_once() {
    let (listener, _) = listen();
    let command = handing_over([listener], &["unshare", "--net"], &["--timeout", "10"]);
    let server = Server::start_by(command);
    let mut client = server.connect();
    client.send(b"under");
    server.signal(Signal::TERM);
    client.send(b" way\n");
    assert_eq!(client.reply(), b"UNDER WAY");
    drop(client);
    let stop = Instant::now();
    assert_eq!(server.wait().0.code(), Some(0));
    assert_at_once(stop.elapsed());
}

/// A command that starts another as process 1 of a new namespace.
const NEW_PID_NAMESPACE: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child"];

fn second_signal_ends_process_1() {
    let server = Server::start_by(server_by(&NEW_PID_NAMESPACE, &["--timeout", "10"]));
    let parent = server.pid().as_raw_nonzero();
    let children = fs::read_to_string(path(&server, &format!("task/{parent}/children")));
    let child = children.unwrap().trim().parse().expect("one child");
    let child = Pid::from_raw(child).unwrap();
    let mut client = server.connect();
    client.send(b"under way");
    kill_process(child, Signal::TERM).unwrap();
    wait_until_closed(&server);
    kill_process(child, Signal::TERM).unwrap();
    assert_eq!(server.wait().0.code(), Some(128 + 15));
}

fn start_by_env(option: &str) -> Server {
    Server::start_by(server_by(&["env", option], &["--timeout", "10"]))
}

/// SPEC: TIME-5
fn blocked_signals_stop_the_server() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let server = start_by_env("--block-signal=TERM,INT,HUP");
        server.signal(signal);
        assert_eq!(server.wait().0.code(), Some(0), "{signal:?}");
    }
}

fn ignored_signals_stay_ignored() {
    let server = start_by_env("--ignore-signal=INT,HUP");
    for signal in [Signal::INT, Signal::HUP] {
        server.signal(signal);
    }
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let mut client = server.connect();
    client.send(b"under");
    stop_listening(&server, Signal::TERM);
    // Not ignored, this would be the second signal.
    server.signal(Signal::INT);
    client.send(b" way\n");
    assert_eq!(client.reply(), b"UNDER WAY");
    drop(client);
    assert_eq!(server.wait().0.code(), Some(0));
}

/// SPEC: LOG-2
fn ipv4_client_of_ipv6_server_is_printed_as_ipv4() {
    let server = Server::start_at("[::]:0", &[]);
    let port = server.address().port();
    for (ip, request) in [("127.0.0.1", "four"), ("::1", "six")] {
        let mut client = Connection::connect(SocketAddr::new(ip.parse().unwrap(), port));
        client.send(format!("{request}\n").as_bytes());
        assert_eq!(client.reply(), request.to_uppercase().as_bytes());
        assert_eq!(server.stdout.next_line(), format!("Recebido de {ip}:"));
        assert_eq!(server.stdout.next_line(), format!("b'{request}'"));
    }
}

fn idle_server_stops_at_any_ipv6_address() {
    for address in ["[::1]:0", "[::]:0"] {
        Server::start_at(address, &[]).stop();
    }
}

/// SPEC: CLIENT-8
fn client_finds_localhost_at_ipv4() {
    client_finds_localhost("127.0.0.1:0");
}

/// SPEC: CLIENT-8
fn client_finds_localhost_at_ipv6() {
    client_finds_localhost("[::1]:0");
}

/// Checks that the client finds a server that listens at only one address of `localhost`.
#[track_caller]
fn client_finds_localhost(address: &str) {
    let server = Server::start_at(address, &["--quiet"]);
    let localhost = format!("localhost:{}", server.address().port());
    cargo_bin_cmd!("upcase-client")
        .args(["--connect", &localhost, "--raw", "x"])
        .timeout(PATIENCE)
        .assert()
        .success()
        .stdout("X");
}

/// A command that starts another in a network namespace where lo, which is interface 1, has the
/// address `fe80::1`.
const IN_LINK_LOCAL: [&str; 5] = [
    "unshare",
    "--net",
    "sh",
    "-c",
    "ip link set lo up && ip addr add fe80::1/64 dev lo nodad && exec \"$0\" \"$@\"",
];

/// SPEC: CLIENT-8
fn client_finds_an_interface_by_name() {
    let (server, port) = start_in_link_local("1", &["--quiet"]);
    for zone in ["lo", "1"] {
        ask_in_namespace_of(&server, &format!("[fe80::1%{zone}]:{port}"));
    }
}

/// A server in a namespace of its own, at `fe80::1` in this zone, and its port.
fn start_in_link_local(zone: &str, options: &[&str]) -> (Server, u16) {
    let mut command = server_command(&IN_LINK_LOCAL);
    command
        .args(["--bind", &format!("[fe80::1%{zone}]:0")])
        .args(options);
    let server = Server::spawn(command, Stdio::piped(), Stdio::piped());
    let ready = server.stdout.next_line();
    let (address, port) = ready.rsplit_once(':').expect("a port");
    assert!(address.ends_with("[fe80::1%lo]"), "{ready}");
    let port = port.trim_end_matches("\"}").parse();
    (server, port.expect("a port"))
}

/// Sends "x" to `address` by the client, in the network namespace of `server`.
#[track_caller]
fn ask_in_namespace_of(server: &Server, address: &str) {
    let namespace = format!("--net=/proc/{}/ns/net", server.pid().as_raw_nonzero());
    assert_cmd::Command::new("nsenter")
        .arg(namespace)
        .arg(cargo_bin!("upcase-client"))
        .args(["--connect", address, "--raw", "x"])
        .timeout(PATIENCE)
        .assert()
        .success()
        .stdout("X");
}

/// SPEC: LOG-1, LOG-2
fn zone_is_printed_as_the_name_of_the_interface() {
    let (server, port) = start_in_link_local("lo", &[]);
    ask_in_namespace_of(&server, &format!("[fe80::1%lo]:{port}"));
    assert_eq!(server.stdout.next_line(), "Recebido de fe80::1%lo:");
    assert_eq!(server.stdout.next_line(), "b'x'");
    server.stop();
    let (server, port) = start_in_link_local("lo", &["--log", "json"]);
    ask_in_namespace_of(&server, &format!("[fe80::1%lo]:{port}"));
    let line = server.stdout.next_line();
    assert!(line.contains(r#""peer":"[fe80::1%lo]:"#), "{line}");
}

fn unknown_zone_fails_with_one_line() {
    let mut command = server_command(&[]);
    let output = command.args(["--bind", "[fe80::1%nowhere]:0"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no such network interface"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
