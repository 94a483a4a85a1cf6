//! What a judge found about one implementation, as data that can be kept, joined and shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::violation::{About, Detail, Level, NotPassed};

/// What was found about one implementation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What was judged.
    pub judged: Role,
    /// The implementation: a server's address, a client's command line, or a name that a person gave.
    pub implementation: String,
    /// The version of the suite.
    pub suite: String,
    /// The version of SPEC.md that it judges by.
    pub spec: String,
    /// The Unicode version whose mappings it expects (SPEC UPPER-2).
    pub unicode: String,
    /// A result for each vector that was chosen, in the order of the suite.
    pub results: Vec<Judged>,
}

/// The part that an implementation has in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It listens.
    Server,
    /// It connects.
    Client,
}

/// What was found by one vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The ID of the vector.
    pub id: String,
    /// What the judge does, in one line.
    pub description: String,
    /// What the implementation must do, in one line.
    pub requirement: String,
    /// The IDs of the clauses of SPEC.md, the main one first; of a failure, the violated one first.
    pub clauses: Vec<String>,
    /// How binding they are.
    pub level: Level,
    /// How long it took.
    pub seconds: f64,
    /// What was found.
    pub verdict: Verdict,
    /// Why it failed or was not judged, in one line; the same for failures with the same cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was sent, expected and received, and what else helps to find the cause of a failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The implementation does what the vector requires.
    Passed,
    /// It does not.
    Failed,
    /// It could not be judged, for the reason given.
    NotJudged,
}

impl Judged {
    /// What was found by the vector `about`, after `time`.
    #[must_use]
    pub fn new(about: About<'_>, time: Duration, result: Result<(), NotPassed>) -> Self {
        let mut judged = Self {
            id: about.id.into(),
            description: about.description.into(),
            requirement: about.requirement.into(),
            clauses: about.clauses.into(),
            level: about.level,
            seconds: time.as_secs_f64(),
            verdict: Verdict::Passed,
            reason: None,
            details: Vec::new(),
        };
        match result {
            Ok(()) => {}
            Err(NotPassed::NotJudged(reason)) => {
                judged.verdict = Verdict::NotJudged;
                judged.reason = Some(reason);
            }
            Err(NotPassed::Violation(violation)) => {
                judged.verdict = Verdict::Failed;
                judged.clauses = violation.clauses;
                judged.reason = Some(violation.problem);
                judged.details = violation.details;
            }
        }
        judged
    }
}
