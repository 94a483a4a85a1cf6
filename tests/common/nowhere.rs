//! An address where nothing listens.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A socket of this machine that does not listen, and its address. As long as it lives, nothing else
/// can listen there.
pub fn nowhere() -> (Socket, SocketAddr) {
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address.as_socket().expect("an IP address"))
}
