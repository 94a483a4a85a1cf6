//! The framing: where a request ends, given the bytes of a stream as they come
//! (SPEC FRAME-1 to FRAME-5).
//!
//! It does not read, wait or fail: no I/O, no clock, no allocation. [`crate::exchange`] and the
//! laws put it behind a stream.

use crate::LIMIT;

/// The request at the beginning of a stream, as far as it has come.
///
/// ```
/// let mut framing = upcase::framing::Framing::new();
/// framing.push(b"hel");
/// assert_eq!(framing.request(), None);
/// framing.push(b"lo\nsurplus");
/// assert_eq!(framing.request(), Some(&b"hello\n"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct Framing {
    bytes: [u8; LIMIT],
    length: usize,
    complete: bool,
}

impl Framing {
    /// A stream of which nothing has come yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; LIMIT],
            length: 0,
            complete: false,
        }
    }

    /// Takes the next bytes of the stream. Those behind the request are surplus and are forgotten
    /// (SPEC SURPLUS-1).
    pub fn push(&mut self, bytes: &[u8]) {
        if self.complete {
            return;
        }
        let bytes = &bytes[..bytes.len().min(LIMIT - self.length)];
        let line_feed = bytes.iter().position(|byte| *byte == b'\n');
        let bytes = &bytes[..line_feed.map_or(bytes.len(), |at| at + 1)];
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self.complete = line_feed.is_some() || self.length == LIMIT;
    }

    /// Takes the end of the stream, which ends the request too (SPEC FRAME-3).
    pub fn end(&mut self) {
        self.complete = true;
    }

    /// The request, once it is complete: the bytes up to and with the first LF, or [`LIMIT`]
    /// bytes, or all that came before the end of the stream.
    #[must_use]
    pub fn request(&self) -> Option<&[u8]> {
        self.complete.then(|| &self.bytes[..self.length])
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}
