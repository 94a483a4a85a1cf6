//! The vectors for clients are sound: complete, consistent with SPEC.md, and right by the reference.
//!
//! `tests/schema/` compares the file with its schema, and `tests/vectors.rs` reads the texts of both suites.

use std::collections::BTreeSet;
use std::time::Duration;

use upcase::LIMIT;
use upcase::conformance::client_vectors::{Answer, ClientVector, Expectation, Host, Step, suite};
use upcase::conformance::reference::{clip, process, upper};
use upcase::conformance::{clauses, vectors};

/// How many vectors there are. It is stated again here, so that none is lost unnoticed.
const COUNT: usize = 126;

#[test]
fn the_header_states_the_count_and_the_versions() {
    let (suite, servers) = (suite(), vectors::suite());
    assert_eq!(suite.vectors.len(), suite.count);
    assert_eq!(suite.count, COUNT);
    assert_eq!(
        (&suite.suite, &suite.spec, &suite.unicode),
        (&servers.suite, &servers.spec, &servers.unicode)
    );
}

#[test]
fn every_clause_of_the_client_has_a_vector() {
    let vectors = &suite().vectors;
    let cited: BTreeSet<&String> = vectors.iter().flat_map(|v| &v.clauses).collect();
    for clause in clauses::clauses() {
        if clause.id.starts_with("CLIENT-") {
            assert!(
                cited.contains(&clause.id.to_owned()),
                "{} has no vector",
                clause.id
            );
        }
    }
}

/// Whether SPEC CLIENT-1 and CLIENT-2 let a client send `message`.
fn may_be_sent(message: &[u8]) -> bool {
    let line = [message, b"\n"].concat();
    let fits = line.len() <= LIMIT && !message.contains(&b'\n');
    fits && process(&line) == upper(&clip(message))
}

#[test]
fn exactly_the_messages_that_would_be_cut_are_refused() {
    for vector in &suite().vectors {
        let is_refused = vector.expect == Expectation::Refusal;
        assert_ne!(may_be_sent(&vector.message), is_refused, "{}", vector.id);
        // A program may take an LF off the end of what it reads.
        assert_ne!(vector.message.last(), Some(&b'\n'), "{}", vector.id);
    }
}

#[test]
fn messages_get_the_reply_of_the_reference() {
    for vector in &suite().vectors {
        if let Expectation::Reply { reply, .. } = &vector.expect
            && vector.id.starts_with("message.")
        {
            let expected = process(&[&vector.message[..], b"\n"].concat());
            assert!(*reply == expected, "{}", vector.id);
        }
    }
}

/// What SPEC CLIENT-4 to CLIENT-6 make of what the server sends.
fn expected(vector: &ClientVector) -> Expectation {
    let is_white_space = clip(&vector.message).is_empty();
    match vector.stream() {
        _ if !may_be_sent(&vector.message) => Expectation::Refusal,
        _ if !vector.listens() => Expectation::Error,
        Some((reply, true)) if reply.len() <= LIMIT && (is_white_space || !reply.is_empty()) => {
            let within = match vector.expect {
                Expectation::Reply { within, .. } => within,
                _ => None,
            };
            Expectation::Reply { reply, within }
        }
        _ => Expectation::Error,
    }
}

#[test]
fn every_expectation_follows_from_the_steps() {
    for vector in &suite().vectors {
        assert!(vector.expect == expected(vector), "{}", vector.id);
    }
}

/// A step that ends the stream or the connection is the last one.
#[test]
fn no_step_follows_the_end() {
    for vector in &suite().vectors {
        let is_end = |step: &Step| {
            matches!(
                step,
                Step::HalfClose | Step::Close | Step::Reset | Step::SendEndlessly { .. }
            )
        };
        let end = vector.steps.iter().position(is_end);
        let is_last = end.is_none_or(|end| end + 1 == vector.steps.len());
        assert!(is_last, "{}", vector.id);
    }
}

/// A close with unread input resets the connection, and the reset can overtake a reply.
#[test]
fn a_reply_before_a_close_follows_the_request() {
    for vector in &suite().vectors {
        let mut steps = vector.steps.iter();
        let awaits = steps.any(|step| *step == Step::AwaitRequest);
        let closes = vector.steps.last() == Some(&Step::Close);
        assert!(!closes || awaits, "{}", vector.id);
    }
}

/// A client that waits for the end of its message sends nothing meanwhile, and does not leave.
#[test]
fn no_server_waits_for_a_late_message() {
    for vector in suite().vectors.iter().filter(|vector| vector.late_message) {
        let waits = vector.steps.iter().any(|step| {
            matches!(
                step,
                Step::AwaitByte | Step::AwaitRequest | Step::SendEndlessly { .. }
            )
        });
        assert!(!waits, "{}", vector.id);
    }
}

/// Clients give up after some time, and some of them soon.
#[test]
fn no_server_takes_more_than_a_second_and_a_half() {
    for vector in &suite().vectors {
        let time = vector.server_time();
        assert!(time <= Duration::from_millis(1500), "{}", vector.id);
    }
}

#[test]
fn at_least_two_messages_are_on_either_side_of_each_limit() {
    let count = |what: &str, counts: &dyn Fn(&ClientVector) -> bool| {
        let ids: Vec<_> = (suite().vectors.iter().filter(|v| counts(v)))
            .map(|v| &v.id)
            .collect();
        assert!(ids.len() >= 2, "{what}: only {ids:?}");
    };
    for length in [LIMIT - 1, LIMIT] {
        count(&format!("messages of {length} bytes"), &|v| {
            v.message.len() == length
        });
    }
    for length in [LIMIT, LIMIT + 1] {
        count(&format!("streams of {length} bytes"), &|v| {
            v.stream().is_some_and(|(stream, _)| stream.len() == length)
        });
    }
    let grown = |v: &ClientVector| upper(&clip(&v.message)).len();
    count("upper case that fills a reply", &|v| {
        grown(v) == LIMIT && may_be_sent(&v.message)
    });
    count("upper case with a stump at the limit", &|v| {
        v.message.len() < LIMIT && grown(v) == LIMIT && !may_be_sent(&v.message)
    });
    count("upper case past the limit", &|v| {
        v.message.len() < LIMIT && grown(v) > LIMIT
    });
}

#[test]
fn every_answer_of_an_address_is_alone_and_among_others() {
    let names = |answer| {
        let mut hosts = suite().vectors.iter().map(|vector| &vector.host);
        hosts.any(|host| {
            matches!(host, Host::Name(addresses) if addresses.len() > 1
                && addresses.iter().any(|address| address.answer == answer))
        })
    };
    let alone = |answer| {
        let mut hosts = suite().vectors.iter().map(|vector| &vector.host);
        hosts.any(|host| matches!(host, Host::Address(address) if address.answer == answer))
    };
    for answer in [Answer::Listens, Answer::Refuses, Answer::BlackHole] {
        assert!(names(answer) && alone(answer), "{answer:?}");
    }
}

#[test]
fn steps_with_wrong_or_contradictory_fields_are_refused() {
    let step = serde_json::from_str::<Step>;
    assert_eq!(
        step(r#"{"send": [["61", 2], ["62", 1]]}"#).unwrap(),
        Step::Send(b"aab".into())
    );
    for refused in [
        r#"{"half_close": false}"#,
        r#"{"await": "reply"}"#,
        r#"{"send": "6"}"#,
        r#"{"send": "61", "reset": true}"#,
        r#"{"send_endlessly": "61"}"#,
    ] {
        assert!(step(refused).is_err(), "{refused}");
    }
}
