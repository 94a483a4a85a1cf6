//! The form that steps and expectations have in the file of the vectors.

use std::time::Duration;

use serde::Deserialize;

use super::super::fields::{Hex, Text, True};
use super::{End, one};

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Step {
    Send {
        send: Hex,
        #[serde(default = "one")]
        times: usize,
    },
    SendEachByte {
        send_each_byte: Hex,
    },
    Connect {
        #[serde(rename = "connect")]
        _connect: True,
    },
    Pause {
        pause_ms: u64,
    },
    HalfClose {
        #[serde(rename = "half_close")]
        _half_close: True,
    },
    AwaitReply {
        #[serde(rename = "await")]
        _await: Reply,
    },
    Other {
        other: Other,
        #[serde(default = "one")]
        times: usize,
    },
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Other {
    Exchange {
        send: Text,
        reply: Text,
    },
    Reset {
        send: Hex,
        #[serde(rename = "reset")]
        _reset: True,
    },
    Close {
        send: Hex,
        #[serde(rename = "close")]
        _close: True,
    },
    Stall {
        send: Hex,
        stall: usize,
    },
    AtOnce {
        at_once: Vec<(Text, Text)>,
    },
    Unchanged {
        unchanged: Vec<(Scalar, Scalar)>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    reply: Text,
    end: End,
}

/// The value `"reply"`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    Reply,
}

/// A Unicode scalar value, as hexadecimal digits.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct Scalar(char);

impl TryFrom<String> for Scalar {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        let value = u32::from_str_radix(&digits, 16).ok();
        let scalar = value.and_then(char::from_u32).map(Self);
        scalar.ok_or_else(|| format!("not a scalar value as hexadecimal digits: {digits:?}"))
    }
}

impl From<Step> for super::Step {
    fn from(step: Step) -> Self {
        match step {
            Step::Send {
                send: Hex(bytes),
                times,
            } => Self::Send { bytes, times },
            Step::SendEachByte {
                send_each_byte: Hex(bytes),
            } => Self::SendEachByte(bytes),
            Step::Connect { .. } => Self::Connect,
            Step::Pause { pause_ms } => Self::Pause(Duration::from_millis(pause_ms)),
            Step::HalfClose { .. } => Self::HalfClose,
            Step::AwaitReply { .. } => Self::AwaitReply,
            Step::Other { other, times } => Self::Other {
                other: other.into(),
                times,
            },
        }
    }
}

impl From<Other> for super::Other {
    fn from(other: Other) -> Self {
        match other {
            Other::Exchange {
                send: Text(request),
                reply: Text(reply),
            } => Self::Exchange { request, reply },
            Other::Reset {
                send: Hex(bytes), ..
            } => Self::Reset(bytes),
            Other::Close {
                send: Hex(bytes), ..
            } => Self::Close(bytes),
            Other::AtOnce { at_once } => {
                let exchange = |(Text(request), Text(reply))| (request, reply);
                Self::AtOnce(at_once.into_iter().map(exchange).collect())
            }
            Other::Unchanged { unchanged } => {
                let range = |(Scalar(first), Scalar(last))| (first, last);
                Self::Unchanged(unchanged.into_iter().map(range).collect())
            }
            Other::Stall {
                send: Hex(bytes),
                stall: connections,
            } => Self::Stall { bytes, connections },
        }
    }
}

impl From<Expectation> for super::Expectation {
    fn from(expectation: Expectation) -> Self {
        let Text(reply) = expectation.reply;
        let end = expectation.end;
        Self { reply, end }
    }
}
