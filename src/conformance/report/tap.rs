//! A report in the Test Anything Protocol, version 14: <https://testanything.org/>.

use std::fmt::Write;

use super::{Judged, Report, text};

/// The report. What is known to fail is a `TODO`, which does not count. What passed although it is known
/// to fail, and what was not judged, is `not ok`.
#[must_use]
pub fn tap(report: &Report) -> String {
    let count = report.results.len();
    let mut tap = format!("TAP version 14\n1..{count}\n# {}", text::title(report));
    for (number, judged) in (1..).zip(&report.results) {
        let (ok, todo) = match (judged.is_unexpected(), judged.known_to_fail) {
            (true, _) => ("not ok", ""),
            (false, true) => ("not ok", " # TODO known to fail"),
            (false, false) => ("ok", ""),
        };
        // Writing to a String does not fail.
        let _ = writeln!(tap, "{ok} {number} - {}{todo}", judged.id);
        if ok != "ok" {
            describe(&mut tap, judged);
        }
    }
    tap
}

/// A block of YAML.
fn describe(tap: &mut String, judged: &Judged) {
    let message = judged.reason.as_deref().unwrap_or(judged.problem());
    let _ = writeln!(tap, "  ---\n  message: {}\n  clauses:", quoted(message));
    for clause in &judged.clauses {
        let _ = writeln!(tap, "    - {}", quoted(clause));
    }
    if !judged.details.is_empty() {
        let _ = writeln!(tap, "  details:");
    }
    for detail in &judged.details {
        let _ = writeln!(
            tap,
            "    - {}: {}",
            quoted(&detail.label),
            quoted(&detail.text)
        );
    }
    let _ = writeln!(tap, "  ...");
}

/// A text in JSON is also one in YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
