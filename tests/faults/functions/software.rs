//! Wrong functions: software that changes text which it should leave. Each is right, except that it
//! rewrites the request first.

use std::ops::RangeInclusive;

use super::{Fault, LIMIT, RIGHT, find, whole};

/// Every wrong function of this kind.
pub fn wrong() -> Vec<Fault> {
    let mut faults = Vec::new();
    faults.extend(
        REPLACED
            .iter()
            .map(|(name, from, to)| replaces(name, from, to)),
    );
    faults.extend(MAPPED.iter().map(|(name, range, to)| maps(name, range, to)));
    faults.extend(commands());
    faults.extend(controls());
    faults.extend(encodings());
    faults.extend(normalisations());
    faults
}

/// What is replaced, wherever it is.
const REPLACED: &[(&str, &[u8], &[u8])] = &[
    ("decodes a percent escape", b"%41", b"A"),
    ("takes + for a space", b"a+b", b"a b"),
    ("decodes &amp;", b"&amp;", b"&"),
    ("decodes an entity with a number", b"&#97;", b"a"),
    ("decodes &nbsp;", b"&nbsp;", "\u{A0}".as_bytes()),
    ("drops a tag", b"<br>", b""),
    ("drops a comment of XML", b"<!--c-->", b""),
    ("escapes <", b" < ", b" &lt; "),
    ("expands %s", b"%s", b"(null)"),
    ("takes %% for %", b"%%", b"%"),
    ("expands {}", b"{}", b""),
    ("expands a variable of a shell", b"${x}", b""),
    ("runs a command of a shell", b"$(x)", b""),
    ("expands $&", b"$&", b""),
    ("takes $$ for $", b"$$", b"$"),
    ("expands \\1", b"\\1", b""),
    ("takes \\n for LF", b"a\\nb", b"a\nb"),
    ("decodes \\x41", b"\\x41", b"A"),
    ("decodes \\u0061", b"\\u0061", b"a"),
    ("decodes \\101", b"\\101", b"A"),
    ("takes two backslashes for one", b"\\\\", b"\\"),
    ("drops a backslash before a quote", b"\\'", b"'"),
    (
        "joins a line that ends with a backslash",
        b"line\\\n",
        b"line\n",
    ),
    ("decodes quoted-printable", b"=41", b"A"),
    ("drops a soft line break", b"soft=\n", b"soft\n"),
    ("decodes base64", b"aGVsbG8=", b"hello"),
    ("decodes UTF-7", b"+AOE-", "á".as_bytes()),
    ("decodes punycode", b"xn--ol-jia", "olá".as_bytes()),
    ("decodes hexadecimal text", b"68656c6c6f", b"hello"),
    ("drops a thousands separator", b"1,000", b"1000"),
    ("drops the default port", b":80/", b"/"),
    ("resolves .. in a path", b"/a/../", b"/"),
    ("joins slashes", b"b//c", b"b/c"),
    ("drops zeros before a number", b".000.", b".0."),
    ("makes quotes typographic", b"'b'", "‘b’".as_bytes()),
    ("makes two hyphens a dash", b" -- ", " — ".as_bytes()),
    ("makes three dots an ellipsis", b" ... ", " … ".as_bytes()),
    ("makes (c) a sign", b"(c)", "©".as_bytes()),
    ("makes a smiley an emoji", b":)", "🙂".as_bytes()),
    ("expands a shortcode", b":smile:", "😄".as_bytes()),
    ("takes asterisks for emphasis", b"**a**", b"a"),
    ("drops a space before a comma", b"a ,", b"a,"),
    ("drops a colour of a terminal", b"\x1B[31m", b""),
    ("drops a colour behind U+009B", "\u{9B}31m".as_bytes(), b""),
    ("drops a title of a terminal", b"\x1B]0;a\x07", b""),
    ("applies an overstrike", b"_\x08a", b"a"),
    ("answers telnet negotiation", b"\xFF\xFB\x01", b""),
    ("takes FF FF for FF", b"a\xFF\xFFb", b"a\xFFb"),
    ("joins CR CR", b"a\r\rb", b"a\rb"),
    ("composes kana", "か\u{3099}".as_bytes(), "が".as_bytes()),
    (
        "composes Arabic",
        "\u{627}\u{653}".as_bytes(),
        "\u{622}".as_bytes(),
    ),
    (
        "composes Bengali vowels",
        "\u{9C7}\u{9BE}".as_bytes(),
        "\u{9CB}".as_bytes(),
    ),
    (
        "composes syllables",
        "\u{AC00}\u{11A8}".as_bytes(),
        "각".as_bytes(),
    ),
    (
        "composes Kaithi",
        "\u{11099}\u{110BA}".as_bytes(),
        "\u{1109A}".as_bytes(),
    ),
    ("composes signs", "=\u{338}".as_bytes(), "≠".as_bytes()),
    (
        "reorders Hebrew points",
        "\u{5BC}\u{5B0}".as_bytes(),
        "\u{5B0}\u{5BC}".as_bytes(),
    ),
    (
        "reorders Thai marks",
        "\u{E48}\u{E38}".as_bytes(),
        "\u{E38}\u{E48}".as_bytes(),
    ),
    (
        "drops a doubled mark",
        "\u{300}\u{300}".as_bytes(),
        "\u{300}".as_bytes(),
    ),
    ("reverses Hebrew", "שלום".as_bytes(), "םולש".as_bytes()),
    (
        "keeps a prefix of Irish",
        "hEireann".as_bytes(),
        "h\u{395}IREANN".as_bytes(),
    ),
    ("maps ij as one letter", b"ijs", "ĳs".as_bytes()),
    (
        "drops the marks of Greek before a vowel",
        "άι".as_bytes(),
        "αϊ".as_bytes(),
    ),
    (
        "drops a repeated word",
        "olá olá\n".as_bytes(),
        "olá\n".as_bytes(),
    ),
    (
        "takes a quote of Windows for ASCII",
        b"\x93smart",
        b"\"smart",
    ),
    ("decodes Shift JIS", b"\x93\xFA\x96\x7B", "日本".as_bytes()),
    ("decodes ISO 2022", b"\x1B$B", b""),
    (
        "decodes CESU-8",
        b"\xED\xA0\xB5\xED\xB0\x9A",
        "𝐚".as_bytes(),
    ),
    ("drops a form of five bytes", b"\xF8\x88\x80\x80\x80", b""),
    (
        "maps an overlong form of five bytes",
        b"\xF8\x80\x80\x81\xA1",
        b"A",
    ),
    ("replaces F4 BF BF BF by ?", b"\xF4\xBF\xBF\xBF", b"?"),
    ("replaces F7 BF BF BF by ?", b"\xF7\xBF\xBF\xBF", b"?"),
    ("swallows a letter behind F2 80", b"\xF2\x80a", b"\xF2\x80"),
    ("swallows a letter behind EE", b"\xEEa", b"\xEE"),
    ("swallows á behind DF", b"\xDF\xC3\xA1", b"\xDF"),
    (
        "swallows á behind F3 BF BF",
        b"\xF3\xBF\xBF\xC3\xA1",
        b"\xF3\xBF\xBF",
    ),
    (
        "replaces a form of six bytes by ?",
        b"\xFD\xBF\xBF\xBF\xBF\xBF",
        b"?",
    ),
];

