//! The event loops in a simulated world, with a clock of its own.
//!
//! A world is made from a seed: when each peer connects, what it sends in which pieces, where it
//! stalls, sends endlessly or resets, when `accept` fails, and when the server is stopped. Two loops
//! share a listener, as two threads do. Nothing waits: if no loop has work, the clock jumps to the
//! next happening. A failing seed is printed with the command that runs it alone.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::env;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use upcase::conformance::reference;
use upcase::exchange::Duplex;
use upcase::server::event_loop::{BACKLOG, Event, EventLoop, Interest, World};
use upcase::server::{Ended, MAX_TIMEOUT, Outcome, Service};
use upcase::{LIMIT, process};

/// How many worlds `cargo test` runs.
const SEEDS: Range<u64> = 0..3000;

/// The variable that names one seed to run.
const SEED: &str = "UPCASE_SIMULATION_SEED";

/// How late a loop may be, because of the kernel and other threads.
const LATE: Duration = Duration::from_millis(20);

/// How late it may be in some worlds.
const VERY_LATE: Duration = Duration::from_millis(500);

/// Random numbers from a seed.
struct Dice(TestRng);

impl Dice {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u64() % end as u64).unwrap()
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn milliseconds(&mut self, range: Range<usize>) -> Duration {
        Duration::from_millis((range.start + self.below(range.len())) as u64)
    }
}

/// What happens at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Connect(usize),
    /// The peer does its next act.
    Act(usize),
    /// The peer takes what was written to it.
    Take(usize),
    Stop,
}

/// What a peer does next.
#[derive(Clone)]
enum Act {
    Send(Vec<u8>),
    HalfClose,
    Reset,
}

/// A connection, with both of its ends.
struct Connection {
    acts: VecDeque<Act>,
    /// The first bytes that the peer has sent, as many as a request may have.
    sent: Vec<u8>,
    /// When its request was complete, and when its side ended, orderly or by a reset.
    complete: Option<Instant>,
    ended: Option<Instant>,
    /// How many bytes the network holds for the peer before it takes them.
    window: usize,
    /// When it entered the queue, was accepted, and was closed by the server.
    queued: Option<Instant>,
    accepted: Option<Instant>,
    closed: Option<Instant>,
    /// What the server can read.
    inbox: VecDeque<u8>,
    has_ended: bool,
    was_reset: bool,
    /// What the server has written, and how many bytes of it the peer has not taken.
    written: Vec<u8>,
    in_flight: usize,
    half_closed: bool,
    /// The loop that watches it, the place, and the interest.
    watched: Option<(usize, usize, Interest)>,
    /// The loop that holds it; the last turn in which it was read, and how often.
    holder: usize,
    reads: (usize, usize),
}

/// What the loops share.
struct Network {
    now: Instant,
    dice: Dice,
    connections: Vec<Connection>,
    queue: VecDeque<usize>,
    /// When a connection was last accepted.
    last_accept: Option<Instant>,
    calendar: BinaryHeap<Reverse<(Instant, usize, Happening)>>,
    entries: usize,
    /// The events that each loop has not taken yet.
    events: Vec<Vec<Event>>,
    is_listening: Vec<bool>,
    /// `accept` fails at random, on average once in this number of calls.
    scarcity: Option<usize>,
    scarce_until: Instant,
    /// When `accept` last failed for each loop, and whether a loop tried again too soon.
    failures: [Option<Instant>; LOOPS],
    spins: bool,
    stopped: Option<Instant>,
    /// When the last listener closed.
    closed: Option<Instant>,
    /// The number of turns, and the bounded work of the last one.
    turn: usize,
    accepts: usize,
    most_reads: usize,
}

type Shared = Rc<RefCell<Network>>;

