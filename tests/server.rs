//! `upcase-server` does what SPEC.md, its help and README.md say, over real sockets.

mod programs;
mod spec_text;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, diff, is_match};
use programs::{PATIENCE, Peer, Server, wait_until_closed};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use spec_text::Spec;
use upcase::LIMIT;
use upcase::server::{self, MAX_TIMEOUT, Service, StopHandle};

/// SPEC: LOG-1, LOG-2, LOG-5, UPPER-1
#[test]
fn the_reported_session_comes_out_to_the_byte_on_both_sides() {
    let server = Server::start_at("0.0.0.0:0", &[]);
    let port = server.address().port();
    let spec = Spec::read();

    let sent = spec.console("client").join("\n") + "\n";
    cargo_bin_cmd!("upcase-client")
        .args([
            "--connect",
            &format!("127.0.0.1:{port}"),
            "Olá,",
            "servidor!",
        ])
        .timeout(PATIENCE)
        .assert()
        .success()
        .stdout(diff(sent))
        .stderr("");

    let mut printed = vec![format!("Servidor rodando em {}", server.address())];
    printed.extend((0..2).map(|_| server.line()));
    let wanted = spec
        .console("server")
        .join("\n")
        .replace(":8080", &format!(":{port}"));
    assert_eq!(printed.join("\n"), wanted);
    assert_eq!(server.stop(), (vec![], vec![]));
}

/// SPEC: REPLY-1, REPLY-2, FRAME-1
#[test]
fn no_byte_comes_before_the_request_is_complete_and_the_end_of_stream_right_after_the_reply() {
    let server = Server::start(&["--timeout", "10"]);
    let mut peer = server.connect();
    peer.send(b"hel");
    assert!(peer.is_silent());
    peer.send(b"lo\n");
    assert_eq!(peer.reply(), b"HELLO");
}

/// SPEC: FRAME-2, REPLY-1
#[test]
fn a_full_request_is_answered_without_waiting_for_more() {
    let server = Server::start(&[]);
    assert_eq!(server.reply_to(&[b'a'; LIMIT]), [b'A'; LIMIT]);
}

/// SPEC: FRAME-3
#[test]
fn a_half_close_ends_a_request_be_it_empty() {
    let server = Server::start(&[]);
    for (request, reply) in [(&b"hello"[..], &b"HELLO"[..]), (b"", b"")] {
        let mut peer = server.connect();
        peer.send(request);
        peer.half_close();
        assert_eq!(peer.reply(), reply);
    }
}

/// SPEC: FRAME-5
#[test]
fn one_byte_at_a_time_makes_the_same_request() {
    let server = Server::start(&[]);
    let mut peer = server.connect();
    for byte in "  olá, ΐ\n".as_bytes() {
        peer.send(&[*byte]);
    }
    assert_eq!(peer.reply(), upcase::process("olá, ΐ".as_bytes()));
}

/// SPEC: REPLY-3, SURPLUS-1
#[test]
fn a_second_request_on_a_connection_is_not_answered() {
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
fn a_peer_that_sends_a_megabyte_gets_its_reply_and_no_write_error() {
    let server = Server::start(&["--quiet"]);
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        let mut peer = server.connect();
        peer.send(b"hello\n");
        peer.send(&megabyte);
        assert_eq!(peer.reply(), b"HELLO");
    }
}

/// SPEC: REPLY-2
#[test]
fn the_originals_client_gets_every_reply_whole_by_one_read() {
    let server = Server::start(&["--quiet"]);
    for _ in 0..100 {
        let mut peer = server.connect();
        peer.send(&[&[b'a'; LIMIT - 1][..], b"\n"].concat());
        let mut reply = [0; LIMIT];
        assert_eq!(peer.0.read(&mut reply).unwrap(), LIMIT - 1);
    }
}

