//! IP addresses as text. The zone of an IPv6 address is shown as the name of the network interface, as
//! in `fe80::1%eth0` (RFC 4007), or as its number if there is no name (SPEC LOG-2).

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use nix::net::if_::{if_indextoname, if_nametoindex};

use crate::escape;

/// The address in `text`, with its port, such as `127.0.0.1:8080`, `[::1]:8080` or
/// `[fe80::1%eth0]:8080`.
///
/// # Errors
/// What is wrong with the text, on one line.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    let named = text.strip_prefix('[').and_then(|text| {
        let (ip, rest) = text.split_once('%')?;
        let (zone, port) = rest.rsplit_once("]:")?;
        zone.parse::<u32>().is_err().then_some((ip, zone, port))
    });
    let numbered = match named {
        None => text.parse(),
        Some((ip, zone, port)) => {
            let index = if_nametoindex(zone);
            let index = index.map_err(|_| "no such network interface on this machine")?;
            format!("[{ip}%{index}]:{port}").parse()
        }
    };
    numbered.map_err(|_| "not IP:PORT, such as 127.0.0.1:8080 or [::1]:8080".into())
}

/// Shows an address without its port. An IPv4-mapped address is shown as the IPv4 address.
#[derive(Clone, Copy, Debug)]
pub struct Ip(pub SocketAddr);

impl Display for Ip {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0.ip().to_canonical(), self.0) {
            (IpAddr::V6(ip), SocketAddr::V6(address)) if address.scope_id() != 0 => {
                // For a number without a name, `nix` reports an empty name and no error.
                let name = if_indextoname(address.scope_id()).unwrap_or_default();
                match name.as_bytes() {
                    [] => write!(f, "{ip}%{}", address.scope_id()),
                    name => write!(f, "{ip}%{}", escape::text(name)),
                }
            }
            (ip, _) => ip.fmt(f),
        }
    }
}

/// Shows an address as [`Ip`] does, with its port.
#[derive(Clone, Copy, Debug)]
pub struct IpPort(pub SocketAddr);

impl Display for IpPort {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (ip, port) = (Ip(self.0), self.0.port());
        match self.0.ip().to_canonical() {
            IpAddr::V4(_) => write!(f, "{ip}:{port}"),
            IpAddr::V6(_) => write!(f, "[{ip}]:{port}"),
        }
    }
}
