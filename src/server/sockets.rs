//! The world of real sockets. `mio` waits for them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::event_loop::{BACKLOG, Event, Interest, World};
use crate::exchange::Duplex;
use crate::platform;

/// The token of the events of all listeners.
const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);

/// How many events are taken at once.
const EVENTS: usize = 256;

pub(super) struct Sockets {
    poll: Poll,
    events: Events,
    /// The next one to accept from is the first. There is none after the close.
    listeners: VecDeque<Listener>,
    /// Whether the listeners may be blocking: at first, and after each wait. Another process that shares a
    /// listener can make it blocking. systemd does when it starts a second service for a socket. If that
    /// happens just before an `accept`, this loop waits there for the next connection.
    may_block: bool,
    /// Whether one of the loops that share the listeners has closed its handles.
    is_closed: Arc<AtomicBool>,
}

/// This loop's own descriptor of a shared listener. The listener closes with the last of them.
struct Listener {
    own: mio::net::TcpListener,
    shared: Arc<TcpListener>,
}

/// A connection, and the interest that it is watched for.
pub(super) struct Socket {
    stream: mio::net::TcpStream,
    watched: Option<Interest>,
}

impl Sockets {
    pub(super) fn new(shared: &[Arc<TcpListener>], is_closed: Arc<AtomicBool>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let listen = |shared: &Arc<TcpListener>| {
            let shared = Arc::clone(shared);
            let own = watch(&shared, &poll)?;
            Ok(Listener { own, shared })
        };
        let listeners = shared.iter().map(listen).collect::<io::Result<_>>()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            listeners,
            may_block: true,
            is_closed,
        })
    }

    /// Whether this loop still has the listeners.
    pub(super) fn is_listening(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Wakes this loop for [`Event::Stop`], from any thread.
    pub(super) fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), STOP)
    }

    /// Waits for events, at most for `time`. Then they are in [`events`](Self::events).
    pub(super) fn wait(&mut self, time: Option<Duration>) -> io::Result<()> {
        self.may_block = true;
        match self.poll.poll(&mut self.events, time) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            waited => waited,
        }
    }

    pub(super) fn events(&self) -> impl Iterator<Item = Event> {
        self.events.iter().map(|event| match event.token() {
            LISTENER => Event::Queued,
            STOP => Event::Stop,
            Token(place) => Event::Ready(place),
        })
    }
}

/// A new descriptor of `listener`, of whose queue `poll` reports the state and the changes.
fn watch(listener: &TcpListener, poll: &Poll) -> io::Result<mio::net::TcpListener> {
    let mut own = mio::net::TcpListener::from_std(listener.try_clone()?);
    poll.registry()
        .register(&mut own, LISTENER, mio::Interest::READABLE)?;
    Ok(own)
}

impl World for Sockets {
    type Stream = Socket;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn accept(&mut self) -> io::Result<(Socket, SocketAddr)> {
        if std::mem::take(&mut self.may_block) {
            for listener in &self.listeners {
                listener.shared.set_nonblocking(true)?;
            }
        }
        let mut none = ErrorKind::WouldBlock.into();
        for _ in 0..self.listeners.len() {
            self.listeners.rotate_left(1); // so that each has its turn
            match self.listeners[0].own.accept() {
                Ok((stream, peer)) => {
                    let watched = None;
                    return Ok((Socket { stream, watched }, peer));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It is reported only if no other has a connection, so that it delays none of them.
                Err(error) => none = error,
            }
        }
        Err(none)
    }

    fn has_queued(&mut self) -> io::Result<bool> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Ok(false);
        }
        // A new poll reports the current state and not only changes.
        let mut poll = Poll::new()?;
        let listeners = self.listeners.iter();
        let watched = listeners.map(|listener| watch(&listener.shared, &poll));
        let _watched = watched.collect::<io::Result<Vec<_>>>()?;
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::ZERO))?;
        Ok(!events.is_empty())
    }

    fn queue_length(&self) -> usize {
        BACKLOG * self.listeners.len()
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
        self.is_closed.store(true, Ordering::SeqCst);
    }

    fn watch(&mut self, socket: &mut Socket, place: usize, interest: Interest) -> io::Result<()> {
        let Socket { stream, watched } = socket;
        if *watched == Some(interest) {
            return Ok(());
        }
        let (token, registry) = (Token(place), self.poll.registry());
        let wanted = match interest {
            Interest::Readable => mio::Interest::READABLE,
            Interest::Writable => mio::Interest::WRITABLE,
        };
        match watched.replace(interest) {
            None => registry.register(stream, token, wanted),
            Some(_) => registry.reregister(stream, token, wanted),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        platform::send(&self.stream, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Duplex for Socket {
    fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}
