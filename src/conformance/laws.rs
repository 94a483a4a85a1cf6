//! The laws of the transformation: each stated once, for any implementation and any input.
//!
//! An implementation is a parameter. So proptest, a fuzzer, an exhaustive loop and a test of another
//! crate each are one loop over the same table:
//!
//! ```
//! use upcase::conformance::laws;
//!
//! let mine = |request: &[u8]| upcase::clip(request).to_ascii_uppercase(); // ASCII only
//! assert!(laws::check(&mine, b"hello").is_ok());
//! let violation = laws::check(&mine, "olá".as_bytes()).unwrap_err();
//! assert_eq!(violation.rule, "upper-cased");
//! ```
//!
//! Rules of this file: no I/O, and nothing of the implementation in this crate. A law compares an
//! implementation with itself, with the standard library or with the [`reference`](mod@super::reference). It takes one
//! input and derives what else it needs (a padded request, a longer one, two halves), so every
//! source of inputs can drive every law.

use super::reference::{self, LIMIT, Unit, WHITE_SPACE};
use super::violation::{Counterexample, Violation, byte_string};

/// A function to be judged: the transformation, from a request to its reply.
pub type Function<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

type Check = fn(Function, &[u8]) -> Result<(), Counterexample>;

/// A law of the transformation.
#[derive(Clone, Copy, Debug)]
pub struct Law {
    /// A short stable name.
    pub name: &'static str,
    /// The IDs of the clauses of SPEC.md that it follows from.
    pub clauses: &'static [&'static str],
    /// The law in words.
    pub statement: &'static str,
    check: Check,
}

impl Law {
    /// Judges `process` on `input`. A law that does not apply to the input is not broken.
    ///
    /// # Errors
    /// The [`Violation`], if the law is broken.
    ///
    /// # Panics
    /// If `process` does.
    pub fn check(&self, process: Function, input: &[u8]) -> Result<(), Violation> {
        (self.check)(process, input)
            .map_err(|found| found.violates(self.name, self.clauses, self.statement))
    }
}

/// Judges `process` on `input` by every law.
///
/// # Errors
/// The first [`Violation`], in the order of [`LAWS`].
///
/// # Panics
/// If `process` does.
pub fn check(process: Function, input: &[u8]) -> Result<(), Violation> {
    LAWS.iter().try_for_each(|law| law.check(process, input))
}

/// Every law of the transformation. The last law implies all others. It is last because a violation
/// of a more specific law says more about the cause.
pub const LAWS: &[Law] = &[
    Law {
        name: "bounded",
        clauses: &["CAP-2"],
        statement: "a reply has at most 1024 bytes",
        check: bounded,
    },
    Law {
        name: "trimmed",
        clauses: &["TRIM-1"],
        statement: "a reply has no white space at either end",
        check: trimmed,
    },
    Law {
        name: "upper-cased",
        clauses: &["UPPER-1", "UPPER-2"],
        statement: "every character of a reply is its own uppercase",
        check: upper_cased,
    },
    Law {
        name: "ascii",
        clauses: &["UPPER-1", "TRIM-1", "TRIM-2"],
        statement: "on ASCII a reply is the trimmed request in ASCII upper case",
        check: ascii,
    },
    Law {
        name: "well-formed",
        clauses: &["UPPER-1", "CAP-2"],
        statement: "the reply to well-formed text is well-formed",
        check: well_formed,
    },
    Law {
        name: "invalid-bytes-kept",
        clauses: &["UPPER-4", "CAP-3", "PROC-2"],
        statement: "invalid bytes are kept, in order, and none are added",
        check: invalid_bytes_kept,
    },
    Law {
        name: "prefix",
        clauses: &["CAP-2"],
        statement: "a reply depends only on the first 1024 bytes",
        check: prefix,
    },
    Law {
        name: "padding",
        clauses: &["TRIM-1", "CAP-1"],
        statement: "white space around a request changes nothing, if all of it is below the cap",
        check: padding,
    },
    Law {
        name: "concatenation",
        clauses: &["UPPER-3", "UPPER-5"],
        statement: "the reply to well-formed text is the replies to its two parts, if there is no white \
                    space between them and nothing reaches the cap",
        check: concatenation,
    },
    Law {
        name: "idempotent",
        clauses: &["PROC-1", "CAP-2", "TRIM-1"],
        statement: "the reply to a reply is the same reply",
        check: idempotent,
    },
    Law {
        name: "reference",
        clauses: &["PROC-1", "CAP-1", "CAP-2", "CAP-3", "TRIM-2", "UPPER-4"],
        statement: "the reply is the reference's",
        check: agrees_with_reference,
    },
];

fn bounded(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    // The input itself, and the input repeated to the cap, so that a reply that grows exceeds the
    // cap.
    for request in [input.to_vec(), repeated(input, LIMIT)] {
        let reply = process(&request);
        if reply.len() > LIMIT {
            let expected = format!("at most {LIMIT} bytes, not {}", reply.len());
            return counterexample(&request, reply, expected);
        }
    }
    Ok(())
}

fn trimmed(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    let reply = process(input);
    let is_white = |byte: Option<&u8>| byte.is_some_and(|b| WHITE_SPACE.contains(&char::from(*b)));
    if is_white(reply.first()) || is_white(reply.last()) {
        return counterexample(input, reply, "no white space at either end");
    }
    Ok(())
}

fn upper_cased(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    let reply = process(input);
    for unit in reference::units(&reply) {
        if let Unit::Character(c) = unit {
            let upper = reference::upper_of(c);
            if !upper.chars().eq([c]) {
                let expected = format!("U+{:04X} upper-cased to {upper:?}", u32::from(c));
                return counterexample(input, reply, expected);
            }
        }
    }
    Ok(())
}