/// SPEC: TIME-1, TIME-2
#[test]
fn a_request_that_is_incomplete_at_the_deadline_gets_nothing() {
    let server = Server::start(&["--timeout", "0.3"]);
    let mut peer = server.connect();
    peer.send(b"hello");
    assert_eq!(peer.reply(), b"");
    assert_eq!(server.stop(), (vec![], vec![]), "and is not printed");
}

/// SPEC: TIME-1
#[test]
fn dripping_bytes_do_not_put_off_the_deadline() {
    let server = Server::start(&["--timeout", "0.5"]);
    for complete in [&b""[..], b"hello\n"] {
        let mut peer = server.connect();
        peer.send(complete);
        peer.0
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let end = Instant::now() + PATIENCE;
        // Drips for as long as the server's side of the connection lives.
        while peer.0.write(b".").is_ok() {
            let _ = peer.0.read(&mut [0; 16]);
            assert!(Instant::now() < end, "the connection goes on and on");
        }
    }
}

/// SPEC: TIME-1
#[test]
fn a_deadline_does_not_come_early_either() {
    let server = Server::start(&["--timeout", "2"]);
    let start = Instant::now();
    let mut peer = server.connect();
    peer.send(b"hel");
    assert_eq!(peer.reply(), b"");
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2), "closed after {took:?}");
}

/// SPEC: TIME-3
#[test]
fn two_clients_are_answered_while_a_third_stalls() {
    let server = Server::start(&["--timeout", "10"]);
    let mut stalled = server.connect();
    stalled.send(b"so far");
    assert_eq!(server.reply_to(b"one\n"), b"ONE");
    assert_eq!(server.reply_to(b"two\n"), b"TWO");
    stalled.send(b", so good\n");
    assert_eq!(stalled.reply(), b"SO FAR, SO GOOD");
}

/// SPEC: TIME-3
#[test]
fn three_hundred_stalled_clients_delay_nobody() {
    let server = Server::start(&["--timeout", "10", "--quiet"]);
    let mut stalled: Vec<Peer> = (0..300).map(|_| server.connect()).collect();
    for peer in &mut stalled {
        peer.send(b"x");
    }
    assert_eq!(server.reply_to(b"one\n"), b"ONE");
    for peer in &mut stalled {
        peer.send(b"\n");
        assert_eq!(peer.reply(), b"X");
    }
}

/// SPEC: TIME-4
#[test]
fn a_connection_that_is_reset_costs_nobody_else() {
    let server = Server::start(&[]);
    let mut waiting = server.connect();
    waiting.send(b"wait");
    for request in [&b""[..], b"incomplete", b"complete\n"] {
        let mut peer = server.connect();
        peer.send(request);
        peer.reset();
    }
    waiting.send(b"ing\n");
    assert_eq!(waiting.reply(), b"WAITING");
}

#[test]
fn connections_past_the_bound_wait_and_are_not_refused() {
    let server = Server::start(&["--max-connections", "1", "--timeout", "10"]);
    let mut first = server.connect();
    first.send(b"first");
    let mut second = server.connect();
    second.send(b"second\n");
    assert!(second.is_silent());
    first.send(b"\n");
    assert_eq!(first.reply(), b"FIRST");
    drop(first);
    assert_eq!(second.reply(), b"SECOND");
}

/// SPEC: TIME-3, TIME-5
#[test]
fn few_descriptors_lower_the_bound_and_keep_the_server_neither_from_serving_nor_from_stopping() {
    const RESERVED: usize = 14; // for other things than connections and event loops
    let others = RESERVED + server::LOOP_DESCRIPTORS * server::event_loops();
    let room = (50_usize).saturating_sub(others).max(1);
    let limited = |options: &[&str]| Server::start_with_descriptors(50, options);
    let server = limited(&["--timeout", "1", "--quiet", "--max-connections", "100"]);
    let said = server.error_line();
    let says = format!("of 50 file descriptors allows {room} connections at once, not 100");
    assert!(said.contains(&says), "{said}");
    // More than there are descriptors for; the first of them stall until their deadline.
    let mut stalled: Vec<Peer> = (0..60).map(|_| server.connect()).collect();
    for peer in &mut stalled {
        peer.send(b"x");
    }
    drop(stalled.split_off(room));
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
    // Just enough is no reason to say anything, nor is what there is by default.
    for options in [&["--max-connections", &room.to_string()][..], &[]] {
        let (_, stderr) = limited(options).stop();
        assert!(stderr.is_empty(), "{stderr:?}");
    }
}

