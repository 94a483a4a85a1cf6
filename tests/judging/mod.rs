//! Many vectors judged side by side, for most of their time is spent waiting.

use std::thread;

use upcase::conformance::server_judge::{Failure, Vector};

/// What `judge` says of each of the vectors, in their order.
pub fn side_by_side<'a>(
    vectors: impl IntoIterator<Item = &'a Vector>,
    judge: impl Fn(&Vector) -> Result<(), Failure> + Copy + Send,
) -> Vec<(&'a Vector, Result<(), Failure>)> {
    thread::scope(|scope| {
        let judging: Vec<_> = (vectors.into_iter())
            .map(|vector| (vector, scope.spawn(move || judge(vector))))
            .collect();
        let judged = |(vector, judging): (_, thread::ScopedJoinHandle<_>)| {
            (vector, judging.join().expect("the judge does not panic"))
        };
        judging.into_iter().map(judged).collect()
    })
}
