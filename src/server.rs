//! Serves a listener: one exchange a connection, many connections at once, until it is stopped.
//!
//! The design, in the order of one connection's life:
//!
//! - *Workers* are threads that block in `accept` on one shared listener; the kernel hands each
//!   connection to one of them, and there is nothing else to hand over. A worker is *at work*
//!   while it waits or its exchange is young, and *stalled* when that has gone on for `YOUNG`.
//!   Few at work are enough to keep the processors busy, and more would take them from each other;
//!   so the worker that leaves nobody waiting starts another only if fewer than `ENOUGH` are. One
//!   that leaves nobody waiting by stalling starts two, up to `PLENTY`: where one peer is slow,
//!   others are. One that comes back and finds others waiting ends if there are enough. With the
//!   stalled, they are as many as connections may be; past that bound connections wait in the
//!   kernel's queue.
//! - An [`exchange`] reads one request, writes its reply, half-closes, and discards what else
//!   comes, all under one deadline. What goes wrong in it, be it an error or a panic, ends it and
//!   nothing else.
//! - *Stopping* is a connection of our own. The kernel hands connections out in the order in
//!   which they came, so the worker that accepts ours knows that everyone who came before it has
//!   been accepted: it closes the server to those after it, and wakes the next worker that waits
//!   in the same way. [`Server::run`] returns when the last exchange has ended.
//!
//! Rules of this file: the only place that owns threads; no lock on the way of a connection.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::deadline::Timed;
use crate::request::{Received, is_time_out, receive};
use crate::{BUFFER, LIMIT};

/// The longest time that a server may give a connection (SPEC TIME-1).
pub const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections the kernel shall queue for `accept`. The standard library's 128 would
/// cost the clients of a burst a second each, the time until they knock again.
pub const BACKLOG: i32 = 4096;

/// How many workers at work are enough, for each processor. More than one, for an exchange that is
/// young waits for its peer too; few, so that they do not keep each other from the processor.
const ENOUGH: usize = 8;

/// How many workers are at work at most, for each processor. So many connections can stall at once
/// before those who come then have to wait, [`YOUNG`] long.
const PLENTY: usize = 32;

/// How long an exchange is young. Among peers that are near and ready few take longer.
const YOUNG: Duration = Duration::from_millis(2);

/// How deep a worker's stack is, in bytes. An exchange needs some 10 KiB, and a log or a panic
/// message some more.
const STACK: usize = 256 * 1024;

/// How long `accept` is left alone after the system ran out of descriptors or memory, which others
/// will give back.
const PAUSE: Duration = Duration::from_millis(100);

/// The same, after a peer had gone before it was accepted. The next may be there already; but if
/// they all go, that is no reason to spin.
const ABORTED_PAUSE: Duration = Duration::from_millis(1);

/// What a server does with requests.
pub trait Service: Sync {
    /// The reply to `request`, which came from `peer`; it may be made in `room`. This should not
    /// wait: while it does, it keeps one of the few workers that are at work.
    fn answer<'r>(&self, peer: IpAddr, request: &[u8], room: &'r mut [u8; BUFFER]) -> &'r [u8];

    /// Called when serving is hampered, though it goes on: a connection could not be accepted, or
    /// a thread not be started, for the reason in `error`. It may be called often, and should not
    /// wait.
    fn hampered(&self, _error: &io::Error) {}
}

/// A bare function is a service that knows nothing of peers.
impl<F> Service for F
where
    F: for<'r> Fn(&[u8], &'r mut [u8; BUFFER]) -> &'r [u8] + Sync,
{
    fn answer<'r>(&self, _: IpAddr, request: &[u8], room: &'r mut [u8; BUFFER]) -> &'r [u8] {
        self(request, room)
    }
}

/// Where a server's connections come from: a listener, or one that is made to fail.
pub trait Accept: Send + Sync + Debug {
    /// The address that peers connect to. [`Server::stop`] connects to it too.
    ///
    /// # Errors
    /// The system's own.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Waits for the next connection, in the order in which they came. Many threads may wait at
    /// once.
    ///
    /// # Errors
    /// The system's own; the server goes on, and tries again after a while.
    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)>;
}

