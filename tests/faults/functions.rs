//! Wrong functions: the transformation, with one fault each.

mod software;

use std::ops::RangeInclusive;

use upcase::conformance::reference::{self, WHITE_SPACE};

/// The cap of SPEC CAP-2, in bytes.
const LIMIT: usize = 1024;

/// The transformation in parts. A wrong function replaces one of them.
#[derive(Clone, Copy)]
pub struct Parts {
    /// SPEC CAP-1 to CAP-3.
    cap: fn(&[u8]) -> Vec<u8>,
    /// SPEC TRIM-1 and TRIM-2.
    trim: fn(&[u8]) -> Vec<u8>,
    /// The mapping of one character (SPEC UPPER-1 to UPPER-3).
    letter: fn(char) -> String,
    /// What an ill-formed sequence becomes (SPEC UPPER-4).
    invalid: fn(&[u8]) -> Vec<u8>,
}

/// The right function.
pub const RIGHT: Parts = Parts {
    cap: |bytes| capped(bytes, LIMIT),
    trim: |bytes| trimmed(bytes, is_white_space),
    letter: right,
    invalid: <[u8]>::to_vec,
};

impl Parts {
    fn clip(&self, bytes: &[u8]) -> Vec<u8> {
        (self.trim)(&(self.cap)(bytes))
    }

    fn upper(&self, bytes: &[u8]) -> Vec<u8> {
        let mut mapped = Vec::new();
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                mapped.extend((self.letter)(c).into_bytes());
            }
            if !chunk.invalid().is_empty() {
                mapped.extend((self.invalid)(chunk.invalid()));
            }
        }
        mapped
    }

    /// The reply to `request`.
    pub fn process(&self, request: &[u8]) -> Vec<u8> {
        self.clip(&self.upper(&self.clip(request)))
    }
}

type Process = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A function with a fault.
pub struct Fault {
    /// What it does.
    pub name: &'static str,
    process: Process,
}

impl Fault {
    /// The reply to `request`, which may be wrong.
    pub fn process(&self, request: &[u8]) -> Vec<u8> {
        (self.process)(request)
    }
}

/// Every wrong function that the vectors and the laws judge.
pub fn wrong() -> Vec<Fault> {
    let mut faults = Vec::new();
    faults.extend(mappings());
    faults.extend(kept_scripts());
    faults.extend(invalid_bytes());
    faults.extend(trims());
    faults.extend(trims_too_much());
    faults.extend(caps());
    faults.extend(orders());
    faults.extend(encodings());
    faults.extend(rewritings());
    faults.extend(caps_by_the_end());
    faults.extend(places());
    faults.extend(software::wrong());
    faults
}

fn whole(name: &'static str, process: fn(&[u8]) -> Vec<u8>) -> Fault {
    Fault {
        name,
        process: Box::new(process),
    }
}

fn of_parts(name: &'static str, parts: Parts) -> Fault {
    Fault {
        name,
        process: Box::new(move |request| parts.process(request)),
    }
}

fn letter(name: &'static str, letter: fn(char) -> String) -> Fault {
    of_parts(name, Parts { letter, ..RIGHT })
}

fn invalid(name: &'static str, invalid: fn(&[u8]) -> Vec<u8>) -> Fault {
    of_parts(name, Parts { invalid, ..RIGHT })
}

fn trim(name: &'static str, trim: fn(&[u8]) -> Vec<u8>) -> Fault {
    of_parts(name, Parts { trim, ..RIGHT })
}

fn cap(name: &'static str, cap: fn(&[u8]) -> Vec<u8>) -> Fault {
    of_parts(name, Parts { cap, ..RIGHT })
}

