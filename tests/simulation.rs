//! The event loops in a simulated world, with a clock of its own.
//!
//! A world is made from a seed: when each peer connects, what it sends in which pieces, where it
//! stalls, sends endlessly or resets, when `accept` fails, and when the server is stopped. Two loops
//! share a listener, as two threads do. Nothing waits: if no loop has work, the clock jumps to the
//! next happening. A failing seed is printed with the command that runs it alone.

mod simulated {
    pub mod connection;
    pub mod dice;
    pub mod ends;
    pub mod faults;
    pub mod network;
    pub mod run;
}

use std::env;
use std::iter;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use upcase::server::event_loop::{BACKLOG, Event, EventLoop};

use simulated::connection::Connection;
use simulated::dice::{Dice, SEED};
use simulated::faults::{FAULTS, PackageCopy};
use simulated::run::Simulation;

/// How many worlds `cargo test` runs.
const SEEDS: Range<u64> = 0..3000;

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
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let seeds = iter::from_fn(|| {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            (seed < seeds.end).then_some(seed)
        });
        seeds.map(judge).find_map(Result::err)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
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
        let connection = |_| Connection::new(&mut Dice::new(0));
        network.connections = (0..COMING).map(connection).collect();
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

/// Builds the server with each fault and runs the worlds.
///
/// `cargo test --test simulation -- --ignored` runs it.
#[test]
#[ignore = "compiles the server once for each fault"]
fn every_planted_fault_is_caught() {
    let copy = PackageCopy::new();
    assert_eq!(copy.failing_world(), None);
    for fault in FAULTS {
        println!("a loop that {}", fault.0);
        let failing = copy.with(fault, || copy.failing_world());
        println!("    {}", failing.expect("it is caught"));
    }
}
