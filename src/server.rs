//! Serves a listener: one exchange a connection, many connections at once, until it is stopped.
//!
//! One event loop runs for each processor, in a thread of its own. All loops wait on the same
//! listener, and each on the connections that it has accepted. The limit of connections is divided
//! between the loops. No thread is started after the start.
//!
//! - [`event_loop`]: what a loop does, over any world.
//! - `places`: the connections that a loop holds, and their deadlines.
//! - `sockets`: the world of real sockets.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mio::Waker;

use event_loop::{EventLoop, World as _};
use sockets::Sockets;

pub mod event_loop;
mod places;
mod sockets;

/// The longest time that a server may give a connection (SPEC TIME-1).
pub const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections a listener should queue. The standard library uses 128. When that queue is
/// full, TCP tries again only after a second.
pub const BACKLOG: i32 = 4096;

/// How many descriptors an event loop takes, beside those of its connections.
pub const LOOP_DESCRIPTORS: usize = 3;

/// How many event loops a server has, if it may hold as many connections: one for each processor.
#[must_use]
pub fn event_loops() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What a server does with requests.
pub trait Service: Sync {
    /// The reply to `request`, which came from `peer`: at most [`LIMIT`](crate::LIMIT) bytes.
    ///
    /// All other connections of the event loop wait while this runs, so it must not block. If it
    /// panics, or the reply is too long, only this connection is closed.
    fn answer(&self, peer: IpAddr, request: &[u8]) -> Vec<u8>;

    /// Called once, before the first connection is accepted. From then on the server starts no
    /// thread.
    fn on_start(&self) {}

    /// Called where a connection could not be accepted or watched, for the reason in `error`. The
    /// server goes on. This may be called often, and must not block.
    fn on_error(&self, _error: &io::Error) {}
}

/// A bare function is a service that does not look at peers.
impl<F: Fn(&[u8]) -> Vec<u8> + Sync> Service for F {
    fn answer(&self, _: IpAddr, request: &[u8]) -> Vec<u8> {
        self(request)
    }
}

/// A server of one listener.
///
/// ```
/// use std::{net::TcpListener, num::NonZeroUsize, thread, time::Duration};
/// use upcase::{client, process, server::Server};
///
/// let server = Server::new(
///     TcpListener::bind("127.0.0.1:0")?,
///     Duration::from_secs(5),
///     NonZeroUsize::new(100).unwrap(),
/// )?;
/// let (address, stop) = (server.address(), server.stop_handle());
/// let serving = thread::spawn(|| server.run(&process));
/// let reply = client::exchange(address, b"hello", Duration::from_secs(5));
/// assert_eq!(reply.unwrap(), b"HELLO");
/// stop.stop();
/// serving.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct Server {
    address: SocketAddr,
    loops: Vec<(Sockets, EventLoop<Sockets>)>,
    stop: StopHandle,
}

/// Stops a [`Server`], from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<[Waker]>);

impl StopHandle {
    /// Stops the server. Clients that have connected by now are answered, and [`Server::run`]
    /// returns at most one time-out from now (SPEC TIME-5).
    ///
    /// The listener closes as soon as the queued connections have been accepted: at once, unless
    /// the server holds as many connections as it may.
    pub fn stop(&self) {
        for waker in &*self.0 {
            // This fails only if a wake-up is pending already, or the loop has ended.
            let _ = waker.wake();
        }
    }
}

impl Server {
    /// A server that will give each connection accepted from `listener` the time `timeout`, and
    /// hold at most `max_connections` at once. More wait in the listener's queue.
    ///
    /// It takes a descriptor for each connection, one for the listener, and
    /// [`LOOP_DESCRIPTORS`] for each of its [`event_loops`]. The listener is made non-blocking.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::InvalidInput`] where `timeout` is zero or more than [`MAX_TIMEOUT`];
    /// otherwise the system's, for the listener or for lack of descriptors.
    pub fn new(
        listener: TcpListener,
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
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (listener, is_closed) = (Arc::new(listener), Arc::default());
        let connections = max_connections.get();
        let count = event_loops().min(connections);
        let loops: Vec<_> = (0..count)
            .map(|number| {
                let places = connections / count + usize::from(number < connections % count);
                let sockets = Sockets::new(Arc::clone(&listener), Arc::clone(&is_closed))?;
                Ok((sockets, EventLoop::new(timeout, places)))
            })
            .collect::<io::Result<_>>()?;
        let wakers = loops.iter().map(|(sockets, _)| sockets.waker());
        let stop = StopHandle(wakers.collect::<io::Result<_>>()?);
        Ok(Self {
            address,
            loops,
            stop,
        })
    }

    /// The address that the server listens on, with the port that it really has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops the server.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Serves until it is stopped and every exchange under way is over.
    ///
    /// # Errors
    /// Where a thread cannot be started, or the system refuses to wait for events. The server stops
    /// then.
    pub fn run(self, service: &dyn Service) -> io::Result<()> {
        let Self { loops, stop, .. } = self;
        let stop = &stop;
        thread::scope(|scope| {
            // All threads start before the first of them serves.
            let (ready, is_ready) = mpsc::channel();
            let start = |(sockets, event_loop)| {
                let ready = ready.clone();
                let (start, is_started) = mpsc::channel();
                let work = move || {
                    // Whatever ends one loop ends them all.
                    let _stopping = StopOnDrop(stop);
                    let _ = ready.send(());
                    match is_started.recv() {
                        Ok(()) => serve(sockets, event_loop, service, stop),
                        // The channel is closed: another thread could not be started.
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

/// The life of one loop's thread.
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
            stop.stop(); // the other loops close it too, also those that are full
        }
    }
    Ok(())
}
