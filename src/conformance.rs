//! The judge: what decides whether an implementation conforms to SPEC.md.
//!
//! It judges a function from bytes to bytes by [`judge_function`], a running server in any language
//! by a [`ServerJudge`], and anything that takes a stream by the [`exchange_laws`]. It expects what
//! the [`vectors`] state and what the [`reference`](mod@reference) computes. It names of the rest of this
//! crate only what it drives, except in `fuzz`, which connects the laws with this implementation.
//!
//! Judge a function, without a socket:
//!
//! ```
//! use upcase::conformance::judge_function;
//!
//! let mine = |request: &[u8]| upcase::clip(request).to_ascii_uppercase(); // ASCII only
//! let violations = judge_function(&mine);
//! assert!(violations.iter().any(|violation| violation.rule == "upper.latin-1-last"));
//! assert!(judge_function(&upcase::process).is_empty());
//! ```
//!
//! Judge a server:
//!
//! ```no_run
//! use upcase::conformance::{ServerJudge, judge_all, vectors};
//!
//! let judge = ServerJudge::find("localhost:8080")?;
//! let vectors = &vectors::suite().vectors;
//! let results = judge_all(vectors, 16, |vector| judge.judge(vector), |_| {});
//! for reason in results.into_iter().filter_map(Result::err) {
//!     println!("{reason}");
//! }
//! # Ok::<(), upcase::conformance::NotFound>(())
//! ```
//!
//! The program `upcase-judge` makes a [`report`] of this.
//!
//! What uses what, from the top: the judges and `fuzz`; the reports; the [`vectors`] and the laws; the
//! [`script`]; the [`reference`](mod@reference) and the [`clauses`].

pub mod clauses;
mod client_judge;
pub mod client_vectors;
pub mod exchange_laws;
mod fields;
mod find;
mod function_judge;
#[cfg(feature = "arbitrary")]
pub mod fuzz;
pub mod laws;
pub mod reference;
pub mod report;
pub mod script;
pub mod selection;
mod server_judge;
mod side_by_side;
pub mod vectors;
mod violation;

pub use client_judge::ClientJudge;
pub use find::NotFound;
pub use function_judge::judge_function;
pub use server_judge::ServerJudge;
pub use side_by_side::judge_all;
pub use violation::{About, Detail, Level, NotPassed, Violation};
