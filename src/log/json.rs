//! The JSON log: one object on each line (SPEC LOG-6).
//!
//! - When the server is ready, for each of its addresses: `time` and `listening`.
//! - For each connection, when it has ended: see [`Connection`].
//! - When the log is closed: `time` and `totals`, the numbers of connections and of their outcomes, and
//!   how many connections are `missing` from the log.

use std::collections::BTreeMap;
use std::io::{Result, Write};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Record;
use crate::address::IpPort;
use crate::escape::literal;
use crate::process;
use crate::server::Outcome;

#[derive(Serialize)]
struct Ready {
    time: String,
    listening: String,
}

#[derive(Serialize)]
struct Connection<'a> {
    /// When it was accepted.
    time: String,
    peer: String,
    /// The bytes of the request that were received, as a byte literal (SPEC LOG-3). They are not
    /// clipped.
    request: String,
    request_bytes: usize,
    /// The reply as a byte literal; null if it was not sent whole.
    reply: Option<String>,
    reply_bytes: usize,
    outcome: &'a str,
    /// From its acceptance to its end.
    seconds: f64,
}

#[derive(Serialize)]
struct Totals<'a> {
    time: String,
    totals: &'a BTreeMap<&'static str, u64>,
}

/// The server is ready at `address`.
pub(super) fn ready(out: &mut Vec<u8>, address: SocketAddr) -> Result<()> {
    let line = Ready {
        time: shown(SystemTime::now()),
        listening: IpPort(address).to_string(),
    };
    push(out, &line)
}

/// A connection that has ended.
pub(super) fn connection(out: &mut Vec<u8>, record: &Record) -> Result<()> {
    let reply = match record.outcome {
        Outcome::Replied => Some(process(&record.request)),
        _ => None,
    };
    // Microseconds are exact enough, and keep the number short.
    let micros = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
    let line = Connection {
        time: shown(record.accepted),
        peer: IpPort(record.peer).to_string(),
        request: literal(&record.request),
        request_bytes: record.request.len(),
        reply_bytes: reply.as_ref().map_or(0, Vec::len),
        reply: reply.map(|reply| literal(&reply)),
        outcome: record.outcome.name(),
        seconds: Duration::from_micros(micros).as_secs_f64(),
    };
    push(out, &line)
}

/// The numbers of connections at the end.
pub(super) fn totals(out: &mut Vec<u8>, totals: &BTreeMap<&'static str, u64>) -> Result<()> {
    let time = shown(SystemTime::now());
    push(out, &Totals { time, totals })
}

/// `time` in UTC, as RFC 3339 has it, with milliseconds.
fn shown(time: SystemTime) -> String {
    // A clock that was never set is near the epoch, and a time before it cannot be shown.
    humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

fn push(out: &mut Vec<u8>, line: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
