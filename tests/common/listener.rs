//! What the kernel says about a listener.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

/// How many connections are in the queue of the listener at `address`; `None` if nothing listens
/// there.
pub fn queued(address: SocketAddr) -> Option<usize> {
    const LISTEN: &str = "0A";
    // The kernel prints an address as numbers of four bytes.
    let hexadecimal = |octets: &[u8]| {
        let numbers = octets.as_chunks().0.iter();
        let numbers = numbers.map(|number| format!("{:08X}", u32::from_ne_bytes(*number)));
        numbers.collect::<Vec<_>>().concat()
    };
    let (table, ip) = match address.ip() {
        IpAddr::V4(ip) => ("/proc/net/tcp", hexadecimal(&ip.octets())),
        IpAddr::V6(ip) => ("/proc/net/tcp6", hexadecimal(&ip.octets())),
    };
    let local = format!("{ip}:{:04X}", address.port());
    // The table begins with the listeners.
    let table = BufReader::new(File::open(table).unwrap());
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
