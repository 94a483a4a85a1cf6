//! Judges a function from bytes to bytes, by every vector and every law, without a socket.

use super::laws::{self, Function};
use super::report::{Violation, excerpt};
use super::vectors::{self, Vector};

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
        let request = vector.request().unwrap_or_default();
        violations.extend(laws::check(process, &request).err().map(|mut violation| {
            violation.detail("vector", &vector.id);
            violation
        }));
    }
    violations
}

impl Vector {
    /// Judges `process` by this vector. A vector whose request is never complete does not apply.
    ///
    /// # Errors
    /// The [`Violation`].
    ///
    /// # Panics
    /// If `process` does.
    pub fn judge_function(&self, process: Function) -> Result<(), Violation> {
        let Some(request) = self.request() else {
            return Ok(());
        };
        let reply = process(&request);
        if reply == self.expect.reply {
            return Ok(());
        }
        let mut violation = self.violation(&[], "the reply is wrong".into());
        violation.detail("sent", excerpt(&request));
        violation.compare(&self.expect.reply, &reply);
        Err(violation)
    }
}