impl Accept for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept()
    }
}

/// A byte stream in both directions of which one can be ended alone.
pub trait Duplex: Read + Write {
    /// Ends the sending side; the other end reads the end of the stream.
    ///
    /// # Errors
    /// If the connection is gone.
    fn half_close(&mut self) -> io::Result<()>;
}

/// The server's side of one exchange over `stream`: reads a request, writes what `answer` makes
/// of it, half-closes, and reads on until the other side ends (SPEC REPLY-1 to REPLY-3,
/// SURPLUS-1, SURPLUS-2). The stream is to be closed after it.
///
/// # Errors
/// The stream's own; of kind [`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`] where its time
/// was up. The peer has its whole reply, or not a byte of it, unless writing it failed.
pub fn exchange(
    stream: &mut (impl Duplex + ?Sized),
    answer: impl for<'r> FnOnce(&[u8], &'r mut [u8; BUFFER]) -> &'r [u8],
) -> io::Result<()> {
    let mut buffer = [0; LIMIT];
    match receive(stream, &mut buffer) {
        Received::Complete(request) => write_reply(stream, request, answer)?,
        Received::Incomplete => return Err(ErrorKind::TimedOut.into()),
        Received::Failed(error) => return Err(error),
    }
    stream.half_close()?;
    // Closing now, with bytes unread or still under way, would reset the connection, and the
    // reset may overtake the reply.
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

/// A function of its own, so that nobody whose peer has stalled has its buffer on the stack.
#[inline(never)]
fn write_reply(
    stream: &mut (impl Duplex + ?Sized),
    request: &[u8],
    answer: impl for<'r> FnOnce(&[u8], &'r mut [u8; BUFFER]) -> &'r [u8],
) -> io::Result<()> {
    stream.write_all(answer(request, &mut [0; BUFFER]))
}

/// A server of one listener.
///
/// ```
/// use std::{net::TcpListener, num::NonZeroUsize, thread, time::Duration};
/// use upcase::{client, process_into, server::Server};
///
/// let server = Server::new(
///     TcpListener::bind("127.0.0.1:0")?,
///     Duration::from_secs(5),
///     NonZeroUsize::new(100).unwrap(),
/// )?;
/// thread::scope(|scope| {
///     let serving = scope.spawn(|| server.run(&process_into));
///     let reply = client::exchange(server.address(), b"hello", Duration::from_secs(5));
///     assert_eq!(reply.unwrap(), b"HELLO");
///     server.stop();
///     serving.join().unwrap()
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    timeout: Duration,
    max_connections: usize,
    /// How many processors there are.
    processors: usize,
    /// The listener's one lasting owner, until it closes.
    listener: Mutex<Option<Arc<dyn Accept>>>,
    /// The same, for workers, who own it only while they wait: so it closes while others are
    /// still busy with their exchanges.
    accepting: Weak<dyn Accept>,
    /// How many workers there are.
    workers: AtomicUsize,
    /// How many of them are at work: they wait, or their exchange is young.
    at_work: AtomicUsize,
    /// How many of these wait in `accept`, or are about to.
    waiting: AtomicUsize,
    /// When the server was told to stop.
    stopped: OnceLock<Instant>,
    /// Whether everyone who came before that has been accepted.
    closed: AtomicBool,
    /// The near ends of the connections that wake workers.
    wakers: Mutex<HashSet<SocketAddr>>,
    /// Held by the one worker that pauses before it tries a failing `accept` again.
    retrying: Mutex<()>,
}

impl Server {
    /// A server that will give each connection accepted from `listener` the time `timeout`, and
    /// hold at most `max_connections` at once.
    ///
    /// It takes as many descriptors and threads as it holds connections; the kernel sets one aside
    /// for each thread that waits in `accept` too. Fewer descriptors than `max_connections` can
    /// keep [`stop`](Self::stop) from making the connection that wakes the others.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::InvalidInput`] where `timeout` is zero or more than [`MAX_TIMEOUT`];
    /// otherwise the listener's.
    pub fn new(
        listener: impl Accept + 'static,
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
        let address = listener.local_addr()?;
        let listener: Arc<dyn Accept> = Arc::new(listener);
        Ok(Self {
            address,
            timeout,
            max_connections: max_connections.get(),
            processors: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            accepting: Arc::downgrade(&listener),
            listener: Mutex::new(Some(listener)),
            workers: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            stopped: OnceLock::new(),
            closed: AtomicBool::new(false),
            wakers: Mutex::default(),
            retrying: Mutex::default(),
        })
    }

