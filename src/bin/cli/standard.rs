//! The standard streams as the program was started with them.
//!
//! In place of a standard stream that is closed, the standard library opens `/dev/null`. It also
//! ignores that a stream is not open for reading or for writing. Then an empty message would be sent,
//! or a reply would be lost, without an error.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Whether standard input and standard output were closed when the program was started.
static CLOSED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// Runs before `main`, and so before the standard library opens `/dev/null`. Later, nothing shows
/// whether the standard library or the caller opened it.
#[ctor::ctor]
fn look() {
    let is_closed = |stream: &dyn AsFd| fcntl(stream.as_fd(), FcntlArg::F_GETFD).is_err();
    CLOSED[0].store(is_closed(&io::stdin()), Ordering::Relaxed);
    CLOSED[1].store(is_closed(&io::stdout()), Ordering::Relaxed);
}

/// A standard stream without a buffer.
///
/// # Errors
/// If the stream was closed when the program was started, or if there is no free descriptor.
pub(crate) fn open(stream: &impl AsFd) -> io::Result<File> {
    let stream = stream.as_fd();
    let closed = usize::try_from(stream.as_raw_fd()).map(|number| CLOSED.get(number));
    if let Ok(Some(closed)) = closed
        && closed.load(Ordering::Relaxed)
    {
        return Err(Errno::EBADF.into());
    }
    stream.try_clone_to_owned().map(File::from)
}