/// The mapping of single characters (SPEC UPPER-1 to UPPER-3).
fn mappings() -> Vec<Fault> {
    vec![
        letter("maps nothing", String::from),
        letter("maps to lower case", |c| c.to_lowercase().collect()),
        letter("keeps letters that map to several characters", |c| {
            keep_if(c, |upper| upper.chars().count() > 1)
        }),
        letter("keeps only the first character of a mapping", |c| {
            right(c).chars().take(1).collect()
        }),
        letter("keeps only the first two characters of a mapping", |c| {
            right(c).chars().take(2).collect()
        }),
        letter("keeps letters that shrink in UTF-8", |c| {
            keep_if(c, |upper| upper.len() < c.len_utf8())
        }),
        letter("keeps letters that grow in UTF-8", |c| {
            keep_if(c, |upper| upper.len() > c.len_utf8())
        }),
        letter("maps to title case", title_case),
        letter("maps i as Turkish does", |c| except(c, 'i', "İ")),
        letter("keeps the dotless i", |c| except(c, 'ı', "ı")),
        letter("keeps the long s", |c| except(c, 'ſ', "ſ")),
        letter("maps ß to ẞ", |c| except(c, 'ß', "ẞ")),
        letter("maps ẞ to SS", |c| except(c, 'ẞ', "SS")),
        letter("keeps ς", |c| except(c, 'ς', "ς")),
        letter("keeps µ", |c| except(c, 'µ', "µ")),
        letter("drops the dot of İ", |c| except(c, 'İ', "I")),
        letter("keeps U+0345", |c| except(c, '\u{345}', "\u{345}")),
        letter("drops U+0345", |c| except(c, '\u{345}', "")),
        letter("drops combining marks", without_marks),
        letter("drops controls", |c| {
            let dropped = c.is_control() && !c.is_ascii_whitespace();
            if dropped { String::new() } else { right(c) }
        }),
        letter("maps ª to A and º to O", |c| match c {
            'ª' => "A".into(),
            'º' => "O".into(),
            _ => right(c),
        }),
        letter("maps mathematical letters to A", |c| match c {
            '\u{1D400}'..='\u{1D7FF}' => "A".into(),
            _ => right(c),
        }),
        letter("replaces characters above U+FFFF by ?", |c| {
            if c > '\u{FFFF}' { "?".into() } else { right(c) }
        }),
    ]
}

/// Scripts and blocks that are not mapped (SPEC UPPER-1, UPPER-2).
fn kept_scripts() -> Vec<Fault> {
    vec![
        letter("maps only ASCII", |c| c.to_ascii_uppercase().into()),
        letter("maps only Latin-1", |c| keep(c, 'Ā'..=char::MAX)),
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
        letter("keeps letters above U+FFFF", |c| {
            keep(c, '\u{10000}'..=char::MAX)
        }),
        letter("maps by Unicode 16", unicode_16),
        letter("maps by Unicode 15", unicode_15),
    ]
}

/// Ill-formed bytes (SPEC UPPER-4).
fn invalid_bytes() -> Vec<Fault> {
    vec![
        invalid("replaces ill-formed bytes by U+FFFD", |_| "\u{FFFD}".into()),
        invalid("replaces ill-formed bytes by ?", |bytes| {
            vec![b'?'; bytes.len()]
        }),
        invalid("drops ill-formed bytes", |_| Vec::new()),
        invalid("maps ill-formed bytes as Latin-1", |bytes| {
            bytes.iter().map(|byte| upper_latin_1(*byte)).collect()
        }),
        invalid("keeps only the first of several ill-formed bytes", |b| {
            b[..1].to_vec()
        }),
        invalid("drops lone continuation bytes", |bytes| {
            without(bytes, |byte| byte < 0xC0)
        }),
        invalid("drops lone lead bytes", |bytes| {
            without(bytes, |byte| byte >= 0xC0)
        }),
        invalid("drops FE and FF", |bytes| {
            without(bytes, |byte| byte >= 0xFE)
        }),
    ]
}

/// White space that is not trimmed (SPEC TRIM-1).
fn trims() -> Vec<Fault> {
    vec![
        trim("does not trim", <[u8]>::to_vec),
        trim("trims only the start", |b| {
            let mut started = (RIGHT.trim)(&[b, b"|"].concat());
            started.pop();
            started
        }),
        trim("trims only the end", |b| {
            (RIGHT.trim)(&[b"|", b].concat())[1..].to_vec()
        }),
        trim("trims only spaces", |b| trimmed(b, |b| b == b' ')),
        trim("does not trim tabs", |b| trimmed_except(b, b'\t')),
        trim("does not trim LF", |b| trimmed_except(b, b'\n')),
        trim("does not trim vertical tabs", |b| b.trim_ascii().to_vec()),
        trim("does not trim form feeds", |b| trimmed_except(b, 0x0C)),
        trim("does not trim CR", |b| trimmed_except(b, b'\r')),
        trim("does not trim spaces", |b| trimmed_except(b, b' ')),
        trim("trims one byte at each end, and an LF", |b| {
            let line = b.strip_suffix(b"\n").unwrap_or(b);
            let last = line.last().is_some_and(|b| is_white_space(*b));
            let text = &line[..line.len() - usize::from(last)];
            let first = text.first().is_some_and(|b| is_white_space(*b));
            text[usize::from(first)..].to_vec()
        }),
    ]
}

