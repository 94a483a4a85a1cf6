//! `upcase-client` does what SPEC.md, its help and README.md say, with good and bad servers.

mod common {
    pub mod connection;
    pub mod nowhere;
    pub mod process;
    pub mod program;
    pub mod terminal;
    pub mod wait;
}

use std::error::Error as _;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::assert::Assert;
use assert_cmd::cargo::{cargo_bin, cargo_bin_cmd};
use common::connection::Connection;
use common::nowhere::nowhere;
use common::process::{PATIENCE, Process};
use common::program::Program;
use common::terminal::terminal;
use common::wait::wait_until;
use predicates::str::{contains, is_match};
use socket2::{SockRef, Socket};
use upcase::LIMIT;
use upcase::client::{Error, MAX_MESSAGE, Stage, check, connect, exchange, exchange_over};
use upcase::deadline::Timed;

/// Starts this project's server.
fn start_server() -> Program {
    let mut command = Command::new(cargo_bin!("upcase-server"));
    Program::start(command.args(["--bind", "127.0.0.1:0", "--quiet"]))
}

/// The client with `arguments`, which connects to `server`.
fn client<A: AsRef<OsStr>>(server: SocketAddr, arguments: &[A]) -> assert_cmd::Command {
    let mut command = cargo_bin_cmd!("upcase-client");
    command
        .args(["--connect", &server.to_string()])
        .args(arguments)
        .timeout(PATIENCE);
    command
}

/// A shell that changes the standard streams by `redirection`, and becomes the client.
fn redirected(redirection: &str, server: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")])
        .arg(cargo_bin!("upcase-client"))
        .args(["--connect", &server.to_string()])
        .args(arguments);
    command
}

/// Starts the client with this standard input.
fn start_with_input(server: SocketAddr, arguments: &[&str], input: impl Into<Stdio>) -> Process {
    let mut command = redirected("", server, arguments);
    start_client(command.stdin(input))
}

fn start_client(command: &mut Command) -> Process {
    let client = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Process(client.expect("the client starts"))
}

/// Waits until the client has ended. Returns its exit code, standard output and standard error.
#[track_caller]
fn finish(mut client: Process) -> (Option<i32>, String, String) {
    // What it writes fits into the pipes.
    wait_until("the client ends", || client.0.try_wait().unwrap().is_some());
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let out = client.0.stdout.take().expect("a pipe");
    let err = client.0.stderr.take().expect("a pipe");
    { out }.read_to_string(&mut stdout).unwrap();
    { err }.read_to_string(&mut stderr).unwrap();
    (client.0.wait().unwrap().code(), stdout, stderr)
}

/// Waits until `client` sleeps, or has ended.
#[track_caller]
fn wait_until_idle(client: &Process) {
    let stat = format!("/proc/{}/stat", client.0.id());
    wait_until("the client waits", || {
        let stat = fs::read_to_string(&stat).unwrap();
        let (_, state) = stat.rsplit_once(") ").expect("a state");
        state.starts_with(['S', 'Z'])
    });
}

/// Runs the client with a server that handles its one connection by `serve`. Also returns what
/// `serve` returns.
#[track_caller]
fn run_with<T: Send>(
    arguments: &[&str],
    serve: impl FnOnce(Connection) -> T + Send,
) -> (Assert, T) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let (stream, _) = listener.accept().expect("a connection");
            serve(Connection::over(stream))
        });
        let assert = client(address, arguments).assert();
        // If the client did not connect, this ends the server's wait.
        drop(Connection::connect(address));
        (assert, serving.join().expect("the server does not panic"))
    })
}

/// A server that reads one request, and sends `reply`. It returns the request.
fn replying(reply: &'static [u8]) -> impl FnOnce(Connection) -> Vec<u8> + Send {
    move |mut connection| {
        let request = read_request(&mut connection);
        connection.send(reply);
        request
    }
}

