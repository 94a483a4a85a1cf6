//! Every input of some small sets is tried.
//!
//! Each test counts its inputs, and fails if the number changes.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_locale_core::LanguageIdentifier;
use icu_properties::props::{GeneralCategory, NoncharacterCodePoint};
use icu_properties::{CodePointMapData, CodePointSetData};
use upcase::conformance::exchange_laws::{FRAMING, SESSION};
use upcase::conformance::fuzz::UPCASE;
use upcase::conformance::laws::LITERAL;
use upcase::conformance::script::{ACTIONS, Action, Script};
use upcase::conformance::{laws, reference};
use upcase::{LIMIT, escape, process};

/// Calls `judge` with each number in `range`, on every processor. It returns how many inputs it has
/// judged; all together must be `expected`.
#[track_caller]
fn judge_each(range: Range<u32>, expected: u64, judge: impl Fn(u32) -> u64 + Sync) {
    const BATCH: u32 = 256;
    let next = AtomicU32::new(range.start);
    let work = || {
        let mut count = 0;
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            if start >= range.end {
                return count;
            }
            let batch = start..range.end.min(start + BATCH);
            count += batch.map(&judge).sum::<u64>();
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let judged: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let counts = workers.into_iter().map(thread::ScopedJoinHandle::join);
        counts.map(|count| count.expect("no violation")).sum()
    });
    println!("{judged} inputs judged");
    assert_eq!(judged, expected, "the number of inputs has changed");
}

#[track_caller]
fn obeys_every_law(input: &[u8]) {
    if let Err(violation) = laws::check(&process, input) {
        panic!("{violation}");
    }
}

#[track_caller]
fn agrees_with_the_reference(input: &[u8]) {
    let (reply, expected) = (process(input), reference::process(input));
    assert!(reply == expected, "b\"{}\"", input.escape_ascii());
}

#[test]
fn all_inputs_of_up_to_two_bytes_obey_the_laws() {
    judge_each(0..1 << 16, 1 + 256 + 65_536, |number| {
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        obeys_every_law(&[high, low]);
        if high == 0 {
            obeys_every_law(&[low]);
        }
        if number == 0 {
            obeys_every_law(&[]);
        }
        1 + u64::from(high == 0) + u64::from(number == 0)
    });
}

/// The first and the last byte of every range in Table 3-7, and the bytes beside each kind of white
/// space and of letter.
const REPRESENTATIVES: &[u8] = b"\
    \x00\x08\x09\x0A\x0B\x0C\x0D\x0E\x1B\x1C\x1F\x20\x21\x30@AZ[`az{\x7F\
    \x80\x85\x8F\x90\x9F\xA0\xA1\xB0\xBF\xC0\xC1\xC2\xC3\xC5\xCD\xCE\xDF\
    \xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xF7\xF8\xFE\xFF";

#[test]
fn three_bytes_of_all_kinds_obey_the_laws() {
    let kinds = u32::try_from(REPRESENTATIVES.len()).unwrap();
    judge_each(0..kinds.pow(3), 55_u64.pow(3), |number| {
        let kind = |n: u32| REPRESENTATIVES[n as usize % REPRESENTATIVES.len()];
        obeys_every_law(&[
            kind(number / kinds / kinds),
            kind(number / kinds),
            kind(number),
        ]);
        1
    });
}

/// `cargo test --release --test exhaustive -- --ignored` runs it.
#[test]
#[ignore = "takes many minutes"]
fn all_inputs_of_three_bytes_obey_the_laws() {
    judge_each(0..1 << 24, 1 << 24, |number| {
        obeys_every_law(&number.to_be_bytes()[1..]);
        1
    });
}

/// The mapping by ICU4X, whose data in this version are those of Unicode 17.0.0.
fn by_icu(character: char) -> String {
    const ICU: CaseMapperBorrowed<'static> = CaseMapper::new();
    let text = character.to_string();
    let mapped = ICU.uppercase_to_string(&text, &LanguageIdentifier::UNKNOWN);
    mapped.into_owned()
}

/// The Unicode Character Database (the reference), ICU, and the standard library if it has the same
/// version.
#[test]
fn independent_sources_have_the_same_mappings() {
    judge_each(0..0x11_0000, 1_112_064, |number| {
        let Some(character) = char::from_u32(number) else {
            return 0; // a surrogate
        };
        let mapping = reference::upper_of(character);
        assert_eq!(mapping, by_icu(character), "U+{number:04X}");
        if char::UNICODE_VERSION == (17, 0, 0) {
            let mapped: String = character.to_uppercase().collect();
            assert_eq!(mapping, mapped, "U+{number:04X}");
        }
        1
    });
}

