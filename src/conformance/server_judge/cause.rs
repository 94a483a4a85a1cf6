//! What a server does wrong, told apart by its likely cause.

use std::fmt;
use std::io::{self, ErrorKind};

use super::LEAST_DEADLINE;

use super::super::violation::{About, NotPassed, Violation, excerpt};

/// A cause has one sentence, and most have a clause that is more to the point than those of the vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    NoConnection,
    TurnedAway,
    EarlyByte,
    EarlyEnd,
    ByteWhileStalled,
    AnswersIncomplete,
    /// The clause says why the request was complete.
    Silence(&'static str),
    NoReply,
    PartOfReply,
    NoEnd,
    Endless,
    Late,
    /// The clause depends on whether there were surplus bytes.
    ResetBeforeReply(&'static str),
    /// As before.
    ResetAfterReply(&'static str),
    CannotSend,
    NotClosed,
    KeptOpen,
    FailsAfterwards,
    Wrong,
}

impl Cause {
    /// What is wrong. It is the same for every vector, because failures are grouped by it.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoConnection => "the server does not accept a connection",
            Self::TurnedAway => {
                "the server ends a connection at once, although it holds at most 40"
            }
            Self::EarlyByte => "the server sends something before the request is complete",
            Self::EarlyEnd => {
                "the server ends the connection before the request is complete, and sooner than the \
                 least deadline"
            }
            Self::ByteWhileStalled => "the server sends something to a client that only waits",
            Self::AnswersIncomplete => "the server replies to an incomplete request",
            Self::Silence(_) => "the request is complete, but the server sends nothing",
            Self::NoReply => "the server ends its side of the stream without a reply",
            Self::PartOfReply => "the server sends only a part of the reply, and then nothing",
            Self::NoEnd => "the reply is right, but the server does not end its side of the stream",
            Self::Endless => "the server sends without end",
            Self::Late => "the reply or its end comes too late in every attempt",
            Self::ResetBeforeReply(_) => "a reset comes before the whole reply",
            Self::ResetAfterReply(_) => {
                "the reply is right, but then a reset comes instead of the end"
            }
            Self::CannotSend => "the connection fails while the client sends",
            Self::NotClosed => "the server does not close a connection by its deadline",
            Self::KeptOpen => {
                "the server half-closes, but keeps the connection open past its deadline"
            }
            Self::FailsAfterwards => "after this, the server does not serve a simple exchange",
            Self::Wrong => "the bytes are wrong",
        }
    }

    /// The clause that it violates, if this does not depend on the vector.
    pub fn clause(self) -> Option<&'static str> {
        Some(match self {
            Self::NoConnection => "TIME-8",
            Self::TurnedAway => "TIME-7",
            Self::EarlyByte | Self::ByteWhileStalled => "REPLY-1",
            Self::EarlyEnd => "TIME-6",
            Self::AnswersIncomplete => "TIME-2",
            Self::Silence(clause)
            | Self::ResetBeforeReply(clause)
            | Self::ResetAfterReply(clause) => clause,
            Self::PartOfReply | Self::NoEnd | Self::Endless => "REPLY-2",
            Self::Late => "REPLY-4",
            Self::NotClosed | Self::KeptOpen => "TIME-1",
            Self::CannotSend | Self::NoReply | Self::FailsAfterwards | Self::Wrong => return None,
        })
    }

    /// Whether it shows only after some time.
    pub fn is_slow(self) -> bool {
        matches!(
            self,
            Self::Silence(_) | Self::PartOfReply | Self::NoEnd | Self::Late | Self::NotClosed
        )
    }

    /// Whether other connections at the same time, or a busy machine, may be the reason.
    pub fn is_doubtful(self) -> bool {
        let may_hold_its_maximum = matches!(
            self,
            Self::NoConnection
                | Self::TurnedAway
                | Self::EarlyEnd
                | Self::NoReply
                | Self::ResetBeforeReply(_)
                | Self::CannotSend
                | Self::FailsAfterwards
                | Self::KeptOpen
        );
        self.is_slow() || may_hold_its_maximum
    }
}

/// A fault of the server, as it was seen on one connection.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub cause: Cause,
    /// Whether it was seen on the connection of another client.
    pub is_of_other: bool,
    /// A label and a text each.
    pub details: Vec<(&'static str, String)>,
    /// What must come and what came, if it was received to the end.
    pub bytes: Option<(Vec<u8>, Vec<u8>)>,
}