/// What is trimmed, or removed, and must not be (SPEC TRIM-2).
fn trims_too_much() -> Vec<Fault> {
    vec![
        trim("trims NUL", |b| trimmed(b, |b| is_white_space(b) || b == 0)),
        trim("trims 1C to 1F", |b| {
            trimmed(b, |b| is_white_space(b) || (0x1C..0x20).contains(&b))
        }),
        trim("trims every control", |b| {
            trimmed(b, |b| b <= b' ' || b == 0x7F)
        }),
        trim("trims 08 and 0E", |b| {
            trimmed(b, |b| (0x08..=0x0E).contains(&b) || b == b' ')
        }),
        trim("trims the byte 85", |b| {
            trimmed(b, |b| is_white_space(b) || b == 0x85)
        }),
        trim("trims the byte A0", |b| {
            trimmed(b, |b| is_white_space(b) || b == 0xA0)
        }),
        trim("trims the white space of Unicode", |b| {
            trimmed_text(b, char::is_whitespace)
        }),
        trim("trims U+0085", |b| trimmed_also(b, '\u{85}')),
        trim("trims U+00A0", |b| trimmed_also(b, '\u{A0}')),
        trim("trims U+3000", |b| trimmed_also(b, '\u{3000}')),
        trim("trims U+2028", |b| trimmed_also(b, '\u{2028}')),
        trim("trims a byte order mark", |b| trimmed_also(b, '\u{FEFF}')),
        trim("trims a zero-width space", |b| trimmed_also(b, '\u{200B}')),
        trim("removes all white space", |b| without(b, is_white_space)),
        trim("replaces inner white space by one space", |b| {
            let words = b.split(|b| is_white_space(*b));
            let words = words.filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(&b' ')
        }),
        trim("removes inner CR", |b| {
            let text = (RIGHT.trim)(b);
            String::from_utf8_lossy(&text)
                .replace('\r', "")
                .into_bytes()
        }),
    ]
}

/// The cap (SPEC CAP-1 to CAP-3).
fn caps() -> Vec<Fault> {
    vec![
        cap("has no cap", <[u8]>::to_vec),
        cap("caps at 1000", |b| capped(b, 1000)),
        cap("caps at 1023", |b| capped(b, LIMIT - 1)),
        cap("caps at 1025", |b| capped(b, LIMIT + 1)),
        cap("caps at 1024 characters", |b| match str::from_utf8(b) {
            Ok(text) => text.chars().take(LIMIT).collect::<String>().into_bytes(),
            Err(_) => capped(b, LIMIT),
        }),
        cap("cuts the character at the cap", |b| head(b).to_vec()),
        cap("keeps one byte of a cut character", |b| {
            keeping_incomplete(b, 1)
        }),
        cap("keeps two bytes of a cut character", |b| {
            keeping_incomplete(b, 2)
        }),
        cap("keeps three bytes of a cut character", |b| {
            keeping_incomplete(b, 3)
        }),
        cap("drops all ill-formed bytes at the cap", |b| {
            let last = head(b).utf8_chunks().last();
            let invalid = last.map_or(0, |chunk| chunk.invalid().len());
            let dropped = if b.len() < LIMIT { 0 } else { invalid };
            head(b)[..head(b).len() - dropped].to_vec()
        }),
        cap("drops an incomplete character below the cap", |b| {
            complete(head(b))
        }),
        cap("keeps an incomplete character if nothing follows", |b| {
            if b.len() == LIMIT {
                b.to_vec()
            } else {
                capped(b, LIMIT)
            }
        }),
        cap("completes the character at the cap", |b| {
            let completes = |n: &usize| b.len() >= *n && complete(&b[..*n]).len() == *n;
            let end = (LIMIT..=LIMIT + 3).find(completes);
            b[..end.unwrap_or(head(b).len())].to_vec()
        }),
        cap("replies nothing to a request above the cap", |b| {
            if b.len() > LIMIT {
                Vec::new()
            } else {
                capped(b, LIMIT)
            }
        }),
        cap("keeps the last 1024 bytes", |b| {
            capped(&b[b.len().saturating_sub(LIMIT)..], LIMIT)
        }),
    ]
}

