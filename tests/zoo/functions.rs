//! Wrong implementations of the transformation, each a small step away from the right one.

/// The right implementation in parts, of which a wrong one replaces some.
#[derive(Clone, Copy)]
pub struct Parts {
    /// SPEC CAP-1 to CAP-3.
    pub cap: fn(&[u8]) -> Vec<u8>,
    /// SPEC TRIM-1 and TRIM-2.
    pub trim: fn(&[u8]) -> Vec<u8>,
    /// SPEC UPPER-1: the mapping of one character.
    pub letter: fn(char) -> String,
    /// SPEC UPPER-4: what becomes of an ill-formed sequence.
    pub stray: fn(&[u8]) -> Vec<u8>,
}

pub const RIGHT: Parts = Parts {
    cap: |bytes| capped(bytes, 1024),
    trim: |bytes| trimmed(bytes, is_white_space),
    letter: |c| c.to_uppercase().collect(),
    stray: <[u8]>::to_vec,
};

impl Parts {
    pub fn clip(&self, bytes: &[u8]) -> Vec<u8> {
        (self.trim)(&(self.cap)(bytes))
    }

    pub fn upper(&self, bytes: &[u8]) -> Vec<u8> {
        let mut mapped = Vec::new();
        for chunk in bytes.utf8_chunks() {
            mapped.extend(
                chunk
                    .valid()
                    .chars()
                    .flat_map(|c| (self.letter)(c).into_bytes()),
            );
            if !chunk.invalid().is_empty() {
                mapped.extend((self.stray)(chunk.invalid()));
            }
        }
        mapped
    }

    pub fn process(&self, request: &[u8]) -> Vec<u8> {
        self.clip(&self.upper(&self.clip(request)))
    }
}

