//! The two binaries as processes, with every wait bounded.

#![allow(dead_code)] // each test file that includes this uses a part of it

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything is waited for. Nothing takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `upcase-server`, which ends with the value.
pub struct Server {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    address: Option<SocketAddr>,
}

impl Server {
    /// Starts a server on a free port of this machine, and waits until it is ready.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", options)
    }

    /// Starts a server at `bind`, and waits until it is ready.
    #[track_caller]
    pub fn start_at(bind: &str, options: &[&str]) -> Self {
        Self::spawn(bind, options, Stdio::piped()).wait_until_ready()
    }

    /// Starts a server that may have so many descriptors, and waits until it is ready.
    #[track_caller]
    pub fn start_with_descriptors(descriptors: u32, options: &[&str]) -> Self {
        let limited = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited]);
        Self::start_by(command, options)
    }

    /// Starts a server by `command`, to which the program and its arguments are added, and waits
    /// until it is ready. The command is to become the server.
    #[track_caller]
    pub fn start_by(command: Command, options: &[&str]) -> Self {
        Self::spawn_by(command, options).wait_until_ready()
    }

    /// Starts a server by `command`, and does not wait.
    pub fn spawn_by(mut command: Command, options: &[&str]) -> Self {
        command.arg(cargo_bin!("upcase-server"));
        Self::run(
            command,
            "127.0.0.1:0",
            options,
            [Stdio::piped(), Stdio::piped()],
        )
    }

    /// Starts a server by `command` that listens on `bind` and writes to `stdout`, and does not
    /// wait.
    pub fn spawn_to(mut command: Command, bind: &str, stdout: Stdio) -> Self {
        command.arg(cargo_bin!("upcase-server"));
        Self::run(command, bind, &[], [stdout, Stdio::piped()])
    }

    /// Starts a server that complains to `stderr`, and waits until it is ready.
    #[track_caller]
    pub fn start_with_errors(options: &[&str], stderr: Stdio) -> Self {
        let command = Command::new(cargo_bin!("upcase-server"));
        Self::run(command, "127.0.0.1:0", options, [Stdio::piped(), stderr]).wait_until_ready()
    }

    /// Starts a server that writes to `stdout`, and does not wait.
    pub fn spawn(bind: &str, options: &[&str], stdout: Stdio) -> Self {
        Self::run(
            Command::new(cargo_bin!("upcase-server")),
            bind,
            options,
            [stdout, Stdio::piped()],
        )
    }

    fn run(mut command: Command, bind: &str, options: &[&str], outputs: [Stdio; 2]) -> Self {
        let [stdout, stderr] = outputs;
        let mut child = command
            .args(["--bind", bind])
            .args(options)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("upcase-server starts");
        let stdout = child.stdout.take().map_or_else(|| channel().1, lines_of);
        let stderr = child.stderr.take().map_or_else(|| channel().1, lines_of);
        Self {
            child,
            stdout,
            stderr,
            address: None,
        }
    }

    #[track_caller]
    fn wait_until_ready(mut self) -> Self {
        let ready = self.line();
        let address = ready
            .strip_prefix("Servidor rodando em ")
            .and_then(|a| a.parse().ok());
        self.address = Some(address.unwrap_or_else(|| panic!("not the line of LOG-1: {ready}")));
        self
    }

    /// Starts a server whose standard output is a pipe that nobody reads after the first line.
    /// The pipe's ends are returned.
    #[track_caller]
    pub fn with_unread_output(options: &[&str]) -> (Self, PipeReader, PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let end = writer.try_clone().unwrap();
        let mut server = Self::spawn("127.0.0.1:0", options, writer.into());
        let mut first = Vec::new();
        let mut byte = [0];
        while !first.ends_with(b"\n") {
            (&reader).read_exact(&mut byte).unwrap();
            first.push(byte[0]);
        }
        let first = String::from_utf8(first).unwrap();
        let address = first
            .trim_end()
            .strip_prefix("Servidor rodando em ")
            .unwrap();
        server.address = Some(address.parse().unwrap());
        (server, reader, end)
    }

    /// The address that the server printed.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the server was waited for")
    }

    /// Where the server can be reached from this machine.
    pub fn target(&self) -> SocketAddr {
        let mut target = self.address();
        if target.ip().is_unspecified() {
            target.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        target
    }

    /// The next line of standard output.
    #[track_caller]
    pub fn line(&self) -> String {
        self.stdout
            .recv_timeout(PATIENCE)
            .expect("a line on standard output")
    }

    /// The next line of standard error.
    #[track_caller]
    pub fn error_line(&self) -> String {
        self.stderr
            .recv_timeout(PATIENCE)
            .expect("a line on standard error")
    }

    pub fn connect(&self) -> Peer {
        Peer::connect(self.target())
    }

    /// The whole reply to `request`, on a connection of its own.
    #[track_caller]
    pub fn reply_to(&self, request: &[u8]) -> Vec<u8> {
        let mut peer = self.connect();
        peer.send(request);
        peer.reply()
    }

    pub fn pid(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Waits until the server has ended by itself. Its status, and what was left unread of its
    /// standard output and standard error.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        // The pipes end with the process.
        let stderr = rest_of(&self.stderr);
        let stdout = rest_of(&self.stdout);
        (self.child.wait().unwrap(), stdout, stderr)
    }

    /// Stops the server and expects the exit code 0.
    #[track_caller]
    pub fn stop(self) -> (Vec<String>, Vec<String>) {
        self.signal(Signal::TERM);
        let (status, stdout, stderr) = self.wait();
        assert_eq!(
            status.code(),
            Some(0),
            "stdout {stdout:?}, stderr {stderr:?}"
        );
        (stdout, stderr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of `stream` as they come, from a thread of its own, so that they can be waited for.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines
            .map_while(|line| sender.send(line).ok())
            .for_each(drop);
    });
    receiver
}

#[track_caller]
fn rest_of(lines: &Receiver<String>) -> Vec<String> {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    let end = Instant::now() + PATIENCE;
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => rest.push(line),
            Err(Disconnected) => return rest,
            Err(Timeout) => panic!("the server did not end; it said {rest:?}"),
        }
    }
}

/// One end of a connection, whose every read and write is bounded.
pub struct Peer(pub TcpStream);

impl Peer {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("a connection"))
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// The next connection to `listener`.
    pub fn accept(listener: &TcpListener) -> Self {
        Self::over(listener.accept().expect("a connection").0)
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sending does not fail");
    }

    pub fn half_close(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// All that comes until the end of the stream.
    #[track_caller]
    pub fn reply(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        self.0
            .read_to_end(&mut reply)
            .expect("an orderly end of the stream");
        reply
    }

    /// Whether nothing comes within a short while. That it does not come later is for the rest
    /// of the test to show.
    pub fn is_silent(&mut self) -> bool {
        self.0
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let silent = self.0.peek(&mut [0]).is_err_and(|error| {
            matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            )
        });
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Closes the connection by a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// Waits until nobody can read what is written into `pipe`, whose reading end is dropped. Another
/// test may be starting a process, which holds all that is open here until it runs.
pub fn wait_until_closed(mut pipe: &PipeWriter) {
    while pipe.write_all(b"\n").is_ok() {}
}
