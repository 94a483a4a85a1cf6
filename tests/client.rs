//! `upcase-client` does what SPEC.md, its help and README.md say, to servers good and bad.

mod programs;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::assert::Assert;
use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, is_match};
use programs::{PATIENCE, Peer, Server, wait_until_closed};
use socket2::{Domain, Socket, Type};
use upcase::LIMIT;
use upcase::client::{Error, MAX_MESSAGE, exchange, exchange_over};

/// Runs the client against `server` with `arguments`.
fn client<A: AsRef<OsStr>>(server: SocketAddr, arguments: &[A]) -> assert_cmd::Command {
    let mut command = cargo_bin_cmd!("upcase-client");
    command
        .args(["--connect", &server.to_string()])
        .args(arguments)
        .timeout(PATIENCE);
    command
}

/// Runs the client against a server that handles its one connection by `serve`; also returns
/// what that returns.
#[track_caller]
fn against<T: Send>(arguments: &[&str], serve: impl FnOnce(Peer) -> T + Send) -> (Assert, T) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(Peer::accept(&listener)));
        let assert = client(address, arguments).assert();
        // A client that never came shall not keep the server waiting.
        let _ = TcpStream::connect(address);
        (assert, serving.join().expect("the server of the test"))
    })
}

/// A server that reads one request, and answers it with `reply` whatever it was.
fn replying(reply: &'static [u8]) -> impl FnOnce(Peer) -> Vec<u8> + Send {
    move |mut peer| {
        let request = request(&mut peer);
        peer.send(reply);
        request
    }
}

/// All that comes up to and with the first LF.
fn request(peer: &mut Peer) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\n") {
        let mut byte = [0];
        peer.0.read_exact(&mut byte).expect("a request");
        request.push(byte[0]);
    }
    request
}

fn fails(assert: Assert, says: &str) {
    let says = is_match(format!("^upcase-client: [^\n]*{says}[^\n]*\n$")).unwrap();
    assert.code(1).stdout("").stderr(says);
}

/// SPEC: CLIENT-1, LOG-5
#[test]
fn arguments_are_joined_by_single_spaces_and_one_line_feed_is_added() {
    let (assert, request) = against(&["Olá,", "servidor!", " x "], replying(b"REPLY"));
    assert
        .success()
        .stdout("Sent:     Olá, servidor!  x \nReceived: REPLY\n")
        .stderr("");
    assert_eq!(request, "Olá, servidor!  x \n".as_bytes());
}

#[test]
fn without_arguments_the_message_is_empty() {
    let (assert, request) = against(&[], replying(b""));
    assert.success().stdout("Sent:     \nReceived: \n");
    assert_eq!(request, b"\n");
}

#[test]
fn a_dash_reads_standard_input_less_one_line_feed_at_its_end() {
    let server = Server::start(&["--quiet"]);
    for (input, sent) in [("straße\n", "straße"), ("straße", "straße"), ("", "")] {
        let shown = format!("Sent:     {sent}\nReceived: {}\n", sent.to_uppercase());
        client(server.address(), &["-"])
            .write_stdin(input)
            .assert()
            .success()
            .stdout(shown);
    }
    // A dash among other words is a word.
    client(server.address(), &["-", "a"])
        .assert()
        .success()
        .stdout(contains("Received: - A\n"));
}

#[test]
fn what_looks_like_an_option_is_sent_after_two_dashes() {
    let server = Server::start(&["--quiet"]);
    let assert = client(server.address(), &["--raw", "--", "--help"]).assert();
    assert.success().stdout("--HELP");
}

#[test]
fn arguments_that_are_not_utf_8_are_sent_as_they_are() {
    let server = Server::start(&["--quiet"]);
    let assert = client(server.address(), &[OsStr::from_bytes(b"a\xFFb")]).assert();
    assert
        .success()
        .stdout("Sent:     b'a\\xffb'\nReceived: b'A\\xffB'\n");
}