impl Network {
    fn enter(&mut self, after: Duration, happening: Happening) {
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connect(connection) => {
                if self.is_listening.contains(&true) {
                    self.queue.push_back(connection);
                    self.connections[connection].queued = Some(self.now);
                    for index in 0..LOOPS {
                        if self.is_listening[index] {
                            self.post(index, Event::Queued);
                        }
                    }
                    self.enter(Duration::ZERO, Happening::Act(connection));
                }
            }
            Happening::Act(connection) => {
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
                let is_complete =
                    peer.has_ended || peer.sent.len() == LIMIT || peer.sent.contains(&b'\n');
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
            Happening::Take(connection) => {
                let peer = &mut self.connections[connection];
                peer.in_flight = 0;
                self.tell(connection, Interest::Writable);
            }
            Happening::Stop => {
                self.stopped = Some(self.now);
                self.events
                    .iter_mut()
                    .for_each(|events| events.push(Event::Stop));
            }
        }
    }
}

/// The world as one loop sees it.
struct View {
    network: Shared,
    index: usize,
}

/// The address of the peer of that connection: its port is the number.
fn address(connection: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, u16::try_from(connection).unwrap()).into()
}

/// The server's end of a connection, which closes when it is dropped.
struct Stream {
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
            let last = network.failures[self.index].replace(now);
            network.spins |= last.is_some_and(|last| now < last + PAUSE);
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

/// A service that counts requests and errors, and keeps the ends of connections.
#[derive(Default)]
struct Counting {
    answered: AtomicUsize,
    errors: AtomicUsize,
    ends: Mutex<HashMap<SocketAddr, Vec<End>>>,
}

/// The request of a connection that has ended, its outcome and its duration.
type End = (Vec<u8>, Outcome, Duration);

impl Service for Counting {
    fn answer(&self, _: SocketAddr, request: &[u8]) -> Vec<u8> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        process(request)
    }

    fn on_end(&self, ended: &Ended<'_>) {
        let end = (ended.request.to_vec(), ended.outcome, ended.duration);
        let mut ends = self.ends.lock().unwrap();
        ends.entry(ended.peer).or_default().push(end);
    }

