//! The naive oracle: the transformation, the framing and the byte literal written from SPEC.md
//! alone, too simple to be wrong, never fast, and without a helper in common with the code that it
//! judges.
//!
//! Its mapping is that of the standard library that it is built with, which has to be of Unicode
//! 17.0.0: so this, and the laws, judge with Rust 1.95 or another toolchain of that version, and
//! panic with any other rather than to judge wrongly.
//!
//! It works on lists of [`Unit`]s, decodes UTF-8 by Table 3-7 of the Unicode Standard row by row,
//! and does one step of the specification after another.

/// The limit of SPEC CAP-2, in bytes. Stated again here on purpose: an oracle that borrowed the
/// constant could not notice that it is wrong.
const LIMIT: usize = 1024;

/// A well-formed character, or one byte that is not part of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A well-formed character.
    Character(char),
    /// A byte that is not part of a well-formed character.
    Stray(u8),
}

/// The reply to `request`, step by step as SPEC PROC-1 has it.
#[must_use]
pub fn process(request: &[u8]) -> Vec<u8> {
    clip(&upper(&clip(request)))
}

/// SPEC section 3: `clip = trim ∘ cap`.
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
        if can_be_completed(&bytes[LIMIT - n..]) {
            bytes.truncate(LIMIT - n);
            break;
        }
    }
    bytes
}

/// Whether some bytes after `tail` would make one well-formed character of it: tried out, since
/// the first continuation byte decides and all of 80 to BF exist.
fn can_be_completed(tail: &[u8]) -> bool {
    let followed_by = |more: &[u8]| {
        let whole = [tail, more].concat();
        matches!(first_unit(&whole), (Unit::Character(_), n) if n == whole.len())
    };
    (0x80..=0xBF).any(|byte| {
        followed_by(&[byte]) || followed_by(&[byte, 0x80]) || followed_by(&[byte, 0x80, 0x80])
    })
}

/// SPEC TRIM-1 and TRIM-2.
fn trim(mut bytes: Vec<u8>) -> Vec<u8> {
    const WHITE_SPACE: [u8; 6] = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20];
    while !bytes.is_empty() && WHITE_SPACE.contains(&bytes[bytes.len() - 1]) {
        bytes.remove(bytes.len() - 1);
    }
    while !bytes.is_empty() && WHITE_SPACE.contains(&bytes[0]) {
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
            Unit::Character(c) => mapped.extend(upper_of(c).into_bytes()),
            Unit::Stray(byte) => mapped.push(byte),
        }
    }
    mapped
}

/// The full uppercase mapping of one character (SPEC UPPER-1, UPPER-2).
///
/// # Panics
/// If the standard library is of another Unicode version than 17.0.0.
#[must_use]
pub fn upper_of(character: char) -> String {
    let version = char::UNICODE_VERSION;
    assert!(
        version == (17, 0, 0),
        "the model maps by the toolchain's tables, which are of Unicode {version:?} and not of \
         17.0.0 (SPEC UPPER-2): judge and test with Rust 1.95; what is built is of 17.0.0 with any"
    );
    character.to_string().to_uppercase()
}

/// The request that begins `stream`, where `stream` is all that the client sent: SPEC FRAME-1 to
/// FRAME-3. `None` where it is not complete, the client having neither sent enough nor `ended`
/// its side.
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
        let (bytes, number) = match unit {
            Unit::Stray(byte) => (vec![byte], None),
            Unit::Character(c) => (c.to_string().into_bytes(), Some(u32::from(c))),
        };
        let Some(number) = number.filter(|number| !is_written_in_hex(*number)) else {
            for byte in bytes {
                literal += r"\x";
                literal.push(char::from(HEX[usize::from(byte / 16)]));
                literal.push(char::from(HEX[usize::from(byte % 16)]));
            }
            continue;
        };
        if [0x22, 0x27, 0x5C].contains(&number) {
            literal += r"\";
        }
        literal.extend(char::from_u32(number));
    }
    literal + "'"
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Cc, the separators, and the bidirectional controls.
fn is_written_in_hex(number: u32) -> bool {
    matches!(number, 0x00..=0x1F | 0x7F..=0x9F | 0x2028 | 0x2029)
        || matches!(number, 0x061C | 0x200E | 0x200F | 0x202A..=0x202E | 0x2066..=0x2069)
}

/// `bytes` as characters and stray bytes, in order.
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

/// The unit that `bytes`, which is not empty, begins with, and its length in bytes.
fn first_unit(bytes: &[u8]) -> (Unit, usize) {
    // Unicode 17.0.0, Table 3-7, "Well-Formed UTF-8 Byte Sequences": a row for each range of the
    // first byte, and in it the ranges of all the bytes.
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
    for row in TABLE_3_7 {
        let fits = bytes.len() >= row.len()
            && row
                .iter()
                .zip(bytes)
                .all(|(&(low, high), &byte)| low <= byte && byte <= high);
        if fits {
            return (Unit::Character(decoded(&bytes[..row.len()])), row.len());
        }
    }
    (Unit::Stray(bytes[0]), 1)
}

/// The scalar value of one well-formed sequence.
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