/// SPEC: LOG-2
#[test]
fn both_families_are_served_and_an_ipv4_peer_is_printed_as_ipv4() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("this machine has no IPv6: nothing was tested");
        return;
    }
    let server = Server::start_at("[::]:0", &[]);
    let port = server.address().port();
    for (ip, request) in [("127.0.0.1", "four"), ("::1", "six")] {
        let mut peer = Peer::connect(SocketAddr::new(ip.parse().unwrap(), port));
        peer.send(format!("{request}\n").as_bytes());
        assert_eq!(peer.reply(), request.to_uppercase().as_bytes());
        assert_eq!(server.line(), format!("Recebido de {ip}:"));
        assert_eq!(server.line(), format!("b'{request}'"));
    }
}

/// SPEC: LOG-2, LOG-3
#[test]
fn no_peer_can_write_to_the_terminal_or_forge_a_line() {
    let server = Server::start(&[]);
    server.reply_to("\x1b[2J\rRecebido de 1.2.3.4:\x0bb'x'\u{2028}\u{9b}1m\u{202e}\n".as_bytes());
    assert_eq!(server.line(), "Recebido de 127.0.0.1:");
    let wanted = r"b'\x1b[2J\x0dRecebido de 1.2.3.4:\x0bb\'x\'\xe2\x80\xa8\xc2\x9b1m\xe2\x80\xae'";
    assert_eq!(server.line(), wanted);
    assert_eq!(server.stop(), (vec![], vec![]));
}

#[test]
fn quiet_prints_the_address_alone() {
    let server = Server::start(&["--quiet"]);
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    assert_eq!(server.stop(), (vec![], vec![]));
}

/// SPEC: LOG-4
#[test]
fn a_full_disk_under_the_log_costs_no_reply_and_is_reported_with_a_count() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Server::spawn(&free.to_string(), &[], full.into());
    let complaint = server.error_line(); // by now the server listens
    assert!(
        complaint.starts_with("upcase-server: cannot write the log"),
        "{complaint}"
    );
    for _ in 0..3 {
        let mut peer = Peer::connect(free);
        peer.send(b"hello\n");
        assert_eq!(peer.reply(), b"HELLO");
    }
    let (_, stderr) = server.stop();
    assert_eq!(
        stderr,
        ["upcase-server: 3 requests are missing from the log"]
    );
}

/// SPEC: LOG-4
#[test]
fn a_closed_standard_output_costs_no_reply() {
    let (server, output, input) = Server::with_unread_output(&[]);
    drop(output);
    wait_until_closed(&input);
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    assert_eq!(server.reply_to(b"again\n"), b"AGAIN");
    let (_, stderr) = server.stop();
    assert!(
        stderr[0].starts_with("upcase-server: cannot write the log"),
        "{stderr:?}"
    );
    assert_eq!(
        stderr[1],
        "upcase-server: 2 requests are missing from the log"
    );
}

/// How many requests are missing from the log by what the server said.
#[track_caller]
fn missing(stderr: &[String]) -> usize {
    let count = |line: &String| {
        let count = line.strip_prefix("upcase-server: ")?;
        let count = count.strip_suffix(" requests are missing from the log")?;
        count.parse::<usize>().ok()
    };
    let counts = stderr.iter().map(|line| count(line).expect(line));
    counts.sum()
}

