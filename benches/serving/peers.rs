//! Stalled peers: each connects, sends one byte, and then does nothing.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::exchange::connect;

/// How many threads connect the peers.
const THREADS: usize = 4;

/// How many addresses of the server they connect to. One address has too few local ports.
const ADDRESSES: usize = 16;

/// The connections of the peers.
pub struct Peers(Vec<TcpStream>);

impl Peers {
    /// Connects `count` peers to the server at `port`, spread evenly over the time `within` from
    /// `start`. If that is too fast, they connect one after another without a pause.
    pub fn connect(port: u16, count: usize, start: Instant, within: Duration) -> Self {
        let due = |number: usize| {
            let (number, count) = (u32::try_from(number), u32::try_from(count));
            start + within * number.expect("a u32") / count.expect("a u32")
        };
        let connect = |number| {
            thread::sleep(due(number).saturating_duration_since(Instant::now()));
            let mut stream = connect(port, number % ADDRESSES).expect("the peer connects");
            // An error means that the server has closed the connection, and does not hold it.
            let _ = stream.write(b"x");
            stream
        };
        let connect_every = |first| (first..count).step_by(THREADS).map(connect).collect();
        let connected = thread::scope(|scope| {
            let start = |first| scope.spawn(move || connect_every(first));
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
            let connected =
                ended.map(|ended: thread::Result<Vec<_>>| ended.expect("the peers connect"));
            connected.flatten().collect()
        });
        Self(connected)
    }
}

/// Resets the connections, so that their local ports are free at once.
impl Drop for Peers {
    fn drop(&mut self) {
        for stream in &self.0 {
            // An error means that the connection is gone, and its port is free.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}