    /// The address that the server listens on, with the port that it really has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until [`stop`](Self::stop) is called and every exchange under way has ended.
    ///
    /// # Errors
    /// Where not even one thread can be started.
    pub fn run(&self, service: &dyn Service) -> io::Result<()> {
        thread::scope(|scope| self.hire(ENOUGH, scope, service))
    }

    /// Stops the server: everyone who has connected by now is answered, hardly anyone after, and
    /// [`run`](Self::run) returns, no later than one time-out from now (SPEC TIME-5).
    ///
    /// For that the server connects to itself. Where it cannot, for lack of a descriptor, say, this
    /// tries again and again; and where it never can, workers that wait for connections end only as
    /// others make some, one by one. From one time-out on nobody is answered, and the program may
    /// as well exit.
    pub fn stop(&self) {
        if self.stopped.set(Instant::now()).is_ok() {
            self.wake();
        }
    }

    /// Starts a worker, unless so many are at work for each processor, or the bound is reached.
    fn hire<'scope, 'env>(
        &'env self,
        most: usize,
        scope: &'scope Scope<'scope, 'env>,
        service: &'env dyn Service,
    ) -> io::Result<()> {
        if !take_place(&self.workers, self.max_connections) {
            return Ok(());
        }
        let leave = || self.workers.fetch_sub(1, Ordering::SeqCst);
        if !take_place(&self.at_work, most * self.processors) {
            leave();
            return Ok(());
        }
        let leave = move || {
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            leave();
        };
        let work = move || {
            self.work(scope, service);
            leave();
        };
        let worker = thread::Builder::new()
            .name("upcase-worker".into())
            .stack_size(STACK);
        let started = worker.spawn_scoped(scope, work).map(drop);
        started.inspect_err(|_| leave())
    }

