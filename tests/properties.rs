//! The laws hold for inputs drawn at random, from strategies that aim.

mod inputs;

use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use upcase::request::receive;
use upcase::{LIMIT, clip, laws, model, process, render, upper};

/// proptest's own choice would put what it finds beside this file, not in the top-level folder.
fn config() -> ProptestConfig {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/proptest-regressions/properties.txt"
    );
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        ..ProptestConfig::default()
    }
}

fn judged(input: &[u8]) -> Result<(), TestCaseError> {
    laws::judge(&process, input).map_err(|violation| TestCaseError::fail(violation.to_string()))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_laws_hold_for_arbitrary_bytes(input in inputs::arbitrary_bytes()) {
        judged(&input)?;
    }

    #[test]
    fn the_laws_hold_for_ascii(input in inputs::ascii()) {
        judged(&input)?;
    }

    #[test]
    fn the_laws_hold_for_well_formed_text(input in inputs::well_formed()) {
        judged(&input)?;
    }

    #[test]
    fn the_laws_hold_for_text_laced_with_ill_formed_bytes(input in inputs::laced()) {
        judged(&input)?;
    }

    #[test]
    fn the_laws_hold_for_characters_astride_the_cap(input in inputs::at_the_cap()) {
        judged(&input)?;
    }

    #[test]
    fn the_laws_hold_for_text_that_grows_to_the_cap(input in inputs::growing()) {
        judged(&input)?;
    }

    #[test]
    fn the_laws_hold_for_padded_text(input in inputs::padded()) {
        judged(&input)?;
    }

    /// SPEC: CAP-1, CAP-2, CAP-3, TRIM-1, TRIM-2, UPPER-1, UPPER-4
    #[test]
    fn clip_and_upper_are_the_models(input in inputs::requests()) {
        prop_assert_eq!(clip(&input), model::clip(&input));
        prop_assert_eq!(upper(&input), model::upper(&input));
    }

    /// SPEC: FRAME-1, FRAME-2, FRAME-3, FRAME-4, FRAME-5, REPLY-1, TIME-2
    #[test]
    fn any_segmentation_makes_the_same_request(
        (stream, line_feed) in inputs::requests().prop_flat_map(|stream| {
            let length = stream.len();
            (Just(stream), prop::option::of(0..=length))
        }),
        ended: bool,
        cuts in vec(prop_oneof![0..4_u8, any::<u8>()], 0..12),
    ) {
        let mut stream = stream;
        if let Some(at) = line_feed {
            stream.insert(at, b'\n');
        }
        if let Err(violation) = laws::framing(&frame, &stream, ended, &cuts) {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }

    /// SPEC: LOG-3
    #[test]
    fn a_literal_is_one_printable_line_and_reads_back(input in inputs::requests()) {
        let literal = render::literal(&input);
        prop_assert!(literal.chars().all(|c| !c.is_control()), "{:?}", literal);
        prop_assert!(literal.len() <= 4 * input.len() + 3);
        prop_assert_eq!(read_back(&literal), input);
    }

    /// SPEC: LOG-5
    #[test]
    fn text_is_shown_as_it_is_or_as_a_literal(input in inputs::requests()) {
        let shown = render::text(&input);
        prop_assert!(shown.as_bytes() == input || shown == render::literal(&input));
        prop_assert!(shown.chars().all(|c| !c.is_control()), "{:?}", shown);
    }
}

fn frame(stream: &mut dyn Read) -> Option<Vec<u8>> {
    receive(stream, &mut [0; LIMIT])
        .complete()
        .map(<[u8]>::to_vec)
}

/// The bytes that a byte literal stands for.
fn read_back(literal: &str) -> Vec<u8> {
    let body = literal
        .strip_prefix("b'")
        .and_then(|rest| rest.strip_suffix('\''))
        .unwrap();
    let mut bytes = Vec::new();
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            assert!(c != '\'' && c != '"', "a bare quote");
            bytes.extend(c.to_string().bytes());
        } else if let Some(hex) = rest.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else {
            bytes.push(rest.as_bytes()[0]);
            rest = &rest[1..];
        }
    }
    bytes
}
