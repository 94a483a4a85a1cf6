//! How bytes from a peer are shown on a terminal and in a log: as one line of printable characters
//! (SPEC LOG-3, LOG-5).

use std::borrow::Cow;
use std::fmt::Write;

/// `bytes` as a byte literal, `b'…'` (SPEC LOG-3). It has at most four characters for each byte, and
/// three more.
///
/// ```
/// use upcase::escape::literal;
/// assert_eq!(literal("Olá!\x1b[2J".as_bytes()), r"b'Olá!\x1b[2J'");
/// assert_eq!(literal(b"\xff"), r"b'\xff'");
/// ```
#[must_use]
pub fn literal(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len() + 3);
    shown.push_str("b'");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' | '\'' | '"' => shown.extend(['\\', character]),
                _ if is_unsafe(character) => {
                    push_hex(&mut shown, character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => shown.push(character),
            }
        }
        push_hex(&mut shown, chunk.invalid());
    }
    shown.push('\'');
    shown
}

/// `bytes` as text if they are well-formed and safe to show, otherwise as a byte [`literal`]
/// (SPEC LOG-5).
///
/// ```
/// use upcase::escape::text;
/// assert_eq!(text("it's Olá".as_bytes()), "it's Olá");
/// assert_eq!(text(b"two\nlines"), r"b'two\x0alines'");
/// ```
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_unsafe) => Cow::Borrowed(text),
        _ => Cow::Owned(literal(bytes)),
    }
}

/// Whether `character` can move the cursor, or end or reorder the line.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{2028}' | '\u{2029}' // line and paragraph separators
            | '\u{061C}' | '\u{200E}' | '\u{200F}' // bidirectional marks
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}') // embeddings, overrides, isolates
}

fn push_hex(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(shown, "\\x{byte:02x}");
    }
}
