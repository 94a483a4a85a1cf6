//! The controls that run on threads of this process. All share no code with the product but its timed
//! stream.

use std::io::ErrorKind;
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use upcase::conformance::reference::LIMIT;

use super::connection::Connection;
use super::listening::{
    BACKLOG, DEADLINE, Places, accept_by, listener, spawn, start, start_on, usual_listener,
};

/// The least deadline (SPEC TIME-6).
const LEAST_DEADLINE: Duration = Duration::from_secs(2);

/// The longest deadline (SPEC TIME-1).
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);

/// How much surplus a server reads at least (SPEC SURPLUS-3).
const LEAST_SURPLUS: usize = 16_777_216;

/// The least maximum of connections (SPEC TIME-7).
const LEAST_MAXIMUM: usize = 40;

pub fn thread_for_each_connection() -> SocketAddr {
    start(DEADLINE, Connection::serve)
}

/// Each of 64 threads accepts a connection and serves it to its end.
pub fn pool_of_64_threads() -> SocketAddr {
    let listener = Arc::new(usual_listener());
    let address = listener.local_addr().expect("an address");
    for _ in 0..64 {
        let listener = Arc::clone(&listener);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                Connection::new(stream, DEADLINE).serve();
            }
        });
    }
    address
}

pub fn backlog_of_5() -> SocketAddr {
    let listener = listener("127.0.0.1:0", 5, |_| {});
    start_on(listener, DEADLINE, Connection::serve)
}

pub fn reads_a_byte_at_a_time() -> SocketAddr {
    start(DEADLINE, |c| {
        if let Some(reply) = c.reply(1) {
            c.finish(&reply);
        }
    })
}

pub fn writes_a_byte_at_a_time() -> SocketAddr {
    start(DEADLINE, |c| {
        let _ = c.stream.set_nodelay(true);
        if let Some(reply) = c.reply(LIMIT) {
            reply.chunks(1).for_each(|byte| c.write(byte));
            c.finish(b"");
        }
    })
}

/// In eight parts, 90 ms apart.
pub fn spreads_its_reply_over_most_of_a_second() -> SocketAddr {
    start(DEADLINE, |c| {
        if let Some(reply) = c.reply(LIMIT) {
            for part in reply.chunks(reply.len().div_ceil(8).max(1)) {
                thread::sleep(Duration::from_millis(90));
                c.write(part);
            }
            c.finish(b"");
        }
    })
}

pub fn replies_after_600_ms() -> SocketAddr {
    start(DEADLINE, |c| {
        if let Some(reply) = c.reply(LIMIT) {
            thread::sleep(Duration::from_millis(600));
            c.finish(&reply);
        }
    })
}

pub fn deadline_of_2_seconds() -> SocketAddr {
    start(LEAST_DEADLINE, Connection::serve)
}

pub fn deadline_of_10_seconds() -> SocketAddr {
    start(LONGEST_DEADLINE, Connection::serve)
}

pub fn resets_at_the_deadline() -> SocketAddr {
    start(LEAST_DEADLINE, |c| {
        c.serve();
        if Instant::now() >= c.deadline {
            c.reset();
        }
    })
}

/// Closes only when nothing is unread, so that the close is no reset.
pub fn ends_the_stream_at_the_deadline() -> SocketAddr {
    start(LEAST_DEADLINE, |c| {
        c.serve();
        c.half_close();
        let _ = c.stream.set_nonblocking(true);
        let mut stream = &c.stream;
        let mut bytes = [0; LIMIT];
        while std::io::Read::read(&mut stream, &mut bytes).is_ok_and(|count| count > 0) {}
    })
}

pub fn resets_behind_16_mebibytes_of_surplus() -> SocketAddr {
    start(DEADLINE, |c| {
        let Some(reply) = c.reply(1) else { return };
        c.write(&reply);
        c.half_close();
        let mut left = LEAST_SURPLUS;
        while left > 0 {
            match c.read(left.min(65_536)) {
                Some(bytes) if !bytes.is_empty() => left -= bytes.len(),
                _ => return,
            }
        }
        c.reset();
    })
}

/// Holds at most 40 connections, and accepts no more.
pub fn leaves_the_41st_connection_unaccepted() -> SocketAddr {
    accept_by(usual_listener(), |listener| {
        let places = Places::new(LEAST_MAXIMUM);
        loop {
            let place = places.wait();
            if let Ok((stream, _)) = listener.accept() {
                let connection = Connection::new(stream, DEADLINE);
                thread::spawn(move || {
                    connection.serve();
                    drop(connection);
                    drop(place);
                });
            }
        }
    })
}