    fn on_error(&self, _: &io::Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

// These four repeat private constants of the event loop, so that a change there is noticed.
const ACCEPTS: usize = 64;
const READS: usize = 16;
const MARGIN: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(100);

/// How many loops share the listener.
const LOOPS: usize = 2;

/// How many events a loop takes at once.
const EVENTS: usize = 256;

/// More turns than can be due at one instant.
const SPIN: usize = 5_000;

/// A run of one world.
struct Simulation {
    network: Shared,
    loops: Vec<(View, EventLoop<View>)>,
    /// How many connections each loop may hold.
    places: [usize; LOOPS],
    /// When each loop takes its next turn, if that is known.
    wakes: [Option<Instant>; LOOPS],
    /// How late each loop is in its next turn.
    lateness: [Duration; LOOPS],
    /// The longest that a connection may be held.
    timeout: Duration,
    /// How late a loop may be in this world.
    late: Duration,
    service: Counting,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let count = if seed.is_multiple_of(200) {
            3_000
        } else {
            10 + dice.below(90)
        };
        let timeout = [1_000, 5_000, 10_000][dice.below(3)];
        let timeout = Duration::from_millis(timeout);
        let most = [1_usize, 2, 3, 20, 5_000][dice.below(5)];
        let scarcity = dice.once_in(3).then(|| 2 + dice.below(20));
        let stop = dice.milliseconds(0..20_000);
        let burst = dice.once_in(3);
        let late = if dice.once_in(5) { VERY_LATE } else { LATE };
        let now = Instant::now();
        let mut network = Network {
            now,
            connections: (0..count).map(|_| connection(&mut dice)).collect(),
            queue: VecDeque::new(),
            last_accept: None,
            calendar: BinaryHeap::new(),
            entries: 0,
            events: vec![vec![]; LOOPS],
            is_listening: vec![true; LOOPS],
            scarcity,
            scarce_until: now,
            failures: [None; LOOPS],
            spins: false,
            stopped: None,
            closed: None,
            turn: 0,
            accepts: 0,
            most_reads: 0,
            dice,
        };
        for connection in 0..count {
            let after = if burst { 0..200 } else { 0..15_000 };
            let after = network.dice.milliseconds(after);
            network.enter(after, Happening::Connect(connection));
        }
        network.enter(stop, Happening::Stop);
        let network = Rc::new(RefCell::new(network));
        let places = [most, most.div_ceil(2)];
        let view = |index| View {
            network: Rc::clone(&network),
            index,
        };
        let start = |index: usize| (view(index), EventLoop::new(timeout, places[index]));
        Self {
            loops: (0..LOOPS).map(start).collect(),
            network,
            places,
            wakes: [None; LOOPS],
            lateness: [Duration::ZERO; LOOPS],
            timeout,
            late,
            service: Counting::default(),
        }
    }

    /// Runs the world to its end.
    fn run(&mut self) -> Result<(), String> {
        let mut turns = 0;
        while self
            .loops
            .iter()
            .any(|(_, event_loop)| !event_loop.is_over())
        {
            let now = self.network.borrow().now;
            let next = self.plan();
            if next > now {
                self.check_idle()?;
                turns = 0;
                self.network.borrow_mut().now = next;
            }
            turns += 1;
            if turns > SPIN || self.network.borrow().spins {
                return Err("a loop spins".into());
            }
            self.step(next)?;
        }
        self.check_end()
    }

    /// Plans the next turn of each loop. Returns the next instant at which something is due.
    fn plan(&mut self) -> Instant {
        let network = self.network.borrow();
        for (index, (_, event_loop)) in self.loops.iter().enumerate() {
            let wait = if network.events[index].is_empty() {
                event_loop.max_wait(network.now)
            } else {
                Some(Duration::ZERO)
            };
            if let Some(wait) = wait.filter(|_| !event_loop.is_over()) {
                let wake = network.now + wait + self.lateness[index];
                self.wakes[index] = Some(self.wakes[index].map_or(wake, |old| old.min(wake)));
            }
        }
        let happens = network.calendar.peek().map(|Reverse((at, ..))| *at);
        let wakes = self.wakes.iter().flatten().copied();
        let next = wakes.chain(happens).min().expect("something happens");
        next.max(network.now)
    }

    /// Does one thing that is due.
    fn step(&mut self, now: Instant) -> Result<(), String> {
        let mut network = self.network.borrow_mut();
        let due = network
            .calendar
            .peek()
            .is_some_and(|Reverse((at, ..))| *at <= now);
        if due && let Some(Reverse((_, _, happening))) = network.calendar.pop() {
            network.happen(happening);
            return Ok(());
        }
        drop(network);
        let is_due = |index: &usize| self.wakes[*index].is_some_and(|wake| wake <= now);
        let index = (0..LOOPS).find(is_due).expect("a loop is due");
        self.wakes[index] = None;
        self.turn(index)
    }

    fn turn(&mut self, index: usize) -> Result<(), String> {
        let mut network = self.network.borrow_mut();
        let count = network.events[index].len().min(EVENTS);
        let events: Vec<Event> = network.events[index].drain(..count).collect();
        network.turn += 1;
        (network.accepts, network.most_reads) = (0, 0);
        self.lateness[index] = match network.dice.below(10) {
            0 => network
                .dice
                .milliseconds(0..usize::try_from(self.late.as_millis()).unwrap()),
            _ => Duration::ZERO,
        };
        drop(network);
        let (view, event_loop) = &mut self.loops[index];
        event_loop.turn(view, &self.service, events);
        let network = self.network.borrow();
        if network.accepts > ACCEPTS || network.most_reads > READS {
            let Network {
                accepts,
                most_reads,
                ..
            } = &*network;
            return Err(format!(
                "a turn of {accepts} accepts and {most_reads} reads of one peer"
            ));
        }
        let (held, places) = (self.held(index), self.places[index]);
        (held <= places)
            .then_some(())
            .ok_or(format!("{held} connections at {places} places"))
    }

    /// How many connections a loop holds.
    fn held(&self, index: usize) -> usize {
        let network = self.network.borrow();
        let is_held = |peer: &&Connection| {
            peer.holder == index && peer.accepted.is_some() && peer.closed.is_none()
        };
        network.connections.iter().filter(is_held).count()
    }

    /// Judges the loops while all of them wait.
    fn check_idle(&self) -> Result<(), String> {
        let network = self.network.borrow();
        if network.scarcity.is_some() {
            return Ok(()); // they may pause `accept`
        }
        for (index, (_, event_loop)) in self.loops.iter().enumerate() {
            let is_due = !network.events[index].is_empty()
                || event_loop.max_wait(network.now) == Some(Duration::ZERO);
            if is_due || !network.is_listening[index] {
                continue; // its turn is due
            }
            let has_place = self.held(index) < self.places[index];
            if has_place && !network.queue.is_empty() {
                return Err("a connection is queued although a loop has a free place".into());
            }
            let since = network.stopped.max(network.last_accept);
            let knows = since.is_some_and(|since| network.now > since + PAUSE + self.late);
            if network.stopped.is_some() && network.queue.is_empty() && knows {
                return Err("a stopped loop still listens although no connection is queued".into());
            }
            if (network.closed).is_some_and(|closed| network.now > closed + PAUSE + self.late) {
                return Err("a loop still listens although another has closed the listener".into());
            }
        }
        Ok(())
    }

    /// Judges the end of every connection.
    fn check_end(&self) -> Result<(), String> {
        let network = self.network.borrow();
        let held = self.timeout.min(MAX_TIMEOUT.saturating_sub(MARGIN));
        let stopped = network
            .stopped
            .ok_or("a loop ended before it was stopped")?;
        if network.now > stopped + held + 2 * self.late {
            return Err("the stop took longer than a deadline".into());
        }
        let reached_deadline = network
            .closed
            .is_some_and(|closed| closed >= stopped + held);
        let mut ends = self.service.ends.lock().unwrap();
        for (number, peer) in network.connections.iter().enumerate() {
            let judged = match (peer.queued, peer.accepted) {
                (Some(queued), None) if queued < stopped && !reached_deadline => {
                    Err("it was queued before the stop, and not accepted".into())
                }
                (_, Some(accepted)) => {
                    let deadline = (accepted + held).min((stopped + held).max(accepted));
                    let ends = ends.remove(&address(number)).unwrap_or_default();
                    check(peer, accepted, deadline, self.late, &ends)
                }
                _ => Ok(()),
            };
            judged.map_err(|problem: String| format!("connection {number}: {problem}"))?;
        }
        if !ends.is_empty() {
            return Err("the end of a connection is reported that was not accepted".into());
        }
        let count = |is: fn(&Connection) -> bool| {
            network.connections.iter().filter(|peer| is(peer)).count()
        };
        let answered = self.service.answered.load(Ordering::Relaxed);
        let (least, most) = (
            count(|peer| peer.half_closed),
            count(|p| p.complete.is_some()),
        );
        if !(least..=most).contains(&answered) {
            return Err(format!("{answered} answers for {least} to {most} requests"));
        }
        let errors = self.service.errors.load(Ordering::Relaxed);
        (errors == 0 || network.scarcity.is_some())
            .then_some(())
            .ok_or("an error is reported although there was none".into())
    }
}

/// Judges the end of a connection that was accepted.
fn check(
    peer: &Connection,
    accepted: Instant,
    deadline: Instant,
    late: Duration,
    ends: &[End],
) -> Result<(), String> {
    let soon = Duration::from_secs(1) + 20 * late;
    let closed = peer.closed.ok_or("it is never closed")?;
    if closed > deadline + 2 * late || late == LATE && closed > accepted + MAX_TIMEOUT {
        return Err(format!(
            "it is closed {:?} after its deadline",
            closed - deadline
        ));
    }
    let ended = peer.ended.filter(|ended| *ended <= closed);
    if ended.is_none() && closed < deadline {
        return Err(format!(
            "it is closed {:?} before its deadline",
            deadline - closed
        ));
    }
    let complete = peer.complete.filter(|complete| *complete <= closed);
    let came = peer.ended.max(peer.complete).map(|came| came.max(accepted));
    if let Some(came) = came.filter(|_| peer.ended.is_some() && complete.is_some())
        && closed > came + soon
        && closed > accepted + soon
    {
        return Err("it is kept although the peer has gone".into());
    }
    let reply = complete.and_then(|_| reference::request(&peer.sent, peer.has_ended));
    let reply = reply
        .map(|request| reference::process(&request))
        .unwrap_or_default();
    if !reply.starts_with(&peer.written) {
        return Err("its reply is wrong".into());
    }
    if peer.complete.is_some_and(|complete| complete > deadline) && !peer.written.is_empty() {
        return Err("it has a reply although its request came too late".into());
    }
    let in_time = complete.is_some_and(|complete| complete.max(accepted) + soon < deadline);
    if in_time && !peer.was_reset && (peer.written != reply || !peer.half_closed) {
        return Err("it has no whole reply".into());
    }
    check_reported_end(peer, closed - accepted, closed >= deadline, ends)
}

/// Judges what the service was told about the end of a connection that was held for `held`.
fn check_reported_end(
    peer: &Connection,
    held: Duration,
    is_overdue: bool,
    ends: &[End],
) -> Result<(), String> {
    let [(request, outcome, duration)] = ends else {
        return Err(format!("its end is reported {} times", ends.len()));
    };
    let first = peer.sent.iter().position(|byte| *byte == b'\n');
    let whole = &peer.sent[..first.map_or(peer.sent.len(), |at| at + 1)];
    if !whole.starts_with(request) {
        return Err("another request is reported".into());
    }
    let expected = match (peer.half_closed, is_overdue) {
        (true, _) if !request.is_empty() => Outcome::Replied,
        (_, true) => Outcome::TimedOut,
        (_, false) if request.is_empty() => Outcome::Silent,
        (_, false) => Outcome::Reset,
    };
    if (*outcome, *duration) != (expected, held) {
        return Err(format!(
            "{outcome:?} after {duration:?} is reported, not {expected:?} after {held:?}"
        ));
    }
    if *outcome == Outcome::Replied && request != whole {
        return Err("a part of its request is reported".into());
    }
    Ok(())
}

/// A connection whose peer is of a random kind.
fn connection(dice: &mut Dice) -> Connection {
    let mut acts = VecDeque::new();
    let mut line = vec![b'a'; dice.below(40)];
    if dice.once_in(6) {
        line = "\u{390}".repeat(dice.below(512)).into_bytes();
    }
    if dice.once_in(8) {
        line = vec![b'b'; 1_020 + dice.below(8)];
    }
    match dice.below(8) {
        0 => {}
        1 => line.push(b' '), // no LF: the end, or nothing
        _ => line.push(b'\n'),
    }
    let pieces = 1 + dice.below(4);
    for piece in line.chunks(line.len().div_ceil(pieces).max(1)) {
        acts.push_back(Act::Send(piece.to_vec()));
    }
    if dice.once_in(20) {
        let flood = vec![b'x'; dice.below(400_000)];
        acts.extend(flood.chunks(7_000).map(|part| Act::Send(part.to_vec())));
    }
    match dice.below(10) {
        0 => {}
        1 => acts.insert(dice.below(acts.len() + 1), Act::Reset),
        _ => acts.push_back(Act::HalfClose),
    }
    if let Some(reset) = acts.iter().position(|act| matches!(act, Act::Reset)) {
        acts.truncate(reset + 1);
    }
    Connection {
        acts,
        sent: Vec::new(),
        complete: None,
        ended: None,
        window: [64, 1_000, 100_000][dice.below(3)],
        queued: None,
        accepted: None,
        closed: None,
        inbox: VecDeque::new(),
        has_ended: false,
        was_reset: false,
        written: Vec::new(),
        in_flight: 0,
        half_closed: false,
        watched: None,
        holder: 0,
        reads: (0, 0),
    }
}

/// Runs the world of that seed.
fn judge(seed: u64) -> Result<(), String> {
    let run = || Simulation::new(seed).run();
    let judged = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err("a panic".into()));
    judged.map_err(|problem| {
        format!(
            "seed {seed}: {problem}\n    again   {SEED}={seed} cargo test --test simulation worlds"
        )
    })
}

