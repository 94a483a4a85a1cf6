//! Strategies for requests and scripts, each aimed at one kind of difficulty.

use std::fmt;
use std::ops::Deref;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use upcase::LIMIT;
use upcase::conformance::reference::{self, WHITE_SPACE};
use upcase::conformance::script::ACTIONS;

/// Bytes that are printed as a byte string, so that a failing input can be pasted into a test.
#[derive(Clone)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Letters with a mapping that is not one to one or otherwise special: one to two, one to three,
/// title case, shorter or longer in UTF-8, a mark that becomes a letter, Georgian, above U+FFFF, new
/// in Unicode 17.
const SPECIAL: &[char] = &[
    'ß',
    'ŉ',
    'ǰ',
    'ΐ',
    'ΰ',
    'և',
    'ẖ',
    'ﬃ',
    'ᾳ',
    'ᾲ',
    'ᾼ',
    'ǆ',
    'ǅ',
    'ǳ',
    'ı',
    'ſ',
    'ɐ',
    'ⱥ',
    'ς',
    'µ',
    'ÿ',
    '\u{345}',
    'ა',
    'ꭰ',
    'ᏸ',
    '𐐨',
    '\u{16EBB}',
    '\u{A7CF}',
    'İ',
    'i',
];

/// Characters that are invisible or control the display. A byte literal escapes those before U+200C:
/// controls and separators, format characters, noncharacters. It does not escape the last line.
const INVISIBLE: &str = "\
    \0\n\u{1B}\u{7F}\u{9B}\u{2028}\u{2029}\
    \u{AD}\u{600}\u{61C}\u{180E}\u{200B}\u{200F}\u{202E}\u{2060}\u{2066}\u{2069}\
    \u{206A}\u{FEFF}\u{FFF9}\u{110BD}\u{1343F}\u{1D173}\u{E0001}\u{E007F}\
    \u{FDD0}\u{FFFE}\u{FFFFF}\u{10FFFF}\
    \u{200C}\u{200D}\u{A0}\u{301}\u{2065}\u{3164}\u{E000}\u{FE0F}\u{FFFD}\u{E0000}\u{E0100}";

/// Bytes that some libraries treat as white space, and the protocol does not.
const NEAR_MISSES: &[&[u8]] = &[
    b"\x00",
    b"\x08",
    b"\x0E",
    b"\x1C",
    b"\x1D",
    b"\x1E",
    b"\x1F",
    b"\x7F",
    b"\x85",
    b"\xA0",
    "\u{85}".as_bytes(),
    "\u{A0}".as_bytes(),
    "\u{2003}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{3000}".as_bytes(),
    "\u{FEFF}".as_bytes(),
];

/// Ill-formed sequences of every class.
const ILL_FORMED: &[&[u8]] = &[
    b"\x80",
    b"\xBF",
    b"\xC0\xAF",
    b"\xC1\xA1",
    b"\xC3",
    b"\xE0\x9F\xBF",
    b"\xE1\x80",
    b"\xE1",
    b"\xED\xA0\x80",
    b"\xED\xBF\xBF",
    b"\xEF\xBF",
    b"\xF0\x8F\xBF\xBF",
    b"\xF0\x90\x80",
    b"\xF0\x90",
    b"\xF4\x90\x80\x80",
    b"\xF5\x80\x80\x80",
    b"\xF8\x88\x80\x80\x80",
    b"\xFE",
    b"\xFF",
];

/// Requests of all kinds.
pub fn requests() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        arbitrary_bytes(),
        ascii(),
        well_formed(),
        mixed(),
        at_the_cap(),
        growing(),
        padded(),
    ]
}

/// Messages of all kinds: what fills a request together with an LF, often with an end that is cut.
pub fn messages() -> impl Strategy<Value = Bytes> {
    let end = vec(select(ILL_FORMED), 0..2).prop_map(|end| end.concat());
    let shorter = (requests(), end).prop_map(|(Bytes(mut message), end)| {
        message.truncate(LIMIT - 1 - end.len());
        message.extend(end);
        Bytes(message)
    });
    prop_oneof![1 => requests(), 1 => shorter, 2 => filling()]
}

/// Messages whose upper case is as long as the limit, or a few bytes longer or shorter, and ends with
/// an ill-formed sequence.
fn filling() -> impl Strategy<Value = Bytes> {
    let end = (select(ILL_FORMED), white_space());
    (select(SPECIAL), LIMIT - 3..=LIMIT + 3, end).prop_map(|(first, upper_length, (end, after))| {
        let mut message = first.to_string().into_bytes();
        let filler = upper_length.saturating_sub(reference::upper(&message).len() + end.len());
        message.resize(message.len() + filler, b'0');
        message.extend(end);
        message.extend(after);
        Bytes(message)
    })
}

/// Scripts as raw bytes: the actions, and a request on the wire, with or without an LF in it.
pub fn scripts() -> impl Strategy<Value = Bytes> {
    let action = prop_oneof![
        6 => select(&b"123456789*"[..]).prop_map(|letter| vec![letter]),
        4 => select(&b"iinn"[..]).prop_map(|letter| vec![letter]),
        1 => select(&b"etx"[..]).prop_map(|letter| vec![letter]),
        1 => (0..0x80_u8).prop_map(|letter| vec![letter]),
        2 => (0x100_u16..0x400).prop_map(|length| (0x8000 | length).to_be_bytes().to_vec()),
    ];
    let wire = prop_oneof![3 => requests(), 1 => messages()];
    let wire = (wire, prop::option::of(any::<prop::sample::Index>()));
    (vec(action, 2 * ACTIONS), wire).prop_map(|(actions, (wire, lf))| {
        let mut bytes = actions.concat();
        let start = bytes.len();
        bytes.extend(&*wire);
        if let Some(lf) = lf {
            bytes.insert(start + lf.index(bytes.len() - start + 1), b'\n');
        }
        Bytes(bytes)
    })
}

