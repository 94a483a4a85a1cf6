//! Wrong clients: right clients with one fault each. And right clients that do the same in odd ways.
//!
//! A client is a value: what it does in each step of an exchange. The test program is also the client:
//! with its name, a host and a port, it reads the message from standard input.
//!
//! A fault must show in every run, however busy the machine is:
//!
//! - What a server sends in pieces may arrive as one. A client whose fault depends on what one read
//!   returns has a small buffer, or is judged by a server that does not end its stream.
//! - A server that has accepted a connection may reset it while the client still connects. So a vector whose client
//!   must be connected pauses before its server resets.
//! - Where only time shows a fault, only a delay of about half a second or more can hide it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use upcase::conformance::reference::{LIMIT, clip, literal, process, upper};

/// How long a client gives an exchange: long enough for every vector.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// Longer than any judge of the zoo waits.
const ENDLESS: Duration = Duration::from_secs(30);

/// A short wait.
const MOMENT: Duration = Duration::from_millis(300);

/// What a client does, step by step.
#[derive(Clone, Copy)]
pub struct Client {
    /// Whether it connects before it reads the message.
    is_early: bool,
    /// Whether it refuses a message.
    refuses: fn(&[u8]) -> bool,
    /// Connects to one of the addresses by the deadline.
    connect: fn(&[SocketAddr], Instant) -> io::Result<TcpStream>,
    /// What it sends for a message.
    line: fn(&[u8]) -> Vec<u8>,
    send: fn(&mut Connection, &[u8]) -> io::Result<()>,
    receive: fn(&mut Connection) -> io::Result<()>,
    /// Closes the connection, and says what the reply is.
    conclude: fn(Exchange) -> io::Result<Vec<u8>>,
    /// What it writes for a reply.
    output: fn(&[u8]) -> Vec<u8>,
    /// Writes that or the error, and returns the exit code.
    show: fn(io::Result<Vec<u8>>) -> u8,
}

/// A right client.
const RIGHT: Client = Client {
    is_early: false,
    refuses,
    connect,
    line,
    send: Connection::write,
    receive,
    conclude,
    output: <[u8]>::to_vec,
    show,
};

/// What came of one exchange.
struct Exchange {
    message: Vec<u8>,
    written: io::Result<()>,
    read: io::Result<()>,
    connection: Connection,
}

/// A connection with its deadline.
struct Connection {
    stream: TcpStream,
    deadline: Instant,
    /// The most bytes that one read returns.
    buffer: usize,
    received: Vec<u8>,
}

impl Client {
    /// Makes one exchange with the server there. Returns the exit code.
    pub fn run(&self, host: &str, port: u16) -> u8 {
        let reply = self.exchange(host, port);
        (self.show)(reply.map(|reply| (self.output)(&reply)))
    }

    fn exchange(&self, host: &str, port: u16) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + DEADLINE;
        let connect = || {
            let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
            (self.connect)(&addresses, deadline)
        };
        let early = self.is_early.then(connect).transpose()?;
        let mut message = Vec::new();
        io::stdin().read_to_end(&mut message)?;
        if (self.refuses)(&message) {
            return Err(io::Error::other("the message would be cut"));
        }
        let mut connection = Connection {
            stream: early.map_or_else(connect, Ok)?,
            deadline,
            buffer: LIMIT,
            received: Vec::new(),
        };
        let written = (self.send)(&mut connection, &(self.line)(&message));
        let read = (self.receive)(&mut connection);
        (self.conclude)(Exchange {
            message,
            written,
            read,
            connection,
        })
    }
}

impl Connection {
    fn time_left(&self) -> io::Result<Duration> {
        left(self.deadline)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.time_left()?))?;
        self.stream.write_all(bytes)
    }

    /// Reads once. Returns how many bytes came.
    fn read(&mut self) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.time_left()?))?;
        let mut bytes = vec![0; self.buffer];
        let count = self.stream.read(&mut bytes)?;
        self.received.extend(&bytes[..count]);
        Ok(count)
    }

    /// Reads until what came `is_enough`, or to the end of the stream.
    fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        while !is_enough(&self.received) && self.read()? > 0 {}
        Ok(())
    }

    /// Reads up to the first such byte.
    fn read_to(&mut self, end: u8) -> io::Result<()> {
        self.read_until(|bytes| bytes.contains(&end) || bytes.len() > LIMIT)?;
        let end = self.received.iter().position(|byte| *byte == end);
        self.received.truncate(end.unwrap_or(self.received.len()));
        Ok(())
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// SPEC CLIENT-1, CLIENT-2.
fn refuses(message: &[u8]) -> bool {
    message.contains(&b'\n')
        || message.len() >= LIMIT
        || process(message).len() < upper(&clip(message)).len()
}

/// SPEC CLIENT-8.
fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    connect_within(addresses, |addresses_left| {
        Ok(left(deadline)? / addresses_left)
    })
}

/// Connects to one of the addresses. `time` is for one attempt, from how many addresses are left.
fn connect_within(
    addresses: &[SocketAddr],
    time: impl Fn(u32) -> io::Result<Duration>,
) -> io::Result<TcpStream> {
    connect_by(addresses, |address, left| {
        TcpStream::connect_timeout(address, time(left)?)
    })
}

