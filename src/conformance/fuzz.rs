//! The bodies of the fuzz targets. Each makes an input of raw bytes and judges this crate by a law.
//!
//! `fuzz/` calls them through libFuzzer, and `cargo test` calls them with every committed seed. This
//! is the one file of the judge that names the implementation in this crate.

use std::io::{ErrorKind, Read};

use arbitrary::{Arbitrary, Unstructured};

use super::exchange_laws::{CLIENT, FRAMING, Framed, Implementation, SESSION};
use super::laws::{self, LITERAL};
use super::script::{Script, ScriptedPeer};
use super::violation::Violation;
use crate::exchange::Exchange;
use crate::framing::Framing;
use crate::{LIMIT, client, escape, process};

/// The body of a fuzz target.
pub type Target = fn(&[u8]) -> Result<(), Violation>;

/// Every target, by the name of its program and of its folder of seeds.
pub const TARGETS: &[(&str, Target)] = &[
    ("process", |request| laws::check(&process, request)),
    ("segments", |bytes| FRAMING.check(&UPCASE, &script(bytes))),
    ("session", |bytes| SESSION.check(&UPCASE, &script(bytes))),
    ("client", |bytes| CLIENT.check(&UPCASE, &script(bytes))),
    ("escape", |bytes| LITERAL.check(&literal, bytes)),
];

/// Judges `bytes` by the target of that name.
///
/// # Panics
/// If a law is broken, which is how a fuzzer notices it; and if no target has that name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, judge) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    if let Err(violation) = judge(bytes) {
        panic!("{violation}");
    }
}

/// The script that `bytes` stand for. Missing bytes are zeros.
///
/// # Panics
/// Never: any bytes are a script.
#[must_use]
pub fn script(bytes: &[u8]) -> Script<'_> {
    let script = Script::arbitrary_take_rest(Unstructured::new(bytes));
    script.expect("any bytes are a script")
}

/// The implementation of the exchange in this crate.
pub const UPCASE: Implementation = Implementation {
    frame,
    serve,
    exchange,
};

fn frame(stream: &mut dyn Read) -> Framed {
    let (mut framing, mut buffer) = (Framing::new(), [0; 2 * LIMIT]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => framing.end(),
            Ok(count) => framing.push(&buffer[..count]),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => {}
                ErrorKind::TimedOut => return Framed::TimedOut,
                _ => return Framed::Failed,
            },
        }
        if let Some(request) = framing.request() {
            return Framed::Request(request.to_vec());
        }
    }
}

fn serve(peer: &mut ScriptedPeer) {
    let mut exchange = Exchange::new();
    // The result does not matter here: the law judges the recording of the peer.
    while let Err(error) = exchange.advance(peer, process)
        && error.kind() == ErrorKind::WouldBlock
    {}
}

fn exchange(peer: &mut ScriptedPeer, message: &[u8]) -> Option<Vec<u8>> {
    client::exchange_over(peer, message).ok()
}

fn literal(bytes: &[u8]) -> Vec<u8> {
    escape::literal(bytes).into_bytes()
}
