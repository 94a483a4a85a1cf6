//! The reference that the laws compare with: the transformation, the framing and the byte literal,
//! written from SPEC.md alone. It is naive and slow, and too simple to be wrong.
//!
//! It decodes UTF-8 by Table 3-7 of the Unicode Standard, row by row, and does the steps of the
//! specification one after another. It shares no code with the implementation. It maps and escapes
//! by the lines of the Unicode Character Database, version 17.0.0, so it does not depend on the
//! toolchain.

use std::sync::LazyLock;

/// The limit of SPEC CAP-2, in bytes. It is stated again on purpose: with the implementation's own
/// constant, the reference could not notice that it is wrong.
pub const LIMIT: usize = 1024;

/// The white space of SPEC section 1.
pub const WHITE_SPACE: [char; 6] = ['\t', '\n', '\x0B', '\x0C', '\r', ' '];

/// A well-formed character, or one byte that is not part of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A well-formed character.
    Character(char),
    /// A byte that is not part of a well-formed character.
    Invalid(u8),
}

/// The reply to `request` (SPEC PROC-1).
#[must_use]
pub fn process(request: &[u8]) -> Vec<u8> {
    clip(&upper(&clip(request)))
}

/// `clip = trim ∘ cap` (SPEC section 3).
#[must_use]
pub fn clip(bytes: &[u8]) -> Vec<u8> {
    trim(cap(bytes.to_vec()))
}

/// SPEC CAP-1 to CAP-3.
fn cap(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() < LIMIT {
        return bytes;
    }
    bytes.truncate(LIMIT);
    for n in 1..=3 {
        if is_incomplete(&bytes[LIMIT - n..]) {
            bytes.truncate(LIMIT - n);
            break;
        }
    }
    bytes
}

/// Whether `tail` is the beginning of a well-formed character, and not all of it.
fn is_incomplete(tail: &[u8]) -> bool {
    let begins = |row: &&[(u8, u8)]| row.len() > tail.len() && fits(row, tail);
    TABLE_3_7.iter().any(begins)
}

/// SPEC TRIM-1 and TRIM-2.
fn trim(mut bytes: Vec<u8>) -> Vec<u8> {
    let is_white = |byte: &u8| WHITE_SPACE.contains(&char::from(*byte));
    while bytes.last().is_some_and(is_white) {
        bytes.remove(bytes.len() - 1);
    }
    while bytes.first().is_some_and(is_white) {
        bytes.remove(0);
    }
    bytes
}

/// SPEC UPPER-1 to UPPER-5.
#[must_use]
pub fn upper(bytes: &[u8]) -> Vec<u8> {
    let mut mapped = Vec::new();
    for unit in units(bytes) {
        match unit {
            Unit::Character(c) => match mapping_of(c) {
                Some(mapping) => mapped.extend(mapping.bytes()),
                None => mapped.extend(c.to_string().bytes()),
            },
            Unit::Invalid(byte) => mapped.push(byte),
        }
    }
    mapped
}

/// The full uppercase mapping of one character (SPEC UPPER-1, UPPER-2): its line in the Unicode
/// Character Database, or itself if it has none.
#[must_use]
pub fn upper_of(character: char) -> String {
    mapping_of(character).map_or_else(|| character.to_string(), String::from)
}

fn mapping_of(character: char) -> Option<&'static str> {
    /// By code point. The mapping of a character that does not change is not stored.
    static MAPPINGS: LazyLock<Vec<Option<String>>> = LazyLock::new(|| {
        let mut by_code_point = Vec::new();
        for (character, mapping) in mappings() {
            by_code_point.resize(character as usize, None);
            by_code_point.push(Some(mapping));
        }
        by_code_point
    });
    MAPPINGS.get(character as usize)?.as_deref()
}

/// Every character that upper-casing changes, with its mapping, in the order of the database.
///
/// # Panics
/// Never: the lines are part of this crate, and a test reads them.
pub fn mappings() -> impl Iterator<Item = (char, String)> {
    let character = |hex| char::from_u32(code_point(hex)).expect("a character");
    let lines = include_str!("../../tests/unicode/uppercase.txt").lines();
    lines.map(move |line| {
        let (from, to) = line.split_once(';').expect("two columns");
        (character(from), to.split(' ').map(character).collect())
    })
}

/// The code point that a line of the database names. The lines are part of this crate, and tests read
/// all of them.
fn code_point(hex: &str) -> u32 {
    u32::from_str_radix(hex, 16).expect("a hexadecimal number")
}

/// The request at the beginning of `stream`, which is all that the client sent (SPEC FRAME-1 to
/// FRAME-3). `ended` says whether the client has ended its side. `None` if the request is not
/// complete.
#[must_use]
pub fn request(stream: &[u8], ended: bool) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    for byte in stream {
        request.push(*byte);
        if *byte == 0x0A || request.len() == LIMIT {
            return Some(request);
        }
    }
    ended.then_some(request)
}