/// Connects to one of the addresses. `attempt` also gets how many addresses are left.
fn connect_by(
    addresses: &[SocketAddr],
    attempt: impl Fn(&SocketAddr, u32) -> io::Result<TcpStream>,
) -> io::Result<TcpStream> {
    let mut result = Err(ErrorKind::NotFound.into());
    let mut left = u32::try_from(addresses.len()).expect("few addresses");
    for address in addresses {
        result = attempt(address, left);
        if result.is_ok() {
            break;
        }
        left -= 1;
    }
    result
}

/// SPEC CLIENT-1.
fn line(message: &[u8]) -> Vec<u8> {
    [message, b"\n"].concat()
}

/// SPEC CLIENT-3, CLIENT-4.
fn receive(c: &mut Connection) -> io::Result<()> {
    c.read_until(|bytes| bytes.len() > LIMIT)
}

/// SPEC CLIENT-5 to CLIENT-7.
fn conclude(e: Exchange) -> io::Result<Vec<u8>> {
    e.written?;
    e.read?;
    whole(&e.message, e.connection.received)
}

/// The reply, if it is one (SPEC CLIENT-4, CLIENT-6).
fn whole(message: &[u8], received: Vec<u8>) -> io::Result<Vec<u8>> {
    if received.len() > LIMIT || received.is_empty() && !clip(message).is_empty() {
        return Err(io::Error::other("what came is no reply"));
    }
    Ok(received)
}

fn show(result: io::Result<Vec<u8>>) -> u8 {
    match result {
        Ok(reply) => write_out(&reply),
        Err(error) => {
            eprintln!("no reply: {error}");
            1
        }
    }
}

fn write_out(reply: &[u8]) -> u8 {
    let written = io::stdout().write_all(reply);
    u8::from(written.is_err())
}

/// Text with one part replaced by another, however ill-formed the rest is.
fn replaced(bytes: &[u8], part: &str, other: &str) -> Vec<u8> {
    let (mut replaced, mut rest) = (Vec::new(), bytes);
    while let Some(byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(part.as_bytes()) {
            replaced.extend(other.as_bytes());
            rest = after;
        } else {
            replaced.push(*byte);
            rest = &rest[1..];
        }
    }
    replaced
}

fn lossy(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).into_owned().into_bytes()
}

fn without(bytes: &[u8], is_left_out: impl Fn(u8) -> bool) -> Vec<u8> {
    let kept = bytes.iter().filter(|byte| !is_left_out(**byte));
    kept.copied().collect()
}

/// What is left without Unicode's white space at the ends, as most languages trim.
fn trimmed(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).trim().as_bytes().to_vec()
}

/// A client with a fault.
pub struct Fault {
    /// What it does.
    pub name: &'static str,
    /// The IDs of the vectors that aim at it. Each of them catches it in every run.
    pub caught_by: &'static [&'static str],
    /// The client.
    pub client: Client,
}

type Ids = &'static [&'static str];

const fn fault(name: &'static str, caught_by: Ids, client: Client) -> Fault {
    Fault {
        name,
        caught_by,
        client,
    }
}

const fn sends(name: &'static str, caught_by: Ids, line: fn(&[u8]) -> Vec<u8>) -> Fault {
    fault(name, caught_by, Client { line, ..RIGHT })
}

const fn refusing(name: &'static str, caught_by: Ids, refuses: fn(&[u8]) -> bool) -> Fault {
    fault(name, caught_by, Client { refuses, ..RIGHT })
}

const fn receiving(
    name: &'static str,
    caught_by: Ids,
    receive: fn(&mut Connection) -> io::Result<()>,
) -> Fault {
    fault(name, caught_by, Client { receive, ..RIGHT })
}

const fn concluding(
    name: &'static str,
    caught_by: Ids,
    conclude: fn(Exchange) -> io::Result<Vec<u8>>,
) -> Fault {
    fault(name, caught_by, Client { conclude, ..RIGHT })
}

const fn writing(name: &'static str, caught_by: Ids, output: fn(&[u8]) -> Vec<u8>) -> Fault {
    fault(name, caught_by, Client { output, ..RIGHT })
}

const fn showing(name: &'static str, caught_by: Ids, show: fn(io::Result<Vec<u8>>) -> u8) -> Fault {
    fault(name, caught_by, Client { show, ..RIGHT })
}

/// Every wrong client.
pub fn wrong() -> impl Iterator<Item = &'static Fault> {
    [
        MESSAGES,
        REFUSALS,
        CONNECTIONS,
        ORDERS,
        READS,
        ENDS,
        REPLIES,
        REPORTS,
    ]
    .into_iter()
    .flatten()
}

