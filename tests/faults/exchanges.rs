//! Wrong framings, sessions and clients: an exchange with one fault each.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};

use upcase::conformance::exchange_laws::{CLIENT, FRAMING, Framed, Implementation, SESSION};
use upcase::conformance::fuzz;
use upcase::conformance::reference::{self, LIMIT, process};
use upcase::conformance::script::{ACTIONS, Action, Script, ScriptedPeer};
use upcase::exchange::Duplex;

/// An exchange with a fault.
pub struct Fault {
    /// What it does.
    pub name: &'static str,
    /// The name of the law that catches it.
    pub law: &'static str,
    /// The exchange: right, except for one part.
    pub implementation: Implementation,
}

/// The right exchange. It is naive, and shares no code with the library.
pub const RIGHT: Implementation = Implementation {
    frame: framed,
    serve,
    exchange,
};

/// Every wrong exchange.
pub fn wrong() -> impl Iterator<Item = &'static Fault> {
    [FRAMINGS, SESSIONS, CLIENTS].into_iter().flatten()
}

const fn framing(name: &'static str, frame: fn(&mut dyn Read) -> Framed) -> Fault {
    Fault {
        name,
        law: FRAMING.name,
        implementation: Implementation { frame, ..RIGHT },
    }
}

const fn session(name: &'static str, serve: fn(&mut ScriptedPeer)) -> Fault {
    Fault {
        name,
        law: SESSION.name,
        implementation: Implementation { serve, ..RIGHT },
    }
}

const fn client(name: &'static str, exchange: Client) -> Fault {
    Fault {
        name,
        law: CLIENT.name,
        implementation: Implementation { exchange, ..RIGHT },
    }
}

/// What a framing does after a read that returned no byte. It gets the bytes so far, and returns the
/// result, or `None` to read on.
type Stopped = fn(&mut Vec<u8>) -> Option<Framed>;

/// Reads a request, byte by byte, until `is_done`. After a read that returned no byte it calls
/// `stopped` with the kind of the error, which is [`ErrorKind::UnexpectedEof`] at the end of the
/// stream.
fn frame_by(
    stream: &mut dyn Read,
    is_done: impl Fn(&[u8]) -> bool,
    stopped: impl Fn(&mut Vec<u8>, ErrorKind) -> Option<Framed>,
) -> Framed {
    let (mut request, mut byte) = (Vec::new(), [0]);
    loop {
        let stop = match stream.read(&mut byte) {
            Ok(0) => ErrorKind::UnexpectedEof,
            Err(error) => error.kind(),
            Ok(_) => {
                request.extend(byte);
                if is_done(&request) {
                    return Framed::Request(request);
                }
                continue;
            }
        };
        if let Some(framed) = stopped(&mut request, stop) {
            return framed;
        }
    }
}

fn is_done(request: &[u8]) -> bool {
    request.ends_with(b"\n") || request.len() == LIMIT
}

fn stopped(request: &mut Vec<u8>, stop: ErrorKind) -> Option<Framed> {
    match stop {
        ErrorKind::UnexpectedEof => TAKE(request),
        ErrorKind::Interrupted | ErrorKind::WouldBlock => None,
        ErrorKind::TimedOut => Some(Framed::TimedOut),
        _ => Some(Framed::Failed),
    }
}

/// Takes what has come as the request.
const TAKE: Stopped = |request| Some(Framed::Request(request.clone()));

fn framed(stream: &mut dyn Read) -> Framed {
    frame_by(stream, is_done, stopped)
}

/// The right framing, except after a read that fails with this kind of error.
fn frame_but(kind: ErrorKind, stream: &mut dyn Read, fault: Stopped) -> Framed {
    frame_by(stream, is_done, |request, stop| {
        if stop == kind {
            fault(request)
        } else {
            stopped(request, stop)
        }
    })
}

