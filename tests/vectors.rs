//! The vectors are sound: complete, consistent with SPEC.md, and right by the reference.
//!
//! `tests/implementations.rs` asks a second oracle, and `tests/schema/` compares the file with its schema.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use upcase::LIMIT;
use upcase::conformance::client_vectors::{self, ClientVector};
use upcase::conformance::vectors::{End, Other, Step, Vector, suite};
use upcase::conformance::{About, Level, clauses, judge_function, reference};

/// How many vectors there are. It is stated again here, so that none is lost unnoticed.
const COUNT: usize = 368;

#[test]
fn the_header_states_the_count_and_the_versions() {
    let suite = suite();
    assert_eq!(suite.vectors.len(), suite.count);
    assert_eq!(suite.count, COUNT);
    assert!(include_str!("../SPEC.md").contains(&format!("\nVersion {}.", suite.spec)));
    let clause = clauses::clause("UPPER-2").unwrap();
    assert!(clause.contains(&suite.unicode), "{clause}");
}

/// The vectors of both suites, since an ID must not be of two.
fn all() -> impl Iterator<Item = About<'static>> {
    let servers = suite().vectors.iter().map(Vector::about);
    servers.chain(
        client_vectors::suite()
            .vectors
            .iter()
            .map(ClientVector::about),
    )
}