/// All bytes up to the first line feed, and the line feed.
fn read_request(connection: &mut Connection) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\n") {
        let mut byte = [0];
        connection.0.read_exact(&mut byte).expect("a request");
        request.extend(byte);
    }
    request
}

/// The client has failed with one line on standard error, which has a match of `pattern`.
#[track_caller]
fn fails(assert: Assert, pattern: &str) {
    let line = is_match(format!("^upcase-client: [^\n]*{pattern}[^\n]*\n$")).unwrap();
    assert.code(1).stdout("").stderr(line);
}

/// SPEC: CLIENT-1, LOG-5
#[test]
fn arguments_are_joined_by_spaces_and_end_by_a_line_feed() {
    let (assert, request) = run_with(&["Olá,", "servidor!", " x "], replying(b"REPLY"));
    assert
        .success()
        .stdout("Sent:     Olá, servidor!  x \nReceived: REPLY\n")
        .stderr("");
    assert_eq!(request, "Olá, servidor!  x \n".as_bytes());
}

#[test]
fn message_may_be_empty() {
    let (assert, request) = run_with(&[""], replying(b""));
    assert.success().stdout("Sent:     \nReceived: \n");
    assert_eq!(request, b"\n");
}

#[test]
fn stdin_is_read_without_its_last_line_feed() {
    let server = start_server();
    for arguments in [&["-"][..], &[]] {
        for (input, sent) in [("straße\n", "straße"), ("straße", "straße"), ("", "")] {
            let shown = format!("Sent:     {sent}\nReceived: {}\n", sent.to_uppercase());
            let mut client = client(server.address, arguments);
            client.write_stdin(input).assert().success().stdout(shown);
        }
    }
}

#[test]
fn words_of_dashes_are_a_message() {
    let server = start_server();
    for (words, reply) in [
        (&["-", "a"][..], "- A"),
        (&["--", "-"], "-"),
        (&["--", "--help"], "--HELP"),
        (&["--", "-hello"], "-HELLO"),
        (&["a", "--", "-b", "--", "c"], "A -B -- C"),
        (&["-", "--", "-"], "- -"),
    ] {
        let arguments = [&["--raw"], words].concat();
        let assert = client(server.address, &arguments)
            .write_stdin("stdin")
            .assert();
        assert.success().stdout(reply);
    }
}

#[test]
fn stdin_at_a_terminal_is_read_only_if_told() {
    let server = start_server();
    let (user, program) = terminal();
    let client = start_with_input(server.address, &[], program);
    let shown = "Sent:     \nReceived: \n".to_owned();
    assert_eq!(finish(client), (Some(0), shown, String::new()));
    drop(user);

    let (user, program) = terminal();
    let client = start_with_input(server.address, &["-", "--raw"], program);
    // The second byte is what Ctrl-D sends: the end of the input.
    File::from(user.try_clone().unwrap())
        .write_all(b"typed\n\x04")
        .unwrap();
    assert_eq!(finish(client), (Some(0), "TYPED".into(), String::new()));
    drop(user);
}

