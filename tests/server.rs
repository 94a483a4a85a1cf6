//! `upcase-server` does what SPEC.md, its help and README.md say, over real sockets.

mod common {
    pub mod connection;
    pub mod listener;
    pub mod process;
    pub mod server;
    pub mod spec;
    pub mod stop;
    pub mod wait;
}

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::{cargo_bin, cargo_bin_cmd};
use common::connection::Connection;
use common::listener::queued;
use common::process::PATIENCE;
use common::server::Server;
use common::spec::blocks;
use common::stop::{missing, stop_listening};
use common::wait::wait_until;
use predicates::str::{contains, is_match};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use socket2::SockRef;
use upcase::LIMIT;
use upcase::server::{self, MAX_TIMEOUT, Service, StopHandle};

/// The console block of `side` in SPEC.md.
fn console(side: &str) -> String {
    let blocks = blocks();
    let mut blocks = blocks.iter();
    let block = blocks.find(|block| block.kind == "console" && block.id == side);
    block.expect("a console block").body.join("\n")
}

/// SPEC: LOG-1, LOG-2, LOG-5, UPPER-1
#[test]
fn session_in_the_spec_is_reproduced_exactly() {
    let server = Server::start_at("0.0.0.0:0", &[]);
    let port = server.address().port();
    cargo_bin_cmd!("upcase-client")
        .args(["--connect", &format!("127.0.0.1:{port}")])
        .args(["Olá,", "servidor!"])
        .timeout(PATIENCE)
        .assert()
        .success()
        .stdout(console("client") + "\n")
        .stderr("");
    let mut printed = vec![format!("Servidor rodando em {}", server.address())];
    printed.extend((0..2).map(|_| server.stdout.next_line()));
    let expected = console("server").replace(":8080", &format!(":{port}"));
    assert_eq!(printed.join("\n"), expected);
    assert_eq!(server.stop(), (vec![], vec![]));
}

/// Whether nothing comes for a short time. The rest of the test must show that nothing comes later.
fn is_silent(connection: &Connection) -> bool {
    let short = Duration::from_millis(100);
    connection.0.set_read_timeout(Some(short)).unwrap();
    let peeked = connection.0.peek(&mut [0]);
    connection.0.set_read_timeout(Some(PATIENCE)).unwrap();
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// SPEC: REPLY-1, REPLY-2, REPLY-4, FRAME-1
#[test]
fn reply_starts_after_the_request_and_ends_the_stream() {
    let server = Server::start(&["--timeout", "10"]);
    let mut client = server.connect();
    client.send(b"hel");
    assert!(is_silent(&client));
    client.send(b"lo\n");
    assert_eq!(client.reply(), b"HELLO");
}

/// SPEC: FRAME-2, REPLY-1
#[test]
fn full_request_is_answered_at_once() {
    let server = Server::start(&[]);
    assert_eq!(server.reply_to(&[b'a'; LIMIT]), [b'A'; LIMIT]);
}

/// SPEC: FRAME-3
#[test]
fn half_close_ends_a_request() {
    let server = Server::start(&[]);
    for (request, reply) in [(&b"hello"[..], &b"HELLO"[..]), (b"", b"")] {
        let mut client = server.connect();
        client.send(request);
        client.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.reply(), reply);
    }
}

/// SPEC: FRAME-5
#[test]
fn request_sent_byte_by_byte_is_one_request() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for byte in "  olá, ΐ\n".as_bytes() {
        client.send(&[*byte]);
    }
    assert_eq!(client.reply(), upcase::process("olá, ΐ".as_bytes()));
}

/// SPEC: REPLY-3, SURPLUS-1
#[test]
fn second_request_gets_no_reply() {
    let server = Server::start(&[]);
    assert_eq!(server.reply_to(b"one\ntwo\n"), b"ONE");
    let mut late = server.connect();
    late.send(b"one\n");
    assert_eq!(late.reply(), b"ONE");
    late.send(b"two\n");
    assert_eq!(late.reply(), b"");
}

/// SPEC: SURPLUS-2
#[test]
fn megabyte_of_surplus_loses_no_reply() {
    let server = Server::start(&["--quiet"]);
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        let mut client = server.connect();
        client.send(b"hello\n");
        client.send(&megabyte);
        assert_eq!(client.reply(), b"HELLO");
    }
}

