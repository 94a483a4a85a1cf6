//! Upper-casing in one pass, by the generated table.
//!
//! Text is mapped in runs of one kind, each in its own loop. Within a run all characters have the
//! same length, so the processor can start on the next character before the last is finished, and
//! the compiler can use vector instructions for whole blocks.
//!
//! The rules of `process.rs` hold here too. Each optimisation has its reason beside it, and was
//! measured with `benches/core.rs`.

use alloc::vec::Vec;

use super::LIMIT;
use super::table::{DELTAS, INDEX, OTHERS};

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

/// The block lengths in bytes: for ASCII, and for other Western text.
const LONG: usize = 64;
const SHORT: usize = 32;

/// The length of the buffer for [`map`], in bytes: [`LIMIT`], and one block that starts below it.
pub(super) const BUFFER: usize = LIMIT + LONG;

/// The progress of a mapping: the text that is left, and the number of bytes in the buffer.
struct At<'t> {
    rest: &'t [u8],
    to: usize,
}

impl At<'_> {
    /// Whether more bytes can still become part of a reply.
    fn has_room(&self) -> bool {
        self.to < LIMIT
    }
}

/// Maps `text` into `buffer`, to the end of the text or until at least [`LIMIT`] bytes are filled.
/// Returns how many bytes of the text were read, and how many of the buffer were filled.
pub(super) fn map(text: &[u8], buffer: &mut [u8; BUFFER]) -> (usize, usize) {
    let mut at = At { rest: text, to: 0 };
    while at.has_room()
        && let Some(first) = at.rest.first().copied()
    {
        let start = at.to;
        if matches!(first, 0x00..=0x7F | 0xC3) {
            at = map_western(at, buffer);
        }
        if at.to == start {
            at = match first {
                0x00..=0xDF => map_pairs(at, buffer),
                0xE0..=0xEF => map_run::<3>(at, buffer),
                0xF0..=0xFF => map_run::<4>(at, buffer),
            };
        }
        if at.to == start {
            // A byte that is not part of a character stays (SPEC UPPER-4).
            buffer[at.to] = first;
            at.rest = &at.rest[1..];
            at.to += 1;
        }
    }
    (text.len() - at.rest.len(), at.to)
}

/// Maps Western text: ASCII, and characters whose first byte is C3 (most letters of Latin-1).
#[inline]
fn map_western<'t>(mut at: At<'t>, buffer: &mut [u8; BUFFER]) -> At<'t> {
    while at.has_room()
        && let Some(block) = at.rest.first_chunk::<LONG>()
        && block.is_ascii()
    {
        let room = &mut buffer[at.to..at.to + LONG];
        room.copy_from_slice(block);
        room.make_ascii_uppercase();
        at.rest = &at.rest[LONG..];
        at.to += LONG;
    }
    while at.has_room()
        && let Some(block) = at.rest.first_chunk()
        && let room = buffer[at.to..]
            .first_chunk_mut()
            .expect("BUFFER has a block past LIMIT")
        && map_latin_1(block, room)
    {
        // A character that the last byte begins is left to the next block.
        let length = SHORT - usize::from(block[SHORT - 1] == 0xC3);
        at.rest = &at.rest[length..];
        at.to += length;
    }
    while at.has_room()
        && let Some(byte) = at.rest.first().filter(|byte| byte.is_ascii())
    {
        buffer[at.to] = byte.to_ascii_uppercase();
        at.rest = &at.rest[1..];
        at.to += 1;
    }
    at
}

/// Maps a block of ASCII and of characters whose first byte is C3. Returns whether the block has
/// nothing else. Three of those characters are special: U+00DF and U+00FF are left to the table,
/// and U+00F7 has no capital.
#[inline]
fn map_latin_1(block: &[u8; SHORT], room: &mut [u8; SHORT]) -> bool {
    let mut fits = true;
    let mut before = [0; SHORT];
    before[1..].copy_from_slice(&block[..SHORT - 1]);
    for ((room, byte), before) in room.iter_mut().zip(*block).zip(before) {
        let second = matches!(before, 0xC3);
        let first = matches!(byte, 0x00..=0x7F | 0xC3);
        let letter = matches!(byte, 0x80..=0x9E | 0xA0..=0xBE);
        fits &= if second { letter } else { first };
        let small = if second {
            matches!(byte, 0xA0..=0xB6 | 0xB8..)
        } else {
            byte.is_ascii_lowercase()
        };
        *room = byte - (u8::from(small) << 5);
    }
    fits
}

/// The last ASCII byte before the letters.
const LAST_SIGN: u8 = b'@';

