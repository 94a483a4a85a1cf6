//! A run of one world: two event loops, turn by turn, and what must hold in each turn and while they wait.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::rc::Rc;
use std::time::{Duration, Instant};

use upcase::server::event_loop::{Event, EventLoop};

use super::connection::Connection;
use super::dice::Dice;
use super::ends::{self, Counting, LATE};
use super::network::{Happening, LOOPS, Network, Shared, View};

// These repeat private constants of the event loop, so that a change there is noticed.
const ACCEPTS: usize = 64;
const READS: usize = 16;
const PAUSE: Duration = Duration::from_millis(100);

/// How late a loop may be in some worlds.
const VERY_LATE: Duration = Duration::from_millis(500);

/// How many events a loop takes at once.
const EVENTS: usize = 256;

/// More turns than can be due at one instant.
const SPIN: usize = 5_000;

/// A run of one world.
pub struct Simulation {
    pub network: Shared,
    pub loops: Vec<(View, EventLoop<View>)>,
    /// How many connections each loop may hold.
    pub places: [usize; LOOPS],
    /// When each loop takes its next turn, if that is known.
    wakes: [Option<Instant>; LOOPS],
    /// How late each loop is in its next turn.
    lateness: [Duration; LOOPS],
    /// The longest that a connection may be held.
    pub timeout: Duration,
    /// How late a loop may be in this world.
    late: Duration,
    service: Counting,
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
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
        let connections = (0..count).map(|_| Connection::new(&mut dice)).collect();
        let mut network = Network::new(dice, connections, scarcity);
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
    pub fn run(&mut self) -> Result<(), String> {
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
            let pause = self.network.borrow().shortest_pause;
            if turns > SPIN || pause.is_some_and(|pause| pause < PAUSE) {
                return Err("a loop spins".into());
            }
            self.step(next)?;
        }
        let network = self.network.borrow();
        ends::check(&network, &self.service, self.timeout, self.late)
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

    /// Lets a loop take its next turn, and judges it.
    pub fn turn(&mut self, index: usize) -> Result<(), String> {
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
        let (accepts, reads) = (network.accepts, network.most_reads);
        if accepts > ACCEPTS || reads > READS {
            return Err(format!(
                "a turn of {accepts} accepts and {reads} reads of one peer"
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
}
