//! What the kernel says about a listener.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

/// How many connections are in the queue of the listener at `address`, which must be of IPv4; `None`
/// if nothing listens there.
pub fn queued(address: SocketAddr) -> Option<usize> {
    const LISTEN: &str = "0A";
    let IpAddr::V4(ip) = address.ip() else {
        panic!("{address} is not of IPv4");
    };
    let ip = u32::from_ne_bytes(ip.octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    // The table begins with the listeners.
    let table = BufReader::new(File::open("/proc/net/tcp").unwrap());
    table.lines().find_map(|line| {
        let line = line.unwrap();
        let mut fields = line.split_whitespace().skip(1);
        if fields.next()? != local || fields.nth(1)? != LISTEN {
            return None;
        }
        let (_, queued) = fields.next()?.split_once(':')?;
        usize::from_str_radix(queued, 16).ok()
    })
}
