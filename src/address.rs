//! IP addresses as text. The zone of an IPv6 address is shown as the name of the network interface, as
//! in `fe80::1%eth0` (RFC 4007), or as its number if there is no name (SPEC LOG-2).

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use crate::{escape, platform};

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
            let index = platform::interface_number(zone);
            let index = index.ok_or("no such network interface on this machine")?;
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
                match platform::interface_name(address.scope_id()) {
                    None => write!(f, "{ip}%{}", address.scope_id()),
                    Some(name) => write!(f, "{ip}%{}", escape::text(&name)),
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