/// SPEC: SURPLUS-3
#[test]
fn sixteen_mebibytes_of_surplus_are_read() {
    let server = Server::start(&["--timeout", "10"]);
    let mut client = server.connect();
    client.send(b"hello\n");
    for _ in 0..16 {
        client.send(&vec![b'x'; 1 << 20]);
    }
    assert_eq!(client.reply(), b"HELLO");
}

/// The original's client reads once.
///
/// SPEC: REPLY-2
#[test]
fn one_read_gets_the_whole_reply() {
    let server = Server::start(&["--quiet"]);
    for _ in 0..100 {
        let mut client = server.connect();
        client.send(&[&[b'a'; LIMIT - 1][..], b"\n"].concat());
        let mut reply = [0; LIMIT];
        assert_eq!(client.0.read(&mut reply).unwrap(), LIMIT - 1);
    }
}

/// SPEC: TIME-1, TIME-2
#[test]
fn incomplete_request_gets_nothing_at_the_deadline() {
    let server = Server::start(&["--timeout", "0.3"]);
    assert_eq!(server.reply_to(b"hello"), b"");
    assert_eq!(server.stop(), (vec![], vec![]), "it is not printed");
}

/// SPEC: TIME-1
#[test]
fn slow_bytes_do_not_extend_the_deadline() {
    let server = Server::start(&["--timeout", "0.5"]);
    for request in [&b""[..], b"hello\n"] {
        let mut client = server.connect();
        client.send(request);
        let pace = Duration::from_millis(20);
        client.0.set_read_timeout(Some(pace)).unwrap();
        let end = Instant::now() + PATIENCE;
        while client.0.write(b".").is_ok() {
            let _ = client.0.read(&mut [0; 16]);
            assert!(Instant::now() < end, "the server keeps the connection");
        }
    }
}

/// SPEC: TIME-6
#[test]
fn deadline_is_not_early() {
    let server = Server::start(&["--timeout", "2"]);
    let start = Instant::now();
    assert_eq!(server.reply_to(b"hel"), b"");
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_secs(2), "{elapsed:?}");
}

/// SPEC: TIME-1
#[test]
fn all_connections_end_by_the_longest_deadline() {
    let server = Server::start(&["--timeout", "10"]);
    let mut stalled: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    for client in &mut stalled {
        client.send(b"x");
    }
    wait_until("all are accepted", || queued(server.address()) == Some(0));
    thread::sleep(MAX_TIMEOUT);
    for client in &mut stalled {
        client.0.set_nonblocking(true).unwrap();
        let end = client.0.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "not the end of the stream: {end:?}");
    }
}

/// SPEC: TIME-1
#[test]
fn flood_is_cut_at_the_deadline() {
    let server = Server::start(&["--timeout", "0.5"]);
    let mut client = server.connect();
    client.send(b"hello\n");
    let end = Instant::now() + PATIENCE;
    // The reply is never read, and more is sent than any buffer holds.
    while client.0.write(&[b'x'; 4096]).is_ok() {
        assert!(Instant::now() < end, "the server keeps the connection");
    }
    let (stdout, _) = server.stop();
    let printed = ["Recebido de 127.0.0.1:", "b'hello'"];
    assert_eq!(stdout, printed, "the flood is no request");
}

/// SPEC: TIME-3
#[test]
fn stalled_client_does_not_delay_others() {
    let server = Server::start(&["--timeout", "10"]);
    let mut stalled = server.connect();
    stalled.send(b"so far");
    assert_eq!(server.reply_to(b"one\n"), b"ONE");
    assert_eq!(server.reply_to(b"two\n"), b"TWO");
    stalled.send(b", so good\n");
    assert_eq!(stalled.reply(), b"SO FAR, SO GOOD");
}

/// SPEC: TIME-3, TIME-7, TIME-8
#[test]
fn three_hundred_stalled_clients_do_not_delay_others() {
    let server = Server::start(&["--timeout", "10", "--quiet"]);
    let mut stalled: Vec<Connection> = (0..300).map(|_| server.connect()).collect();
    for client in &mut stalled {
        client.send(b"x");
    }
    assert_eq!(server.reply_to(b"one\n"), b"ONE");
    for client in &mut stalled {
        client.send(b"\n");
        assert_eq!(client.reply(), b"X");
    }
}

