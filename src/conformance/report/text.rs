//! A report for a terminal: failures in groups with the same cause, and a summary.

use std::fmt::Write;

use super::{Judged, Report, Role, Verdict};
use crate::conformance::clauses::clause;

/// The longest line of IDs.
const WIDTH: usize = 100;

/// What is judged by what, in one line.
#[must_use]
pub fn title(report: &Report) -> String {
    let Report {
        suite,
        spec,
        unicode,
        implementation,
        ..
    } = report;
    let role = match report.judged {
        Role::Server => "server",
        Role::Client => "client",
    };
    format!(
        "UPCASE suite {suite} (SPEC {spec}, Unicode {unicode}) judges the {role} {implementation}\n"
    )
}

/// Each cause with its first example, and then a summary, with line feeds.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for (number, cause) in (1..).zip(report.causes()) {
        describe(&mut text, number, &cause);
    }
    text + &summary(report)
}

fn describe(text: &mut String, place: usize, cause: &[&Judged]) {
    let (first, others) = cause.split_first().expect("a cause has an example");
    let what = match first.verdict {
        Verdict::Passed => String::new(),
        Verdict::NotJudged => "not judged: ".into(),
        Verdict::Failed => first
            .clauses
            .first()
            .map(|id| format!("{id}: "))
            .unwrap_or_default(),
    };
    let problem = first.problem();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{place}. {what}{problem} ({})",
        number(cause.len(), "vector")
    );
    let violated = first
        .clauses
        .first()
        .filter(|_| first.verdict == Verdict::Failed);
    if let Some(text_of_clause) = violated.and_then(|id| clause(id)) {
        let _ = writeln!(text, "   {text_of_clause}");
    }
    let _ = writeln!(
        text,
        "   {} ({}, {})",
        first.id,
        first.level,
        first.clauses.join(", ")
    );
    for detail in &first.details {
        let _ = writeln!(text, "     {detail}");
    }
    let mut line = String::from("  ");
    for other in others {
        if line.len() + 1 + other.id.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line.truncate(2);
        }
        let _ = write!(line, " {}", other.id);
    }
    if !others.is_empty() {
        let _ = writeln!(text, "{line}");
    }
    text.push('\n');
}

fn summary(report: &Report) -> String {
    let count = |is: fn(&Judged) -> bool| report.results.iter().filter(|judged| is(judged)).count();
    let causes = report.causes().into_iter();
    let causes = causes
        .filter(|cause| cause[0].verdict == Verdict::Failed)
        .count();
    let passed = count(|judged| judged.verdict == Verdict::Passed && !judged.known_to_fail);
    let failed = count(|judged| judged.verdict == Verdict::Failed && !judged.known_to_fail);
    let mut summary = format!(
        "{}: {passed} passed, {failed} failed",
        number(report.results.len(), "vector")
    );
    if failed > 0 {
        let _ = write!(summary, " by {}", number(causes, "cause"));
    }
    for (count, what) in [
        (
            count(|judged| judged.verdict == Verdict::NotJudged && !judged.known_to_fail),
            "not judged",
        ),
        (
            count(|judged| judged.known_to_fail && judged.is_unexpected()),
            "passed unexpectedly",
        ),
        (
            count(|judged| judged.known_to_fail && !judged.is_unexpected()),
            "known to fail",
        ),
    ] {
        if count > 0 {
            let _ = write!(summary, ", {count} {what}");
        }
    }
    summary + "\n"
}

/// "1 vector", "2 vectors".
fn number(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}
