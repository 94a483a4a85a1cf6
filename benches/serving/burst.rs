//! Measures the worst reply time of another client while many peers connect at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::child::Server;
use super::contenders::{CONTENDERS, THIS};
use super::exchange::exchange_into;
use super::peers::Peers;
use super::rounds::Rounds;
use super::{counted, milliseconds};

/// The time in which all peers of a burst connect.
const WITHIN: Duration = Duration::from_millis(200);

/// How long to wait until a server holds all peers.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of the client that is not part of the burst.
const OTHER: usize = 1000;

/// A burst of peers, and the measurements during it.
pub struct Burst {
    pub peers: usize,
    rounds: Rounds<Measured>,
}

/// The measurements of one contender in one round. Times are in seconds.
struct Measured {
    /// The worst reply time of the other client.
    worst: f64,
    /// When all peers were connected.
    connected: f64,
    /// When the server held all peers; infinite if it did not.
    held: f64,
}

impl Burst {
    /// Measures each of the `servers` during a burst of `peers` peers, in each of `rounds` rounds.
    pub fn measure(servers: &[Server], peers: usize, rounds: usize) -> Self {
        let rounds = Rounds::take(rounds, |number| measure(&servers[number], peers));
        Self { peers, rounds }
    }

    /// Returns the worst reply time of a contender, in seconds: the median over the rounds.
    pub fn worst(&self, contender: usize) -> f64 {
        self.rounds.median(contender, |m| m.worst)
    }

    /// Returns the ratio of that time to another contender's: the median over the rounds.
    pub fn ratio(&self, contender: usize, other: usize) -> f64 {
        self.rounds.ratio(contender, other, |m| m.worst)
    }

    pub fn print(&self) {
        println!(
            "\n{} connect within {} ms, send one byte and stall: the worst reply time of another \
             client until the server holds all peers, as the median of the rounds",
            counted(self.peers, "peer"),
            WITHIN.as_millis()
        );
        println!(
            "{:32}{:>12}{:>7}{:>15}{:>15}{:>12}",
            "", "worst", "ratio", "of all rounds", "all connected", "all held"
        );
        for (number, contender) in CONTENDERS.iter().enumerate() {
            let held = if contender.is_upcase {
                milliseconds(self.rounds.median(number, |m| m.held))
            } else {
                "holds none".into()
            };
            println!(
                "{:32}{:>12}{:>7.2}{:>15}{:>15}{held:>12}",
                contender.name,
                milliseconds(self.worst(number)),
                self.ratio(number, THIS),
                milliseconds(self.rounds.most(number, |m| m.worst)),
                milliseconds(self.rounds.median(number, |m| m.connected)),
            );
        }
    }
}

fn measure(server: &Server, peers: usize) -> Measured {
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let measured = thread::scope(|scope| {
        let other = scope.spawn(|| worst(server, &over));
        let burst = Peers::connect(server.port, peers, start, WITHIN);
        let connected = start.elapsed();
        let holds = !server.contender.is_upcase || server.wait_for_held(peers, start + PATIENCE);
        let held = start.elapsed();
        over.store(true, Ordering::Relaxed);
        let worst = other.join().expect("the other client has its replies");
        drop(burst);
        Measured {
            worst: worst.as_secs_f64(),
            connected: connected.as_secs_f64(),
            held: if holds {
                held.as_secs_f64()
            } else {
                f64::INFINITY
            },
        }
    });
    server.wait_until_idle();
    measured
}

/// Makes one exchange after another until `over` is set. Returns the longest time.
fn worst(server: &Server, over: &AtomicBool) -> Duration {
    let wanted = server.contender.reply();
    let mut reply = Vec::new();
    let mut worst = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let exchange = exchange_into(server.port, OTHER, &mut reply);
        let (_, took) = exchange.expect("the server replies");
        assert_eq!(reply, wanted, "the reply of {}", server.contender.name);
        worst = worst.max(took);
    }
    worst
}
