//! One event loop: many exchanges at once, in one thread.
//!
//! [`EventLoop::turn`] does all work that is due, and never waits. [`EventLoop::max_wait`] says how
//! long the thread may wait before the next turn. The sockets and the clock are behind the trait
//! [`World`], so the same code runs over the network and, in the tests, in a simulated world.
//!
//! Rules of this file:
//!
//! - A turn does bounded work: at most `ACCEPTS` accepts, `READS` reads of each connection, and
//!   `CLOSES` closes at a deadline. The rest is for the next turn, which follows at once. So a peer
//!   that sends endlessly does not delay the others.
//! - The world reports only changes. So the loop assumes that a connection is queued until `accept`
//!   finds none, and that a peer has sent more until a read finds nothing.
//! - An error in an exchange, or a panic of the service, ends that exchange and nothing else. The
//!   service is told the end of every connection.
//! - Nothing changes the deadline of a connection. Bytes that come after it are not read, however
//!   late the loop is.
//! - To stop, the loop accepts queued connections until none is left, closes the listeners, and ends
//!   with the last exchange.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::MAX_TIMEOUT;
use super::places::Places;
use super::service::{Ended, Outcome, Service};
use crate::exchange::{Duplex, Exchange, Next};
use crate::platform::has_gone;

/// The length of a listener's queue.
pub const BACKLOG: usize = 4096;

/// How many connections are accepted in a turn.
const ACCEPTS: usize = 64;

/// How many reads a connection has in a turn.
const READS: usize = 16;

/// How many connections are closed at their deadline in a turn.
const CLOSES: usize = 256;

/// How long the loop accepts no connection after the system ran out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// The least time between the close of a connection and the limit of SPEC TIME-1. The system may
/// wake a thread late.
const MARGIN: Duration = Duration::from_millis(100);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The stream can be read.
    Readable,
    /// The stream can be written to.
    Writable,
}

/// Something that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was queued at a listener.
    Queued,
    /// The connection at this place can be read or written to.
    Ready(usize),
    /// The server is to stop.
    Stop,
}

/// The world around an event loop: listeners, their connections, and a clock.
pub trait World {
    /// A connection, which does not block.
    type Stream: Duplex;

    /// The time.
    fn now(&self) -> Instant;

    /// Takes a queued connection. Returns it with its peer's address.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if none is queued; an [`Event::Queued`] will report the next.
    /// Otherwise the system's.
    fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)>;

    /// Whether a connection is queued. `false` once another loop has closed the shared listeners.
    ///
    /// # Errors
    /// The system's.
    fn has_queued(&mut self) -> io::Result<bool>;

    /// How many connections can be queued. After a stop, a loop accepts no more than this.
    fn queue_length(&self) -> usize;

    /// Closes this loop's handles of the listeners. A listener closes with its last handle.
    fn close_listeners(&mut self);

    /// Asks for an [`Event::Ready`] of this `place` whenever `stream` becomes ready, and at once if it
    /// is. This replaces an earlier interest.
    ///
    /// # Errors
    /// The system's.
    fn watch(
        &mut self,
        stream: &mut Self::Stream,
        place: usize,
        interest: Interest,
    ) -> io::Result<()>;
}

/// One event loop, and the connections that it holds.
pub struct EventLoop<W: World> {
    timeout: Duration,
    places: Places<Connection<W::Stream>>,
    /// The places that used all their reads in the last turn.
    unfinished: Vec<usize>,
    /// Whether a connection may be queued.
    may_be_queued: bool,
    /// When to accept again.
    pause: Option<Instant>,
    is_listening: bool,
    stopping: Option<Stopping>,
}

struct Connection<S> {
    exchange: Exchange,
    stream: S,
    peer: SocketAddr,
    accepted: Instant,
}

/// What ended a connection.
#[derive(Clone, Copy)]
enum Cause {
    /// The peer closed it, or it failed.
    Peer,
    Deadline,
    /// The service panicked, or the system failed.
    Server,
}

