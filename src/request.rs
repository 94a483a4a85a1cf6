//! The framing: one bounded request out of any [`Read`].
//!
//! Rules of this file: no sockets and no clock. Time reaches it as the reader's own time-out
//! error, so that the same code runs over a socket and over a scripted stream.

use std::io::{self, ErrorKind, Read};

use crate::LIMIT;

/// How the reading of one request ended.
#[derive(Debug)]
pub enum Received<'a> {
    /// The request: the bytes up to and with the first LF, or [`LIMIT`] bytes, or all that there
    /// was before the end of the stream (SPEC FRAME-1 to FRAME-3).
    Complete(&'a [u8]),
    /// The reader's time was up ([`ErrorKind::WouldBlock`] or [`ErrorKind::TimedOut`]) before the
    /// request was complete, and there is nothing to answer (SPEC TIME-2).
    Incomplete,
    /// Reading failed, with the reader's error.
    Failed(io::Error),
}

impl<'a> Received<'a> {
    /// The request, if there is one.
    #[must_use]
    pub fn complete(self) -> Option<&'a [u8]> {
        match self {
            Self::Complete(request) => Some(request),
            Self::Incomplete | Self::Failed(_) => None,
        }
    }
}

/// Reads one request from `stream`, into `buffer`.
///
/// It reads until the request is complete, never more than [`LIMIT`] bytes in all, and not once
/// more after that; what a read brought beyond the request is surplus and forgotten
/// (SPEC SURPLUS-1). How the stream was cut plays no part (SPEC FRAME-5). Interrupted reads are
/// made again.
///
/// ```
/// use upcase::{LIMIT, request::receive};
/// let mut stream: &[u8] = b"hello\nsurplus";
/// assert_eq!(receive(&mut stream, &mut [0; LIMIT]).complete(), Some(&b"hello\n"[..]));
/// ```
pub fn receive<'a>(stream: &mut (impl Read + ?Sized), buffer: &'a mut [u8; LIMIT]) -> Received<'a> {
    let mut filled = 0;
    while filled < LIMIT {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => {
                let line_feed = buffer[filled..filled + count]
                    .iter()
                    .position(|b| *b == b'\n');
                if let Some(at) = line_feed {
                    filled += at + 1;
                    break;
                }
                filled += count;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_time_out(&error) => return Received::Incomplete,
            Err(error) => return Received::Failed(error),
        }
    }
    Received::Complete(&buffer[..filled])
}

/// Whether a read or a write ended because its time was up, which systems report in two ways.
pub(crate) fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
