//! SPEC.md holds: its examples are true, and its clauses are each checked by something.

mod spec_text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use spec_text::{Spec, manifest_path};
use upcase::conformance::exchange_laws::{self, Conversation, TURNS, Turn};
use upcase::conformance::{clauses, fuzz, laws, reference};
use upcase::{LIMIT, escape, process};

/// An implementation, for examples: from a request to its reply.
type Named<'a> = (&'a str, fn(&[u8]) -> Vec<u8>);

const IMPLEMENTATIONS: [Named; 2] = [("process", process), ("the model", reference::process)];

#[test]
fn every_process_example_is_true_of_the_implementation_and_of_the_model() {
    for example in Spec::read().examples("process") {
        let (input, wanted) = (example.input_bytes(), example.result_bytes());
        for (name, process) in IMPLEMENTATIONS {
            let got = process(&input);
            assert!(
                got == wanted,
                "{example}: {name} gives b\"{}\"",
                got.escape_ascii()
            );
        }
    }
}

#[test]
fn every_process_example_obeys_every_law() {
    for example in Spec::read().examples("process") {
        if let Err(violation) = laws::judge(&process, &example.input_bytes()) {
            panic!("{example}: {violation}");
        }
    }
}

#[test]
fn every_request_example_is_true_of_the_framing_and_of_the_model() {
    for example in Spec::read().examples("request") {
        let (segments, ended) = example.segments();
        let stream = segments.concat();
        let wanted = (example.result != "incomplete").then(|| example.result_bytes());

        let by_model = reference::request(&stream, ended);
        assert!(by_model == wanted, "{example}: the model has {by_model:?}");

        // As SPEC.md cuts it, followed by an end or by the deadline.
        let mut reads = [Turn::Segment(usize::MAX); TURNS];
        for (turn, segment) in reads.iter_mut().zip(&segments) {
            *turn = Turn::Segment(segment.len());
        }
        reads[segments.len()] = if ended { Turn::End } else { Turn::TimeOut };
        let conversation = Conversation {
            reads,
            writes: reads,
            wire: &stream,
        };
        if let Err(violation) = exchange_laws::framing(&fuzz::frame, &conversation) {
            panic!("{example}: {violation}");
        }
    }
}

#[test]
fn every_render_example_is_true() {
    for example in Spec::read().examples("render") {
        let shown = escape::literal(&example.input_bytes());
        assert!(shown == example.result, "{example}: shown as {shown}");
    }
}

#[test]
fn every_example_has_an_id_of_its_own_and_a_kind_that_is_run() {
    let spec = Spec::read();
    let mut ids = BTreeSet::new();
    for block in &spec.blocks {
        let known = ["process", "request", "render", "console", "abnf", "mermaid"];
        assert!(
            known.contains(&block.kind.as_str()),
            "nothing runs a block of kind {:?}",
            block.kind
        );
        if ["process", "request", "render"].contains(&block.kind.as_str()) {
            assert!(
                !block.id.is_empty(),
                "line {}: an example without an id",
                block.line
            );
            assert!(ids.insert(&block.id), "the id {} is used twice", block.id);
            assert!(!block.body.is_empty(), "{} has no example", block.id);
        }
    }
    assert!(ids.len() >= 15, "only {} examples were found", ids.len());
}

#[test]
fn every_clause_has_an_id_of_its_own_and_says_how_binding_it_is() {
    let mut seen = BTreeSet::new();
    for clause in clauses::clauses() {
        assert!(seen.insert(clause.id), "{} stands twice", clause.id);
        assert!(
            ["MUST", "SHOULD", "MAY"]
                .iter()
                .any(|word| clause.text.contains(word)),
            "{} says neither must, should nor may",
            clause.id
        );
    }
    assert!(seen.len() >= 40, "only {} clauses were found", seen.len());
}

/// A test cites the clauses that it checks in a doc comment of the form `/// SPEC: ID, ID`, a law
/// in its table.
#[test]
fn every_must_clause_is_cited_by_a_test_or_a_law_and_every_citation_exists() {
    let clauses = clauses::clauses();
    let mut cited: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for law in laws::LAWS {
        for clause in law.clauses {
            cited
                .entry((*clause).into())
                .or_default()
                .push(format!("the law {}", law.name));
        }
    }
    for law in [
        exchange_laws::FRAMING,
        exchange_laws::SESSION,
        exchange_laws::CLIENT,
    ] {
        for clause in law.clauses {
            cited
                .entry((*clause).into())
                .or_default()
                .push(format!("the law {}", law.name));
        }
    }
    for (test, clauses) in citing_tests() {
        for clause in clauses {
            cited.entry(clause).or_default().push(test.clone());
        }
    }
    for (clause, by) in &cited {
        assert!(
            clauses.iter().any(|c| c.id == *clause),
            "SPEC.md has no {clause}: {by:?}"
        );
    }
    let unchecked: Vec<&str> = clauses
        .iter()
        .filter(|clause| clause.text.contains("MUST") && !cited.contains_key(clause.id))
        .map(|clause| clause.id)
        .collect();
    assert!(unchecked.is_empty(), "no test or law cites {unchecked:?}");
}

/// The tests that cite clauses, as `file::test`, with the clauses.
fn citing_tests() -> Vec<(String, Vec<String>)> {
    let mut tests = Vec::new();
    for entry in fs::read_dir(manifest_path("tests")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut clauses: Vec<String> = Vec::new();
        for line in fs::read_to_string(&path).unwrap().lines().map(str::trim) {
            if let Some(ids) = line.strip_prefix("/// SPEC: ") {
                clauses.extend(
                    ids.split(", ")
                        .map(|id| id.trim_end_matches('.').to_owned()),
                );
            } else if let Some((_, rest)) = line.split_once("fn ")
                && !clauses.is_empty()
            {
                let name = rest.split('(').next().unwrap();
                tests.push((format!("{file}::{name}"), std::mem::take(&mut clauses)));
            }
        }
        assert!(
            clauses.is_empty(),
            "{file}: {clauses:?} are cited by no function"
        );
    }
    tests
}

#[test]
fn the_laws_have_names_of_their_own_and_catch_a_process_that_echoes() {
    let mut names = BTreeSet::new();
    for law in laws::LAWS {
        assert!(names.insert(law.name), "{} stands twice", law.name);
        assert!(!law.clauses.is_empty(), "{} follows from nothing", law.name);
    }
    let echo = |request: &[u8]| request.to_vec();
    let violation = laws::judge(&echo, b"hello").unwrap_err().to_string();
    // Who breaks a law is told which, by what clause, and how.
    for part in ["upper-cased", "UPPER-1", "b\"hello\"", "wanted"] {
        assert!(violation.contains(part), "{violation}");
    }
}

/// SPEC: PROC-1, CAP-2
#[test]
fn the_model_states_the_limit_that_the_library_has() {
    assert_eq!(reference::process(&[b'x'; 2 * LIMIT]).len(), LIMIT);
}
