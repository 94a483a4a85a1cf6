//! The laws are strong enough. For each law of the transformation there is a wrong implementation
//! that no other law catches but the model's, and that it catches within the default number of
//! cases. The laws of a conversation and of the literal
//! catch each of the faults below by the committed seeds alone.

#![allow(clippy::format_collect)] // of a few bytes

mod inputs;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::thread;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use upcase::conformance::exchange_laws::{self, Framed, Peer, Turn};
use upcase::conformance::fuzz::course;
use upcase::conformance::laws::{LAWS, LITERAL, Violation, WHITE_SPACE};
use upcase::conformance::reference;
use upcase::exchange::Duplex;
use upcase::{LIMIT, escape, process};

/// A law's name, a fault, and an implementation that has it.
type Subtle = (&'static str, &'static str, fn(&[u8]) -> Vec<u8>);

const SUBTLE: &[Subtle] = &[
    (
        "bounded",
        "adds a byte to a full reply, unless that is ASCII",
        |request| {
            let mut reply = process(request);
            if reply.len() == LIMIT && !reply.is_ascii() {
                reply.push(b'X');
            }
            reply
        },
    ),
    (
        "trimmed",
        "fills a reply with spaces where the cap uncovers some, unless it is ASCII",
        |request| {
            let mut reply = process(request);
            let uncovers = request
                .get(..LIMIT)
                .is_some_and(|head| white(head[LIMIT - 1]));
            if uncovers && !reply.is_ascii() {
                reply.resize(LIMIT, b' ');
            }
            reply
        },
    ),
    ("upper-cased", "keeps U+0345", |request| {
        let kept = String::from_utf8_lossy(request);
        if kept.contains('\u{345}') && std::str::from_utf8(request).is_ok() {
            map(request, |c| {
                if c == '\u{345}' {
                    c.into()
                } else {
                    c.to_uppercase().collect()
                }
            })
        } else {
            process(request)
        }
    }),
    ("ascii", "maps ~ to !", |request| {
        process(request)
            .iter()
            .map(|b| if *b == b'~' { b'!' } else { *b })
            .collect()
    }),
    (
        "well-formed",
        "marks by FF that it has cut a character of well-formed text",
        |request| {
            let mut reply = process(request);
            let head = &request[..request.len().min(LIMIT)];
            let cuts = std::str::from_utf8(request).is_ok() && std::str::from_utf8(head).is_err();
            if cuts && reply.len() < LIMIT {
                reply.push(0xFF);
            }
            reply
        },
    ),
    ("strays-kept", "drops ill-formed bytes", |request| {
        let valid = reference::units(&process(request))
            .into_iter()
            .filter_map(|unit| match unit {
                reference::Unit::Character(c) => Some(c),
                reference::Unit::Stray(_) => None,
            });
        process(valid.collect::<String>().as_bytes())
    }),
    (
        "prefix",
        "refuses well-formed text that is too long, unless that is ASCII",
        |request| {
            let refused = request.len() > LIMIT + 16 && !request.is_ascii();
            if refused && std::str::from_utf8(request).is_ok() {
                b"TOO LONG".into()
            } else {
                process(request)
            }
        },
    ),
    (
        "padding",
        "drops the first letter after a vertical tab, unless that is ASCII",
        |request| {
            let text = std::str::from_utf8(request)
                .ok()
                .filter(|text| text.len() < LIMIT);
            let after = text.and_then(|text| text.strip_prefix('\x0B'));
            let after = after
                .map(|text| text.trim_start_matches(WHITE_SPACE))
                .unwrap_or_default();
            match after.chars().next() {
                Some(first) if !first.is_ascii() => process(&after.as_bytes()[first.len_utf8()..]),
                _ => process(request),
            }
        },
    ),
    (
        "concatenation",
        "makes one letter of a double ß",
        |request| match std::str::from_utf8(request) {
            Ok(text) if text.len() < LIMIT => process(text.replace("ßß", "ß").as_bytes()),
            _ => process(request),
        },
    ),
    ("idempotent", "maps ÿ to Ÿ, and Ÿ to Y", |request| {
        map(request, |c| {
            if c == 'Ÿ' {
                "Y".into()
            } else {
                c.to_uppercase().collect()
            }
        })
    }),
    ("model", "maps ÿ to Y", |request| {
        map(request, |c| {
            if "ÿŸ".contains(c) {
                "Y".into()
            } else {
                c.to_uppercase().collect()
            }
        })
    }),
];

