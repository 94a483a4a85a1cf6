//! What the server is to reach, and whether it does.

use super::burst::Burst;
use super::contenders::{THIS, TOKIO};
use super::load::Load;
use super::stalled::Stalled;
use super::{counted, milliseconds};

/// The aims.
const RATE: f64 = 1.05;
const COST: f64 = 0.8;
const WORST: f64 = 1.5;
const WORST_SECONDS: f64 = 0.06;
const MEGABYTES: f64 = 30.0;
const CALLS: f64 = 9.0;

/// Prints an aim, and whether it is met.
fn judge(is_met: bool, aim: &str) {
    println!("{:8}{aim}", if is_met { "met" } else { "missed" });
}

pub fn judge_load(load: &Load) {
    let (name, rate, cost) = (load.name(), load.rate(THIS, TOKIO), load.cost(THIS, TOKIO));
    judge(
        rate >= RATE,
        &format!("{name}: at least {RATE} times tokio's requests a second: {rate:.2}"),
    );
    judge(
        cost <= COST,
        &format!("{name}: at most {COST} times tokio's processor time for a request: {cost:.2}"),
    );
}

pub fn judge_burst(burst: &Burst) {
    let (worst, ratio) = (burst.worst(THIS), burst.ratio(THIS, TOKIO));
    judge(
        ratio <= WORST || worst <= WORST_SECONDS,
        &format!(
            "{} in a burst: a worst reply of at most {WORST} times tokio's, or of {}: {ratio:.2}, \
             {}",
            counted(burst.peers, "peer"),
            milliseconds(WORST_SECONDS),
            milliseconds(worst),
        ),
    );
}

pub fn judge_stalled(stalled: &Stalled, peers: usize) {
    let megabytes = stalled.megabytes();
    judge(
        megabytes <= MEGABYTES && stalled.held >= peers,
        &format!(
            "{} stalled, in at most {MEGABYTES} MB: {}, in {megabytes:.1} MB",
            counted(peers, "peer"),
            stalled.held,
        ),
    );
}

pub fn judge_calls(calls: f64) {
    judge(
        calls <= CALLS,
        &format!("at most {CALLS} system calls for an exchange whose bytes are there: {calls:.2}"),
    );
}