#[test]
fn every_vector_has_its_own_id_and_texts() {
    let (mut ids, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for about in all() {
        let (id, pair) = (about.id, [about.description, about.requirement]);
        assert!(ids.insert(id), "{id} is used twice");
        assert!(texts.insert(pair), "{id} has the texts of another");
        for text in pair {
            let is_line = text.ends_with('.') && text.lines().count() == 1;
            assert!(is_line && text.chars().count() <= 120, "{text:?}");
        }
    }
}

#[test]
fn every_rendering_shows_the_bytes() {
    for vector in &suite().vectors {
        assert_eq!(vector.readable, vector.rendering(), "{}", vector.id);
    }
}

#[test]
fn every_vector_cites_clauses_of_its_level() {
    for about in all() {
        // The main clause, and at most two more.
        let id = about.id;
        assert!((1..=3).contains(&about.clauses.len()), "{id}");
        for cited in about.clauses {
            let clause = clauses::clause(cited).unwrap_or_else(|| panic!("{id} cites {cited}"));
            let word = match about.level {
                Level::Must => "MUST",
                Level::Should => "SHOULD",
            };
            let has_word = clause.contains(word);
            assert!(has_word, "{id} cites {cited}, which has no {word}");
        }
    }
}

/// No vector can see what the clauses of the client and of the console are about.
#[test]
fn every_must_clause_of_the_wire_has_a_vector() {
    let cited: BTreeSet<&str> = suite()
        .vectors
        .iter()
        .flat_map(|v| &v.clauses)
        .map(String::as_str)
        .collect();
    for clause in clauses::clauses() {
        let on_the_wire = !clause.id.starts_with("CLIENT-") && !clause.id.starts_with("LOG-");
        if on_the_wire && clause.text.contains("MUST") {
            assert!(cited.contains(clause.id), "{} has no vector", clause.id);
        }
    }
}

#[test]
fn every_boundary_has_two_vectors() {
    let at_least_two = |what: &str, count: &dyn Fn(&Vector) -> bool| {
        let ids: Vec<_> = suite()
            .vectors
            .iter()
            .filter(|v| count(v))
            .map(|v| &v.id)
            .collect();
        assert!(ids.len() >= 2, "{what}: only {ids:?}");
    };
    for length in [LIMIT - 1, LIMIT, LIMIT + 1] {
        at_least_two(&format!("text of {length} bytes, and LF"), &|v| {
            v.stream().0.iter().position(|b| *b == b'\n') == Some(length)
        });
        at_least_two(&format!("streams of {length} bytes"), &|v| {
            v.stream().0.len() == length
        });
    }
    at_least_two("1024 bytes or more without LF", &|v| {
        let (stream, _) = v.stream();
        stream.len() >= LIMIT && !stream.contains(&b'\n')
    });
    for length in [0, LIMIT - 3, LIMIT - 2, LIMIT - 1, LIMIT] {
        at_least_two(&format!("replies of {length} bytes"), &|v| {
            v.expect.reply.len() == length
        });
    }
    at_least_two("empty streams", &|v| v.stream().0.is_empty());
    at_least_two("incomplete requests", &|v| v.expect.end == End::Closed);
}

/// A vector relies on no more than SPEC.md promises, and if on half of it, cites the clause.
///
/// SPEC: TIME-6, TIME-7, SURPLUS-3
#[test]
fn vectors_keep_within_the_lower_bounds() {
    for vector in &suite().vectors {
        let (stream, _) = vector.stream();
        let request = vector.request();
        let surplus = stream.len() - request.as_ref().map_or(stream.len(), Vec::len);
        let pauses = vector.steps.iter().map(|step| match step {
            Step::Pause(time) => *time,
            _ => Duration::ZERO,
        });
        // A client that may see the deadline waits for it.
        let milliseconds = match vector.expect.end {
            End::Closed | End::Either => 0,
            End::Fin | End::Gone => pauses.sum::<Duration>().as_millis(),
        };
        for (used, bound, clause) in [
            (milliseconds, 2_000 - 250, "TIME-6"), // the rest is for the network
            (served_beside(vector) as u128, 40, "TIME-7"),
            (surplus as u128, 16 << 20, "SURPLUS-3"),
        ] {
            assert!(used <= bound, "{}: {used} of {clause}", vector.id);
            let cites = vector.clauses.iter().any(|id| id == clause);
            assert!(used < bound / 2 || cites, "{} without {clause}", vector.id);
        }
    }
}

/// The most connections among which one must be served. Others that stall may be more: they need not.
fn served_beside(vector: &Vector) -> usize {
    let (mut stalled, mut own, mut most) = (0, None, 0);
    for step in &vector.steps {
        match step {
            Step::Other { other, .. } => match other {
                Other::Stall { connections, .. } => stalled += connections,
                Other::AtOnce(exchanges) => {
                    most = most.max(stalled + own.unwrap_or(0) + exchanges.len());
                }
                _ => most = most.max(stalled + own.unwrap_or(0) + 1),
            },
            Step::AwaitReply if vector.expect.end == End::Closed => own = Some(0),
            _ if own.is_some() => {}
            _ => {
                own = Some(1);
                most = most.max(stalled + 1);
            }
        }
    }
    match own {
        None => most.max(stalled + 1),
        Some(_) => most,
    }
}

#[test]
fn every_expectation_is_that_of_the_reference() {
    for vector in &suite().vectors {
        let id = &vector.id;
        assert_eq!(
            vector.request().is_none(),
            vector.expect.end == End::Closed,
            "{id}"
        );
        let is_empty = vector.expect.reply.is_empty();
        assert!(vector.request().is_some() || is_empty, "{id}");
        for (request, reply) in vector.exchanges() {
            assert!(reference::process(&request) == reply, "{id}");
        }
        for (request, _) in vector.steps.iter().flat_map(exchanges_of_others) {
            let whole = reference::request(&request, false);
            assert!(whole.as_ref() == Some(&request), "{id}");
        }
    }
}

/// Each is sent whole, and nothing else.
fn exchanges_of_others(step: &Step) -> Vec<(Vec<u8>, Vec<u8>)> {
    match step {
        Step::Other { other, .. } => other.exchanges(),
        _ => Vec::new(),
    }
}

/// Every scalar value of planes 0 and 1 is sent: it has a mapping, or it is white space, or it is in
/// exactly one range of those that must not change.
///
/// SPEC: UPPER-1, UPPER-2
#[test]
fn every_scalar_of_planes_0_and_1_is_sent() {
    let mut times = BTreeMap::<char, usize>::new();
    for vector in &suite().vectors {
        for (first, last) in vector.steps.iter().flat_map(unchanged) {
            for scalar in first..=last {
                *times.entry(scalar).or_default() += 1;
                assert_eq!(reference::upper_of(scalar), scalar.to_string());
            }
        }
    }
    let requests = suite().vectors.iter().flat_map(Vector::exchanges);
    let requests = requests.map(|(request, _)| request);
    let texts = requests.filter_map(|request| String::from_utf8(request).ok());
    let sent: BTreeSet<char> = texts.collect::<Vec<_>>().concat().chars().collect();
    for scalar in '\0'..='\u{1FFFF}' {
        let changes = reference::upper_of(scalar) != scalar.to_string();
        let is_white = reference::WHITE_SPACE.contains(&scalar);
        let expected = usize::from(!changes && !is_white);
        let times = times.get(&scalar).copied().unwrap_or_default();
        assert_eq!(times, expected, "{scalar:?}");
        assert!(sent.contains(&scalar), "{scalar:?}");
    }
}

/// The ranges of characters that must not change.
fn unchanged(step: &Step) -> Vec<(char, char)> {
    match step {
        Step::Other {
            other: Other::Unchanged(ranges),
            ..
        } => ranges.clone(),
        _ => Vec::new(),
    }
}

#[test]
fn process_passes_every_vector_and_law() {
    let violations = judge_function(&upcase::process);
    assert!(violations.is_empty(), "{}", violations[0]);
}

#[test]
fn steps_are_read_and_contradictory_ones_refused() {
    let step = serde_json::from_str::<Step>;
    assert!(matches!(
        step(r#"{"half_close": true}"#),
        Ok(Step::HalfClose)
    ));
    let text = r#"{"other": {"send": [["61", 2], ["0a", 1]], "reply": "4141"}}"#;
    let Ok(Step::Other { other, times: 1 }) = step(text) else {
        panic!("a text as runs is refused");
    };
    assert_eq!(other.exchanges(), [(b"aa\n".to_vec(), b"AA".to_vec())]);
    for refused in [
        r#"{"other": {"send": [["61"]], "reply": "41"}}"#,
        r#"{"other": {"unchanged": [["d800", "dfff"]]}}"#,
        r#"{"half_close": false}"#,
        r#"{"other": {"send": "", "reset": false}}"#,
        r#"{"await": "nothing"}"#,
        r#"{"send": "6"}"#,
        r#"{"send": "61", "half_close": true}"#,
    ] {
        assert!(step(refused).is_err(), "{refused}");
    }
}
