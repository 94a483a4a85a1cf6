//! The fenced blocks of SPEC.md, as data; its clauses are `upcase::conformance::clauses`'s.

#![allow(dead_code)] // each test file that includes this uses a part of it

use std::fmt;
use std::path::{Path, PathBuf};

pub struct Spec {
    pub blocks: Vec<Block>,
}

/// A fenced block: its info string is its kind and its ID.
pub struct Block {
    pub kind: String,
    pub id: String,
    pub line: usize,
    pub body: Vec<String>,
}

/// One line of an example.
pub struct Example {
    pub id: String,
    pub input: String,
    pub result: String,
}

impl Spec {
    pub fn read() -> Self {
        let text = std::fs::read_to_string(manifest_path("SPEC.md")).expect("SPEC.md is readable");
        let mut blocks = Vec::<Block>::new();
        let mut in_block = false;
        for (number, line) in text.lines().enumerate() {
            if let Some(info) = line.strip_prefix("```") {
                in_block = !in_block;
                if in_block {
                    let (kind, id) = info.split_once(' ').unwrap_or((info, ""));
                    let (kind, id) = (kind.to_owned(), id.to_owned());
                    blocks.push(Block {
                        kind,
                        id,
                        line: number + 1,
                        body: Vec::new(),
                    });
                }
            } else if in_block {
                blocks.last_mut().unwrap().body.push(line.to_owned());
            }
        }
        assert!(!in_block, "SPEC.md ends within a fenced block");
        Self { blocks }
    }

    /// The examples of `kind`; a test that would run none fails.
    pub fn examples(&self, kind: &str) -> Vec<Example> {
        let mut examples = Vec::new();
        for block in self.blocks.iter().filter(|block| block.kind == kind) {
            for line in &block.body {
                let (input, result) = line
                    .split_once(" -> ")
                    .unwrap_or_else(|| panic!("{}: no ` -> ` in {line}", block.id));
                let (input, result) = (input.to_owned(), result.to_owned());
                examples.push(Example {
                    id: block.id.clone(),
                    input,
                    result,
                });
            }
        }
        assert!(
            !examples.is_empty(),
            "SPEC.md has no example of kind {kind}"
        );
        examples
    }

    /// The lines of the console block of `side`.
    pub fn console(&self, side: &str) -> &[String] {
        let block = self
            .blocks
            .iter()
            .find(|block| block.kind == "console" && block.id == side);
        &block
            .unwrap_or_else(|| panic!("SPEC.md has no console of the {side}"))
            .body
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.id, self.input, self.result)
    }
}

impl Example {
    pub fn input_bytes(&self) -> Vec<u8> {
        bytes(&self.input)
    }

    pub fn result_bytes(&self) -> Vec<u8> {
        bytes(&self.result)
    }

    /// The segments of a stream, and whether the client half-closed after them.
    pub fn segments(&self) -> (Vec<Vec<u8>>, bool) {
        let (stream, ended) = match self.input.strip_suffix('$') {
            Some(stream) => (stream.trim_end(), true),
            None => (self.input.as_str(), false),
        };
        if stream.is_empty() {
            return (Vec::new(), ended);
        }
        (stream.split(" | ").map(bytes).collect(), ended)
    }
}

/// The bytes that a byte string of SPEC section 1 stands for.
fn bytes(notation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = notation;
    while !rest.is_empty() {
        let body = rest
            .strip_prefix('"')
            .unwrap_or_else(|| panic!("no \" at: {rest}"));
        let (mut literal, after) = one_literal(body);
        rest = after;
        if let Some(factor) = rest.strip_prefix('*') {
            let end = factor
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(factor.len());
            literal = literal.repeat(factor[..end].parse().expect("a factor"));
            rest = &factor[end..];
        }
        bytes.extend(literal);
        rest = rest.trim_start_matches(' ');
    }
    bytes
}

/// The bytes of the literal whose body `text` begins with, and what follows its closing quote.
fn one_literal(text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let c = rest.chars().next().expect("a closing quote");
        rest = &rest[c.len_utf8()..];
        if c == '"' {
            return (bytes, rest);
        }
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        let escape = rest.chars().next().expect("an escape");
        rest = &rest[1..];
        match escape {
            't' => bytes.push(b'\t'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            '\\' | '"' => bytes.push(escape as u8),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            'u' => {
                let (digits, after) = rest[1..].split_once('}').expect("a closing brace");
                let scalar = u32::from_str_radix(digits, 16).expect("hexadecimal digits");
                let c = char::from_u32(scalar).expect("a scalar value");
                bytes.extend(c.to_string().bytes());
                rest = after;
            }
            other => panic!("no escape: \\{other}"),
        }
    }
}

/// A path within the project.
pub fn manifest_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}