/// What is sent (SPEC CLIENT-1, CLIENT-9).
const MESSAGES: &[Fault] = &[
    sends("trims the message", &["message.spaces-at-its-ends"], |m| {
        line(m.trim_ascii())
    }),
    sends(
        "joins words by one space",
        &["message.spaces-within"],
        |m| {
            let words = m
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty());
            line(&words.collect::<Vec<_>>().join(&b' '))
        },
    ),
    sends("sends CR and LF", &["message.one-letter"], |m| {
        [m, b"\r\n"].concat()
    }),
    sends("sends two LFs", &["message.hello"], |m| {
        [m, b"\n\n"].concat()
    }),
    sends("sends NUL after the LF", &["message.hello"], |m| {
        [m, b"\n\0"].concat()
    }),
    sends("sends the length first", &["message.hello"], |m| {
        [&[u8::try_from(m.len() % 256).unwrap_or(0)], m, b"\n"].concat()
    }),
    fault(
        "half-closes instead of sending the LF",
        &["message.hello", "message.empty"],
        Client {
            line: <[u8]>::to_vec,
            send: |c, bytes| {
                c.write(bytes)?;
                c.stream.shutdown(Shutdown::Write)
            },
            ..RIGHT
        },
    ),
    sends(
        "sends nothing for an empty message",
        &["message.empty"],
        |m| {
            if m.is_empty() { Vec::new() } else { line(m) }
        },
    ),
    sends("removes a CR at the end", &["message.cr-at-its-end"], |m| {
        line(m.strip_suffix(b"\r").unwrap_or(m))
    }),
    sends("sends a CR as LF", &["message.cr-within"], |m| {
        line(&replaced(m, "\r", "\n"))
    }),
    sends(
        "ends the message at any line end of Unicode",
        &["message.other-line-ends"],
        |m| {
            let ends = ["\x0b", "\x0c", "\u{85}", "\u{2028}", "\u{2029}"];
            line(
                &ends
                    .iter()
                    .fold(m.to_vec(), |m, end| replaced(&m, end, "\n")),
            )
        },
    ),
    sends("ends the message at NUL", &["message.nul"], |m| {
        line(m.split(|byte| *byte == 0).next().unwrap_or(m))
    }),
    sends(
        "leaves out controls",
        &[
            "message.controls",
            "message.terminal-escapes",
            "message.every-byte-but-lf",
        ],
        |m| line(&without(m, |byte| byte.is_ascii_control())),
    ),
    sends(
        "sends the replacement character for ill-formed bytes",
        &[
            "message.ill-formed",
            "message.incomplete-character",
            "message.of-1023-bytes-with-incomplete-character",
        ],
        |m| line(&lossy(m)),
    ),
    sends(
        "takes the message for Latin-1",
        &[
            "message.original-session",
            "message.of-1023-bytes-in-two-byte-characters",
        ],
        |m| {
            let text: String = m.iter().map(|byte| char::from(*byte)).collect();
            line(text.as_bytes())
        },
    ),
    sends("composes the message", &["message.not-composed"], |m| {
        line(&replaced(m, "e\u{301}", "\u{e9}"))
    }),
    sends("decomposes the message", &["message.not-decomposed"], |m| {
        line(&replaced(m, "\u{e9}", "e\u{301}"))
    }),
    sends(
        "removes a byte order mark",
        &["message.byte-order-mark"],
        |m| line(m.strip_prefix("\u{feff}".as_bytes()).unwrap_or(m)),
    ),
    sends(
        "sends the upper case",
        &["message.longer-in-upper-case"],
        |m| line(&upper(m)),
    ),
    sends("reads escapes in the message", &["message.escapes"], |m| {
        line(&replaced(m, "\\n", "\n"))
    }),
    sends(
        "sends at most 1,022 bytes",
        &["message.of-1023-bytes", "message.white-space-of-1023-bytes"],
        |m| line(&m[..m.len().min(LIMIT - 2)]),
    ),
    sends(
        "sends at most as many bytes as the reply has room for",
        &["message.grows-to-1024-bytes"],
        |m| line(&m[..m.len().min(LIMIT / 3)]),
    ),
];

