//! The client's side of one exchange (SPEC section 5).

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::deadline::{Timed, is_time_out, remaining};
use crate::{LIMIT, clip, process, upper};

/// The most bytes that a message has: with its line feed it fills a request (SPEC CLIENT-1).
pub const MAX_MESSAGE: usize = LIMIT - 1;

/// Why there is no reply. Each is shown as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The message has a line feed.
    LineFeed {
        /// The offset of the line feed, in bytes.
        at: usize,
        /// How many bytes come after it, which the server would discard.
        lost: usize,
    },
    /// The message has this number of bytes, which is more than [`MAX_MESSAGE`].
    MessageTooLong(usize),
    /// The message in upper case has this number of bytes, which is more than [`LIMIT`].
    UpperCaseTooLong(usize),
    /// The message in upper case has [`LIMIT`] bytes and ends with an incomplete character. The reply
    /// would not have this number of bytes at its end: the incomplete character, and white space
    /// before it.
    IncompleteEnd(usize),
    /// The server's name was not resolved, or it has no address.
    Resolve(io::Error),
    /// No address of the server accepted a connection: each of them, in the order in which they were
    /// tried, and its error. A kind of [`ErrorKind::TimedOut`] means that there was no answer.
    Connect(Vec<(SocketAddr, io::Error)>),
    /// The deadline came.
    TimedOut(Stage),
    /// The connection failed after this number of bytes of a reply. If writing failed, this is its
    /// error: after that, even an orderly end of the stream proves nothing (SPEC CLIENT-7).
    Broken(usize, io::Error),
    /// The reply has more than [`LIMIT`] bytes (SPEC CLIENT-4).
    ReplyTooLong,
    /// The server closed the connection without a reply (SPEC CLIENT-6).
    NoReply,
}

/// A stage of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The server's name is being resolved.
    Resolving,
    /// No time is left to connect.
    Connecting,
    /// The message is being sent, or the reply is being read.
    Reading,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineFeed { at, lost: 0 } => write!(
                f,
                "the message ends with a line feed, at offset {at}; leave it out, because one is \
                 added when the message is sent"
            ),
            Self::LineFeed { at, lost } => write!(
                f,
                "the message has a line feed at offset {at}, which ends the request; the server \
                 would discard the {} after it; send each line as its own message",
                bytes(*lost)
            ),
            Self::MessageTooLong(length) => write!(
                f,
                "the message is {} long, {} more than the {MAX_MESSAGE} that a request has room \
                 for; shorten it, or send it in parts",
                bytes(*length),
                length - MAX_MESSAGE
            ),
            Self::UpperCaseTooLong(length) => write!(
                f,
                "the message is {} long in upper case, {} more than the {LIMIT} that a reply has \
                 room for; shorten it, or send it in parts",
                bytes(*length),
                length - LIMIT
            ),
            Self::IncompleteEnd(lost) => write!(
                f,
                "the message is {LIMIT} bytes long in upper case and ends with an incomplete \
                 character, so the reply would lack the last {}; remove the incomplete character, \
                 or shorten the message",
                bytes(*lost)
            ),
            Self::Resolve(error) => write!(f, "cannot find the server's address: {error}"),
            Self::Connect(failed) => {
                let attempt =
                    |(address, error): &(SocketAddr, io::Error)| format!("{address}: {error}");
                let attempts: Vec<String> = failed.iter().map(attempt).collect();
                write!(f, "cannot connect to {}", attempts.join(", or to "))
            }
            Self::TimedOut(stage) => write!(
                f,
                "timed out while {}",
                match stage {
                    Stage::Resolving => "looking up the server's address",
                    Stage::Connecting => "connecting",
                    Stage::Reading => "waiting for the reply",
                }
            ),
            Self::Broken(received, error) => write!(
                f,
                "the connection failed after {} of a reply, so the reply is not complete: {error}",
                bytes(*received)
            ),
            Self::ReplyTooLong => write!(
                f,
                "the reply is longer than the {LIMIT} bytes that the protocol allows; is this an \
                 UPCASE server?"
            ),
            Self::NoReply => write!(
                f,
                "the server closed the connection without a reply; the request may have come too \
                 late or incomplete, or this may not be an UPCASE server"
            ),
        }
    }
}

/// "1 byte", "2 bytes".
fn bytes(count: usize) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Broken(_, error) => Some(error),
            Self::Connect(failed) => failed.last().map(|(_, error)| error as _),
            _ => None,
        }
    }
}

/// Whether the protocol keeps all of `message`, except white space at its ends: whether
/// `process(message LF)` is the whole upper case of the trimmed message (SPEC CLIENT-1, CLIENT-2).
///
/// # Errors
/// [`Error::LineFeed`], [`Error::MessageTooLong`], [`Error::UpperCaseTooLong`] or
/// [`Error::IncompleteEnd`]: what would be cut, and by how much.
pub fn check(message: &[u8]) -> Result<(), Error> {
    // A line feed after the limit does not end the request.
    let within_limit = &message[..message.len().min(LIMIT)];
    if let Some(at) = within_limit.iter().position(|b| *b == b'\n') {
        return Err(Error::LineFeed {
            at,
            lost: message.len() - at - 1,
        });
    }
    if message.len() > MAX_MESSAGE {
        return Err(Error::MessageTooLong(message.len()));
    }
    let upper = upper(clip(message)).len();
    if upper > LIMIT {
        return Err(Error::UpperCaseTooLong(upper));
    }
    match upper - process(message).len() {
        0 => Ok(()),
        lost => Err(Error::IncompleteEnd(lost)),
    }
}

