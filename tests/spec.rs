//! SPEC.md holds: its examples are true, and each MUST clause is cited by a law or a test.

mod common {
    pub mod spec;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use common::spec::blocks;
use upcase::conformance::exchange_laws::{EXCHANGE_LAWS, FRAMING};
use upcase::conformance::fuzz::UPCASE;
use upcase::conformance::laws::{self, LAWS, LITERAL};
use upcase::conformance::script::{ACTIONS, Action, Script};
use upcase::conformance::{clauses, reference};
use upcase::{LIMIT, escape, process};

/// A name, and a function from a request to its reply.
type Named<'a> = (&'a str, fn(&[u8]) -> Vec<u8>);

const IMPLEMENTATIONS: [Named; 2] = [("process", process), ("the reference", reference::process)];

#[test]
fn process_examples_are_true() {
    for example in examples("process") {
        let (input, expected) = (example.input_bytes(), example.result_bytes());
        for (name, process) in IMPLEMENTATIONS {
            let got = process(&input);
            assert!(
                got == expected,
                "{example}: {name} gives b\"{}\"",
                got.escape_ascii()
            );
        }
    }
}

#[test]
fn process_examples_obey_every_law() {
    for example in examples("process") {
        if let Err(violation) = laws::check(&process, &example.input_bytes()) {
            panic!("{example}: {violation}");
        }
    }
}

#[test]
fn request_examples_are_true() {
    for example in examples("request") {
        let (segments, ended) = example.segments();
        let stream = segments.concat();
        let expected = (example.result != "incomplete").then(|| example.result_bytes());

        let request = reference::request(&stream, ended);
        assert!(
            request == expected,
            "{example}: the reference has {request:?}"
        );

        // Cut as in SPEC.md, and followed by the end or the deadline.
        let mut reads = [Action::Segment(usize::MAX); ACTIONS];
        for (action, segment) in reads.iter_mut().zip(&segments) {
            *action = Action::Segment(segment.len());
        }
        let ending = if ended { Action::End } else { Action::TimeOut };
        reads[segments.len()] = ending;
        let script = Script {
            reads,
            writes: reads,
            wire: &stream,
        };
        if let Err(violation) = FRAMING.check(&UPCASE, &script) {
            panic!("{example}: {violation}");
        }
    }
}

#[test]
fn render_examples_are_true() {
    for example in examples("render") {
        let shown = escape::literal(&example.input_bytes());
        assert!(shown == example.result, "{example}: shown as {shown}");
    }
}

#[test]
fn every_example_has_its_own_id_and_is_run() {
    let mut ids = BTreeSet::new();
    for block in blocks() {
        let known = ["process", "request", "render", "console", "abnf", "mermaid"];
        assert!(
            known.contains(&block.kind),
            "nothing runs a block of kind {:?}",
            block.kind
        );
        if ["process", "request", "render"].contains(&block.kind) {
            assert!(
                !block.id.is_empty(),
                "an example without an ID: {:?}",
                block.body
            );
            assert!(ids.insert(block.id), "the id {} is used twice", block.id);
            assert!(!block.body.is_empty(), "{} has no example", block.id);
        }
    }
    assert!(ids.len() >= 15, "only {} examples were found", ids.len());
}

#[test]
fn every_clause_has_its_own_id_and_a_key_word() {
    let mut seen = BTreeSet::new();
    for clause in clauses::clauses() {
        assert!(seen.insert(clause.id), "{} is used twice", clause.id);
        assert!(
            ["MUST", "SHOULD", "MAY"]
                .iter()
                .any(|word| clause.text.contains(word)),
            "{} has no MUST, SHOULD or MAY",
            clause.id
        );
    }
    assert!(seen.len() >= 40, "only {} clauses were found", seen.len());
}