fn white(byte: u8) -> bool {
    WHITE_SPACE.contains(&char::from(byte))
}

/// The right implementation, but for the mapping of a character.
fn map(request: &[u8], letter: fn(char) -> String) -> Vec<u8> {
    let mut mapped = Vec::new();
    for unit in reference::units(&reference::clip(request)) {
        match unit {
            reference::Unit::Character(c) => mapped.extend(letter(c).into_bytes()),
            reference::Unit::Stray(byte) => mapped.push(byte),
        }
    }
    reference::clip(&mapped)
}

/// The laws that `process` breaks in as many cases as a property test has by default, drawn from
/// all the strategies, and from the seed of this number.
fn broken_within_default_cases(process: fn(&[u8]) -> Vec<u8>, seed: u8) -> BTreeSet<&'static str> {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let cases = config.cases;
    assert_eq!(cases, 256, "proptest's default");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let mut broken = BTreeSet::new();
    for _ in 0..cases {
        let input = inputs::requests()
            .new_tree(&mut runner)
            .expect("a request")
            .current();
        let laws = LAWS
            .iter()
            .filter(|law| law.check(&process, &input).is_err());
        broken.extend(laws.map(|law| law.name));
    }
    broken
}

#[test]
fn each_law_alone_catches_a_wrong_implementation_within_the_default_cases() {
    let laws: BTreeSet<_> = LAWS.iter().map(|law| law.name).collect();
    let shown: BTreeSet<_> = SUBTLE.iter().map(|(law, _, _)| *law).collect();
    assert_eq!(shown, laws);
    thread::scope(|scope| {
        for (law, fault, process) in SUBTLE {
            scope.spawn(move || {
                for seed in 0..2 {
                    let mut broken = broken_within_default_cases(*process, seed);
                    broken.retain(|broken| broken == law || *broken != "model");
                    let alone = BTreeSet::from([*law]);
                    assert_eq!(broken, alone, "a process that {fault}, seed {seed}");
                }
            });
        }
    });
}

/// A way in which a stream ends before its reader has had enough, or is interrupted.
type Stop = ErrorKind;

/// Makes a request of `stream`, byte by byte, until `is_done`; what to make of a stop, with the
/// bytes so far, is up to `stopped`: nothing, to go on. The end of the stream is `UnexpectedEof`.
fn frame(
    stream: &mut dyn Read,
    is_done: impl Fn(&[u8]) -> bool,
    stopped: impl Fn(&[u8], Stop) -> Option<Framed>,
) -> Framed {
    let (mut request, mut byte) = (Vec::new(), [0]);
    loop {
        let stop = match stream.read(&mut byte) {
            Ok(0) => ErrorKind::UnexpectedEof,
            Ok(_) => {
                request.extend(byte);
                if is_done(&request) {
                    return Ok(request);
                }
                continue;
            }
            Err(error) => error.kind(),
        };
        if let Some(framed) = stopped(&request, stop) {
            return framed;
        }
    }
}

fn is_done(request: &[u8]) -> bool {
    request.ends_with(b"\n") || request.len() == LIMIT
}

fn stopped(request: &[u8], stop: Stop) -> Option<Framed> {
    match stop {
        ErrorKind::UnexpectedEof => Some(Ok(request.to_vec())),
        ErrorKind::Interrupted | ErrorKind::WouldBlock => None,
        ErrorKind::TimedOut => Some(Err(Turn::TimeOut)),
        _ => Some(Err(Turn::Failure)),
    }
}

fn framed(stream: &mut dyn Read) -> Framed {
    frame(stream, is_done, stopped)
}

/// `stopped`, but for one kind of stop.
fn but(kind: Stop, other: fn(&[u8]) -> Option<Framed>) -> impl Fn(&[u8], Stop) -> Option<Framed> {
    move |request, stop| {
        if stop == kind {
            other(request)
        } else {
            stopped(request, stop)
        }
    }
}

type Faults<T> = &'static [(&'static str, T)];

