//! `upcase-server`: arguments, a listener and signals. The library does the rest.

mod cli;

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use upcase::address::{self, IpPort};
use upcase::log::{self, Format, Log, Warnings, Writer};
use upcase::server::{Ended, MAX_TIMEOUT, Server, Service, StopHandle, descriptors, listen};
use upcase::{platform, process};

/// How long each of the log's two outputs may take at the end to write the rest. Both together may
/// take less than a second.
const LOG_TIMEOUT: Duration = Duration::from_millis(400);

/// How many file descriptors are for the standard streams, the signals and the log, and for some that
/// the program was started with.
const RESERVED_DESCRIPTORS: usize = 13;

/// Serve the UPCASE protocol: each client sends a short text and gets it back in upper case.
///
/// A request ends at its first line feed, at the end of the stream, or at 1024 bytes. It is
/// trimmed, upper-cased by the rules of Unicode 17, and sent back, 1024 bytes at most.
#[derive(Parser)]
#[command(
    name = env!("CARGO_BIN_NAME"),
    version,
    after_help = "\
Examples:
  upcase-server                              serve on port 8080 of every IPv4 address
  upcase-server --bind '[::]:8080'           IPv6 and IPv4
  upcase-server --bind 127.0.0.1:0 --quiet   a free port, for this machine only
  upcase-server --bind '[fe80::1%eth0]:80'   an address of one network interface
  UPCASE_LOG=json upcase-server              an option by its environment variable

An option on the command line overrides its environment variable.

On Linux, if systemd's socket activation passes listening sockets, the server uses them and ignores
--bind.

Standard output gets the log: a line with the address, then two lines for each request of a byte or
more. With --log json, each line is one object. There is one for each connection when it ends, with
what was received of the request, and with one of these outcomes:
  replied    the reply was sent
  failed     the server could not serve the connection
  timed-out  the deadline came before the reply was sent
  silent     the client left without having sent a byte, as a health check or a port scan does
  reset      the client or the network broke the connection before the reply was sent

At SIGINT, SIGTERM, SIGHUP or SIGQUIT the server accepts what is queued, closes the port, finishes
the open exchanges, and ends. A second signal ends it at once. On Windows, Ctrl-C and Ctrl-Break
count as SIGINT. On Linux, a signal that was ignored at the start stays ignored.

Exit codes: 0 stopped by a signal, 1 failure, 2 wrong usage, 128 + N ended at once by signal N."
)]
struct Arguments {
    /// The IP address and port to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR", env = BIND, hide_env_values = true, default_value = "0.0.0.0:8080", value_parser = bind)]
    bind: SocketAddr,

    /// How long a connection may last, from its acceptance to its end; at most 10; less than 2 does
    /// not conform to SPEC.md (TIME-1, TIME-6)
    #[arg(long, value_name = "SECONDS", env = TIMEOUT, hide_env_values = true, allow_negative_numbers = true, default_value = "5", value_parser = timeout)]
    timeout: Duration,

    /// How many connections to hold at once; more wait in the kernel's queue; less than 40 does not
    /// conform to SPEC.md (TIME-7) [default: as many as the limit of file descriptors allows]
    #[arg(long, value_name = "N", env = MAX_CONNECTIONS, hide_env_values = true, value_parser = max_connections)]
    max_connections: Option<NonZeroUsize>,

    /// What to print on standard output: transcript, json, or none, which is only the address
    #[arg(long, value_name = "FORMAT", env = LOG, hide_env_values = true, default_value = "transcript", value_parser = log_format)]
    log: Format,

    /// The same as --log none, whatever --log says
    #[arg(long)]
    quiet: bool,
}

// The environment variables of the options.
const BIND: &str = "UPCASE_BIND";
const TIMEOUT: &str = "UPCASE_TIMEOUT";
const MAX_CONNECTIONS: &str = "UPCASE_MAX_CONNECTIONS";
const LOG: &str = "UPCASE_LOG";

fn bind(text: &str) -> Result<SocketAddr, String> {
    from(BIND, text, address::parse(text))
}

fn timeout(text: &str) -> Result<Duration, String> {
    from(TIMEOUT, text, cli::seconds(text, MAX_TIMEOUT))
}

fn max_connections(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse();
    let count = count.map_err(|_| "not a whole number of 1 or more".into());
    from(MAX_CONNECTIONS, text, count)
}

fn log_format(text: &str) -> Result<Format, String> {
    let format = match text {
        "transcript" => Ok(Format::Transcript),
        "json" => Ok(Format::Json),
        "none" => Ok(Format::None),
        _ => Err("not transcript, json or none".into()),
    };
    from(LOG, text, format)
}

/// `parsed`, whose error names the environment variable that has the wrong `text`, because clap names
/// only the option.
fn from<T>(variable: &str, text: &str, parsed: Result<T, String>) -> Result<T, String> {
    parsed.map_err(|problem| match env::var_os(variable) {
        Some(value) if value == text => format!("{problem}; the value of {variable}"),
        _ => problem,
    })
}

/// The transformation with a log.
struct Console {
    log: Log,
    addresses: Vec<SocketAddr>,
}

impl Service for Console {
    fn answer(&self, peer: SocketAddr, request: &[u8]) -> Vec<u8> {
        self.log.request(peer, request);
        process(request)
    }

    fn on_start(&self) {
        for address in &self.addresses {
            self.log.ready(*address);
        }
        if let Err(error) = platform::tell_ready() {
            self.log.warn(format!(
                "cannot tell systemd that the server is ready: {error}; check NOTIFY_SOCKET"
            ));
        }
    }

    fn on_end(&self, connection: &Ended<'_>) {
        self.log.connection(connection);
    }

