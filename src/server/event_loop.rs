//! One event loop: many exchanges at once, in one thread.
//!
//! [`EventLoop::turn`] does what there is to be done and never waits; [`EventLoop::max_wait`] says
//! how long the thread may wait before the next turn. All else, the sockets and the clock, is
//! behind the trait [`World`]. So the same code runs over the network, and in the project's tests
//! over a world in memory.
//!
//! The rules:
//!
//! - A turn does bounded work: at most `ACCEPTS` accepts, `READS` reads of each connection, and
//!   `CLOSES` closes at a deadline. The rest is done in the next turn, which follows at once. So a
//!   peer that floods does not delay the others.
//! - The world tells only of changes. So the loop remembers that a connection may be queued until
//!   `accept` finds none, and that a peer may have sent more until a read finds nothing.
//! - What goes wrong in an exchange, an error or a panic of the service, ends it and nothing else.
//! - A deadline is a connection's own, and nothing that happens on the connection changes it. What
//!   comes after it is not looked at, however late the loop is.
//! - To stop, the loop accepts the queued connections until none is left, closes the listener, and
//!   ends with the last exchange.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::places::Places;
use super::{BACKLOG, MAX_TIMEOUT, Service};
use crate::exchange::{Duplex, Exchange, Next};

/// How many connections are accepted in a turn.
const ACCEPTS: usize = 64;

/// How many reads a connection has in a turn.
const READS: usize = 16;

/// How many connections are closed at their deadline in a turn.
const CLOSES: usize = 256;

/// How long `accept` is left alone after the system ran out of descriptors or memory, which others
/// will give back.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections are closed at least this long before the limit of SPEC TIME-1, because the system
/// may wake a thread late.
const MARGIN: Duration = Duration::from_millis(100);

/// The readiness to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The stream can be read.
    Readable,
    /// The stream can be written to.
    Writable,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was queued at the listener.
    Queued,
    /// The connection at this place can be read or written to.
    Ready(usize),
    /// The server is to stop.
    Stop,
}

/// The world around an event loop: a listener, its connections, and a clock.
pub trait World {
    /// A connection, which does not block.
    type Stream: Duplex;

    /// The time.
    fn now(&self) -> Instant;

    /// The connection that was queued first, with its peer's address.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] where none is queued: the next will be an [`Event::Queued`].
    /// Otherwise the system's own.
    fn accept(&mut self) -> io::Result<(Self::Stream, IpAddr)>;

    /// Whether a connection is queued that is still to be accepted: none is, once a loop has closed
    /// the listener that this one shares.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn has_queued(&mut self) -> io::Result<bool>;

    /// Closes this loop's handle of the listener, which closes with the last of them.
    fn close_listener(&mut self);

    /// Asks for an [`Event::Ready`] of this `place` whenever `stream` gets ready, and at once if
    /// it is. An interest that it had before is replaced.
    ///
    /// # Errors
    /// The system's own.
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
    /// The places whose stream may have more to read than the last turn allowed.
    unfinished: Vec<usize>,
    /// Whether a connection may be queued.
    may_be_queued: bool,
    /// Until when `accept` is left alone.
    pause: Option<Instant>,
    is_listening: bool,
    stopping: Option<Stopping>,
}

struct Connection<S> {
    exchange: Exchange,
    stream: S,
    peer: IpAddr,
}

/// A server that was told to stop.
struct Stopping {
    /// When all connections are closed.
    end: Instant,
    /// How many more connections to accept: no more were queued at the stop. Later ones are for
    /// another process that may share the listener.
    queued: usize,
}

impl<W: World> EventLoop<W> {
    /// A loop that gives each connection the time `timeout`, and holds at most so many at once.
    #[must_use]
    pub fn new(timeout: Duration, most: usize) -> Self {
        Self {
            timeout: timeout.min(MAX_TIMEOUT.saturating_sub(MARGIN)),
            places: Places::new(most),
            unfinished: Vec::new(),
            may_be_queued: true, // since before the start
            pause: None,
            is_listening: true,
            stopping: None,
        }
    }

