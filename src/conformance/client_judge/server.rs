//! The server's side of one connection: it takes the steps of a vector, and keeps what the client sends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::super::client_vectors::Step;
use super::STARTING;
use crate::deadline::Timed;

/// The number of bytes after which the server stops reading. It is far more than a request has.
const FLOOD: usize = 65_536;

/// What was seen of a client on a connection.
pub struct Seen {
    /// What the client sent.
    pub sent: Vec<u8>,
    /// Whether the server read as far as its steps ask, and then to the client's end of the stream,
    /// unless it ended the connection itself.
    pub is_all: bool,
    /// When the server ended its side of the stream.
    pub ended_at: Option<Instant>,
    /// When the client's end of the stream, or a reset, came. A half-close counts.
    pub client_ended_at: Option<Instant>,
}

/// A connection from a client.
pub struct Connection {
    stream: TcpStream,
    seen: Seen,
    /// When the server stops.
    until: Instant,
}

impl Connection {
    /// Takes over `stream`, `until` then.
    pub fn new(stream: TcpStream, until: Instant) -> Self {
        let seen = Seen {
            sent: Vec::new(),
            is_all: false,
            ended_at: None,
            client_ended_at: None,
        };
        Self {
            stream,
            seen,
            until,
        }
    }

    /// Takes the `steps`, and calls `done` after the last. Then it reads to the client's end.
    ///
    /// Also returns the connection, if no step closes it. It must stay open until the client has
    /// exited: after a half-close, a client still waits for the server's end.
    pub fn serve(mut self, steps: &[Step], done: impl FnOnce()) -> (Seen, Option<TcpStream>) {
        // A step that fails is the last one: the client has closed the connection, or time is up.
        let prepared = prepare(&self.stream);
        let taken = prepared.and_then(|()| steps.iter().try_for_each(|step| self.take(step)));
        let is_over = matches!(steps.last(), Some(Step::Close | Step::Reset));
        if taken.is_ok() && is_over {
            close(self.stream);
            done();
            self.seen.is_all = true;
            return (self.seen, None);
        }
        done();
        self.seen.is_all = self.read_until(|_| false).is_ok();
        (self.seen, Some(self.stream))
    }

    fn take(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::AwaitByte => self.read_until(|sent| !sent.is_empty()),
            Step::AwaitRequest => self.read_until(|sent| sent.contains(&b'\n')),
            Step::Send(bytes) => self.send(bytes),
            Step::SendEachByte(bytes) => bytes.iter().try_for_each(|byte| self.send(&[*byte])),
            Step::SendEndlessly { bytes, pause } => loop {
                self.send(bytes)?;
                thread::sleep(*pause);
            },
            Step::Pause(time) => {
                thread::sleep(*time);
                Ok(())
            }
            Step::HalfClose | Step::Close => {
                self.seen.ended_at = Some(Instant::now());
                self.stream.shutdown(Shutdown::Write)
            }
            Step::Reset => SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        Timed::new(&self.stream, self.until).write_all(bytes)
    }

    /// Reads until what was sent `is_enough`, or to the client's end of the stream.
    ///
    /// # Errors
    /// The time is up, or the client sends without end. A reset by the client is its end of the stream.
    fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while self.seen.client_ended_at.is_none() && !is_enough(&self.seen.sent) {
            match Timed::new(&self.stream, self.until).read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(error),
                Ok(0) | Err(_) => self.seen.client_ended_at = Some(Instant::now()),
                Ok(count) => self.seen.sent.extend(&buffer[..count]),
            }
            if self.seen.sent.len() > FLOOD {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(())
    }
}

/// Closes `stream` before it returns.
fn close(stream: TcpStream) {
    let _no_start = STARTING.lock();
    drop(stream);
}

/// Makes an accepted `stream` ready: it may be non-blocking like its listener.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)
}
