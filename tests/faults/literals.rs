//! Wrong byte literals (SPEC LOG-3), with one fault each.

use upcase::conformance::laws::LITERAL;
use upcase::conformance::reference;

/// What a function that writes literals does wrong, and the function.
pub type Fault = (&'static str, fn(&[u8]) -> Vec<u8>);

/// The right function.
pub fn right(bytes: &[u8]) -> Vec<u8> {
    reference::literal(bytes).into_bytes()
}

/// Every wrong function.
pub const WRONG: &[Fault] = &[
    ("does not escape ESC", |bytes| unescaped(bytes, '\x1b')),
    ("does not escape DEL", |bytes| unescaped(bytes, '\x7f')),
    ("does not escape a C1 control", |bytes| {
        unescaped(bytes, '\u{9b}')
    }),
    ("does not escape the line separator", |bytes| {
        unescaped(bytes, '\u{2028}')
    }),
    ("does not escape the right-to-left override", |bytes| {
        unescaped(bytes, '\u{202e}')
    }),
    ("does not escape the first isolate", |bytes| {
        unescaped(bytes, '\u{2066}')
    }),
    ("does not escape the last isolate", |bytes| {
        unescaped(bytes, '\u{2069}')
    }),
    ("does not escape the right-to-left mark", |bytes| {
        unescaped(bytes, '\u{200f}')
    }),
    ("does not escape the Arabic letter mark", |bytes| {
        unescaped(bytes, '\u{61c}')
    }),
    ("does not escape the single quote", |bytes| {
        replaced(bytes, r"\'", "'")
    }),
    ("does not escape the double quote", |bytes| {
        replaced(bytes, r#"\""#, r#"""#)
    }),
    ("does not escape the backslash", |bytes| {
        replaced(bytes, r"\\", r"\")
    }),
    ("writes LF as \\n", |bytes| replaced(bytes, r"\x0a", r"\n")),
    ("writes F in upper case", |bytes| {
        replaced(bytes, r"\xf", r"\xF")
    }),
    ("writes a sign", |bytes| replaced(bytes, r"\x0", r"\x+")),
    ("escapes all if a byte is not ASCII", |bytes| {
        if bytes.is_ascii() {
            right(bytes)
        } else {
            format!("b'{}'", in_hex(bytes)).into_bytes()
        }
    }),
    ("replaces ill-formed bytes by U+FFFD", |bytes| {
        right(String::from_utf8_lossy(bytes).as_bytes())
    }),
    ("omits b and the opening quote", |bytes| {
        right(bytes)[2..].to_vec()
    }),
];

/// The literal, but `character` stands for itself.
fn unescaped(bytes: &[u8], character: char) -> Vec<u8> {
    let character = character.to_string();
    replaced(bytes, &in_hex(character.as_bytes()), &character)
}

/// The literal with `from` replaced by `to`.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    reference::literal(bytes).replace(from, to).into_bytes()
}

fn in_hex(bytes: &[u8]) -> String {
    let escaped = |byte: &u8| format!(r"\x{byte:02x}");
    bytes.iter().map(escaped).collect::<Vec<_>>().concat()
}

#[test]
fn the_law_of_the_literal_says_what_it_expected() {
    for (bytes, literal, expected) in [
        ("\n", "b'\n'", "no control and no line separator"),
        ("x", "b'\u{2028}'", "no control and no line separator"),
        ("x", "b'xxxxx'", "at most 4 bytes for each byte, and 3 more"),
        ("x", "b'y'", "a literal of the input"),
        ("\"", "b'\"'", "a literal of the input"),
        ("x", r"b'\x78'", r#"b"b\'x\'""#),
    ] {
        let judged = LITERAL.check(&|_| literal.into(), bytes.as_bytes());
        let details = judged.unwrap_err().details;
        assert!(
            details.contains(&format!("expected {expected}")),
            "{literal:?}: {details:?}"
        );
    }
}
