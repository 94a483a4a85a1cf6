//! The memory and the threads that those who stall cost a server.

use std::time::{Duration, Instant};

use super::child::Server;
use super::contenders::CONTENDERS;
use super::counted;
use super::peers::Peers;

/// How long a server may take to hold them all. Less than it may hold the first.
const PATIENCE: Duration = Duration::from_secs(7);

/// What a server with stalled peers takes.
pub struct Stalled {
    pub held: usize,
    /// In KiB, at rest and with the peers.
    idle: u32,
    resident: u32,
    threads: u32,
}

impl Stalled {
    /// The memory with all of them, in MB.
    pub fn megabytes(&self) -> f64 {
        f64::from(self.resident) * 1024.0 / 1e6
    }
}

/// Lets so many `peers` stall at each contender that holds them, and prints what that takes.
pub fn compare(peers: usize) -> Vec<Option<Stalled>> {
    println!(
        "\n{} stall after a byte: resident memory and threads of the server, which was fresh",
        counted(peers, "peer")
    );
    println!(
        "{:32}{:>8}{:>12}{:>12}{:>12}{:>10}{:>9}",
        "", "held", "idle", "with them", "more", "for each", "threads"
    );
    let compared = CONTENDERS.iter().enumerate().map(|(number, contender)| {
        let stalled = contender.is_upcase.then(|| measure(number, peers));
        match &stalled {
            Some(stalled) => stalled.print(contender.name),
            None => println!("{:32}{:>8}", contender.name, "none"),
        }
        stalled
    });
    compared.collect()
}

fn measure(number: usize, peers: usize) -> Stalled {
    let server = Server::start(number);
    let idle = server.resident();
    let start = Instant::now();
    let stalled = Peers::connect(server.port, peers, start, Duration::ZERO);
    server.wait_for_held(peers, start + PATIENCE);
    let measured = Stalled {
        held: server.held(),
        idle,
        resident: server.resident(),
        threads: server.threads(),
    };
    drop(stalled);
    measured
}

impl Stalled {
    fn print(&self, name: &str) {
        let more = f64::from(self.resident.saturating_sub(self.idle)) * 1024.0;
        #[expect(clippy::cast_precision_loss)]
        let each = more / self.held as f64;
        println!(
            "{name:32}{:>8}{:>9.1} MB{:>9.1} MB{:>9.1} MB{each:>8.0} B{:>9}",
            self.held,
            f64::from(self.idle) * 1024.0 / 1e6,
            self.megabytes(),
            more / 1e6,
            self.threads,
        );
    }
}
