//! Peers who connect, send one byte, and stall.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::exchange::connect;

/// How many threads connect.
const THREADS: usize = 4;

/// How many addresses they connect to, so that there are ports enough.
const HOMES: usize = 16;

/// Those who have connected.
pub struct Peers(Vec<TcpStream>);

impl Peers {
    /// Connects `count` peers to the server at `port`, evenly over the time `within` from `start`,
    /// or as fast as it goes.
    pub fn connect(port: u16, count: usize, start: Instant, within: Duration) -> Self {
        let due = |number: usize| {
            let (number, count) = (u32::try_from(number), u32::try_from(count));
            start + within * number.expect("few peers") / count.expect("few peers")
        };
        let connect = |number| {
            thread::sleep(due(number).saturating_duration_since(Instant::now()));
            let mut stream = connect(port, number % HOMES).expect("a connection");
            // One who is not wanted finds that out later.
            let _ = stream.write(b"x");
            stream
        };
        let connect_every = |first| (first..count).step_by(THREADS).map(connect).collect();
        let connected = thread::scope(|scope| {
            let start = |first| scope.spawn(move || connect_every(first));
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
            let connected = ended.map(|ended: thread::Result<Vec<_>>| ended.expect("connections"));
            connected.flatten().collect()
        });
        Self(connected)
    }
}

/// They reset their connections, so that their ports are free at once.
impl Drop for Peers {
    fn drop(&mut self) {
        for stream in &self.0 {
            // A connection that is gone has no port any more.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}