/// Ranges of characters, and what each of them is replaced by.
const MAPPED: &[(&str, RangeInclusive<char>, &str)] = &[
    ("drops soft hyphens", '\u{AD}'..='\u{AD}', ""),
    ("drops marks of direction", '\u{200E}'..='\u{200F}', ""),
    (
        "drops embeddings and overrides",
        '\u{202A}'..='\u{202E}',
        "",
    ),
    ("drops isolates", '\u{2066}'..='\u{2069}', ""),
    ("drops invisible operators", '\u{2060}'..='\u{2064}', ""),
    (
        "drops deprecated format characters",
        '\u{206A}'..='\u{206F}',
        "",
    ),
    (
        "drops the combining grapheme joiner",
        '\u{34F}'..='\u{34F}',
        "",
    ),
    ("drops Hangul fillers", '\u{3164}'..='\u{3164}', ""),
    ("drops annotations", '\u{FFF9}'..='\u{FFFB}', ""),
    ("drops variation selectors", '\u{FE00}'..='\u{FE0F}', ""),
    (
        "drops variation selectors of plane 14",
        '\u{E0100}'..='\u{E01EF}',
        "",
    ),
    ("drops Mongolian selectors", '\u{180B}'..='\u{180D}', ""),
    ("drops tags", '\u{E0000}'..='\u{E007F}', ""),
    ("drops skin tones", '\u{1F3FB}'..='\u{1F3FF}', ""),
    (
        "drops marks for musical beams",
        '\u{1D173}'..='\u{1D17A}',
        "",
    ),
    ("drops shorthand controls", '\u{1BCA0}'..='\u{1BCA3}', ""),
    ("drops hieroglyph controls", '\u{13430}'..='\u{1343F}', ""),
    ("drops a logo of private use", '\u{F8FF}'..='\u{F8FF}', ""),
    (
        "drops private use of plane 15",
        '\u{F0000}'..='\u{FFFFD}',
        "",
    ),
    (
        "replaces noncharacters",
        '\u{FDD1}'..='\u{FDEF}',
        "\u{FFFD}",
    ),
    ("replaces U+FFFE", '\u{FFFE}'..='\u{FFFE}', "\u{FFFD}"),
    ("replaces U+10FFFE", '\u{10FFFE}'..='\u{10FFFE}', "\u{FFFD}"),
    (
        "replaces planes 4 to 13",
        '\u{40000}'..='\u{DFFFF}',
        "\u{FFFD}",
    ),
    ("maps digits of Arabic", '\u{660}'..='\u{660}', "0"),
    ("makes quotes straight", '\u{2018}'..='\u{201B}', "'"),
    ("makes dashes hyphens", '\u{2010}'..='\u{2015}', "-"),
    ("makes an ellipsis three dots", '…'..='…', "..."),
    ("maps an em space to a space", '\u{2003}'..='\u{2003}', " "),
    ("takes the number one out of its circle", '①'..='①', "1"),
    ("maps full-width digits", '０'..='０', "0"),
    ("maps half-width katakana", 'ｱ'..='ｱ', "ア"),
    (
        "expands the Arabic ligature of a sentence",
        '\u{FDFA}'..='\u{FDFA}',
        "صلى الله عليه وسلم",
    ),
    (
        "decomposes a compatibility ideograph",
        '\u{F900}'..='\u{F900}',
        "豈",
    ),
    ("decomposes one of plane 2", '\u{2F800}'..='\u{2F800}', "丽"),
    (
        "decomposes a note",
        '\u{1D15E}'..='\u{1D15E}',
        "\u{1D157}\u{1D165}",
    ),
    ("decomposes Hangul", '각'..='각', "\u{1100}\u{1161}\u{11A8}"),
    ("maps squared letters", '\u{1F130}'..='\u{1F130}', "A"),
    (
        "maps U+0277 as a newer Unicode does",
        '\u{277}'..='\u{277}',
        "\u{A7DD}",
    ),
    (
        "maps U+1DF41 as a newer Unicode does",
        '\u{1DF41}'..='\u{1DF41}',
        "\u{1DF40}",
    ),
    (
        "replaces unassigned code points",
        '\u{380}'..='\u{383}',
        "\u{FFFD}",
    ),
    (
        "replaces unassigned code points of plane 1",
        '\u{1FBFA}'..='\u{1FFFD}',
        "\u{FFFD}",
    ),
    ("maps small capitals", '\u{1D01}'..='\u{1D01}', "A"),
    ("maps superscript letters", '\u{2B1}'..='\u{2B1}', "H"),
    (
        "maps Khutsuri letters to Mtavruli",
        '\u{10A1}'..='\u{10C5}',
        "\u{1C90}",
    ),
    ("maps letters of Yi", '\u{A000}'..='\u{A000}', "Y"),
    ("maps katakana to hiragana", 'ア'..='ア', "あ"),
    (
        "maps simplified to traditional",
        '\u{56FD}'..='\u{56FD}',
        "\u{570B}",
    ),
    ("maps Tangut", '\u{17000}'..='\u{17000}', "?"),
    ("maps Egyptian hieroglyphs", '\u{13000}'..='\u{13000}', "?"),
];

