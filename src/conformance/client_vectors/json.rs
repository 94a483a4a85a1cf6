//! The form that the vectors for clients have in their file.

use std::time::Duration;

use serde::Deserialize;

use super::super::fields::{Text, True};
use super::super::violation::Level;
use super::{Answer, ClientVector, Host};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    id: String,
    description: String,
    requirement: String,
    clauses: Vec<String>,
    level: Level,
    message: Text,
    late_message: Option<True>,
    #[serde(default = "ipv4")]
    host: JsonHost,
    #[serde(default)]
    steps: Vec<super::Step>,
    expect: super::Expectation,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonHost {
    Address(Address),
    Name(Vec<Address>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Address {
    Ipv4(Answer),
    Ipv6(Answer),
}

const fn ipv4() -> JsonHost {
    JsonHost::Address(Address::Ipv4(Answer::Listens))
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Step {
    Await {
        #[serde(rename = "await")]
        awaited: Awaited,
    },
    Send {
        send: Text,
    },
    SendEachByte {
        send_each_byte: Text,
    },
    SendEndlessly {
        send_endlessly: Text,
        pause_ms: u64,
    },
    Pause {
        pause_ms: u64,
    },
    HalfClose {
        #[serde(rename = "half_close")]
        _half_close: True,
    },
    Close {
        #[serde(rename = "close")]
        _close: True,
    },
    Reset {
        #[serde(rename = "reset")]
        _reset: True,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Awaited {
    Byte,
    Request,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Expectation {
    Reply {
        reply: Text,
        within_ms: Option<u64>,
    },
    Error {
        #[serde(rename = "error")]
        _error: True,
    },
    Refusal {
        #[serde(rename = "refusal")]
        _refusal: True,
    },
}

impl From<Address> for super::Address {
    fn from(address: Address) -> Self {
        let (is_ipv6, answer) = match address {
            Address::Ipv4(answer) => (false, answer),
            Address::Ipv6(answer) => (true, answer),
        };
        Self { is_ipv6, answer }
    }
}

impl From<Vector> for ClientVector {
    fn from(vector: Vector) -> Self {
        Self {
            id: vector.id,
            description: vector.description,
            requirement: vector.requirement,
            clauses: vector.clauses,
            level: vector.level,
            message: vector.message.0,
            late_message: vector.late_message.is_some(),
            host: match vector.host {
                JsonHost::Address(address) => Host::Address(address.into()),
                JsonHost::Name(addresses) => {
                    Host::Name(addresses.into_iter().map(Into::into).collect())
                }
            },
            steps: vector.steps,
            expect: vector.expect,
        }
    }
}

impl From<Step> for super::Step {
    fn from(step: Step) -> Self {
        match step {
            Step::Await {
                awaited: Awaited::Byte,
            } => Self::AwaitByte,
            Step::Await {
                awaited: Awaited::Request,
            } => Self::AwaitRequest,
            Step::Send { send } => Self::Send(send.0),
            Step::SendEachByte { send_each_byte } => Self::SendEachByte(send_each_byte.0),
            Step::SendEndlessly {
                send_endlessly,
                pause_ms,
            } => Self::SendEndlessly {
                bytes: send_endlessly.0,
                pause: Duration::from_millis(pause_ms),
            },
            Step::Pause { pause_ms } => Self::Pause(Duration::from_millis(pause_ms)),
            Step::HalfClose { .. } => Self::HalfClose,
            Step::Close { .. } => Self::Close,
            Step::Reset { .. } => Self::Reset,
        }
    }
}

impl From<Expectation> for super::Expectation {
    fn from(expectation: Expectation) -> Self {
        match expectation {
            Expectation::Reply { reply, within_ms } => Self::Reply {
                reply: reply.0,
                within: within_ms.map(Duration::from_millis),
            },
            Expectation::Error { .. } => Self::Error,
            Expectation::Refusal { .. } => Self::Refusal,
        }
    }
}
