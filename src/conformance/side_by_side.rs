//! Judges by many vectors at the same time, because most of the time is spent waiting.

use std::sync::{Mutex, mpsc};
use std::thread;

/// Calls `judge` with each of the `vectors`, in their order, `jobs` (at least one) at the same time.
/// Calls `on_result` with each result as soon as it is there, on this thread. Returns the results in the
/// order of the vectors.
///
/// # Panics
/// If `judge` does, or if the system cannot start a thread.
pub fn judge_all<V: Sync, R: Send>(
    vectors: &[V],
    jobs: usize,
    judge: impl Fn(&V) -> R + Sync,
    mut on_result: impl FnMut(&R),
) -> Vec<R> {
    let queue = Mutex::new(vectors.iter().enumerate());
    let next = || queue.lock().expect("nobody panics with it").next();
    let (sender, receiver) = mpsc::channel();
    let work = |sender: mpsc::Sender<_>| {
        while let Some((index, vector)) = next() {
            let sent = sender.send((index, judge(vector)));
            sent.expect("the results are received to the end");
        }
    };
    let mut results: Vec<_> = vectors.iter().map(|_| None).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1).min(vectors.len()) {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        drop(sender);
        for (index, result) in receiver {
            on_result(&result);
            results[index] = Some(result);
        }
    });
    let results = results.into_iter();
    results
        .map(|result| result.expect("each vector has a result"))
        .collect()
}
