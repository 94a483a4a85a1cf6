//! `upcase-server`: arguments, a listener, signals; the rest is the library's.

mod cli;

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use clap::Parser;
use listenfd::ListenFd;
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use socket2::{Domain, SockRef, Socket, Type};
use upcase::log::{self, Log};
use upcase::server::{BACKLOG, MAX_TIMEOUT, Server, Service};
use upcase::{BUFFER, process_into};

/// How long the log may take to write what is left when everything else has ended.
const LOG_PATIENCE: Duration = Duration::from_millis(500);

/// How long after the deadline of the last connection the program ends at the latest: longer than
/// the log may take, and less than a second.
const STOP_PATIENCE: Duration = Duration::from_millis(900);

/// The most connections that can be held at once. Each takes four of a process's memory maps, of
/// which Linux allows 65530, and a thread that cannot have its own ends the program.
const MAX_CONNECTIONS: usize = 10_000;

/// How many descriptors are for other things than connections: the standard streams, the
/// listener, the signals, the log, the connection that stops the server; and some that the program
/// was started with.
const RESERVED_DESCRIPTORS: usize = 16;

/// Serve the UPCASE protocol: each client sends a short text and gets it back in upper case.
///
/// A request ends at its first line feed, at the end of the stream, or at 1024 bytes. It is
/// trimmed, upper-cased as Unicode 17 has it, and sent back, 1024 bytes at most.
#[derive(Parser)]
#[command(
    name = env!("CARGO_BIN_NAME"),
    version,
    after_help = "\
Examples:
  upcase-server                              serve on port 8080 of every IPv4 address
  upcase-server --bind '[::]:8080'           IPv6 and IPv4
  upcase-server --bind 127.0.0.1:0 --quiet   a free port, for this machine only

Started with a listening socket, as systemd's socket activation does, it serves that one and
--bind is ignored.

Standard output has the address, then two lines for each request. SIGINT and SIGTERM stop the
server after the exchanges under way; a second one stops it at once.

Exit codes: 0 stopped by a signal, 1 failure, 2 wrong usage."
)]
struct Arguments {
    /// The IP address and port to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080", value_parser = address)]
    bind: SocketAddr,

    /// How long a connection may last, from its acceptance to its end; at most 10
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "5", value_parser = timeout)]
    timeout: Duration,

    /// How many connections to hold at once, at most 10000; more wait in the kernel's queue
    #[arg(long, value_name = "N", default_value = "10000", value_parser = count)]
    max_connections: NonZeroUsize,

    /// Print no requests, only the address
    #[arg(long)]
    quiet: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "not IP:PORT, as 127.0.0.1:8080 or [::1]:8080".into())
}

fn timeout(text: &str) -> Result<Duration, String> {
    cli::seconds(text, MAX_TIMEOUT)
}

fn count(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse().ok();
    count
        .filter(|count: &NonZeroUsize| count.get() <= MAX_CONNECTIONS)
        .ok_or_else(|| format!("not a whole number from 1 to {MAX_CONNECTIONS}"))
}

/// The transformation, with a transcript.
struct Console {
    log: Log,
    quiet: bool,
}

impl Service for Console {
    fn answer<'r>(&self, peer: IpAddr, request: &[u8], room: &'r mut [u8; BUFFER]) -> &'r [u8] {
        if !self.quiet {
            self.log.request(peer, request);
        }
        process_into(request, room)
    }

    fn hampered(&self, error: &io::Error) {
        self.log
            .complain(format!("serving is hampered, and goes on: {error}"));
    }
}