/// A server that was told to stop.
struct Stopping {
    /// When all connections are closed.
    end: Instant,
    /// How many more connections to accept: at first the length of the queue. Connections that come
    /// later are for another process that may share a listener.
    queued: usize,
}

impl<W: World> EventLoop<W> {
    /// A loop that gives each connection the time `timeout` and holds at most `most` at once.
    #[must_use]
    pub fn new(timeout: Duration, most: usize) -> Self {
        Self {
            timeout: timeout.min(MAX_TIMEOUT.saturating_sub(MARGIN)),
            places: Places::new(most),
            unfinished: Vec::new(),
            may_be_queued: true, // they may have come before the start
            pause: None,
            is_listening: true,
            stopping: None,
        }
    }

    /// Whether the loop was stopped and its last exchange is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_listening && self.places.is_empty()
    }

    /// How long the thread may wait before the next turn; `None` if only an event ends the wait.
    #[must_use]
    pub fn max_wait(&self, now: Instant) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept = self.can_accept().then(|| self.pause.unwrap_or(now));
        let deadline = self.places.next().map(|(deadline, _)| deadline);
        // Another loop or process may accept the connections that this one has no place for.
        let stopping = self.stopping.as_ref().filter(|_| self.is_listening);
        let queue = stopping.map(|stopping| stopping.end.min(now + PAUSE));
        let next = [accept, deadline, queue];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Does all work that is due after these events.
    pub fn turn(
        &mut self,
        world: &mut W,
        service: &(impl Service + ?Sized),
        events: impl IntoIterator<Item = Event>,
    ) {
        let mut ready = std::mem::take(&mut self.unfinished);
        for event in events {
            match event {
                Event::Queued => self.may_be_queued = true,
                Event::Ready(place) => ready.push(place),
                Event::Stop => self.stop(world),
            }
        }
        ready.sort_unstable();
        ready.dedup();
        for place in ready {
            self.advance(place, world, service);
        }
        self.close_overdue(world, service);
        self.accept(world, service);
        self.stop_listening(world);
    }

    /// Continues the exchange at `place`. An event may be of an earlier connection at this place: then
    /// there is nothing to read, which does no harm.
    fn advance(&mut self, place: usize, world: &mut W, service: &(impl Service + ?Sized)) {
        let Some((deadline, connection)) = self.places.get_mut(place) else {
            return;
        };
        if deadline <= world.now() {
            return self.end(place, Cause::Deadline, world, service); // too late (SPEC TIME-2)
        }
        let peer = connection.peer;
        let mut stream = ReadLimited {
            stream: &mut connection.stream,
            reads_left: READS,
        };
        let exchange = &mut connection.exchange;
        // The panic hook has reported the panic. It ends this exchange and no other.
        let advanced = catch_unwind(AssertUnwindSafe(|| {
            exchange.advance(&mut stream, |request| service.answer(peer, request))
        }));
        let waits = matches!(&advanced, Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock);
        if !waits {
            let cause = advanced.map_or(Cause::Server, |_| Cause::Peer);
            self.end(place, cause, world, service);
        } else if stream.reads_left == 0 {
            self.unfinished.push(place);
        } else {
            let interest = match connection.exchange.next() {
                Next::Write(_) => Interest::Writable,
                _ => Interest::Readable,
            };
            if let Err(error) = world.watch(&mut connection.stream, place, interest) {
                self.end(place, Cause::Server, world, service);
                report(|| service.on_error(&error));
            }
        }
    }

    fn close_overdue(&mut self, world: &W, service: &(impl Service + ?Sized)) {
        let now = world.now();
        for _ in 0..CLOSES {
            match self.places.next() {
                Some((deadline, place)) if deadline <= now => {
                    self.end(place, Cause::Deadline, world, service);
                }
                _ => return,
            }
        }
    }

    /// Closes the connection at `place`. That affects no other peer.
    fn end(&mut self, place: usize, cause: Cause, world: &W, service: &(impl Service + ?Sized)) {
        let Some(Connection {
            exchange,
            stream,
            peer,
            accepted,
        }) = self.places.remove(place)
        else {
            return;
        };
        drop(stream);
        let request = exchange.request();
        let outcome = match cause {
            _ if exchange.has_replied() && !request.is_empty() => Outcome::Replied,
            Cause::Server => Outcome::Failed,
            Cause::Deadline => Outcome::TimedOut,
            Cause::Peer if request.is_empty() => Outcome::Silent,
            Cause::Peer => Outcome::Reset,
        };
        let duration = world.now().saturating_duration_since(accepted);
        report(|| {
            service.on_end(&Ended {
                peer,
                request,
                outcome,
                duration,
            });
        });
    }

    fn can_accept(&self) -> bool {
        let may_be_more = (self.stopping.as_ref()).is_none_or(|stopping| stopping.queued > 0);
        self.is_listening && self.may_be_queued && may_be_more && !self.places.is_full()
    }

    fn accept(&mut self, world: &mut W, service: &(impl Service + ?Sized)) {
        if self.pause.is_some_and(|pause| world.now() < pause) {
            return;
        }
        self.pause = None;
        for _ in 0..ACCEPTS {
            if !self.can_accept() {
                return;
            }
            let reserved = self.places.reserve();
            let reserved = reserved.map_err(|_| ErrorKind::OutOfMemory.into());
            match reserved.and_then(|()| world.accept()) {
                Ok((stream, peer)) => self.begin(stream, peer, world, service),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.may_be_queued = false,
                    ErrorKind::Interrupted => {}
                    // This peer has gone, but the next may be there.
                    kind if has_gone(kind) => {}
                    _ => {
                        self.pause = Some(world.now() + PAUSE);
                        return report(|| service.on_error(&error));
                    }
                },
            }
        }
    }

    fn begin(
        &mut self,
        stream: W::Stream,
        peer: SocketAddr,
        world: &mut W,
        service: &(impl Service + ?Sized),
    ) {
        let accepted = world.now();
        let mut deadline = accepted + self.timeout;
        if let Some(stopping) = &mut self.stopping {
            deadline = deadline.min(stopping.end);
            stopping.queued -= 1;
        }
        let connection = Connection {
            exchange: Exchange::new(),
            stream,
            peer,
            accepted,
        };
        let place = self.places.insert(deadline, connection);
        // Often the request has come with the connection.
        self.advance(place, world, service);
    }

    fn stop(&mut self, world: &W) {
        self.may_be_queued = true; // its event may still be pending
        self.stopping.get_or_insert_with(|| Stopping {
            end: world.now() + self.timeout,
            queued: world.queue_length(),
        });
    }

    /// Closes the listeners of a stopped server as soon as no connection is queued.
    fn stop_listening(&mut self, world: &mut W) {
        let Some(stopping) = self.stopping.as_ref().filter(|_| self.is_listening) else {
            return;
        };
        let is_queue_empty = !self.may_be_queued
            || stopping.queued == 0
            || self.places.is_full() && world.has_queued().is_ok_and(|queued| !queued);
        if is_queue_empty || stopping.end <= world.now() {
            world.close_listeners();
            self.is_listening = false;
        }
    }
}

/// Calls the service. Its panic does not end the loop.
fn report(call: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

/// A stream that allows a limited number of reads in one turn. The next fails with `WouldBlock`.
struct ReadLimited<'a, S> {
    stream: &'a mut S,
    reads_left: usize,
}

impl<S: Duplex> Read for ReadLimited<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reads_left) = self.reads_left.checked_sub(1) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        self.reads_left = reads_left;
        self.stream.read(buffer)
    }
}

impl<S: Duplex> Write for ReadLimited<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Duplex> Duplex for ReadLimited<'_, S> {
    fn half_close(&mut self) -> io::Result<()> {
        self.stream.half_close()
    }
}
