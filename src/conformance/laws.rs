//! What is true of every right implementation: each law stated once, over *any* implementation.
//!
//! An implementation is a parameter, so proptest, a fuzzer, an exhaustive loop and a peer behind
//! a socket are all judged by a loop over the same table:
//!
//! ```
//! use upcase::conformance::laws;
//!
//! let mine = |request: &[u8]| upcase::clip(request).to_ascii_uppercase(); // forgets the rest
//! assert!(laws::judge(&mine, b"hello").is_ok());
//! let violation = laws::judge(&mine, "olá".as_bytes()).unwrap_err();
//! assert_eq!(violation.law, "upper-cased");
//! ```
//!
//! Rules of this file: no dependency, no I/O, and never the crate's own `process`: a law compares
//! an implementation with itself, with the standard library, or with the [`model`].
//!
//! A law takes one input and derives from it what else it needs (a padded request, a longer one,
//! two halves), so that every source of inputs can drive every law.

use std::fmt;

use crate::LIMIT;
use crate::conformance::reference::{self, Unit};

/// The white space of SPEC section 1.
pub const WHITE_SPACE: [char; 6] = ['\t', '\n', '\x0B', '\x0C', '\r', ' '];

/// An implementation of the transformation: from a request to its reply.
pub type Process<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// How a law of the transformation is judged.
type Check = fn(Process, &[u8]) -> Result<(), Breach>;

/// A law. What it is judged by, `C`, is by default a check of the transformation on one input.
#[derive(Clone, Copy, Debug)]
pub struct Law<C = Check> {
    /// A short stable name.
    pub name: &'static str,
    /// The clauses of SPEC.md that it follows from.
    pub clauses: &'static [&'static str],
    /// The law in words.
    pub says: &'static str,
    pub(crate) check: C,
}

impl<C> Law<C> {
    /// The violation of this law that `judged` is, if it is one.
    pub(crate) fn named(&self, judged: Result<(), Breach>) -> Result<(), Violation> {
        judged.map_err(|breach| Violation {
            law: self.name,
            clauses: self.clauses,
            says: self.says,
            breach,
        })
    }
}

impl Law {
    /// Judges `process` on `input`.
    ///
    /// # Errors
    /// The [`Violation`], if the law is broken. An input to which the law does not apply breaks
    /// nothing.
    pub fn check(&self, process: Process, input: &[u8]) -> Result<(), Violation> {
        self.named((self.check)(process, input))
    }
}

/// A law that an implementation has broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the law.
    pub law: &'static str,
    /// The clauses of SPEC.md that the law follows from.
    pub clauses: &'static [&'static str],
    /// The law in words.
    pub says: &'static str,
    /// The request, the reply, and what was wanted instead.
    pub breach: Breach,
}

/// What came in, what came out, and what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The request (or, of the framing, the stream) that shows it: the input or one derived from it.
    pub request: Vec<u8>,
    /// The reply (or, of the framing, the request) that came.
    pub reply: Vec<u8>,
    /// What was wanted, in words or as escaped bytes.
    pub wanted: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} ({}): {}",
            self.law,
            self.clauses.join(", "),
            self.says
        )?;
        writeln!(f, "  request: b\"{}\"", self.breach.request.escape_ascii())?;
        writeln!(f, "  reply:   b\"{}\"", self.breach.reply.escape_ascii())?;
        write!(f, "  wanted:  {}", self.breach.wanted)
    }
}

impl std::error::Error for Violation {}

/// Judges `process` on `input` by every law.
///
/// # Errors
/// The first [`Violation`], in the order of [`LAWS`].
pub fn judge(process: Process, input: &[u8]) -> Result<(), Violation> {
    LAWS.iter().try_for_each(|law| law.check(process, input))
}