/// What is refused (SPEC CLIENT-1, CLIENT-2).
const REFUSALS: &[Fault] = &[
    refusing(
        "refuses nothing",
        &[
            "refuse.lf-within",
            "refuse.1024-bytes",
            "refuse.grows-to-1025-bytes",
        ],
        |_| false,
    ),
    refusing(
        "does not refuse an LF",
        &["refuse.lf-within", "refuse.lf-near-the-limit"],
        |m| refuses(&replaced(m, "\n", " ")),
    ),
    refusing(
        "refuses an LF only within the text",
        &["refuse.lf-first"],
        |m| refuses(m.trim_ascii()),
    ),
    refusing("does not refuse CR LF", &["refuse.crlf-within"], |m| {
        refuses(&replaced(m, "\r\n", " "))
    }),
    fault(
        "sends the first line alone",
        &["refuse.lf-within"],
        Client {
            refuses: |m| refuses(&without(m, |byte| byte == b'\n')),
            line: |m| line(m.split(|byte| *byte == b'\n').next().unwrap_or(m)),
            ..RIGHT
        },
    ),
    refusing("has no room for the LF", &["refuse.1024-bytes"], |m| {
        m.len() > LIMIT || refuses(&m[..m.len().min(LIMIT - 1)])
    }),
    fault(
        "cuts a message of more than 1,023 bytes",
        &["refuse.1025-bytes", "refuse.100000-bytes"],
        Client {
            refuses: |m| refuses(&m[..m.len().min(LIMIT - 1)]),
            line: |m| line(&m[..m.len().min(LIMIT - 1)]),
            ..RIGHT
        },
    ),
    refusing(
        "counts characters instead of bytes",
        &["refuse.1024-bytes-in-two-byte-characters"],
        |m| m.contains(&b'\n') || String::from_utf8_lossy(m).chars().count() >= LIMIT,
    ),
    refusing(
        "does not count white space at the ends",
        &["refuse.1024-bytes-with-spaces"],
        |m| refuses(&clip(m)),
    ),
    refusing(
        "does not look at the upper case",
        &["refuse.grows-to-1025-bytes", "refuse.grows-threefold"],
        |m| m.contains(&b'\n') || m.len() >= LIMIT,
    ),
    refusing(
        "takes white space at the limit for the end",
        &["refuse.grows-past-1024-bytes-by-white-space"],
        |m| refuses(m) && upper(&clip(m)).get(LIMIT) != Some(&b' '),
    ),
    refusing(
        "takes a reply of less than 1,024 bytes for whole",
        &[
            "refuse.grows-past-1024-bytes-within-a-character",
            "refuse.grows-to-1024-bytes-with-two-bytes-of-a-character",
            "refuse.grows-to-1024-bytes-with-three-bytes-of-a-character",
        ],
        |m| refuses(m) && !(m.len() < LIMIT && !m.contains(&b'\n') && process(m).len() < LIMIT),
    ),
    refusing(
        "counts the bytes of the upper case alone",
        &[
            "refuse.grows-to-1024-bytes-with-incomplete-character",
            "refuse.grows-to-1024-bytes-with-space-and-incomplete-character",
        ],
        |m| m.contains(&b'\n') || m.len() >= LIMIT || upper(&clip(m)).len() > LIMIT,
    ),
    refusing(
        "trims white space of Unicode before it counts",
        &["refuse.grows-past-1024-bytes-with-other-space"],
        |m| {
            let is_short = m.len() < LIMIT && !m.contains(&b'\n');
            refuses(m) && !(is_short && upper(&trimmed(m)).len() <= LIMIT)
        },
    ),
    refusing(
        "counts white space at the ends into the upper case",
        &["message.grows-without-its-spaces"],
        |m| refuses(m) || upper(m).len() > LIMIT,
    ),
    refusing(
        "takes VT for text",
        &["message.grows-without-its-vertical-tabs"],
        |m| refuses(m) || upper(m.trim_ascii()).len() > LIMIT,
    ),
    refusing(
        "refuses 1,023 bytes",
        &["message.of-1023-bytes", "message.white-space-of-1023-bytes"],
        |m| refuses(m) || m.len() == LIMIT - 1,
    ),
    refusing(
        "refuses 1,024 bytes of upper case",
        &["message.grows-to-1024-bytes"],
        |m| refuses(m) || process(m).len() == LIMIT,
    ),
    refusing(
        "refuses any ill-formed end",
        &[
            "message.grows-to-1023-bytes-with-incomplete-character",
            "message.grows-to-1024-bytes-with-stray-byte",
            "message.grows-to-1024-bytes-with-surrogate",
        ],
        |m| refuses(m) || m.len() > 600 && std::str::from_utf8(m).is_err(),
    ),
    refusing("refuses ill-formed bytes", &["message.ill-formed"], |m| {
        refuses(m) || std::str::from_utf8(m).is_err()
    }),
    refusing("refuses NUL", &["message.nul"], |m| {
        refuses(m) || m.contains(&0)
    }),
    refusing("refuses an empty message", &["message.empty"], |m| {
        refuses(m) || m.is_empty()
    }),
    refusing(
        "refuses white space alone",
        &[
            "message.white-space-alone",
            "message.white-space-of-1023-bytes",
        ],
        |m| refuses(m) || !m.is_empty() && clip(m).is_empty(),
    ),
    refusing(
        "takes a message for an option",
        &["message.like-an-option"],
        |m| refuses(m) || m.starts_with(b"--"),
    ),
    fault(
        "connects before it refuses",
        &[
            "refuse.lf-within",
            "refuse.1024-bytes",
            "refuse.grows-to-1025-bytes",
        ],
        Client {
            is_early: true,
            ..RIGHT
        },
    ),
];

/// How it connects (SPEC CLIENT-8).
const CONNECTIONS: &[Fault] = &[
    fault(
        "tries the first address alone",
        &["address.first-refuses", "address.ipv6-refuses"],
        Client {
            connect: |addresses, deadline| connect(&addresses[..1], deadline),
            ..RIGHT
        },
    ),
    fault(
        "tries two addresses at most",
        &[
            "address.first-two-refuse",
            "address.first-two-do-not-answer",
        ],
        Client {
            connect: |addresses, deadline| connect(&addresses[..addresses.len().min(2)], deadline),
            ..RIGHT
        },
    ),
    fault(
        "gives the first address all the time",
        &[
            "address.first-does-not-answer",
            "address.first-two-do-not-answer",
        ],
        Client {
            connect: |addresses, deadline| connect_within(addresses, |_| left(deadline)),
            ..RIGHT
        },
    ),
    fault(
        "gives each address the whole time",
        &["address.two-do-not-answer"],
        Client {
            connect: |addresses, _| connect_within(addresses, |_| Ok(DEADLINE)),
            ..RIGHT
        },
    ),
    fault(
        "connects without a deadline",
        &["address.no-answer"],
        Client {
            connect: |addresses, _| connect_within(addresses, |_| Ok(ENDLESS)),
            ..RIGHT
        },
    ),
    fault(
        "begins its deadline when it is connected",
        &["address.silence-after-no-answer"],
        Client {
            receive: |c| {
                c.deadline = Instant::now() + DEADLINE;
                receive(c)
            },
            ..RIGHT
        },
    ),
    fault(
        "knows IPv4 alone",
        &["address.ipv6"],
        Client {
            connect: |addresses, deadline| {
                let ipv4 = addresses.iter().filter(|address| address.is_ipv4());
                connect(&ipv4.copied().collect::<Vec<_>>(), deadline)
            },
            ..RIGHT
        },
    ),
    fault(
        "knows no names",
        &["address.name"],
        Client {
            connect: |addresses, deadline| {
                let is_name = std::env::args().any(|word| word == "server.test");
                connect(&addresses[usize::from(is_name)..], deadline)
            },
            ..RIGHT
        },
    ),
    fault(
        "sends to every address",
        &["address.two-that-accept"],
        Client {
            connect: |addresses, deadline| {
                for other in &addresses[1..] {
                    connect(&[*other], deadline)?.write_all(b"hello\n")?;
                }
                connect(&addresses[..1], deadline)
            },
            ..RIGHT
        },
    ),
    fault(
        "connects twice",
        &["message.hello"],
        Client {
            connect: |addresses, deadline| {
                drop(connect(addresses, deadline)?);
                connect(addresses, deadline)
            },
            ..RIGHT
        },
    ),
];