    /// Whether it was stopped, and the last exchange is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_listening && self.places.is_empty()
    }

    /// How long the thread may wait before the next turn. `None`: until an event comes.
    #[must_use]
    pub fn max_wait(&self, now: Instant) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept = self.can_accept().then(|| self.pause.unwrap_or(now));
        let deadline = self.places.next().map(|(deadline, _)| deadline);
        // Another loop, or another process, may accept those for whom this one has no place.
        let stopping = self.stopping.as_ref().filter(|_| self.is_listening);
        let queue = stopping.map(|stopping| stopping.end.min(now + PAUSE));
        let next = [accept, deadline, queue];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Does what there is to be done after these events.
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
                Event::Stop => self.stop(world.now()),
            }
        }
        ready.sort_unstable();
        ready.dedup();
        for place in ready {
            self.advance(place, world, service);
        }
        self.close_overdue(world.now());
        self.accept(world, service);
        self.stop_listening(world);
    }

    /// Goes on with the exchange at `place`. An event may be older than its connection: then there
    /// is nothing to read yet, and no harm done.
    fn advance(&mut self, place: usize, world: &mut W, service: &(impl Service + ?Sized)) {
        let Some((deadline, connection)) = self.places.get_mut(place) else {
            return;
        };
        if deadline <= world.now() {
            return self.places.remove(place); // what comes now comes too late (SPEC TIME-2)
        }
        let peer = connection.peer;
        let mut stream = ReadLimited {
            stream: &mut connection.stream,
            reads_left: READS,
        };
        let exchange = &mut connection.exchange;
        // A panic has been reported by the panic hook; it costs this exchange alone.
        let advanced = catch_unwind(AssertUnwindSafe(|| {
            exchange.advance(&mut stream, |request| service.answer(peer, request))
        }));
        let waits = matches!(&advanced, Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock);
        if !waits {
            // It is over or has failed, which affects this peer alone.
            self.places.remove(place);
        } else if stream.reads_left == 0 {
            self.unfinished.push(place);
        } else {
            let interest = match connection.exchange.next() {
                Next::Write(_) => Interest::Writable,
                _ => Interest::Readable,
            };
            if let Err(error) = world.watch(&mut connection.stream, place, interest) {
                self.places.remove(place);
                report(service, &error);
            }
        }
    }

    fn close_overdue(&mut self, now: Instant) {
        for _ in 0..CLOSES {
            match self.places.next() {
                Some((deadline, place)) if deadline <= now => self.places.remove(place),
                _ => return,
            }
        }
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
                    // The peer has gone; the next may be there.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => {
                        self.pause = Some(world.now() + PAUSE);
                        return report(service, &error);
                    }
                },
            }
        }
    }

    fn begin(
        &mut self,
        stream: W::Stream,
        peer: IpAddr,
        world: &mut W,
        service: &(impl Service + ?Sized),
    ) {
        let mut deadline = world.now() + self.timeout;
        if let Some(stopping) = &mut self.stopping {
            deadline = deadline.min(stopping.end);
            stopping.queued -= 1;
        }
        let connection = Connection {
            exchange: Exchange::new(),
            stream,
            peer,
        };
        let place = self.places.insert(deadline, connection);
        // The request has often come with the connection.
        self.advance(place, world, service);
    }

    fn stop(&mut self, now: Instant) {
        self.may_be_queued = true; // its event may still be pending
        self.stopping.get_or_insert(Stopping {
            end: now + self.timeout,
            queued: BACKLOG.unsigned_abs() as usize,
        });
    }

    /// Closes the listener of a server that was stopped, as soon as nobody is queued.
    fn stop_listening(&mut self, world: &mut W) {
        let Some(stopping) = self.stopping.as_ref().filter(|_| self.is_listening) else {
            return;
        };
        let is_queue_empty = !self.may_be_queued
            || stopping.queued == 0
            || self.places.is_full() && world.has_queued().is_ok_and(|queued| !queued);
        if is_queue_empty || stopping.end <= world.now() {
            world.close_listener();
            self.is_listening = false;
        }
    }
}

/// Reports `error`. A panic of the service does not end the loop.
fn report(service: &(impl Service + ?Sized), error: &io::Error) {
    let _ = catch_unwind(AssertUnwindSafe(|| service.on_error(error)));
}

/// A stream that allows a limited number of reads in one turn, and then says `WouldBlock`.
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
