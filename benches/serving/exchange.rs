//! The clients' side.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::REQUEST;

/// Connects to the server at `port`, as client `number`.
pub fn connect(port: u16, number: usize) -> io::Result<TcpStream> {
    TcpStream::connect(SocketAddr::new(home(number), port))
}

/// An exchange with the server at `port`, as client `number`: the reply.
pub fn exchange(port: u16, number: usize) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    exchange_into(port, number, &mut reply).map(|_| reply)
}

/// The same, with the reply to `reply`: when it began, and how long it took.
pub fn exchange_into(
    port: u16,
    number: usize,
    reply: &mut Vec<u8>,
) -> io::Result<(Instant, Duration)> {
    let start = Instant::now();
    reply.clear();
    let mut stream = connect(port, number)?;
    stream.write_all(REQUEST)?;
    stream.read_to_end(reply)?;
    drop(stream);
    Ok((start, start.elapsed()))
}

/// An address of this machine for each client to reach the server at. With one for all, a port
/// would come round again before the kernel is done with its last connection, and its client would
/// wait a second for that.
fn home(client: usize) -> IpAddr {
    let low = u32::try_from(client + 1).expect("few clients");
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + low).into()
}