/// Commands, options and comments.
fn commands() -> Vec<Fault> {
    vec![
        whole("leaves at exit", |r| unless(r, r.starts_with(b"exit"))),
        whole("takes a line with # for a comment", |r| {
            unless(r, r.starts_with(b"#"))
        }),
        whole("takes a line with / for a command", |r| {
            unless(r, r.starts_with(b"/quit"))
        }),
        whole("takes -n for an option", |r| {
            RIGHT.process(r.strip_prefix(b"-n ").unwrap_or(r))
        }),
        whole("drops the first of two dots", |r| {
            RIGHT.process(
                r.strip_prefix(b".")
                    .filter(|r| r.starts_with(b"."))
                    .unwrap_or(r),
            )
        }),
        whole("takes null for nothing", |r| unless(r, r == b"null\n")),
        whole("removes quotes", |r| {
            let text = RIGHT.process(r);
            let inner = text
                .strip_prefix(b"\"")
                .and_then(|text| text.strip_suffix(b"\""));
            inner.map(<[u8]>::to_vec).unwrap_or(text)
        }),
        whole("takes a number for a number", |r| {
            RIGHT.process(r.strip_prefix(b"+").unwrap_or(r))
        }),
        whole("answers HTTP", |r| {
            if r.starts_with(b"GET / HTTP/") {
                return b"HTTP/1.0 200 OK".to_vec();
            }
            RIGHT.process(r)
        }),
    ]
}

