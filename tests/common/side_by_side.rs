//! Judges many vectors at the same time, because most of that time is spent waiting.

use std::thread;

use upcase::conformance::NotPassed;
use upcase::conformance::vectors::Vector;

/// A vector, and what was found.
pub type Judged<'a> = (&'a Vector, Result<(), NotPassed>);

/// Calls `judge` with each of the vectors, all at the same time. Returns the results in their order.
///
/// # Panics
/// If `judge` does.
pub fn side_by_side<'a>(
    vectors: impl IntoIterator<Item = &'a Vector>,
    judge: impl Fn(&Vector) -> Result<(), NotPassed> + Copy + Send,
) -> Vec<Judged<'a>> {
    thread::scope(|scope| {
        let threads: Vec<_> = (vectors.into_iter())
            .map(|vector| (vector, scope.spawn(move || judge(vector))))
            .collect();
        let joined = |(vector, thread): (_, thread::ScopedJoinHandle<_>)| {
            (vector, thread.join().expect("the judge does not panic"))
        };
        threads.into_iter().map(joined).collect()
    })
}