#[test]
fn raw_writes_the_bytes_of_the_reply_and_nothing_else() {
    let (assert, _) = against(&["--raw", "x"], replying(b" \xFF\x00\x1B\n"));
    assert.success().stdout(&b" \xFF\x00\x1B\n"[..]).stderr("");
}

/// SPEC: CLIENT-3
#[test]
fn a_reply_in_pieces_is_read_to_its_end() {
    let (assert, ()) = against(&["--raw", "x"], |mut peer| {
        request(&mut peer);
        for piece in ["one ", "byte ", "at a ", "time"] {
            peer.send(piece.as_bytes());
        }
    });
    assert.success().stdout("one byte at a time");
}

/// SPEC: LOG-5
#[test]
fn a_reply_that_is_not_printable_text_is_shown_as_a_literal() {
    for (reply, shown) in [
        (&b"\x1B[2J"[..], r"b'\x1b[2J'"),
        (b"OL\xC3", r"b'OL\xc3'"),
        (b"A\nB", r"b'A\x0aB'"),
        ("it's \"\\\" Á".as_bytes(), "it's \"\\\" Á"),
    ] {
        let (assert, _) = against(&["x"], replying(reply));
        assert
            .success()
            .stdout(format!("Sent:     x\nReceived: {shown}\n"));
    }
}

/// SPEC: CLIENT-1, CLIENT-2
#[test]
fn the_longest_message_comes_back_whole() {
    let server = Server::start(&["--quiet"]);
    let assert = client(server.address(), &["--raw", &"a".repeat(MAX_MESSAGE)]).assert();
    assert.success().stdout("A".repeat(MAX_MESSAGE));
    let growing = "ŉ".repeat(341) + "a";
    let assert = client(server.address(), &["--raw", &growing]).assert();
    let grown = "ʼN".repeat(341) + "A";
    assert_eq!(grown.len(), LIMIT);
    assert.success().stdout(grown);
}

/// SPEC: CLIENT-1, CLIENT-2
#[test]
fn a_message_that_would_be_cut_is_refused_with_by_how_much() {
    // Nobody listens there: nothing is sent.
    let nowhere = free_address();
    let refused = |message: &str| client(nowhere, &[message]).assert();
    fails(
        refused("a\nbc"),
        "a line feed at offset 1, .* lose the 2 bytes after it",
    );
    fails(
        refused(&"a".repeat(1024)),
        "1024 bytes long, 1 more than the 1023",
    );
    fails(
        refused(&"é".repeat(600)),
        "1200 bytes long, 177 more than the 1023",
    );
    fails(
        refused(&"ΐ".repeat(171)),
        "1026 bytes long in upper case, 2 more than the 1024",
    );
    let assert = client(nowhere, &["-"])
        .write_stdin("a".repeat(5000))
        .assert();
    fails(assert, "5000 bytes long, 3977 more than the 1023");
    let assert = client(nowhere, &["-"]).write_stdin("two\nlines\n").assert();
    fails(
        assert,
        "a line feed at offset 3, .* lose the 5 bytes after it",
    );
}

/// An address where nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn nothing_listening_is_one_line_that_says_how_to_mend_it() {
    let nowhere = free_address();
    let says = format!("cannot connect to {nowhere}: .* refused .*--connect HOST:PORT");
    fails(client(nowhere, &["x"]).assert(), &says);
}

#[test]
fn a_name_without_an_address_is_one_line_that_says_how_to_mend_it() {
    let mut command = cargo_bin_cmd!("upcase-client");
    command
        .args(["--connect", "no-such-host.invalid:8080", "x"])
        .timeout(PATIENCE);
    fails(
        command.assert(),
        "cannot find the server's address: .*HOST:PORT|time was up",
    );
}