/// In which order it sends and reads (SPEC CLIENT-1, CLIENT-9, CLIENT-10).
const ORDERS: &[Fault] = &[
    fault(
        "reads before it sends",
        &["message.hello"],
        Client {
            send: |c, bytes| {
                c.read()?;
                c.write(bytes)
            },
            ..RIGHT
        },
    ),
    fault(
        "sends the LF when a reply has come",
        &["message.hello"],
        Client {
            send: |c, bytes| {
                c.write(bytes.strip_suffix(b"\n").unwrap_or(bytes))?;
                c.read()?;
                c.write(b"\n")
            },
            ..RIGHT
        },
    ),
    fault(
        "half-closes before the LF",
        &["message.hello"],
        Client {
            send: |c, bytes| {
                c.write(bytes.strip_suffix(b"\n").unwrap_or(bytes))?;
                c.stream.shutdown(Shutdown::Write)?;
                c.write(b"\n")
            },
            ..RIGHT
        },
    ),
    fault(
        "fails if a byte comes before it sends",
        &[
            "receive.before-the-request",
            "receive.begun-before-the-request",
        ],
        Client {
            send: |c, bytes| {
                thread::sleep(MOMENT * 5);
                c.stream.set_nonblocking(true)?;
                if matches!(c.stream.peek(&mut [0]), Ok(1)) {
                    return Err(io::Error::other("a byte came too early"));
                }
                c.stream.set_nonblocking(false)?;
                c.write(bytes)
            },
            ..RIGHT
        },
    ),
    receiving("says goodbye", &["message.hello"], |c| {
        receive(c)?;
        c.write(b"bye\n")
    }),
    receiving(
        "sends a second message on its connection",
        &["receive.of-one-byte"],
        |c| {
            c.write(b"again\n")?;
            receive(c)
        },
    ),
];

/// How it reads (SPEC CLIENT-3, CLIENT-4).
const READS: &[Fault] = &[
    receiving(
        "takes one read for the reply",
        &[
            "receive.in-two-segments",
            "receive.byte-by-byte",
            "end.late",
            "receive.and-close",
        ],
        |c| {
            c.buffer = 4;
            c.read().map(drop)
        },
    ),
    receiving(
        "takes what one read of 1,024 bytes returns for the reply",
        &["wait.no-end", "wait.no-end-after-1024-bytes"],
        |c| c.read().map(drop),
    ),
    receiving(
        "reads twice",
        &[
            "receive.in-four-segments-of-1024-bytes",
            "receive.of-1024-bytes",
        ],
        |c| {
            c.buffer = LIMIT / 4;
            c.read()?;
            c.read().map(drop)
        },
    ),
    receiving(
        "ends the reply at an LF",
        &["receive.with-lf", "receive.with-lf-in-two-segments"],
        |c| c.read_to(b'\n'),
    ),
    receiving(
        "ends the reply at NUL",
        &["receive.with-nul", "receive.of-every-byte"],
        |c| c.read_to(0),
    ),
    receiving(
        "stops at 1,024 bytes",
        &[
            "long.1025-bytes",
            "long.1024-bytes-and-one-later",
            "long.1024-bytes-and-reset",
            "wait.no-end-after-1024-bytes",
        ],
        |c| {
            c.read_until(|bytes| bytes.len() >= LIMIT)?;
            c.received.truncate(LIMIT);
            Ok(())
        },
    ),
    receiving(
        "cuts a longer reply",
        &[
            "long.1025-bytes",
            "long.2048-bytes",
            "long.1024-bytes-and-lf",
            "long.endless",
        ],
        |c| {
            receive(c)?;
            c.received.truncate(LIMIT);
            Ok(())
        },
    ),
    receiving(
        "keeps 1,025 bytes",
        &["long.1025-bytes", "long.1024-bytes-and-one-later"],
        |c| {
            c.read_until(|bytes| bytes.len() > LIMIT + 1)?;
            c.received.truncate(LIMIT);
            Ok(())
        },
    ),
    receiving(
        "trims a reply before it counts",
        &["long.1025-bytes-of-white-space", "long.1024-bytes-and-lf"],
        |c| {
            c.read_until(|bytes| bytes.len() > 2 * LIMIT)?;
            if c.received.len() > LIMIT {
                c.received = c.received.trim_ascii().to_vec();
                c.received.resize(c.received.len().max(1), b' ');
            }
            Ok(())
        },
    ),
    receiving(
        "has room for 1,023 bytes",
        &["receive.of-1024-bytes", "end.late-after-1024-bytes"],
        |c| {
            c.read_until(|bytes| bytes.len() >= LIMIT)?;
            if c.received.len() >= LIMIT {
                return Err(ErrorKind::FileTooLarge.into());
            }
            Ok(())
        },
    ),
    receiving(
        "decodes each read by itself",
        &["receive.cut-in-a-character"],
        |c| {
            c.buffer = 3;
            let mut text = Vec::new();
            while c.read()? > 0 {
                text.extend(lossy(&c.received));
                c.received.clear();
            }
            c.received = text;
            Ok(())
        },
    ),
    receiving(
        "keeps the last read alone",
        &["receive.in-two-segments"],
        |c| {
            c.buffer = 3;
            let mut last = Vec::new();
            while c.read()? > 0 {
                last = std::mem::take(&mut c.received);
            }
            c.received = last;
            Ok(())
        },
    ),
];