/// SPEC: TIME-4
#[test]
fn reset_connection_does_not_affect_others() {
    let server = Server::start(&[]);
    let mut waiting = server.connect();
    waiting.send(b"wait");
    for request in [&b""[..], b"incomplete", b"complete\n"] {
        let mut client = server.connect();
        client.send(request);
        // Now the close is a reset.
        let socket = SockRef::from(&client.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    waiting.send(b"ing\n");
    assert_eq!(waiting.reply(), b"WAITING");
}

#[test]
fn connections_over_the_limit_wait() {
    let server = Server::start(&["--max-connections", "1", "--timeout", "10"]);
    let mut first = server.connect();
    first.send(b"first");
    wait_until("the first is accepted", || {
        queued(server.address()) == Some(0)
    });
    let mut second = server.connect();
    second.send(b"second\n");
    assert!(is_silent(&second));
    assert_eq!(queued(server.address()), Some(1));
    first.send(b"\n");
    assert_eq!(first.reply(), b"FIRST");
    drop(first);
    assert_eq!(second.reply(), b"SECOND");
}

/// SPEC: LOG-2, LOG-3
#[test]
fn request_cannot_forge_output() {
    let server = Server::start(&[]);
    server.reply_to("\x1b[2J\rRecebido de 1.2.3.4:\x0bb'x'\u{2028}\u{9b}1m\u{202e}\n".as_bytes());
    let literal = r"b'\x1b[2J\x0dRecebido de 1.2.3.4:\x0bb\'x\'\xe2\x80\xa8\xc2\x9b1m\xe2\x80\xae'";
    let (stdout, stderr) = server.stop();
    assert_eq!(stdout, ["Recebido de 127.0.0.1:", literal]);
    assert!(stderr.is_empty(), "{stderr:?}");
}

#[test]
fn quiet_server_prints_only_its_address() {
    let server = Server::start(&["--quiet"]);
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    assert_eq!(server.stop(), (vec![], vec![]));
}

/// Starts a server whose standard output is a pipe. Nothing more is read from it after the first
/// line. Returns both ends of the pipe too.
#[track_caller]
fn start_with_unread_stdout(options: &[&str]) -> (Server, PipeReader, PipeWriter) {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut command = Command::new(cargo_bin!("upcase-server"));
    command.args(["--bind", "127.0.0.1:0"]).args(options);
    let stdout = writer.try_clone().unwrap().into();
    let server = Server::spawn(command, stdout, Stdio::piped());
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    let line = String::from_utf8(line).unwrap();
    (server.ready(line.trim_end()), reader, writer)
}

/// SPEC: LOG-4
#[test]
fn closed_stdout_loses_no_reply() {
    let (server, reader, mut writer) = start_with_unread_stdout(&[]);
    drop(reader);
    // A process that another test has just forked may hold a copy of the reading end.
    wait_until("the pipe is closed", || writer.write_all(b"\n").is_err());
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    assert_eq!(server.reply_to(b"again\n"), b"AGAIN");
    let (_, stderr) = server.stop();
    let cause = "upcase-server: cannot write the log";
    assert!(stderr[0].starts_with(cause), "{stderr:?}");
    assert_eq!(missing(&stderr[1..]), 2);
}

/// The longest request that ends by a line feed.
fn long_request() -> Vec<u8> {
    [&[b'x'; LIMIT - 1][..], b"\n"].concat()
}

/// SPEC: LOG-4
#[test]
fn unread_stdout_delays_no_reply_and_no_stop() {
    let (server, reader, _) = start_with_unread_stdout(&[]);
    // More than the pipe and the queue hold, so some are dropped.
    let count = 4096 + 400;
    for _ in 0..count {
        assert_eq!(server.reply_to(&long_request()).len(), LIMIT - 1);
    }
    let (_, stderr) = server.stop();
    let missing = missing(&stderr);
    assert!((400..=count).contains(&missing), "{missing} of {count}");
    drop(reader);
}

/// SPEC: LOG-4
#[test]
fn second_signal_still_reports_missing_requests() {
    for second in [None, Some(Signal::TERM)] {
        let (server, reader, _) = start_with_unread_stdout(&["--timeout", "10"]);
        for _ in 0..300 {
            assert_eq!(server.reply_to(&long_request()).len(), LIMIT - 1);
        }
        let mut client = server.connect();
        client.send(b"under way");
        stop_listening(&server, Signal::TERM);
        if let Some(second) = second {
            server.signal(second);
        } else {
            drop(client);
        }
        let (status, _, stderr) = server.wait();
        assert_eq!(status.code(), Some(second.map_or(0, |_| 128 + 15)));
        let missing = missing(&stderr);
        assert!((200..=301).contains(&missing), "{missing}");
        drop(reader);
    }
}

/// SPEC: LOG-4
#[test]
fn unread_stderr_does_not_stop_the_transcript() {
    let (reader, mut full) = io::pipe().unwrap();
    full.write_all(&vec![b'.'; 65_536]).unwrap(); // as much as a pipe holds
    let mut command = Command::new(cargo_bin!("upcase-server"));
    command.args(["--bind", "127.0.0.1:0", "--timeout", "10"]);
    let server = Server::spawn(command, Stdio::piped(), full.into());
    let line = server.stdout.next_line();
    let server = server.ready(&line);
    let enough = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..enough
    };
    let mut warnings = 0;
    wait_until("three warnings", || {
        // Without descriptors the server warns, unless it was accepting at this moment.
        prlimit(Some(server.pid()), Resource::Nofile, none).unwrap();
        let mut client = server.connect();
        client.send(b"hello\n");
        warnings += usize::from(is_silent(&client));
        prlimit(Some(server.pid()), Resource::Nofile, enough).unwrap();
        assert_eq!(client.reply(), b"HELLO");
        assert_eq!(server.stdout.next_line(), "Recebido de 127.0.0.1:");
        assert_eq!(server.stdout.next_line(), "b'hello'");
        warnings >= 3
    });
    drop(reader);
}

/// SPEC: TIME-5
#[test]
fn stop_signal_lets_open_exchanges_finish() {
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::XCPU,
    ] {
        let server = Server::start(&["--timeout", "10"]);
        let mut client = server.connect();
        client.send(b"under");
        stop_listening(&server, signal);
        client.send(b" way\n");
        assert_eq!(client.reply(), b"UNDER WAY");
        drop(client);
        let (status, stdout, stderr) = server.wait();
        assert_eq!(status.code(), Some(0));
        assert_eq!(stdout, ["Recebido de 127.0.0.1:", "b'under way'"]);
        assert!(stderr.is_empty(), "{stderr:?}");
    }
}