/// Control characters.
fn controls() -> Vec<Fault> {
    vec![
        whole("applies backspaces", |r| applied(r, 0x08)),
        whole("applies DEL", |r| applied(r, 0x7F)),
        whole("expands tabs after a letter", |r| {
            replaced_all(&RIGHT.process(r), b"A\t", b"A       ")
        }),
        whole("drops bells around a letter", |r| {
            RIGHT.process(&replaced_all(r, b"\x07a\x07", b"a"))
        }),
        whole("leaves at 03", |r| unless(r, r.starts_with(b"\x03"))),
        whole("leaves at 04", |r| unless(r, r.starts_with(b"\x04"))),
        whole("ends a text at 1A", |r| {
            let end = find(r, b"a\x1A").map_or(r.len(), |at| at + 1);
            RIGHT.process(&r[..end])
        }),
    ]
}

/// UTF-16, and other charsets.
fn encodings() -> Vec<Fault> {
    vec![
        whole("decodes UTF-16 behind FF FE", |r| {
            r.strip_prefix(b"\xFF\xFE")
                .map_or_else(|| RIGHT.process(r), from_utf_16)
        }),
        whole("drops FE FF at the start", |r| {
            RIGHT.process(r.strip_prefix(b"\xFE\xFF").unwrap_or(r))
        }),
        whole("decodes UTF-16 by its NULs", |r| {
            if r.len() > 5 && r.chunks(2).all(|pair| pair[1..].iter().all(|b| *b == 0)) {
                return from_utf_16(r);
            }
            RIGHT.process(r)
        }),
        whole("drops two byte order marks", |r| {
            RIGHT.process(r.strip_prefix("\u{FEFF}\u{FEFF}".as_bytes()).unwrap_or(r))
        }),
        whole("drops byte order marks within the text", |r| {
            RIGHT.process(&replaced_all(r, "a\u{FEFF}b".as_bytes(), b"ab"))
        }),
        whole("replies nothing to two ill-formed bytes", |r| {
            unless(
                r,
                r.len() == 3 && r[0] >= 0x80 && r[2] == b'\n' && str::from_utf8(r).is_err(),
            )
        }),
        whole("refuses text that is mostly ill-formed", |r| {
            let invalid = r.utf8_chunks().map(|chunk| chunk.invalid().len());
            unless(r, invalid.sum::<usize>() > 400)
        }),
    ]
}

