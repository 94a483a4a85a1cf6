//! What a judge found about one implementation, as data that can be kept, joined and shown.
//!
//! As JSON, a [`Report`] is as `src/conformance/report/schema.json` explains it. The modules have the
//! other forms.

#[cfg(feature = "judge")]
pub mod html;
#[cfg(feature = "judge")]
pub mod junit;
pub mod tap;
pub mod text;

#[cfg(feature = "judge")]
use std::ffi::OsStr;
use std::ops::Not;
#[cfg(feature = "judge")]
use std::path::Path;
#[cfg(feature = "judge")]
use std::slice;
use std::time::Instant;

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

/// A form in which a report can be written.
#[cfg(feature = "judge")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`junit`]
    Junit,
    /// The [`Report`] itself.
    Json,
    /// [`tap`]
    Tap,
    /// [`html`]
    Html,
}

#[cfg(feature = "judge")]
impl Format {
    /// The format that the end of a file's name stands for.
    ///
    /// # Errors
    /// What is wrong with the end, on one line.
    pub fn of(file: &Path) -> Result<Self, String> {
        match file.extension().and_then(OsStr::to_str) {
            Some("xml") => Ok(Self::Junit),
            Some("json") => Ok(Self::Json),
            Some("tap") => Ok(Self::Tap),
            Some("html") => Ok(Self::Html),
            _ => Err(
                "no format is known by the end of this name; use .xml, .json, .tap or .html".into(),
            ),
        }
    }

    /// The report in this format.
    ///
    /// # Panics
    /// Never: a report can be written as JSON.
    #[must_use]
    pub fn show(self, report: &Report) -> String {
        match self {
            Self::Junit => junit::junit(report),
            Self::Json => {
                serde_json::to_string_pretty(report).expect("no map with other keys") + "\n"
            }
            Self::Tap => tap::tap(report),
            Self::Html => html::html(slice::from_ref(report)),
        }
    }
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
    /// Whether a person has listed the vector as one that does not pass yet.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub known_to_fail: bool,
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
    /// What `judge` finds by the vector `about`.
    #[must_use]
    pub fn by(about: About<'_>, judge: impl FnOnce() -> Result<(), NotPassed>) -> Self {
        let start = Instant::now();
        let result = judge();
        let mut judged = Self {
            id: about.id.into(),
            description: about.description.into(),
            requirement: about.requirement.into(),
            clauses: about.clauses.into(),
            level: about.level,
            seconds: start.elapsed().as_secs_f64(),
            verdict: Verdict::Passed,
            known_to_fail: false,
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

    /// Whether it must be looked at: it did not pass, or it passed although it is known to fail.
    #[must_use]
    pub fn is_unexpected(&self) -> bool {
        (self.verdict == Verdict::Passed) == self.known_to_fail
    }

    /// What must be looked at, on one line; empty if it is as expected.
    #[must_use]
    pub fn problem(&self) -> &str {
        match (self.is_unexpected(), &self.reason) {
            (false, _) => "",
            (true, Some(reason)) => reason,
            (true, None) => "it passed, but is listed as known to fail: remove it from the list",
        }
    }
}

impl Report {
    /// Whether all is as expected, and something was judged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is_judged = |judged: &Judged| judged.verdict != Verdict::NotJudged;
        let mut results = self.results.iter();
        results.clone().any(is_judged) && !results.any(Judged::is_unexpected)
    }

    /// What must be looked at, in groups with the same verdict, problem and main clause: failures first, and
    /// large groups first.
    #[must_use]
    pub fn causes(&self) -> Vec<Vec<&Judged>> {
        let mut causes = Vec::<Vec<&Judged>>::new();
        for judged in self.results.iter().filter(|judged| judged.is_unexpected()) {
            let cause = |judged: &Judged| {
                let clause =
                    (judged.verdict == Verdict::Failed).then(|| judged.clauses.first().cloned());
                (judged.verdict, judged.problem().to_owned(), clause)
            };
            let known = causes
                .iter_mut()
                .find(|group| cause(group[0]) == cause(judged));
            match known {
                Some(group) => group.push(judged),
                None => causes.push(vec![judged]),
            }
        }
        causes.sort_by_key(|group| {
            (
                group[0].verdict != Verdict::Failed,
                usize::MAX - group.len(),
            )
        });
        causes
    }
}
