//! The standard streams as the program was started with them.
//!
//! In place of a standard stream that is closed, the standard library opens `/dev/null`. It also
//! ignores that a stream is not open for reading or for writing. Then an empty message would be sent,
//! or a reply would be lost, without an error.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use upcase::platform;

/// Whether standard input and standard output were closed when the program was started.
static CLOSED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// Runs before `main`, and so before the standard library opens `/dev/null`.
#[ctor::ctor]
fn look() {
    for (closed, is_closed) in CLOSED.iter().zip(platform::closed_streams()) {
        closed.store(is_closed, Ordering::Relaxed);
    }
}

/// A standard stream without a buffer: number 0 is input, 1 is output.
///
/// # Errors
/// If it was closed when the program was started, or the error of `open`.
pub(crate) fn open<T>(number: usize, open: fn() -> io::Result<T>) -> io::Result<T> {
    if CLOSED[number].load(Ordering::Relaxed) {
        return Err(io::Error::other("it is closed"));
    }
    open()
}
