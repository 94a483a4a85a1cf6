//! The pure transformation: `process = clip ∘ upper ∘ clip`, `clip = trim ∘ cap` (SPEC section 3).
//!
//! Rules of this file: every `&[u8]` has a result, and nothing here panics, does I/O, reads a clock
//! or keeps state.

mod table;
mod uppercase;

pub use uppercase::upper;

use alloc::vec::Vec;

use uppercase::BUFFER;

/// The most bytes that a request or a reply has (SPEC CAP-2).
pub const LIMIT: usize = 1024;

/// The reply to `request`: clipped, upper-cased, clipped again (SPEC PROC-1).
///
/// It has at most [`LIMIT`] bytes and no white space at either end. `process` is idempotent: the
/// reply to a reply is the same. Any bytes are a request (SPEC PROC-2); bytes after the first
/// [`LIMIT`] are ignored.
///
/// ```
/// use upcase::process;
/// assert_eq!(process(b" hello\n"), b"HELLO");
/// assert_eq!(process("straße".as_bytes()), b"STRASSE");
/// assert_eq!(process(b"ill-formed \xff stays"), b"ILL-FORMED \xff STAYS");
/// ```
#[must_use]
pub fn process(request: &[u8]) -> Vec<u8> {
    process_into(request, &mut Buffer::new()).to_vec()
}

/// Memory for one reply of [`process_into`], which can be used again and again.
#[derive(Clone, Debug)]
pub struct Buffer([u8; BUFFER]);

impl Buffer {
    /// A buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; BUFFER])
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes the reply to `request` into `buffer`, without an allocation. Returns the reply, as
/// [`process`] does.
///
/// ```
/// let mut buffer = upcase::Buffer::new();
/// assert_eq!(upcase::process_into(b" hello\n", &mut buffer), b"HELLO");
/// ```
#[must_use]
pub fn process_into<'a>(request: &[u8], buffer: &'a mut Buffer) -> &'a [u8] {
    let (_, filled) = uppercase::map(clip(request), &mut buffer.0);
    clip(&buffer.0[..filled])
}

/// The part of `bytes` that a message keeps: capped at [`LIMIT`] bytes, then trimmed
/// (SPEC CAP-1 to CAP-3, TRIM-1, TRIM-2).
///
/// ```
/// assert_eq!(upcase::clip(b"\t hello \n"), b"hello");
/// assert_eq!(upcase::clip(&[b'x'; 5000]).len(), upcase::LIMIT);
/// ```
#[must_use]
pub fn clip(bytes: &[u8]) -> &[u8] {
    trim(cap(bytes))
}

/// The first [`LIMIT`] bytes, without an incomplete character at their very end. A sequence
/// shorter than the limit was not cut, so it keeps whatever it ends with.
fn cap(bytes: &[u8]) -> &[u8] {
    let Some(head) = bytes.get(..LIMIT) else {
        return bytes;
    };
    let incomplete = (1..=3).find(|&n| is_incomplete(&head[LIMIT - n..]));
    &head[..LIMIT - incomplete.unwrap_or(0)]
}

/// Whether `tail` is a proper prefix of a well-formed character.
fn is_incomplete(tail: &[u8]) -> bool {
    // Nothing is valid, and the error says "the input ended", not "this byte is wrong".
    core::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
}

/// `bytes` without the white space at its ends.
fn trim(bytes: &[u8]) -> &[u8] {
    let Some(first) = bytes.iter().position(|b| !is_white_space(*b)) else {
        return &[];
    };
    let last = bytes
        .iter()
        .rposition(|b| !is_white_space(*b))
        .unwrap_or(first);
    &bytes[first..=last]
}

/// One of the six bytes of SPEC section 1. [`u8::is_ascii_whitespace`] lacks 0B.
const fn is_white_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}