const FRAMINGS: &[Fault] = &[
    framing("makes every request empty", |stream| match framed(stream) {
        Framed::Request(_) => Framed::Request(Vec::new()),
        other => other,
    }),
    framing("ends a request at CR", |stream| {
        frame_by(stream, |r| r.ends_with(b"\r") || is_done(r), stopped)
    }),
    framing("ends a request at 1025 bytes", |stream| {
        let is_done = |r: &[u8]| r.ends_with(b"\n") || r.len() > LIMIT;
        frame_by(stream, is_done, stopped)
    }),
    framing("ends a request at 1023 bytes", |stream| {
        frame_by(stream, |r| is_done(r) || r.len() == LIMIT - 1, stopped)
    }),
    framing("removes the LF", |stream| match framed(stream) {
        Framed::Request(request) => {
            Framed::Request(request.strip_suffix(b"\n").unwrap_or(&request).to_vec())
        }
        other => other,
    }),
    framing("reads after the request", |stream| {
        let framed = framed(stream);
        let _ = stream.read(&mut [0]);
        framed
    }),
    framing("reads three more times after the end", |stream| {
        let framed = framed(stream);
        if matches!(&framed, Framed::Request(request) if !is_done(request)) {
            (0..3).for_each(|_| drop(stream.read(&mut [0])));
        }
        framed
    }),
    framing("reads once more after a failure", |stream| {
        let framed = framed(stream);
        if !matches!(framed, Framed::Request(_)) {
            let _ = stream.read(&mut [0]);
        }
        framed
    }),
    framing("takes an interrupt for an error", |stream| {
        frame_but(ErrorKind::Interrupted, stream, |_| Some(Framed::Failed))
    }),
    framing("takes an interrupt for the end", |stream| {
        frame_but(ErrorKind::Interrupted, stream, TAKE)
    }),
    framing("takes not ready for the deadline", |stream| {
        frame_but(ErrorKind::WouldBlock, stream, |_| Some(Framed::TimedOut))
    }),
    framing("takes not ready for an error", |stream| {
        frame_but(ErrorKind::WouldBlock, stream, |_| Some(Framed::Failed))
    }),
    framing("takes not ready for the end", |stream| {
        frame_but(ErrorKind::WouldBlock, stream, TAKE)
    }),
    framing("begins again when not ready", |stream| {
        frame_but(ErrorKind::WouldBlock, stream, |request| {
            request.clear();
            None
        })
    }),
    framing("takes the deadline for the end", |stream| {
        frame_but(ErrorKind::TimedOut, stream, TAKE)
    }),
    framing("takes the deadline for the end if it is empty", |stream| {
        frame_but(ErrorKind::TimedOut, stream, |request| {
            if request.is_empty() {
                TAKE(request)
            } else {
                Some(Framed::TimedOut)
            }
        })
    }),
    framing("takes the deadline for an error", |stream| {
        frame_but(ErrorKind::TimedOut, stream, |_| Some(Framed::Failed))
    }),
    framing("takes a broken pipe for the end", |stream| {
        frame_but(ErrorKind::BrokenPipe, stream, TAKE)
    }),
    framing("takes a reset for the deadline", |stream| {
        frame_but(ErrorKind::ConnectionReset, stream, |_| {
            Some(Framed::TimedOut)
        })
    }),
    framing("takes a reset for the end", |stream| {
        frame_but(ErrorKind::ConnectionReset, stream, TAKE)
    }),
    framing("takes the end for an error", |stream| {
        frame_but(ErrorKind::UnexpectedEof, stream, |_| Some(Framed::Failed))
    }),
    framing("takes the end for an error if it is empty", |stream| {
        frame_but(ErrorKind::UnexpectedEof, stream, |request| {
            if request.is_empty() {
                Some(Framed::Failed)
            } else {
                TAKE(request)
            }
        })
    }),
    framing("takes the first segment for the request", |stream| {
        let mut buffer = [0; LIMIT];
        match stream.read(&mut buffer) {
            Ok(count) => Framed::Request(buffer[..count].to_vec()),
            Err(_) => framed(stream),
        }
    }),
];

