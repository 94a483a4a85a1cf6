//! UPCASE: a client sends one short text over TCP; the server trims it, upper-cases it and sends it
//! back, 1024 bytes at most. This crate is the reference implementation. `SPEC.md` is the
//! specification; the documentation here cites its clauses by their IDs.
//!
//! # Transform a text
//!
//! [`process`] is the whole transformation, from any bytes to the bytes of the reply:
//!
//! ```
//! assert_eq!(upcase::process("  Olá, servidor!\r\n".as_bytes()), "OLÁ, SERVIDOR!".as_bytes());
//! ```
//!
//! # Serve, and ask
//!
//! `server`, with the feature `server`, serves listeners until it is stopped. `client`, with the feature
//! `std`, makes one exchange:
//!
#![cfg_attr(feature = "server", doc = "```")]
#![cfg_attr(not(feature = "server"), doc = "```ignore")]
//! use std::{num::NonZeroUsize, thread, time::Duration};
//! use upcase::{client, server};
//!
//! let timeout = Duration::from_secs(5);
//! let listener = server::listen("127.0.0.1:0".parse().unwrap())?;
//! let server = server::Server::new([listener], timeout, NonZeroUsize::new(100).unwrap())?;
//! let (address, stop) = (server.addresses()[0], server.stop_handle());
//! let serving = thread::spawn(|| server.run(&upcase::process));
//!
//! assert_eq!(client::exchange(address, "straße".as_bytes(), timeout).unwrap(), b"STRASSE");
//!
//! stop.stop();
//! serving.join().unwrap()?;
//! # std::io::Result::Ok(())
//! ```
//!
//! For a server of your own, [`exchange`] is the server's side of one exchange as a state machine,
//! without a socket, and [`framing`] is its first part.
//!
//! # Judge a function
//!
//! `conformance`, with the feature `conformance`, judges other implementations. It needs no socket
//! for a function:
//!
#![cfg_attr(feature = "conformance", doc = "```")]
#![cfg_attr(not(feature = "conformance"), doc = "```ignore")]
//! let mine = |request: &[u8]| upcase::process(request); // yours
//! for violation in upcase::conformance::judge_function(&mine) {
//!     panic!("{violation}");
//! }
//! ```
//!
//! # Judge a server
//!
//! The vectors judge a server in any language over TCP. In a clone of the project,
//! `cargo judge server HOST:PORT` does it; from Rust:
//!
#![cfg_attr(feature = "conformance", doc = "```no_run")]
#![cfg_attr(not(feature = "conformance"), doc = "```ignore")]
//! use upcase::conformance::{ServerJudge, vectors::suite};
//!
//! let judge = ServerJudge::find("localhost:8080").unwrap();
//! let judged = suite().vectors.iter().map(|vector| judge.judge(vector));
//! println!("{} violations", judged.filter(Result::is_err).count());
//! ```
//!
//! # Features
//!
//! The defaults, `cli` and `judge`, are for the programs. `cli` includes `server`, and adds the log. `judge` includes
//! `conformance`, and adds what the program `upcase-judge` needs. `arbitrary` includes `conformance` and adds the bodies
//! of the fuzz targets.
//!
//! A user of the library can leave them out: with `default-features = false` the crate has no dependencies and is
//! `no_std`. It then has the transformation, [`framing`], [`exchange`] and [`escape`], and needs an allocator. `std`
//! adds what needs the standard library, and no dependency: `client`, `deadline`, `exchange::Duplex` and
//! `Exchange::advance`. All other features include `std`.
//!
//! # Limits
//!
//! A request and a reply have at most [`LIMIT`] bytes, and a connection carries one of each. The
//! mapping is that of Unicode 17.0.0 with any toolchain: the table is part of this crate. There is no
//! encryption, no authentication, no locale-dependent casing and no normalisation.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "cli")]
pub mod address;
#[cfg(feature = "std")]
pub mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "std")]
pub mod deadline;
pub mod escape;
pub mod exchange;
pub mod framing;
#[cfg(feature = "cli")]
pub mod log;
#[cfg(any(feature = "cli", feature = "conformance", feature = "server"))]
#[doc(hidden)] // public only for the programs
pub mod platform;
mod process;
#[cfg(feature = "server")]
pub mod server;

pub use process::{Buffer, LIMIT, clip, process, process_into, upper};

/// The code in README.md compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