/// For each character of two bytes, indexed by its code point: the two bytes of its mapping, or
/// two zeros where the mapping has another length.
static PAIRS: [[u8; 2]; 0x800] = {
    let mut pairs = [[0; 2]; 0x800];
    let mut number = 0x80;
    while number < pairs.len() {
        let delta = DELTAS[INDEX[number >> 6] as usize][number & 0x3F] as usize;
        if delta != 1 {
            let [low, high, ..] = ((number + delta) & 0xFFFF).to_le_bytes();
            pairs[number] = [0xC0 | high << 2 | low >> 6, 0x80 | low & 0x3F];
        }
        number += 1;
    }
    pairs
};

/// Maps characters of two bytes, and the ASCII spaces, digits and signs between them.
#[inline]
fn map_pairs<'t>(mut at: At<'t>, buffer: &mut [u8; BUFFER]) -> At<'t> {
    while at.has_room()
        && let Some(unit) = at.rest.first_chunk()
    {
        match *unit {
            [a @ 0xC2..=0xDF, b @ 0x80..=0xBF] => {
                let number = u32::from(a & 0x1F) << 6 | u32::from(b & 0x3F);
                let pair = PAIRS[number as usize];
                at.rest = &at.rest[2..];
                if pair == [0, 0] {
                    at.to += map_otherwise(number, &mut buffer[at.to..]);
                } else {
                    buffer[at.to..at.to + 2].copy_from_slice(&pair);
                    at.to += 2;
                }
            }
            [ascii @ ..=LAST_SIGN, _] => {
                buffer[at.to] = ascii;
                at.rest = &at.rest[1..];
                at.to += 1;
            }
            _ => break,
        }
    }
    at
}

/// Maps characters of `N` bytes, three or four, and the same ASCII bytes between them.
#[inline]
fn map_run<'t, const N: usize>(mut at: At<'t>, buffer: &mut [u8; BUFFER]) -> At<'t> {
    while at.has_room()
        && let Some(unit) = at.rest.first_chunk::<N>()
    {
        if unit[0] <= LAST_SIGN {
            buffer[at.to] = unit[0];
            at.rest = &at.rest[1..];
            at.to += 1;
            continue;
        }
        let Some(number) = decode(*unit) else {
            break;
        };
        at.rest = &at.rest[N..];
        let block = INDEX.get(number as usize >> 6).copied().unwrap_or(0);
        let delta = if block == 0 {
            0 // most blocks change nothing
        } else {
            DELTAS[usize::from(block)][number as usize & 0x3F]
        };
        match delta {
            0 => {
                buffer[at.to..at.to + N].copy_from_slice(unit);
                at.to += N;
            }
            1 => at.to += map_otherwise(number, &mut buffer[at.to..]),
            _ => {
                // The mapping is one character of the same length and the same plane.
                let mapped = number & !0xFFFF | (number + u32::from(delta)) & 0xFFFF;
                let bits = |n: usize| (mapped >> (6 * (N - 1 - n))).to_le_bytes()[0];
                let mut unit = [0; N];
                unit[0] = lead::<N>() | bits(0);
                for (n, byte) in unit.iter_mut().enumerate().skip(1) {
                    *byte = 0x80 | bits(n) & 0x3F;
                }
                buffer[at.to..at.to + N].copy_from_slice(&unit);
                at.to += N;
            }
        }
    }
    at
}

/// The high bits of the first byte of a character of `N` bytes.
const fn lead<const N: usize>() -> u8 {
    !(0xFF >> N)
}

/// The code point that `unit` encodes; `None` if `unit` is not a UTF-8 sequence of `N` bytes or is
/// overlong. Surrogates and numbers above U+10FFFF need no check: the table does not change them.
#[inline]
fn decode<const N: usize>(unit: [u8; N]) -> Option<u32> {
    let own = 0x7F >> N; // the bits of the first byte that are part of the code point
    let mut number = u32::from(unit[0] & own);
    let mut well_formed = unit[0] & !own == lead::<N>();
    for byte in &unit[1..] {
        number = number << 6 | u32::from(byte & 0x3F);
        well_formed &= byte & 0xC0 == 0x80;
    }
    well_formed &= number >> (5 * N - 4) != 0; // otherwise fewer bytes would be enough
    well_formed.then_some(number)
}

/// Writes the mapping of the character `number`, whose length in bytes changes. Returns that
/// length.
#[cold]
fn map_otherwise(number: u32, room: &mut [u8]) -> usize {
    let found = OTHERS.binary_search_by_key(&number, |(character, _)| u32::from(*character));
    let mapping = found.map_or("", |at| OTHERS[at].1).as_bytes();
    room[..mapping.len()].copy_from_slice(mapping);
    mapping.len()
}