/// The host, without brackets, and the port in `text`, such as `localhost:8080` or `[::1]:8080`. The
/// name of an interface may follow an IPv6 address, as in `[fe80::1%eth0]:8080`; the system's resolver
/// reads it.
///
/// # Errors
/// What is wrong with the text, on one line.
pub fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let host = |host: &str| match host.strip_prefix('[') {
        Some(host) => {
            let host = host.strip_suffix(']')?;
            let (address, _) = host.split_once('%').unwrap_or((host, ""));
            address.parse::<Ipv6Addr>().ok()?;
            Some(host.to_owned())
        }
        None if host.is_empty() || host.contains([':', '/', ']']) => None,
        None if host.contains(char::is_whitespace) => None,
        None => Some(host.to_owned()),
    };
    text.rsplit_once(':')
        .and_then(|(name, port)| Some((host(name)?, number(port)?)))
        .ok_or_else(|| "not HOST:PORT, such as localhost:8080 or [::1]:8080".into())
}

/// A port, in digits alone.
fn number(port: &str) -> Option<u16> {
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| is_number && *port > 0)
}

/// Sends `message` to `server` and returns the reply, all within `timeout`.
///
/// A name is resolved first. Its addresses are tried one after another until one connects; each has
/// an equal share of the time that is left (SPEC CLIENT-8). A time-out of more than a century is a
/// century. The reply is returned as it is, also if it is not [`process`] of the message
/// (SPEC CLIENT-10).
///
/// # Errors
/// The [`Error`]. Nothing is sent if [`check`] refuses the message.
pub fn exchange(
    server: impl ToSocketAddrs + Send + 'static,
    message: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    // Not every clock can express the instant after any duration.
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);
    check(message)?;
    let deadline = Instant::now() + timeout.min(CENTURY);
    let (stream, _) = connect(server, deadline)?;
    exchange_over(&mut Timed::new(&stream, deadline), message)
}

/// Connects to `server` by the `deadline`, the first part of [`exchange`]. Also returns the address
/// that accepted the connection.
///
/// # Errors
/// [`Error::Resolve`], [`Error::TimedOut`] or [`Error::Connect`].
pub fn connect(
    server: impl ToSocketAddrs + Send + 'static,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Error> {
    let addresses = resolve(server, deadline)?;
    if addresses.is_empty() {
        let nowhere = io::Error::new(ErrorKind::NotFound, "the name has no address");
        return Err(Error::Resolve(nowhere));
    }
    let mut failed = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let Ok(left) = remaining(deadline) else {
            break;
        };
        let shares = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, left / shares) {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => failed.push((*address, error)),
        }
    }
    if failed.is_empty() {
        return Err(Error::TimedOut(Stage::Connecting));
    }
    Err(Error::Connect(failed))
}

/// Sends `message` over `stream`, which is connected to a server, and returns the reply: the last
/// part of [`exchange`]. It sends nothing after the line feed (SPEC CLIENT-9), and reads to the end
/// of the stream. Interrupted reads and writes are repeated.
///
/// # Errors
/// As [`exchange`], or [`Error::ReplyTooLong`] as soon as one byte too many is read. After a failed
/// write it reads on, but returns an error even if the stream then ends in order: the failed write
/// may have used up the error that reports a reset (SPEC CLIENT-7). No reply is lost by that: if a
/// write failed, the server has not received the whole request, so it has not replied.
pub fn exchange_over(
    stream: &mut (impl Read + Write + ?Sized),
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    check(message)?;
    let written = stream.write_all(&[message, b"\n"].concat());
    let reply = read_reply(stream)?;
    match written {
        Err(error) => Err(Error::Broken(reply.len(), error)),
        Ok(()) if reply.is_empty() && !process(message).is_empty() => Err(Error::NoReply),
        Ok(()) => Ok(reply),
    }
}

/// Reads one reply to the end of the stream (SPEC CLIENT-3 to CLIENT-5).
fn read_reply(stream: &mut (impl Read + ?Sized)) -> Result<Vec<u8>, Error> {
    let mut reply = Vec::with_capacity(LIMIT + 1);
    match stream.take(LIMIT as u64 + 1).read_to_end(&mut reply) {
        Ok(_) if reply.len() > LIMIT => Err(Error::ReplyTooLong),
        Ok(_) => Ok(reply),
        Err(error) if is_time_out(&error) => Err(Error::TimedOut(Stage::Reading)),
        Err(error) => Err(Error::Broken(reply.len(), error)),
    }
}

fn resolve(
    server: impl ToSocketAddrs + Send + 'static,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Error> {
    // The system's resolver takes no deadline, so it runs in a thread that can be left behind.
    let (sender, receiver) = mpsc::channel();
    let look_up = move || sender.send(server.to_socket_addrs().map(Vec::from_iter));
    thread::Builder::new()
        .spawn(look_up)
        .map_err(Error::Resolve)?;
    let resolved = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    match resolved {
        Ok(addresses) => addresses.map_err(Error::Resolve),
        Err(_) => Err(Error::TimedOut(Stage::Resolving)),
    }
}