    fn on_error(&self, error: &io::Error) {
        self.log.warn(format!(
            "cannot serve a new connection; the server continues: {error}"
        ));
    }
}

/// Why the program ends.
enum Exit {
    /// The server was stopped, or cannot go on.
    Server(io::Result<()>),
    /// A second signal came.
    Signal(u8),
}

fn main() -> ExitCode {
    cli::run(serve)
}

fn serve(arguments: &Arguments) -> Result<ExitCode, String> {
    // First, so that no signal is lost.
    let requests = platform::stop_requests();
    let requests = requests.map_err(|error| format!("cannot handle signals: {error}"))?;
    let mut listeners = handed_over()?;
    if listeners.is_empty() {
        listeners.push(listen(arguments.bind).map_err(|error| {
            format!(
                "cannot listen on {}: {error}; choose an address of this machine and a port that \
                 is free and not reserved, with --bind IP:PORT (port 0 picks one)",
                IpPort(arguments.bind)
            )
        })?);
    }
    let max_connections = within_descriptors(arguments.max_connections, listeners.len());
    let server = Server::new(listeners, arguments.timeout, max_connections);
    let server = server.map_err(|error| format!("cannot start: {error}"))?;

    // The main thread waits for the end: the server's, or a second signal.
    let (exits, exit) = mpsc::channel();
    let (stop, second_signal) = (server.stop_handle(), exits.clone());
    start("signals", move || handle(requests, &stop, &second_signal))?;
    let format = if arguments.quiet {
        Format::None
    } else {
        arguments.log
    };
    let (log, writer, warnings) = log::channel(format);
    let log_threads = LogThreads::start(writer, warnings)?;
    let console = Console {
        log: log.clone(),
        addresses: server.addresses().to_vec(),
    };
    start("server", move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| server.run(&console)));
        let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("an event loop panicked")));
        let _ = exits.send(Exit::Server(outcome));
    })?;
    let exit = exit.recv();
    log_threads.close(&log);
    match exit {
        Ok(Exit::Signal(signal)) => Ok(ExitCode::from(128 + signal)),
        Ok(Exit::Server(Err(error))) => Err(format!(
            "cannot continue: {error}; if a thread cannot start, raise the limit with ulimit -u"
        )),
        Ok(Exit::Server(Ok(()))) | Err(mpsc::RecvError) => Ok(ExitCode::SUCCESS),
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map(drop).map_err(no_thread)
}

#[expect(clippy::needless_pass_by_value)] // for map_err
fn no_thread(error: io::Error) -> String {
    format!("cannot start a thread: {error}; raise the limit with ulimit -u, or free memory")
}

/// The two threads that write the log. Each channel closes when its thread ends.
struct LogThreads {
    log: mpsc::Receiver<()>,
    warnings: mpsc::Receiver<()>,
}

impl LogThreads {
    fn start(writer: Writer, warnings: Warnings) -> Result<Self, String> {
        // Not `io::Stdout`, which would keep bytes that it could not write and try them again.
        let out = platform::standard_output();
        let out = out.map_err(|error| format!("cannot use standard output: {error}"))?;
        let (writing, written) = mpsc::channel();
        start("log", move || {
            writer.run(out);
            drop(writing);
        })?;
        let (warning, warned) = mpsc::channel();
        start("warnings", move || {
            warnings.run(env!("CARGO_BIN_NAME"), io::stderr());
            drop(warning);
        })?;
        Ok(Self {
            log: written,
            warnings: warned,
        })
    }

    /// Waits until everything is written, or an output is blocked for too long. A blocked output does
    /// not keep the program from ending.
    fn close(&self, log: &Log) {
        log.close();
        let _ = self.log.recv_timeout(LOG_TIMEOUT);
        log.finish();
        let _ = self.warnings.recv_timeout(LOG_TIMEOUT);
    }
}

/// The listeners that the program was started with, if any (systemd's socket activation).
fn handed_over() -> Result<Vec<TcpListener>, String> {
    let passed = platform::passed_listeners();
    let count = passed.len();
    let unfit = |number: usize, reason: io::Error| {
        format!(
            "cannot serve passed socket {number} of {count}: {reason}; each must be a listening TCP \
             socket; in a socket unit, use only ListenStream= with a port or an IP address, and \
             Accept=no"
        )
    };
    let passed = (1..).zip(passed);
    passed
        .map(|(number, listener)| listener.map_err(|reason| unfit(number, reason)))
        .collect()
}

/// Raises the limit of file descriptors to its maximum. Returns the number of connections that it
/// allows with this number of listeners, and at most `wanted`.
fn within_descriptors(wanted: Option<NonZeroUsize>, listeners: usize) -> NonZeroUsize {
    let limit = platform::raised_descriptor_limit();
    let others = RESERVED_DESCRIPTORS + listeners + descriptors(listeners);
    let most = limit.saturating_sub(others);
    let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > most) {
        cli::report::<Arguments>(format_args!(
            "the limit of {limit} file descriptors allows {most} connections at once, not \
             {wanted}; more wait in the queue; raise the limit with ulimit -Hn, or set \
             --max-connections {most}"
        ));
    }
    wanted.map_or(most, |wanted| wanted.min(most))
}

/// Stops the server at the first stopping signal, and ends the program at the second. It does not use
/// that signal's default, because a process with ID 1 has none.
fn handle(mut requests: impl Iterator<Item = u8>, stop: &StopHandle, second: &mpsc::Sender<Exit>) {
    if requests.next().is_some() {
        stop.stop();
    }
    if let Some(signal) = requests.next() {
        let _ = second.send(Exit::Signal(signal));
    }
}