/// SPEC: TIME-5
#[test]
fn queued_clients_are_answered_after_a_stop() {
    let server = Server::start(&["--max-connections", "1", "--timeout", "10"]);
    let mut first = server.connect();
    first.send(b"first");
    let mut others: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    for client in &mut others {
        client.send(b"queued\n");
    }
    wait_until("the others are queued", || {
        queued(server.address()) == Some(20)
    });
    server.signal(Signal::TERM);
    first.send(b"\n");
    assert_eq!(first.reply(), b"FIRST");
    drop(first);
    for mut client in others {
        assert_eq!(client.reply(), b"QUEUED");
    }
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn idle_server_stops_at_any_address() {
    for address in ["127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0"] {
        Server::start_at(address, &[]).stop();
    }
}

#[test]
fn stopped_server_closes_stalled_client_at_its_deadline() {
    let timeout = Duration::from_secs(1);
    let server = Server::start(&["--timeout", "1"]);
    let start = Instant::now();
    let mut client = server.connect();
    client.send(b"never");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
    let elapsed = start.elapsed();
    assert!(
        (timeout..MAX_TIMEOUT / 2).contains(&elapsed),
        "after {elapsed:?}"
    );
    assert_eq!(client.reply(), b"");
}

#[test]
fn second_signal_ends_the_server_at_once() {
    let server = Server::start(&["--timeout", "10"]);
    let mut client = server.connect();
    client.send(b"under way");
    stop_listening(&server, Signal::TERM);
    server.signal(Signal::INT);
    assert_eq!(server.wait().0.code(), Some(128 + 2));
}

#[test]
fn other_signals_do_nothing() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(b"under");
    for signal in [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
    ] {
        server.signal(signal);
        assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    }
    client.send(b" way\n");
    assert_eq!(client.reply(), b"UNDER WAY");
    drop(client);
    assert!(server.stop().1.is_empty());
}

