//! What can be tried out whole is tried out whole.
//!
//! Each test reports how many inputs it has judged, and fails if they have become fewer.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_locale_core::LanguageIdentifier;
use upcase::conformance::exchange_laws::{self, Conversation, TURNS, Turn};
use upcase::conformance::{fuzz, laws, reference};
use upcase::{LIMIT, process};

/// Judges `inputs` of each number in `range`, on every processor, and counts them.
#[track_caller]
fn judge_each(range: Range<u32>, wanted: u64, judge: impl Fn(u32) -> u64 + Sync) {
    const BATCH: u32 = 256;
    let next = AtomicU32::new(range.start);
    let work = || {
        let mut count = 0;
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            if start >= range.end {
                return count;
            }
            count += (start..range.end.min(start + BATCH))
                .map(&judge)
                .sum::<u64>();
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let judged: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("an input that fails"))
            .sum()
    });
    println!("{judged} inputs judged");
    assert_eq!(judged, wanted, "the number of inputs has changed");
}

#[track_caller]
fn obeys_every_law(input: &[u8]) {
    if let Err(violation) = laws::judge(&process, input) {
        panic!("{violation}");
    }
}

#[track_caller]
fn is_the_models(input: &[u8]) {
    let (reply, wanted) = (process(input), reference::process(input));
    assert!(reply == wanted, "b\"{}\"", input.escape_ascii());
}