#[test]
fn stdin_that_does_not_end_is_given_up_at_the_deadline() {
    let (_socket, nowhere) = nowhere();
    for arguments in [&["--timeout", "0.3"][..], &["--timeout", "0.3", "-"]] {
        let (input, mut writer) = io::pipe().unwrap();
        writer.write_all(b"begun").unwrap();
        let (code, stdout, stderr) = finish(start_with_input(nowhere, arguments, input));
        assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
        let cause = "upcase-client: timed out while reading the message from standard input; ";
        assert!(stderr.starts_with(cause), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn non_blocking_stdin_is_waited_for() {
    let server = start_server();
    let (mut writer, input) = UnixStream::pair().unwrap();
    input.set_nonblocking(true).unwrap();
    let client = start_with_input(server.address, &["--raw"], OwnedFd::from(input));
    for part in ["in ", "parts", "\n"] {
        wait_until_idle(&client);
        // If the client has ended, its output says why.
        let _ = writer.write_all(part.as_bytes());
    }
    drop(writer);
    assert_eq!(finish(client), (Some(0), "IN PARTS".into(), String::new()));
}

/// A write to a socket of this kind is one message.
#[test]
fn both_lines_are_one_write() {
    let server = start_server();
    let (reader, output) = UnixDatagram::pair().unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Command::new(cargo_bin!("upcase-client"));
    client.args(["--connect", &server.address.to_string(), "hello"]);
    let status = client.stdout(OwnedFd::from(output)).status().unwrap();
    assert!(status.success(), "{status}");
    let mut buffer = [0; 1024];
    let count = reader.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"Sent:     hello\nReceived: HELLO\n");
}

#[test]
fn unreadable_stdin_fails_with_one_line() {
    let (_socket, nowhere) = nowhere();
    for redirection in ["< /", "<&-", "0>/dev/null"] {
        let (code, stdout, stderr) =
            finish(start_client(&mut redirected(redirection, nowhere, &[])));
        assert_eq!((code, &*stdout), (Some(1), ""), "{redirection}: {stderr}");
        let cause = "upcase-client: cannot read the message from standard input: ";
        assert!(stderr.starts_with(cause), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn arguments_may_be_other_than_utf_8() {
    let server = start_server();
    let assert = client(server.address, &[OsStr::from_bytes(b"a\xFFb")]).assert();
    assert
        .success()
        .stdout("Sent:     b'a\\xffb'\nReceived: b'A\\xffB'\n");
}

#[test]
fn raw_writes_only_the_bytes_of_the_reply() {
    let (assert, _) = run_with(&["--raw", "x"], replying(b" \xFF\x00\x1B\n"));
    assert.success().stdout(&b" \xFF\x00\x1B\n"[..]).stderr("");
}

/// SPEC: CLIENT-3
#[test]
fn reply_in_pieces_is_read_to_its_end() {
    let (assert, ()) = run_with(&["--raw", "x"], |mut connection| {
        read_request(&mut connection);
        for piece in ["one ", "byte ", "at a ", "time"] {
            connection.send(piece.as_bytes());
        }
    });
    assert.success().stdout("one byte at a time");
}

/// SPEC: LOG-5
#[test]
fn unprintable_reply_is_shown_as_a_literal() {
    for (reply, shown) in [
        (&b"\x1B[2J"[..], r"b'\x1b[2J'"),
        (b"OL\xC3", r"b'OL\xc3'"),
        (b"A\nB", r"b'A\x0aB'"),
        ("it's \"\\\" Á".as_bytes(), "it's \"\\\" Á"),
    ] {
        let (assert, _) = run_with(&["x"], replying(reply));
        let shown = format!("Sent:     x\nReceived: {shown}\n");
        assert.success().stdout(shown);
    }
}

/// SPEC: CLIENT-1, CLIENT-2
#[test]
fn longest_message_comes_back_whole() {
    let server = start_server();
    let assert = client(server.address, &["--raw", &"a".repeat(MAX_MESSAGE)]).assert();
    assert.success().stdout("A".repeat(MAX_MESSAGE));
    let message = "ŉ".repeat(341) + "a";
    let assert = client(server.address, &["--raw", &message]).assert();
    let reply = "ʼN".repeat(341) + "A";
    assert_eq!(reply.len(), LIMIT);
    assert.success().stdout(reply);
}

/// SPEC: CLIENT-1, CLIENT-2
#[test]
fn message_that_would_be_cut_is_refused() {
    // Nothing is sent, so no server is needed.
    let (_socket, nowhere) = nowhere();
    let long = "a".repeat(1024);
    let wide = "é".repeat(600);
    let growing = "ΐ".repeat(171);
    // The request ends before this line feed.
    let late = "a".repeat(2000) + "\n";
    for (message, pattern) in [
        (
            "a\nbc",
            "a line feed at offset 1, .* discard the 2 bytes after it",
        ),
        ("a\nb", "discard the 1 byte after it"),
        ("a\n", "ends with a line feed, at offset 1; leave it out"),
        (&late, "2001 bytes long, 978 more than the 1023"),
        (&long, "1024 bytes long, 1 more than the 1023"),
        (&wide, "1200 bytes long, 177 more than the 1023"),
        (
            &growing,
            "1026 bytes long in upper case, 2 more than the 1024",
        ),
    ] {
        fails(client(nowhere, &[message]).assert(), pattern);
    }
    let cut = OsStr::from_bytes(INCOMPLETE_END);
    let pattern = "1024 bytes long in upper case .* incomplete character.* lack the last 1 byte;";
    fails(client(nowhere, &[cut]).assert(), pattern);
    let long = "a".repeat(5000);
    let longest = "a".repeat(1 << 20);
    let endless = "a".repeat(3_000_000);
    let lines = "line\n".repeat(600_000);
    let endless_pattern = "at least 1048577 bytes, and a request has room for 1023";
    for (input, pattern) in [
        (&*long, "5000 bytes long, 3977 more than the 1023"),
        (&longest, "1048576 bytes long, 1047553 more than the 1023"),
        (&endless, endless_pattern),
        (&lines, endless_pattern),
        (
            "two\nlines\n",
            "a line feed at offset 3, .* discard the 5 bytes after it",
        ),
    ] {
        let mut client = client(nowhere, &["-"]);
        fails(client.write_stdin(input).assert(), pattern);
    }
}

/// A message with room for it in a request, whose upper case has 1024 bytes and ends with the first
/// byte of a character.
const INCOMPLETE_END: &[u8] = &{
    let mut message = [b'0'; MAX_MESSAGE];
    (message[0], message[1]) = (0xC5, 0x89); // U+0149, which grows by a byte
    message[MAX_MESSAGE - 1] = 0xC3;
    message
};

/// SPEC: CLIENT-2
#[test]
fn incomplete_end_is_refused_with_what_is_lost() {
    let lost = |message: &[u8]| match check(message) {
        Ok(()) => 0,
        Err(Error::IncompleteEnd(lost)) => lost,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(lost(INCOMPLETE_END), 1);
    assert_eq!(lost(&INCOMPLETE_END[..MAX_MESSAGE - 1]), 0);
    // Without the byte that it grows by, nothing is cut.
    assert_eq!(lost(&INCOMPLETE_END[2..]), 0);
    // White space before the incomplete character is lost with it.
    let mut message = INCOMPLETE_END.to_vec();
    message[MAX_MESSAGE - 4..].copy_from_slice(b"  \xF0\x90");
    assert_eq!(lost(&message), 4);
    // The limits count the bytes after trimming, except that all are sent.
    message[MAX_MESSAGE - 4..].copy_from_slice(b"\xF0\x90  ");
    assert_eq!(lost(&message), 0);
}

#[test]
fn fails_if_nothing_listens() {
    let (_socket, nowhere) = nowhere();
    let pattern = format!("cannot connect to {nowhere}: .* refused .*--connect HOST:PORT");
    fails(client(nowhere, &["x"]).assert(), &pattern);
}

#[test]
fn error_names_each_address_that_was_tried() {
    let ((_first, first), (_second, second)) = (nowhere(), nowhere());
    let error = exchange(&*vec![first, second].leak(), b"x", PATIENCE).unwrap_err();
    let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
    let all = format!("cannot connect to {first}: {refused}, or to {second}: {refused}");
    assert_eq!(error.to_string(), all);
}

#[test]
fn unanswered_connection_attempt_suggests_a_firewall() {
    let full = FullListener::new();
    let assert = client(full.address, &["--timeout", "0.3", "x"]).assert();
    let pattern = format!(
        "cannot connect to {}: .*timed out; .*firewall",
        full.address
    );
    fails(assert, &pattern);
}

#[test]
fn fails_if_a_name_has_no_address() {
    let mut command = cargo_bin_cmd!("upcase-client");
    let command = command.args(["--connect", "no-such-host.invalid:8080", "x"]);
    // A resolver without a network may take its time.
    let pattern = "no-such-host.invalid: (cannot find the server's address: .*HOST:PORT|timed out)";
    fails(command.timeout(PATIENCE).assert(), pattern);
}

/// SPEC: CLIENT-1, CLIENT-9
#[test]
fn nothing_is_sent_after_the_line_feed() {
    let (assert, ()) = run_with(&["x"], |mut connection| {
        assert_eq!(read_request(&mut connection), b"x\n");
        connection.send(b"X");
        connection.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(connection.reply(), b"", "the client closes");
    });
    assert.success();
}

/// SPEC: CLIENT-10
#[test]
fn check_fails_if_the_reply_is_not_the_upper_case() {
    let (assert, _) = run_with(&["--check", " straße"], replying(b"STRASSE"));
    assert
        .success()
        .stdout("Sent:      straße\nReceived: STRASSE\n");
    for (reply, shown) in [
        ("STRAßE".as_bytes(), "b'STRAßE'"),
        (b"SSH-2.0-OpenSSH\r\n", r"b'SSH-2.0-OpenSSH\x0d\x0a'"),
        (b"STRASSE\n", r"b'STRASSE\x0a'"),
    ] {
        let line = format!(
            "the reply is {shown}, but the message in upper case is b'STRASSE'; check that this is \
             an UPCASE server\n"
        );
        // The reply is passed on all the same.
        let (assert, _) = run_with(&["--check", "straße"], replying(reply));
        let assert = assert.code(1).stderr(contains(&line));
        assert.stdout(contains("Sent:     straße\nReceived: "));
        let (assert, _) = run_with(&["--check", "--raw", "straße"], replying(reply));
        assert.code(1).stderr(contains(&line)).stdout(reply);
    }
    // Without the option, any reply is passed on.
    let (assert, _) = run_with(&["--raw", "straße"], replying(b"SSH-2.0-OpenSSH\r\n"));
    assert.success().stdout("SSH-2.0-OpenSSH\r\n");
}

/// SPEC: CLIENT-5, CLIENT-8
#[test]
fn silent_server_is_given_up_at_the_deadline() {
    let (assert, ()) = run_with(&["--timeout", "1", "x"], |mut connection| {
        read_request(&mut connection);
        assert_eq!(connection.reply(), b"", "the client closes");
    });
    let pattern = r"127\.0\.0\.1:\d+: timed out while waiting for the reply.*--timeout SECONDS";
    fails(assert, pattern);
}

/// SPEC: CLIENT-8
#[test]
fn slow_server_does_not_extend_the_deadline() {
    let (assert, ()) = run_with(&["--timeout", "0.5", "x"], |mut connection| {
        read_request(&mut connection);
        let pace = Duration::from_millis(20);
        connection.0.set_read_timeout(Some(pace)).unwrap();
        let end = Instant::now() + PATIENCE;
        // Byte by byte, and far fewer than are too many for a reply.
        while connection.0.write(b".").is_ok() {
            let _ = connection.0.read(&mut [0]);
            assert!(Instant::now() < end, "the client still waits");
        }
    });
    fails(assert, "timed out while waiting for the reply");
}

/// SPEC: CLIENT-5
#[test]
fn reset_is_an_error_even_after_a_part_of_the_reply() {
    let (assert, ()) = run_with(&["x"], |mut connection| {
        connection.0.peek(&mut [0]).expect("a request");
        connection.send(b"PART");
        // The request is not read, so the close is a reset.
    });
    let pattern = r"127\.0\.0\.1:\d+: the connection failed after [04] bytes .*try again";
    fails(assert, pattern);
}

/// SPEC: CLIENT-4
#[test]
fn too_long_reply_is_an_error() {
    let (assert, _) = run_with(&["--raw", "x"], replying(&[b'X'; LIMIT]));
    assert.success().stdout("X".repeat(LIMIT));
    let (assert, ()) = run_with(&["--raw", "x"], |mut connection| {
        read_request(&mut connection);
        // It ends when the client has closed.
        while connection.0.write(&[b'X'; LIMIT + 1]).is_ok() {}
    });
    fails(assert, r"127\.0\.0\.1:\d+: .*longer than the 1024 bytes");
}

/// SPEC: CLIENT-6
#[test]
fn close_without_a_reply_is_an_error_unless_it_is_expected() {
    let (assert, _) = run_with(&["x"], replying(b""));
    let pattern = r"127\.0\.0\.1:\d+: .*closed the connection without a reply.*too late";
    fails(assert, pattern);
    let (assert, _) = run_with(&[" \t "], replying(b""));
    assert.success();
}

/// The result of an exchange with a server that handles the connection by `serve` before the client
/// writes, and then resets it.
fn exchange_after_reset(serve: impl FnOnce(&mut Connection)) -> Result<Vec<u8>, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut connection = Connection::over(listener.accept().unwrap().0);
    serve(&mut connection);
    // Without a linger time, closing is a reset.
    SockRef::from(&connection.0)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(connection);
    // Unlike a read or a write, this does not take the error away.
    wait_until("the reset has arrived", || stream.peer_addr().is_err());
    exchange_over(&mut Timed::new(&stream, Instant::now() + PATIENCE), b"x")
}

/// SPEC: CLIENT-5, CLIENT-7
#[test]
fn end_of_the_stream_after_a_failed_write_proves_nothing() {
    let error = exchange_after_reset(|connection| connection.send(b"HEL")).unwrap_err();
    let is_reset = |error: &io::Error| error.kind() == ErrorKind::ConnectionReset;
    let is_right = matches!(&error, Error::Broken(3, error) if is_reset(error));
    assert!(is_right, "{error}");
    let error = exchange_after_reset(|_| {}).unwrap_err();
    let is_right = matches!(&error, Error::Broken(0, error) if is_reset(error));
    assert!(is_right, "{error}");
    // Also if the end was orderly: a server cannot end its reply before the request is complete.
    let error = exchange_after_reset(|connection| {
        connection.send(b"HEL");
        connection.0.shutdown(Shutdown::Write).unwrap();
    });
    assert!(matches!(error.unwrap_err(), Error::Broken(3, _)));
}

/// A listener with a full queue, so that no other client can connect.
struct FullListener {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl FullListener {
    fn new() -> Self {
        let (listener, address) = nowhere();
        listener.listen(0).unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        Self {
            address,
            _queued: iter::from_fn(connect).collect(),
            _listener: listener,
        }
    }
}

/// SPEC: CLIENT-8
#[test]
fn addresses_of_a_server_share_the_time() {
    let (first, second) = (FullListener::new(), FullListener::new());
    let full = [first.address, second.address];
    let server = start_server();
    let all = [first.address, second.address, server.address];
    let timeout = Duration::from_secs(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let reply = exchange(&*all.to_vec().leak(), b"hello", 4 * timeout);
            assert_eq!(reply.unwrap(), b"HELLO");
        });
        let start = Instant::now();
        let error = exchange(&*full.to_vec().leak(), b"hello", timeout).unwrap_err();
        let Error::Connect(failed) = error else {
            panic!("{error}");
        };
        let timed_out = failed
            .iter()
            .filter(|(_, e)| e.kind() == ErrorKind::TimedOut);
        let timed_out: Vec<SocketAddr> = timed_out.map(|(address, _)| *address).collect();
        assert_eq!(timed_out, full);
        assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
    });
}

#[test]
fn error_has_the_error_of_the_system_as_its_source() {
    let (_socket, nowhere) = nowhere();
    let error = exchange(nowhere, b"hello", PATIENCE).unwrap_err();
    let source = error.source().expect("the system's");
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    assert!(Error::NoReply.source().is_none());
}

#[test]
fn server_of_the_original_answers() {
    // It reads once, strips, upper-cases ASCII, writes and closes.
    let (assert, ()) = run_with(&["Olá, servidor!"], |mut connection| {
        let mut buffer = [0; 1024];
        let count = connection.0.read(&mut buffer).unwrap();
        connection.send(&buffer[..count].trim_ascii().to_ascii_uppercase());
    });
    assert
        .success()
        .stdout("Sent:     Olá, servidor!\nReceived: OLá, SERVIDOR!\n");
}

#[test]
fn wrong_usage_fails_with_one_line() {
    let address = "not HOST:PORT, such as localhost:8080 or";
    let seconds = "not a number of seconds, more than 0 and at most 3600";
    let option = "unexpected argument '--rwa' found; .*'-- --rwa'";
    let dash =
        |word: &str| format!("'{word}' is not an option; to send it as text, write -- before");
    let pairs = |pattern: &str, option, values: &[&'static str]| {
        let pair = |value: &&'static str| (vec![option, *value], pattern.to_owned());
        values.iter().map(pair).collect::<Vec<_>>()
    };
    let addresses = [
        "",
        ":",
        "localhost",
        ":80",
        "[]:80",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:-1",
        "localhost:http",
        "localhost:80:80",
        "http://localhost:80",
        "::1:80",
        "::1",
        "[::1]",
        "[localhost]:80",
        "[::1:80",
        "::1]:80",
        "[127.0.0.1]:80",
    ];
    let times = [
        "0", "-0", "-1", "-10", "3601", "1e9", "inf", "nan", "1e-10", "", "1s", "0x1",
    ];
    let words = [
        "-hello", "-Vienna", "-xyz", "-10", "-hV", "-é!", "-connect", "-h=1",
    ];
    for (arguments, pattern) in [
        pairs(address, "--connect", &addresses),
        pairs(seconds, "--timeout", &times),
        vec![(vec!["--rwa"], option.to_owned())],
        words.map(|word| (vec![word], dash(word))).to_vec(),
        words
            .map(|word| (vec!["a", word, "--", "-b"], dash(word)))
            .to_vec(),
    ]
    .concat()
    {
        let line = format!("^upcase-client: [^\n]*{pattern}[^\n]*; see --help\n$");
        cargo_bin_cmd!("upcase-client")
            .args(&arguments)
            .timeout(PATIENCE)
            .assert()
            .code(2)
            .stdout("")
            .stderr(is_match(line).unwrap());
    }
    let assert = cargo_bin_cmd!("upcase-server").arg("-quiet").assert();
    let line = "upcase-server: '-quiet' is not an option; see --help\n";
    assert.code(2).stdout("").stderr(line);
}

#[test]
fn errors_of_the_library_name_no_flag() {
    let error = || io::Error::from(ErrorKind::Other);
    for error in [
        Error::LineFeed { at: 1, lost: 2 },
        Error::MessageTooLong(LIMIT),
        Error::UpperCaseTooLong(LIMIT + 1),
        Error::Resolve(error()),
        Error::IncompleteEnd(1),
        Error::Connect(vec![(([127, 0, 0, 1], 1).into(), error())]),
        Error::TimedOut(Stage::Resolving),
        Error::TimedOut(Stage::Connecting),
        Error::TimedOut(Stage::Reading),
        Error::Broken(1, error()),
        Error::ReplyTooLong,
        Error::NoReply,
    ] {
        let text = error.to_string();
        assert!(!text.contains("--") && text.lines().count() == 1, "{text}");
    }
}

/// SPEC: CLIENT-8
#[test]
fn any_long_timeout_of_the_library_works() {
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 2), PATIENCE] {
        // The first attempt fails; the reply comes late and in parts.
        let (_socket, nowhere) = nowhere();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let all = vec![nowhere, listener.local_addr().unwrap()].leak();
        let client = thread::spawn(move || exchange(&*all, b"hello", timeout));
        let mut connection = Connection::over(listener.accept().unwrap().0);
        read_request(&mut connection);
        connection.send(b"HEL");
        connection.send(b"LO");
        drop(connection);
        assert_eq!(client.join().unwrap().unwrap(), b"HELLO", "{timeout:?}");
    }
}

#[test]
fn help_and_version_are_printed() {
    let help = cargo_bin_cmd!("upcase-client").arg("--help").assert();
    let mut help = help.success().stderr("");
    for part in [
        "Usage: upcase-client",
        "--connect",
        "localhost:8080",
        "--timeout",
        "--raw",
        "--check",
        "MESSAGE",
        "Examples:",
        &format!("at most {MAX_MESSAGE} bytes"),
        &format!("at most {LIMIT} bytes"),
    ] {
        help = help.stdout(contains(part));
    }
    let version = format!("upcase-client {}\n", env!("CARGO_PKG_VERSION"));
    let assert = cargo_bin_cmd!("upcase-client").arg("--version").assert();
    assert.success().stdout(version);
}

#[test]
fn help_into_a_closed_pipe_ends_quietly() {
    for (program, option) in [("upcase-client", "--help"), ("upcase-server", "--version")] {
        let (reader, mut closed) = io::pipe().unwrap();
        drop(reader);
        // A process that another test has just forked may hold a copy of the reading end.
        wait_until("the pipe is closed", || closed.write_all(b"\n").is_err());
        let mut command = Command::new(cargo_bin(program));
        let output = command.arg(option).stdout(closed).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[test]
fn unwritable_stdout_fails_with_one_line() {
    let server = start_server();
    let cause = "cannot write the reply to standard output: ";
    let (reader, mut closed) = io::pipe().unwrap();
    drop(reader);
    // A process that another test has just forked may hold a copy of the reading end.
    wait_until("the pipe is closed", || closed.write_all(b"\n").is_err());
    for (redirection, arguments, cause) in [
        ("", &["x"][..], cause),
        ("> /dev/full", &["x"], cause),
        (">&-", &["x"], cause),
        (">&-", &["--raw", "x"], cause),
        // Not open for writing.
        ("1< /dev/null", &["x"], cause),
        (
            "1< /dev/null",
            &["--help"],
            "cannot write to standard output",
        ),
        (
            "> /dev/full",
            &["--help"],
            "cannot write to standard output: ",
        ),
        (">&-", &["--version"], "cannot write to standard output: "),
    ] {
        let mut command = redirected(redirection, server.address, arguments);
        let output = command
            .stdout(closed.try_clone().unwrap())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{redirection}: {stderr}");
        let cause = format!("upcase-client: {cause}");
        assert!(stderr.starts_with(&cause), "{redirection}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn discarded_output_is_no_error() {
    let server = start_server();
    for redirection in [
        "> /dev/null",
        "1<> /dev/null", // open for reading too, as many programs give it to their children
        "2>&-",
        "> /dev/null 2>&- <&-",
    ] {
        let mut command = redirected(redirection, server.address, &["x"]);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*stderr),
            (Some(0), ""),
            "{redirection}"
        );
    }
    let (_socket, nowhere) = nowhere();
    let output = redirected("2>&-", nowhere, &["x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// SPEC: CLIENT-8
#[test]
fn no_time_left_to_connect_blames_no_server() {
    let server = start_server();
    let connected = connect(server.address, Instant::now());
    let error = connected.expect_err("no time is left");
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
}
