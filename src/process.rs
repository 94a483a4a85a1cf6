//! The pure transformation: `process = clip ∘ upper ∘ clip`, `clip = trim ∘ cap`.
//!
//! Rules of this file: total over every `&[u8]`, no panic, no I/O, no clock, no state.

use crate::table::{DELTAS, INDEX, OTHERS};

/// The most bytes that a request or a reply has (SPEC CAP-2).
pub const LIMIT: usize = 1024;

/// The reply to `request`: clipped, upper-cased, clipped again (SPEC PROC-1).
///
/// It is at most [`LIMIT`] bytes, has no white space at either end, and is its own reply:
/// `process` is idempotent. Any bytes are a request (SPEC PROC-2); only the first [`LIMIT`] of
/// them count.
///
/// ```
/// use upcase::process;
/// assert_eq!(process(b" hello\n"), b"HELLO");
/// assert_eq!(process("straße".as_bytes()), b"STRASSE");
/// assert_eq!(process(b"ill-formed \xff stays"), b"ILL-FORMED \xff STAYS");
/// ```
#[must_use]
pub fn process(request: &[u8]) -> Vec<u8> {
    process_into(request, &mut [0; BUFFER]).to_vec()
}

/// The same reply in `buffer`, without any allocation.
///
/// ```
/// let mut buffer = [0; upcase::BUFFER];
/// assert_eq!(upcase::process_into(b" hello\n", &mut buffer), b"HELLO");
/// ```
#[must_use]
pub fn process_into<'a>(request: &[u8], buffer: &'a mut [u8; BUFFER]) -> &'a [u8] {
    let (_, filled) = map(clip(request), buffer);
    clip(&buffer[..filled])
}

/// What of `bytes` a message keeps: capped at [`LIMIT`] bytes, then trimmed (SPEC CAP-1 to
/// CAP-3, TRIM-1, TRIM-2).
///
/// ```
/// assert_eq!(upcase::clip(b"\t hello \n"), b"hello");
/// assert_eq!(upcase::clip(&[b'x'; 5000]).len(), upcase::LIMIT);
/// ```
#[must_use]
pub fn clip(bytes: &[u8]) -> &[u8] {
    trim(cap(bytes))
}

/// `bytes` with each well-formed character replaced by its full uppercase mapping, and all other
/// bytes as they are (SPEC UPPER-1 to UPPER-5). At most three times as long as `bytes`.
///
/// ```
/// assert_eq!(upcase::upper("ŉ \u{390}".as_bytes()), "ʼN \u{399}\u{308}\u{301}".as_bytes());
/// ```
#[must_use]
pub fn upper(bytes: &[u8]) -> Vec<u8> {
    let (mut mapped, mut buffer) = (Vec::with_capacity(bytes.len()), [0; BUFFER]);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (taken, filled) = map(rest, &mut buffer);
        mapped.extend_from_slice(&buffer[..filled]);
        rest = &rest[taken..];
    }
    mapped
}

/// How many bytes are mapped at once where all are ASCII.
const BLOCK: usize = 16;

/// How long a buffer for [`process_into`] is: [`LIMIT`] bytes, and a block that begins before the
/// limit.
pub const BUFFER: usize = LIMIT + BLOCK;

/// Maps `text` into `buffer` until its end, or until [`LIMIT`] bytes or more are filled. How many
/// bytes of the text that took, and how many of the buffer.
fn map(text: &[u8], buffer: &mut [u8; BUFFER]) -> (usize, usize) {
    let (mut from, mut to) = (0, 0);
    while from < text.len() && to < LIMIT {
        let rest = &text[from..];
        let room = buffer[to..]
            .first_chunk_mut()
            .expect("BUFFER leaves a block");
        if rest[0].is_ascii() {
            let count = map_ascii(rest, room);
            (from, to) = (from + count, to + count);
        } else {
            let (taken, filled) = map_one(rest, room);
            (from, to) = (from + taken, to + filled);
        }
    }
    (from, to)
}