fn request(peer: &mut ScriptedPeer) -> Option<Vec<u8>> {
    match framed(peer) {
        Framed::Request(request) => Some(request),
        Framed::TimedOut | Framed::Failed => None,
    }
}

fn serve(peer: &mut ScriptedPeer) {
    serve_by(peer, write, half_close, discard);
}

/// Serves a whole exchange by these three steps.
fn serve_by(
    peer: &mut ScriptedPeer,
    write: impl Fn(&mut ScriptedPeer, &[u8]) -> io::Result<()>,
    half_close: impl Fn(&mut ScriptedPeer) -> io::Result<()>,
    discard: impl Fn(&mut ScriptedPeer),
) {
    if let Some(request) = request(peer)
        && write(peer, &process(&request)).is_ok()
        && half_close(peer).is_ok()
    {
        discard(peer);
    }
}

/// Writes the reply, half-closes and discards.
fn reply(peer: &mut ScriptedPeer, reply: &[u8]) {
    if write(peer, reply).is_ok() && half_close(peer).is_ok() {
        discard(peer);
    }
}

/// Whether a call that failed with this error must be repeated.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

fn write(peer: &mut ScriptedPeer, reply: &[u8]) -> io::Result<()> {
    write_until(peer, reply, |error| !is_temporary(error))
}

/// Writes `reply`, but stops at a temporary error of this kind.
fn write_until_a(kind: ErrorKind, peer: &mut ScriptedPeer, reply: &[u8]) -> io::Result<()> {
    write_until(peer, reply, |error| {
        !is_temporary(error) || error.kind() == kind
    })
}

