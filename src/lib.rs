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
//! - [`escape`]: how bytes are shown on a terminal or in a log. [`transcript`]: the server's log.
//! - `conformance`, with the feature `conformance`: everything that judges an implementation.
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
pub mod deadline;
pub mod escape;
pub mod exchange;
pub mod framing;
mod process;
#[cfg(feature = "server")]
pub mod server;
pub mod transcript;

pub use process::uppercase::{BUFFER, upper};
pub use process::{LIMIT, clip, process, process_into};

/// The code in README.md compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