fn main() -> ExitCode {
    cli::run(serve)
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let listener = match handed_over()? {
        Some(listener) => listener,
        None => listen(arguments.bind).map_err(|error| {
            format!(
                "cannot listen on {}: {error}; choose an address of this machine and a port that \
                 is free and not reserved, with --bind IP:PORT (port 0 picks one)",
                arguments.bind
            )
        })?,
    };
    let max_connections = within_descriptors(arguments.max_connections);
    let server = Server::new(listener, arguments.timeout, max_connections);
    let server = Arc::new(server.map_err(|error| format!("cannot start: {error}"))?);
    let signals = signals().map_err(|error| format!("cannot handle signals: {error}"))?;
    let (stopped, timeout) = (Arc::clone(&server), arguments.timeout);
    start("signals", move || stop_at(signals, &stopped, timeout))?;
    let (log, writer) = log::channel();
    let (writing, written) = mpsc::channel::<()>();
    // Written past `io::Stdout`, which would keep what it could not write and try it again.
    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let out = out.map_err(|error| format!("cannot use standard output: {error}"))?;
    start("log", move || {
        writer.run(out, io::stderr());
        drop(writing);
    })?;
    log.ready(server.address());
    let missing = log.missing();
    let console = Console {
        log,
        quiet: arguments.quiet,
    };
    let outcome = server.run(&console);
    // The writer ends when it has written all; a pipe that nobody reads shall not keep the
    // program from ending.
    drop(console);
    if written.recv_timeout(LOG_PATIENCE) == Err(RecvTimeoutError::Timeout) {
        cli::say::<Arguments>(format_args!(
            "{} requests are missing from the log",
            missing.count()
        ));
    }
    outcome.map_err(no_thread)
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map(drop).map_err(no_thread)
}

#[expect(clippy::needless_pass_by_value)] // for map_err
fn no_thread(error: io::Error) -> String {
    format!("cannot start a thread: {error}; raise the limit with ulimit -u, or free memory")
}

/// The listener that the program was started with, if there is one: systemd's socket activation.
fn handed_over() -> Result<Option<TcpListener>, String> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        return Err(format!(
            "{} sockets were handed over, and one is served; leave one ListenStream= in the \
             socket unit",
            sockets.len()
        ));
    }
    let unfit = |reason: String| {
        format!("cannot serve the socket handed over: {reason}; it must be one that listens on TCP")
    };
    let Some(listener) = sockets
        .take_tcp_listener(0)
        .map_err(|error| unfit(error.to_string()))?
    else {
        return Ok(None);
    };
    match SockRef::from(&listener).is_listener() {
        Ok(true) => {}
        Ok(false) => return Err(unfit("it does not listen".into())),
        Err(error) => return Err(unfit(error.to_string())),
    }
    // Workers wait in `accept`; whoever made the socket may have wanted it otherwise.
    let blocking = listener.set_nonblocking(false);
    blocking.map_err(|error| unfit(error.to_string()))?;
    Ok(Some(listener))
}

/// Listens on `address` with the backlog that the standard library does not offer.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart need not wait for the connections of the run before.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// As many of `connections` as there can be descriptors, the limit of which is raised as far as it
/// goes. Each worker takes one, be it for its connection or, while it waits, for the next.
fn within_descriptors(connections: NonZeroUsize) -> NonZeroUsize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, it stays as it was.
    let _ = setrlimit(Resource::Nofile, limit);
    let Some(descriptors) = getrlimit(Resource::Nofile).current else {
        return connections; // no limit at all
    };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let most = NonZeroUsize::new(descriptors.saturating_sub(RESERVED_DESCRIPTORS));
    let most = most.unwrap_or(NonZeroUsize::MIN);
    if connections > most {
        cli::say::<Arguments>(format_args!(
            "{descriptors} descriptors are enough for {most} connections at once, not for \
             {connections}; more wait until one is free; raise the limit with ulimit -Hn, or set \
             --max-connections {most}"
        ));
    }
    connections.min(most)
}

/// The first SIGINT or SIGTERM. The second ends the program.
fn signals() -> io::Result<Signals> {
    // First of all, so that there is no moment in which a signal is lost.
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds what the first has set.
        flag::register_conditional_default(signal, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    Ok(signals)
}

/// Stops `server` at the first of `signals`.
fn stop_at(mut signals: Signals, server: &Server, timeout: Duration) {
    signals.forever().next();
    // The program ends before this does, unless the server cannot connect to itself. No exchange
    // goes on then.
    let _ = start("end", move || {
        thread::sleep(timeout + STOP_PATIENCE);
        exit(0);
    });
    server.stop();
}
