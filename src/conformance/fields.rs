//! Values of fields that several files of vectors have.

use serde::Deserialize;

/// The value `true`.
#[derive(Deserialize)]
#[serde(try_from = "bool")]
pub struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, Self::Error> {
        value.then_some(Self).ok_or("the only value is true")
    }
}

/// Bytes, as hexadecimal digits.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct Hex(pub Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        let byte = |pair: &[u8]| {
            let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.map(Self);
        bytes.ok_or_else(|| format!("not bytes as hexadecimal digits: {digits:?}"))
    }
}

/// Bytes, as hexadecimal digits or as runs of them.
#[derive(Deserialize)]
#[serde(from = "Form")]
pub struct Text(pub Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Hex(Hex),
    Runs(Vec<(Hex, usize)>),
}

impl From<Form> for Text {
    fn from(form: Form) -> Self {
        let run = |(Hex(bytes), times): (Hex, usize)| bytes.repeat(times);
        Self(match form {
            Form::Hex(Hex(bytes)) => bytes,
            Form::Runs(runs) => runs.into_iter().flat_map(run).collect(),
        })
    }
}
