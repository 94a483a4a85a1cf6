//! What the loops of a world share: the connections, the listener's queue, a calendar and a clock. Each loop sees it
//! through the trait `World`.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use upcase::LIMIT;
use upcase::exchange::Duplex;
use upcase::server::event_loop::{BACKLOG, Event, Interest, World};

use super::connection::{Act, Connection};
use super::dice::Dice;

/// How many loops share the listener.
pub const LOOPS: usize = 2;

/// What happens at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    Connect(usize),
    /// The peer does its next act.
    Act(usize),
    /// The peer takes what was written to it.
    Take(usize),
    Stop,
}

/// What the loops share.
pub struct Network {
    pub now: Instant,
    pub dice: Dice,
    pub connections: Vec<Connection>,
    pub queue: VecDeque<usize>,
    /// When a connection was last accepted.
    pub last_accept: Option<Instant>,
    pub calendar: BinaryHeap<Reverse<(Instant, usize, Happening)>>,
    entries: usize,
    /// The events that each loop has not taken yet.
    pub events: Vec<Vec<Event>>,
    pub is_listening: Vec<bool>,
    /// `accept` fails at random, on average once in this number of calls.
    pub scarcity: Option<usize>,
    scarce_until: Instant,
    /// When each loop last found no free descriptor.
    failures: [Option<Instant>; LOOPS],
    /// The shortest time between two such failures of one loop.
    pub shortest_pause: Option<Duration>,
    pub stopped: Option<Instant>,
    /// When a loop last closed its listener.
    pub closed: Option<Instant>,
    /// The number of turns, and the bounded work of the last one.
    pub turn: usize,
    pub accepts: usize,
    pub most_reads: usize,
}

pub type Shared = Rc<RefCell<Network>>;

impl Network {
    /// A network at its start. The queue and the calendar are empty.
    pub fn new(dice: Dice, connections: Vec<Connection>, scarcity: Option<usize>) -> Self {
        let now = Instant::now();
        Self {
            now,
            dice,
            connections,
            queue: VecDeque::new(),
            last_accept: None,
            calendar: BinaryHeap::new(),
            entries: 0,
            events: vec![vec![]; LOOPS],
            is_listening: vec![true; LOOPS],
            scarcity,
            scarce_until: now,
            failures: [None; LOOPS],
            shortest_pause: None,
            stopped: None,
            closed: None,
            turn: 0,
            accepts: 0,
            most_reads: 0,
        }
    }

    /// Enters into the calendar that this will happen after that time.
    pub fn enter(&mut self, after: Duration, happening: Happening) {
        self.entries += 1;
        let entry = (self.now + after, self.entries, happening);
        self.calendar.push(Reverse(entry));
    }

    /// Reports a change to the loop that watches `connection` for it.
    fn tell(&mut self, connection: usize, change: Interest) {
        if let Some((index, place, interest)) = self.connections[connection].watched
            && interest == change
        {
            self.post(index, Event::Ready(place));
        }
    }

    /// Queues `event` for a loop; only once, as a kernel does.
    fn post(&mut self, index: usize, event: Event) {
        if !self.events[index].contains(&event) {
            self.events[index].push(event);
        }
    }

    /// Does what the calendar says, at the present time.
    pub fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connect(connection) => self.connect(connection),
            Happening::Act(connection) => self.act(connection),
            Happening::Take(connection) => {
                self.connections[connection].in_flight = 0;
                self.tell(connection, Interest::Writable);
            }
            Happening::Stop => {
                self.stopped = Some(self.now);
                for events in &mut self.events {
                    events.push(Event::Stop);
                }
            }
        }
    }

    fn connect(&mut self, connection: usize) {
        if !self.is_listening.contains(&true) {
            return;
        }
        self.queue.push_back(connection);
        self.connections[connection].queued = Some(self.now);
        for index in 0..LOOPS {
            if self.is_listening[index] {
                self.post(index, Event::Queued);
            }
        }
        self.enter(Duration::ZERO, Happening::Act(connection));
    }

    fn act(&mut self, connection: usize) {
        let peer = &mut self.connections[connection];
        match peer.acts.pop_front() {
            None => return,
            Some(Act::Send(bytes)) => {
                let room = LIMIT - peer.sent.len().min(LIMIT);
                peer.sent.extend(&bytes[..bytes.len().min(room)]);
                peer.inbox.extend(bytes);
            }
            Some(Act::HalfClose) => peer.has_ended = true,
            Some(Act::Reset) => peer.was_reset = true,
        }
        if peer.has_ended || peer.was_reset {
            peer.ended.get_or_insert(self.now);
        }
        let is_complete = peer.has_ended || peer.sent.len() == LIMIT || peer.sent.contains(&b'\n');
        if is_complete && !peer.was_reset {
            peer.complete.get_or_insert(self.now);
        }
        self.tell(connection, Interest::Readable);
        self.tell(connection, Interest::Writable);
        let pause = match self.dice.below(20) {
            0 => self.dice.milliseconds(0..12_000),
            1..=3 => self.dice.milliseconds(0..50),
            _ => Duration::ZERO,
        };
        self.enter(pause, Happening::Act(connection));
    }
}