const WRONG_FRAMINGS: Faults<fn(&mut dyn Read) -> Framed> = &[
    ("makes every request empty", |stream| {
        framed(stream).map(|_| vec![])
    }),
    ("ends at CR", |stream| {
        frame(stream, |r| r.ends_with(b"\r") || is_done(r), stopped)
    }),
    ("ends at 1025 bytes", |stream| {
        frame(stream, |r| r.ends_with(b"\n") || r.len() > LIMIT, stopped)
    }),
    ("ends at 1023 bytes", |stream| {
        frame(stream, |r| is_done(r) || r.len() == LIMIT - 1, stopped)
    }),
    ("leaves the LF out", |stream| {
        let request = framed(stream)?;
        Ok(request.strip_suffix(b"\n").unwrap_or(&request).to_vec())
    }),
    ("reads on after a request", |stream| {
        let request = framed(stream);
        let _ = stream.read(&mut [0]);
        request
    }),
    ("reads on and on after the end", |stream| {
        let request = framed(stream)?;
        if !is_done(&request) {
            (0..3).for_each(|_| drop(stream.read(&mut [0])));
        }
        Ok(request)
    }),
    ("takes an interrupt for a failure", |stream| {
        let wrong = but(ErrorKind::Interrupted, |_| Some(Err(Turn::Failure)));
        frame(stream, is_done, wrong)
    }),
    ("takes an interrupt for the end", |stream| {
        let wrong = but(ErrorKind::Interrupted, |r| Some(Ok(r.to_vec())));
        frame(stream, is_done, wrong)
    }),
    ("takes nothing yet for the deadline", |stream| {
        let wrong = but(ErrorKind::WouldBlock, |_| Some(Err(Turn::TimeOut)));
        frame(stream, is_done, wrong)
    }),
    ("takes nothing yet for a failure", |stream| {
        let wrong = but(ErrorKind::WouldBlock, |_| Some(Err(Turn::Failure)));
        frame(stream, is_done, wrong)
    }),
    ("takes nothing yet for the end", |stream| {
        let wrong = but(ErrorKind::WouldBlock, |r| Some(Ok(r.to_vec())));
        frame(stream, is_done, wrong)
    }),
    ("begins anew where nothing comes yet", |stream| {
        loop {
            let wrong = but(ErrorKind::WouldBlock, |_| Some(Err(Turn::NothingYet)));
            match frame(stream, is_done, wrong) {
                Err(Turn::NothingYet) => {}
                framed => return framed,
            }
        }
    }),
    ("answers what there is at the deadline", |stream| {
        let wrong = but(ErrorKind::TimedOut, |r| Some(Ok(r.to_vec())));
        frame(stream, is_done, wrong)
    }),
    (
        "answers nothing at the deadline, unless there is something",
        |stream| {
            let wrong = but(ErrorKind::TimedOut, |r| {
                Some(if r.is_empty() {
                    Ok(vec![])
                } else {
                    Err(Turn::TimeOut)
                })
            });
            frame(stream, is_done, wrong)
        },
    ),
    ("takes one kind of failure for the end", |stream| {
        let wrong = but(ErrorKind::BrokenPipe, |r| Some(Ok(r.to_vec())));
        frame(stream, is_done, wrong)
    }),
    ("takes a deadline for a failure", |stream| {
        let wrong = but(ErrorKind::TimedOut, |_| Some(Err(Turn::Failure)));
        frame(stream, is_done, wrong)
    }),
    ("takes a failure for a deadline", |stream| {
        let wrong = but(ErrorKind::ConnectionReset, |_| Some(Err(Turn::TimeOut)));
        frame(stream, is_done, wrong)
    }),
    ("takes a failure for the end", |stream| {
        let wrong = but(ErrorKind::ConnectionReset, |r| Some(Ok(r.to_vec())));
        frame(stream, is_done, wrong)
    }),
    ("takes the end for a failure", |stream| {
        let wrong = but(ErrorKind::UnexpectedEof, |_| Some(Err(Turn::Failure)));
        frame(stream, is_done, wrong)
    }),
    (
        "drops a request that the end of the stream ends, if it is empty",
        |stream| {
            let wrong = but(ErrorKind::UnexpectedEof, |r| {
                Some(if r.is_empty() {
                    Err(Turn::Failure)
                } else {
                    Ok(r.to_vec())
                })
            });
            frame(stream, is_done, wrong)
        },
    ),
    ("makes a request of the first segment", |stream| {
        let mut buffer = [0; LIMIT];
        match stream.read(&mut buffer) {
            Ok(count) => Ok(buffer[..count].to_vec()),
            Err(_) => framed(stream),
        }
    }),
    ("tries a failing stream once more", |stream| {
        let request = framed(stream);
        if request.is_err() {
            drop(stream.read(&mut [0]));
        }
        request
    }),
];