/// SPEC: REPLY-1, REPLY-2, TIME-1, TIME-2, TIME-3, TIME-4, TIME-5
#[test]
fn thousands_of_worlds_are_served_correctly() {
    let seeds = match env::var(SEED) {
        Ok(seed) => {
            let seed = seed
                .parse()
                .unwrap_or_else(|_| panic!("{SEED} is not a number"));
            seed..seed + 1
        }
        Err(_) => SEEDS,
    };
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let work = || {
        let seeds = std::iter::from_fn(|| {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            (seed < seeds.end).then_some(seed)
        });
        seeds.map(judge).find_map(Result::err)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Some(problem) = worker.join().unwrap() {
                panic!("{problem}");
            }
        }
    });
}

/// SPEC: TIME-5
#[test]
fn a_stopped_loop_accepts_at_most_a_full_queue() {
    const COMING: usize = 2 * BACKLOG;
    let mut simulation = Simulation::new(0);
    {
        let mut network = simulation.network.borrow_mut();
        network.connections = (0..COMING).map(|_| connection(&mut Dice::new(0))).collect();
        network.queue = (0..COMING).collect();
        network.scarcity = None;
        network.events[0] = vec![Event::Stop];
    }
    simulation.places[0] = COMING;
    simulation.loops[0].1 = EventLoop::new(simulation.timeout, COMING);
    for _ in 0..COMING {
        simulation.turn(0).unwrap();
    }
    let network = simulation.network.borrow();
    assert!(!network.is_listening[0]);
    assert_eq!(COMING - network.queue.len(), BACKLOG);
}

