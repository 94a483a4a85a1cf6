//! Judges a function from bytes to bytes, by every vector and every law, without a socket.

use super::laws::{self, Function};
use super::vectors::{self, Vector};
use super::violation::{Violation, excerpt};

/// Judges `process`, an implementation of the transformation, by every vector, and by every law on
/// the request of every vector.
///
/// Returns the violations; none if `process` conforms as far as the suite can tell.
///
/// # Panics
/// If `process` does. No request may make it panic (SPEC PROC-2).
#[must_use]
pub fn judge_function(process: Function) -> Vec<Violation> {
    let mut violations = Vec::new();
    for vector in &vectors::suite().vectors {
        violations.extend(vector.judge_function(process).err());
        for (request, _) in vector.exchanges() {
            violations.extend(laws::check(process, &request).err().map(|mut violation| {
                violation.detail("vector", &vector.id);
                violation
            }));
        }
    }
    violations
}

impl Vector {
    /// Judges `process` by the exchanges of this vector. A vector without a complete request does not
    /// apply.
    ///
    /// # Errors
    /// The [`Violation`].
    ///
    /// # Panics
    /// If `process` does.
    pub fn judge_function(&self, process: Function) -> Result<(), Violation> {
        self.exchanges().try_for_each(|(request, expected)| {
            let reply = process(&request);
            if reply == expected {
                return Ok(());
            }
            let mut violation = self.about().violation(&[], "the reply is wrong".into());
            violation.detail("sent", excerpt(&request));
            violation.compare(&expected, &reply);
            Err(violation)
        })
    }
}
