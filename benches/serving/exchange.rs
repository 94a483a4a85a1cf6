//! The client's side of one exchange.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::REQUEST;

/// Connects to the server at `port`, as client `number`.
pub fn connect(port: u16, number: usize) -> io::Result<TcpStream> {
    TcpStream::connect(SocketAddr::new(address_for(number), port))
}

/// Makes an exchange with the server at `port`, as client `number`. Returns the reply.
pub fn exchange(port: u16, number: usize) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    exchange_into(port, number, &mut reply).map(|_| reply)
}

/// Does the same, but stores the reply in `reply`. Returns when the exchange began, and how long it
/// took.
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

/// Returns the address of this machine at which client `client` reaches the server. Each client has
/// its own. With one address for all, a client would get a local port again before the kernel has
/// finished its last connection, and would wait a second for that.
fn address_for(client: usize) -> IpAddr {
    let low = u32::try_from(client + 1).expect("the number fits into a u32");
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + low).into()
}