/// A fault, and how it is planted: in a file of the server, one text is replaced by another.
type Fault = (
    &'static str,
    &'static [(&'static str, &'static str, &'static str)],
);

const LOOP: &str = "event_loop.rs";
const PLACES: &str = "places.rs";

const FAULTS: &[Fault] = &[
    (
        "ignores that a connection is queued",
        &[(
            LOOP,
            "Event::Queued => self.may_be_queued = true,",
            "Event::Queued => {}",
        )],
    ),
    (
        "forgets a peer that sends endlessly",
        &[(LOOP, "self.unfinished.push(place);", "")],
    ),
    (
        "waits only to read",
        &[(
            LOOP,
            "Next::Write(_) => Interest::Writable,",
            "Next::Write(_) => Interest::Readable,",
        )],
    ),
    ("does not free a place", &[(PLACES, "self.count -= 1;", "")]),
    (
        "renews a deadline",
        &[
            (
                LOOP,
                "Event::Ready(place) => ready.push(place),",
                "Event::Ready(place) => {
                    self.places.renew(place, world.now() + self.timeout);
                    ready.push(place);
                }",
            ),
            (
                PLACES,
                "    /// Removes the value at this place,",
                "    pub(super) fn renew(&mut self, number: usize, deadline: Instant) {
                     self.slots[number].deadline = deadline;
                 }

                 /// Removes the value at this place,",
            ),
        ],
    ),
    (
        "gives the longest deadline no margin",
        &[(
            LOOP,
            "timeout: timeout.min(MAX_TIMEOUT.saturating_sub(MARGIN)),",
            "timeout,",
        )],
    ),
    (
        "closes late at a deadline",
        &[(
            LOOP,
            "if deadline <= now => {",
            "if deadline < now - MARGIN => {",
        )],
    ),
    (
        "reports a deadline as a reset",
        &[(
            LOOP,
            "Cause::Deadline => Outcome::TimedOut,",
            "Cause::Deadline => Outcome::Reset,",
        )],
    ),
    (
        "reports a reply that was not sent whole",
        &[(
            LOOP,
            "_ if exchange.has_replied() && !request.is_empty() => Outcome::Replied,",
            "_ if exchange.next() != Next::Read => Outcome::Replied,",
        )],
    ),
    (
        "leaves queued connections at the stop",
        &[(
            LOOP,
            "let is_queue_empty = !self.may_be_queued",
            "let is_queue_empty = true",
        )],
    ),
    (
        "replies after the deadline",
        &[(LOOP, "if deadline <= world.now() {", "if false {")],
    ),
    (
        "reads twice as often from a peer that sends endlessly",
        &[(LOOP, "ready.dedup();", "")],
    ),
    (
        "keeps the port open after a stop while it is full",
        &[(
            LOOP,
            "|| self.places.is_full() && world.has_queued().is_ok_and(|queued| !queued)",
            "",
        )],
    ),
    (
        "gives late connections a whole deadline",
        &[(LOOP, "deadline = deadline.min(stopping.end);", "")],
    ),
    (
        "reads from one peer without a limit",
        &[(LOOP, "reads_left: READS,", "reads_left: usize::MAX,")],
    ),
    (
        "accepts without a limit",
        &[(LOOP, "for _ in 0..ACCEPTS {", "for _ in 0..usize::MAX {")],
    ),
    (
        "holds one connection too many",
        &[(PLACES, "self.count >= self.most", "self.count > self.most")],
    ),
    (
        "retries at once when the system has no descriptors",
        &[(LOOP, "self.pause = Some(world.now() + PAUSE);", "continue;")],
    ),
    (
        "treats an aborted connection as an empty queue",
        &[(
            LOOP,
            "kind if has_gone(kind) => {}",
            "kind if has_gone(kind) => self.may_be_queued = false,",
        )],
    ),
    (
        "does not read right after accepting",
        &[(
            LOOP,
            "        self.advance(place, world, service);
    }

    fn stop(",
            "    }

    fn stop(",
        )],
    ),
];