/// SPEC: LOG-4
#[test]
fn a_pipe_that_nobody_reads_delays_nobody_and_does_not_keep_the_server_from_stopping() {
    let (server, output, _) = Server::with_unread_output(&[]);
    // More than a pipe and the queue hold, so that some are dropped.
    let request = [&[b'x'; LIMIT - 1][..], b"\n"].concat();
    let count = 4096 + 400;
    for _ in 0..count {
        let mut peer = server.connect();
        peer.send(&request);
        assert_eq!(peer.reply().len(), LIMIT - 1);
    }
    let (_, stderr) = server.stop();
    let missing = missing(&stderr);
    assert!((400..=count).contains(&missing), "{missing} of {count}");
    drop(output);
}

/// SPEC: TIME-5
#[test]
fn stop_signals_let_open_exchanges_finish() {
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::XCPU,
    ] {
        let server = Server::start(&["--timeout", "10"]);
        let mut peer = server.connect();
        peer.send(b"under");
        server.signal(signal);
        wait_until_refused(server.target());
        peer.send(b" way\n");
        assert_eq!(peer.reply(), b"UNDER WAY");
        drop(peer);
        let (status, stdout, stderr) = server.wait();
        assert_eq!(status.code(), Some(0));
        assert_eq!(stdout, ["Recebido de 127.0.0.1:", "b'under way'"]);
        assert!(stderr.is_empty(), "{stderr:?}");
    }
}

/// Returns when nobody listens at `address` any more.
fn wait_until_refused(address: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    while let Ok(stream) = TcpStream::connect_timeout(&address, PATIENCE) {
        Peer::over(stream).reset(); // unlike a close, it makes no request
        assert!(Instant::now() < end, "the listener does not close");
    }
}

/// SPEC: TIME-5
#[test]
fn those_who_were_queued_when_the_server_was_stopped_are_answered() {
    let server = Server::start(&["--max-connections", "1", "--timeout", "10"]);
    let mut first = server.connect();
    first.send(b"first");
    let mut queued: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
    for peer in &mut queued {
        peer.send(b"queued\n");
    }
    server.signal(Signal::TERM);
    first.send(b"\n");
    assert_eq!(first.reply(), b"FIRST");
    drop(first);
    for mut peer in queued {
        assert_eq!(peer.reply(), b"QUEUED");
    }
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn an_idle_server_stops_at_whatever_address_it_listens_on() {
    for address in [
        "127.0.0.1:0",
        "127.0.0.2:0",
        "0.0.0.0:0",
        "[::1]:0",
        "[::]:0",
    ] {
        let serving = serve_by(TcpListener::bind(address).unwrap(), &upcase::process);
        drop(serving);
    }
}

#[test]
fn a_stalled_peer_keeps_a_stopped_server_to_its_deadline_and_not_past_it() {
    let timeout = Duration::from_secs(1);
    let server = Server::start(&["--timeout", "1"]);
    let accepting = Instant::now();
    let mut peer = server.connect();
    peer.send(b"never");
    let stopping = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
    let (held, took) = (accepting.elapsed(), stopping.elapsed());
    assert!(held >= timeout, "{held:?}");
    assert!(took < timeout + Duration::from_secs(1), "{took:?}");
    assert_eq!(peer.reply(), b"");
}

#[test]
fn a_second_signal_stops_the_server_at_once() {
    let server = Server::start(&["--timeout", "10"]);
    let mut peer = server.connect();
    peer.send(b"under way");
    server.signal(Signal::TERM);
    wait_until_refused(server.target());
    server.signal(Signal::INT);
    assert_eq!(server.wait().0.code(), Some(128 + 2));
}

/// Starts a server by a `env` that blocks or ignores signals.
fn start_by_env(option: &str) -> Server {
    let mut env = std::process::Command::new("env");
    env.arg(option);
    Server::start_by(env, &["--timeout", "10"])
}

/// SPEC: TIME-5
#[test]
fn signals_that_are_blocked_at_the_start_stop_the_server() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let server = start_by_env("--block-signal=TERM,INT,HUP");
        server.signal(signal);
        assert_eq!(server.wait().0.code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let server = start_by_env("--ignore-signal=INT,HUP");
    for signal in [Signal::INT, Signal::HUP] {
        server.signal(signal);
    }
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let mut peer = server.connect();
    peer.send(b"under");
    // One more that stops it would be the second.
    server.signal(Signal::TERM);
    wait_until_refused(server.target());
    server.signal(Signal::INT);
    peer.send(b" way\n");
    assert_eq!(peer.reply(), b"UNDER WAY");
    drop(peer);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn signals_for_other_purposes_do_no_harm() {
    let server = Server::start(&[]);
    let mut peer = server.connect();
    peer.send(b"under");
    let harmless = [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
    ];
    for signal in harmless {
        server.signal(signal);
        assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    }
    peer.send(b" way\n");
    assert_eq!(peer.reply(), b"UNDER WAY");
    assert!(server.stop().1.is_empty());
}

/// A server in a PID namespace of its own, where its process ID is 1.
#[test]
fn a_second_signal_ends_process_1_too() {
    let namespace = ["--pid", "--fork", "--kill-child"];
    let mut unshare = std::process::Command::new("unshare");
    if !unshare
        .args(namespace)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("no PID namespace on this machine: nothing was tested");
        return;
    }
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(namespace);
    let server = Server::start_by(unshare, &["--timeout", "10"]);
    let parent = server.pid().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let child = children
        .unwrap()
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw);
    let child = child.expect("one child");
    let mut peer = server.connect();
    peer.send(b"under way");
    kill_process(child, Signal::TERM).unwrap();
    wait_until_refused(server.target());
    kill_process(child, Signal::TERM).unwrap();
    assert_eq!(server.wait().0.code(), Some(128 + 15));
}

