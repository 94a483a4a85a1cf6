//! The judge: everything that judges an implementation, of this crate or another.

pub mod clauses;
pub mod exchange_laws;
#[cfg(feature = "arbitrary")]
pub mod fuzz;
pub mod laws;
pub mod reference;
pub mod server_judge;
