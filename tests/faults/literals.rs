//! Wrong byte literals (SPEC LOG-3), with one fault each.

use std::ops::RangeInclusive;

use upcase::conformance::laws::LITERAL;
use upcase::conformance::reference::{self, Unit, is_in_hex};

/// What a function that writes literals does wrong, and the function, or what differs in it.
pub type Fault<T = Box<dyn Fn(&[u8]) -> Vec<u8>>> = (&'static str, T);

type Rule = fn(char) -> bool;
type Function = fn(&[u8]) -> Vec<u8>;

/// The right function.
pub fn right(bytes: &[u8]) -> Vec<u8> {
    by_rule(bytes, is_in_hex)
}

/// Every wrong function.
pub fn wrong() -> impl Iterator<Item = Fault> {
    let leaves = LEAVES.iter().map(|(name, characters)| -> Fault {
        let in_hex = |c| is_in_hex(c) && !characters.contains(&c);
        (name, Box::new(move |bytes| by_rule(bytes, in_hex)))
    });
    let adds = ADDS.iter().map(|(name, characters)| -> Fault {
        let in_hex = |c| is_in_hex(c) || characters.contains(&c);
        (name, Box::new(move |bytes| by_rule(bytes, in_hex)))
    });
    let rules = RULES
        .iter()
        .map(|(name, in_hex)| -> Fault { (name, Box::new(move |bytes| by_rule(bytes, in_hex))) });
    let others = OTHERS
        .iter()
        .map(|(name, literal)| -> Fault { (name, Box::new(literal)) });
    leaves.chain(adds).chain(rules).chain(others)
}

/// Characters that are left as they are.
const LEAVES: &[Fault<RangeInclusive<char>>] = &[
    ("leaves ESC", '\x1b'..='\x1b'),
    ("leaves DEL", '\x7f'..='\x7f'),
    ("leaves a C1 control", '\u{9b}'..='\u{9b}'),
    ("leaves the line separator", '\u{2028}'..='\u{2028}'),
    ("leaves the right-to-left override", '\u{202e}'..='\u{202e}'),
    ("leaves the first isolate", '\u{2066}'..='\u{2066}'),
    ("leaves the last isolate", '\u{2069}'..='\u{2069}'),
    ("leaves the right-to-left mark", '\u{200f}'..='\u{200f}'),
    ("leaves the Arabic letter mark", '\u{61c}'..='\u{61c}'),
    ("leaves the soft hyphen", '\u{ad}'..='\u{ad}'),
    ("leaves the zero width space", '\u{200b}'..='\u{200b}'),
    ("leaves the word joiner", '\u{2060}'..='\u{2060}'),
    ("leaves the byte order mark", '\u{feff}'..='\u{feff}'),
    ("leaves a former white space", '\u{180e}'..='\u{180e}'),
    ("leaves deprecated characters", '\u{206a}'..='\u{206f}'),
    ("leaves annotations", '\u{fff9}'..='\u{fffb}'),
    ("leaves visible signs", '\u{600}'..='\u{605}'),
    ("leaves tags", '\u{e0001}'..='\u{e007f}'),
    ("leaves all above U+FFFF", '\u{10000}'..=char::MAX),
    ("leaves what Unicode 15 added", '\u{13439}'..='\u{1343f}'),
    ("leaves a block of noncharacters", '\u{fdd0}'..='\u{fdef}'),
    ("leaves U+FFFE and U+FFFF", '\u{fffe}'..='\u{ffff}'),
    ("leaves the last noncharacter", '\u{10ffff}'..='\u{10ffff}'),
];

/// Characters that are escaped too.
const ADDS: &[Fault<RangeInclusive<char>>] = &[
    ("escapes the zero width non-joiner", '\u{200c}'..='\u{200c}'),
    ("escapes the zero width joiner", '\u{200d}'..='\u{200d}'),
    ("escapes an unassigned tag", '\u{e0000}'..='\u{e0000}'),
    ("escapes variation selectors", '\u{fe00}'..='\u{fe0f}'),
    ("escapes combining marks", '\u{300}'..='\u{36f}'),
    ("escapes the no-break space", '\u{a0}'..='\u{a0}'),
    ("escapes private use", '\u{e000}'..='\u{f8ff}'),
    ("escapes U+FFFD", '\u{fffd}'..='\u{fffd}'),
    ("escapes all but ASCII", '\u{80}'..=char::MAX),
];

/// Other rules of what is escaped.
const RULES: &[Fault<Rule>] = &[
    ("escapes no format character", |c| {
        is_in_hex(c) && !is_format(c)
    }),
    ("escapes bidirectional format characters only", |c| {
        is_in_hex(c) && (!is_format(c) || is_bidirectional(c))
    }),
    ("escapes no noncharacter", |c| {
        is_in_hex(c) && !is_noncharacter(c)
    }),
    ("looks at the low 16 bits", |c| {
        char::from_u32(u32::from(c) & 0xffff).is_some_and(is_in_hex)
    }),
];

/// What is wrong in other ways.
const OTHERS: &[Fault<Function>] = &[
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
            format!("b'{}'", hex(bytes)).into_bytes()
        }
    }),
    ("replaces ill-formed bytes by U+FFFD", |bytes| {
        right(String::from_utf8_lossy(bytes).as_bytes())
    }),
    ("omits b and the opening quote", |bytes| {
        right(bytes)[2..].to_vec()
    }),
];

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) % 0x1_0000 >= 0xfffe
}

/// Among the characters that a literal escapes.
fn is_format(c: char) -> bool {
    !c.is_control() && !is_noncharacter(c) && !matches!(c, '\u{2028}' | '\u{2029}')
}

fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The literal in which `in_hex` decides which characters are `\xNN`.
fn by_rule(bytes: &[u8], in_hex: impl Fn(char) -> bool) -> Vec<u8> {
    let shown = |unit: &Unit| match *unit {
        Unit::Invalid(byte) => hex(&[byte]),
        Unit::Character(c) if in_hex(c) => hex(c.to_string().as_bytes()),
        Unit::Character(c @ ('\\' | '\'' | '"')) => format!("\\{c}"),
        Unit::Character(c) => c.to_string(),
    };
    let units: String = reference::units(bytes).iter().map(shown).collect();
    format!("b'{units}'").into_bytes()
}

/// The literal with `from` replaced by `to`.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let right = String::from_utf8(right(bytes)).expect("a literal is text");
    right.replace(from, to).into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    let escaped = |byte: &u8| format!(r"\x{byte:02x}");
    bytes.iter().map(escaped).collect::<Vec<_>>().concat()
}

#[test]
fn the_law_of_the_literal_says_what_it_expected() {
    for (bytes, literal, expected) in [
        ("\n", "b'\n'", r"no character that must be \xNN"),
        ("x", "b'\u{2028}'", r"no character that must be \xNN"),
        ("x", "b'\u{e0020}'", r"no character that must be \xNN"),
        ("x", "b'xxxxx'", "at most 4 bytes for each byte, and 3 more"),
        ("x", "b'y'", "a literal of the input"),
        ("\"", "b'\"'", "a literal of the input"),
        ("x", r"b'\x78'", r#"b"b\'x\'""#),
    ] {
        let judged = LITERAL.check(&|_| literal.into(), bytes.as_bytes());
        let details = judged.unwrap_err().details;
        assert!(
            (details.iter()).any(|detail| detail.to_string() == format!("expected {expected}")),
            "{literal:?}: {details:?}"
        );
    }
}