    /// A worker's life: accepts connections and serves each to its end.
    fn work<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        service: &'env dyn Service,
    ) {
        // It is not ours, and shall cost no worker.
        let hampered = |error: &io::Error| {
            let _ = catch_unwind(AssertUnwindSafe(|| service.hampered(error)));
        };
        let hire = |most| {
            if let Err(error) = self.hire(most, scope, service) {
                hampered(&error);
            }
        };
        loop {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let open = !self.closed.load(Ordering::SeqCst);
            let listener = self.accepting.upgrade().filter(|_| open);
            let accepted = listener.map(|listener| listener.accept());
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            match accepted {
                None => return,
                Some(Ok((_, peer))) if self.is_waker(peer) => return self.close(),
                Some(Ok((stream, peer))) => {
                    let accepted = Instant::now();
                    if self.nobody_waits() {
                        hire(ENOUGH);
                    }
                    let stalled = Cell::new(false);
                    let stall = || {
                        stalled.set(true);
                        self.at_work.fetch_sub(1, Ordering::SeqCst);
                        if self.nobody_waits() {
                            hire(PLENTY);
                            hire(PLENTY);
                        }
                    };
                    let serve = || self.serve((&stream, peer, accepted), service, &stall);
                    // A panic has been reported by the panic hook; it costs this exchange alone.
                    let _ = catch_unwind(AssertUnwindSafe(serve));
                    if stalled.get() {
                        self.at_work.fetch_add(1, Ordering::SeqCst);
                    }
                    if self.is_superfluous() {
                        return;
                    }
                }
                Some(Err(error)) => {
                    let aborted = error.kind() == ErrorKind::ConnectionAborted;
                    if !aborted {
                        hampered(&error);
                    }
                    // One worker that tries again now and then is enough: it will start others.
                    let Ok(_turn) = self.retrying.try_lock() else {
                        return;
                    };
                    thread::sleep(if aborted { ABORTED_PAUSE } else { PAUSE });
                }
            }
            if self.is_overdue() {
                return self.close();
            }
        }
    }

    fn nobody_waits(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Whether there are workers enough without the one that asks.
    fn is_superfluous(&self) -> bool {
        let at_work = self.at_work.load(Ordering::SeqCst);
        !self.nobody_waits() && at_work > ENOUGH * self.processors
    }

    /// One connection, from its acceptance to just before its closing. When it is no longer young,
    /// `stall` is called, once.
    fn serve(
        &self,
        (stream, peer, accepted): (&TcpStream, SocketAddr, Instant),
        service: &dyn Service,
        stall: &dyn Fn(),
    ) {
        let start = self
            .stopped
            .get()
            .map_or(accepted, |stopped| accepted.min(*stopped));
        let mut stream = Ageing {
            stream,
            young: Some(accepted + YOUNG),
            deadline: start + self.timeout,
            stall,
        };
        // An error is the peer's doing and the peer's loss; there is nobody to tell.
        let _ = exchange(&mut stream, |request, room| {
            service.answer(peer.ip(), request, room)
        });
    }

    /// Closes the server to newcomers, and wakes a worker that waits for one, which does the
    /// same. The listener itself closes when none waits on it.
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        lock(&self.listener).take();
        self.wake();
    }

    /// Wakes a worker that blocks in `accept`, by a connection of our own, once those who are
    /// queued before it have been accepted. Where none does, nobody owns the listener any more.
    fn wake(&self) {
        let localhost = |ip: IpAddr| SocketAddr::new(ip, self.address.port());
        let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let addresses = match self.address.ip() {
            ip if !ip.is_unspecified() => vec![self.address],
            IpAddr::V4(_) => vec![localhost(four)],
            // A machine may lack the one, and a listener the other.
            IpAddr::V6(_) => vec![localhost(six), localhost(four)],
        };
        while self.accepting.strong_count() > 0 {
            for address in &addresses {
                // Locked until the connection is entered: who accepts it looks it up here.
                let mut wakers = lock(&self.wakers);
                let waker = TcpStream::connect_timeout(address, PAUSE);
                if let Ok(own) = waker.and_then(|stream| stream.local_addr()) {
                    wakers.insert(canonical(own));
                    return;
                }
            }
            thread::sleep(PAUSE); // out of descriptors, or the queue is full
        }
    }

    /// Whether the server was told to stop so long ago that no exchange goes on.
    fn is_overdue(&self) -> bool {
        let stopped = self.stopped.get();
        stopped.is_some_and(|stopped| stopped.elapsed() >= self.timeout)
    }

    /// Whether the connection from `peer` is one that [`wake`](Self::wake) made.
    fn is_waker(&self, peer: SocketAddr) -> bool {
        self.stopped.get().is_some() && lock(&self.wakers).remove(&canonical(peer))
    }
}

/// A connection until its `deadline`. When reading outlasts its youth, `stall` is called.
struct Ageing<'a> {
    stream: &'a TcpStream,
    young: Option<Instant>,
    deadline: Instant,
    stall: &'a dyn Fn(),
}

impl Ageing<'_> {
    fn until(&self, deadline: Instant) -> Timed<'_> {
        let deadline = deadline.min(self.deadline);
        Timed {
            stream: self.stream,
            deadline,
        }
    }
}

impl Read for Ageing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(young) = self.young {
            match self.until(young).read(buffer) {
                Err(error) if is_time_out(&error) => {}
                read => return read,
            }
            self.young = None;
            (self.stall)();
        }
        self.until(self.deadline).read(buffer)
    }
}

impl Write for Ageing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until(self.deadline).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // as of `Timed`
    }
}

impl Duplex for Ageing<'_> {
    fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

/// An IPv4 address as such, also where a listener for IPv6 took its connection.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Adds one to `count` if that stays within `most`.
fn take_place(count: &AtomicUsize, most: usize) -> bool {
    let one_more = |count| (count < most).then_some(count + 1);
    count
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
        .is_ok()
}

/// What `mutex` guards. Nothing that is done under a lock here can leave it half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
