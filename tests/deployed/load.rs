//! Clients that make one exchange after another, and what they see.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use upcase::{client, process};

use crate::common::process::PATIENCE;

/// Running clients, each with one exchange after another.
pub struct Load {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

/// What clients saw.
#[derive(Default)]
pub struct Seen {
    /// How long each right reply took.
    pub times: Vec<Duration>,
    /// Exchanges without a reply.
    pub errors: Vec<Failed>,
    /// Replies that are not the right ones.
    pub wrong: Vec<Vec<u8>>,
}

/// An exchange without a reply.
#[derive(Debug, PartialEq)]
pub struct Failed {
    pub began_at: Instant,
    /// How long it took.
    pub took: Duration,
    pub error: String,
}

impl Drop for Load {
    /// The clients of a test that fails stop too.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

impl Load {
    /// Starts this number of `clients` of the server at `address`, which wait at most `timeout` for a reply.
    pub fn start(clients: usize, address: SocketAddr, timeout: Duration) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let client = |number| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                let mut seen = Seen::default();
                for time in 0_u64.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let message = format!(" straße {number}/{time} ");
                    seen.exchange(address, message.as_bytes(), timeout);
                }
                seen
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { is_over, clients }
    }

    /// Lets every client end its exchange. Returns what all of them saw.
    #[track_caller]
    pub fn stop(self) -> Seen {
        Seen::of_all(self.stop_each())
    }

    /// The same, but returns what each of them saw.
    #[track_caller]
    pub fn stop_each(mut self) -> Vec<Seen> {
        self.is_over.store(true, Ordering::SeqCst);
        let clients = self.clients.drain(..);
        clients
            .map(|client| client.join().expect("a client does not panic"))
            .collect()
    }
}

/// Makes `count` exchanges with the server at `address`.
#[track_caller]
pub fn exchange(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let reply = client::exchange(address, b"hello", PATIENCE);
        assert_eq!(reply.expect("a reply"), b"HELLO");
    }
}

impl Seen {
    /// Checks that clients saw right replies and nothing else.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        println!("{self}");
        assert_eq!(self.errors, []);
        assert!(self.wrong.is_empty(), "{:?}", self.wrong);
        assert!(!self.times.is_empty());
    }

    /// What all of these clients saw.
    pub fn of_all(clients: Vec<Self>) -> Self {
        let mut all = Self::default();
        for seen in clients {
            all.add(seen);
        }
        all
    }

    /// Makes one exchange more.
    pub fn exchange(&mut self, address: SocketAddr, message: &[u8], timeout: Duration) {
        let began_at = Instant::now();
        match client::exchange(address, message, timeout) {
            Ok(reply) if reply == process(message) => self.times.push(began_at.elapsed()),
            Ok(reply) => self.wrong.push(reply),
            Err(error) => self.errors.push(Failed {
                began_at,
                took: began_at.elapsed(),
                error: error.to_string(),
            }),
        }
    }

    /// Adds what another client saw.
    pub fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.errors.extend(other.errors);
        self.wrong.extend(other.wrong);
    }

    /// The longest time that a reply took.
    pub fn worst(&self) -> Duration {
        self.times.iter().max().copied().unwrap_or_default()
    }

    /// The median of the times.
    pub fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} replies (median {:.1?}, worst {:.1?}), {} errors, {} wrong replies",
            self.times.len(),
            self.median(),
            self.worst(),
            self.errors.len(),
            self.wrong.len()
        )
    }
}
