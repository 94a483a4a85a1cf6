//! The programs in unusual systems: kernel errors, limits, namespaces, inherited signals, IPv6. Errors are real where
//! possible, and otherwise injected by strace.

mod common {
    pub mod activation;
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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use assert_cmd::cargo::{cargo_bin, cargo_bin_cmd};
use common::activation::{check_ready, exchange, handing_over, listen, queue};
use common::command::succeeds;
use common::connection::Connection;
use common::kernel::{open_descriptors, path, status};
use common::listener::queued;
use common::missing::missing;
use common::native::server_command;
use common::process::PATIENCE;
use common::server::{Server, has_signal};
use common::stop::{stop_listening, wait_until_closed};
use common::trials::{self, Need, trial};
use common::wait::wait_until;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use socket2::Socket;

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
        trial(failed_listener_does_not_affect_others, []),
        trial(each_listener_lowers_the_connection_limit, []),
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