/// How the exchange ends (SPEC CLIENT-5 to CLIENT-9).
const ENDS: &[Fault] = &[
    receiving(
        "waits without a deadline",
        &[
            "wait.silence",
            "wait.silence-for-empty-message",
            "wait.no-end",
        ],
        |c| {
            c.deadline += ENDLESS;
            receive(c)
        },
    ),
    receiving(
        "begins its deadline anew with each read",
        &["wait.drip"],
        |c| {
            while c.received.len() <= LIMIT && c.read()? > 0 {
                c.deadline = Instant::now() + DEADLINE;
            }
            Ok(())
        },
    ),
    receiving(
        "gives up after a second without a byte",
        &["end.late", "end.after-a-late-reply"],
        |c| {
            let deadline = c.deadline;
            loop {
                c.deadline = deadline.min(Instant::now() + MOMENT * 3);
                if c.received.len() > LIMIT || c.read()? == 0 {
                    return Ok(());
                }
            }
        },
    ),
    concluding(
        "takes a reset for the end",
        &[
            "reset.within-the-reply",
            "reset.after-the-reply",
            "reset.later-within-the-reply",
            "reset.later-after-the-reply",
            "reset.for-empty-message",
            "reset.for-white-space",
        ],
        |e| {
            e.written?;
            match e.read {
                Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
                _ => whole(&e.message, e.connection.received),
            }
        },
    ),
    concluding(
        "takes a reset after a byte for the end",
        &["reset.within-the-reply", "long.1024-bytes-and-reset"],
        |e| {
            e.written?;
            if e.connection.received.is_empty() {
                e.read?;
            }
            whole(&e.message, e.connection.received)
        },
    ),
    concluding(
        "takes its deadline for the end",
        &[
            "wait.no-end",
            "wait.drip",
            "wait.no-end-after-1024-bytes",
            "wait.silence-for-empty-message",
        ],
        |e| {
            e.written?;
            match e.read {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(error),
                _ => whole(&e.message, e.connection.received),
            }
        },
    ),
    fault(
        "takes an end after a failed write for the end of the reply",
        &[
            "reset.within-the-reply-before-a-late-write",
            "reset.after-the-reply-before-a-late-write",
            "reset.before-a-late-write-of-white-space",
        ],
        Client {
            is_early: true,
            conclude: |e| {
                e.read?;
                whole(&e.message, e.connection.received)
            },
            ..RIGHT
        },
    ),
    concluding(
        "takes an empty reply to any message",
        &[
            "end.without-a-byte",
            "end.close-without-a-byte",
            "end.without-a-byte-before-the-request",
        ],
        |e| {
            e.written?;
            e.read?;
            let received = e.connection.received;
            if received.is_empty() {
                Ok(received)
            } else {
                whole(&e.message, received)
            }
        },
    ),
    concluding(
        "takes an empty reply to other white space",
        &["end.without-a-byte-for-other-space"],
        |e| {
            e.written?;
            e.read?;
            whole(&trimmed(&e.message), e.connection.received)
        },
    ),
    concluding(
        "takes an empty reply to NUL",
        &["end.without-a-byte-for-nul"],
        |e| {
            e.written?;
            e.read?;
            whole(
                &without(&e.message, |byte| byte == 0),
                e.connection.received,
            )
        },
    ),
    concluding(
        "takes any empty reply for an error",
        &["message.empty", "message.white-space-alone"],
        |e| {
            e.written?;
            e.read?;
            whole(b"text", e.connection.received)
        },
    ),
    concluding(
        "takes an empty reply to VT and FF for an error",
        &["message.vertical-tabs-and-form-feeds-alone"],
        |e| {
            e.written?;
            e.read?;
            let text = without(&e.message, |byte| b" \t\r".contains(&byte));
            let received = e.connection.received;
            whole(if text.is_empty() { b"" } else { b"text" }, received)
        },
    ),
    concluding(
        "waits for its deadline instead of the end",
        &["end.closes-at-once"],
        |e| {
            thread::sleep(e.connection.time_left().unwrap_or_default());
            conclude(e)
        },
    ),
    concluding(
        "keeps the connection open after the reply",
        &["end.closes-at-once"],
        |e| {
            let _open = e.connection.stream.try_clone()?;
            write_out(&conclude(e)?);
            thread::sleep(DEADLINE / 2);
            Ok(Vec::new())
        },
    ),
];

