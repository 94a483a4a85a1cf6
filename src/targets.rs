//! The bodies of the fuzz targets: each takes raw bytes, makes an input of them, and judges this
//! crate by a law. `fuzz/` calls them by way of libFuzzer, and `cargo test` on every committed
//! seed.

use arbitrary::{Arbitrary, Unstructured};

use crate::conversation::{self, Conversation};
use crate::laws::{self, Violation};
use crate::{LIMIT, client, process, process_into, render, request, server};

/// The body of a fuzz target.
pub type Target = fn(&[u8]) -> Result<(), Violation>;

/// Every target, by the name of its file and of its folder of seeds.
pub const ALL: &[(&str, Target)] = &[
    ("process", |request| laws::judge(&process, request)),
    ("segments", |bytes| {
        conversation::framing(
            &|s| request::receive(s, &mut [0; LIMIT]).into(),
            &course(bytes),
        )
    }),
    ("session", |bytes| {
        conversation::session(&serve, &course(bytes))
    }),
    ("client", |bytes| {
        conversation::client(&read_reply, &course(bytes))
    }),
    ("escape", |bytes| {
        laws::LITERAL.check(&render::literal, bytes)
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

fn serve(peer: &mut conversation::Peer) {
    // What it returns is for the caller; what it did is judged.
    let _ = server::exchange(peer, process_into);
}

fn read_reply(stream: &mut dyn std::io::Read) -> Option<Vec<u8>> {
    client::read_reply(stream).ok()
}
