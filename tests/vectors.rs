//! The vectors are sound: complete, consistent with SPEC.md, and right by the reference.
//!
//! `tests/implementations.rs` asks a second oracle, and `tests/schema/` compares the file with its schema.

use std::collections::BTreeSet;
use std::time::Duration;

use upcase::LIMIT;
use upcase::conformance::vectors::{End, Other, Step, Vector, suite};
use upcase::conformance::{Level, clauses, judge_function, reference};

/// How many vectors there are. It is stated again here, so that none is lost unnoticed.
const COUNT: usize = 277;

#[test]
fn the_header_states_the_count_and_the_versions() {
    let suite = suite();
    assert_eq!(suite.vectors.len(), suite.count);
    assert_eq!(suite.count, COUNT);
    assert!(include_str!("../SPEC.md").contains(&format!("\nVersion {}.", suite.spec)));
    let clause = clauses::clause("UPPER-2").unwrap();
    assert!(clause.contains(&suite.unicode), "{clause}");
}

#[test]
fn every_vector_has_its_own_id_and_texts() {
    let (mut ids, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for vector in &suite().vectors {
        assert!(ids.insert(&vector.id), "{} is used twice", vector.id);
        let pair = (&vector.description, &vector.requirement);
        assert!(texts.insert(pair), "{} has the texts of another", vector.id);
        for text in [&vector.description, &vector.requirement] {
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
    for vector in &suite().vectors {
        // The main clause, and at most two more.
        assert!((1..=3).contains(&vector.clauses.len()), "{}", vector.id);
        for id in &vector.clauses {
            let clause = clauses::clause(id).unwrap_or_else(|| panic!("{} cites {id}", vector.id));
            let word = if vector.level == Level::Must {
                "MUST"
            } else {
                "SHOULD"
            };
            assert!(
                clause.contains(word),
                "{} cites {id}, which has no {word}",
                vector.id
            );
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
        // An incomplete request waits for its deadline.
        let milliseconds = request.map_or(0, |_| pauses.sum::<Duration>().as_millis());
        let others = vector.steps.iter().map(|step| match step {
            Step::Other {
                other: Other::Stall { connections, .. },
                ..
            } => *connections,
            _ => 0,
        });
        let is_other = |step: &Step| matches!(step, Step::Other { other, .. } if !matches!(other, Other::Stall { .. }));
        let at_once = 1 + others.sum::<usize>() + usize::from(vector.steps.iter().any(is_other));
        for (used, bound, clause) in [
            (milliseconds, 2_000 - 500, "TIME-6"), // half a second is for the network
            (at_once as u128, 40, "TIME-7"),
            (surplus as u128, 16 << 20, "SURPLUS-3"),
        ] {
            assert!(used <= bound, "{}: {used} of {clause}", vector.id);
            let cites = vector.clauses.iter().any(|id| id == clause);
            assert!(used < bound / 2 || cites, "{} without {clause}", vector.id);
        }
    }
}

#[test]
fn every_expectation_is_that_of_the_reference() {
    for vector in &suite().vectors {
        let wanted = vector.request().map(|request| reference::process(&request));
        assert_eq!(
            wanted.is_none(),
            vector.expect.end == End::Closed,
            "{}",
            vector.id
        );
        assert!(
            wanted.unwrap_or_default() == vector.expect.reply,
            "{}",
            vector.id
        );
    }
}

#[test]
fn process_passes_every_vector_and_law() {
    let violations = judge_function(&upcase::process);
    assert!(violations.is_empty(), "{}", violations[0]);
}

#[test]
fn steps_with_wrong_or_contradictory_fields_are_refused() {
    let step = serde_json::from_str::<Step>;
    assert!(matches!(
        step(r#"{"half_close": true}"#),
        Ok(Step::HalfClose)
    ));
    for refused in [
        r#"{"half_close": false}"#,
        r#"{"other": {"send": "", "reset": false}}"#,
        r#"{"await": "nothing"}"#,
        r#"{"send": "6"}"#,
        r#"{"send": "61", "half_close": true}"#,
    ] {
        assert!(step(refused).is_err(), "{refused}");
    }
}