/// Every law of the transformation. The agreement with the model, which implies the others, is
/// last: a broken law with a name of its own says more.
pub const LAWS: &[Law] = &[
    Law {
        name: "bounded",
        clauses: &["CAP-2"],
        says: "a reply has at most 1024 bytes",
        check: bounded,
    },
    Law {
        name: "trimmed",
        clauses: &["TRIM-1"],
        says: "a reply has no white space at either end",
        check: trimmed,
    },
    Law {
        name: "upper-cased",
        clauses: &["UPPER-1", "UPPER-2"],
        says: "every character of a reply is its own uppercase",
        check: upper_cased,
    },
    Law {
        name: "ascii",
        clauses: &["UPPER-1", "TRIM-1", "TRIM-2"],
        says: "on ASCII a reply is the trimmed request in ASCII upper case",
        check: ascii,
    },
    Law {
        name: "well-formed",
        clauses: &["UPPER-1", "CAP-2"],
        says: "the reply to well-formed text is well-formed",
        check: well_formed,
    },
    Law {
        name: "strays-kept",
        clauses: &["UPPER-4", "CAP-3", "PROC-2"],
        says: "ill-formed bytes are kept, in order, and none are added",
        check: strays_kept,
    },
    Law {
        name: "prefix",
        clauses: &["CAP-2"],
        says: "a reply depends on the first 1024 bytes alone",
        check: prefix,
    },
    Law {
        name: "padding",
        clauses: &["TRIM-1", "CAP-1"],
        says: "white space around a request changes nothing, as long as all is below the cap",
        check: padding,
    },
    Law {
        name: "concatenation",
        clauses: &["UPPER-3", "UPPER-5"],
        says: "the reply to well-formed text is the replies to its two parts, where they meet \
               without white space and nothing reaches the cap",
        check: concatenation,
    },
    Law {
        name: "idempotent",
        clauses: &["PROC-1", "CAP-2", "TRIM-1"],
        says: "a reply is its own reply",
        check: idempotent,
    },
    Law {
        name: "model",
        clauses: &["PROC-1", "CAP-1", "CAP-2", "CAP-3", "TRIM-2", "UPPER-4"],
        says: "a reply is the naive model's",
        check: agrees_with_model,
    },
];

fn bounded(process: Process, input: &[u8]) -> Result<(), Breach> {
    // The input as it is, and repeated up to the cap: there what grows grows past it.
    for request in [input.to_vec(), repeated(input, LIMIT)] {
        let reply = process(&request);
        if reply.len() > LIMIT {
            let wanted = format!("at most {LIMIT} bytes, not {}", reply.len());
            return Err(Breach {
                request,
                reply,
                wanted,
            });
        }
    }
    Ok(())
}

fn trimmed(process: Process, input: &[u8]) -> Result<(), Breach> {
    let reply = process(input);
    let is_white = |byte: Option<&u8>| byte.is_some_and(|b| WHITE_SPACE.contains(&char::from(*b)));
    if is_white(reply.first()) || is_white(reply.last()) {
        return Err(breach(input, reply, "no white space at either end"));
    }
    Ok(())
}

fn upper_cased(process: Process, input: &[u8]) -> Result<(), Breach> {
    let reply = process(input);
    for unit in reference::units(&reply) {
        if let Unit::Character(c) = unit {
            let upper = reference::upper_of(c);
            if !upper.chars().eq([c]) {
                let wanted = format!("U+{:04X} upper-cased, as {upper:?}", u32::from(c));
                return Err(breach(input, reply, wanted));
            }
        }
    }
    Ok(())
}

fn ascii(process: Process, input: &[u8]) -> Result<(), Breach> {
    if !input.is_ascii() {
        return Ok(());
    }
    let head = str::from_utf8(&input[..input.len().min(LIMIT)]).unwrap_or_default();
    let wanted = head.trim_matches(WHITE_SPACE).to_ascii_uppercase();
    expect(input, process(input), wanted.as_bytes())
}

fn well_formed(process: Process, input: &[u8]) -> Result<(), Breach> {
    if str::from_utf8(input).is_err() {
        return Ok(());
    }
    // As it is, and repeated up to the cap or past it, which may so fall inside a character.
    for request in [
        input.to_vec(),
        repeated(input, LIMIT.next_multiple_of(input.len().max(1))),
    ] {
        let reply = process(&request);
        if str::from_utf8(&reply).is_err() {
            return Err(Breach {
                request,
                reply,
                wanted: "well-formed UTF-8".into(),
            });
        }
    }
    Ok(())
}

fn strays_kept(process: Process, input: &[u8]) -> Result<(), Breach> {
    let strays = |bytes: &[u8]| -> Vec<u8> {
        let stray = |unit| {
            if let Unit::Stray(byte) = unit {
                Some(byte)
            } else {
                None
            }
        };
        reference::units(bytes)
            .into_iter()
            .filter_map(stray)
            .collect()
    };
    if str::from_utf8(input).is_ok() {
        return Ok(()); // the law `well-formed` looks after that
    }
    let request = reference::clip(input);
    let wanted = strays(&request);
    let reply = process(input);
    let kept = strays(&reply);
    // A reply that the second cap has shortened keeps the first of them.
    let shortened = reference::upper(&request).len() >= LIMIT;
    if kept == wanted || (shortened && wanted.starts_with(&kept)) {
        return Ok(());
    }
    Err(breach(
        input,
        reply,
        format!("the ill-formed bytes b\"{}\"", wanted.escape_ascii()),
    ))
}

fn prefix(process: Process, input: &[u8]) -> Result<(), Breach> {
    // Past the cap the input goes on as it began, so that a character which the cap has cut is
    // completed there, and an implementation that peeks gives itself away.
    let longer = repeated(input, LIMIT + input.len());
    let wanted = process(&longer[..longer.len().min(LIMIT)]);
    let reply = process(&longer);
    expect(&longer, reply, &wanted)
}