#[test]
fn all_characters_are_mapped_as_the_reference_has_it() {
    // Alone, between letters, padded, and within a text that is mapped in blocks.
    const TEXT: &str = "à noite todos os gatos são pardos; ÷ ";
    const UPPER: &str = "À NOITE TODOS OS GATOS SÃO PARDOS; ÷ ";
    judge_each(0..0x11_0000, 4 * 1_112_064, |number| {
        let Some(character) = char::from_u32(number) else {
            return 0; // a surrogate
        };
        let mapping = reference::upper_of(character);
        for (before, after, before_upper, after_upper) in [
            ("", "", "", ""),
            ("a", "z", "A", "Z"),
            (" \t", "\r\n", "", ""),
            (TEXT, TEXT, UPPER, UPPER),
        ] {
            let request = format!("{before}{character}{after}");
            let reply = format!("{before_upper}{mapping}{after_upper}");
            let reply = reply.trim_matches(reference::WHITE_SPACE);
            assert!(
                process(request.as_bytes()) == reply.as_bytes(),
                "U+{number:04X}"
            );
            if request.len() < TEXT.len() {
                agrees_with_the_reference(request.as_bytes());
            }
        }
        4
    });
}

#[test]
fn all_mapped_characters_are_cut_correctly_at_every_offset() {
    // Across the cap of the request and, where the letter grows, of the reply: from the last offset
    // before the cap to the first after it.
    const OFFSETS: usize = 8;
    let mappings: Vec<(char, String)> = reference::mappings().collect();
    let count = u32::try_from(mappings.len()).unwrap();
    judge_each(0..count, 1_580 * OFFSETS as u64 * 2, |number| {
        let (character, _) = &mappings[number as usize];
        for before in (0..OFFSETS).map(|offset| LIMIT + 1 - offset) {
            for after in ["", " z"] {
                let text = ["x".repeat(before), character.to_string(), after.into()].concat();
                agrees_with_the_reference(text.as_bytes());
            }
        }
        OFFSETS as u64 * 2
    });
}

/// Whether a byte literal escapes a character, by ICU4X.
fn is_in_hex_by_icu(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    match CodePointMapData::<GeneralCategory>::new().get(character) {
        Control | LineSeparator | ParagraphSeparator => true,
        Format => !matches!(character, '\u{200C}' | '\u{200D}'),
        _ => CodePointSetData::new::<NoncharacterCodePoint>().contains(character),
    }
}

/// The reference, which has the categories from the Unicode Character Database, and ICU.
#[test]
fn independent_sources_escape_the_same_characters() {
    let escaped = AtomicU32::new(0);
    judge_each(0..0x11_0000, 1_112_064, |number| {
        let Some(character) = char::from_u32(number) else {
            return 0; // a surrogate
        };
        let is_in_hex = reference::is_in_hex(character);
        assert_eq!(is_in_hex, is_in_hex_by_icu(character), "U+{number:04X}");
        escaped.fetch_add(u32::from(is_in_hex), Ordering::Relaxed);
        1
    });
    assert_eq!(escaped.into_inner(), 65 + 2 + (170 - 2) + 66);
}

/// SPEC: LOG-3, LOG-5
#[test]
fn all_characters_are_shown_as_the_reference_shows_them() {
    let literal = |bytes: &[u8]| escape::literal(bytes).into_bytes();
    judge_each(0..0x11_0000, 2 * 1_112_064, |number| {
        let Some(character) = char::from_u32(number) else {
            return 0; // a surrogate
        };
        for text in [character.to_string(), format!("a{character}z")] {
            if let Err(violation) = LITERAL.check(&literal, text.as_bytes()) {
                panic!("U+{number:04X}: {violation}");
            }
            let is_text = escape::text(text.as_bytes()) == text;
            assert_eq!(is_text, !reference::is_in_hex(character), "U+{number:04X}");
        }
        2
    });
}

/// A byte of each class that Table 3-7 distinguishes at any position.
const CLASSES: &[u8] =
    b"x\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xE1\xED\xEF\xF0\xF1\xF3\xF4\xF5\xFF";

#[test]
fn four_bytes_of_all_classes_are_cut_correctly() {
    let classes = u32::try_from(CLASSES.len()).unwrap();
    // They are the last bytes before the cap, and one more byte follows.
    for length in 1..=4 {
        judge_each(0..classes.pow(length), 21_u64.pow(length), |number| {
            let mut request = [b'x'; LIMIT + 1];
            let mut rest = number;
            for byte in request[..LIMIT].iter_mut().rev().take(length as usize) {
                *byte = CLASSES[(rest % classes) as usize];
                rest /= classes;
            }
            agrees_with_the_reference(&request);
            1
        });
    }
}

#[test]
fn any_byte_at_any_position_of_a_full_request_is_right() {
    judge_each(0..1 << 18, 1 << 18, |number| {
        judge_byte("xy", number);
        1
    });
    // Among characters of two bytes: the positions in the first blocks that are mapped at once.
    judge_each(0..1 << 15, 1 << 15, |number| {
        judge_byte("é", number);
        1
    });
}

