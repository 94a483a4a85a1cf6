//! The aims of this server, and whether the measured values meet them.

use super::burst::Burst;
use super::contenders::{THIS, TOKIO};
use super::load::Load;
use super::stalled::Stalled;
use super::{counted, milliseconds};

/// Requests per second: at least this ratio to tokio's.
const RATE: f64 = 1.05;

/// Processor time per request: at most this ratio to tokio's.
const COST: f64 = 0.8;

/// Worst reply time in a burst: at most this ratio to tokio's ...
const WORST: f64 = 1.5;

/// ... or at most this time.
const WORST_SECONDS: f64 = 0.06;

/// Resident memory with all stalled peers: at most this.
const MEGABYTES: f64 = 30.0;

/// System calls per exchange: at most this.
const CALLS: f64 = 9.0;

/// Prints whether an aim is met, and the aim.
fn judge(is_met: bool, aim: &str) {
    println!("{:8}{aim}", if is_met { "met" } else { "missed" });
}

pub fn judge_load(load: &Load) {
    let (name, rate, cost) = (load.name(), load.rate(THIS, TOKIO), load.cost(THIS, TOKIO));
    judge(
        rate >= RATE,
        &format!("{name}: at least {RATE} times tokio's requests per second: {rate:.2}"),
    );
    judge(
        cost <= COST,
        &format!("{name}: at most {COST} times tokio's processor time per request: {cost:.2}"),
    );
}

pub fn judge_burst(burst: &Burst) {
    let (worst, ratio) = (burst.worst(THIS), burst.ratio(THIS, TOKIO));
    judge(
        ratio <= WORST || worst <= WORST_SECONDS,
        &format!(
            "{} in a burst: a worst reply time of at most {WORST} times tokio's, or of at most {}: \
             {ratio:.2}, {}",
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
            "{} held in at most {MEGABYTES} MB: {} held in {megabytes:.1} MB",
            counted(peers, "stalled peer"),
            stalled.held,
        ),
    );
}

pub fn judge_calls(calls: f64) {
    judge(
        calls <= CALLS,
        &format!(
            "at most {CALLS} system calls per exchange whose request has already arrived: \
             {calls:.2}"
        ),
    );
}