#[test]
fn every_input_of_up_to_two_bytes_obeys_every_law() {
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

/// The first and the last byte of every range that Table 3-7 tells apart, and a byte beside each
/// kind of white space and of letter.
const REPRESENTATIVES: &[u8] = b"\
    \x00\x08\x09\x0A\x0B\x0C\x0D\x0E\x1B\x1C\x1F\x20\x21\x30@AZ[`az{\x7F\
    \x80\x85\x8F\x90\x9F\xA0\xA1\xB0\xBF\xC0\xC1\xC2\xC3\xC5\xCD\xCE\xDF\
    \xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xF7\xF8\xFE\xFF";

#[test]
fn every_three_bytes_of_all_kinds_obey_every_law() {
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
#[ignore = "takes a quarter of an hour"]
fn every_input_of_three_bytes_obeys_every_law() {
    judge_each(0..1 << 24, 1 << 24, |number| {
        obeys_every_law(&number.to_be_bytes()[1..]);
        1
    });
}

/// Full uppercase mappings that come neither from the toolchain's tables nor from the model:
/// `icu_casemap` 2.1.1, ICU4X's, whose data are those of Unicode 17.0.0 and the root locale.
fn by_icu(character: char) -> String {
    const ICU: CaseMapperBorrowed<'static> = CaseMapper::new();
    let text = character.to_string();
    ICU.uppercase_to_string(&text, &LanguageIdentifier::UNKNOWN)
        .into_owned()
}

#[test]
fn every_character_is_mapped_as_three_sources_have_it() {
    // Alone, between letters, padded, and within a text that is mapped in blocks.
    const TEXT: &str = "à noite todos os gatos são pardos; ÷ ";
    const UPPER: &str = "À NOITE TODOS OS GATOS SÃO PARDOS; ÷ ";
    judge_each(0..0x11_0000, 4 * 1_112_064, |number| {
        let Some(character) = char::from_u32(number) else {
            return 0; // a surrogate
        };
        let wanted = by_icu(character);
        // The toolchain's own tables, where they are of the version that is pinned.
        if char::UNICODE_VERSION == (17, 0, 0) {
            assert_eq!(
                character.to_uppercase().to_string(),
                wanted,
                "U+{number:04X}"
            );
        }
        for (before, after, before_upper, after_upper) in [
            ("", "", "", ""),
            ("a", "z", "A", "Z"),
            (" \t", "\r\n", "", ""),
            (TEXT, TEXT, UPPER, UPPER),
        ] {
            let request = format!("{before}{character}{after}");
            let reply = format!("{before_upper}{wanted}{after_upper}");
            let reply = reply.trim_matches(laws::WHITE_SPACE);
            assert!(
                process(request.as_bytes()) == reply.as_bytes(),
                "U+{number:04X}"
            );
            if request.len() < TEXT.len() {
                is_the_models(request.as_bytes());
            }
        }
        4
    });
}

#[test]
fn every_letter_that_changes_is_cut_rightly_at_every_offset() {
    // Astride the cap of the request, and, where it grows, of the reply: from ending right before
    // the cap to beginning right after it.
    const OFFSETS: usize = 8;
    judge_each(0..0x11_0000, 1_580 * OFFSETS as u64 * 2, |number| {
        let Some(character) = char::from_u32(number).filter(|c| !c.to_uppercase().eq([*c])) else {
            return 0;
        };
        for before in (0..OFFSETS).map(|offset| LIMIT + 1 - offset) {
            for after in ["", " z"] {
                let text = ["x".repeat(before), character.to_string(), after.into()].concat();
                is_the_models(text.as_bytes());
            }
        }
        OFFSETS as u64 * 2
    });
}

/// A byte of each class that Table 3-7 tells apart, in any place.
const CLASSES: &[u8] =
    b"x\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xE1\xED\xEF\xF0\xF1\xF3\xF4\xF5\xFF";

#[test]
fn every_four_bytes_of_all_classes_are_cut_rightly_at_every_offset() {
    let classes = u32::try_from(CLASSES.len()).unwrap();
    // As the last of those that the cap leaves, with more behind them.
    for length in 1..=4 {
        judge_each(0..classes.pow(length), 21_u64.pow(length), |number| {
            let mut request = [b'x'; LIMIT + 1];
            let mut rest = number;
            for byte in request[..LIMIT].iter_mut().rev().take(length as usize) {
                *byte = CLASSES[(rest % classes) as usize];
                rest /= classes;
            }
            is_the_models(&request);
            1
        });
    }
}

#[test]
fn every_byte_at_every_position_of_a_full_request_gets_the_models_reply() {
    judge_each(0..1 << 18, 1 << 18, |number| {
        judge_byte("xy", number);
        1
    });
    // Among characters of two bytes, as far as the first blocks go that are mapped at once.
    judge_each(0..1 << 15, 1 << 15, |number| {
        judge_byte("é", number);
        1
    });
}

/// Judges a full request of `filling` with another byte: `number` is its position and itself.
fn judge_byte(filling: &str, number: u32) {
    let mut request = filling.repeat(LIMIT / 2).into_bytes();
    let [.., byte] = number.to_be_bytes();
    request[number as usize >> 8] = byte;
    is_the_models(&request);
}

#[test]
fn every_segmentation_of_a_short_request_makes_the_same_request() {
    const LONGEST: usize = 12;
    // With an LF, with a character for the cuts to fall into, with surplus, and without an end.
    let streams: [(&[u8], Turn); 6] = [
        (b"hello world\n", Turn::TimeOut),
        ("ol\u{e1} \u{390}\u{10428}\n".as_bytes(), Turn::TimeOut),
        (b"one\ntwo\nthre", Turn::TimeOut),
        (b"no line feed", Turn::End),
        (b"no line feed", Turn::TimeOut),
        (b"\xff\xc3 \xe1\x80\n \xf0\x90\n\x00!", Turn::Failure),
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
    assert_eq!(
        judged,
        6 * ((1 << LONGEST) - 1),
        "the number of inputs has changed"
    );
}

/// Judges the framing of `wire`, cut after its byte `n` where bit `n` of `cuts` is set.
fn judge_segmentation(wire: &[u8], cuts: u32, ending: Turn) {
    let mut reads = [ending; TURNS];
    let (mut start, mut turns) = (0, reads.iter_mut());
    for end in 1..=wire.len() {
        if end == wire.len() || cuts >> (end - 1) & 1 == 1 {
            *turns.next().expect("as many turns as bytes") = Turn::Segment(end - start);
            start = end;
        }
    }
    let conversation = Conversation {
        reads,
        writes: [ending; TURNS],
        wire,
    };
    if let Err(violation) = exchange_laws::framing(&fuzz::frame, &conversation) {
        panic!("{violation}");
    }
}

/// What may happen next when the peer is read from, with the bytes that it sends.
const READS: [(Turn, &[u8]); 7] = [
    (Turn::Segment(1), b"a"),
    (Turn::Segment(1), b"\n"),
    (Turn::Segment(LIMIT + 1), &[b'c'; LIMIT + 1]),
    (Turn::NothingYet, b""),
    (Turn::End, b""),
    (Turn::TimeOut, b""),
    (Turn::Failure, b""),
];

/// What may happen next when it is written to: it takes a byte, nothing yet, or no more; it fails.
const WRITES: [(Turn, &[u8]); 4] = [
    (Turn::Segment(1), b""),
    (Turn::NothingYet, b""),
    (Turn::End, b""),
    (Turn::Failure, b""),
];

/// Calls `visit` with every course of up to `most` of these turns, of which none but the last is
/// an ending, and with the bytes that are sent in it.
fn each_course(most: usize, turns: &[(Turn, &[u8])], visit: &mut impl FnMut(&[Turn], &[u8])) {
    type Course = (Vec<Turn>, Vec<u8>);
    fn extend(
        (course, wire): &mut Course,
        most: usize,
        turns: &[(Turn, &[u8])],
        visit: &mut impl FnMut(&[Turn], &[u8]),
    ) {
        visit(course, wire);
        let goes_on = |turn: &Turn| matches!(turn, Turn::Segment(_) | Turn::NothingYet);
        if course.len() < most && course.last().is_none_or(goes_on) {
            for (turn, bytes) in turns {
                let mut longer = (course.clone(), [wire, *bytes].concat());
                longer.0.push(*turn);
                extend(&mut longer, most, turns, visit);
            }
        }
    }
    extend(&mut Course::default(), most, turns, visit);
}

#[test]
fn every_course_of_eight_turns_obeys_the_law() {
    const MOST: usize = 8;
    let mut courses = Vec::new();
    each_course(MOST, &READS, &mut |reads, wire| {
        courses.push((reads.to_vec(), wire.to_vec()));
    });
    let count = u32::try_from(courses.len()).unwrap();
    judge_each(0..count, 456_196, |number| {
        let (reads, wire) = &courses[number as usize];
        let mut conversation = Conversation {
            reads: [Turn::End; TURNS], // where the course has no ending
            writes: [Turn::End; TURNS],
            wire,
        };
        conversation.reads[..reads.len()].copy_from_slice(reads);
        let mut judged = 0;
        each_course(MOST - reads.len(), &WRITES, &mut |writes, _| {
            conversation.writes = [Turn::Segment(usize::MAX); TURNS]; // takes all the rest
            conversation.writes[..writes.len()].copy_from_slice(writes);
            if let Err(violation) = exchange_laws::session(&fuzz::serve, &conversation) {
                panic!("{reads:?} {writes:?}: {violation}");
            }
            judged += 1;
        });
        judged
    });
}
