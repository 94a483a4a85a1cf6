//! `upcase-server` does what SPEC.md, its help and README.md say, over real sockets.

mod common {
    pub mod connection;
    pub mod listener;
    pub mod missing;
    pub mod native;
    pub mod process;
    pub mod server;
    pub mod spec;
    pub mod stop;
    pub mod wait;
}

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use assert_cmd::cargo::cargo_bin_cmd;
use common::connection::Connection;
use common::listener::queued;
use common::missing::missing;
use common::native::server_command;
use common::process::PATIENCE;
use common::server::Server;
use common::spec::blocks;
use common::stop::stop_listening;
use common::wait::wait_until;
use predicates::str::{contains, is_match};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use socket2::SockRef;
use upcase::LIMIT;
use upcase::server::MAX_TIMEOUT;

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
    let server = Server::start(&["--timeout", "1"]);
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

/// Makes the close of the connection a reset.
fn reset_by_close(client: &Connection) {
    let socket = SockRef::from(&client.0);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
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
        reset_by_close(&client);
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
    let mut command = server_command(&[]);
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

/// SPEC: LOG-2
#[test]
fn connection_without_a_byte_prints_nothing() {
    let server = Server::start(&["--timeout", "1"]);
    drop(server.connect());
    reset_by_close(&server.connect());
    let mut client = server.connect();
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply(), b"");
    assert_eq!(
        server.connect().reply(),
        b"",
        "it is closed at its deadline"
    );
    assert_eq!(server.reply_to(b" \n"), b"");
    assert_eq!(server.stop().0, ["Recebido de 127.0.0.1:", "b''"]);
}

/// The JSON object in `line`.
#[track_caller]
fn object(line: &str) -> serde_json::Map<String, Value> {
    let parsed = serde_json::from_str(line);
    parsed.unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// How a client behaves, and its line in the JSON log: request, reply and outcome.
type Visit = (
    fn(&mut Connection),
    &'static str,
    Option<&'static str>,
    &'static str,
);

const VISITS: [Visit; 9] = [
    // A client.
    (
        ask,
        r"b'  Ol\xffa \'\x0a'",
        Some(r"b'OL\xffA \''"),
        "replied",
    ),
    // A request without a line feed, from a client that half-closes.
    (ask_by_end, "b'hi'", Some("b'HI'"), "replied"),
    // A request of white space alone.
    (
        |client| client.send(b"\n"),
        r"b'\x0a'",
        Some("b''"),
        "replied",
    ),
    // A reset by a client that has got its reply.
    (ask_and_reset, r"b'hi\x0a'", Some("b'HI'"), "replied"),
    // A request without a line feed, from a client that waits.
    (stall, "b'hi'", None, "timed-out"),
    // A slowloris.
    (drip, "b'...'", None, "timed-out"),
    // A client that holds a place.
    (
        |client| assert_eq!(client.reply(), b""),
        "b''",
        None,
        "timed-out",
    ),
    // A port scan, or a health check.
    (|_| {}, "b''", None, "silent"),
    (
        |client| client.0.shutdown(Shutdown::Both).unwrap(),
        "b''",
        None,
        "silent",
    ),
];

fn ask(client: &mut Connection) {
    client.send(b"  Ol\xffa '\nsurplus");
    assert_eq!(client.reply(), b"OL\xffA '");
}

fn ask_by_end(client: &mut Connection) {
    client.send(b"hi");
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply(), b"HI");
}

fn ask_and_reset(client: &mut Connection) {
    client.send(b"hi\n");
    assert_eq!(client.reply(), b"HI");
    reset_by_close(client);
}

fn stall(client: &mut Connection) {
    client.send(b"hi");
    assert_eq!(client.reply(), b"");
}

fn drip(client: &mut Connection) {
    for _ in 0..3 {
        client.send(b".");
        assert!(is_silent(client));
    }
    assert_eq!(client.reply(), b"");
}

