//! Wrong servers, each a small step away from the right one: content right, transport wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use upcase::{LIMIT, process};

/// How long the zoo's servers give a connection.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// What a server remembers from one connection to the next; the right one has no use for it.
#[derive(Default)]
pub struct Memory {
    text: Mutex<Vec<u8>>,
    connections: AtomicUsize,
}

/// Serves one connection.
type Serve = fn(&mut Connection, &Memory);

/// A connection with its deadline.
pub struct Connection {
    stream: TcpStream,
    deadline: Instant,
}

impl Connection {
    /// What one read brings; `None` when the deadline has come, or the connection is broken.
    fn read(&mut self, most: usize) -> Option<Vec<u8>> {
        let left = self.deadline.checked_duration_since(Instant::now())?;
        self.stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .ok()?;
        let mut bytes = vec![0; most];
        let count = self.stream.read(&mut bytes).ok()?;
        bytes.truncate(count);
        Some(bytes)
    }

    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Lets closing be a reset.
    fn reset(&mut self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    fn drain(&mut self) {
        while self.read(LIMIT).is_some_and(|bytes| !bytes.is_empty()) {}
    }

    /// A request as SPEC section 4.1 has it, but that `ends` says when it is complete, from all
    /// that has come. `None` if it is not complete at the deadline.
    fn request(&mut self, ends: fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        let mut request = Vec::new();
        loop {
            if let Some(length) = ends(&request) {
                request.truncate(length);
                return Some(request);
            }
            let bytes = self.read(LIMIT)?;
            if bytes.is_empty() {
                return Some(request);
            }
            request.extend(bytes);
        }
    }

    /// As the specification has it.
    fn right_request(&mut self) -> Option<Vec<u8>> {
        self.request(complete)
    }

    /// Replies, and ends the connection as SPEC REPLY-2 and SURPLUS-2 have it.
    fn finish(&mut self, reply: &[u8]) {
        self.write(reply);
        self.half_close();
        self.drain();
    }
}

/// The length of the request that `bytes` begin with, if it is complete.
fn complete(bytes: &[u8]) -> Option<usize> {
    let head = &bytes[..bytes.len().min(LIMIT)];
    let line = head.iter().position(|b| *b == b'\n').map(|at| at + 1);
    line.or((head.len() == LIMIT).then_some(LIMIT))
}

fn ended_by(bytes: &[u8], end: u8) -> Option<usize> {
    let other = bytes.iter().position(|b| *b == end).map(|at| at + 1);
    other.into_iter().chain(complete(bytes)).min()
}

/// The right one, with which the others are compared.
pub fn right(connection: &mut Connection, _: &Memory) {
    if let Some(request) = connection.right_request() {
        connection.finish(&process(&request));
    }
}

/// Another right one, which ends an incomplete request by a reset.
pub fn right_by_reset(connection: &mut Connection, _: &Memory) {
    match connection.right_request() {
        Some(request) => connection.finish(&process(&request)),
        None => connection.reset(),
    }
}

/// A fault's name, and a server that has it.
pub type Wrong = (&'static str, Serve);

/// The servers that are right to most connections, and not to those beside them. Each is to be
/// judged by one vector alone.
pub const WRONG_TO_OTHERS: &[Wrong] = &[
    ("answers others wrongly", |c, memory| {
        let others = memory.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(request) = c.right_request() {
            let reply = process(&request);
            c.finish(if others > 0 { b"?" } else { &reply });
        }
        memory.connections.fetch_sub(1, Ordering::Relaxed);
    }),
    ("keeps others waiting", |c, memory| {
        let others = memory.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(request) = c.right_request() {
            thread::sleep(if others > 0 {
                DEADLINE * 4 / 5
            } else {
                Duration::ZERO
            });
            c.finish(&process(&request));
        }
        memory.connections.fetch_sub(1, Ordering::Relaxed);
    }),
    ("is late, and then wrong, now and then", |c, memory| {
        if let Some(request) = c.right_request() {
            let count = memory.connections.fetch_add(1, Ordering::Relaxed);
            if count % 40 == 39 {
                thread::sleep(DEADLINE * 3 / 4);
                c.finish(b"?");
            } else {
                c.finish(&process(&request));
            }
        }
    }),
];

/// The servers that serve connections side by side, each in its own way.
pub const WRONG: &[Wrong] = &[
    ("takes one read for one request", |c, _| {
        if let Some(request) = c.read(LIMIT) {
            c.finish(&process(&request));
        }
    }),
    ("takes a read that ends with LF for the end", |c, _| {
        let ends = |bytes: &[u8]| bytes.ends_with(b"\n").then_some(bytes.len());
        if let Some(request) = c.request(ends) {
            c.finish(&process(&request));
        }
    }),
    ("waits for the end of the stream", |c, _| {
        if let Some(request) = c.request(|_| None) {
            let length = complete(&request).unwrap_or(request.len());
            c.finish(&process(&request[..length]));
        }
    }),
    ("waits for LF past the cap", |c, _| {
        let line = |bytes: &[u8]| bytes.iter().position(|b| *b == b'\n').map(|at| at + 1);
        if let Some(request) = c.request(line) {
            c.finish(&process(&request));
        }
    }),
    ("waits for a byte past the cap", |c, _| {
        let ends = |bytes: &[u8]| complete(bytes).filter(|n| *n < LIMIT || bytes.len() > LIMIT);
        if let Some(request) = c.request(ends) {
            c.finish(&process(&request));
        }
    }),
    ("ends a request at 1023 bytes", |c, _| {
        let ends = |bytes: &[u8]| complete(bytes).or((bytes.len() >= 1023).then_some(1023));
        if let Some(request) = c.request(ends) {
            c.finish(&process(&request));
        }
    }),
    ("ends a request at CR", |c, _| {
        if let Some(request) = c.request(|bytes| ended_by(bytes, b'\r')) {
            c.finish(&process(&request));
        }
    }),
    ("ends a request at NUL", |c, _| {
        if let Some(request) = c.request(|bytes| ended_by(bytes, 0)) {
            c.finish(&process(&request));
        }
    }),
    ("ends a request at the last LF", |c, _| {
        let ends = |bytes: &[u8]| {
            let last = bytes.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
            complete(bytes).and(last.or(complete(bytes)))
        };
        if let Some(request) = c.request(ends) {
            c.finish(&process(&request));
        }
    }),
    ("skips empty lines", |c, _| {
        let ends = |bytes: &[u8]| {
            let start = bytes.iter().position(|b| *b != b'\n')?;
            complete(&bytes[start..]).map(|length| start + length)
        };
        if let Some(request) = c.request(ends) {
            c.finish(&process(&request));
        }
    }),
    ("gives up at a half-close", |c, _| {
        let mut request = Vec::new();
        while complete(&request).is_none() {
            match c.read(LIMIT) {
                Some(bytes) if !bytes.is_empty() => request.extend(bytes),
                _ => return,
            }
        }
        c.finish(&process(&request[..complete(&request).unwrap_or(0)]));
    }),
    ("waits for more after an empty half-close", |c, _| {
        if let Some(request) = c.right_request() {
            if request.is_empty() {
                let left = c.deadline.saturating_duration_since(Instant::now());
                thread::sleep(left + DEADLINE);
                let _ = socket2::SockRef::from(&c.stream).set_linger(Some(Duration::ZERO));
                return;
            }
            c.finish(&process(&request));
        }
    }),
    ("maps each read by itself", |c, _| {
        let mut reply = Vec::new();
        let mut taken = Vec::new();
        while complete(&taken).is_none() {
            match c.read(LIMIT) {
                None => return,
                Some(bytes) if bytes.is_empty() => break,
                Some(bytes) => {
                    reply.extend(upcase::upper(&bytes));
                    taken.extend(bytes);
                }
            }
        }
        if taken.len() == complete(&taken).unwrap_or(taken.len()) && taken.len() < LIMIT {
            c.finish(upcase::clip(&reply));
        } else {
            c.finish(&process(&taken[..complete(&taken).unwrap_or(0)]));
        }
    }),
    ("replies as it reads", |c, _| {
        let mut taken = Vec::new();
        let mut written = 0;
        while complete(&taken).is_none() {
            match c.read(LIMIT) {
                None => return,
                Some(bytes) if bytes.is_empty() => break,
                Some(bytes) => taken.extend(bytes),
            }
            taken.truncate(complete(&taken).unwrap_or(taken.len()));
            let reply = process(&taken);
            c.write(reply.get(written..).unwrap_or_default());
            written = written.max(reply.len());
        }
        c.finish(b"");
    }),
    ("replies to what is incomplete at the deadline", |c, _| {
        let mut request = Vec::new();
        while complete(&request).is_none() {
            match c.read(LIMIT) {
                Some(bytes) if !bytes.is_empty() => request.extend(bytes),
                _ => break,
            }
        }
        let length = complete(&request).unwrap_or(request.len());
        c.deadline += DEADLINE;
        c.finish(&process(&request[..length]));
    }),
    ("gives each read a little more time", |c, _| {
        let mut request = Vec::new();
        while complete(&request).is_none() {
            match c.read(LIMIT) {
                None => return c.reset(),
                Some(bytes) if bytes.is_empty() => break,
                Some(bytes) => request.extend(bytes),
            }
            c.deadline += DEADLINE * 2 / 5;
        }
        let length = complete(&request).unwrap_or(request.len());
        c.finish(&process(&request[..length]));
    }),
    ("has no deadline", |c, m| {
        c.deadline += Duration::from_secs(30);
        right(c, m);
    }),
    ("gives each read a time-out of its own", |c, _| {
        let mut request = Vec::new();
        while complete(&request).is_none() {
            match c.read(LIMIT) {
                None => return,
                Some(bytes) if bytes.is_empty() => break,
                Some(bytes) => request.extend(bytes),
            }
            c.deadline = Instant::now() + DEADLINE;
        }
        let length = complete(&request).unwrap_or(request.len());
        c.finish(&process(&request[..length]));
    }),
    ("greets", |c, m| {
        c.write(b"UPCASE ready\n");
        right(c, m);
    }),
    ("says why it closes", |c, _| match c.right_request() {
        Some(request) => c.finish(&process(&request)),
        None => c.finish(b"408 Request Timeout"),
    }),
    ("answers every request of a connection", |c, _| {
        let mut rest = Vec::new();
        loop {
            while complete(&rest).is_none() {
                match c.read(LIMIT) {
                    Some(bytes) if !bytes.is_empty() => rest.extend(bytes),
                    Some(_) if rest.is_empty() => return c.half_close(),
                    _ => return c.finish(&process(&rest)),
                }
            }
            let surplus = rest.split_off(complete(&rest).unwrap_or(0));
            c.write(&process(&rest));
            rest = surplus;
            if rest.is_empty() {
                return c.finish(b"");
            }
        }
    }),
    ("does not end its side", |c, _| {
        if let Some(request) = c.right_request() {
            c.write(&process(&request));
            c.deadline += Duration::from_secs(30);
            c.drain();
        }
    }),
    ("closes with surplus unread", |c, _| {
        if let Some(request) = c.right_request() {
            c.write(&process(&request));
        }
    }),
    ("closes right after its half-close", |c, _| {
        if let Some(request) = c.right_request() {
            c.write(&process(&request));
            c.half_close();
        }
    }),
    ("discards 64 KiB and no more", |c, _| {
        if let Some(request) = c.right_request() {
            c.write(&process(&request));
            c.half_close();
            for _ in 0..64 {
                if c.read(LIMIT).is_none_or(|bytes| bytes.is_empty()) {
                    return;
                }
            }
        }
    }),
    ("resets instead of closing", |c, _| {
        if let Some(request) = c.right_request() {
            c.reset();
            c.write(&process(&request));
        }
    }),
    ("does not reply to an empty request, but resets", |c, _| {
        if let Some(request) = c.right_request() {
            match process(&request) {
                reply if reply.is_empty() => c.reset(),
                reply => c.finish(&reply),
            }
        }
    }),
    ("keeps the text of the connection before", |c, memory| {
        if let Some(request) = c.right_request() {
            let mut text = memory.text.lock().unwrap();
            let length = text.len().max(request.len());
            text.resize(length, b' ');
            text[..request.len()].copy_from_slice(&request);
            let reply = process(&text);
            drop(text);
            c.finish(&reply);
        }
    }),
    ("dies of a reset", |c, memory| {
        if memory.connections.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut request = Vec::new();
        while complete(&request).is_none() {
            let reset = c
                .stream
                .peek(&mut [0])
                .is_err_and(|e| e.kind() == ErrorKind::ConnectionReset);
            if reset {
                memory.connections.store(1, Ordering::Relaxed);
            }
            match c.read(LIMIT) {
                None => return,
                Some(bytes) if bytes.is_empty() => break,
                Some(bytes) => request.extend(bytes),
            }
        }
        let length = complete(&request).unwrap_or(request.len());
        if memory.connections.load(Ordering::Relaxed) == 0 {
            c.finish(&process(&request[..length]));
        }
    }),
    ("sends on and on", |c, _| {
        while c.stream.write_all(&[b'X'; LIMIT]).is_ok() {}
    }),
    ("caches by length", |c, memory| {
        if let Some(request) = c.right_request() {
            let mut cached = memory.text.lock().unwrap();
            let reply = process(&request);
            if cached.len() != reply.len() {
                *cached = reply;
            }
            let reply = cached.clone();
            drop(cached);
            c.finish(&reply);
        }
    }),
    (
        "answers a full request at its deadline, for want of LF",
        |c, _| {
            let mut request = Vec::new();
            while !request.contains(&b'\n') {
                match c.read(LIMIT) {
                    Some(bytes) if !bytes.is_empty() => request.extend(bytes),
                    None if request.len() < LIMIT => return,
                    _ => break,
                }
            }
            c.deadline += DEADLINE;
            let length = complete(&request).unwrap_or(request.len());
            c.finish(&process(&request[..length]));
        },
    ),
    (
        "answers at the end of the stream, or its deadline",
        |c, _| {
            let mut request = Vec::new();
            while let Some(bytes) = c.read(LIMIT)
                && !bytes.is_empty()
            {
                request.extend(bytes);
            }
            c.deadline += DEADLINE;
            if let Some(length) = complete(&request) {
                c.finish(&process(&request[..length]));
            }
        },
    ),
    ("ends its side a second after its reply", |c, _| {
        if let Some(request) = c.right_request() {
            c.write(&process(&request));
            thread::sleep(Duration::from_millis(1200));
            c.half_close();
            c.drain();
        }
    }),
    ("keeps a connection for ever behind its reply", |c, _| {
        if let Some(request) = c.right_request() {
            c.deadline += Duration::from_secs(30);
            c.finish(&process(&request));
        }
    }),
    (
        "replies and discards one connection after another",
        |c, memory| {
            if let Some(request) = c.right_request() {
                let turn = memory.text.lock().unwrap();
                c.finish(&process(&request));
                drop(turn);
            }
        },
    ),
    ("reads no surplus", |c, _| {
        if let Some(request) = c.right_request() {
            c.write(&process(&request));
            c.half_close();
            thread::sleep(c.deadline.saturating_duration_since(Instant::now()));
        }
    }),
    ("discards for half a second", |c, _| {
        if let Some(request) = c.right_request() {
            c.deadline = Instant::now() + Duration::from_millis(500);
            c.finish(&process(&request));
        }
    }),
    ("ends its side alone at its deadline", |c, _| {
        if let Some(request) = c.right_request() {
            return c.finish(&process(&request));
        }
        c.half_close();
        thread::sleep(Duration::from_secs(30));
    }),
    (
        "gives up when half a second passes between two pieces",
        |c, _| {
            let last = c.deadline;
            let mut request = Vec::new();
            while complete(&request).is_none() {
                c.deadline = last.min(Instant::now() + Duration::from_millis(500));
                match c.read(LIMIT) {
                    None => return,
                    Some(bytes) if bytes.is_empty() => break,
                    Some(bytes) => request.extend(bytes),
                }
            }
            c.deadline = last;
            let length = complete(&request).unwrap_or(request.len());
            c.finish(&process(&request[..length]));
        },
    ),
    (
        "gives up when the first byte is half a second late",
        |c, _| {
            let half_a_second = Some(Duration::from_millis(500));
            let _ = c.stream.set_read_timeout(half_a_second);
            if c.stream.peek(&mut [0]).is_ok()
                && let Some(request) = c.right_request()
            {
                c.finish(&process(&request));
            }
        },
    ),
    ("takes white space alone for an empty request", |c, _| {
        let blank = |bytes: &[u8]| {
            let is_blank = !bytes.is_empty() && bytes.trim_ascii().is_empty();
            complete(bytes).or(is_blank.then_some(0))
        };
        if let Some(request) = c.request(blank) {
            c.finish(&process(&request));
        }
    }),
    (
        "forgets the reply of every fiftieth connection",
        |c, memory| {
            if let Some(request) = c.right_request() {
                let count = memory.connections.fetch_add(1, Ordering::Relaxed);
                let reply = process(&request);
                c.finish(if count % 50 == 49 { b"" } else { &reply });
            }
        },
    ),
];

/// The servers that are right, to so many connections at a time.
pub const POOLS: &[(&str, usize)] = &[
    ("serves one connection after another", 1),
    ("serves sixteen connections at a time", 16),
];

/// Starts a server on a free port; it runs until the process ends.
pub fn start(serve: Serve) -> SocketAddr {
    start_with(|serve_one| drop(thread::spawn(serve_one)), serve, 1)
}

/// The right server, which serves `count` connections at a time.
pub fn start_pool(count: usize) -> SocketAddr {
    start_with(|serve_one| serve_one(), right, count)
}

/// Starts the server that has the fault of this name.
pub fn start_by_name(fault: &str) -> SocketAddr {
    let serve = WRONG
        .iter()
        .chain(WRONG_TO_OTHERS)
        .find(|(name, _)| *name == fault);
    let pool = || POOLS.iter().find(|(name, _)| *name == fault);
    match serve {
        Some((_, serve)) => start(*serve),
        None => start_pool(pool().expect("no fault has this name").1),
    }
}

/// Starts `acceptors` threads that accept, and let `run` serve each connection.
fn start_with(run: fn(Box<dyn FnOnce() + Send>), serve: Serve, acceptors: usize) -> SocketAddr {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let memory = Arc::<Memory>::default();
    for _ in 0..acceptors {
        let (listener, memory) = (Arc::clone(&listener), Arc::clone(&memory));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let memory = Arc::clone(&memory);
                run(Box::new(move || {
                    let deadline = Instant::now() + DEADLINE;
                    serve(&mut Connection { stream, deadline }, &memory);
                }));
            }
        });
    }
    address
}