fn write_until(
    peer: &mut ScriptedPeer,
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

fn half_close(peer: &mut ScriptedPeer) -> io::Result<()> {
    peer.half_close()
}

/// Reads until the end of the stream or an error.
fn discard(peer: &mut ScriptedPeer) {
    discard_until(peer, |error| !is_temporary(error));
}

fn discard_until(peer: &mut ScriptedPeer, is_end: impl Fn(&io::Error) -> bool) {
    loop {
        match peer.read(&mut [0; LIMIT]) {
            Ok(0) => return,
            Err(error) if is_end(&error) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Begins its reply after `length` bytes of the request, if the first is a letter or a digit.
fn begin_at(peer: &mut ScriptedPeer, length: usize) {
    let early = Cell::new(false);
    let begins = |request: &[u8]| {
        early.set(request.len() == length && request[0].is_ascii_alphanumeric());
        early.get() || is_done(request)
    };
    let Framed::Request(mut request) = frame_by(peer, begins, stopped) else {
        return;
    };
    let mut written = 0;
    if early.get() {
        if write(peer, &request[..1].to_ascii_uppercase()).is_err() {
            return;
        }
        written = 1;
        let is_done = |rest: &[u8]| is_done(rest) || rest.len() == LIMIT - length;
        let Framed::Request(rest) = frame_by(peer, is_done, stopped) else {
            return;
        };
        request.extend(rest);
    }
    reply(peer, &process(&request)[written..]);
}

const SESSIONS: &[Fault] = &[
    session("does nothing", |_| {}),
    session("writes nothing", |peer| {
        serve_by(peer, |_, _| Ok(()), half_close, discard);
    }),
    session("echoes", |peer| {
        if let Some(request) = request(peer) {
            reply(peer, &request);
        }
    }),
    session("writes only once", |peer| {
        let once = |peer: &mut ScriptedPeer, reply: &[u8]| loop {
            match peer.write(reply) {
                Err(error) if is_temporary(&error) => {}
                other => return other.map(drop),
            }
        };
        serve_by(peer, once, half_close, discard);
    }),
    session("stops writing when interrupted", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| {
            write_until_a(ErrorKind::Interrupted, peer, reply)
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("stops writing when not ready", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| {
            write_until_a(ErrorKind::WouldBlock, peer, reply)
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("begins its reply again when not ready", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| loop {
            match write_until_a(ErrorKind::WouldBlock, peer, reply) {
                Err(error) if is_temporary(&error) => {}
                other => return other,
            }
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("half-closes when not ready to write", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| match write_until_a(
            ErrorKind::WouldBlock,
            peer,
            reply,
        ) {
            Err(error) if is_temporary(&error) => Ok(()),
            other => other,
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("writes once more after an error", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| {
            write(peer, reply).inspect_err(|_| drop(peer.write(reply)))
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("writes 50 times after an error", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| {
            let mut tries = (0..50).map(|_| write(peer, reply));
            tries.find(Result::is_ok).ok_or(ErrorKind::BrokenPipe)?
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("writes its reply twice", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| write(peer, &reply.repeat(2));
        serve_by(peer, write, half_close, discard);
    }),
    session("writes an LF after its reply", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| write(peer, &[reply, b"\n"].concat());
        serve_by(peer, write, half_close, discard);
    }),
    session("does not half-close", |peer| {
        serve_by(peer, write, |_| Ok(()), discard);
    }),
    session("half-closes twice", |peer| {
        let twice = |peer: &mut ScriptedPeer| peer.half_close().and_then(|()| peer.half_close());
        serve_by(peer, write, twice, discard);
    }),
    session("half-closes before it writes", |peer| {
        let before = |peer: &mut ScriptedPeer, reply: &[u8]| {
            peer.half_close()?;
            write(peer, reply)
        };
        serve_by(peer, before, |_| Ok(()), discard);
    }),
    session("reads to the end before it writes", |peer| {
        if let Some(request) = request(peer) {
            discard(peer);
            if write(peer, &process(&request)).is_ok() {
                let _ = peer.half_close();
            }
        }
    }),
    session("reads to the end before it half-closes", |peer| {
        let after = |peer: &mut ScriptedPeer| {
            discard(peer);
            peer.half_close()
        };
        serve_by(peer, write, after, discard);
    }),
    session("half-closes after an incomplete reply", |peer| {
        let write = |peer: &mut ScriptedPeer, reply: &[u8]| {
            let _ = write(peer, reply);
            Ok(())
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("answers x if there is no request", |peer| {
        let request = request(peer).unwrap_or_else(|| b"x".to_vec());
        reply(peer, &process(&request));
    }),
    session(
        "writes X and closes if there is no request",
        |peer| match request(peer) {
            None => drop(peer.write(b"X")),
            Some(request) => reply(peer, &process(&request)),
        },
    ),
    session("begins its reply at the first letter", |peer| {
        begin_at(peer, 1);
    }),
    session("begins its reply a byte before the limit", |peer| {
        begin_at(peer, LIMIT - 1);
    }),
    session("does not discard", |peer| {
        serve_by(peer, write, half_close, |_| {});
    }),
    session("discards only once", |peer| {
        let once = |peer: &mut ScriptedPeer| drop(peer.read(&mut [0; LIMIT]));
        serve_by(peer, write, half_close, once);
    }),
    session("discards twice", |peer| {
        let twice = |peer: &mut ScriptedPeer| (0..2).for_each(|_| discard(peer));
        serve_by(peer, write, half_close, twice);
    }),
    session("discards by 50 reads", |peer| {
        let endlessly = |peer: &mut ScriptedPeer| {
            (0..50).for_each(|_| drop(peer.read(&mut [0; LIMIT])));
        };
        serve_by(peer, write, half_close, endlessly);
    }),
    session("stops discarding when interrupted", |peer| {
        let discard = |peer: &mut ScriptedPeer| {
            discard_until(peer, |error| error.kind() != ErrorKind::WouldBlock);
        };
        serve_by(peer, write, half_close, discard);
    }),
    session("stops discarding when not ready", |peer| {
        let discard = |peer: &mut ScriptedPeer| {
            discard_until(peer, |error| error.kind() != ErrorKind::Interrupted);
        };
        serve_by(peer, write, half_close, discard);
    }),
];

type Client = fn(&mut ScriptedPeer, &[u8]) -> Option<Vec<u8>>;

fn exchange(peer: &mut ScriptedPeer, message: &[u8]) -> Option<Vec<u8>> {
    exchange_by(peer, message, is_refused, read_reply)
}

/// The right exchange, except for how it reads the reply.
fn reading(
    peer: &mut ScriptedPeer,
    message: &[u8],
    read_reply: impl Fn(&mut dyn Read) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    exchange_by(peer, message, is_refused, read_reply)
}

/// The right exchange, except for which messages it refuses.
fn refusing(
    peer: &mut ScriptedPeer,
    message: &[u8],
    is_refused: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    exchange_by(peer, message, is_refused, read_reply)
}

/// The right exchange, except for what it sends.
fn sending(peer: &mut ScriptedPeer, message: &[u8], request: &[u8]) -> Option<Vec<u8>> {
    if is_refused(message) {
        return None;
    }
    let sent = peer.write_all(request);
    answered(message, read_reply(peer)).filter(|_| sent.is_ok())
}

fn exchange_by(
    peer: &mut ScriptedPeer,
    message: &[u8],
    is_refused: impl Fn(&[u8]) -> bool,
    read_reply: impl Fn(&mut dyn Read) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    if is_refused(message) {
        return None;
    }
    let sent = peer.write_all(&line(message));
    answered(message, read_reply(peer)).filter(|_| sent.is_ok())
}

fn line(message: &[u8]) -> Vec<u8> {
    [message, b"\n"].concat()
}

fn is_refused(message: &[u8]) -> bool {
    let is_line = message.len() < LIMIT && !message.contains(&b'\n');
    !is_line || process(&line(message)) != upper_case(message)
}

/// The whole upper case of the trimmed message, which is not capped.
fn upper_case(message: &[u8]) -> Vec<u8> {
    reference::upper(&reference::clip(message))
}

/// The reply, unless it is empty and the message is a text.
fn answered(message: &[u8], reply: Option<Vec<u8>>) -> Option<Vec<u8>> {
    reply.filter(|reply| !reply.is_empty() || process(message).is_empty())
}

fn read_reply(stream: &mut dyn Read) -> Option<Vec<u8>> {
    read_by(stream, LIMIT + 1, accepted)
}

/// Reads at most `most` bytes. `accept` decides by them, and by whether their end was orderly.
fn read_by(
    stream: &mut dyn Read,
    most: usize,
    accept: impl Fn(Vec<u8>, bool) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    let is_orderly = stream.take(most as u64).read_to_end(&mut reply).is_ok();
    accept(reply, is_orderly)
}

fn accepted(reply: Vec<u8>, is_orderly: bool) -> Option<Vec<u8>> {
    (is_orderly && reply.len() <= LIMIT).then_some(reply)
}

const CLIENTS: &[Fault] = &[
    client("never returns a reply", |peer, message| {
        reading(peer, message, |_| None)
    }),
    client("always returns an empty reply", |peer, message| {
        let _ = exchange(peer, message);
        Some(Vec::new())
    }),
    client("reads once", |peer, message| {
        reading(peer, message, |stream| {
            let mut buffer = [0; LIMIT + 1];
            let count = stream.read(&mut buffer).ok()?;
            accepted(buffer[..count].to_vec(), true)
        })
    }),
    client("keeps what came before an error", |peer, message| {
        reading(peer, message, |stream| {
            read_by(stream, LIMIT + 1, |reply, _| accepted(reply, true))
        })
    }),
    client("cuts a long reply", |peer, message| {
        reading(peer, message, |stream| read_by(stream, LIMIT, accepted))
    }),
    client("accepts a reply of 1025 bytes", |peer, message| {
        reading(peer, message, |stream| {
            read_by(stream, LIMIT + 2, |reply, is_orderly| {
                (is_orderly && reply.len() <= LIMIT + 1).then_some(reply)
            })
        })
    }),
    client("refuses a reply of 1024 bytes", |peer, message| {
        reading(peer, message, |stream| {
            read_reply(stream).filter(|reply| reply.len() < LIMIT)
        })
    }),
    client("reads all of a long reply", |peer, message| {
        reading(peer, message, |stream| {
            read_by(stream, usize::MAX, accepted)
        })
    }),
    client("trims the reply", |peer, message| {
        reading(peer, message, |stream| {
            Some(read_reply(stream)?.trim_ascii().to_vec())
        })
    }),
    client("refuses an ill-formed reply", |peer, message| {
        reading(peer, message, |stream| {
            read_reply(stream).filter(|reply| str::from_utf8(reply).is_ok())
        })
    }),
    client("stops when interrupted", |peer, message| {
        reading(peer, message, |stream| {
            let (mut reply, mut byte) = (Vec::new(), [0]);
            while reply.len() <= LIMIT && stream.read(&mut byte).ok()? > 0 {
                reply.extend(byte);
            }
            accepted(reply, true)
        })
    }),
    client("reads once more after an error", |peer, message| {
        reading(peer, message, |stream| {
            let reply = read_reply(stream);
            if reply.is_none() {
                let _ = stream.read(&mut [0]);
            }
            reply
        })
    }),
    client("accepts an empty reply to a text", |peer, message| {
        let sent = peer.write_all(&line(message));
        read_reply(peer).filter(|_| sent.is_ok() && !is_refused(message))
    }),
    client("refuses an empty reply to white space", |peer, message| {
        exchange(peer, message).filter(|reply| !reply.is_empty())
    }),
    client("returns only what it expects", |peer, message| {
        exchange(peer, message).filter(|reply| *reply == process(message))
    }),
    client("trusts the end after a failed write", |peer, message| {
        if is_refused(message) {
            return None;
        }
        let _ = peer.write_all(&line(message));
        answered(message, read_reply(peer))
    }),
    client("does not read after a failed write", |peer, message| {
        if is_refused(message) || peer.write_all(&line(message)).is_err() {
            return None;
        }
        answered(message, read_reply(peer))
    }),
    client("sends only once", |peer, message| {
        if is_refused(message) {
            return None;
        }
        let sent = peer.write(&line(message));
        answered(message, read_reply(peer)).filter(|_| sent.is_ok())
    }),
    client("sends no LF", |peer, message| {
        sending(peer, message, message)
    }),
    client("sends CR and LF", |peer, message| {
        sending(peer, message, &[message, b"\r\n"].concat())
    }),
    client("sends a byte after its LF", |peer, message| {
        sending(peer, message, &[message, b"\n\0"].concat())
    }),
    client("trims the message", |peer, message| {
        sending(peer, message, &line(&reference::clip(message)))
    }),
    client("refuses a message of 1023 bytes", |peer, message| {
        refusing(peer, message, |message| {
            message.len() >= LIMIT - 1 || is_refused(message)
        })
    }),
    client("refuses ill-formed text", |peer, message| {
        refusing(peer, message, |message| {
            str::from_utf8(message).is_err() || is_refused(message)
        })
    }),
    client("refuses no message", |peer, message| {
        refusing(peer, message, |_| false)
    }),
    client("sends a message of 1024 bytes", |peer, message| {
        refusing(peer, message, |message| {
            message.len() != LIMIT && is_refused(message)
        })
    }),
    client("sends a line feed in the message", |peer, message| {
        refusing(peer, message, |message| {
            !message.contains(&b'\n') && is_refused(message)
        })
    }),
    client(
        "sends a message that is too long in upper case",
        |peer, message| {
            refusing(peer, message, |message| {
                message.len() >= LIMIT || message.contains(&b'\n')
            })
        },
    ),
    client(
        "overlooks an incomplete character at the end",
        |peer, message| {
            refusing(peer, message, |message| {
                let is_line = message.len() < LIMIT && !message.contains(&b'\n');
                !is_line || upper_case(message).len() > LIMIT
            })
        },
    ),
    client("sends before it refuses", |peer, message| {
        let _ = peer.write_all(&line(message));
        answered(message, read_reply(peer)).filter(|_| !is_refused(message))
    }),
];

// What the laws allow, and what they do not, at their edges.

/// A script with the same action for every read, and the same for every write. `reads` and `writes`
/// are their letters.
fn steady(reads: u8, writes: u8, wire: &[u8]) -> Script<'_> {
    Script {
        reads: [Action::from(reads); ACTIONS],
        writes: [Action::from(writes); ACTIONS],
        wire,
    }
}

/// Whether `serve` keeps the law of the session by such a script.
fn may_serve(serve: fn(&mut ScriptedPeer), reads: u8, writes: u8, wire: &[u8]) -> bool {
    let implementation = Implementation { serve, ..RIGHT };
    let judged = SESSION.check(&implementation, &steady(reads, writes, wire));
    judged.is_ok()
}

/// Whether `client` keeps the law of the client when all of `wire` comes at once.
fn may_exchange(client: Client, wire: &[u8]) -> bool {
    let implementation = Implementation {
        exchange: client,
        ..RIGHT
    };
    let judged = CLIENT.check(&implementation, &steady(b'*', b'*', wire));
    judged.is_ok()
}

#[test]
fn a_client_may_read_2048_bytes_and_three_ends_but_no_more() {
    fn exchange<const BYTES: usize, const ENDS: usize>(
        peer: &mut ScriptedPeer,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        reading(peer, message, |stream| {
            let mut reply = vec![0; BYTES];
            stream.read_exact(&mut reply).expect("the bytes");
            (0..ENDS).for_each(|_| assert_eq!(stream.read(&mut [0]).expect("the end"), 0));
            accepted(reply, true)
        })
    }
    assert!(may_exchange(
        exchange::<{ 2 * LIMIT }, 3>,
        &[b'A'; 2 * LIMIT]
    ));
    assert!(!may_exchange(
        exchange::<{ 2 * LIMIT + 1 }, 1>,
        &[b'A'; 2 * LIMIT + 1]
    ));
    assert!(!may_exchange(exchange::<1, 4>, b"A"));
}

#[test]
fn a_client_is_not_judged_by_the_size_of_its_buffer() {
    let reads_much: Client = |peer, message| {
        reading(peer, message, |stream| {
            let (mut reply, mut buffer) = (Vec::new(), [0; 8 * LIMIT]);
            while reply.len() <= LIMIT {
                match stream.read(&mut buffer).ok()? {
                    0 => return Some(reply),
                    count => reply.extend(&buffer[..count]),
                }
            }
            None
        })
    };
    for length in [LIMIT - 1, LIMIT, LIMIT + 1, 5 * LIMIT] {
        assert!(may_exchange(reads_much, &vec![b'A'; length]), "{length}");
    }
}

/// SPEC: CLIENT-9
#[test]
fn a_client_may_half_close_after_its_lf_but_not_before() {
    let half_closes: Client = |peer, message| {
        if is_refused(message) {
            return None;
        }
        let sent = peer
            .write_all(&line(message))
            .and_then(|()| peer.half_close());
        answered(message, read_reply(peer)).filter(|_| sent.is_ok())
    };
    assert!(may_exchange(half_closes, b"HELLO"));
    let without_lf: Client = |peer, message| {
        let sent = peer.write_all(message).and_then(|()| peer.half_close());
        answered(message, read_reply(peer)).filter(|_| sent.is_ok())
    };
    assert!(!may_exchange(without_lf, b"HELLO"));
}

#[test]
fn a_server_must_not_act_before_the_request_or_the_deadline() {
    let half_closes_at_once: fn(&mut ScriptedPeer) = |peer| {
        let _ = peer.half_close();
        discard(peer);
    };
    assert!(!may_serve(half_closes_at_once, b'*', b'*', b" \n"));
    assert!(!may_serve(half_closes_at_once, b't', b'*', b""));
    let replies_as_it_reads: fn(&mut ScriptedPeer) = |peer| {
        let mut letter = [0];
        while peer.read(&mut letter).is_ok_and(|count| count > 0) && letter != *b"\n" {
            let _ = peer.write_all(&letter);
        }
        let _ = peer.half_close();
        discard(peer);
    };
    assert!(!may_serve(replies_as_it_reads, b'1', b'*', b"ABC\n"));
}

#[test]
fn a_server_may_half_close_at_the_deadline() {
    let half_closes_at_last: fn(&mut ScriptedPeer) = |peer| {
        discard(peer);
        let _ = peer.half_close();
    };
    assert!(may_serve(half_closes_at_last, b't', b'*', b""));
}

#[test]
fn half_close_is_wrong_after_a_cut_reply_but_not_an_error() {
    let always_half_closes: fn(&mut ScriptedPeer) = |peer| {
        if let Some(request) = request(peer) {
            let _ = peer.write(b"");
            let _ = peer.write_all(&process(&request));
            let _ = peer.half_close();
            let _ = peer.read(&mut []);
            discard(peer);
        }
    };
    for (writes, may) in [(b'*', true), (b'x', true), (b't', false), (b'e', false)] {
        let judged = may_serve(always_half_closes, b'*', writes, b"hello\n");
        assert_eq!(judged, may, "{:?}", Action::from(writes));
    }
}

#[test]
fn a_server_may_read_the_end_twice_before_it_answers() {
    let reads_twice: fn(&mut ScriptedPeer) = |peer| {
        let mut request = Vec::new();
        for _ in 0..2 {
            let _ = peer.read_to_end(&mut request);
        }
        reply(peer, &process(&request));
    };
    assert!(may_serve(reads_twice, b'*', b'*', b"hello"));
}

#[test]
#[should_panic = "endless calls with an empty buffer"]
fn endless_reads_into_an_empty_buffer_are_stopped() {
    may_serve(|peer| while peer.read(&mut []).is_ok() {}, b'*', b'*', b"");
}

#[test]
fn a_segment_has_at_least_one_byte() {
    let script = Script {
        reads: [Action::Segment(0); ACTIONS],
        writes: [Action::Segment(0); ACTIONS],
        wire: b"x\n",
    };
    let mut peer = ScriptedPeer::new(&script);
    assert_eq!(request(&mut peer), Some(b"x\n".to_vec()));
    assert!(write(&mut peer, b"X").is_ok());
}

#[test]
fn a_peer_takes_nothing_after_a_half_close() {
    let mut peer = ScriptedPeer::new(&fuzz::script(b""));
    assert!(peer.half_close().is_ok());
    assert!(peer.write(b"x").is_err());
}

#[test]
fn a_half_close_fails_only_after_the_peer_has_failed() {
    for ending in [Action::End, Action::TimeOut, Action::Error] {
        let mut script = steady(b'*', b'*', b"x\n");
        script.reads[1..].fill(ending);
        let mut peer = ScriptedPeer::new(&script);
        assert!(peer.half_close().is_ok(), "it has not failed yet");
        assert_eq!(request(&mut peer), Some(b"x\n".to_vec()));
        assert_eq!(peer.half_close().is_err(), ending == Action::Error);
    }
}