fn request(peer: &mut Peer) -> Option<Vec<u8>> {
    framed(peer).ok()
}

/// Whether to make a call again that failed so.
fn goes_on(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// Discards until the end of the stream, or a failure.
fn discard(peer: &mut Peer) {
    discard_until(peer, |error| !goes_on(error));
}

fn discard_until(peer: &mut Peer, is_end: impl Fn(&io::Error) -> bool) {
    let more =
        |read: io::Result<usize>| read.map_or_else(|error| !is_end(&error), |count| count > 0);
    while more(peer.read(&mut [0; LIMIT])) {}
}

/// A right exchange, but for what is done in place of writing the reply, half-closing, and
/// discarding.
fn serve_by(
    peer: &mut Peer,
    write: impl Fn(&mut Peer, &[u8]) -> io::Result<()>,
    half_close: impl Fn(&mut Peer) -> io::Result<()>,
    discard: impl Fn(&mut Peer),
) {
    if let Some(request) = request(peer)
        && write(peer, &process(&request)).is_ok()
        && half_close(peer).is_ok()
    {
        discard(peer);
    }
}

/// All of a right exchange that comes after the request.
fn reply(peer: &mut Peer, reply: &[u8]) {
    if write(peer, reply).is_ok() && half_close(peer).is_ok() {
        discard(peer);
    }
}

fn write(peer: &mut Peer, reply: &[u8]) -> io::Result<()> {
    write_until(peer, reply, |error| !goes_on(error))
}

fn write_until(
    peer: &mut Peer,
    mut reply: &[u8],
    is_end: impl Fn(&io::Error) -> bool,
) -> io::Result<()> {
    while !reply.is_empty() {
        match peer.write(reply) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => reply = &reply[count..],
            Err(error) if is_end(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

fn half_close(peer: &mut Peer) -> io::Result<()> {
    peer.half_close()
}

const WRONG_SESSIONS: Faults<fn(&mut Peer)> = &[
    ("does nothing", |_| {}),
    ("writes nothing", |peer| {
        serve_by(peer, |_, _| Ok(()), half_close, discard);
    }),
    ("echoes", |peer| {
        if let Some(request) = request(peer) {
            reply(peer, &request);
        }
    }),
    ("writes once, and leaves the rest", |peer| {
        serve_by(
            peer,
            |peer, reply| loop {
                match peer.write(reply) {
                    Err(error) if goes_on(&error) => {}
                    other => return other.map(drop),
                }
            },
            half_close,
            discard,
        );
    }),
    ("gives up writing when interrupted", |peer| {
        serve_by(
            peer,
            write_all_but(ErrorKind::Interrupted),
            half_close,
            discard,
        );
    }),
    ("gives up writing where nothing is taken yet", |peer| {
        serve_by(
            peer,
            write_all_but(ErrorKind::WouldBlock),
            half_close,
            discard,
        );
    }),
    ("begins its reply anew where nothing is taken yet", |peer| {
        serve_by(
            peer,
            |peer, reply| {
                let wrong = write_all_but(ErrorKind::WouldBlock);
                loop {
                    match wrong(peer, reply) {
                        Err(error) if goes_on(&error) => {}
                        other => return other,
                    }
                }
            },
            half_close,
            discard,
        );
    }),
    ("ends its side where nothing is taken yet", |peer| {
        serve_by(
            peer,
            |peer, reply| match write_all_but(ErrorKind::WouldBlock)(peer, reply) {
                Err(error) if goes_on(&error) => Ok(()),
                other => other,
            },
            half_close,
            discard,
        );
    }),
    ("writes once more after a failure", |peer| {
        serve_by(
            peer,
            |peer, reply| write(peer, reply).inspect_err(|_| drop(peer.write(reply))),
            half_close,
            discard,
        );
    }),
    ("writes again what it has written", |peer| {
        serve_by(
            peer,
            |peer, reply| {
                write(peer, reply)?;
                write(peer, reply)
            },
            half_close,
            discard,
        );
    }),
    ("writes an LF after the reply", |peer| {
        serve_by(
            peer,
            |peer, reply| write(peer, &[reply, b"\n"].concat()),
            half_close,
            discard,
        );
    }),
    ("writes on after a failure", |peer| {
        serve_by(
            peer,
            |peer, reply| {
                let mut tries = (0..50).map(|_| write(peer, reply));
                tries.find(Result::is_ok).ok_or(ErrorKind::BrokenPipe)?
            },
            half_close,
            discard,
        );
    }),
    ("does not half-close", |peer| {
        serve_by(peer, write, |_| Ok(()), discard);
    }),
    ("half-closes twice", |peer| {
        serve_by(
            peer,
            write,
            |peer| {
                peer.half_close()?;
                peer.half_close()
            },
            discard,
        );
    }),
    ("half-closes before it writes", |peer| {
        serve_by(
            peer,
            |peer, reply| {
                peer.half_close()?;
                write(peer, reply)
            },
            |_| Ok(()),
            discard,
        );
    }),
    ("waits for the end before it answers", |peer| {
        if let Some(request) = request(peer) {
            discard(peer);
            if write(peer, &process(&request)).is_ok() {
                let _ = peer.half_close();
            }
        }
    }),
    ("half-closes only when the peer has", |peer| {
        serve_by(
            peer,
            write,
            |peer| {
                discard(peer);
                peer.half_close()
            },
            discard,
        );
    }),
    ("ends a reply that is cut off in order", |peer| {
        serve_by(
            peer,
            |peer, reply| {
                let _ = write(peer, reply);
                Ok(())
            },
            half_close,
            discard,
        );
    }),
    ("discards once more after the deadline", |peer| {
        serve_by(peer, write, half_close, |peer| {
            (0..2).for_each(|_| discard(peer));
        });
    }),
    ("answers where there is no request", |peer| {
        let request = request(peer).unwrap_or_else(|| b"x".to_vec());
        reply(peer, &process(&request));
    }),
    (
        "answers where there is no request, and goes",
        |peer| match request(peer) {
            None => drop(peer.write(b"X")),
            Some(request) => reply(peer, &process(&request)),
        },
    ),
    ("begins its reply when it knows the first letter", |peer| {
        begin_at(peer, 1);
    }),
    ("begins its reply a byte before the limit", |peer| {
        begin_at(peer, LIMIT - 1);
    }),
    ("does not discard", |peer| {
        serve_by(peer, write, half_close, |_| {});
    }),
    ("discards once", |peer| {
        serve_by(peer, write, half_close, |peer| {
            drop(peer.read(&mut [0; LIMIT]));
        });
    }),
    ("gives up discarding when interrupted", |peer| {
        serve_by(peer, write, half_close, discard_but(ErrorKind::Interrupted));
    }),
    ("gives up discarding where nothing comes yet", |peer| {
        serve_by(peer, write, half_close, discard_but(ErrorKind::WouldBlock));
    }),
    ("discards for ever", |peer| {
        serve_by(peer, write, half_close, |peer| {
            (0..50).for_each(|_| drop(peer.read(&mut [0; LIMIT])));
        });
    }),
];

/// Writes a reply, but that one kind of error, which is none, ends it.
fn write_all_but(kind: ErrorKind) -> impl Fn(&mut Peer, &[u8]) -> io::Result<()> {
    move |peer, reply| write_until(peer, reply, |error| !goes_on(error) || error.kind() == kind)
}

/// Discards, but that one kind of error, which is none, ends it.
fn discard_but(kind: ErrorKind) -> impl Fn(&mut Peer) {
    move |peer| discard_until(peer, |error| !goes_on(error) || error.kind() == kind)
}

/// A right exchange, but that the first letter of the reply is written after so many bytes of the
/// request.
fn begin_at(peer: &mut Peer, length: usize) {
    let early = std::cell::Cell::new(false);
    let begun = |request: &[u8]| {
        early.set(request.len() == length && request[0].is_ascii_alphanumeric());
        early.get() || is_done(request)
    };
    let Ok(mut request) = frame(peer, begun, stopped) else {
        return;
    };
    let mut written = 0;
    if early.get() {
        if write(peer, &request[..1].to_ascii_uppercase()).is_err() {
            return;
        }
        written = 1;
        let rest = |rest: &[u8]| is_done(rest) || rest.len() == LIMIT - length;
        match frame(peer, rest, stopped) {
            Ok(rest) => request.extend(rest),
            _ => return,
        }
    }
    reply(peer, &process(&request)[written..]);
}

/// A right client's reading half, but for what it makes of what came and of how that ended.
fn read_by(
    stream: &mut dyn Read,
    most: usize,
    end: impl Fn(Vec<u8>, bool) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    let in_order = stream.take(most as u64).read_to_end(&mut reply).is_ok();
    end(reply, in_order)
}

fn whole(reply: Vec<u8>, in_order: bool) -> Option<Vec<u8>> {
    (in_order && reply.len() <= LIMIT).then_some(reply)
}

fn read_whole(stream: &mut dyn Read) -> Option<Vec<u8>> {
    read_by(stream, LIMIT + 1, whole)
}

type ReadReply = fn(&mut dyn Read) -> Option<Vec<u8>>;

const WRONG_CLIENTS: Faults<ReadReply> = &[
    ("never has a reply", |_| None),
    ("always has an empty one", |_| Some(vec![])),
    ("reads once", |stream| {
        let mut buffer = [0; LIMIT + 1];
        let count = stream.read(&mut buffer).ok()?;
        whole(buffer[..count].to_vec(), true)
    }),
    ("keeps what came before a failure", |stream| {
        read_by(stream, LIMIT + 1, |reply, _| whole(reply, true))
    }),
    ("cuts a reply that is too long", |stream| {
        read_by(stream, LIMIT, whole)
    }),
    ("keeps a reply of 1025 bytes", |stream| {
        read_by(stream, LIMIT + 2, |reply, in_order| {
            (in_order && reply.len() <= LIMIT + 1).then_some(reply)
        })
    }),
    ("refuses a reply of 1024 bytes", |stream| {
        read_by(stream, LIMIT + 1, |reply, in_order| {
            whole(reply, in_order).filter(|reply| reply.len() < LIMIT)
        })
    }),
    ("reads all, be it too long", |stream| {
        read_by(stream, usize::MAX, whole)
    }),
    ("trims", |stream| {
        Some(read_whole(stream)?.trim_ascii().to_vec())
    }),
    ("refuses what is not text", |stream| {
        read_whole(stream).filter(|reply| str::from_utf8(reply).is_ok())
    }),
    ("gives up when interrupted", |stream| {
        let (mut reply, mut byte) = (Vec::new(), [0]);
        while reply.len() <= LIMIT && stream.read(&mut byte).ok()? > 0 {
            reply.extend(byte);
        }
        whole(reply, true)
    }),
    ("tries a failing stream once more", |stream| {
        let reply = read_whole(stream);
        if reply.is_none() {
            drop(stream.read(&mut [0]));
        }
        reply
    }),
];

fn render(bytes: &[u8]) -> String {
    escape::literal(bytes)
}

/// A literal, but for a character that is written otherwise.
fn render_but(bytes: &[u8], character: char, written: &str) -> String {
    let escaped: String = character
        .to_string()
        .bytes()
        .map(|byte| format!("\\x{byte:02x}"))
        .collect();
    render(bytes).replace(&escaped, written)
}

const WRONG_LITERALS: Faults<fn(&[u8]) -> String> = &[
    ("leaves a control", |bytes| {
        render_but(bytes, '\x1b', "\x1b")
    }),
    ("leaves a C1 control", |bytes| {
        render_but(bytes, '\u{9b}', "\u{9b}")
    }),
    ("leaves DEL", |bytes| render_but(bytes, '\x7f', "\x7f")),
    ("writes LF as \\n", |bytes| render_but(bytes, '\n', "\\n")),
    ("leaves the line separator", |bytes| {
        render_but(bytes, '\u{2028}', "\u{2028}")
    }),
    ("leaves an override", |bytes| {
        render_but(bytes, '\u{202e}', "\u{202e}")
    }),
    ("leaves an isolate", |bytes| {
        render_but(bytes, '\u{2066}', "\u{2066}")
    }),
    ("leaves the last isolate", |bytes| {
        render_but(bytes, '\u{2069}', "\u{2069}")
    }),
    ("leaves a mark", |bytes| {
        render_but(bytes, '\u{200f}', "\u{200f}")
    }),
    ("leaves the Arabic mark", |bytes| {
        render_but(bytes, '\u{61c}', "\u{61c}")
    }),
    ("writes in upper case", |bytes| {
        render(bytes).replace("\\xf", "\\xF")
    }),
    ("writes a sign", |bytes| {
        render(bytes).replace("\\x0", "\\x+")
    }),
    ("escapes all but ASCII", |bytes| {
        if bytes.is_ascii() {
            return render(bytes);
        }
        let hex: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("b'{hex}'")
    }),
    ("leaves the quote", |bytes| {
        render(bytes).replace("\\'", "'")
    }),
    ("leaves the other quote", |bytes| {
        render(bytes).replace("\\\"", "\"")
    }),
    ("leaves the backslash", |bytes| {
        render(bytes).replace(r"\\", r"\")
    }),
    ("replaces what is ill-formed", |bytes| {
        render(String::from_utf8_lossy(bytes).as_bytes())
    }),
    ("omits the quotes", |bytes| render(bytes)[2..].to_owned()),
];

/// The seeds of that target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let entries = fs::read_dir(folder.join(target)).expect(target);
    entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

/// The faults that `judge` finds in none of the seeds of `target`. One that is right is not to be
/// blamed for any.
fn survivors<T: Copy>(
    target: &str,
    right: T,
    wrong: Faults<T>,
    judge: impl Fn(T, &[u8]) -> Result<(), Violation>,
) -> Vec<&'static str> {
    let seeds = seeds(target);
    for seed in &seeds {
        if let Err(violation) = judge(right, seed) {
            panic!("a right implementation is blamed: {violation}");
        }
    }
    let caught = |implementation| {
        seeds
            .iter()
            .any(|seed| judge(implementation, seed).is_err())
    };
    let survive = wrong.iter().filter(|(_, wrong)| !caught(*wrong));
    survive.map(|(fault, _)| *fault).collect()
}

#[test]
fn the_other_laws_catch_every_fault_by_the_seeds() {
    let right: fn(&mut dyn Read) -> Framed = framed;
    let left = survivors("segments", right, WRONG_FRAMINGS, |frame, seed| {
        exchange_laws::framing(&frame, &course(seed))
    });
    assert_eq!(left, [""; 0], "framings survive");
    let right: fn(&mut Peer) = |peer| serve_by(peer, write, half_close, discard);
    let left = survivors("session", right, WRONG_SESSIONS, |serve, seed| {
        exchange_laws::session(&serve, &course(seed))
    });
    assert_eq!(left, [""; 0], "sessions survive");
    let right: ReadReply = read_whole;
    let left = survivors("client", right, WRONG_CLIENTS, |read, seed| {
        exchange_laws::client(&read, &course(seed))
    });
    assert_eq!(left, [""; 0], "clients survive");
    let right: fn(&[u8]) -> String = render;
    let left = survivors("escape", right, WRONG_LITERALS, |render, seed| {
        LITERAL.check(&render, seed)
    });
    assert_eq!(left, [""; 0], "literals survive");
}

#[test]
fn the_law_of_the_literal_says_what_is_wrong_by_more_than_the_model() {
    for (bytes, rendered, says) in [
        ("\n", "b'\n'", "no control, and no separator of lines"),
        ("x", "b'\u{2028}'", "no control, and no separator of lines"),
        (
            "x",
            "b'xxxxx'",
            "at most four bytes for one, and three around them",
        ),
        ("x", "b'y'", "a literal that reads back to its bytes"),
        ("\"", "b'\"'", "a literal that reads back to its bytes"),
        ("x", r"b'\x78'", r#"b"b\'x\'""#),
    ] {
        let judged = LITERAL.check(&|_| rendered.into(), bytes.as_bytes());
        assert_eq!(judged.unwrap_err().breach.wanted, says, "{rendered:?}");
    }
}

#[test]
fn a_client_may_take_as_much_again_and_find_the_end_three_times_but_no_more() {
    let judge = |taken: usize, ends: usize| {
        let wire = vec![b'A'; taken];
        let course = steady(b'*', b'e', &wire);
        let client = |stream: &mut dyn Read| {
            let mut reply = vec![0; taken];
            stream.read_exact(&mut reply).unwrap();
            (0..ends).for_each(|_| assert_eq!(stream.read(&mut [0]).unwrap(), 0));
            whole(reply, true)
        };
        exchange_laws::client(&client, &course).is_ok()
    };
    assert!(judge(2 * LIMIT, 3));
    assert!(!judge(2 * LIMIT + 1, 1));
    assert!(!judge(1, 4));
}

/// A course in which the same happens at every read, and at every write, by their letters.
fn steady(reads: u8, writes: u8, wire: &[u8]) -> exchange_laws::Conversation<'_> {
    exchange_laws::Conversation {
        reads: [Turn::from(reads); exchange_laws::TURNS],
        writes: [Turn::from(writes); exchange_laws::TURNS],
        wire,
    }
}

/// Whether `serve` is right by the law of a session on such a course.
fn is_right(serve: fn(&mut Peer), reads: u8, writes: u8, wire: &[u8]) -> bool {
    exchange_laws::session(&serve, &steady(reads, writes, wire)).is_ok()
}

#[test]
fn a_server_ends_its_side_after_the_request_or_the_deadline_and_not_before() {
    let early: fn(&mut Peer) = |peer| {
        let _ = peer.half_close();
        discard(peer);
    };
    let late: fn(&mut Peer) = |peer| {
        discard(peer);
        let _ = peer.half_close();
    };
    for (reads, wire) in [(b'*', &b" \n"[..]), (b't', b"")] {
        assert!(!is_right(early, reads, b'*', wire));
    }
    let letter_by_letter: fn(&mut Peer) = |peer| {
        let mut letter = [0];
        while peer.read(&mut letter).is_ok_and(|count| count > 0) && letter[0] != b'\n' {
            let _ = peer.write_all(&letter);
        }
        let _ = peer.half_close();
        discard(peer);
    };
    assert!(!is_right(letter_by_letter, b'1', b'*', b"ABC\n"));
    assert!(is_right(late, b't', b'*', b""));
}

#[test]
fn a_server_may_end_the_side_of_a_connection_that_is_gone_but_not_a_reply_that_it_cut_off() {
    let always: fn(&mut Peer) = |peer| {
        if let Some(request) = request(peer) {
            let _ = peer.write(b"");
            let _ = peer.write_all(&process(&request));
            let _ = peer.half_close();
            let _ = peer.read(&mut []);
            discard(peer);
        }
    };
    for (writes, right) in [(b'*', true), (b'x', true), (b't', false), (b'e', false)] {
        assert_eq!(is_right(always, b'*', writes, b"hello\n"), right);
    }
}

#[test]
fn a_server_may_find_the_end_of_the_stream_again_before_it_answers() {
    let twice: fn(&mut Peer) = |peer| {
        let mut request = Vec::new();
        for _ in 0..2 {
            let _ = peer.read_to_end(&mut request);
        }
        reply(peer, &process(&request));
    };
    assert!(is_right(twice, b'*', b'*', b"hello"));
}

#[test]
#[should_panic = "it spins on no bytes"]
fn a_server_that_spins_on_an_empty_buffer_is_stopped() {
    is_right(|peer| while peer.read(&mut []).is_ok() {}, b'*', b'*', b"");
}

#[test]
fn a_client_is_not_judged_by_the_size_of_its_buffer() {
    let client = |stream: &mut dyn Read| {
        let (mut reply, mut buffer) = (Vec::new(), [0; 8192]);
        while reply.len() <= LIMIT {
            match stream.read(&mut buffer).ok()? {
                0 => return Some(reply),
                count => reply.extend(&buffer[..count]),
            }
        }
        None
    };
    for length in [LIMIT - 1, LIMIT, LIMIT + 1, 5 * LIMIT] {
        let wire = vec![b'A'; length];
        let course = steady(b'*', b'e', &wire);
        assert!(exchange_laws::client(&client, &course).is_ok(), "{length}");
    }
}

#[test]
fn a_segment_has_a_byte_at_least() {
    let mut course = course(b"");
    course.reads = [Turn::Segment(0); exchange_laws::TURNS];
    course.writes = course.reads;
    course.wire = b"x\n";
    let mut peer = Peer::new(&course);
    assert_eq!(request(&mut peer), Some(b"x\n".to_vec()));
    assert!(write(&mut peer, b"X").is_ok());
}

#[test]
fn a_peer_takes_nothing_after_a_half_close() {
    let mut peer = Peer::new(&course(b""));
    assert!(peer.half_close().is_ok());
    assert!(peer.write(b"x").is_err());
}

#[test]
fn a_peer_that_is_gone_fails_a_half_close_and_no_other_does() {
    for ending in [Turn::End, Turn::TimeOut, Turn::Failure] {
        let mut reads = [ending; exchange_laws::TURNS];
        reads[0] = Turn::Segment(usize::MAX);
        let course = exchange_laws::Conversation {
            reads,
            writes: reads,
            wire: b"x\n",
        };
        let mut peer = Peer::new(&course);
        assert!(peer.half_close().is_ok(), "it has not gone yet");
        assert_eq!(request(&mut peer), Some(b"x\n".to_vec()));
        assert_eq!(peer.half_close().is_err(), ending == Turn::Failure);
    }
}