impl Finding {
    /// A fault that is seen without a whole exchange.
    pub fn new(cause: Cause, label: &'static str, text: impl Into<String>) -> Self {
        Self {
            cause,
            is_of_other: false,
            details: vec![(label, text.into())],
            bytes: None,
        }
    }

    /// With one more detail.
    pub fn with(mut self, label: &'static str, text: impl Into<String>) -> Self {
        self.details.push((label, text.into()));
        self
    }

    /// The violation of the vector `about`, whose client sends what `steps` says.
    pub fn violation(self, about: About<'_>, steps: &str) -> Violation {
        // What is about time is named best by the vector's own clause.
        let is_of_time = |id: &str| id.starts_with("TIME-");
        let own_is_better = |clause: &&str| {
            let is_about_others = self.is_of_other && self.cause != Cause::TurnedAway;
            is_of_time(&about.clauses[0]) && (is_about_others || !is_of_time(clause))
        };
        let clause = self.cause.clause().filter(|clause| !own_is_better(clause));
        let mut violation = about.violation(clause.as_slice(), self.cause.sentence().into());
        violation.detail("sent", steps);
        if let Some((expected, received)) = &self.bytes {
            violation.compare(expected, received);
        }
        for (label, text) in self.details {
            violation.detail(label, text);
        }
        violation
    }

    /// As [`Finding::bytes`], and the request, for the exchange of another client.
    pub fn of_other(mut self, request: &[u8]) -> Self {
        self.is_of_other = true;
        self.details
            .insert(0, ("other", format!("its request is {}", excerpt(request))));
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.sentence())?;
        if let Some((expected, received)) = &self.bytes {
            let (expected, received) = (excerpt(expected), excerpt(received));
            write!(f, "; expected {expected}, received {received}")?;
        }
        let mut details = self.details.iter();
        details.try_for_each(|(label, text)| write!(f, "; {label}: {text}"))
    }
}

/// Why a vector was not passed.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The server did something wrong.
    Server(Finding),
    /// The judge acted so late that the server may have been at its deadline.
    LateJudge,
    /// This machine lacks something.
    Machine(String),
}

impl From<Finding> for Trouble {
    fn from(finding: Finding) -> Self {
        Self::Server(finding)
    }
}

impl Trouble {
    /// What an error of the system shows: that the client cannot do `what`. It is of `cause` if it is the
    /// server's fault.
    pub fn of(what: &str, error: &io::Error, cause: Cause) -> Self {
        if is_of_the_server(error.kind()) {
            return Finding::new(cause, "error", format!("cannot {what}: {error}")).into();
        }
        let cure = match error.raw_os_error() {
            Some(23 | 24) => "; raise the limit of open files (ulimit -n)", // ENFILE and EMFILE
            _ if error.kind() == ErrorKind::AddrNotAvailable => {
                "; if no port is free, wait a minute"
            }
            _ => "",
        };
        Self::Machine(format!("this machine cannot {what}: {error}{cure}"))
    }

    /// Whether it is the server's, and shows only after some time.
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::Server(finding) if finding.cause.is_slow())
    }

    /// Whether only the time of the server's reply is wrong.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Server(finding) if finding.cause == Cause::Late)
    }

    /// Whether another attempt may show that the server is right.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Server(finding) => finding.cause.is_doubtful(),
            Self::LateJudge => true,
            Self::Machine(_) => false,
        }
    }

    /// The trouble, for a person.
    pub fn not_passed(self, about: About<'_>, steps: &str) -> NotPassed {
        match self {
            Self::Server(finding) => NotPassed::Violation(finding.violation(about, steps)),
            Self::LateJudge => NotPassed::NotJudged(format!(
                "the judge acted more than {LEAST_DEADLINE:?} after it began to connect, when the \
                 server may have been at its deadline; this machine, the network or the server is \
                 slow: try again"
            )),
            Self::Machine(reason) => NotPassed::NotJudged(reason),
        }
    }
}

/// Whether the server or the network to it can cause an error of this kind. Other errors are this
/// machine's: too few descriptors, ports or memory, no right or no route.
pub(super) fn is_of_the_server(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::InvalidInput // macOS: an option of a connection that was reset
    )
}