/// Holds at most 40 connections, and turns more away as `turn_away` does.
fn with_40_places(turn_away: fn(&Connection)) -> SocketAddr {
    accept_by(usual_listener(), move |listener| {
        let places = Places::new(LEAST_MAXIMUM);
        for stream in listener.incoming().flatten() {
            let connection = Connection::new(stream, DEADLINE);
            if let Some(place) = places.take() {
                thread::spawn(move || {
                    connection.serve();
                    drop(connection);
                    drop(place);
                });
            } else {
                turn_away(&connection);
            }
        }
    })
}

pub fn resets_the_41st_connection() -> SocketAddr {
    with_40_places(Connection::reset)
}

pub fn closes_the_41st_connection() -> SocketAddr {
    with_40_places(|_| {})
}

pub fn ipv6_alone() -> SocketAddr {
    let only = |socket: &socket2::Socket| socket.set_only_v6(true).expect("IPv6");
    let listener = listener("[::1]:0", BACKLOG, only);
    start_on(listener, DEADLINE, Connection::serve)
}

/// Listens on IPv6, and is judged over IPv4.
pub fn both_families_on_one_socket() -> SocketAddr {
    let both = |socket: &socket2::Socket| socket.set_only_v6(false).expect("IPv6");
    let listener = listener("[::]:0", BACKLOG, both);
    let address = start_on(listener, DEADLINE, Connection::serve);
    SocketAddr::from(([127, 0, 0, 1], address.port()))
}

/// Accepts all that wait, and then none for this time.
fn accepts_every(time: Duration) -> SocketAddr {
    let listener = usual_listener();
    listener.set_nonblocking(true).expect("a listener");
    accept_by(listener, move |listener| {
        loop {
            thread::sleep(time);
            while let Ok((stream, _)) = listener.accept() {
                spawn(stream, DEADLINE, Connection::serve);
            }
        }
    })
}

pub fn accepts_every_20_ms() -> SocketAddr {
    accepts_every(Duration::from_millis(20))
}

pub fn accepts_every_500_ms() -> SocketAddr {
    accepts_every(Duration::from_millis(500))
}

pub fn reads_only_every_50_ms() -> SocketAddr {
    start(DEADLINE, |c| {
        thread::sleep(Duration::from_millis(50));
        c.serve();
    })
}

pub fn small_receive_buffer() -> SocketAddr {
    let listener = listener("127.0.0.1:0", BACKLOG, |socket| {
        socket.set_recv_buffer_size(2048).expect("a size");
    });
    start_on(listener, DEADLINE, Connection::serve)
}

pub fn small_send_buffer() -> SocketAddr {
    let listener = listener("127.0.0.1:0", BACKLOG, |socket| {
        socket.set_send_buffer_size(1).expect("a size");
    });
    start_on(listener, DEADLINE, Connection::serve)
}

pub fn discards_256_bytes_at_a_time() -> SocketAddr {
    start(DEADLINE, |c| {
        if let Some(reply) = c.reply(LIMIT) {
            c.write(&reply);
            c.half_close();
            c.discard(256);
        }
    })
}

/// The kernel shares the connections among two listeners.
pub fn two_listeners_on_one_port() -> SocketAddr {
    let shared = |socket: &socket2::Socket| socket.set_reuse_port(true).expect("a shared port");
    let first = listener("127.0.0.1:0", BACKLOG, shared);
    let address = first.local_addr().expect("an address").to_string();
    let second = listener(&address, BACKLOG, shared);
    start_on(second, DEADLINE, Connection::serve);
    start_on(first, DEADLINE, Connection::serve)
}

/// Closes at once if the client has ended its side, without a half-close of its own.
pub fn closes_behind_the_clients_end() -> SocketAddr {
    start(DEADLINE, |c| {
        let Some(request) = c.request(1) else { return };
        c.write(&upcase::conformance::reference::process(&request));
        let is_ended = request.len() < LIMIT && !request.ends_with(b"\n");
        if !is_ended {
            c.finish(b"");
        }
    })
}

pub fn stays_until_the_deadline() -> SocketAddr {
    start(LEAST_DEADLINE, |c| {
        c.serve();
        thread::sleep(c.deadline.saturating_duration_since(Instant::now()));
    })
}

pub fn address_not_reusable() -> SocketAddr {
    let listener = listener("127.0.0.1:0", BACKLOG, |socket| {
        socket.set_reuse_address(false).expect("an option");
    });
    start_on(listener, DEADLINE, Connection::serve)
}