/// What the cap does with certain ends (SPEC CAP-2, CAP-3).
fn caps_by_the_end() -> Vec<Fault> {
    vec![
        cap("keeps DF at the cap", |b| keeping(b, b"\xDF")),
        cap("keeps EE at the cap", |b| keeping(b, b"\xEE")),
        cap("keeps EF at the cap", |b| keeping(b, b"\xEF")),
        cap("keeps EF BF at the cap", |b| keeping(b, b"\xEF\xBF")),
        cap("keeps ED 80 at the cap", |b| keeping(b, b"\xED\x80")),
        cap("keeps F1 at the cap", |b| keeping(b, b"\xF1")),
        cap("keeps F2 80 at the cap", |b| keeping(b, b"\xF2\x80")),
        cap("keeps F3 BF BF at the cap", |b| keeping(b, b"\xF3\xBF\xBF")),
        cap("drops U+FFFD at the cap", |b| {
            dropping(b, "\u{FFFD}".as_bytes())
        }),
        cap("drops ill-formed bytes before U+FFFD at the cap", |b| {
            dropping(b, b"\xFF\xEF\xBF\xBD")
        }),
        cap("drops E1 41 at the cap", |b| dropping(b, b"\xE1A")),
        cap("drops F1 80 41 at the cap", |b| dropping(b, b"\xF1\x80A")),
        cap("drops F1 41 80 at the cap", |b| dropping(b, b"\xF1A\x80")),
        cap("drops E0 80 at the cap", |b| dropping(b, b"\xE0\x80")),
        cap("drops F0 80 80 at the cap", |b| {
            dropping(b, b"\xF0\x80\x80")
        }),
        cap("drops F4 BF at the cap", |b| dropping(b, b"\xF4\xBF")),
        cap("drops E1 80 E1 80 at the cap", |b| {
            dropping(b, b"\xE1\x80\xE1\x80")
        }),
        cap("drops F7 at the cap", |b| dropping(b, b"\xF7")),
        cap("drops F8 at the cap", |b| dropping(b, b"\xF8")),
        cap("drops FC 88 80 80 at the cap", |b| {
            dropping(b, b"\xFC\x88\x80\x80")
        }),
        cap("drops FE at the cap", |b| dropping(b, b"\xFE")),
        cap("drops continuation bytes at the cap", |b| {
            dropping(b, b"\xBF\xBF\xBF\xBF")
        }),
        cap("drops an incomplete character at the start too", |b| {
            let cut = capped(b, LIMIT);
            let both = b.len() >= LIMIT && cut.len() < LIMIT && cut.starts_with(b"\xC3a");
            cut[usize::from(both)..].to_vec()
        }),
        whole("keeps EF BF at the end of a reply", |r| {
            by_caps(r, |b| keeping(b, b"\xEF\xBF"))
        }),
        whole("keeps F3 at the end of a reply", |r| {
            by_caps(r, |b| keeping(b, b"\xF3"))
        }),
        whole("drops E0 9F at the end of a reply", |r| {
            by_caps(r, |b| dropping(b, b"\xE0\x9F"))
        }),
        whole("drops U+FFFD at the end of a reply", |r| {
            by_caps(r, |b| dropping(b, "\u{FFFD}".as_bytes()))
        }),
        whole("drops a stray byte before the part of a reply", |r| {
            by_caps(r, |b| {
                let cut = capped(b, LIMIT);
                let is_cut = b.len() >= LIMIT && cut.len() < LIMIT;
                match cut.strip_suffix(b"\xFF") {
                    Some(rest) if is_cut => rest.to_vec(),
                    _ => cut,
                }
            })
        }),
    ]
}

