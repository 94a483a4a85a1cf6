//! What a judge finds: that a rule holds, that it is violated, or that it cannot be judged; and how
//! this is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{clauses, reference};

/// What a vector says about itself, for any kind of implementation.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// A stable ID: `area.what-it-shows`.
    pub id: &'a str,
    /// What the judge does, in one line.
    pub description: &'a str,
    /// What the implementation must do, in one line.
    pub requirement: &'a str,
    /// The IDs of the clauses of SPEC.md that it judges, the main one first.
    pub clauses: &'a [String],
    /// How binding they are.
    pub level: Level,
}

/// The RFC 2119 level of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// An implementation that fails does not conform.
    Must,
    /// An implementation that fails needs a reason.
    Should,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        })
    }
}

impl About<'_> {
    /// A violation of the vector, of these `clauses` first, and then of its own.
    pub(super) fn violation(&self, clauses: &[&str], problem: String) -> Violation {
        let mut all: Vec<String> = clauses.iter().map(|id| (*id).into()).collect();
        let own = (self.clauses.iter()).filter(|id| !clauses.contains(&id.as_str()));
        all.extend(own.cloned());
        let mut violation = Violation::new(self.id, &all, problem);
        violation.detail("does", self.description);
        violation.detail("must", self.requirement);
        violation
    }
}

/// A violation of a law or a vector by an implementation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the law, or the ID of the vector.
    pub rule: String,
    /// The IDs of the clauses of SPEC.md that the rule follows from.
    pub clauses: Vec<String>,
    /// What is wrong, in one line. Violations with the same cause have the same problem: what differs
    /// between them is in the details.
    pub problem: String,
    /// What was sent, expected and received, and what else helps to find the cause.
    pub details: Vec<Detail>,
}

/// A line of a [`Violation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What it is, such as `sent`, `expected` or `received`.
    pub label: String,
    /// The line.
    pub text: String,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9}{}", self.label, self.text)
    }
}

/// Why an implementation did not pass a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPassed {
    /// It violates SPEC.md.
    Violation(Violation),
    /// It was not judged, for this reason: it failed before, or this machine lacks something.
    NotJudged(String),
}

impl fmt::Display for NotPassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::NotJudged(reason) => write!(f, "not judged: {reason}"),
        }
    }
}

impl std::error::Error for NotPassed {}

impl Violation {
    /// A violation without details.
    pub(super) fn new(rule: &str, clauses: &[String], problem: String) -> Self {
        Self {
            rule: rule.into(),
            clauses: clauses.into(),
            problem,
            details: Vec::new(),
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
        self.details.push(Detail {
            label: label.into(),
            text: text.to_string(),
        });
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, problem, .. } = self;
        write!(f, "{rule} ({}): {problem}", self.clauses.join(", "))?;
        for id in &self.clauses {
            let text = clauses::clause(id).unwrap_or_default();
            write!(f, "\n    {id}: {text}")?;
        }
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