/// The kernel waits in the close until the client has all.
pub fn lingers_at_the_close() -> SocketAddr {
    start(DEADLINE, |c| {
        let time = Some(Duration::from_secs(1));
        let _ = SockRef::from(&c.stream).set_linger(time);
        c.serve();
    })
}

/// From 2 to 10 s, by turns.
pub fn deadlines_that_differ() -> SocketAddr {
    accept_by(usual_listener(), |listener| {
        let seconds = (2..=10).cycle();
        for (stream, seconds) in listener.incoming().flatten().zip(seconds) {
            spawn(stream, Duration::from_secs(seconds), Connection::serve);
        }
    })
}

/// Another thread looks twice a second which connections are old, and shuts them down.
pub fn deadlines_kept_by_another_thread() -> SocketAddr {
    accept_by(usual_listener(), |listener| {
        let all = Arc::new(std::sync::Mutex::new(Vec::new()));
        let old = Arc::clone(&all);
        thread::spawn(move || {
            loop {
                thread::sleep(LEAST_DEADLINE / 4);
                old.lock().expect("no panic").retain(|(stream, deadline)| {
                    let stream: &std::net::TcpStream = stream;
                    let is_old = Instant::now() >= *deadline;
                    if is_old {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                    !is_old
                });
            }
        });
        for stream in listener.incoming().flatten() {
            let deadline = Instant::now() + LEAST_DEADLINE;
            if let Ok(copy) = stream.try_clone() {
                all.lock().expect("no panic").push((copy, deadline));
                spawn(stream, LONGEST_DEADLINE, Connection::serve);
            }
        }
    })
}

/// One thread asks each connection in turn, and waits 2 ms.
pub fn one_thread_that_asks_in_turn() -> SocketAddr {
    let listener = usual_listener();
    listener.set_nonblocking(true).expect("a listener");
    accept_by(listener, |listener: TcpListener| {
        let mut connections = Vec::<Turn>::new();
        loop {
            while let Ok((stream, _)) = listener.accept() {
                connections.push(Turn::new(Connection::new(stream, DEADLINE)));
            }
            connections.retain_mut(Turn::go_on);
            thread::sleep(Duration::from_millis(2));
        }
    })
}

/// A connection of [`one_thread_that_asks_in_turn`].
struct Turn {
    connection: Connection,
    bytes: Vec<u8>,
    is_replied: bool,
}

impl Turn {
    fn new(connection: Connection) -> Self {
        let _ = connection.stream.set_nonblocking(true);
        Self {
            connection,
            bytes: Vec::new(),
            is_replied: false,
        }
    }

    /// Does what is possible without waiting. Returns whether there is more to do.
    fn go_on(&mut self) -> bool {
        use std::io::{Read, Write};
        use upcase::conformance::reference::{process, request};
        let mut buffer = [0; 65_536];
        loop {
            if Instant::now() >= self.connection.deadline {
                return false;
            }
            let read = (&self.connection.stream).read(&mut buffer);
            let is_ended = matches!(read, Ok(0));
            match read {
                Ok(count) if self.is_replied => {
                    if count == 0 {
                        return false;
                    }
                }
                Ok(count) => self.bytes.extend(&buffer[..count]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            if !self.is_replied
                && let Some(request) = request(&self.bytes, is_ended)
            {
                self.is_replied = true;
                self.bytes = mem::take(&mut self.bytes);
                let written = (&self.connection.stream).write_all(&process(&request));
                if written.is_err() {
                    return false;
                }
                self.connection.half_close();
            }
            if is_ended {
                return false;
            }
        }
    }
}

/// One thread reads the request and the surplus bytes. Another writes the reply.
pub fn reads_and_writes_on_two_threads() -> SocketAddr {
    start(DEADLINE, |c| {
        let Some(reply) = c.reply(LIMIT) else { return };
        let Ok(stream) = c.stream.try_clone() else {
            return;
        };
        let writing = Connection {
            stream,
            deadline: c.deadline,
        };
        thread::scope(|scope| {
            scope.spawn(move || {
                writing.write(&reply);
                writing.half_close();
            });
            c.discard(65_536);
        });
    })
}

pub fn segments_of_536_bytes() -> SocketAddr {
    let listener = listener("127.0.0.1:0", BACKLOG, |socket| {
        socket.set_tcp_mss(536).expect("a size");
    });
    start_on(listener, DEADLINE, Connection::serve)
}
