//! UPCASE: a client sends one short text over TCP; the server trims it, upper-cases it and
//! sends it back, 1024 bytes at most. This crate is the protocol's reference implementation;
//! `SPEC.md` is its specification, whose clauses the documentation here cites by their IDs.
//!
//! ```
//! assert_eq!(upcase::process("  Olá, servidor!\r\n".as_bytes()), "OLÁ, SERVIDOR!".as_bytes());
//! ```
//!
//! # What is where
//!
//! - [`process`] and [`process_into`], [`clip`], [`upper`] and [`LIMIT`]: the pure transformation.
//! - [`framing`]: where a request ends, given the bytes of a stream as they come.
//! - [`exchange`]: the server's side of one exchange, as a state machine; [`deadline`]: a stream
//!   that ends by one instant.
//! - `server`, with the feature `server`: a listener served by event loops. [`client`]: the other
//!   side of an exchange.
//! - [`render`]: how bytes are shown on a terminal or in a log. [`log`]: the server's transcript.
//! - [`laws`] and [`conversation`]: what is true of every right implementation, to judge any by:
//!   of the transformation, and of an exchange. [`model`]: the naive implementation that the laws
//!   compare with.
//! - `conformance` and `spec`, with the feature `conformance`: the vectors, and the judge of
//!   functions and of servers in any language; the clauses of SPEC.md.
//! - `targets`, with the feature `arbitrary`: the bodies of the fuzz targets.
//!
//! Without default features (`default-features = false`) the library has no dependencies.
//!
//! # Limits
//!
//! Requests and replies are of [`LIMIT`] bytes at most. The mapping is that of Unicode 17.0.0,
//! whatever the toolchain: the table is this crate's own.
//!
//! # What this is not
//!
//! There is no encryption, no authentication, no second request on a connection, no
//! locale-dependent casing and no normalisation.

pub mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod conversation;
pub mod deadline;
pub mod exchange;
pub mod framing;
pub mod laws;
pub mod log;
pub mod model;
mod process;
pub mod render;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "conformance")]
pub mod spec;
mod table;
#[cfg(feature = "arbitrary")]
pub mod targets;
mod upper;

pub use process::{clip, process, process_into};
pub use upper::{BUFFER, upper};

/// The most bytes that a request or a reply has (SPEC CAP-2).
pub const LIMIT: usize = 1024;

/// The code in README.md compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