/// Judges a full request of `filling` with one other byte: `number` is its position and its value.
fn judge_byte(filling: &str, number: u32) {
    let mut request = filling.repeat(LIMIT / 2).into_bytes();
    let [.., byte] = number.to_be_bytes();
    request[number as usize >> 8] = byte;
    agrees_with_the_reference(&request);
}

#[test]
fn all_segmentations_of_a_short_stream_are_framed_correctly() {
    const LONGEST: usize = 12;
    // With an LF, with cuts within a character, with surplus, and without an end.
    let streams: [(&[u8], Action); 6] = [
        (b"hello world\n", Action::TimeOut),
        ("ol\u{e1} \u{390}\u{10428}\n".as_bytes(), Action::TimeOut),
        (b"one\ntwo\nthre", Action::TimeOut),
        (b"no line feed", Action::End),
        (b"no line feed", Action::TimeOut),
        (b"\xff\xc3 \xe1\x80\n \xf0\x90\n\x00!", Action::Error),
    ];
    let mut judged = 0_u64;
    for (stream, ending) in streams {
        assert!(stream.len() >= LONGEST, "all of it is to be cut");
        for length in 1..=LONGEST {
            let wire = &stream[..length];
            for cuts in 0..1_u32 << (length - 1) {
                judge_segmentation(wire, cuts, ending);
                judged += 1;
            }
        }
    }
    println!("{judged} segmentations judged");
    let expected = 6 * ((1 << LONGEST) - 1);
    assert_eq!(judged, expected, "the number of inputs has changed");
}

/// Judges the framing of `wire`, which is cut after byte `n` if bit `n` of `cuts` is set.
fn judge_segmentation(wire: &[u8], cuts: u32, ending: Action) {
    let mut reads = [ending; ACTIONS];
    let (mut start, mut actions) = (0, reads.iter_mut());
    for end in 1..=wire.len() {
        if end == wire.len() || cuts >> (end - 1) & 1 == 1 {
            *actions.next().expect("as many actions as bytes") = Action::Segment(end - start);
            start = end;
        }
    }
    let script = Script {
        reads,
        writes: [ending; ACTIONS],
        wire,
    };
    if let Err(violation) = FRAMING.check(&UPCASE, &script) {
        panic!("{violation}");
    }
}

/// What may happen at a read, with the bytes that the peer sends.
const READS: [(Action, &[u8]); 7] = [
    (Action::Segment(1), b"a"),
    (Action::Segment(1), b"\n"),
    (Action::Segment(LIMIT + 1), &[b'c'; LIMIT + 1]),
    (Action::NotReady, b""),
    (Action::End, b""),
    (Action::TimeOut, b""),
    (Action::Error, b""),
];

/// What may happen at a write.
const WRITES: [(Action, &[u8]); 4] = [
    (Action::Segment(1), b""),
    (Action::NotReady, b""),
    (Action::End, b""),
    (Action::Error, b""),
];

/// Calls `visit` with every sequence of up to `most` of these actions in which only the last may be
/// an ending, and with the bytes that are sent in it.
fn each_sequence(
    most: usize,
    actions: &[(Action, &[u8])],
    visit: &mut impl FnMut(&[Action], &[u8]),
) {
    type Sequence = (Vec<Action>, Vec<u8>);
    fn extend(
        (sequence, wire): &mut Sequence,
        most: usize,
        actions: &[(Action, &[u8])],
        visit: &mut impl FnMut(&[Action], &[u8]),
    ) {
        visit(sequence, wire);
        let is_ending = |action: &Action| !matches!(action, Action::Segment(_) | Action::NotReady);
        if sequence.len() < most && !sequence.last().is_some_and(is_ending) {
            for (action, bytes) in actions {
                let mut longer = (sequence.clone(), [wire, *bytes].concat());
                longer.0.push(*action);
                extend(&mut longer, most, actions, visit);
            }
        }
    }
    extend(&mut Sequence::default(), most, actions, visit);
}

#[test]
fn all_scripts_of_eight_actions_are_served_correctly() {
    const MOST: usize = 8;
    let mut sequences = Vec::new();
    each_sequence(MOST, &READS, &mut |reads, wire| {
        sequences.push((reads.to_vec(), wire.to_vec()));
    });
    let count = u32::try_from(sequences.len()).unwrap();
    judge_each(0..count, 456_196, |number| {
        let (reads, wire) = &sequences[number as usize];
        let mut script = Script {
            reads: [Action::End; ACTIONS], // for a sequence without an ending
            writes: [Action::End; ACTIONS],
            wire,
        };
        script.reads[..reads.len()].copy_from_slice(reads);
        let mut judged = 0;
        each_sequence(MOST - reads.len(), &WRITES, &mut |writes, _| {
            script.writes = [Action::Segment(usize::MAX); ACTIONS]; // takes all the rest
            script.writes[..writes.len()].copy_from_slice(writes);
            if let Err(violation) = SESSION.check(&UPCASE, &script) {
                panic!("{reads:?} {writes:?}: {violation}");
            }
            judged += 1;
        });
        judged
    });
}
