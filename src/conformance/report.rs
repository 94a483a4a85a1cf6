//! What a judge finds: violations, and how they are shown.

use std::fmt;

use super::{clauses, reference};

/// A violation of a law or a vector by an implementation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the law, or the ID of the vector.
    pub rule: String,
    /// The IDs of the clauses of SPEC.md that the rule follows from.
    pub clauses: Vec<String>,
    /// What is wrong, in one line.
    pub problem: String,
    /// What was sent, expected and received, and what else helps to find the cause; one line each.
    pub details: Vec<String>,
}

impl Violation {
    /// A violation with the text of each clause as its first details.
    pub(super) fn new(rule: &str, clauses: &[String], problem: String) -> Self {
        let text = |id: &String| format!("{id}: {}", clauses::clause(id).unwrap_or_default());
        Self {
            rule: rule.into(),
            clauses: clauses.into(),
            problem,
            details: clauses.iter().map(text).collect(),
        }
    }

    /// Adds what was `expected` and what was `received`, and where they differ first.
    pub(super) fn compare(&mut self, expected: &[u8], received: &[u8]) {
        self.detail("expected", excerpt(expected));
        self.detail("received", excerpt(received));
        if expected != received {
            let pairs = expected.iter().zip(received);
            let offset = pairs.take_while(|(expected, received)| expected == received);
            let offset = offset.count();
            let at = |bytes: &[u8]| match bytes.get(offset) {
                Some(byte) => format!("{byte:02x}"),
                None => "the end".into(),
            };
            let (expected, received) = (at(expected), at(received));
            let difference = format!("offset {offset}: expected {expected}, received {received}");
            self.detail("differs", difference);
        }
    }

    /// Adds a line.
    pub(super) fn detail(&mut self, label: &str, text: impl fmt::Display) {
        self.details.push(format!("{label:<9}{text}"));
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, problem, .. } = self;
        write!(f, "{rule} ({}): {problem}", self.clauses.join(", "))?;
        let mut details = self.details.iter();
        details.try_for_each(|detail| write!(f, "\n    {detail}"))
    }
}

impl std::error::Error for Violation {}

/// An input on which a law does not hold. The law adds its name.
pub(super) struct Counterexample {
    /// The input that shows it: the one that the law was given, or one derived from it.
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    /// What was expected, in words or as a byte string.
    pub expected: String,
}

impl Counterexample {
    pub fn violates(self, law: &str, clauses: &[&str], statement: &str) -> Violation {
        let clauses: Vec<String> = clauses.iter().map(|id| (*id).into()).collect();
        let problem = format!("it does not hold that {statement}");
        let mut violation = Violation::new(law, &clauses, problem);
        violation.detail("input", byte_string(&self.input));
        violation.detail("output", byte_string(&self.output));
        violation.detail("expected", self.expected);
        violation
    }
}

/// `bytes` as a byte string of Rust, all of them, to be pasted into a test.
pub(super) fn byte_string(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

/// `bytes` as a byte literal (SPEC LOG-3). If they are more than 64: the first 32 and the last 16,
/// with `…` between, and their number.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    match bytes.len() {
        ..=64 => reference::literal(bytes),
        length => {
            let (first, last) = (&bytes[..32], &bytes[length - 16..]);
            let (first, last) = (reference::literal(first), reference::literal(last));
            format!("{first}…{last} ({length} bytes)")
        }
    }
}
