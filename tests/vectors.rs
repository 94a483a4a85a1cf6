//! The vectors are sound: well-formed, complete, and right by two oracles that share no code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use upcase::LIMIT;
use upcase::conformance::server_judge::{ExpectedEnd, Level, Vector, judge_process, suite};
use upcase::conformance::{clauses, reference};

/// How many vectors there are. Stated here too, so that none is lost unnoticed.
const COUNT: usize = 275;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

#[test]
fn the_file_fits_its_schema() {
    let mut schemas = boon::Schemas::new();
    let schema = boon::Compiler::new()
        .compile(
            file("schema.json").to_str().expect("a path in UTF-8"),
            &mut schemas,
        )
        .expect("a schema");
    let text = fs::read_to_string(file("upcase.json")).unwrap();
    let vectors = serde_json::from_str(&text).expect("JSON");
    if let Err(error) = schemas.validate(&vectors, schema) {
        panic!("{error:#}");
    }
}

#[test]
fn the_header_says_how_many_there_are_and_what_they_judge_by() {
    let suite = suite();
    assert_eq!(suite.vectors.len(), suite.count);
    assert_eq!(suite.count, COUNT);
    assert!(include_str!("../SPEC.md").contains(&format!("\nVersion {}.", suite.spec)));
    let clause = clauses::clause("UPPER-2").unwrap();
    assert!(clause.contains(&suite.unicode), "{clause}");
}

#[test]
fn every_vector_has_an_id_of_its_own_and_one_line_of_comment() {
    let mut ids = BTreeSet::new();
    for vector in &suite().vectors {
        assert!(ids.insert(&vector.id), "{} stands twice", vector.id);
        assert_eq!(vector.comment.lines().count(), 1, "{}", vector.id);
    }
}

#[test]
fn every_rendering_is_the_one_that_the_bytes_have() {
    for vector in &suite().vectors {
        assert_eq!(vector.readable, vector.rendering(), "{}", vector.id);
    }
}

#[test]
fn every_vector_cites_live_clauses_as_binding_as_it_says() {
    for vector in &suite().vectors {
        // One fault each: a main clause, and what it touches on.
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

/// Clauses of the client and of the console bind programs that no vector can see.
#[test]
fn every_must_of_what_a_server_does_on_the_wire_has_a_vector() {
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
fn two_vectors_at_least_stand_at_each_boundary() {
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
            v.expect.reply().len() == length
        });
    }
    at_least_two("empty streams", &|v| v.stream().0.is_empty());
    at_least_two("incomplete requests", &|v| {
        v.expect.end == ExpectedEnd::Closed
    });
}

#[test]
fn every_expectation_is_the_models() {
    for vector in &suite().vectors {
        let wanted = vector.request().map(|request| reference::process(&request));
        assert_eq!(
            wanted.is_none(),
            vector.expect.end == ExpectedEnd::Closed,
            "{}",
            vector.id
        );
        assert!(
            wanted.unwrap_or_default() == vector.expect.reply(),
            "{}",
            vector.id
        );
    }
}

#[test]
fn every_expectation_is_the_second_oracles() {
    let Ok(output) = Command::new("node").arg(file("oracle.mjs")).output() else {
        eprintln!("node is not installed: the second oracle was not asked");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains(" 0 disagree"), "{said}");
    eprint!("{said}");
}

#[test]
fn the_librarys_process_passes_every_vector_and_law() {
    let failures = judge_process(&upcase::process);
    assert!(failures.is_empty(), "{}", failures[0]);
}
