//! The server by socket activation: sockets that systemd hands over, one or several, alone or shared with other
//! servers.

mod common {
    pub mod activation;
    pub mod command;
    pub mod command_line;
    pub mod connection;
    pub mod listener;
    pub mod missing;
    #[expect(dead_code, reason = "the servers here get their sockets")]
    pub mod native;
    pub mod process;
    pub mod server;
    pub mod trials;
    pub mod wait;
}

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::activation::{check_ready, exchange, handing_over, listen, queue};
use common::command::succeeds;
use common::connection::Connection;
use common::listener::queued;
use common::missing::missing;
use common::process::PATIENCE;
use common::server::Server;
use common::trials::{self, Need, trial};
use common::wait::wait_until;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use upcase::server::event_loop::BACKLOG;
use upcase::server::{self, MAX_TIMEOUT};

fn main() -> ExitCode {
    let trials = vec![
        trial(handed_over_listener_is_served_with_its_queue, []),
        trial(systemd_is_told_when_the_server_is_ready, []),
        trial(listener_made_blocking_by_others_hangs_no_exchange, []),
        trial(handed_over_ipv4_and_ipv6_are_both_served, [&IPV6]),
        trial(queues_of_two_listeners_are_answered_after_a_stop, [&IPV6]),
        trial(stop_accepts_a_whole_queue_of_each_listener, [&LONG_QUEUE]),
        trial(flood_at_one_listener_does_not_starve_others, []),
        trial(listener_that_is_passed_twice_is_served, []),
        trial(unfit_socket_fails_with_one_line, []),
        trial(restarts_on_a_shared_socket_lose_no_request, []),
        trial(server_that_shares_its_socket_stops_at_once, []),
        trial(server_without_a_network_stops_at_once, [&NET_NAMESPACE]),
    ];
    trials::run(8, trials)
}

static NET_NAMESPACE: Need = Need::new("unshare --net", || succeeds(&["unshare", "--net", "true"]));
static IPV6: Need = Need::new("IPv6", || {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
});
static LONG_QUEUE: Need = Need::new("net.core.somaxconn of 4096", || {
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    most.trim().parse().is_ok_and(|most: usize| most >= BACKLOG)
});

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
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notify");
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = handing_over([listen().0], &[], &[]);
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::start_by(command);
    let mut message = [0; 64];
    let length = socket.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
    // Nobody listens there any more.
    drop(socket);
    let mut command = handing_over([listen().0], &[], &[]);
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
            let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
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

fn addresses(listeners: &[TcpListener; 2]) -> [SocketAddr; 2] {
    listeners
        .each_ref()
        .map(|listener| listener.local_addr().unwrap())
}

/// A listener for each version of IP, and their addresses.
fn listen_at_both() -> ([TcpListener; 2], [SocketAddr; 2]) {
    let listeners = ["127.0.0.1:0", "[::1]:0"].map(|any| TcpListener::bind(any).unwrap());
    let addresses = addresses(&listeners);
    (listeners, addresses)
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
    let addresses = addresses(&listeners);
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