/// Faults that show only at some places, lengths and numbers.
fn places() -> Vec<Fault> {
    vec![
        trim("trims at most 255 bytes at the end", |b| {
            let text = (RIGHT.trim)(&[b"|", b].concat());
            let kept = (b.len() + 1).saturating_sub(text.len() + 255).min(b.len());
            let end = text.len() - 1 + kept;
            (RIGHT.trim)(&[&b[..end.min(b.len())], b"|"].concat())
                .strip_suffix(b"|")
                .map_or(Vec::new(), <[u8]>::to_vec)
        }),
        trim("ends a text at 50 spaces", |b| {
            let text = (RIGHT.trim)(b);
            let end = find(&text, &[b' '; 50]).unwrap_or(text.len());
            text[..end].to_vec()
        }),
        whole("loses a text of 256 bytes", |r| {
            if RIGHT.clip(r).len() == 256 {
                return Vec::new();
            }
            RIGHT.process(r)
        }),
        whole("drops the last byte of text of 500 bytes", |r| {
            let mut text = RIGHT.clip(r);
            text.truncate(if text.len() == 500 { 499 } else { LIMIT });
            RIGHT.process(&text)
        }),
        whole("cuts a reply that grows past 512", |r| {
            let (request, mut reply) = (RIGHT.clip(r), RIGHT.process(r));
            let grows = request.len() < 200 && reply.len() > 512;
            reply.truncate(if grows { 512 } else { LIMIT });
            reply
        }),
        whole("keeps a letter at the last byte of 64", |r| {
            let before = |at: usize| r[at.saturating_sub(15)..at].is_ascii();
            keeping_at(r, |at, _| at % 64 == 63 && before(at))
        }),
        whole("maps only ASCII behind 700 bytes of it", |r| {
            let ascii = r.iter().take_while(|byte| byte.is_ascii()).count();
            keeping_at(r, |at, _| ascii >= 700 && at >= ascii)
        }),
        whole("keeps a letter of 2 bytes across blocks of 64", |r| {
            keeping_at(r, |at, c| {
                at % 64 == 63 && c.len_utf8() == 2 && follows_ascii(r, at)
            })
        }),
        whole("keeps a letter of 3 bytes across blocks of 64", |r| {
            keeping_at(r, |at, c| {
                at % 64 == 62 && c.len_utf8() == 3 && follows_ascii(r, at)
            })
        }),
        whole("keeps a letter of 4 bytes across blocks of 64", |r| {
            keeping_at(r, |at, c| {
                at % 64 == 61 && c.len_utf8() == 4 && follows_ascii(r, at)
            })
        }),
        whole("maps at most 200 letters of 4 bytes", |r| {
            let mut count = 0;
            keeping_at(r, |_, c| {
                count += usize::from(c.len_utf8() == 4);
                count > 200
            })
        }),
        whole("keeps a letter of 2 bytes behind one of 4", |r| {
            let follows_four = |at: usize| {
                let before = r.get(at.wrapping_sub(4)..at).unwrap_or_default();
                before.first() >= Some(&0xF0) && str::from_utf8(before).is_ok()
            };
            keeping_at(r, |at, c| c.len_utf8() == 2 && follows_four(at))
        }),
        whole("replaces FF at the end of a block by ?", |r| {
            let mut bytes = r.to_vec();
            for at in (63..r.len()).step_by(64) {
                if r[at] == 0xFF && follows_ascii(r, at) {
                    bytes[at] = b'?';
                }
            }
            RIGHT.process(&bytes)
        }),
        whole("drops FF at odd offsets", |r| {
            let odd = |(at, byte): &(usize, &u8)| at % 2 == 0 || **byte != 0xFF || r.len() < 40;
            let kept = r.iter().enumerate().filter(odd).map(|(_, byte)| *byte);
            RIGHT.process(&kept.collect::<Vec<_>>())
        }),
    ]
}

/// The order of the steps (SPEC PROC-1).
fn orders() -> Vec<Fault> {
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
        whole("cuts a character of the reply", |r| {
            (RIGHT.trim)(head(&RIGHT.upper(&RIGHT.clip(r))))
        }),
        whole("cuts a character of the request", |r| {
            RIGHT.clip(&RIGHT.upper(&(RIGHT.trim)(head(r))))
        }),
        whole("does not clip the request", |r| RIGHT.clip(&RIGHT.upper(r))),
        whole("does not map a request whose reply would be cut", |r| {
            let request = RIGHT.clip(r);
            if RIGHT.upper(&request).len() > LIMIT {
                request
            } else {
                RIGHT.process(r)
            }
        }),
    ]
}

