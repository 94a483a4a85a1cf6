//! Measures a server under load: requests per second, reply times, and processor time per request.
//!
//! The load is closed: each client connects, sends a request, reads to the end of the stream,
//! closes, and begins again. The clients run on the same processors as the server.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::child::Server;
use super::contenders::{CONTENDERS, THIS};
use super::exchange::exchange_into;
use super::rounds::Rounds;
use super::{counted, milliseconds};

/// A load of a number of clients, and the measurements under it.
pub struct Load {
    pub clients: usize,
    rounds: Rounds<Measured>,
}

/// The measurements of one contender in one round. Times are in seconds.
struct Measured {
    requests: f64,
    /// The time from the start of the first exchange to the end of the last.
    took: f64,
    processor_time: f64,
    /// The median of the reply times; then their 99th percentile, and the worst.
    median: f64,
    centile_99: f64,
    worst: f64,
}

impl Load {
    /// Measures each of the `servers` under the load of `clients` clients for `time`, in each of
    /// `rounds` rounds.
    pub fn measure(servers: &[Server], clients: usize, rounds: usize, time: Duration) -> Self {
        let rounds = Rounds::take(rounds, |number| measure(&servers[number], clients, time));
        Self { clients, rounds }
    }

    /// Returns the number of clients with its noun.
    pub fn name(&self) -> String {
        counted(self.clients, "client")
    }

    /// Returns the requests per second of a contender, as a ratio to another's.
    pub fn rate(&self, contender: usize, other: usize) -> f64 {
        self.rounds.ratio(contender, other, |m| m.requests / m.took)
    }

    /// Returns the processor time per request of a contender, as a ratio to another's.
    pub fn cost(&self, contender: usize, other: usize) -> f64 {
        self.seconds_per_request(contender) / self.seconds_per_request(other)
    }

    /// Returns the processor time per request over all rounds together. One round is too short,
    /// because the kernel counts in steps.
    fn seconds_per_request(&self, contender: usize) -> f64 {
        let requests = self.rounds.sum(contender, |m| m.requests);
        self.rounds.sum(contender, |m| m.processor_time) / requests
    }

    pub fn print(&self) {
        println!(
            "\n{}: requests per second; reply times; processor time of the server per request",
            self.name()
        );
        println!(
            "{:32}{:>12}{:>7}{:>12}{:>12}{:>12}{:>14}{:>7}",
            "", "requests/s", "ratio", "median", "99 %", "worst", "processor", "ratio"
        );
        for (number, contender) in CONTENDERS.iter().enumerate() {
            println!(
                "{:32}{:>12.0}{:>7.2}{:>12}{:>12}{:>12}{:>11.1} us{:>7.2}",
                contender.name,
                self.rounds.median(number, |m| m.requests / m.took),
                self.rate(number, THIS),
                milliseconds(self.rounds.median(number, |m| m.median)),
                milliseconds(self.rounds.median(number, |m| m.centile_99)),
                milliseconds(self.rounds.most(number, |m| m.worst)),
                self.seconds_per_request(number) * 1e6,
                self.cost(number, THIS),
            );
        }
    }
}

fn measure(server: &Server, clients: usize, time: Duration) -> Measured {
    let (ready, over) = (Barrier::new(clients + 1), AtomicBool::new(false));
    let wanted = server.contender.reply();
    let client = |number| {
        let mut exchanges = Vec::new();
        let mut reply = Vec::new();
        ready.wait();
        while !over.load(Ordering::Relaxed) {
            exchanges
                .push(exchange_into(server.port, number, &mut reply).expect("the server replies"));
            assert_eq!(reply, wanted, "the reply of {}", server.contender.name);
        }
        exchanges
    };
    let before = server.processor_time();
    let exchanges: Vec<(Instant, Duration)> = thread::scope(|scope| {
        let start = |number| {
            let thread = thread::Builder::new().stack_size(128 * 1024);
            let started = thread.spawn_scoped(scope, move || client(number));
            started.expect("a thread starts for each client")
        };
        let clients: Vec<_> = (0..clients).map(start).collect();
        ready.wait();
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let ended = clients.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .flat_map(|client| client.expect("the client has its replies"))
            .collect()
    });
    let processor_time = server.processor_time().saturating_sub(before);
    summary(&exchanges, processor_time)
}

fn summary(exchanges: &[(Instant, Duration)], processor_time: Duration) -> Measured {
    let first = exchanges.iter().map(|(start, _)| *start).min();
    let last = exchanges.iter().map(|(start, took)| *start + *took).max();
    let took = last.expect("there is an exchange") - first.expect("there is an exchange");
    let mut latencies: Vec<f64> = exchanges.iter().map(|(_, t)| t.as_secs_f64()).collect();
    latencies.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss)]
    let requests = latencies.len() as f64;
    Measured {
        requests,
        took: took.as_secs_f64(),
        processor_time: processor_time.as_secs_f64(),
        median: latencies[latencies.len() / 2],
        centile_99: latencies[latencies.len() * 99 / 100],
        worst: latencies[latencies.len() - 1],
    }
}
