//! The bodies of the fuzz targets: each takes raw bytes, makes an input of them, and judges this
//! crate by a law. `fuzz/` calls them by way of libFuzzer, and `cargo test` on every committed
//! seed.

use arbitrary::{Arbitrary, Unstructured};

use std::io::{ErrorKind, Read};

use crate::conformance::exchange_laws::{self, Conversation, Framed, Peer, Turn};
use crate::conformance::laws::{self, Violation};
use crate::exchange::Exchange;
use crate::framing::Framing;
use crate::{LIMIT, client, escape, process};

/// The body of a fuzz target.
pub type Target = fn(&[u8]) -> Result<(), Violation>;

/// Every target, by the name of its file and of its folder of seeds.
pub const ALL: &[(&str, Target)] = &[
    ("process", |request| laws::judge(&process, request)),
    ("segments", |bytes| {
        exchange_laws::framing(&frame, &course(bytes))
    }),
    ("session", |bytes| {
        exchange_laws::session(&serve, &course(bytes))
    }),
    ("client", |bytes| {
        exchange_laws::client(&read_reply, &course(bytes))
    }),
    ("escape", |bytes| {
        laws::LITERAL.check(&escape::literal, bytes)
    }),
];

/// Judges `bytes` by the target of that name.
///
/// # Panics
/// With the violation, where a law is broken: that is how a fuzzer learns of it. Also where there
/// is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = ALL.iter().find(|(target, _)| *target == name);
    let (_, judge) = target.unwrap_or_else(|| panic!("no target is called {name}"));
    if let Err(violation) = judge(bytes) {
        panic!("{violation}");
    }
}

/// The conversation that `bytes` stand for. Too few of them are taken as followed by zeros.
///
/// # Panics
/// Never: any bytes are a conversation.
#[must_use]
pub fn course(bytes: &[u8]) -> Conversation<'_> {
    let course = Conversation::arbitrary_take_rest(Unstructured::new(bytes));
    course.expect("any bytes are a conversation")
}

/// This crate's framing, of a stream that does not block.
///
/// # Errors
/// How the stream ended before a request was complete.
pub fn frame(stream: &mut dyn Read) -> Framed {
    let (mut framing, mut buffer) = (Framing::new(), [0; 2 * LIMIT]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => framing.end(),
            Ok(count) => framing.push(&buffer[..count]),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => {}
                ErrorKind::TimedOut => return Err(Turn::TimeOut),
                _ => return Err(Turn::Failure),
            },
        }
        if let Some(request) = framing.request() {
            return Ok(request.to_vec());
        }
    }
}

/// This crate's exchange, with a peer that does not block.
pub fn serve(peer: &mut Peer) {
    let mut exchange = Exchange::new();
    // What else it returns is for its caller; what it did is judged.
    while let Err(error) = exchange.advance(peer, process)
        && error.kind() == ErrorKind::WouldBlock
    {}
}

fn read_reply(stream: &mut dyn std::io::Read) -> Option<Vec<u8>> {
    client::read_reply(stream).ok()
}