/// Builds the server with each fault and runs the worlds.
///
/// `cargo test --test simulation -- --ignored` runs it.
#[test]
#[ignore = "compiles the server once for each fault"]
fn every_planted_fault_is_caught() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    let _ = fs::remove_dir_all(&copy);
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).current_dir(&copy);
        cargo.env("CARGO_TARGET_DIR", copy.join("target"));
        cargo.output().unwrap()
    };
    // The library and this test, with as few dependencies as they need.
    for folder in ["src", "tests/peers", "tests/unicode", "tests/vectors"] {
        copy_folder(&package.join(folder), &copy.join(folder));
    }
    for file in ["README.md", "SPEC.md", "tests/simulation.rs"] {
        fs::copy(package.join(file), copy.join(file)).unwrap();
    }
    let manifest = r#"
        [package]
        name = "upcase"
        version = "0.0.0"
        edition = "2024"
        autobins = false
        [features]
        std = []
        conformance = ["std", "dep:serde", "dep:serde_json", "dep:socket2"]
        server = ["std", "dep:mio", "dep:rustix", "dep:socket2"]
        [dependencies]
        mio = { version = "1.2", default-features = false, features = ["net", "os-poll"], optional = true }
        rustix = { version = "1.1", features = ["net"], optional = true }
        serde = { version = "1", features = ["derive"], optional = true }
        serde_json = { version = "1", optional = true }
        socket2 = { version = "0.6", features = ["all"], optional = true }
        [dev-dependencies]
        proptest = { version = "1.12", default-features = false, features = ["std"] }
        [profile.test]
        opt-level = 1
        [workspace]
    "#;
    fs::write(copy.join("Cargo.toml"), manifest).unwrap();
    fs::copy(package.join("Cargo.lock"), copy.join("Cargo.lock")).unwrap();

    let run = [
        "test",
        "--features",
        "server,conformance",
        "--test",
        "simulation",
        "worlds",
    ];
    let sound = cargo(&run);
    assert!(sound.status.success(), "{}", text(&sound.stderr));
    for (fault, plants) in FAULTS {
        for (file, old, new) in *plants {
            let path = copy.join("src/server").join(file);
            let source = fs::read_to_string(&path).unwrap();
            assert_eq!(
                source.matches(old).count(),
                1,
                "{fault}: where to plant {old:?}"
            );
            fs::write(&path, source.replace(old, new)).unwrap();
        }
        let output = cargo(&run);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            !err.contains("could not compile"),
            "a loop that {fault}: {err}"
        );
        let caught = out.lines().find(|line| line.starts_with("seed "));
        println!(
            "a loop that {fault}\n    {}",
            caught.unwrap_or("is not caught")
        );
        assert!(caught.is_some(), "a loop that {fault} is not caught");
        for (file, ..) in *plants {
            let path = Path::new("src/server").join(file);
            fs::copy(package.join(&path), copy.join(&path)).unwrap();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}
