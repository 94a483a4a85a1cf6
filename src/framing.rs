//! The framing: where a request ends in the bytes of a stream (SPEC FRAME-1 to FRAME-5).
//!
//! It does not read, wait, fail or allocate: its caller passes in the bytes as they come.

use crate::LIMIT;

/// Collects the request at the beginning of a stream, from the bytes received so far.
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
    /// A stream of which nothing was received yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; LIMIT],
            length: 0,
            complete: false,
        }
    }

    /// Takes the next bytes of the stream. Bytes after the request are surplus and are discarded
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

    /// Takes the end of the stream, which completes the request (SPEC FRAME-3).
    pub fn end(&mut self) {
        self.complete = true;
    }

    /// The bytes of the request that were received so far.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The request, once it is complete: the bytes up to the first LF and that LF, or [`LIMIT`]
    /// bytes, or all bytes before the end of the stream.
    #[must_use]
    pub fn request(&self) -> Option<&[u8]> {
        self.complete.then(|| self.received())
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}
