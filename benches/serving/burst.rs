//! How long another client waits at worst while very many connect at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::child::Server;
use super::contenders::{CONTENDERS, THIS};
use super::exchange::exchange_into;
use super::peers::Peers;
use super::rounds::Rounds;
use super::{counted, milliseconds};

/// The time in which all of a burst connect.
const WITHIN: Duration = Duration::from_millis(200);

/// How long a server may take to hold them.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of the client that is no part of the burst.
const OTHER: usize = 1000;

/// A number of peers, and what was measured while they came.
pub struct Burst {
    pub peers: usize,
    rounds: Rounds<Measured>,
}

/// What one contender did in one round. Times are in seconds.
struct Measured {
    worst: f64,
    connected: f64,
    /// When all were held; endless where they were not.
    held: f64,
}

impl Burst {
    /// Lets `peers` connect to each of the `servers`, in so many `rounds`.
    pub fn measure(servers: &[Server], peers: usize, rounds: usize) -> Self {
        let rounds = Rounds::take(rounds, |number| measure(&servers[number], peers));
        Self { peers, rounds }
    }

    /// The worst reply of a contender, in seconds: the median over the rounds.
    pub fn worst(&self, contender: usize) -> f64 {
        self.rounds.median(contender, |m| m.worst)
    }

    /// The same, as a ratio to another's.
    pub fn ratio(&self, contender: usize, other: usize) -> f64 {
        self.rounds.ratio(contender, other, |m| m.worst)
    }

    pub fn print(&self) {
        println!(
            "\n{} connect within {} ms, send a byte and stall: the worst reply of another client \
             until all are held, as the median of the rounds",
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
        let worst = other.join().expect("the other client");
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
    server.wait_for_rest();
    measured
}

/// One exchange after another, until it is `over`: the longest.
fn worst(server: &Server, over: &AtomicBool) -> Duration {
    let wanted = server.contender.reply();
    let mut reply = Vec::new();
    let mut worst = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let exchange = exchange_into(server.port, OTHER, &mut reply);
        let (_, took) = exchange.expect("a reply");
        assert_eq!(reply, wanted, "the reply of {}", server.contender.name);
        worst = worst.max(took);
    }
    worst
}