/// Ends and encodings.
fn encodings() -> Vec<Fault> {
    vec![
        whole("ends its replies with LF", |r| {
            [&*RIGHT.process(r), b"\n"].concat()
        }),
        whole("ends its replies with NUL", |r| {
            [&*RIGHT.process(r), b"\0"].concat()
        }),
        whole("ends a request at NUL", |r| {
            RIGHT.process(r.split(|b| *b == 0).next().unwrap_or_default())
        }),
        whole("replies nothing to an ill-formed request", |r| {
            str::from_utf8(r).map_or(Vec::new(), |_| RIGHT.process(r))
        }),
        whole("maps only ASCII if the request is ill-formed", |r| {
            let request = RIGHT.clip(r);
            if str::from_utf8(&request).is_ok() {
                RIGHT.process(r)
            } else {
                request.to_ascii_uppercase()
            }
        }),
        whole("stops at the first ill-formed byte", |r| {
            let valid = r.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            RIGHT.process(valid.as_bytes())
        }),
        whole("decodes an ill-formed request as Latin-1", |r| {
            if str::from_utf8(r).is_ok() {
                return RIGHT.process(r);
            }
            let text: String = r.iter().copied().map(char::from).collect();
            RIGHT.process(text.as_bytes())
        }),
        whole("maps overlong letters of two bytes", |r| {
            let mut bytes = r.to_vec();
            for at in 1..bytes.len() {
                if bytes[at - 1] == 0xC1 && (0xA1..=0xBA).contains(&bytes[at]) {
                    bytes[at] -= 0x20;
                }
            }
            RIGHT.process(&bytes)
        }),
        whole("replaces an overlong form of three bytes by ?", |r| {
            let overlong = |form: &[u8]| form[0] == 0xE0 && (0x80..0xA0).contains(&form[1]);
            let mut bytes = r.to_vec();
            if let Some(at) = bytes.windows(3).position(overlong) {
                bytes.splice(at..at + 3, [b'?']);
            }
            RIGHT.process(&bytes)
        }),
        whole("drops a surrogate and three more bytes", |r| {
            let mut bytes = r.to_vec();
            if let Some(at) = find(r, &[0xED, 0xA0]) {
                bytes.drain(at..(at + 6).min(r.len()));
            }
            RIGHT.process(&bytes)
        }),
    ]
}

/// Normalisation, and other changes of the text (SPEC UPPER-3, UPPER-5).
fn rewritings() -> Vec<Fault> {
    vec![
        whole("composes É", |r| {
            replaced(&RIGHT.process(r), "E\u{301}", "É")
        }),
        whole("decomposes É", |r| {
            replaced(&RIGHT.process(r), "É", "E\u{301}")
        }),
        whole("reorders combining marks", |r| {
            replaced(&RIGHT.process(r), "\u{301}\u{323}", "\u{323}\u{301}")
        }),
        whole("composes Hangul", |r| {
            replaced(&RIGHT.process(r), "\u{1100}\u{1161}", "\u{AC00}")
        }),
        whole("replaces the ångström sign by Å", |r| {
            replaced(&RIGHT.process(r), "\u{212B}", "Å")
        }),
        whole("drops the dot after i, as Lithuanian does", |r| {
            RIGHT.process(&replaced(r, "i\u{307}", "i"))
        }),
        whole("moves U+0345 after other marks", |r| {
            RIGHT.process(&replaced(r, "\u{345}\u{301}", "\u{301}\u{345}"))
        }),
        whole("capitalizes words", |r| {
            let mut first = true;
            let capitalized = |c: char| {
                let capital = std::mem::replace(&mut first, c == ' ');
                if capital { right(c) } else { c.into() }
            };
            let request = RIGHT.clip(r);
            let text = String::from_utf8_lossy(&request);
            text.chars()
                .map(capitalized)
                .collect::<String>()
                .into_bytes()
        }),
        whole("swaps the case of ASCII", |r| {
            let swapped = |byte: &u8| match byte {
                b'A'..=b'Z' => byte.to_ascii_lowercase(),
                _ => byte.to_ascii_uppercase(),
            };
            RIGHT.clip(r).iter().map(swapped).collect()
        }),
    ]
}

