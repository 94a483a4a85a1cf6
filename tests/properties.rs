//! The laws hold for inputs drawn at random, from strategies that aim.

mod inputs;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use upcase::conformance::{fuzz, laws, reference};
use upcase::{clip, escape, process, upper};

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

fn judged_by(target: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let (_, judge) = fuzz::ALL
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    judge(bytes).map_err(|violation| TestCaseError::fail(violation.to_string()))
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
        prop_assert_eq!(clip(&input), reference::clip(&input));
        prop_assert_eq!(upper(&input), reference::upper(&input));
    }

    #[test]
    fn any_segmentation_makes_the_same_request(bytes in inputs::conversations()) {
        judged_by("segments", &bytes)?;
    }

    #[test]
    fn any_course_of_an_exchange_gets_the_reply_or_nothing(bytes in inputs::conversations()) {
        judged_by("session", &bytes)?;
    }

    #[test]
    fn a_client_has_a_whole_reply_or_an_error(bytes in inputs::conversations()) {
        judged_by("client", &bytes)?;
    }

    #[test]
    fn a_literal_is_one_printable_line_and_reads_back(input in inputs::requests()) {
        judged_by("escape", &input)?;
    }

    /// SPEC: LOG-5
    #[test]
    fn text_is_shown_as_it_is_or_as_a_literal(input in inputs::requests()) {
        let shown = escape::text(&input);
        prop_assert!(shown.as_bytes() == input || shown == escape::literal(&input));
        prop_assert!(shown.chars().all(|c| !c.is_control()), "{:?}", shown);
    }
}