/// SPEC: LOG-6
#[test]
fn json_log_shows_how_every_connection_ended() {
    let server = Server::start(&["--log", "json", "--timeout", "1"]);
    for (visit, request, reply, outcome) in VISITS {
        let start = Instant::now();
        let mut client = server.connect();
        let peer = client.0.local_addr().unwrap().to_string();
        visit(&mut client);
        drop(client);
        let line = server.stdout.next_line();
        let most = start.elapsed();
        let line = object(&line);
        let keys: Vec<_> = line.keys().map(String::as_str).collect();
        let mut expected = [
            "time",
            "peer",
            "request",
            "request_bytes",
            "reply",
            "reply_bytes",
            "outcome",
            "seconds",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(line["peer"], peer);
        assert_eq!(line["request"], request);
        assert_eq!(line["reply"], reply.map_or(Value::Null, Value::from));
        assert_eq!(line["outcome"], outcome, "{request}");
        let seconds = line["seconds"].as_f64().unwrap();
        let least = if outcome == "timed-out" { 1.0 } else { 0.0 };
        let most = most.as_secs_f64();
        assert!(
            (least..=most).contains(&seconds),
            "{least} {seconds} {most}"
        );
    }
    let (stdout, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
    let [totals] = &stdout[..] else {
        panic!("not one line: {stdout:?}");
    };
    let expected = serde_json::json!({
        "connections": 9, "replied": 4, "failed": 0, "timed-out": 3, "silent": 2, "reset": 0,
        "missing": 0,
    });
    assert_eq!(object(totals)["totals"], expected);
}

/// SPEC: LOG-6
#[test]
fn json_log_shows_a_reset() {
    let server = Server::start(&["--log", "json", "--timeout", "10"]);
    for (request, outcome) in [(&b""[..], "silent"), (b"incomplete", "reset")] {
        let mut client = server.connect();
        client.send(request);
        // The server has read the request before it can see the reset.
        assert!(is_silent(&client));
        reset_by_close(&client);
        drop(client);
        let line = object(&server.stdout.next_line());
        assert_eq!(line["outcome"], outcome);
        assert_eq!(line["request_bytes"], request.len());
        assert_eq!(line["reply_bytes"], 0);
    }
}

/// SPEC: LOG-6
#[test]
fn json_log_tells_the_time_of_acceptance() {
    // RFC 3339 in UTC with milliseconds sorts as it counts.
    let now = || humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let before = now();
    let server = Server::start(&["--log", "json", "--timeout", "1"]);
    let mut client = server.connect();
    assert_eq!(client.reply(), b"");
    let after = now();
    let line = object(&server.stdout.next_line());
    let time = line["time"].as_str().unwrap();
    assert!(
        (&*before..&*after).contains(&time),
        "{before} {time} {after}"
    );
    let accepted = humantime::parse_rfc3339(time).unwrap();
    let ended = accepted + Duration::from_secs(1);
    assert!(ended <= humantime::parse_rfc3339(&after).unwrap() + Duration::from_millis(1));
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
    unread_log_delays_nothing("transcript");
}

/// SPEC: LOG-4, LOG-6
#[test]
fn unread_json_log_delays_no_reply_and_no_stop() {
    unread_log_delays_nothing("json");
}

#[track_caller]
fn unread_log_delays_nothing(format: &str) {
    let (server, reader, _) = start_with_unread_stdout(&["--log", format]);
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
    let mut command = server_command(&[]);
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
    assert_cmd::Command::from_std(server_command(&[]))
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
        (&["--log", "xml"], "not transcript, json or none"),
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
    let help = assert_cmd::Command::from_std(server_command(&[]))
        .arg("--help")
        .assert();
    let mut help = help.success().stderr("");
    for part in [
        "Usage: upcase-server",
        "--bind",
        "0.0.0.0:8080",
        "--timeout",
        "--max-connections",
        "--log",
        "--quiet",
        "UPCASE_BIND",
        "UPCASE_TIMEOUT",
        "UPCASE_MAX_CONNECTIONS",
        "UPCASE_LOG",
        "TIME-6",
        "TIME-7",
        "Examples:",
        &format!("at most {}", MAX_TIMEOUT.as_secs()),
        &format!("at {LIMIT} bytes"),
    ] {
        help = help.stdout(contains(part));
    }
    let version = format!("upcase-server {}\n", env!("CARGO_PKG_VERSION"));
    let assert = assert_cmd::Command::from_std(server_command(&[]))
        .arg("--version")
        .assert();
    assert.success().stdout(version);
}

/// The server with these variables and arguments.
fn with_variables(variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = server_command(&[]);
    command.envs(variables.iter().copied()).args(arguments);
    command
}

#[test]
fn options_are_read_from_the_environment() {
    let variables = [
        ("UPCASE_BIND", "127.0.0.1:0"),
        ("UPCASE_TIMEOUT", "1"),
        ("UPCASE_MAX_CONNECTIONS", "1"),
        ("UPCASE_LOG", "none"),
    ];
    let server = Server::start_by(with_variables(&variables, &[]));
    assert!(server.address().ip().is_loopback());
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let start = Instant::now();
    let mut held = server.connect();
    wait_until("it is accepted", || queued(server.address()) == Some(0));
    let _waiting = server.connect();
    assert_eq!(queued(server.address()), Some(1));
    assert_eq!(held.reply(), b"");
    assert!(start.elapsed() < Duration::from_secs(5), "the default");
    drop(held);
    assert_eq!(server.stop(), (vec![], vec![]));
}

#[test]
fn arguments_override_the_environment() {
    let variables = [
        ("UPCASE_BIND", "192.0.2.1:1"),
        ("UPCASE_TIMEOUT", "0.01"),
        ("UPCASE_MAX_CONNECTIONS", "1"),
        ("UPCASE_LOG", "json"),
    ];
    let options = [
        "--bind",
        "127.0.0.1:0",
        "--timeout",
        "10",
        "--max-connections",
        "2",
    ];
    for (log, printed) in [
        (
            &["--log", "transcript"][..],
            &["Recebido de 127.0.0.1:", "b'hi'"][..],
        ),
        (&["--quiet"], &[]),
        (&["--quiet", "--log", "transcript"], &[]),
    ] {
        let server = Server::start_by(with_variables(&variables, &[&options[..], log].concat()));
        let mut held = server.connect();
        held.send(b"h");
        assert!(is_silent(&held));
        assert_eq!(queued(server.address()), Some(0));
        held.send(b"i\n");
        assert_eq!(held.reply(), b"HI");
        drop(held);
        assert_eq!(server.stop().0, printed, "{log:?}");
    }
}

#[test]
fn wrong_variable_is_named() {
    for (name, value, problem) in [
        ("UPCASE_BIND", "localhost", "--bind <ADDR>': not IP:PORT.*"),
        ("UPCASE_TIMEOUT", "", "--timeout <SECONDS>': not a number.*"),
        ("UPCASE_MAX_CONNECTIONS", "many", "not a whole number.*"),
        ("UPCASE_LOG", "xml", "not transcript, json or none.*"),
    ] {
        let pattern =
            format!("^upcase-server: [^\n]*{problem}; the value of {name}; see --help\n$");
        assert_cmd::Command::from_std(with_variables(&[(name, value)], &[]))
            .timeout(PATIENCE)
            .assert()
            .code(2)
            .stdout("")
            .stderr(is_match(pattern).unwrap());
    }
}

#[test]
fn help_to_full_disk_fails_without_a_panic() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = server_command(&[]);
    let output = command.arg("--help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let cause = b"upcase-server: cannot write to standard output";
    assert!(output.stderr.starts_with(cause));
}