/// SPEC: TIME-5
#[test]
fn full_event_loop_closes_the_port_when_others_do() {
    // One place for each event loop, so one stalled client fills a loop.
    let loops = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let most = loops.max(2).to_string();
    let server = Server::start(&["--max-connections", &most, "--timeout", "10"]);
    let address = server.address();
    let mut stalled = server.connect();
    stalled.send(b"under");
    thread::scope(|scope| {
        for _ in 0..4 {
            // They connect again and again, until they are refused.
            scope.spawn(move || {
                while let Ok(mut stream) = TcpStream::connect(address) {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let _ = stream.write_all(b"hello\n");
                    let _ = stream.read_to_end(&mut Vec::new());
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(server.stdout.next_line(), "Recebido de 127.0.0.1:");
            assert_eq!(server.stdout.next_line(), "b'hello'");
        }
        server.signal(Signal::TERM);
    });
    stalled.send(b" way\n");
    assert_eq!(stalled.reply(), b"UNDER WAY");
    drop(stalled);
    assert_eq!(server.wait().0.code(), Some(0));
}

/// SPEC: TIME-5
#[test]
fn full_server_closes_the_port_if_no_client_is_queued() {
    // A place for each event loop, so all of them are full.
    let loops = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for most in [1, loops] {
        let option = most.to_string();
        let server = Server::start(&["--max-connections", &option, "--timeout", "10"]);
        let mut clients: Vec<Connection> = (0..most).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(b"under");
        }
        stop_listening(&server, Signal::TERM);
        for client in &mut clients {
            client.send(b" way\n");
            assert_eq!(client.reply(), b"UNDER WAY");
        }
        drop(clients);
        assert_eq!(server.wait().0.code(), Some(0));
    }
}

#[test]
fn restart_on_the_same_port_works_at_once() {
    let server = Server::start(&[]);
    let address = server.address().to_string();
    assert_eq!(server.reply_to(b"before\n"), b"BEFORE");
    server.stop();
    let server = Server::start_at(&address, &[]);
    assert_eq!(server.reply_to(b"after\n"), b"AFTER");
}

/// The server fails with this code and one line on standard error, which matches `pattern`.
#[track_caller]
fn fails(arguments: &[&str], code: i32, pattern: &str) {
    let line = is_match(format!("^upcase-server: [^\n]*{pattern}\n$")).unwrap();
    cargo_bin_cmd!("upcase-server")
        .args(arguments)
        .timeout(PATIENCE)
        .assert()
        .code(code)
        .stdout("")
        .stderr(line);
}

#[test]
fn fails_on_busy_port() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let pattern = format!("cannot listen on {address}: .* in use.*--bind.*");
    fails(&["--bind", &address], 1, &pattern);
}

#[test]
fn fails_on_address_of_another_machine() {
    // 192.0.2.0/24 is for documentation: no machine has it.
    let pattern = "cannot listen on 192.0.2.1:8080: .*--bind.*";
    fails(&["--bind", "192.0.2.1:8080"], 1, pattern);
}

#[test]
fn wrong_usage_fails_with_one_line() {
    let address = "--bind <ADDR>': not IP:PORT, such as .*";
    let seconds = "a number of seconds, more than 0 and at most 10";
    let count = "not a whole number of 1 or more";
    let option = "unexpected argument '--quite' found; .*'--quiet'.*";
    for (arguments, pattern) in [
        (&["--bind", "localhost"][..], address),
        (&["--bind", "1.2.3.4:99999"], address),
        (&["--timeout", "0"], seconds),
        (&["--timeout", "10.5"], seconds),
        (&["--timeout", "-1"], seconds),
        (&["--timeout", "NaN"], seconds),
        (&["--timeout", "soon"], seconds),
        (&["--max-connections", "0"], count),
        (&["--max-connections", "many"], count),
        (&["--quite"], option),
        (&["hello"], "unexpected argument 'hello' found"),
    ] {
        fails(arguments, 2, &format!("{pattern}; see --help"));
    }
}

#[test]
fn help_and_version_are_printed() {
    let help = cargo_bin_cmd!("upcase-server").arg("--help").assert();
    let mut help = help.success().stderr("");
    for part in [
        "Usage: upcase-server",
        "--bind",
        "0.0.0.0:8080",
        "--timeout",
        "--max-connections",
        "--quiet",
        "Examples:",
        &format!("at most {}", MAX_TIMEOUT.as_secs()),
        &format!("at {LIMIT} bytes"),
    ] {
        help = help.stdout(contains(part));
    }
    let version = format!("upcase-server {}\n", env!("CARGO_PKG_VERSION"));
    let assert = cargo_bin_cmd!("upcase-server").arg("--version").assert();
    assert.success().stdout(version);
}

#[test]
fn help_to_full_disk_fails_without_a_panic() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(cargo_bin!("upcase-server"));
    let output = command.arg("--help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let cause = b"upcase-server: cannot write to standard output";
    assert!(output.stderr.starts_with(cause));
}

/// A server in this process, which is stopped on drop.
struct Serving {
    address: SocketAddr,
    addresses: Vec<SocketAddr>,
    stop: StopHandle,
    ended: mpsc::Receiver<bool>,
}

/// Serves with the library, two clients at once.
fn serve(service: &'static dyn Service) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve_by([listener], 2, service)
}

/// Serves `listeners` with the library, `most` clients at once.
fn serve_by<const COUNT: usize>(
    listeners: [TcpListener; COUNT],
    most: usize,
    service: &'static dyn Service,
) -> Serving {
    let most = NonZeroUsize::new(most).unwrap();
    let server = server::Server::new(listeners, MAX_TIMEOUT, most).unwrap();
    let (addresses, stop) = (server.addresses().to_vec(), server.stop_handle());
    let (running, ended) = mpsc::channel();
    thread::spawn(move || running.send(server.run(service).is_ok()));
    Serving {
        address: addresses[0],
        addresses,
        stop,
        ended,
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.stop();
        assert_eq!(self.ended.recv_timeout(PATIENCE), Ok(true));
    }
}

/// A service that panics at one request, and returns too many bytes for another.
fn faulty(request: &[u8]) -> Vec<u8> {
    assert!(request != b"panic\n", "as the request asked for");
    if request == b"too long\n" {
        return vec![b'X'; LIMIT + 1];
    }
    upcase::process(request)
}

/// SPEC: TIME-4
#[test]
fn panic_of_the_service_ends_only_its_exchange() {
    let serving = serve(&faulty);
    for request in [&b"panic\n"[..], b"too long\n", b"panic\n"] {
        let mut client = Connection::connect(serving.address);
        client.send(request);
        // The connection is closed without a reply, by FIN or by a reset.
        let mut reply = Vec::new();
        if let Err(error) = client.0.read_to_end(&mut reply) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(reply, b"");
        let mut client = Connection::connect(serving.address);
        client.send(b"hello\n");
        assert_eq!(client.reply(), b"HELLO");
    }
}

#[test]
fn library_refuses_timeout_out_of_range() {
    for timeout in [Duration::ZERO, Duration::from_millis(10_001)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = server::Server::new([listener], timeout, NonZeroUsize::MIN);
        let error = server.err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// Several listeners on free ports of this machine.
fn listen<const COUNT: usize>() -> [TcpListener; COUNT] {
    std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap())
}

/// A service that passes on the requests in the order in which they are answered.
struct Ordered(mpsc::Sender<Vec<u8>>);

impl Service for Ordered {
    fn answer(&self, _: SocketAddr, request: &[u8]) -> Vec<u8> {
        let _ = self.0.send(request.to_vec());
        upcase::process(request)
    }
}

/// SPEC: TIME-5, TIME-7
#[test]
fn queues_of_all_listeners_are_answered_after_a_stop() {
    let (sender, requests) = mpsc::channel();
    let serving = serve_by(listen::<2>(), 1, Box::leak(Box::new(Ordered(sender))));
    let connect = |listener: usize, request: &[u8]| {
        let mut client = Connection::connect(serving.addresses[listener]);
        client.send(request);
        client
    };
    let mut held = connect(0, b"held");
    wait_until("the first is accepted", || {
        queued(serving.addresses[0]) == Some(0)
    });
    let mut others: Vec<Connection> = (0..3).map(|_| connect(0, b"busy\n")).collect();
    others.push(connect(1, b"quiet\n"));
    wait_until("the others are queued", || {
        queued(serving.addresses[0]) == Some(3) && queued(serving.addresses[1]) == Some(1)
    });
    serving.stop.stop();
    held.send(b"\n");
    assert_eq!(held.reply(), b"HELD");
    drop(held);
    // Each is answered only after the one before has gone, so they must not wait for one another.
    thread::scope(|scope| {
        for mut client in others {
            scope.spawn(move || assert_ne!(client.reply(), b""));
        }
    });
    let order: Vec<_> = requests.iter().take(5).collect();
    assert_ne!(
        order[4], b"quiet\n",
        "a busy listener does not delay another"
    );
    for address in &serving.addresses {
        wait_until("the listener is closed", || queued(*address).is_none());
    }
}

#[test]
fn library_refuses_to_serve_no_listener() {
    let server = server::Server::new([], MAX_TIMEOUT, NonZeroUsize::MIN);
    let error = server.err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