/// SPEC: LOG-4
#[test]
fn a_second_signal_still_reports_missing_requests() {
    for second in [None, Some(Signal::TERM)] {
        let (server, output, _) = Server::with_unread_output(&["--timeout", "10"]);
        let request = [&[b'x'; LIMIT - 1][..], b"\n"].concat();
        for _ in 0..300 {
            assert_eq!(server.reply_to(&request).len(), LIMIT - 1);
        }
        let mut peer = server.connect();
        peer.send(b"under way");
        server.signal(Signal::TERM);
        wait_until_refused(server.target());
        if let Some(second) = second {
            server.signal(second);
        } else {
            drop(peer);
        }
        let (status, _, stderr) = server.wait();
        assert_eq!(status.code(), Some(second.map_or(0, |_| 128 + 15)));
        let missing = missing(&stderr);
        assert!((200..=301).contains(&missing), "{missing}");
        drop(output);
    }
}

/// SPEC: LOG-4
#[test]
fn an_unread_stderr_does_not_stop_the_transcript() {
    let (unread, mut full) = std::io::pipe().unwrap();
    full.write_all(&vec![b'.'; 65_536]).unwrap(); // as much as a pipe takes
    let server = Server::start_with_errors(&["--timeout", "10"], full.into());
    let few = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let enough = getrlimit(Resource::Nofile);
    let mut complaints = 0;
    while complaints < 3 {
        // Out of descriptors, it complains, unless it was accepting at this very moment.
        prlimit(Some(server.pid()), Resource::Nofile, few).unwrap();
        let mut peer = server.connect();
        peer.send(b"hello\n");
        complaints += usize::from(peer.is_silent());
        prlimit(Some(server.pid()), Resource::Nofile, enough).unwrap();
        assert_eq!(peer.reply(), b"HELLO");
        assert_eq!(server.line(), "Recebido de 127.0.0.1:");
        assert_eq!(server.line(), "b'hello'");
    }
    drop(unread);
}

