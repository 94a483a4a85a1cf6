//! The service of a world, which records what it is told, and what must hold at the end: every connection had what
//! SPEC.md promises it, and the service was told what happened.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use upcase::conformance::reference;
use upcase::process;
use upcase::server::{Ended, MAX_TIMEOUT, Outcome, Service};

use super::connection::Connection;
use super::network::{Network, address};

/// The least time between a deadline and `MAX_TIMEOUT`. It repeats a private constant of the event loop, so that a
/// change there is noticed.
const MARGIN: Duration = Duration::from_millis(100);

/// How late a loop usually is at most, because of the kernel and other threads. Then every connection is closed within
/// `MAX_TIMEOUT`.
pub const LATE: Duration = Duration::from_millis(20);

/// A service that counts requests and errors, and keeps the ends of connections.
#[derive(Default)]
pub struct Counting {
    answered: AtomicUsize,
    errors: AtomicUsize,
    ends: Mutex<HashMap<SocketAddr, Vec<End>>>,
}

/// The request of a connection that has ended, its outcome and its duration.
type End = (Vec<u8>, Outcome, Duration);

impl Service for Counting {
    fn answer(&self, _: SocketAddr, request: &[u8]) -> Vec<u8> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        process(request)
    }

    fn on_end(&self, ended: &Ended<'_>) {
        let end = (ended.request.to_vec(), ended.outcome, ended.duration);
        let mut ends = self.ends.lock().unwrap();
        ends.entry(ended.peer).or_default().push(end);
    }

    fn on_error(&self, _: &io::Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Judges the end of every connection of a world, in which a loop takes each turn less than `late` after it is due.
/// What a loop has to do may need two turns.
pub fn check(
    network: &Network,
    service: &Counting,
    timeout: Duration,
    late: Duration,
) -> Result<(), String> {
    let held = timeout.min(MAX_TIMEOUT.saturating_sub(MARGIN));
    let stopped = network
        .stopped
        .ok_or("a loop ended before it was stopped")?;
    if network.now > stopped + held + 2 * late {
        return Err("the stop took longer than a deadline".into());
    }
    let reached_deadline = network
        .closed
        .is_some_and(|closed| closed >= stopped + held);
    let mut ends = service.ends.lock().unwrap();
    for (number, peer) in network.connections.iter().enumerate() {
        let judged = match (peer.queued, peer.accepted) {
            (Some(queued), None) if queued < stopped && !reached_deadline => {
                Err("it was queued before the stop, and not accepted".into())
            }
            (_, Some(accepted)) => {
                let deadline = (accepted + held).min((stopped + held).max(accepted));
                let ends = ends.remove(&address(number)).unwrap_or_default();
                check_accepted(peer, accepted, deadline, late, &ends)
            }
            _ => Ok(()),
        };
        judged.map_err(|problem: String| format!("connection {number}: {problem}"))?;
    }
    if !ends.is_empty() {
        return Err("the end of a connection is reported that was not accepted".into());
    }
    let count =
        |is: fn(&Connection) -> bool| network.connections.iter().filter(|peer| is(peer)).count();
    let answered = service.answered.load(Ordering::Relaxed);
    let (least, most) = (
        count(|peer| peer.half_closed),
        count(|p| p.complete.is_some()),
    );
    if !(least..=most).contains(&answered) {
        return Err(format!("{answered} answers for {least} to {most} requests"));
    }
    let errors = service.errors.load(Ordering::Relaxed);
    (errors == 0 || network.scarcity.is_some())
        .then_some(())
        .ok_or("an error is reported although there was none".into())
}

/// Judges the end of a connection that was accepted.
fn check_accepted(
    peer: &Connection,
    accepted: Instant,
    deadline: Instant,
    late: Duration,
    ends: &[End],
) -> Result<(), String> {
    let soon = Duration::from_secs(1) + 20 * late;
    let closed = peer.closed.ok_or("it is never closed")?;
    if late <= LATE && closed > accepted + MAX_TIMEOUT {
        return Err("it is held longer than the longest time-out".into());
    }
    if closed > deadline + 2 * late {
        return Err(format!(
            "it is closed {:?} after its deadline",
            closed - deadline
        ));
    }
    let ended = peer.ended.filter(|ended| *ended <= closed);
    if ended.is_none() && closed < deadline {
        return Err(format!(
            "it is closed {:?} before its deadline",
            deadline - closed
        ));
    }
    let complete = peer.complete.filter(|complete| *complete <= closed);
    let came = peer.ended.max(peer.complete).map(|came| came.max(accepted));
    if let Some(came) = came.filter(|_| peer.ended.is_some() && complete.is_some())
        && closed > came + soon
        && closed > accepted + soon
    {
        return Err("it is kept although the peer has gone".into());
    }
    let reply = complete.and_then(|_| reference::request(&peer.sent, peer.has_ended));
    let reply = reply
        .map(|request| reference::process(&request))
        .unwrap_or_default();
    if !reply.starts_with(&peer.written) {
        return Err("its reply is wrong".into());
    }
    if peer.complete.is_some_and(|complete| complete > deadline) && !peer.written.is_empty() {
        return Err("it has a reply although its request came too late".into());
    }
    let in_time = complete.is_some_and(|complete| complete.max(accepted) + soon < deadline);
    if in_time && !peer.was_reset && (peer.written != reply || !peer.half_closed) {
        return Err("it has no whole reply".into());
    }
    check_reported_end(peer, closed - accepted, closed >= deadline, ends)
}

/// Judges what the service was told about the end of a connection that was held for `held`.
fn check_reported_end(
    peer: &Connection,
    held: Duration,
    is_overdue: bool,
    ends: &[End],
) -> Result<(), String> {
    let [(request, outcome, duration)] = ends else {
        return Err(format!("its end is reported {} times", ends.len()));
    };
    let first = peer.sent.iter().position(|byte| *byte == b'\n');
    let whole = &peer.sent[..first.map_or(peer.sent.len(), |at| at + 1)];
    if !whole.starts_with(request) {
        return Err("another request is reported".into());
    }
    let expected = match (peer.half_closed, is_overdue) {
        (true, _) if !request.is_empty() => Outcome::Replied,
        (_, true) => Outcome::TimedOut,
        (_, false) if request.is_empty() => Outcome::Silent,
        (_, false) => Outcome::Reset,
    };
    if (*outcome, *duration) != (expected, held) {
        return Err(format!(
            "{outcome:?} after {duration:?} is reported, not {expected:?} after {held:?}"
        ));
    }
    if *outcome == Outcome::Replied && request != whole {
        return Err("a part of its request is reported".into());
    }
    Ok(())
}