/// SPEC: CLIENT-5, CLIENT-8
#[test]
fn a_silent_server_is_given_up_at_the_deadline() {
    let (assert, ()) = against(&["--timeout", "0.3", "x"], |mut peer| {
        request(&mut peer);
        assert_eq!(peer.reply(), b"", "the client goes");
    });
    fails(
        assert,
        "the time was up while waiting for the reply.*--timeout SECONDS",
    );
}

/// SPEC: CLIENT-8
#[test]
fn a_dripping_server_does_not_put_off_the_deadline() {
    let (assert, ()) = against(&["--timeout", "0.5", "x"], |mut peer| {
        request(&mut peer);
        peer.0
            .set_read_timeout(Some(std::time::Duration::from_millis(20)))
            .unwrap();
        for _ in 0..1000 {
            if peer.0.write(b".").is_err() {
                return;
            }
            let _ = peer.0.read(&mut [0]);
        }
        panic!("the client waits for ever");
    });
    fails(assert, "the time was up while waiting for the reply");
}

/// SPEC: CLIENT-5
#[test]
fn a_reset_is_an_error_even_after_a_part_of_the_reply() {
    let (assert, ()) = against(&["x"], |mut peer| {
        request(&mut peer);
        peer.send(b"PART");
        peer.reset();
    });
    fails(assert, "the connection broke after [04] bytes of a reply");
}

/// SPEC: CLIENT-4
#[test]
fn an_over_long_reply_is_an_error() {
    let (assert, _) = against(&["--raw", "x"], replying(&[b'X'; LIMIT]));
    assert.success().stdout("X".repeat(LIMIT));
    let (assert, ()) = against(&["--raw", "x"], |mut peer| {
        request(&mut peer);
        // For ever, if the client lets it.
        while peer.0.write(&[b'X'; LIMIT + 1]).is_ok() {}
    });
    fails(assert, "longer than the 1024 bytes");
}

/// SPEC: CLIENT-6
#[test]
fn a_close_without_a_reply_is_an_error_unless_the_reply_is_empty() {
    let (assert, _) = against(&["x"], replying(b""));
    fails(assert, "closed the connection without a reply");
    let (assert, _) = against(&[" \t "], replying(b""));
    assert.success();
}

/// A stream that fails to write, with something to read.
struct Unwritable(&'static [u8]);

impl Read for Unwritable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Unwritable {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SPEC: CLIENT-7
#[test]
fn a_reply_that_came_before_writing_failed_is_read() {
    assert_eq!(
        exchange_over(&mut Unwritable(b"REPLY"), b"x").unwrap(),
        b"REPLY"
    );
    let error = exchange_over(&mut Unwritable(b""), b"x").unwrap_err();
    assert!(matches!(error, Error::Broken(0, _)), "{error}");
}

/// A listener to which nobody can connect any more, for those in its queue are not accepted; and
/// they.
fn full() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let queued = std::iter::from_fn(connect).collect();
    (listener, queued, address)
}

/// SPEC: CLIENT-8
#[test]
fn each_address_has_its_share_of_the_time_and_together_they_have_all_of_it() {
    let (one, other) = (full(), full());
    let server = Server::start(&["--quiet"]);
    let timeout = Duration::from_secs(1);
    let addresses = vec![one.2, other.2, server.address()].leak();
    let reply = exchange(&*addresses, b"hello", 4 * timeout);
    assert_eq!(reply.unwrap(), b"HELLO");
    let start = Instant::now();
    let error = exchange(&addresses[..2], b"hello", timeout).unwrap_err();
    assert!(matches!(error, Error::TimedOut("connecting")), "{error}");
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
}

#[test]
fn an_error_has_the_systems_own_as_its_source_if_there_is_one() {
    let nowhere = exchange(free_address(), b"hello", PATIENCE).unwrap_err();
    let source = std::error::Error::source(&nowhere).expect("the system's");
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    assert!(std::error::Error::source(&Error::NoReply).is_none());
}

/// SPEC: CLIENT-8
#[test]
fn every_address_of_a_name_is_tried() {
    // Of `localhost`, 127.0.0.1 alone listens; and again, where there is IPv6, ::1 alone.
    for ip in ["127.0.0.1", "[::1]"] {
        let Ok(listener) = TcpListener::bind(format!("{ip}:0")) else {
            eprintln!("this machine has no {ip}: that half was not tested");
            continue;
        };
        let resolved = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 0)).unwrap();
        let own = listener.local_addr().unwrap();
        if !resolved.into_iter().any(|address| address.ip() == own.ip()) {
            eprintln!("localhost is not {ip} on this machine: that half was not tested");
            continue;
        }
        thread::scope(|scope| {
            let serving = scope.spawn(|| replying(b"REPLY")(Peer::accept(&listener)));
            let mut command = cargo_bin_cmd!("upcase-client");
            command.args([
                "--connect",
                &format!("localhost:{}", own.port()),
                "--raw",
                "x",
            ]);
            let assert = command.timeout(PATIENCE).assert();
            let _ = TcpStream::connect(own); // as above
            assert_eq!(serving.join().unwrap(), b"x\n");
            assert.success().stdout("REPLY");
        });
    }
}