/// A wrong function for each law of the transformation, by the name of the law. No other law catches
/// it, except the last, which implies all others.
pub fn wrong_by_law() -> Vec<(&'static str, Fault)> {
    vec![
        (
            "bounded",
            whole("adds a byte to a full reply that is not ASCII", |r| {
                let mut reply = RIGHT.process(r);
                if reply.len() == LIMIT && !reply.is_ascii() {
                    reply.push(b'X');
                }
                reply
            }),
        ),
        (
            "trimmed",
            whole("pads a reply if the cap uncovers white space", |r| {
                let mut reply = RIGHT.process(r);
                let last = r.get(LIMIT - 1).copied();
                if last.is_some_and(is_white_space) && !reply.is_ascii() {
                    reply.resize(LIMIT, b' ');
                }
                reply
            }),
        ),
        (
            "upper-cased",
            whole("keeps U+0345 in well-formed text", |r| {
                let keeps = |c| except(c, '\u{345}', "\u{345}");
                let parts = Parts {
                    letter: keeps,
                    ..RIGHT
                };
                str::from_utf8(r).map_or_else(|_| RIGHT.process(r), |_| parts.process(r))
            }),
        ),
        ("ascii", letter("maps ~ to !", |c| except(c, '~', "!"))),
        (
            "well-formed",
            whole("appends FF if the cap cuts well-formed text", |r| {
                let mut reply = RIGHT.process(r);
                let cuts = str::from_utf8(r).is_ok() && str::from_utf8(head(r)).is_err();
                if cuts && reply.len() < LIMIT {
                    reply.push(0xFF);
                }
                reply
            }),
        ),
        (
            "invalid-bytes-kept",
            whole("drops the ill-formed bytes of a reply", |r| {
                let reply = RIGHT.process(r);
                let valid = reply.utf8_chunks().map(|chunk| chunk.valid());
                RIGHT.process(valid.collect::<String>().as_bytes())
            }),
        ),
        (
            "prefix",
            whole("refuses long well-formed text that is not ASCII", |r| {
                let refuses = r.len() > LIMIT + 16 && !r.is_ascii() && str::from_utf8(r).is_ok();
                if refuses {
                    b"TOO LONG".into()
                } else {
                    RIGHT.process(r)
                }
            }),
        ),
        (
            "padding",
            whole(
                "drops a letter after a vertical tab",
                without_letter_after_tab,
            ),
        ),
        (
            "concatenation",
            whole(
                "maps a double ß as a single one",
                |r| match str::from_utf8(r) {
                    Ok(text) if text.len() < LIMIT => {
                        RIGHT.process(text.replace("ßß", "ß").as_bytes())
                    }
                    _ => RIGHT.process(r),
                },
            ),
        ),
        (
            "idempotent",
            letter("maps ÿ to Ÿ, and Ÿ to Y", |c| except(c, 'Ÿ', "Y")),
        ),
        (
            "reference",
            letter("maps ÿ and Ÿ to Y", |c| match c {
                'ÿ' | 'Ÿ' => "Y".into(),
                _ => right(c),
            }),
        ),
    ]
}

/// The right reply, but without the first letter of the request if that follows a vertical tab and is
/// not ASCII.
fn without_letter_after_tab(request: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(request).ok();
    let text = text.filter(|text| text.len() < LIMIT && text.starts_with('\x0B'));
    let text = text.map_or("", |text| text.trim_start_matches(WHITE_SPACE));
    match text.chars().next() {
        Some(first) if !first.is_ascii() => RIGHT.process(&text.as_bytes()[first.len_utf8()..]),
        _ => RIGHT.process(request),
    }
}

/// The right mapping. It is the reference's, so it does not depend on the toolchain.
fn right(c: char) -> String {
    reference::upper_of(c)
}

fn except(c: char, from: char, to: &str) -> String {
    if c == from { to.into() } else { right(c) }
}

fn keep(c: char, kept: RangeInclusive<char>) -> String {
    if kept.contains(&c) {
        c.into()
    } else {
        right(c)
    }
}