/// A test cites the clauses that it checks in a doc comment `/// SPEC: ID, ID`, and a law in its table.
/// This shows that somebody meant to check a clause. Whether the check is good is for the zoo and for
/// readers.
#[test]
fn every_must_clause_is_cited() {
    let clauses = clauses::clauses();
    let mut cited: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (law, clauses) in every_law() {
        for clause in clauses {
            let by = format!("the law {law}");
            cited.entry((*clause).into()).or_default().push(by);
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

#[test]
fn every_clause_can_be_observed_in_one_way() {
    let (_, section) = include_str!("../SPEC.md")
        .split_once("## 13. Observing the clauses")
        .expect("the section");
    let rows = section.lines().filter_map(|line| {
        let (how, listed) = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split_once(" | ")?;
        ["wire", "program", "review"]
            .contains(&how)
            .then_some(listed)
    });
    let mut listed: Vec<String> = rows
        .flat_map(|row| row.split(", "))
        .flat_map(ids_in)
        .collect();
    let mut ids: Vec<_> = clauses::clauses().iter().map(|clause| clause.id).collect();
    listed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(listed, ids);
}

/// The IDs of one clause, or of several: `CAP-1 to CAP-3`.
fn ids_in(listed: &str) -> Vec<String> {
    let (first, last) = listed.split_once(" to ").unwrap_or((listed, listed));
    let parts = |id: &str| {
        let (group, number) = id.split_once('-').expect("an ID");
        (group.to_owned(), number.parse::<usize>().expect("a number"))
    };
    let ((group, first), (same, last)) = (parts(first), parts(last));
    assert_eq!(group, same, "{listed}");
    (first..=last)
        .map(|number| format!("{group}-{number}"))
        .collect()
}

/// The name and the clauses of every law.
fn every_law() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let laws = LAWS.iter().chain([&LITERAL]);
    let exchange_laws = EXCHANGE_LAWS.iter().map(|law| (law.name, law.clauses));
    laws.map(|law| (law.name, law.clauses)).chain(exchange_laws)
}

/// The tests that cite clauses, as `file::test`, with the clauses.
fn citing_tests() -> Vec<(String, Vec<String>)> {
    let mut tests = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).unwrap() {
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
fn every_law_has_its_own_name_and_clauses() {
    let mut names = BTreeSet::new();
    for (law, clauses) in every_law() {
        assert!(names.insert(law), "{law} is used twice");
        assert!(!clauses.is_empty(), "{law} has no clause");
    }
}

#[test]
fn a_violation_names_the_law_and_shows_the_input() {
    let echo = |request: &[u8]| request.to_vec();
    let violation = laws::check(&echo, b"hello").unwrap_err().to_string();
    for part in ["upper-cased", "UPPER-1", "b\"hello\"", "expected"] {
        assert!(violation.contains(part), "{violation}");
    }
}

/// SPEC: PROC-1, CAP-2
#[test]
fn the_reference_has_the_same_limit() {
    assert_eq!(reference::process(&[b'x'; 2 * LIMIT]).len(), LIMIT);
}

/// One line of an example.
struct Example {
    id: String,
    input: String,
    result: String,
}

/// The examples of `kind`. There is at least one.
fn examples(kind: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    for block in blocks().iter().filter(|block| block.kind == kind) {
        for line in &block.body {
            let (input, result) = line
                .split_once(" -> ")
                .unwrap_or_else(|| panic!("{}: no ` -> ` in {line}", block.id));
            examples.push(Example {
                id: block.id.into(),
                input: input.into(),
                result: result.into(),
            });
        }
    }
    assert!(
        !examples.is_empty(),
        "SPEC.md has no example of kind {kind}"
    );
    examples
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.id, self.input, self.result)
    }
}

impl Example {
    fn input_bytes(&self) -> Vec<u8> {
        bytes(&self.input)
    }

    fn result_bytes(&self) -> Vec<u8> {
        bytes(&self.result)
    }

    /// The segments of a stream, and whether the client half-closed after them.
    fn segments(&self) -> (Vec<Vec<u8>>, bool) {
        let (stream, ended) = match self.input.strip_suffix('$') {
            Some(stream) => (stream.trim_end(), true),
            None => (self.input.as_str(), false),
        };
        if stream.is_empty() {
            return (Vec::new(), ended);
        }
        (stream.split(" | ").map(bytes).collect(), ended)
    }
}

/// The bytes that a byte string of SPEC section 1 stands for.
fn bytes(notation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = notation;
    while !rest.is_empty() {
        let body = rest
            .strip_prefix('"')
            .unwrap_or_else(|| panic!("no \" at: {rest}"));
        let (mut literal, after) = one_literal(body);
        rest = after;
        if let Some(factor) = rest.strip_prefix('*') {
            let end = factor
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(factor.len());
            literal = literal.repeat(factor[..end].parse().expect("a factor"));
            rest = &factor[end..];
        }
        bytes.extend(literal);
        rest = rest.trim_start_matches(' ');
    }
    bytes
}

/// The bytes of the literal whose body `text` begins with, and what follows its closing quote.
fn one_literal(text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let c = rest.chars().next().expect("a closing quote");
        rest = &rest[c.len_utf8()..];
        if c == '"' {
            return (bytes, rest);
        }
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        let escape = rest.chars().next().expect("an escape");
        rest = &rest[1..];
        match escape {
            't' => bytes.push(b'\t'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            '\\' | '"' => bytes.push(escape as u8),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            'u' => {
                let (digits, after) = rest[1..].split_once('}').expect("a closing brace");
                let scalar = u32::from_str_radix(digits, 16).expect("hexadecimal digits");
                let c = char::from_u32(scalar).expect("a scalar value");
                bytes.extend(c.to_string().bytes());
                rest = after;
            }
            other => panic!("no escape: \\{other}"),
        }
    }
}