/// SPEC: LOG-4
#[test]
fn a_file_size_limit_costs_no_reply_and_is_counted() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("limited.log");
    let file = std::fs::File::create(&path).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -f 1; exec \"$0\" \"$@\""]);
    let server = Server::spawn_to(limited, &address.to_string(), file.into());
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address)
        .map(|stream| Peer::over(stream).reset())
        .is_err()
    {
        assert!(Instant::now() < end, "it does not start");
    }
    for _ in 0..200 {
        let mut peer = Peer::connect(address);
        peer.send(b"hello\n");
        assert_eq!(peer.reply(), b"HELLO");
    }
    let (_, stderr) = server.stop();
    let cause = "upcase-server: cannot write the log, serving goes on: ";
    assert!(stderr[0].starts_with(cause), "{stderr:?}");
    let written = std::fs::read_to_string(&path).unwrap();
    let whole = written.matches("b'hello'\n").count();
    assert!(whole > 0);
    assert_eq!(missing(&stderr[1..]), 200 - whole);
}

/// Whether somebody listens at `address`, an IPv4 one, by the kernel's table.
fn is_listening(address: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{:04X}", address.port());
    let mut sockets = table.lines().map(|line| line.split_whitespace().collect());
    sockets.any(|fields: Vec<&str>| fields[1].ends_with(&local) && fields[3] == "0A")
}

/// SPEC: TIME-5
#[test]
fn a_full_loop_closes_the_port_with_the_others() {
    // One place for each event loop, so that whoever stalls fills one.
    let bound = server::event_loops().max(2).to_string();
    let server = Server::start(&["--max-connections", &bound, "--timeout", "10"]);
    let address = server.target();
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
            assert_eq!(server.line(), "Recebido de 127.0.0.1:");
            assert_eq!(server.line(), "b'hello'");
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
fn at_the_bound_the_port_closes_when_nobody_is_queued() {
    // As many as there are event loops, for all of them to be full.
    let loops = thread::available_parallelism().unwrap().to_string();
    for bound in ["1", &loops] {
        let server = Server::start(&["--max-connections", bound, "--timeout", "10"]);
        let mut peers: Vec<Peer> = (0..bound.parse().unwrap())
            .map(|_| server.connect())
            .collect();
        for peer in &mut peers {
            peer.send(b"under");
        }
        server.signal(Signal::TERM);
        // Not by connecting, which would queue.
        let end = Instant::now() + PATIENCE;
        while is_listening(server.target()) {
            assert!(Instant::now() < end, "the listener does not close");
        }
        for peer in &mut peers {
            peer.send(b" way\n");
            assert_eq!(peer.reply(), b"UNDER WAY");
        }
        drop(peers);
        assert_eq!(server.wait().0.code(), Some(0));
    }
}

#[test]
fn a_restart_on_the_same_port_works_at_once() {
    let server = Server::start(&[]);
    let address = server.address().to_string();
    assert_eq!(server.reply_to(b"before\n"), b"BEFORE");
    server.stop();
    let server = Server::start_at(&address, &[]);
    assert_eq!(server.reply_to(b"after\n"), b"AFTER");
}

#[test]
fn a_busy_port_is_one_line_that_says_how_to_mend_it() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let says = format!("^upcase-server: cannot listen on {address}: .* in use.*--bind.*\n$");
    refused(&["--bind", &address], 1, &says);
}