#[test]
fn the_originals_server_answers_this_client() {
    // It reads once, strips, upper-cases ASCII, writes and closes.
    let (assert, ()) = against(&["Olá, servidor!"], |mut peer| {
        let mut buffer = [0; 1024];
        let count = peer.0.read(&mut buffer).unwrap();
        peer.send(&buffer[..count].trim_ascii().to_ascii_uppercase());
    });
    assert
        .success()
        .stdout("Sent:     Olá, servidor!\nReceived: OLá, SERVIDOR!\n");
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    for (arguments, says) in [
        (
            &["--connect", "localhost"][..],
            "not HOST:PORT, as localhost:8080 or",
        ),
        (&["--connect", ":80"], "not HOST:PORT, as localhost:8080 or"),
        (
            &["--connect", "localhost:0"],
            "not HOST:PORT, as localhost:8080 or",
        ),
        (
            &["--connect", "localhost:http"],
            "not HOST:PORT, as localhost:8080 or",
        ),
        (
            &["--timeout", "0", "x"],
            "not a number of seconds, more than 0",
        ),
        (
            &["--timeout", "-1", "x"],
            "not a number of seconds, more than 0",
        ),
        (
            &["--rwa"],
            "unexpected argument '--rwa' found; .*'-- --rwa'",
        ),
    ] {
        let says = format!("^upcase-client: [^\n]*{says}[^\n]*; see --help\n$");
        let assert = cargo_bin_cmd!("upcase-client")
            .args(arguments)
            .timeout(PATIENCE)
            .assert();
        assert.code(2).stdout("").stderr(is_match(says).unwrap());
    }
}

#[test]
fn help_teaches_and_version_tells() {
    let mut help = contains("Usage: upcase-client").boxed();
    for part in [
        "--connect",
        "localhost:8080",
        "--timeout",
        "--raw",
        "MESSAGE",
        "Examples:",
    ] {
        help = help.and(contains(part)).boxed();
    }
    cargo_bin_cmd!("upcase-client")
        .arg("--help")
        .assert()
        .success()
        .stdout(help)
        .stderr("");
    let version = format!("upcase-client {}\n", env!("CARGO_PKG_VERSION"));
    cargo_bin_cmd!("upcase-client")
        .arg("--version")
        .assert()
        .success()
        .stdout(version);
}

#[test]
fn a_standard_output_that_is_full_or_closed_is_an_error_without_a_panic() {
    let server = Server::start(&["--quiet"]);
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        wait_until_closed(&writer);
        Stdio::from(writer)
    };
    for stdout in [full(), closed()] {
        let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("upcase-client"))
            .args(["--connect", &server.address().to_string(), "x"])
            .stdout(stdout)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let says = "upcase-client: cannot write the reply to standard output: ";
        assert!(
            stderr.starts_with(says) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}