/// Maps what ASCII a block of `text` begins with. All of the block is mapped and written, which
/// takes a few instructions for all its bytes together; what is not ASCII is written over later.
fn map_ascii(text: &[u8], room: &mut [u8; BLOCK]) -> usize {
    let block = text.first_chunk().copied().unwrap_or_else(|| {
        let mut block = [0x80; BLOCK];
        block[..text.len()].copy_from_slice(text);
        block
    });
    *room = block.map(|byte| byte.to_ascii_uppercase());
    // The highest bit of a byte says that it is not ASCII.
    let others = u128::from_le_bytes(block) & u128::from_le_bytes([0x80; BLOCK]);
    others.trailing_zeros() as usize / 8
}

/// Maps the character that `text`, which does not begin with ASCII, begins with; or copies a byte
/// that is not part of one. How many bytes that took and made.
fn map_one(text: &[u8], room: &mut [u8; BLOCK]) -> (usize, usize) {
    let Some((number, length)) = decode(text) else {
        room[0] = text[0];
        return (1, 1);
    };
    let block = INDEX.get(number as usize >> 6).copied().unwrap_or(0);
    let delta = DELTAS[usize::from(block)][number as usize & 0x3F];
    if delta == 1 {
        return (length, map_otherwise(number, room));
    }
    // Most mappings are one character of as many bytes, and of the same plane.
    let mapped = number & !0xFFFF | (number + u32::from(delta)) & 0xFFFF;
    let low = |shift: u32| (mapped >> shift).to_le_bytes()[0];
    let more = |shift: u32| 0x80 | low(shift) & 0x3F;
    match length {
        2 => room[..2].copy_from_slice(&[0xC0 | low(6), more(0)]),
        3 => room[..3].copy_from_slice(&[0xE0 | low(12), more(6), more(0)]),
        _ => room[..4].copy_from_slice(&[0xF0 | low(18), more(12), more(6), more(0)]),
    }
    (length, length)
}

/// Writes the mapping of the character `number`, which is not one of as many bytes.
#[cold]
fn map_otherwise(number: u32, room: &mut [u8; BLOCK]) -> usize {
    let found = OTHERS.binary_search_by_key(&number, |(character, _)| u32::from(*character));
    let mapping = found.map_or("", |at| OTHERS[at].1).as_bytes();
    room[..mapping.len()].copy_from_slice(mapping);
    mapping.len()
}

/// The number of the character that `text`, which does not begin with ASCII, begins with, and its
/// length in bytes; none where that is ill-formed (Unicode, Table 3-7).
fn decode(text: &[u8]) -> Option<(u32, usize)> {
    let bits = |byte: u8, mask: u8| u32::from(byte & mask);
    let is_more = |byte: u8| byte & 0xC0 == 0x80;
    match *text {
        [a @ 0xC2..=0xDF, b, ..] if is_more(b) => Some((bits(a, 0x1F) << 6 | bits(b, 0x3F), 2)),
        [a @ 0xE0..=0xEF, b, c, ..] if is_more(b) && is_more(c) => {
            let number = bits(a, 0x0F) << 12 | bits(b, 0x3F) << 6 | bits(c, 0x3F);
            // Neither overlong nor a surrogate.
            (number >= 0x800 && number & !0x7FF != 0xD800).then_some((number, 3))
        }
        [a @ 0xF0..=0xF4, b, c, d, ..] if is_more(b) && is_more(c) && is_more(d) => {
            let high = bits(a, 0x07) << 18 | bits(b, 0x3F) << 12;
            let number = high | bits(c, 0x3F) << 6 | bits(d, 0x3F);
            (0x1_0000..=0x10_FFFF)
                .contains(&number)
                .then_some((number, 4))
        }
        _ => None,
    }
}

/// The first [`LIMIT`] bytes, less an incomplete character at their very end. A sequence shorter
/// than the limit was not cut, so whatever it ends with is its own.
fn cap(bytes: &[u8]) -> &[u8] {
    let Some(head) = bytes.get(..LIMIT) else {
        return bytes;
    };
    let incomplete = (1..=3).find(|&n| is_incomplete(&head[LIMIT - n..]));
    &head[..LIMIT - incomplete.unwrap_or(0)]
}

/// Whether `tail` is a proper prefix of a well-formed character.
fn is_incomplete(tail: &[u8]) -> bool {
    // Nothing valid, and an error that says "the input ended" rather than "this byte is wrong".
    std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
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

/// The six bytes of SPEC section 1. [`u8::is_ascii_whitespace`] leaves out 0B.
const fn is_white_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}