/// The byte literal of `bytes` (SPEC LOG-3).
#[must_use]
pub fn literal(bytes: &[u8]) -> String {
    let mut literal = String::from("b'");
    for unit in units(bytes) {
        match unit {
            Unit::Character(c) if is_in_hex(c) => literal += &hex(c.to_string().as_bytes()),
            Unit::Character(c) if "\\'\"".contains(c) => literal.extend(['\\', c]),
            Unit::Character(c) => literal.push(c),
            Unit::Invalid(byte) => literal += &hex(&[byte]),
        }
    }
    literal + "'"
}

/// Each byte as `\xNN`.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    let escape = |byte: &u8| ['\\', 'x', digit(byte / 16), digit(byte % 16)];
    bytes.iter().flat_map(escape).collect()
}

/// Whether a byte literal has `character` as `\xNN` (SPEC LOG-3).
#[must_use]
pub fn is_in_hex(character: char) -> bool {
    let number = u32::from(character);
    let is_noncharacter = (0xFDD0..=0xFDEF).contains(&number) || number % 0x1_0000 >= 0xFFFE;
    match category_of(number) {
        Some("Cc" | "Zl" | "Zp") => true,
        Some("Cf") => ![0x200C, 0x200D].contains(&number),
        _ => is_noncharacter,
    }
}

/// The `General_Category` of a code point in the Unicode Character Database, if it is Cc, Cf, Zl or
/// Zp.
fn category_of(number: u32) -> Option<&'static str> {
    /// The first and the last code point of each range, and its category.
    static RANGES: LazyLock<Vec<(u32, u32, &str)>> = LazyLock::new(|| {
        let range = |line: &'static str| {
            let (range, category) = line.split_once(';').expect("two columns");
            let (first, last) = range.split_once("..").expect("a range");
            (code_point(first), code_point(last), category)
        };
        let lines = include_str!("../../tests/unicode/categories.txt").lines();
        lines.map(range).collect()
    });
    let mut ranges = RANGES.iter();
    let (.., category) = ranges.find(|(first, last, _)| (*first..=*last).contains(&number))?;
    Some(category)
}

/// `bytes` as characters and invalid bytes, in order.
#[must_use]
pub fn units(bytes: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (unit, length) = first_unit(&bytes[at..]);
        units.push(unit);
        at += length;
    }
    units
}

/// Unicode 17.0.0, Table 3-7, "Well-Formed UTF-8 Byte Sequences": a row for each range of the first
/// byte, with the ranges of all its bytes.
const TABLE_3_7: [&[(u8, u8)]; 9] = [
    &[(0x00, 0x7F)],
    &[(0xC2, 0xDF), (0x80, 0xBF)],
    &[(0xE0, 0xE0), (0xA0, 0xBF), (0x80, 0xBF)],
    &[(0xE1, 0xEC), (0x80, 0xBF), (0x80, 0xBF)],
    &[(0xED, 0xED), (0x80, 0x9F), (0x80, 0xBF)],
    &[(0xEE, 0xEF), (0x80, 0xBF), (0x80, 0xBF)],
    &[(0xF0, 0xF0), (0x90, 0xBF), (0x80, 0xBF), (0x80, 0xBF)],
    &[(0xF1, 0xF3), (0x80, 0xBF), (0x80, 0xBF), (0x80, 0xBF)],
    &[(0xF4, 0xF4), (0x80, 0x8F), (0x80, 0xBF), (0x80, 0xBF)],
];

/// Whether each byte is in its range of `row`. Only the common length of both is compared.
fn fits(row: &[(u8, u8)], bytes: &[u8]) -> bool {
    let mut pairs = row.iter().zip(bytes);
    pairs.all(|(&(low, high), &byte)| low <= byte && byte <= high)
}

/// The unit at the beginning of `bytes`, which must not be empty, and its length in bytes.
fn first_unit(bytes: &[u8]) -> (Unit, usize) {
    for row in TABLE_3_7 {
        if bytes.len() >= row.len() && fits(row, bytes) {
            return (Unit::Character(decoded(&bytes[..row.len()])), row.len());
        }
    }
    (Unit::Invalid(bytes[0]), 1)
}

/// The character that a well-formed sequence encodes.
fn decoded(sequence: &[u8]) -> char {
    let lead_bits = match sequence.len() {
        1 => 0x7F,
        2 => 0x1F,
        3 => 0x0F,
        _ => 0x07,
    };
    let mut value = u32::from(sequence[0] & lead_bits);
    for byte in &sequence[1..] {
        value = value * 64 + u32::from(byte & 0x3F);
    }
    char::from_u32(value).expect("Table 3-7 has no surrogates and ends with U+10FFFF")
}