fn ascii(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    if !input.is_ascii() {
        return Ok(());
    }
    let head = str::from_utf8(&input[..input.len().min(LIMIT)]).unwrap_or_default();
    let expected = head.trim_matches(WHITE_SPACE).to_ascii_uppercase();
    expect(input, process(input), expected.as_bytes())
}

fn well_formed(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    if str::from_utf8(input).is_err() {
        return Ok(());
    }
    // As it is, and repeated up to the cap or past it, so that the cap may cut a character.
    let longer = LIMIT.next_multiple_of(input.len().max(1));
    for request in [input.to_vec(), repeated(input, longer)] {
        let reply = process(&request);
        if str::from_utf8(&reply).is_err() {
            return counterexample(&request, reply, "well-formed UTF-8");
        }
    }
    Ok(())
}

fn invalid_bytes_kept(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    let invalid_bytes = |bytes: &[u8]| -> Vec<u8> {
        let invalid = |unit| match unit {
            Unit::Invalid(byte) => Some(byte),
            Unit::Character(_) => None,
        };
        let units = reference::units(bytes).into_iter();
        units.filter_map(invalid).collect()
    };
    if str::from_utf8(input).is_ok() {
        return Ok(()); // the law `well-formed` is about that
    }
    let request = reference::clip(input);
    let expected = invalid_bytes(&request);
    let reply = process(input);
    let kept = invalid_bytes(&reply);
    // A reply that the second cap has shortened keeps the first of them.
    let shortened = reference::upper(&request).len() >= LIMIT;
    if kept == expected || (shortened && expected.starts_with(&kept)) {
        return Ok(());
    }
    let expected = format!("the invalid bytes {}", byte_string(&expected));
    counterexample(input, reply, expected)
}

fn prefix(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    // The input is repeated past the cap. So a character that the cap cuts is complete in the
    // longer request, and an implementation that reads past the cap is caught.
    let longer = repeated(input, LIMIT + input.len());
    let expected = process(&longer[..longer.len().min(LIMIT)]);
    let reply = process(&longer);
    expect(&longer, reply, &expected)
}

fn padding(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    let expected = process(input);
    for (before, after) in [(" ", "\n"), ("\t\x0B", ""), ("", "\x0C\r\n")] {
        let request = [before.as_bytes(), input, after.as_bytes()].concat();
        if request.len() < LIMIT {
            expect(&request, process(&request), &expected)?;
        }
    }
    Ok(())
}

fn concatenation(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    let Ok(text) = str::from_utf8(input) else {
        return Ok(());
    };
    if input.len() >= LIMIT || reference::upper(input).len() >= LIMIT {
        return Ok(());
    }
    // The text is split near each quarter. Over many inputs that meets every pair of neighbours,
    // and the work does not grow with the square of the length.
    let quarter = text.len().div_ceil(4).max(1);
    for near in (0..text.len()).step_by(quarter).skip(1) {
        let boundary = (0..=near).rfind(|at| text.is_char_boundary(*at));
        let (a, b) = text.split_at(boundary.unwrap_or(0));
        if a.ends_with(WHITE_SPACE) || b.starts_with(WHITE_SPACE) {
            continue;
        }
        let expected = [process(a.as_bytes()), process(b.as_bytes())].concat();
        expect(input, process(input), &expected)?;
    }
    Ok(())
}

fn idempotent(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    // As it is, and repeated to the cap, where a reply is cut.
    for request in [input.to_vec(), repeated(input, LIMIT)] {
        let reply = process(&request);
        expect(&reply, process(&reply), &reply)?;
    }
    Ok(())
}

fn agrees_with_reference(process: Function, input: &[u8]) -> Result<(), Counterexample> {
    expect(input, process(input), &reference::process(input))
}

/// `input` repeated to a length of `length` bytes; empty if it is empty.
fn repeated(input: &[u8], length: usize) -> Vec<u8> {
    let mut repeated = input.repeat(length.div_ceil(input.len().max(1)));
    repeated.truncate(length);
    repeated
}

fn expect(input: &[u8], output: Vec<u8>, expected: &[u8]) -> Result<(), Counterexample> {
    if output == expected {
        return Ok(());
    }
    counterexample(input, output, byte_string(expected))
}

fn counterexample(
    input: &[u8],
    output: Vec<u8>,
    expected: impl Into<String>,
) -> Result<(), Counterexample> {
    Err(Counterexample {
        input: input.to_vec(),
        output,
        expected: expected.into(),
    })
}

/// The law of the byte literal (SPEC LOG-3). It judges another function: from bytes to their
/// literal.
pub const LITERAL: Law = Law {
    name: "literal",
    clauses: &["LOG-3"],
    statement: "a byte literal has no character that must be \\xNN, is of bounded length, can be read \
                back to its bytes, and escapes nothing else",
    check: literal,
};

fn literal(escape: Function, input: &[u8]) -> Result<(), Counterexample> {
    let output = escape(input);
    let expected = match str::from_utf8(&output) {
        Err(_) => "text in UTF-8",
        Ok(text) if text.chars().any(reference::is_in_hex) => "no character that must be \\xNN",
        Ok(text) if text.len() > 4 * input.len() + 3 => "at most 4 bytes for each byte, and 3 more",
        Ok(text) if read_back(text).as_deref() != Some(input) => "a literal of the input",
        Ok(_) => return expect(input, output, reference::literal(input).as_bytes()),
    };
    counterexample(input, output, expected)
}

/// The bytes that a byte literal stands for; `None` if it is not one.
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
