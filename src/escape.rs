//! How bytes from a peer are shown on a terminal and in a log: on one line, with what would control
//! the display escaped (SPEC LOG-3, LOG-5).

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt::Write;

/// `bytes` as a byte literal, `b'…'` (SPEC LOG-3). It has at most four characters for each byte, and
/// three more.
///
/// These become `\xNN`, by their properties in Unicode 17.0.0: controls, line and paragraph
/// separators, format characters, noncharacters, and bytes that are not UTF-8. Format characters have
/// no width, change the direction of text, or hide in it as tags; a few are visible signs. Two of them
/// stay, because words and emoji need them: the joiners U+200C and U+200D.
///
/// All other characters stay as they are. So texts that look alike may still be of different bytes:
/// letters of several scripts look the same, combining marks and variation selectors can be invisible,
/// some characters are blank, and nothing is known of how a terminal shows unassigned and private-use
/// characters.
///
/// ```
/// use upcase::escape::literal;
/// assert_eq!(literal("Olá!\x1b[2J".as_bytes()), r"b'Olá!\x1b[2J'");
/// assert_eq!(literal("pay\u{200b}pal".as_bytes()), r"b'pay\xe2\x80\x8bpal'");
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
                _ if is_in_hex(character) => {
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
    match core::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_in_hex) => Cow::Borrowed(text),
        _ => Cow::Owned(literal(bytes)),
    }
}

/// Whether a literal has `character` as `\xNN`. The properties are those of Unicode 17.0.0.
fn is_in_hex(character: char) -> bool {
    match character {
        // First, because most text is in ASCII.
        ' '..='~' => false,
        // Cc
        '\0'..='\u{9F}'
        // Zl, Zp
        | '\u{2028}' | '\u{2029}'
        // Cf, except U+200C and U+200D
        | '\u{AD}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}' | '\u{890}' | '\u{891}'
        | '\u{8E2}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0001}' | '\u{E0020}'..='\u{E007F}'
        // noncharacters
        | '\u{FDD0}'..='\u{FDEF}' => true,
        // The other noncharacters are the last two code points of each plane.
        _ => u32::from(character) & 0xFFFE == 0xFFFE,
    }
}

fn push_hex(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(shown, "\\x{byte:02x}");
    }
}
