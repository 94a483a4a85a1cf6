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
    let causes = report.causes();
    let mut text = String::new();
    for (number, cause) in (1..).zip(&causes) {
        describe(&mut text, number, cause);
    }
    text + &summary(report, causes.len())
}

fn describe(text: &mut String, number: usize, cause: &[&Judged]) {
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
    let _ = writeln!(text, "{number}. {what}{problem} ({})", vectors(cause.len()));
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

fn summary(report: &Report, causes: usize) -> String {
    let count =
        |is: &dyn Fn(&Judged) -> bool| report.results.iter().filter(|judged| is(judged)).count();
    let with = |verdict| count(&|judged| judged.verdict == verdict && !judged.known_to_fail);
    let mut summary = format!(
        "{}: {} passed",
        vectors(report.results.len()),
        with(Verdict::Passed)
    );
    let failed = with(Verdict::Failed);
    for (count, what) in [
        (failed, "failed"),
        (with(Verdict::NotJudged), "not judged"),
        (
            count(&|judged| judged.known_to_fail && judged.is_unexpected()),
            "passed unexpectedly",
        ),
        (
            count(&|judged| judged.known_to_fail && !judged.is_unexpected()),
            "known to fail",
        ),
    ] {
        if count > 0 || what == "failed" {
            let _ = write!(summary, ", {count} {what}");
        }
    }
    if failed > 1 {
        let _ = write!(summary, "; {causes} to look at");
    }
    summary + "\n"
}

/// "1 vector", "2 vectors".
fn vectors(count: usize) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} vector{s}")
}
