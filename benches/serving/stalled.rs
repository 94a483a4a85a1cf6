//! Measures the memory and the threads of a server that holds many stalled peers.

use std::time::{Duration, Instant};

use super::child::Server;
use super::contenders::CONTENDERS;
use super::counted;
use super::peers::Peers;

/// How long to wait until a server holds all peers. It is less than the time-out of the first.
const PATIENCE: Duration = Duration::from_secs(7);

/// The measurements of a server that holds stalled peers.
pub struct Stalled {
    /// How many peers it holds.
    pub held: usize,
    /// The resident memory without peers, in KiB.
    idle: u32,
    /// The resident memory with the peers, in KiB.
    resident: u32,
    threads: u32,
}

impl Stalled {
    /// Returns the resident memory with the peers, in MB.
    pub fn megabytes(&self) -> f64 {
        f64::from(self.resident) * 1024.0 / 1e6
    }
}

/// Measures each contender with `peers` stalled peers, and prints and returns the measurements. A
/// contender that holds no stalled peer has none.
pub fn compare(peers: usize) -> Vec<Option<Stalled>> {
    println!(
        "\n{} stall after one byte: resident memory and threads of a newly started server",
        counted(peers, "peer")
    );
    println!(
        "{:32}{:>8}{:>12}{:>12}{:>12}{:>10}{:>9}",
        "", "held", "idle", "with peers", "more", "per peer", "threads"
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