/// Any bytes, most often of lengths where the rules change.
pub fn arbitrary_bytes() -> impl Strategy<Value = Bytes> {
    lengths()
        .prop_flat_map(|length| vec(any::<u8>(), length))
        .prop_map(Bytes)
}

/// ASCII, with white space and controls.
pub fn ascii() -> impl Strategy<Value = Bytes> {
    let byte =
        prop_oneof![4 => 0x20_u8..0x7F, 1 => 0_u8..0x80, 1 => select(&b"\t\n\x0B\x0C\r "[..])];
    lengths()
        .prop_flat_map(move |length| vec(byte.clone(), length))
        .prop_map(Bytes)
}

/// Well-formed text with many letters whose mapping is special.
pub fn well_formed() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => 0..12_usize, 2 => 0..80_usize, 1 => 200..1100_usize]
        .prop_flat_map(|count| vec(character(), count))
        .prop_map(|text| Bytes(String::from_iter(text).into_bytes()))
}

/// Text with ill-formed bytes, and bytes that look like white space, between the characters.
pub fn mixed() -> impl Strategy<Value = Bytes> {
    let piece = prop_oneof![
        3 => character().prop_map(encoded),
        2 => select(ILL_FORMED).prop_map(<[u8]>::to_vec),
        1 => select(NEAR_MISSES).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop_oneof![4 => 0..8_usize, 2 => 0..60_usize, 1 => 300..700_usize]
        .prop_flat_map(move |count| vec(piece.clone(), count))
        .prop_map(|pieces| Bytes(pieces.concat()))
}

/// A character or an ill-formed sequence across the cap, with or without white space before the text,
/// and more text after it.
pub fn at_the_cap() -> impl Strategy<Value = Bytes> {
    let across = prop_oneof![
        3 => character().prop_map(encoded),
        2 => select(ILL_FORMED).prop_map(<[u8]>::to_vec),
        1 => white_space(),
    ];
    let filler = prop_oneof![Just(b'a'), Just(b'.'), Just(b' ')];
    let text = (white_space(), character(), filler, LIMIT - 4..=LIMIT);
    (text, vec(across, 0..4), white_space()).prop_map(|(text, across, after)| {
        let (mut request, first, filler, start) = text;
        request.extend(encoded(first));
        request.resize(start, filler);
        request.extend(across.concat());
        request.extend(after);
        Bytes(request)
    })
}

/// Text below the cap whose upper case is about as long as the cap, so that the reply may be cut
/// within a character or before white space.
pub fn growing() -> impl Strategy<Value = Bytes> {
    let letter = select(&['ß', 'ŉ', 'ΐ', 'ﬃ', 'և'][..]);
    let end = vec(prop_oneof![character(), select(&WHITE_SPACE[..])], 0..8);
    (letter, LIMIT - 12..LIMIT + 6, end).prop_map(|(letter, upper_length, end)| {
        let grown = reference::upper_of(letter).len();
        let mut text = String::from(letter).repeat(upper_length / grown);
        text.push_str(&"a".repeat(upper_length % grown));
        text.extend(end);
        Bytes(text.into_bytes())
    })
}

/// A little text with white space, and bytes that look like it, around it and within.
pub fn padded() -> impl Strategy<Value = Bytes> {
    let near =
        prop_oneof![2 => Just(Vec::new()), 1 => select(NEAR_MISSES).prop_map(<[u8]>::to_vec)];
    let text = vec(character(), 0..4).prop_map(|text| String::from_iter(text).into_bytes());
    (
        white_space(),
        near.clone(),
        text.clone(),
        white_space(),
        text,
        near,
        white_space(),
    )
        .prop_map(|(before, left, text, within, more, right, after)| {
            Bytes([before, left, text, within, more, right, after].concat())
        })
}

/// A little text with many invisible characters and quotes, for a byte literal.
pub fn invisible() -> impl Strategy<Value = Bytes> {
    let piece = prop_oneof![
        4 => select(INVISIBLE.chars().collect::<Vec<_>>()).prop_map(encoded),
        1 => select(&['\\', '\'', '"', 'x', 'n'][..]).prop_map(encoded),
        1 => character().prop_map(encoded),
        1 => select(ILL_FORMED).prop_map(<[u8]>::to_vec),
    ];
    vec(piece, 0..12).prop_map(|pieces| Bytes(pieces.concat()))
}

/// Lengths in bytes, most often near 0, 1, the cap, and three times the cap.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => 0..=1_usize,
        4 => 2..64_usize,
        2 => LIMIT - 3..=LIMIT + 3,
        1 => 64..LIMIT,
        1 => 3 * LIMIT - 3..=3 * LIMIT + 3,
    ]
}

fn character() -> impl Strategy<Value = char> + Clone {
    prop_oneof![
        4 => select(SPECIAL),
        3 => prop::char::range(' ', '~'),
        1 => prop::char::range('\u{300}', '\u{36F}'), // combining marks
        1 => prop::char::range('\u{370}', '\u{58F}'), // Greek, Cyrillic, Armenian
        1 => prop::char::range('\u{10000}', '\u{10FFFF}'),
        1 => any::<char>(),
        1 => select(&WHITE_SPACE[..]),
    ]
}

fn white_space() -> impl Strategy<Value = Vec<u8>> + Clone {
    vec(select(&b"\t\n\x0B\x0C\r "[..]), 0..5)
}

fn encoded(character: char) -> Vec<u8> {
    character.to_string().into_bytes()
}