/// What it hands on (SPEC CLIENT-10).
const REPLIES: &[Fault] = &[
    concluding(
        "shows its own upper case",
        &["receive.other-text", "receive.not-in-upper-case"],
        |e| {
            let reply = process(&e.message);
            conclude(e).map(|_| reply)
        },
    ),
    concluding(
        "withholds a reply that is not the upper case",
        &[
            "receive.other-text",
            "receive.to-empty-message",
            "receive.to-white-space",
        ],
        |e| {
            let expected = process(&e.message);
            conclude(e).and_then(|reply| {
                if reply == expected {
                    Ok(reply)
                } else {
                    Err(io::Error::other("not the upper case"))
                }
            })
        },
    ),
    concluding(
        "withholds a reply to white space",
        &["receive.to-empty-message", "receive.to-white-space"],
        |e| {
            let is_blank = clip(&e.message).is_empty();
            conclude(e).map(|reply| if is_blank { Vec::new() } else { reply })
        },
    ),
    concluding(
        "waits for as many bytes as it sent",
        &["receive.shorter"],
        |e| {
            let length = e.message.len();
            let reply = conclude(e)?;
            if reply.len() < length {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            Ok(reply)
        },
    ),
    concluding(
        "fails if the reply says ERROR",
        &["receive.like-an-error"],
        |e| {
            let reply = conclude(e)?;
            if reply.starts_with(b"ERROR") {
                return Err(io::Error::other("the server reports an error"));
            }
            Ok(reply)
        },
    ),
    concluding(
        "fails if the reply is ill-formed",
        &[
            "receive.ill-formed",
            "receive.with-incomplete-character-at-its-end",
        ],
        |e| {
            let text = String::from_utf8(conclude(e)?);
            Ok(text.map_err(io::Error::other)?.into_bytes())
        },
    ),
    concluding(
        "panics if the reply is ill-formed",
        &["receive.ill-formed"],
        |e| {
            let text = String::from_utf8(conclude(e)?);
            Ok(text.expect("well-formed").into_bytes())
        },
    ),
    writing(
        "writes the replacement character for ill-formed bytes",
        &["receive.ill-formed", "receive.of-every-byte"],
        lossy,
    ),
    writing(
        "leaves out an incomplete character at the end",
        &["receive.with-incomplete-character-at-its-end"],
        |r| match std::str::from_utf8(r) {
            Err(error) if error.error_len().is_none() => r[..error.valid_up_to()].to_vec(),
            _ => r.to_vec(),
        },
    ),
    writing(
        "trims the reply",
        &[
            "receive.with-white-space-at-its-ends",
            "receive.of-white-space",
        ],
        |r| r.trim_ascii().to_vec(),
    ),
    writing("writes CR and LF as LF", &["receive.with-cr-and-lf"], |r| {
        replaced(r, "\r\n", "\n")
    }),
    writing(
        "writes an LF after the reply",
        &["receive.of-one-byte", "message.empty"],
        |r| [r, b"\n"].concat(),
    ),
    writing(
        "writes a label before the reply",
        &["receive.of-one-byte"],
        |r| [b"Received: ", r].concat(),
    ),
    writing(
        "writes a reply that is no text as a byte literal",
        &[
            "receive.with-terminal-escapes",
            "receive.with-nul",
            "receive.of-every-byte",
        ],
        |r| {
            if r.iter().any(u8::is_ascii_control) {
                literal(r).into_bytes()
            } else {
                r.to_vec()
            }
        },
    ),
    writing(
        "reads escapes in the reply",
        &["receive.with-escapes"],
        |r| replaced(r, "%41", "A"),
    ),
    writing(
        "leaves out a byte order mark",
        &["receive.with-byte-order-mark"],
        |r| r.strip_prefix("\u{feff}".as_bytes()).unwrap_or(r).to_vec(),
    ),
    writing("normalises the reply", &["receive.not-normalised"], |r| {
        replaced(r, "\u{c9}", "E\u{301}")
    }),
    writing(
        "writes the upper case of the reply",
        &["receive.not-in-upper-case"],
        upper,
    ),
];

/// What it reports, and how (SPEC CLIENT-5).
const REPORTS: &[Fault] = &[
    showing(
        "exits with 0 after an error",
        &[
            "reset.at-once",
            "reset.within-the-request",
            "reset.after-the-request",
            "address.refused",
            "address.all-refuse",
            "address.no-such-name",
        ],
        |result| {
            show(result);
            0
        },
    ),
    showing(
        "gives no reason",
        &["end.without-a-byte", "address.refused"],
        |result| result.map_or(1, |reply| write_out(&reply)),
    ),
    showing(
        "writes the reason to standard output",
        &["end.without-a-byte"],
        |result| {
            if let Err(error) = &result {
                println!("{error}");
            }
            show(result)
        },
    ),
    showing(
        "ends by a signal after an error",
        &["end.without-a-byte"],
        |result| {
            if result.is_err() {
                eprintln!("no reply");
                std::process::abort();
            }
            show(result)
        },
    ),
    showing("exits with 1 after a reply", &["message.hello"], |result| {
        show(result);
        1
    }),
    concluding(
        "writes what came before an error",
        &[
            "reset.within-the-reply",
            "reset.after-the-reply",
            "long.2048-bytes",
            "wait.no-end",
        ],
        |e| {
            write_out(&e.connection.received);
            conclude(e).map(|_| Vec::new())
        },
    ),
    fault(
        "makes the exchange again after a reply",
        &["message.hello"],
        Client {
            conclude: |e| {
                let line = line(&e.message);
                let server = e.connection.stream.peer_addr()?;
                let reply = conclude(e)?;
                TcpStream::connect(server)?.write_all(&line)?;
                Ok(reply)
            },
            ..RIGHT
        },
    ),
];

/// Every right client, with what it does.
pub const RIGHTS: &[(&str, Client)] = &[
    ("does each step once", RIGHT),
    (
        "sends each byte by itself",
        Client {
            send: |c, bytes| {
                c.stream.set_nodelay(true)?;
                bytes.iter().try_for_each(|byte| c.write(&[*byte]))
            },
            ..RIGHT
        },
    ),
    (
        "sends the LF later",
        Client {
            send: |c, bytes| {
                c.write(&bytes[..bytes.len() - 1])?;
                thread::sleep(MOMENT);
                c.write(b"\n")
            },
            ..RIGHT
        },
    ),
    (
        "half-closes after its LF",
        Client {
            send: |c, bytes| {
                c.write(bytes)?;
                c.stream.shutdown(Shutdown::Write)
            },
            ..RIGHT
        },
    ),
    (
        "half-closes at the end of the reply",
        Client {
            receive: |c| {
                receive(c)?;
                c.stream.shutdown(Shutdown::Write)
            },
            ..RIGHT
        },
    ),
    (
        "reads a byte at a time",
        Client {
            receive: |c| {
                c.buffer = 1;
                receive(c)
            },
            ..RIGHT
        },
    ),
    (
        "reads late",
        Client {
            receive: |c| {
                thread::sleep(MOMENT);
                receive(c)
            },
            ..RIGHT
        },
    ),
    (
        "starts slowly",
        Client {
            refuses: |m| {
                thread::sleep(MOMENT);
                refuses(m)
            },
            ..RIGHT
        },
    ),
    (
        "ends slowly",
        Client {
            show: |result| {
                let code = show(result);
                thread::sleep(MOMENT);
                code
            },
            ..RIGHT
        },
    ),
    (
        "has the smallest buffers",
        Client {
            send: |c, bytes| {
                SockRef::from(&c.stream).set_recv_buffer_size(1)?;
                SockRef::from(&c.stream).set_send_buffer_size(1)?;
                c.write(bytes)
            },
            ..RIGHT
        },
    ),
    (
        "binds its own address",
        Client {
            connect: |addresses, deadline| {
                connect_by(addresses, |address, addresses_left| {
                    connect_from_own(address, left(deadline)? / addresses_left)
                })
            },
            ..RIGHT
        },
    ),
    (
        "does not block",
        Client {
            receive: |c| {
                c.stream.set_nonblocking(true)?;
                loop {
                    match receive(c) {
                        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                        Ok(()) => return Ok(()),
                        Err(error) if Instant::now() > c.deadline => return Err(error),
                        Err(_) => thread::sleep(Duration::from_millis(1)),
                    }
                }
            },
            ..RIGHT
        },
    ),
    (
        "connects to all addresses at once",
        Client {
            connect: |addresses, deadline| {
                let (sender, connected) = channel();
                for address in addresses.iter().copied() {
                    let sender = sender.clone();
                    thread::spawn(move || sender.send(connect(&[address], deadline)));
                }
                drop(sender);
                let mut result = Err(ErrorKind::NotFound.into());
                while result.is_err()
                    && let Ok(attempt) = connected.recv()
                {
                    result = attempt;
                }
                result
            },
            ..RIGHT
        },
    ),
    (
        "makes the exchange again after an error",
        Client {
            conclude: |e| {
                let (line, server) = (line(&e.message), e.connection.stream.peer_addr());
                let (message, deadline) = (e.message.clone(), e.connection.deadline);
                conclude(e).or_else(|_| {
                    let mut connection = Connection {
                        stream: connect(&[server?], deadline)?,
                        deadline,
                        buffer: LIMIT,
                        received: Vec::new(),
                    };
                    let written = connection.write(&line);
                    let read = receive(&mut connection);
                    conclude(Exchange {
                        message,
                        written,
                        read,
                        connection,
                    })
                })
            },
            ..RIGHT
        },
    ),
    (
        "talks on standard error",
        Client {
            show: |result| {
                eprintln!("the exchange has ended");
                show(result)
            },
            ..RIGHT
        },
    ),
];

/// Connects from an address that it has bound itself.
fn connect_from_own(address: &SocketAddr, time: Duration) -> io::Result<TcpStream> {
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(own), Type::STREAM, None)?;
    socket.bind(&own.into())?;
    socket.connect_timeout(&(*address).into(), time)?;
    Ok(socket.into())
}
