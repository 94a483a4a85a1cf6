//! One event loop: many exchanges at once, in one thread.
//!
//! [`EventLoop::turn`] does what there is to be done and never waits; [`EventLoop::patience`] says
//! how long the thread may wait before the next turn. All else, the sockets and the clock, is
//! behind the trait [`World`]. So the same code runs over the network, and in the project's tests
//! over a world in memory.
//!
//! The rules:
//!
//! - A turn does bounded work: it accepts so many connections, gives each connection so many reads,
//!   and closes so many that have reached their deadline. What is left is done in the next turn,
//!   which comes at once; so nobody who floods keeps the others waiting.
//! - The world tells only what has changed. The loop remembers that somebody may be queued until
//!   `accept` finds nobody, and that a connection has more to read until reading finds nothing.
//! - What goes wrong in an exchange, an error or a panic of the service, ends it and nothing else.
//! - A deadline is a connection's own, and nothing that happens on the connection changes it.
//! - To stop, it accepts those who are queued, until there are none; then it closes the listener,
//!   and is over with the last exchange.

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

/// How much earlier than SPEC TIME-1 allows a connection is closed at the latest. The system may
/// wake a thread later than it asked for.
const MARGIN: Duration = Duration::from_millis(100);

/// What a connection is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// That it can be read.
    Readable,
    /// That it can be written to.
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

    /// Whether a connection is queued.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn has_queued(&mut self) -> io::Result<bool>;

    /// Closes the listener, for this loop.
    fn close(&mut self);

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
    /// Whether somebody may be queued.
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
    /// When nobody is answered any more.
    end: Instant,
    /// How many of those who were queued then may still be to be accepted. Those who come behind
    /// them may be for another process that shares the listener.
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
            may_be_queued: true, // before the start
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

    /// How long to wait for an event before the next turn; `None` is for as long as it takes.
    #[must_use]
    pub fn patience(&self, now: Instant) -> Option<Duration> {
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
        let unfinished = std::mem::take(&mut self.unfinished);
        for event in events {
            match event {
                Event::Queued => self.may_be_queued = true,
                Event::Ready(place) => self.advance(place, world, service),
                Event::Stop => self.stop(world.now()),
            }
        }
        for place in unfinished {
            self.advance(place, world, service);
        }
        self.close_overdue(world.now());
        self.accept(world, service);
        self.stop_listening(world);
    }

    /// Goes on with the exchange at `place`. An event may be older than its connection: then there
    /// is nothing to read yet, and no harm done.
    fn advance(&mut self, place: usize, world: &mut W, service: &(impl Service + ?Sized)) {
        let Some(connection) = self.places.get_mut(place) else {
            return;
        };
        let peer = connection.peer;
        let mut stream = Rationed {
            stream: &mut connection.stream,
            reads: READS,
        };
        let exchange = &mut connection.exchange;
        // A panic has been reported by the panic hook; it costs this exchange alone.
        let advanced = catch_unwind(AssertUnwindSafe(|| {
            exchange.advance(&mut stream, |request| service.answer(peer, request))
        }));
        let waits = matches!(&advanced, Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock);
        if !waits {
            // It is over, or has failed: an error is the peer's loss, and there is nobody to tell.
            self.places.remove(place);
        } else if stream.reads == 0 {
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
        self.is_listening && self.may_be_queued && !self.places.is_full()
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
            stopping.queued = stopping.queued.saturating_sub(1);
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
        self.may_be_queued = true; // to be sure
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
            world.close();
            self.is_listening = false;
        }
    }
}

/// Reports `error`. The service is not ours: if it panics, the loop goes on.
fn report(service: &(impl Service + ?Sized), error: &io::Error) {
    let _ = catch_unwind(AssertUnwindSafe(|| service.on_error(error)));
}

/// A stream that can be read so many times in this turn.
struct Rationed<'a, S> {
    stream: &'a mut S,
    reads: usize,
}

impl<S: Duplex> Read for Rationed<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reads) = self.reads.checked_sub(1) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        self.reads = reads;
        self.stream.read(buffer)
    }
}

impl<S: Duplex> Write for Rationed<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Duplex> Duplex for Rationed<'_, S> {
    fn half_close(&mut self) -> io::Result<()> {
        self.stream.half_close()
    }
}
