//! The client's side of one exchange (SPEC section 5).

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::deadline::{Timed, is_time_out, remaining};
use crate::{LIMIT, clip, process, upper};

/// The most bytes that a message has: with its line feed it fills a request (SPEC CLIENT-1).
pub const MAX_MESSAGE: usize = LIMIT - 1;

/// Why there is no reply to show. Each is one line, and says how to mend what can be mended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The message has a line feed at this offset in bytes, and this many bytes after it.
    LineFeed {
        /// Where the line feed is, counted from 0.
        at: usize,
        /// How many bytes the protocol would lose.
        lost: usize,
    },
    /// The message is of so many bytes, which is more than [`MAX_MESSAGE`].
    MessageTooLong(usize),
    /// The message's upper case is of so many bytes, which is more than [`LIMIT`].
    UpperCaseTooLong(usize),
    /// The server's name or address could not be resolved.
    Resolve(io::Error),
    /// No address of the server could be connected to; the last of the errors.
    Connect(SocketAddr, io::Error),
    /// The time was up, in the stage of the exchange that is named.
    TimedOut(&'static str),
    /// The connection failed after so many bytes of a reply.
    Broken(usize, io::Error),
    /// The reply is longer than [`LIMIT`] bytes (SPEC CLIENT-4).
    ReplyTooLong,
    /// The server closed the connection without a reply (SPEC CLIENT-6).
    NoReply,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineFeed { at, lost } => write!(
                f,
                "the message has a line feed at offset {at}, which ends the request there, and \
                 the server would lose the {lost} bytes after it; send each line by itself"
            ),
            Self::MessageTooLong(length) => write!(
                f,
                "the message is {length} bytes long, {} more than the {MAX_MESSAGE} that a request \
                 has room for; shorten it, or send it in parts",
                length - MAX_MESSAGE
            ),
            Self::UpperCaseTooLong(length) => write!(
                f,
                "the message is {length} bytes long in upper case, {} more than the {LIMIT} that a \
                 reply has room for; shorten it, or send it in parts",
                length - LIMIT
            ),
            Self::Resolve(error) => {
                write!(
                    f,
                    "cannot find the server's address: {error}; check HOST in HOST:PORT"
                )
            }
            Self::Connect(address, error) => write!(
                f,
                "cannot connect to {address}: {error}; check that a server runs there, or name \
                 another with --connect HOST:PORT"
            ),
            Self::TimedOut(stage) => write!(
                f,
                "the time was up while {stage}; the server may be busy or far away: try again, or \
                 allow more with --timeout SECONDS"
            ),
            Self::Broken(received, error) => write!(
                f,
                "the connection broke after {received} bytes of a reply, which may not be all of \
                 it: {error}; try again"
            ),
            Self::ReplyTooLong => write!(
                f,
                "the reply is longer than the {LIMIT} bytes that the protocol allows; is this an \
                 UPCASE server?"
            ),
            Self::NoReply => write!(
                f,
                "the server closed the connection without a reply; it may be stopping, or may not \
                 be an UPCASE server"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Connect(_, error) | Self::Broken(_, error) => Some(error),
            _ => None,
        }
    }
}

/// Whether `message` survives the protocol whole, its white space at the ends aside
/// (SPEC CLIENT-1, CLIENT-2).
///
/// # Errors
/// What would be cut, and by how much.
pub fn check(message: &[u8]) -> Result<(), Error> {
    if let Some(at) = message.iter().position(|b| *b == b'\n') {
        return Err(Error::LineFeed {
            at,
            lost: message.len() - at - 1,
        });
    }
    if message.len() > MAX_MESSAGE {
        return Err(Error::MessageTooLong(message.len()));
    }
    match upper(clip(message)).len() {
        length if length > LIMIT => Err(Error::UpperCaseTooLong(length)),
        _ => Ok(()),
    }
}

/// Sends `message` to `server`, and returns its reply, all within `timeout`.
///
/// A name is resolved, and each address that there is is tried until one connects, with an equal
/// share of the time that is left (SPEC CLIENT-8).
///
/// # Errors
/// The [`Error`] that kept it from a whole reply. Nothing is sent where [`check`] refuses.
pub fn exchange(
    server: impl ToSocketAddrs + Send + 'static,
    message: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    check(message)?;
    let deadline = Instant::now() + timeout;
    let stream = connect(&resolve(server, deadline)?, deadline)?;
    exchange_over(&mut Timed::new(&stream, deadline), message)
}

/// Sends `message` over `stream`, which is connected to a server, and returns the reply.
///
/// # Errors
/// As [`exchange`].
pub fn exchange_over(
    stream: &mut (impl Read + Write + ?Sized),
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    check(message)?;
    let written = stream.write_all(&[message, b"\n"].concat());
    // The reply may be there although writing failed (SPEC CLIENT-7).
    let reply = read_reply(stream)?;
    if reply.is_empty() && !process(message).is_empty() {
        return Err(written.map_or_else(|error| Error::Broken(0, error), |()| Error::NoReply));
    }
    Ok(reply)
}

/// Reads one reply from `stream`, to its end (SPEC CLIENT-3 to CLIENT-5). Interrupted reads are
/// made again.
///
/// # Errors
/// [`Error::TimedOut`], [`Error::Broken`] or [`Error::ReplyTooLong`]; the last as soon as the
/// first byte too many is read.
pub fn read_reply(stream: &mut (impl Read + ?Sized)) -> Result<Vec<u8>, Error> {
    let mut reply = Vec::with_capacity(LIMIT + 1);
    match stream.take(LIMIT as u64 + 1).read_to_end(&mut reply) {
        Ok(_) if reply.len() > LIMIT => Err(Error::ReplyTooLong),
        Ok(_) => Ok(reply),
        Err(error) if is_time_out(&error) => Err(Error::TimedOut("waiting for the reply")),
        Err(error) => Err(Error::Broken(reply.len(), error)),
    }
}

fn resolve(
    server: impl ToSocketAddrs + Send + 'static,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Error> {
    // The system's resolver knows no deadline of ours, so it is asked from a thread that can be
    // left behind.
    let (sender, receiver) = mpsc::channel();
    let look_up = move || sender.send(server.to_socket_addrs().map(Vec::from_iter));
    thread::Builder::new()
        .spawn(look_up)
        .map_err(Error::Resolve)?;
    let resolved = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    match resolved {
        Ok(addresses) => addresses.map_err(Error::Resolve),
        Err(_) => Err(Error::TimedOut("looking up the server's address")),
    }
}

fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Error> {
    let nowhere = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let mut failure = Error::Resolve(nowhere);
    for (tried, address) in addresses.iter().enumerate() {
        let shares = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let attempt =
            remaining(deadline).and_then(|left| TcpStream::connect_timeout(address, left / shares));
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) if is_time_out(&error) => failure = Error::TimedOut("connecting"),
            Err(error) => failure = Error::Connect(*address, error),
        }
    }
    Err(failure)
}