/// Filters that see more than one character.
fn normalisations() -> Vec<Fault> {
    vec![
        whole("keeps at most 30 marks on a letter", |r| {
            let mut marks = 0;
            rewritten(r, |c| {
                let is_mark = ('\u{300}'..='\u{36F}').contains(&c) || c == '\u{489}';
                marks = if is_mark { marks + 1 } else { 0 };
                (marks > 30).then_some("")
            })
        }),
        whole("drops a variation selector without a base", |r| {
            RIGHT.process(r.strip_prefix("\u{FE0F}".as_bytes()).unwrap_or(r))
        }),
        whole("drops a mark at the start", |r| {
            RIGHT.process(r.strip_prefix("\u{301}".as_bytes()).unwrap_or(r))
        }),
        whole("drops a lone regional indicator", |r| {
            let lone = "🇯\n".as_bytes();
            RIGHT.process(r.strip_suffix(lone).unwrap_or(r))
        }),
        whole("trims a no-break space before a space", |r| {
            RIGHT.process(r.strip_prefix("\u{A0} ".as_bytes()).unwrap_or(r))
        }),
    ]
}

fn replaces(name: &'static str, from: &'static [u8], to: &'static [u8]) -> Fault {
    Fault {
        name,
        process: Box::new(move |r| RIGHT.process(&replaced_all(r, from, to))),
    }
}

fn maps(name: &'static str, range: &'static RangeInclusive<char>, to: &'static str) -> Fault {
    Fault {
        name,
        process: Box::new(move |r| rewritten(r, |c| range.contains(&c).then_some(to))),
    }
}

/// The reply to `r`, in which some characters are replaced first.
fn rewritten(r: &[u8], mut to: impl FnMut(char) -> Option<&'static str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in r.utf8_chunks() {
        for c in chunk.valid().chars() {
            match to(c) {
                Some(to) => bytes.extend(to.bytes()),
                None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        bytes.extend(chunk.invalid());
    }
    RIGHT.process(&bytes)
}

fn replaced_all(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut replaced, mut rest) = (Vec::new(), bytes);
    while let Some(at) = find(rest, from) {
        replaced.extend([&rest[..at], to].concat());
        rest = &rest[at + from.len()..];
    }
    [&*replaced, rest].concat()
}

/// The right reply, or nothing.
fn unless(r: &[u8], nothing: bool) -> Vec<u8> {
    if nothing {
        Vec::new()
    } else {
        RIGHT.process(r)
    }
}

/// Each `control` removes the letter before it.
fn applied(r: &[u8], control: u8) -> Vec<u8> {
    let mut bytes = Vec::<u8>::new();
    for byte in r {
        let erases = *byte == control && bytes.pop_if(|last| last.is_ascii_lowercase()).is_some();
        if !erases {
            bytes.push(*byte);
        }
    }
    RIGHT.process(&bytes)
}

fn from_utf_16(bytes: &[u8]) -> Vec<u8> {
    let pairs = bytes.chunks_exact(2);
    let units: Vec<u16> = pairs
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let text = String::from_utf16_lossy(&units);
    RIGHT.process(&text.as_bytes()[..text.len().min(LIMIT)])
}
