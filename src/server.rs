//! Serves listeners: many connections at once, one exchange on each, until it is stopped.
//!
//! One event loop runs for each processor, each in its own thread. All loops wait on the same
//! listeners, and each waits on the connections that it has accepted. The connection limit is divided
//! between the loops. No thread is created after startup.
//!
//! - `event_loop`: what a loop does, in any world.
//! - `places`: the connections of a loop and their deadlines.
//! - `service`: what a server does with requests.
//! - `sockets`: the world of real sockets.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mio::Waker;
use socket2::{Domain, Socket, Type};

use crate::platform;
use event_loop::{BACKLOG, EventLoop, World as _};
use sockets::Sockets;

#[doc(hidden)] // public only for the simulation in tests/
pub mod event_loop;
mod places;
mod service;
mod sockets;

pub use service::{Ended, Outcome, Service};

/// The longest time that a server may give a connection (SPEC TIME-1).
pub const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// How many descriptors an event loop has, besides those of its listeners and connections.
const LOOP_DESCRIPTORS: usize = 2;

/// A listener on `address`, with a longer queue than the standard library's. (When a queue is full,
/// TCP tries again only after a second.) A restart on the same port works at once, and `[::]`
/// accepts IPv4 too.
///
/// # Errors
/// The system's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    platform::reuse_port_of_earlier_run(&socket)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.try_into().unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// How many file descriptors a server of this number of `listeners` needs, besides them and one for
/// each connection.
#[must_use]
pub fn descriptors(listeners: usize) -> usize {
    (LOOP_DESCRIPTORS + listeners) * event_loops()
}

/// How many event loops a server has at most: one for each processor.
fn event_loops() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// A server of one or more listeners.
///
/// ```
/// use std::{net::TcpListener, num::NonZeroUsize, thread, time::Duration};
/// use upcase::{client, process, server::Server};
///
/// let server = Server::new(
///     [TcpListener::bind("127.0.0.1:0")?],
///     Duration::from_secs(5),
///     NonZeroUsize::new(100).unwrap(),
/// )?;
/// let (address, stop) = (server.addresses()[0], server.stop_handle());
/// let serving = thread::spawn(|| server.run(&process));
/// let reply = client::exchange(address, b"hello", Duration::from_secs(5));
/// assert_eq!(reply.unwrap(), b"HELLO");
/// stop.stop();
/// serving.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct Server {
    addresses: Vec<SocketAddr>,
    loops: Vec<(Sockets, EventLoop<Sockets>)>,
    stop: StopHandle,
}

/// Stops a [`Server`], from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<[Waker]>);

impl StopHandle {
    /// Stops the server. Clients that are connected now still get their reply, and [`Server::run`]
    /// returns after at most one time-out (SPEC TIME-5).
    ///
    /// The listeners close when the queued connections have been accepted. That is at once, unless
    /// the server holds its maximum of connections.
    pub fn stop(&self) {
        for waker in &*self.0 {
            // It fails only if a wake-up is already pending or the loop has ended.
            let _ = waker.wake();
        }
    }
}

impl Server {
    /// A server for the connections of `listeners`. Each connection may take the time `timeout`, and
    /// there are at most `max_connections` at once, of all listeners together; more wait in the
    /// listeners' queues. SPEC.md asks for 2 seconds (TIME-6) and 40 connections (TIME-7) at least.
    ///
    /// The server needs a file descriptor for each connection and each listener, and as many more as
    /// [`descriptors`] returns. It makes the listeners non-blocking, for all processes that
    /// share them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if there is no listener, or if `timeout` is zero or more than
    /// [`MAX_TIMEOUT`]; otherwise the system's, for example for lack of descriptors.
    pub fn new(
        listeners: impl IntoIterator<Item = TcpListener>,
        timeout: Duration,
        max_connections: NonZeroUsize,
    ) -> io::Result<Self> {
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            let limits = format!(
                "a time-out is more than 0 and at most {} s",
                MAX_TIMEOUT.as_secs()
            );
            return Err(io::Error::new(ErrorKind::InvalidInput, limits));
        }
        let listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
        if listeners.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "no listener"));
        }
        let addresses = listeners.iter().map(|listener| listener.local_addr());
        let addresses = addresses.collect::<io::Result<_>>()?;
        let is_closed = Arc::default();
        let connections = max_connections.get();
        let count = event_loops().min(connections);
        let loops: Vec<_> = (0..count)
            .map(|number| {
                let places = connections / count + usize::from(number < connections % count);
                let sockets = Sockets::new(&listeners, Arc::clone(&is_closed))?;
                Ok((sockets, EventLoop::new(timeout, places)))
            })
            .collect::<io::Result<_>>()?;
        let wakers = loops.iter().map(|(sockets, _)| sockets.waker());
        let stop = StopHandle(wakers.collect::<io::Result<_>>()?);
        Ok(Self {
            addresses,
            loops,
            stop,
        })
    }

    /// The address of each listener, with its actual port, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A handle that stops the server.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Serves until it is stopped and every open exchange is over.
    ///
    /// # Errors
    /// If a thread cannot be started, or the system fails to wait for events. Then the server stops.
    pub fn run(self, service: &dyn Service) -> io::Result<()> {
        let Self { loops, stop, .. } = self;
        let stop = &stop;
        thread::scope(|scope| {
            // All threads are started before the first of them serves.
            let (ready, is_ready) = mpsc::channel();
            let start = |(sockets, event_loop)| {
                let ready = ready.clone();
                let (start, is_started) = mpsc::channel();
                let work = move || {
                    // When one loop ends, for any reason, all end.
                    let _stopping = StopOnDrop(stop);
                    let _ = ready.send(());
                    match is_started.recv() {
                        Ok(()) => serve(sockets, event_loop, service, stop),
                        // The channel was closed: another thread could not be started.
                        Err(mpsc::RecvError) => Ok(()),
                    }
                };
                let thread = thread::Builder::new().name("upcase-loop".into());
                Ok((start, thread.spawn_scoped(scope, work)?))
            };
            let started = loops
                .into_iter()
                .map(start)
                .collect::<io::Result<Vec<_>>>()?;
            is_ready.iter().take(started.len()).for_each(drop);
            service.on_start();
            for (start, _) in &started {
                let _ = start.send(());
            }
            let mut ended = started.into_iter().map(|(_, thread)| thread.join());
            ended.try_for_each(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }
}

struct StopOnDrop<'a>(&'a StopHandle);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs one loop until it is over.
fn serve(
    mut sockets: Sockets,
    mut event_loop: EventLoop<Sockets>,
    service: &dyn Service,
    stop: &StopHandle,
) -> io::Result<()> {
    let mut events = Vec::new();
    while !event_loop.is_over() {
        sockets.wait(event_loop.max_wait(sockets.now()))?;
        events.extend(sockets.events());
        let was_listening = sockets.is_listening();
        event_loop.turn(&mut sockets, service, events.drain(..));
        if was_listening && !sockets.is_listening() {
            stop.stop(); // so that the other loops close them too, even if they are full
        }
    }
    Ok(())
}
