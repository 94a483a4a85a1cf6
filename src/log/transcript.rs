//! The transcript: the lines of the original (SPEC LOG-1, LOG-2).

use std::io::{Result, Write};
use std::net::SocketAddr;

use crate::address::{Ip, IpPort};
use crate::clip;
use crate::escape::literal;

/// The server is ready at `address`.
pub(super) fn ready(out: &mut Vec<u8>, address: SocketAddr) -> Result<()> {
    writeln!(out, "Servidor rodando em {}", IpPort(address))
}

/// A `request` from `peer`.
pub(super) fn request(out: &mut Vec<u8>, peer: SocketAddr, request: &[u8]) -> Result<()> {
    let request = literal(clip(request));
    writeln!(out, "Recebido de {}:\n{request}", Ip(peer))
}