/// The mapping of `c`, or `c` itself if `kept` says so of the mapping.
fn keep_if(c: char, kept: impl Fn(&str) -> bool) -> String {
    let upper = right(c);
    if kept(&upper) { c.into() } else { upper }
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

/// Without the mappings that are new in Unicode 17.
fn unicode_16(c: char) -> String {
    match c {
        '\u{16EBB}'..='\u{16ED3}' | '\u{A7CF}' | '\u{A7D3}' | '\u{A7D5}' => c.into(),
        _ => right(c),
    }
}

/// Without those that are new in Unicode 16 too.
fn unicode_15(c: char) -> String {
    match c {
        '\u{10D70}'..='\u{10D85}'
        | '\u{19B}'
        | '\u{264}'
        | '\u{1C8A}'
        | '\u{A7CD}'
        | '\u{A7DB}' => c.into(),
        _ => unicode_16(c),
    }
}

/// The upper case of a character of Latin-1, if that is in Latin-1 too.
fn upper_latin_1(byte: u8) -> u8 {
    let upper = right(char::from(byte)).chars().next().map(u32::from);
    let upper = upper.and_then(|upper| u8::try_from(upper).ok());
    upper.unwrap_or(byte)
}

fn is_white_space(byte: u8) -> bool {
    WHITE_SPACE.contains(&char::from(byte))
}

fn without(bytes: &[u8], dropped: fn(u8) -> bool) -> Vec<u8> {
    bytes
        .iter()
        .copied()
        .filter(|byte| !dropped(*byte))
        .collect()
}

fn trimmed(mut bytes: &[u8], is_trimmed: impl Fn(u8) -> bool) -> Vec<u8> {
    while let [first, rest @ ..] = bytes
        && is_trimmed(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_trimmed(*last)
    {
        bytes = rest;
    }
    bytes.to_vec()
}

fn trimmed_except(bytes: &[u8], kept: u8) -> Vec<u8> {
    trimmed(bytes, |byte| is_white_space(byte) && byte != kept)
}

/// Well-formed text trimmed of characters. Other bytes are trimmed of white space.
fn trimmed_text(bytes: &[u8], is_trimmed: impl Fn(char) -> bool) -> Vec<u8> {
    match str::from_utf8(bytes) {
        Ok(text) => text.trim_matches(is_trimmed).into(),
        Err(_) => trimmed(bytes, is_white_space),
    }
}

fn trimmed_also(bytes: &[u8], also: char) -> Vec<u8> {
    trimmed_text(bytes, |c| WHITE_SPACE.contains(&c) || c == also)
}

/// The first 1024 bytes, or all if there are fewer.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(LIMIT)]
}

fn capped(bytes: &[u8], limit: usize) -> Vec<u8> {
    bytes.get(..limit).map_or(bytes.to_vec(), complete)
}

/// `bytes` without an incomplete character at the end.
fn complete(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() - incomplete(bytes)].to_vec()
}

/// The length of the incomplete character at the end of `bytes`.
fn incomplete(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let end = last.map_or(&b""[..], |chunk| chunk.invalid());
    match str::from_utf8(end) {
        Err(error) if error.error_len().is_none() => end.len(),
        _ => 0,
    }
}

/// Capped, but an incomplete character of `length` bytes is kept.
fn keeping_incomplete(bytes: &[u8], length: usize) -> Vec<u8> {
    match bytes.get(..LIMIT) {
        Some(head) if incomplete(head) == length => head.to_vec(),
        _ => capped(bytes, LIMIT),
    }
}

/// Capped, but `end` is kept at the cap.
fn keeping(bytes: &[u8], end: &[u8]) -> Vec<u8> {
    match bytes.get(..LIMIT) {
        Some(head) if head.ends_with(end) => head.to_vec(),
        _ => capped(bytes, LIMIT),
    }
}

/// Capped, and `end` is dropped at the cap.
fn dropping(bytes: &[u8], end: &[u8]) -> Vec<u8> {
    let head = bytes.get(..LIMIT).and_then(|head| head.strip_suffix(end));
    head.map_or_else(|| capped(bytes, LIMIT), <[u8]>::to_vec)
}

/// The reply to `request`, with another cap for a reply that is longer than its request.
fn by_caps(request: &[u8], cap: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let upper = RIGHT.upper(&RIGHT.clip(request));
    if request.len() > LIMIT || RIGHT.clip(request).len() == LIMIT {
        return RIGHT.clip(&upper);
    }
    (RIGHT.trim)(&cap(&upper))
}

/// The reply to `request`, in which characters that are not ASCII are kept if `keeps` says so of them and
/// their offset in the request.
fn keeping_at(request: &[u8], mut keeps: impl FnMut(usize, char) -> bool) -> Vec<u8> {
    let (mut mapped, mut at) = (Vec::new(), 0);
    for chunk in (RIGHT.cap)(request).utf8_chunks() {
        for c in chunk.valid().chars() {
            let is_kept = keeps(at, c) && !c.is_ascii();
            mapped.extend(if is_kept { c.into() } else { right(c) }.into_bytes());
            at += c.len_utf8();
        }
        mapped.extend(chunk.invalid());
        at += chunk.invalid().len();
    }
    RIGHT.clip(&(RIGHT.trim)(&mapped))
}

/// Whether the eight bytes before `at` are ASCII.
fn follows_ascii(bytes: &[u8], at: usize) -> bool {
    bytes[at.saturating_sub(8)..at].is_ascii()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// `bytes` with the first `from` replaced by `to`.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    match find(bytes, from.as_bytes()) {
        Some(at) => [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