fn padding(process: Process, input: &[u8]) -> Result<(), Breach> {
    let wanted = process(input);
    for (before, after) in [(" ", "\n"), ("\t\x0B", ""), ("", "\x0C\r\n")] {
        let request = [before.as_bytes(), input, after.as_bytes()].concat();
        if request.len() < LIMIT {
            expect(&request, process(&request), &wanted)?;
        }
    }
    Ok(())
}

fn concatenation(process: Process, input: &[u8]) -> Result<(), Breach> {
    let Ok(text) = str::from_utf8(input) else {
        return Ok(());
    };
    if input.len() >= LIMIT || reference::upper(input).len() >= LIMIT {
        return Ok(());
    }
    // A seam beside each quarter of the text: enough to meet every pair of neighbours in the
    // course of many inputs, without work that grows with the square of the length.
    let quarter = text.len().div_ceil(4).max(1);
    for seam in (0..text.len()).step_by(quarter).skip(1) {
        let boundary = (0..=seam).rfind(|at| text.is_char_boundary(*at));
        let (a, b) = text.split_at(boundary.unwrap_or(0));
        if a.ends_with(WHITE_SPACE) || b.starts_with(WHITE_SPACE) {
            continue;
        }
        let wanted = [process(a.as_bytes()), process(b.as_bytes())].concat();
        expect(input, process(input), &wanted)?;
    }
    Ok(())
}

fn idempotent(process: Process, input: &[u8]) -> Result<(), Breach> {
    // As it is, and repeated to the cap, where a reply is cut.
    for request in [input.to_vec(), repeated(input, LIMIT)] {
        let reply = process(&request);
        expect(&reply, process(&reply), &reply)?;
    }
    Ok(())
}

fn agrees_with_model(process: Process, input: &[u8]) -> Result<(), Breach> {
    expect(input, process(input), &reference::process(input))
}

/// `input`, again and again, to a length of `length` bytes; empty if it is.
fn repeated(input: &[u8], length: usize) -> Vec<u8> {
    input.iter().copied().cycle().take(length).collect()
}

fn expect(request: &[u8], reply: Vec<u8>, wanted: &[u8]) -> Result<(), Breach> {
    if reply == wanted {
        return Ok(());
    }
    Err(breach(
        request,
        reply,
        format!("b\"{}\"", wanted.escape_ascii()),
    ))
}

fn breach(request: &[u8], reply: Vec<u8>, wanted: impl Into<String>) -> Breach {
    Breach {
        request: request.to_vec(),
        reply,
        wanted: wanted.into(),
    }
}

/// An implementation of the rendering: from bytes to a byte literal.
pub type Render<'a> = &'a dyn Fn(&[u8]) -> String;

/// How the law of the rendering is judged.
type RenderCheck = fn(Render, &[u8]) -> Result<(), Breach>;

/// The law of the rendering (SPEC LOG-3), over any.
pub const LITERAL: Law<RenderCheck> = Law {
    name: "literal",
    clauses: &["LOG-3"],
    says: "a byte literal is one line of printable characters, of bounded length, reads back to \
           its bytes, and escapes no more and no less than it must",
    check: literal,
};

impl Law<RenderCheck> {
    /// Judges `render` on `input`.
    ///
    /// # Errors
    /// The [`Violation`], if the law is broken.
    pub fn check(&self, render: Render, input: &[u8]) -> Result<(), Violation> {
        self.named((self.check)(render, input))
    }
}

fn literal(render: Render, input: &[u8]) -> Result<(), Breach> {
    let literal = render(input);
    let wanted = if literal
        .chars()
        .any(|c| c.is_control() || "\u{2028}\u{2029}".contains(c))
    {
        "no control, and no separator of lines"
    } else if literal.len() > 4 * input.len() + 3 {
        "at most four bytes for one, and three around them"
    } else if read_back(&literal).as_deref() != Some(input) {
        "a literal that reads back to its bytes"
    } else {
        return expect(
            input,
            literal.into_bytes(),
            reference::literal(input).as_bytes(),
        );
    };
    Err(breach(input, literal.into_bytes(), wanted))
}

/// The bytes that a byte literal stands for, if it is one.
fn read_back(literal: &str) -> Option<Vec<u8>> {
    let mut rest = literal.strip_prefix("b'")?.strip_suffix('\'')?;
    let mut bytes = Vec::new();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\'' | '"' => return None,
            '\\' if rest.starts_with('x') => {
                bytes.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
                rest = &rest[3..];
            }
            '\\' => {
                bytes.extend(rest.bytes().next().filter(|b| b"\\'\"".contains(b)));
                rest = rest.get(1..)?;
            }
            _ => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Some(bytes)
}
