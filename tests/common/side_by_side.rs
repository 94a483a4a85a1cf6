//! Judges many vectors at the same time, because most of that time is spent waiting.

use std::sync::Mutex;
use std::thread;

use upcase::conformance::NotPassed;

/// A vector, and what was found.
pub type Judged<'a, V> = (&'a V, Result<(), NotPassed>);

/// Calls `judge` with each of the vectors, all at the same time. Returns the results in their order.
///
/// # Panics
/// If `judge` does.
pub fn side_by_side<'a, V: Sync>(
    vectors: impl IntoIterator<Item = &'a V>,
    judge: impl Fn(&V) -> Result<(), NotPassed> + Sync,
) -> Vec<Judged<'a, V>> {
    at_most(usize::MAX, vectors, judge)
}

/// The same, with at most `jobs` at the same time.
///
/// # Panics
/// If `judge` does.
pub fn at_most<'a, V: Sync>(
    jobs: usize,
    vectors: impl IntoIterator<Item = &'a V>,
    judge: impl Fn(&V) -> Result<(), NotPassed> + Sync,
) -> Vec<Judged<'a, V>> {
    let mut judged: Vec<_> = vectors.into_iter().map(|vector| (vector, Ok(()))).collect();
    let threads = jobs.min(judged.len());
    let to_judge = Mutex::new(judged.iter_mut());
    let next = || to_judge.lock().expect("no panic").next();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((vector, result)) = next() {
                    *result = judge(*vector);
                }
            });
        }
    });
    judged
}