/// A fault's name, and an implementation that has it.
pub type Wrong = (&'static str, Box<dyn Fn(&[u8]) -> Vec<u8> + Sync>);

/// Every wrong implementation.
pub fn wrong() -> Vec<Wrong> {
    [
        mappings(),
        strays(),
        trims(),
        caps(),
        orders(),
        encodings(),
        rewritings(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn letter(fault: &'static str, letter: fn(char) -> String) -> Wrong {
    of_parts(fault, Parts { letter, ..RIGHT })
}

fn stray(fault: &'static str, stray: fn(&[u8]) -> Vec<u8>) -> Wrong {
    of_parts(fault, Parts { stray, ..RIGHT })
}

fn trim(fault: &'static str, trim: fn(&[u8]) -> Vec<u8>) -> Wrong {
    of_parts(fault, Parts { trim, ..RIGHT })
}

fn cap(fault: &'static str, cap: fn(&[u8]) -> Vec<u8>) -> Wrong {
    of_parts(fault, Parts { cap, ..RIGHT })
}

fn of_parts(fault: &'static str, parts: Parts) -> Wrong {
    (fault, Box::new(move |request| parts.process(request)))
}

fn whole(fault: &'static str, process: fn(&[u8]) -> Vec<u8>) -> Wrong {
    (fault, Box::new(process))
}

/// The mapping (SPEC UPPER-1 to UPPER-3).
fn mappings() -> Vec<Wrong> {
    vec![
        letter("maps nothing", String::from),
        letter("maps to lower case", |c| c.to_lowercase().collect()),
        letter("maps ASCII alone", |c| c.to_ascii_uppercase().into()),
        letter("maps Latin-1 and no further", |c| {
            if c < 'Ā' { right(c) } else { c.into() }
        }),
        letter(
            "keeps letters whose mapping is of several characters",
            |c| Some(right(c)).filter(|u| single(u)).unwrap_or(c.into()),
        ),
        letter("keeps only the first character of a mapping", |c| {
            right(c).chars().take(1).collect()
        }),
        letter("keeps only the first two characters of a mapping", |c| {
            right(c).chars().take(2).collect()
        }),
        letter("maps to title case", title_case),
        letter("maps i as Turkish does", |c| except(c, 'i', "İ")),
        letter("keeps the dotless i", |c| except(c, 'ı', "ı")),
        letter("keeps the long s", |c| except(c, 'ſ', "ſ")),
        letter("maps ß to ẞ", |c| except(c, 'ß', "ẞ")),
        letter("maps ẞ as well", |c| except(c, 'ẞ', "SS")),
        letter("keeps ς, for it has no capital of its own", |c| {
            except(c, 'ς', "ς")
        }),
        letter("takes µ for punctuation", |c| except(c, 'µ', "µ")),
        letter("drops the dot of İ", |c| except(c, 'İ', "I")),
        letter("keeps U+0345, for it is a mark", |c| {
            except(c, '\u{345}', "\u{345}")
        }),
        letter("drops U+0345", |c| except(c, '\u{345}', "")),
        letter("drops combining marks", without_marks),
        letter("keeps letters that shrink in UTF-8", |c| {
            Some(right(c))
                .filter(|u| u.len() >= c.len_utf8())
                .unwrap_or(c.into())
        }),
        letter("keeps letters that grow in UTF-8", |c| {
            Some(right(c))
                .filter(|u| u.len() <= c.len_utf8())
                .unwrap_or(c.into())
        }),
        letter("keeps Greek", |c| keep(c, '\u{370}'..='\u{3FF}')),
        letter("keeps Cyrillic", |c| keep(c, '\u{400}'..='\u{52F}')),
        letter("keeps Armenian", |c| keep(c, '\u{530}'..='\u{58F}')),
        letter("keeps Georgian", |c| keep(c, '\u{10D0}'..='\u{10FF}')),
        letter("keeps Cherokee", |c| keep(c, '\u{13F8}'..='\u{ABBF}')),
        letter("keeps extended Greek", |c| keep(c, '\u{1F00}'..='\u{1FFF}')),
        letter("keeps ligatures", |c| keep(c, '\u{FB00}'..='\u{FB17}')),
        letter("keeps full-width letters", |c| {
            keep(c, '\u{FF41}'..='\u{FF5A}')
        }),
        letter("keeps Roman numerals", |c| keep(c, '\u{2170}'..='\u{217F}')),
        letter("keeps circled letters", |c| {
            keep(c, '\u{24D0}'..='\u{24E9}')
        }),
        letter("keeps letters past U+FFFF", |c| {
            keep(c, '\u{10000}'..='\u{10FFFF}')
        }),
        letter("maps by Unicode 16", before_17),
        letter("maps by Unicode 15", before_16),
        letter("makes styled letters plain", |c| match c {
            '\u{1D400}'..='\u{1D7FF}' => "A".into(),
            _ => right(c),
        }),
        letter("takes letters without case for others", |c| match c {
            'ª' => "A".into(),
            'º' => "O".into(),
            _ => right(c),
        }),
        letter("replaces what is not in the BMP", |c| {
            if c > '\u{FFFF}' { "?".into() } else { right(c) }
        }),
        letter("drops controls", |c| {
            if c.is_control() && !c.is_ascii_whitespace() {
                String::new()
            } else {
                right(c)
            }
        }),
    ]
}

/// Ill-formed bytes (SPEC UPPER-4).
fn strays() -> Vec<Wrong> {
    vec![
        stray("replaces ill-formed bytes by U+FFFD", |_| "\u{FFFD}".into()),
        stray("replaces ill-formed bytes by ?", |bytes| {
            vec![b'?'; bytes.len()]
        }),
        stray("drops ill-formed bytes", |_| Vec::new()),
        stray("takes ill-formed bytes for Latin-1", |bytes| {
            bytes.iter().map(|b| right_latin_1(*b)).collect()
        }),
        stray("keeps only the first byte of ill-formed ones", |bytes| {
            bytes[..1].to_vec()
        }),
        stray("drops lone continuation bytes", |bytes| {
            bytes.iter().copied().filter(|b| *b >= 0xC0).collect()
        }),
        stray("drops lone lead bytes", |bytes| {
            bytes.iter().copied().filter(|b| *b < 0xC0).collect()
        }),
        stray("drops FE and FF", |bytes| {
            bytes.iter().copied().filter(|b| *b < 0xFE).collect()
        }),
    ]
}

/// White space (SPEC TRIM-1, TRIM-2).
fn trims() -> Vec<Wrong> {
    vec![
        trim("does not trim", <[u8]>::to_vec),
        trim("trims the start alone", |b| {
            let mut started = (RIGHT.trim)(&[b, b"|"].concat());
            started.pop();
            started
        }),
        trim("trims the end alone", |b| {
            (RIGHT.trim)(&[b"|", b].concat())[1..].to_vec()
        }),
        trim("trims spaces alone", |b| trimmed(b, |b| b == b' ')),
        trim("trims no tab", |b| {
            trimmed(b, |b| is_white_space(b) && b != b'\t')
        }),
        trim("trims no LF", |b| {
            trimmed(b, |b| is_white_space(b) && b != b'\n')
        }),
        trim("trims no vertical tab", |b| b.trim_ascii().to_vec()),
        trim("trims no form feed", |b| {
            trimmed(b, |b| is_white_space(b) && b != 0x0C)
        }),
        trim("trims no CR", |b| {
            trimmed(b, |b| is_white_space(b) && b != b'\r')
        }),
        trim("trims no space", |b| {
            trimmed(b, |b| is_white_space(b) && b != b' ')
        }),
        trim("trims one byte at each end", |b| {
            let b = b.strip_suffix(b"\n").unwrap_or(b);
            let b = if b.last().is_some_and(|b| is_white_space(*b)) {
                &b[..b.len() - 1]
            } else {
                b
            };
            if b.first().is_some_and(|b| is_white_space(*b)) {
                b[1..].to_vec()
            } else {
                b.to_vec()
            }
        }),
        trim("trims NUL", |b| trimmed(b, |b| is_white_space(b) || b == 0)),
        trim("trims 1C to 1F", |b| {
            trimmed(b, |b| is_white_space(b) || (0x1C..0x20).contains(&b))
        }),
        trim("trims every control", |b| {
            trimmed(b, |b| b <= b' ' || b == 0x7F)
        }),
        trim("trims 08 and 0E", |b| {
            trimmed(b, |b| (8..=14).contains(&b) || b == b' ')
        }),
        trim("trims the byte 85", |b| {
            trimmed(b, |b| is_white_space(b) || b == 0x85)
        }),
        trim("trims the byte A0", |b| {
            trimmed(b, |b| is_white_space(b) || b == 0xA0)
        }),
        trim("trims Unicode's white space", |b| {
            trimmed_text(b, char::is_whitespace)
        }),
        trim("trims U+0085", |b| {
            trimmed_text(b, |c| white(c) || c == '\u{85}')
        }),
        trim("trims U+00A0", |b| {
            trimmed_text(b, |c| white(c) || c == '\u{A0}')
        }),
        trim("trims U+3000", |b| {
            trimmed_text(b, |c| white(c) || c == '\u{3000}')
        }),
        trim("trims U+2028", |b| {
            trimmed_text(b, |c| white(c) || c == '\u{2028}')
        }),
        trim("trims a byte order mark", |b| {
            trimmed_text(b, |c| white(c) || c == '\u{FEFF}')
        }),
        trim("trims zero-width space", |b| {
            trimmed_text(b, |c| white(c) || c == '\u{200B}')
        }),
        trim("removes all white space", |b| {
            b.iter().copied().filter(|b| !is_white_space(*b)).collect()
        }),
        trim("makes one space of white space within", |b| {
            let words = b
                .split(|b| is_white_space(*b))
                .filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(&b' ')
        }),
        trim("makes LF of CR LF", |b| {
            String::from_utf8_lossy(&(RIGHT.trim)(b))
                .replace('\r', "")
                .into_bytes()
        }),
    ]
}

/// The cap (SPEC CAP-1 to CAP-3).
fn caps() -> Vec<Wrong> {
    vec![
        cap("has no cap", <[u8]>::to_vec),
        cap("caps at 1023", |b| capped(b, 1023)),
        cap("caps at 1025", |b| capped(b, 1025)),
        cap("caps at 1000", |b| capped(b, 1000)),
        cap("caps at 1024 characters", |b| {
            match std::str::from_utf8(b) {
                Ok(text) => text.chars().take(1024).collect::<String>().into_bytes(),
                Err(_) => capped(b, 1024),
            }
        }),
        cap("cuts characters", |b| b[..b.len().min(1024)].to_vec()),
        cap("keeps a lead byte at the cap", |b| keeping_incomplete(b, 1)),
        cap("keeps two bytes of a cut character", |b| {
            keeping_incomplete(b, 2)
        }),
        cap("keeps three bytes of a cut character", |b| {
            keeping_incomplete(b, 3)
        }),
        cap("drops whatever is ill-formed at the cap", |b| {
            if b.len() < 1024 {
                b.to_vec()
            } else {
                without_ill_formed_end(&b[..1024])
            }
        }),
        cap("drops an incomplete character below the cap", |b| {
            complete(&b[..b.len().min(1024)])
        }),
        cap("cuts an incomplete character only if there is more", |b| {
            if b.len() == 1024 {
                b.to_vec()
            } else {
                capped(b, 1024)
            }
        }),
        cap("completes the character at the cap", |b| {
            let completes = |n: &usize| b.len() >= *n && complete(&b[..*n]).len() == *n;
            b[..(1024..=1027).find(completes).unwrap_or(b.len().min(1024))].to_vec()
        }),
        cap("answers nothing to what is over the cap", |b| {
            if b.len() > 1024 {
                vec![]
            } else {
                capped(b, 1024)
            }
        }),
        cap("keeps the last 1024 bytes", |b| {
            capped(&b[b.len().saturating_sub(1024)..], 1024)
        }),
    ]
}

/// The order of the steps (SPEC PROC-1).
fn orders() -> Vec<Wrong> {
    vec![
        whole("trims before the cap", |r| {
            let clip = |b: &[u8]| (RIGHT.cap)(&(RIGHT.trim)(b));
            clip(&RIGHT.upper(&clip(r)))
        }),
        whole("trims before the cap and after", |r| {
            RIGHT.process(&(RIGHT.trim)(r))
        }),
        whole("does not clip the reply", |r| RIGHT.upper(&RIGHT.clip(r))),
        whole("does not trim the request", |r| {
            RIGHT.clip(&RIGHT.upper(&(RIGHT.cap)(r)))
        }),
        whole("does not trim the reply", |r| {
            (RIGHT.cap)(&RIGHT.upper(&RIGHT.clip(r)))
        }),
        whole("cuts characters of the reply", |r| {
            let upper = RIGHT.upper(&RIGHT.clip(r));
            (RIGHT.trim)(&upper[..upper.len().min(1024)])
        }),
        whole("cuts characters of the request", |r| {
            let request = (RIGHT.trim)(&r[..r.len().min(1024)]);
            RIGHT.clip(&RIGHT.upper(&request))
        }),
        whole("does not clip the request", |r| RIGHT.clip(&RIGHT.upper(r))),
        whole(
            "keeps the whole request where the reply would be cut",
            |r| {
                let (request, reply) = (RIGHT.clip(r), RIGHT.process(r));
                if RIGHT.upper(&request).len() > 1024 {
                    request
                } else {
                    reply
                }
            },
        ),
    ]
}

/// Ends and encodings.
fn encodings() -> Vec<Wrong> {
    vec![
        whole("ends its replies with LF", |r| {
            [RIGHT.process(r), b"\n".to_vec()].concat()
        }),
        whole("ends its replies with NUL", |r| {
            [RIGHT.process(r), b"\0".to_vec()].concat()
        }),
        whole("ends at NUL", |r| {
            RIGHT.process(r.split(|b| *b == 0).next().unwrap_or_default())
        }),
        whole("refuses what is ill-formed", |r| {
            if std::str::from_utf8(r).is_ok() {
                RIGHT.process(r)
            } else {
                vec![]
            }
        }),
        whole("maps ASCII alone where anything is ill-formed", |r| {
            let clipped = RIGHT.clip(r);
            if std::str::from_utf8(&clipped).is_ok() {
                RIGHT.process(r)
            } else {
                clipped.to_ascii_uppercase()
            }
        }),
        whole("stops at the first ill-formed byte", |r| {
            let valid = r.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            RIGHT.process(valid.as_bytes())
        }),
        whole("takes all for Latin-1 where anything is ill-formed", |r| {
            if std::str::from_utf8(r).is_ok() {
                return RIGHT.process(r);
            }
            RIGHT.process(
                &r.iter()
                    .map(|b| char::from(*b))
                    .collect::<String>()
                    .into_bytes(),
            )
        }),
        whole("reads overlong forms", |r| {
            let mut bytes = r.to_vec();
            for at in 0..bytes.len().saturating_sub(1) {
                if bytes[at] == 0xC1 && (0xA1..=0xBA).contains(&bytes[at + 1]) {
                    bytes[at + 1] -= 0x20;
                }
            }
            RIGHT.process(&bytes)
        }),
        whole("reads overlong forms of three bytes", |r| {
            let mut bytes = r.to_vec();
            for at in 0..bytes.len().saturating_sub(2) {
                if bytes[at] == 0xE0 && bytes[at + 1] < 0xA0 && bytes[at + 1] >= 0x80 {
                    bytes.splice(at..at + 3, [b'?']);
                    break;
                }
            }
            RIGHT.process(&bytes)
        }),
        whole("joins surrogates", |r| {
            let joined = find(r, &[0xED, 0xA0]).map_or(r.to_vec(), |at| {
                let mut bytes = r.to_vec();
                bytes.drain(at..(at + 6).min(bytes.len()));
                bytes
            });
            RIGHT.process(&joined)
        }),
    ]
}

/// Normalisation, and more that is done to text.
fn rewritings() -> Vec<Wrong> {
    vec![
        whole("composes", |r| replaced(&RIGHT.process(r), "E\u{301}", "É")),
        whole("decomposes", |r| {
            replaced(&RIGHT.process(r), "É", "E\u{301}")
        }),
        whole("orders combining marks", |r| {
            replaced(&RIGHT.process(r), "\u{301}\u{323}", "\u{323}\u{301}")
        }),
        whole("composes Hangul", |r| {
            replaced(&RIGHT.process(r), "\u{1100}\u{1161}", "\u{AC00}")
        }),
        whole("makes singletons canonical", |r| {
            replaced(&RIGHT.process(r), "\u{212B}", "Å")
        }),
        whole("drops the dot after i, as Lithuanian does", |r| {
            RIGHT.process(&replaced(r, "i\u{307}", "i"))
        }),
        whole("moves U+0345 behind other marks", |r| {
            RIGHT.process(&replaced(r, "\u{345}\u{301}", "\u{301}\u{345}"))
        }),
        whole("capitalizes words", |r| {
            let mut first = true;
            let text = String::from_utf8_lossy(&RIGHT.clip(r)).into_owned();
            let map = |c: char| {
                let capital = std::mem::replace(&mut first, c == ' ');
                if capital { right(c) } else { c.into() }
            };
            text.chars().map(map).collect::<String>().into_bytes()
        }),
        whole("swaps case", |r| {
            let text = RIGHT.clip(r);
            text.iter()
                .map(|b| {
                    if b.is_ascii_uppercase() {
                        b.to_ascii_lowercase()
                    } else {
                        b.to_ascii_uppercase()
                    }
                })
                .collect()
        }),
    ]
}

fn right(c: char) -> String {
    c.to_uppercase().collect()
}

fn single(upper: &str) -> bool {
    upper.chars().count() == 1
}

fn except(c: char, from: char, to: &str) -> String {
    if c == from { to.into() } else { right(c) }
}

fn keep(c: char, kept: std::ops::RangeInclusive<char>) -> String {
    if kept.contains(&c) {
        c.into()
    } else {
        right(c)
    }
}

fn right_latin_1(byte: u8) -> u8 {
    let upper = char::from(byte).to_uppercase().next().map(u32::from);
    upper
        .and_then(|upper| u8::try_from(upper).ok())
        .unwrap_or(byte)
}

const fn is_white_space(byte: u8) -> bool {
    matches!(byte, 0x09..=0x0D | 0x20)
}

const fn white(c: char) -> bool {
    matches!(c, '\x09'..='\x0D' | ' ')
}

fn trimmed(bytes: &[u8], white: fn(u8) -> bool) -> Vec<u8> {
    let mut bytes = bytes;
    while let [first, rest @ ..] = bytes
        && white(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && white(*last)
    {
        bytes = rest;
    }
    bytes.to_vec()
}

/// `bytes` trimmed of characters, where they are text; of white space otherwise.
fn trimmed_text(bytes: &[u8], white: fn(char) -> bool) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_matches(white).into(),
        Err(_) => trimmed(bytes, is_white_space),
    }
}

fn capped(bytes: &[u8], limit: usize) -> Vec<u8> {
    bytes.get(..limit).map_or(bytes.to_vec(), complete)
}

/// `bytes` less an incomplete character at the end.
fn complete(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() - incomplete(bytes)].to_vec()
}

/// The length of the incomplete character at the end of `bytes`.
fn incomplete(bytes: &[u8]) -> usize {
    let end = bytes
        .utf8_chunks()
        .last()
        .map_or(&b""[..], |chunk| chunk.invalid());
    match std::str::from_utf8(end) {
        Err(error) if error.error_len().is_none() => end.len(),
        _ => 0,
    }
}

/// Capped, but an incomplete character of `length` bytes is kept.
fn keeping_incomplete(bytes: &[u8], length: usize) -> Vec<u8> {
    match bytes.get(..1024) {
        Some(head) if incomplete(head) == length => head.to_vec(),
        _ => capped(bytes, 1024),
    }
}

fn without_ill_formed_end(bytes: &[u8]) -> Vec<u8> {
    let end = bytes
        .utf8_chunks()
        .last()
        .map_or(0, |chunk| chunk.invalid().len());
    bytes[..bytes.len() - end].to_vec()
}

fn title_case(c: char) -> String {
    match c {
        'Ǆ' | 'ǅ' | 'ǆ' => "ǅ".into(),
        'Ǳ' | 'ǲ' | 'ǳ' => "ǲ".into(),
        'Ǉ' | 'ǈ' | 'ǉ' => "ǈ".into(),
        'Ǌ' | 'ǋ' | 'ǌ' => "ǋ".into(),
        _ => right(c),
    }
}

fn without_marks(c: char) -> String {
    if ('\u{300}'..='\u{36F}').contains(&c) && c != '\u{345}' {
        String::new()
    } else {
        right(c)
    }
}

/// What Unicode 17 added: lower-case letters that have had capitals only since then.
fn before_17(c: char) -> String {
    match c {
        '\u{16EBB}'..='\u{16ED3}' | '\u{A7CF}' | '\u{A7D3}' | '\u{A7D5}' => c.into(),
        _ => right(c),
    }
}

fn before_16(c: char) -> String {
    match c {
        '\u{10D70}'..='\u{10D85}'
        | '\u{1C8A}'
        | '\u{A7CD}'
        | '\u{A7DB}'
        | '\u{19B}'
        | '\u{264}' => c.into(),
        _ => before_17(c),
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    match find(bytes, from.as_bytes()) {
        Some(at) => [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
