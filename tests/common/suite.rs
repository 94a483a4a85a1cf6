//! A server is judged by the whole suite.

use std::net::SocketAddr;

use upcase::conformance::vectors::{Vector, suite};
use upcase::conformance::{ServerJudge, judge_all};

/// How many vectors are judged at once.
const JOBS: usize = 16;

/// Judges the server at `address` by all vectors.
#[track_caller]
pub fn suite_passes(address: SocketAddr) {
    let mut vectors: Vec<&Vector> = suite().vectors.iter().collect();
    vectors.sort_by_key(|vector| ServerJudge::order(vector));
    let judge = ServerJudge::new(address);
    let blame = |vector: &&Vector| {
        let judged = judge.judge(vector);
        Some(format!("{}: {}\n", vector.id, judged.err()?))
    };
    let blame = judge_all(&vectors, JOBS, blame, |_| {});
    let blame: String = blame.into_iter().flatten().collect();
    assert!(blame.is_empty(), "\n{blame}");
}
