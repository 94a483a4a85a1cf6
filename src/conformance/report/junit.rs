//! A report in the XML format of `JUnit`, which CI servers read.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::{Judged, Report, Role, Verdict};
use crate::conformance::selection::area;

/// The report, with a test suite for each area. What was not judged is an error, and what is known to fail
/// is skipped.
///
/// # Panics
/// Never: a String takes the whole report.
#[must_use]
pub fn junit(report: &Report) -> String {
    let mut xml = quick_junit::Report::new(&report.implementation);
    for results in report.results.chunk_by(|a, b| area(&a.id) == area(&b.id)) {
        xml.add_test_suite(test_suite(report, results));
    }
    xml.set_time(time(&report.results));
    xml.to_string().expect("a String takes it")
}

fn test_suite(report: &Report, results: &[Judged]) -> TestSuite {
    let area = area(&results[0].id);
    let role = match report.judged {
        Role::Server => "server",
        Role::Client => "client",
    };
    let mut suite = TestSuite::new(area);
    suite.set_time(time(results));
    for (name, value) in [
        ("implementation", &report.implementation),
        ("suite", &report.suite),
        ("spec", &report.spec),
        ("unicode", &report.unicode),
    ] {
        suite.add_property(Property::new(name, value));
    }
    for judged in results {
        let mut case = TestCase::new(judged.id.as_str(), status(judged));
        case.set_classname(format!("upcase.{role}.{area}"));
        case.set_time(Duration::from_secs_f64(judged.seconds));
        suite.add_test_case(case);
    }
    suite
}

fn time(results: &[Judged]) -> Duration {
    Duration::from_secs_f64(results.iter().map(|judged| judged.seconds).sum())
}

fn status(judged: &Judged) -> TestCaseStatus {
    let (mut status, kind) = match (judged.is_unexpected(), judged.verdict) {
        (false, Verdict::Passed) => return TestCaseStatus::success(),
        (false, _) => (TestCaseStatus::skipped(), "known to fail"),
        (true, Verdict::NotJudged) => (
            TestCaseStatus::non_success(NonSuccessKind::Error),
            "not judged",
        ),
        (true, Verdict::Passed) => (
            TestCaseStatus::non_success(NonSuccessKind::Failure),
            "passed unexpectedly",
        ),
        (true, Verdict::Failed) => {
            let clause = judged
                .clauses
                .first()
                .map(String::as_str)
                .unwrap_or_default();
            (TestCaseStatus::non_success(NonSuccessKind::Failure), clause)
        }
    };
    let details: Vec<_> = judged.details.iter().map(ToString::to_string).collect();
    let message = judged.reason.as_deref().unwrap_or(judged.problem());
    status.set_type(kind).set_message(message);
    if !details.is_empty() {
        status.set_description(details.join("\n"));
    }
    status
}