#[test]
fn an_address_of_another_machine_is_one_line_that_says_how_to_mend_it() {
    // 192.0.2.0/24 is for documentation: no machine has it.
    let says = "^upcase-server: cannot listen on 192.0.2.1:8080: .*--bind.*\n$";
    refused(&["--bind", "192.0.2.1:8080"], 1, says);
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let most = "a number of seconds, more than 0 and at most 10; see --help\n$";
    for (arguments, says) in [
        (
            &["--bind", "localhost"][..],
            "--bind <ADDR>': not IP:PORT, as .*; see --help\n$",
        ),
        (
            &["--bind", "1.2.3.4:99999"],
            "--bind <ADDR>': not IP:PORT, as .*; see --help\n$",
        ),
        (&["--timeout", "0"], most),
        (&["--timeout", "10.5"], most),
        (&["--timeout", "-1"], most),
        (&["--timeout", "NaN"], most),
        (&["--timeout", "soon"], most),
        (
            &["--max-connections", "0"],
            "not a whole number of 1 or more; see --help\n$",
        ),
        (
            &["--max-connections", "many"],
            "not a whole number of 1 or more; see --help\n$",
        ),
        (
            &["--quite"],
            "unexpected argument '--quite' found; .*'--quiet'.*; see --help\n$",
        ),
        (
            &["hello"],
            "unexpected argument 'hello' found; see --help\n$",
        ),
    ] {
        refused(arguments, 2, &format!("^upcase-server: [^\n]*{says}"));
    }
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, says: &str) {
    let assert = cargo_bin_cmd!("upcase-server")
        .args(arguments)
        .timeout(PATIENCE)
        .assert();
    assert.code(code).stdout("").stderr(is_match(says).unwrap());
}

#[test]
fn help_teaches_and_version_tells() {
    let mut help = contains("Usage: upcase-server").boxed();
    for part in [
        "--bind",
        "0.0.0.0:8080",
        "--timeout",
        "--max-connections",
        "--quiet",
        "Examples:",
    ] {
        help = help.and(contains(part)).boxed();
    }
    cargo_bin_cmd!("upcase-server")
        .arg("--help")
        .assert()
        .success()
        .stdout(help)
        .stderr("");
    let version = format!("upcase-server {}\n", env!("CARGO_PKG_VERSION"));
    cargo_bin_cmd!("upcase-server")
        .arg("--version")
        .assert()
        .success()
        .stdout(version);
}

#[test]
fn help_into_a_full_disk_is_a_failure_without_a_panic() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("upcase-server"))
        .arg("--help")
        .stdout(Stdio::from(full))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output
            .stderr
            .starts_with(b"upcase-server: cannot write to standard output")
    );
}

/// A server in this process, which stops when it is dropped, also by a test that fails.
struct Serving {
    address: SocketAddr,
    stop: StopHandle,
    ended: mpsc::Receiver<bool>,
}

/// Serves `listener` by the library, with room for two.
fn serve_by(listener: TcpListener, service: &'static dyn Service) -> Serving {
    let two = NonZeroUsize::new(2).unwrap();
    let server = server::Server::new(listener, MAX_TIMEOUT, two).unwrap();
    let (address, stop) = (server.address(), server.stop_handle());
    let (running, ended) = mpsc::channel();
    thread::spawn(move || running.send(server.run(service).is_ok()));
    Serving {
        address,
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

/// Replies with an assertion, or with more than a reply may have.
fn panics_on_demand(request: &[u8]) -> Vec<u8> {
    assert!(request != b"panic\n", "as the request asked for");
    if request == b"too long\n" {
        return vec![b'X'; LIMIT + 1];
    }
    upcase::process(request)
}

/// SPEC: TIME-4
#[test]
fn a_panic_costs_its_exchange_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let serving = serve_by(listener, &panics_on_demand);
    for request in [&b"panic\n"[..], b"too long\n", b"panic\n"] {
        let mut peer = Peer::connect(serving.address);
        peer.send(request);
        // Closed without a reply: by FIN, or by a reset.
        let mut reply = Vec::new();
        if let Err(error) = peer.0.read_to_end(&mut reply) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(reply, b"");
        let mut peer = Peer::connect(serving.address);
        peer.send(b"hello\n");
        assert_eq!(peer.reply(), b"HELLO");
    }
}

#[test]
fn a_timeout_out_of_range_is_refused_by_the_library_too() {
    for timeout in [Duration::ZERO, Duration::from_millis(10_001)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = server::Server::new(listener, timeout, NonZeroUsize::MIN);
        let error = refused.err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
