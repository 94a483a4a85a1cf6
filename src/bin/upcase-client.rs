//! `upcase-client`: arguments, one exchange, its result. The library does the rest.

mod cli;

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use cli::standard;
use upcase::client::{self, Error, MAX_MESSAGE};
use upcase::deadline::Timed;
use upcase::escape::{literal, text};
use upcase::{platform, process};

/// The most bytes that are read from standard input: more than fit into a message, but not endless.
const MAX_INPUT: usize = 1 << 20;

/// Send a short text to an UPCASE server, and show what comes back: the text in upper case.
///
/// The arguments are joined by single spaces. Without arguments, the message is read from standard
/// input, but if standard input is a terminal, the message is empty. A single `-` reads standard
/// input even if it is a terminal. One line feed at the end of the input is removed.
#[derive(Parser)]
#[command(
    name = env!("CARGO_BIN_NAME"),
    version,
    after_help = "\
Examples:
  upcase-client 'Olá, servidor!'                 to the server on this machine
  upcase-client --connect '[::1]:9000' one two   the message \"one two\", to another server
  echo straße | upcase-client --raw              read from and write to a pipe
  upcase-client -- --help                        a message that looks like an option
  upcase-client ''                               an empty message
  upcase-client --check --timeout 2 ping         a health check: the exit code is 0 or 1

A message has at most 1023 bytes and no line feed, and its upper case has at most 1024 bytes. A
message that the protocol would cut is refused. A reply that is not printable text is shown as b'…'.

Exit codes:
  0  a reply was received
  1  the message was refused, there was no reply, it could not be written, or --check failed
  2  wrong usage"
)]
struct Arguments {
    /// The server's name or IP address, and its port
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8080", value_parser = client::host_and_port)]
    connect: (String, u16),

    /// How long reading the message and the whole exchange may take
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "10", value_parser = timeout)]
    timeout: Duration,

    /// Write the bytes of the reply and nothing else
    #[arg(long)]
    raw: bool,

    /// Fail if the reply, which is shown as usual, is not the message in upper case
    #[arg(long)]
    check: bool,

    /// The message
    message: Vec<OsString>,

    /// Words of the message that may begin with a dash
    #[arg(last = true, value_name = "MESSAGE", hide = true)]
    more: Vec<OsString>,
}

fn timeout(text: &str) -> Result<Duration, String> {
    cli::seconds(text, Duration::from_secs(3600))
}

fn main() -> ExitCode {
    cli::run(exchange)
}

fn exchange(arguments: &Arguments) -> Result<ExitCode, String> {
    let deadline = Instant::now() + arguments.timeout;
    let message = match (&arguments.message[..], &arguments.more[..]) {
        ([], []) if !io::stdin().is_terminal() => read_input(deadline)?,
        ([dash], []) if dash == "-" => read_input(deadline)?,
        (words, more) => join(words.iter().chain(more))?,
    };
    client::check(&message).map_err(|error| error.to_string())?;
    let (stream, server) = client::connect(arguments.connect.clone(), deadline)
        .map_err(|error| not_connected(&arguments.connect.0, &error))?;
    let reply = client::exchange_over(&mut Timed::new(&stream, deadline), &message)
        .map_err(|error| no_reply(server, &error))?;
    show(&message, &reply, arguments.raw)
        .map_err(|error| format!("cannot write the reply to standard output: {error}"))?;
    if arguments.check {
        compare(server, &reply, &process(&message))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(message: &[u8], reply: &[u8], raw: bool) -> io::Result<()> {
    let mut out = standard::open(1, platform::standard_output)?;
    if raw {
        out.write_all(reply)?;
    } else {
        let shown = format!("Sent:     {}\nReceived: {}\n", text(message), text(reply));
        out.write_all(shown.as_bytes())?; // at once, so that nothing gets between
    }
    out.flush() // a Windows console has a buffer
}

fn compare(server: SocketAddr, reply: &[u8], expected: &[u8]) -> Result<(), String> {
    if reply == expected {
        return Ok(());
    }
    let (reply, expected) = (literal(reply), literal(expected));
    Err(format!(
        "{server}: the reply is {reply}, but the message in upper case is {expected}; check that this \
         is an UPCASE server"
    ))
}

/// Why there is no connection to `host`, and what this program's user can do about it.
fn not_connected(host: &str, error: &Error) -> String {
    let host = text(host.as_bytes());
    match error {
        Error::Connect(failed) => {
            let timed_out = |(_, error): &(_, io::Error)| error.kind() == ErrorKind::TimedOut;
            let firewall = if failed.iter().any(timed_out) {
                "a time-out can mean a firewall, or a machine that is off or busy; "
            } else {
                ""
            };
            format!(
                "{error}; {firewall}check that a server runs there, or name another with --connect \
                 HOST:PORT"
            )
        }
        Error::Resolve(_) => format!("{host}: {error}; check HOST in --connect HOST:PORT"),
        _ => format!("{host}: {error}; try again, or allow more with --timeout SECONDS"),
    }
}

/// Why `server` gave no reply, and what this program's user can do about it.
fn no_reply(server: SocketAddr, error: &Error) -> String {
    let advice = match error {
        Error::TimedOut(_) => {
            "; the server may be busy or far away: try again, or allow more with --timeout SECONDS"
        }
        Error::Broken(..) | Error::NoReply => "; try again",
        _ => "",
    };
    format!("{server}: {error}{advice}")
}

/// The words joined by single spaces, as the bytes of the command line.
fn join<'a>(words: impl Iterator<Item = &'a OsString>) -> Result<Vec<u8>, String> {
    let words = words.map(|word| {
        platform::argument_bytes(word).ok_or_else(|| {
            format!(
                "the argument {} is not Unicode, so it is not known which bytes it means; send \
                 them by standard input",
                word.display()
            )
        })
    });
    let words: Vec<&[u8]> = words.collect::<Result<_, _>>()?;
    Ok(words.join(&b' '))
}

/// Standard input, without the line feed that `echo` and editors add at the end.
fn read_input(deadline: Instant) -> Result<Vec<u8>, String> {
    let read =
        standard::open(0, platform::standard_input).and_then(|input| read_to_end(input, deadline));
    let mut message = read.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => "timed out while reading the message from standard input; end the \
                                input, give the message as an argument ('' for an empty one), or \
                                allow more with --timeout SECONDS"
            .into(),
        ErrorKind::FileTooLarge => format!(
            "standard input has at least {} bytes, and a request has room for {MAX_MESSAGE}; shorten \
             the message, or send it in parts",
            MAX_INPUT + 1
        ),
        _ => format!(
            "cannot read the message from standard input: {error}; give it as an argument instead"
        ),
    })?;
    if message.last() == Some(&b'\n') {
        message.pop();
    }
    Ok(message)
}

/// All of `input`.
///
/// # Errors
/// [`ErrorKind::TimedOut`] at the deadline, [`ErrorKind::FileTooLarge`] after more than
/// [`MAX_INPUT`] bytes, and the errors of the system.
fn read_to_end(mut input: impl Read + Send + 'static, deadline: Instant) -> io::Result<Vec<u8>> {
    // In a thread that can be left behind. To wait for input would not be enough: another process
    // may read it first.
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let (mut read, mut buffer) = (Vec::new(), [0; 8192]);
        let done = loop {
            match input.read(&mut buffer) {
                Ok(0) => break Ok(read),
                Ok(count) => read.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if read.len() > MAX_INPUT {
                break Err(ErrorKind::FileTooLarge.into());
            }
        };
        sender.send(done)
    };
    thread::Builder::new().spawn(read)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let read = receiver.recv_timeout(left);
    read.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}