/// The world as one loop sees it.
pub struct View {
    pub network: Shared,
    pub index: usize,
}

/// The address of the peer of that connection: its port is the number.
pub fn address(connection: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, u16::try_from(connection).unwrap()).into()
}

/// The server's end of a connection, which closes when it is dropped.
pub struct Stream {
    network: Shared,
    connection: usize,
}

impl World for View {
    type Stream = Stream;

    fn now(&self) -> Instant {
        self.network.borrow().now
    }

    fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        let mut network = self.network.borrow_mut();
        let scarcity = network.scarcity;
        if let Some(scarcity) = scarcity
            && network.dice.once_in(scarcity)
        {
            match network.dice.below(4) {
                0 => return Err(ErrorKind::ConnectionAborted.into()),
                1 => return Err(ErrorKind::Interrupted.into()),
                _ => network.scarce_until = network.now + network.dice.milliseconds(0..500),
            }
        }
        if network.now < network.scarce_until {
            let now = network.now;
            if let Some(last) = network.failures[self.index].replace(now) {
                let shortest = network.shortest_pause.unwrap_or(Duration::MAX);
                network.shortest_pause = Some(shortest.min(now - last));
            }
            return Err(io::Error::from_raw_os_error(24)); // EMFILE
        }
        let now = network.now;
        let next = network.queue.pop_front().ok_or(ErrorKind::WouldBlock)?;
        network.connections[next].accepted = Some(now);
        network.connections[next].holder = self.index;
        network.accepts += 1;
        network.last_accept = Some(now);
        let stream = Stream {
            network: Rc::clone(&self.network),
            connection: next,
        };
        Ok((stream, address(next)))
    }

    fn has_queued(&mut self) -> io::Result<bool> {
        let network = self.network.borrow();
        Ok(network.closed.is_none() && !network.queue.is_empty())
    }

    fn queue_length(&self) -> usize {
        BACKLOG
    }

    fn close_listeners(&mut self) {
        let mut network = self.network.borrow_mut();
        network.is_listening[self.index] = false;
        network.closed = Some(network.now);
        (0..LOOPS).for_each(|index| network.post(index, Event::Stop));
    }

    fn watch(&mut self, stream: &mut Stream, place: usize, interest: Interest) -> io::Result<()> {
        let mut network = self.network.borrow_mut();
        let connection = &mut network.connections[stream.connection];
        let watched = Some((self.index, place, interest));
        if connection.watched == watched {
            return Ok(());
        }
        connection.watched = watched;
        let is_ready = match interest {
            Interest::Readable => {
                !connection.inbox.is_empty() || connection.has_ended || connection.was_reset
            }
            Interest::Writable => connection.in_flight < connection.window || connection.was_reset,
        };
        if is_ready {
            network.post(self.index, Event::Ready(place));
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let turn = network.turn;
        let connection = &mut network.connections[self.connection];
        let reads = match connection.reads {
            (last, reads) if last == turn => reads + 1,
            _ => 1,
        };
        connection.reads = (turn, reads);
        network.most_reads = network.most_reads.max(reads);
        let connection = &mut network.connections[self.connection];
        if connection.was_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if connection.inbox.is_empty() && !connection.has_ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        connection.inbox.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let delay = network.dice.milliseconds(0..30);
        let connection = &mut network.connections[self.connection];
        if connection.was_reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(connection.window - connection.in_flight);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        connection.written.extend(&bytes[..count]);
        connection.in_flight += count;
        network.enter(delay, Happening::Take(self.connection));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Duplex for Stream {
    fn half_close(&mut self) -> io::Result<()> {
        let mut network = self.network.borrow_mut();
        network.connections[self.connection].half_closed = true;
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut network = self.network.borrow_mut();
        let now = network.now;
        let connection = &mut network.connections[self.connection];
        connection.closed = Some(now);
        connection.watched = None;
    }
}
