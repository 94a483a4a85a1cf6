//! The laws hold for random inputs. The strategies aim at what is difficult.

mod common {
    pub mod inputs;
}

use std::time::Duration;

use common::inputs::{self, Bytes};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use upcase::conformance::laws::{self, LITERAL};
use upcase::conformance::{Violation, fuzz, reference};
use upcase::log::{self, Format};
use upcase::server::{Ended, Outcome};
use upcase::{Buffer, client, clip, escape, process, process_into, upper};

/// By default proptest would write the failures that it finds beside this file.
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

fn obeys_every_law(input: &Bytes) -> Result<(), TestCaseError> {
    laws::check(&process, input).map_err(|violation| failed(&violation))
}

fn holds_by_target(target: &str, bytes: &Bytes) -> Result<(), TestCaseError> {
    let mut targets = fuzz::TARGETS.iter();
    let (_, judge) = targets.find(|(name, _)| *name == target).expect("a target");
    judge(bytes).map_err(|violation| failed(&violation))
}

fn failed(violation: &Violation) -> TestCaseError {
    TestCaseError::fail(violation.to_string())
}

/// The line of a JSON log about a client whose `request` was answered.
fn in_json(request: &[u8]) -> String {
    let (log, writer, _) = log::channel(Format::Json);
    log.connection(&Ended {
        peer: ([127, 0, 0, 1], 50_000).into(),
        request,
        outcome: Outcome::Replied,
        duration: Duration::from_millis(12),
    });
    log.close();
    let mut out = Vec::new();
    writer.run(&mut out);
    let out = String::from_utf8(out).unwrap();
    let (line, totals) = out.split_once('\n').expect("two lines");
    assert_eq!(totals.lines().count(), 1, "{out}");
    line.to_owned()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn laws_hold_for_arbitrary_bytes(input in inputs::arbitrary_bytes()) {
        obeys_every_law(&input)?;
    }

    #[test]
    fn laws_hold_for_ascii(input in inputs::ascii()) {
        obeys_every_law(&input)?;
    }

    #[test]
    fn laws_hold_for_well_formed_text(input in inputs::well_formed()) {
        obeys_every_law(&input)?;
    }

    #[test]
    fn laws_hold_for_text_mixed_with_ill_formed_bytes(input in inputs::mixed()) {
        obeys_every_law(&input)?;
    }

    #[test]
    fn laws_hold_for_characters_across_the_cap(input in inputs::at_the_cap()) {
        obeys_every_law(&input)?;
    }

    #[test]
    fn laws_hold_for_text_that_grows_to_the_cap(input in inputs::growing()) {
        obeys_every_law(&input)?;
    }

    #[test]
    fn laws_hold_for_padded_text(input in inputs::padded()) {
        obeys_every_law(&input)?;
    }

    /// SPEC: CAP-1, CAP-2, CAP-3, TRIM-1, TRIM-2, UPPER-1, UPPER-4
    #[test]
    fn the_parts_of_process_agree_with_the_reference(input in inputs::requests()) {
        prop_assert_eq!(clip(&input), reference::clip(&input));
        prop_assert_eq!(upper(&input), reference::upper(&input));
        let mut buffer = Buffer::new();
        prop_assert_eq!(process_into(&input, &mut buffer), process(&input));
    }

    #[test]
    fn a_request_does_not_depend_on_its_segments(bytes in inputs::scripts()) {
        holds_by_target("segments", &bytes)?;
    }

    #[test]
    fn an_exchange_ends_with_the_reply_or_nothing(bytes in inputs::scripts()) {
        holds_by_target("session", &bytes)?;
    }

    /// SPEC: CLIENT-2
    #[test]
    fn a_message_is_accepted_if_its_upper_case_comes_back_whole(message in inputs::messages()) {
        let request = [&*message, b"\n"].concat();
        let is_request = reference::request(&request, false).as_ref() == Some(&request);
        let upper = reference::upper(&reference::clip(&message));
        let is_whole = is_request && process(&request) == upper;
        prop_assert_eq!(client::check(&message).is_ok(), is_whole);
    }

    #[test]
    fn a_client_returns_a_whole_reply_or_an_error(bytes in inputs::scripts()) {
        holds_by_target("client", &bytes)?;
    }

    #[test]
    fn a_literal_escapes_what_it_must_and_reads_back(
        input in prop_oneof![inputs::requests(), inputs::invisible()],
    ) {
        holds_by_target("escape", &input)?;
    }

    /// SPEC: LOG-5
    #[test]
    fn text_is_shown_as_it_is_or_as_a_literal(
        input in prop_oneof![inputs::requests(), inputs::invisible()],
    ) {
        let expected = match str::from_utf8(&input) {
            Ok(text) if !text.contains(reference::is_in_hex) => text.into(),
            _ => reference::literal(&input),
        };
        prop_assert_eq!(escape::text(&input), expected);
    }

    /// SPEC: LOG-3, LOG-6
    #[test]
    fn a_json_log_has_literals_of_request_and_reply(
        request in prop_oneof![inputs::requests(), inputs::invisible()],
    ) {
        let line = in_json(&request);
        let connection: serde_json::Value = serde_json::from_str(&line).unwrap();
        for (key, bytes) in [("request", &*request), ("reply", &*process(&request))] {
            let shown = |_: &[u8]| connection[key].as_str().unwrap().as_bytes().to_vec();
            LITERAL.check(&shown, bytes).map_err(|violation| failed(&violation))?;
            prop_assert_eq!(&connection[format!("{key}_bytes")], bytes.len());
        }
    }
}
