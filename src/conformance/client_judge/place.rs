//! The addresses where a client looks for the server: sockets that listen, refuse, or do not answer.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::super::client_vectors::{Address, Answer};

/// How many ports are tried until one is free at all addresses.
const ATTEMPTS: usize = 16;

/// How many connections at most fill the queue of a listener that has room for one.
const QUEUE: usize = 16;

/// An attempt to connect on this machine that takes longer than this gets no answer.
const NO_ANSWER: Duration = Duration::from_millis(200);

/// The sockets of a vector. All have the same port.
pub struct Place {
    /// The port.
    pub port: u16,
    /// The addresses, in the order of the vector.
    pub ips: Vec<IpAddr>,
    /// The listeners, which are non-blocking.
    pub listeners: Vec<TcpListener>,
    /// The sockets that do not listen, and those that fill a queue.
    others: Vec<Socket>,
}

impl Place {
    /// Opens a socket for each address. Without any, it keeps a port where nothing listens.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn open(addresses: &[Address]) -> Result<Self, String> {
        let mut attempts = (0..ATTEMPTS).map(|_| Self::try_open(addresses));
        let opened = attempts.find(|opened| {
            let error = opened.as_ref().err();
            error.is_none_or(|error| error.kind() != ErrorKind::AddrInUse)
        });
        let opened = opened.unwrap_or_else(|| Err(ErrorKind::AddrInUse.into()));
        opened.map_err(|error| {
            let cure = match error.kind() {
                ErrorKind::AddrNotAvailable => "; enable IPv6 on its loopback interface",
                _ => "",
            };
            format!("this machine cannot open the server's sockets: {error}{cure}")
        })
    }

    fn try_open(addresses: &[Address]) -> io::Result<Self> {
        let mut place = Self {
            port: 0,
            ips: ips(addresses),
            listeners: Vec::new(),
            others: Vec::new(),
        };
        let ips = place.ips.clone();
        for (address, ip) in addresses.iter().zip(ips) {
            place.add(*address, ip)?;
        }
        if addresses.is_empty() {
            let nowhere = Address {
                is_ipv6: false,
                answer: Answer::Refuses,
            };
            place.add(nowhere, Ipv4Addr::LOCALHOST.into())?;
        }
        Ok(place)
    }

    fn add(&mut self, address: Address, ip: IpAddr) -> io::Result<()> {
        let wanted = SocketAddr::new(ip, self.port);
        let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, None)?;
        if address.is_ipv6 {
            socket.set_only_v6(true)?;
        }
        socket.bind(&wanted.into())?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(wanted);
        self.port = bound.port();
        match address.answer {
            Answer::Listens => {
                socket.listen(128)?;
                socket.set_nonblocking(true)?;
                self.listeners.push(socket.into());
            }
            Answer::Refuses => self.others.push(socket),
            Answer::BlackHole => {
                socket.listen(0)?;
                self.others.extend(fill(bound)?);
                self.others.push(socket);
            }
        }
        Ok(())
    }
}

/// An IP address of this machine for each address: `127.0.0.1` and those after it, and `::1`.
fn ips(addresses: &[Address]) -> Vec<IpAddr> {
    let number = |(at, address): (usize, &Address)| match u8::try_from(at + 1) {
        _ if address.is_ipv6 => Ipv6Addr::LOCALHOST.into(),
        Ok(number) => Ipv4Addr::new(127, 0, 0, number).into(),
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    };
    addresses.iter().enumerate().map(number).collect()
}

/// Fills the queue of the listener at `address`, so that it does not answer any more.
fn fill(address: SocketAddr) -> io::Result<Vec<Socket>> {
    let mut queued = Vec::new();
    let mut unanswered = 0;
    // Once is not enough: a busy machine may be late.
    while unanswered < 2 {
        match TcpStream::connect_timeout(&address, NO_ANSWER) {
            Ok(stream) => queued.push(stream.into()),
            Err(error) if error.kind() == ErrorKind::TimedOut => unanswered += 1,
            Err(error) => return Err(no_black_hole(&error.to_string())),
        }
        if queued.len() > QUEUE {
            return Err(no_black_hole("the queue of a listener is never full"));
        }
    }
    Ok(queued)
}

fn no_black_hole(why: &str) -> io::Error {
    io::Error::other(format!("an address that does not answer: {why}"))
}
