//! The vectors and a report fit their schemas, which explain the files to people who use another
//! language.

#![cfg(test)]

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use upcase::conformance::report::{Judged, Report, Role};
use upcase::conformance::{Detail, NotPassed, Violation, vectors};

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A schema, which is a file.
struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn of(file: &str) -> Self {
        let mut schemas = Schemas::new();
        let index = Compiler::new().compile(&format!("{ROOT}/{file}"), &mut schemas);
        let index = index.expect("a schema");
        Self { schemas, index }
    }

    /// What does not fit, in words.
    fn validate(&self, value: &Value) -> Result<(), String> {
        let validated = self.schemas.validate(value, self.index);
        validated.map_err(|error| format!("{error:#}"))
    }
}

fn check(schema: &str, vectors: &str) {
    let text = std::fs::read_to_string(format!("{ROOT}/{vectors}"));
    let vectors = serde_json::from_str(&text.expect("the vectors")).expect("JSON");
    let validated = Schema::of(schema).validate(&vectors);
    validated.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_vectors_for_servers_fit_their_schema() {
    check("tests/vectors/schema.json", "tests/vectors/upcase.json");
}

#[test]
fn the_vectors_for_clients_fit_their_schema() {
    check(
        "tests/vectors/client.schema.json",
        "tests/vectors/client.json",
    );
}

/// A report with every verdict.
fn report() -> Value {
    let suite = vectors::suite();
    let about = suite.vectors[0].about();
    let violation = Violation {
        rule: about.id.into(),
        clauses: about.clauses.into(),
        problem: "the bytes are wrong".into(),
        details: vec![Detail {
            label: "sent".into(),
            text: "b'a'".into(),
        }],
    };
    let results = [
        Ok(()),
        Err(NotPassed::Violation(violation)),
        Err(NotPassed::NotJudged("there is no IPv6".into())),
    ];
    let mut results = results.map(|result| Judged::by(about, || result));
    results[2].known_to_fail = true;
    let report = Report {
        judged: Role::Server,
        implementation: "localhost:9000".into(),
        suite: suite.suite.clone(),
        spec: suite.spec.clone(),
        unicode: suite.unicode.clone(),
        results: results.into(),
    };
    serde_json::to_value(report).expect("JSON")
}

#[test]
fn a_report_fits_its_schema() {
    Schema::of("src/conformance/report/schema.json")
        .validate(&report())
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn reports_that_no_judge_writes_do_not_fit() {
    let schema = Schema::of("src/conformance/report/schema.json");
    for (place, value) in [
        ("/judged", json!("proxy")),
        ("/suite", json!("3")),
        ("/results", json!([])),
        ("/results/0/verdict", json!("failed")), // without a reason
        ("/results/1/verdict", json!("passed")), // with a reason
        ("/results/0/clauses", json!([])),
        ("/results/0/seconds", json!(-1)),
        ("/results/0/level", json!("MAY")),
        ("/results/1/details/0", json!({"label": "sent"})),
        ("/results/2/known_to_fail", json!(false)),
        ("/results/2/reason", json!("two\nlines")),
    ] {
        let mut report = report();
        *report.pointer_mut(place).expect(place) = value;
        assert!(schema.validate(&report).is_err(), "{place}");
    }
}
