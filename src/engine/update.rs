//! What a call leaves behind for its interaction, and what bringing it there may come to.

use std::fmt;
use std::sync::Arc;

use super::commit::UpdateKey;
use super::delivery::UpdateId;
use super::event::{Source, Tick};
use super::row::{Reader, Unreadable, Writer};

/// One attempt at bringing an update to the interaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// Names the update in the answer.
    pub id: UpdateId,
    /// 1 for the first.
    pub number: u32,
    /// What to bring.
    pub update: Arc<Update>,
}

/// What a call left behind: to be written to its interaction, once.
#[derive(PartialEq, Eq, Debug)]
pub struct Update {
    /// Where the call came from.
    pub source: Source,
    /// The call's id in that source.
    pub call: Arc<str>,
    /// Tells calls of the same id apart: when the call began, or a little later where one of its id
    /// had begun in the same instant. The idempotency key is made of
    /// source, call and generation, so a restart makes the same one.
    pub generation: Tick,
    /// What the variables are written to; the call itself if `None`.
    pub interaction: Option<Box<str>>,
    /// No name twice, in the order of their last writing.
    pub variables: Vec<Variable>,
    /// When the call ended.
    pub ended: Tick,
}

impl Update {
    /// Returns what the variables are written to.
    pub fn interaction(&self) -> &str {
        self.interaction.as_deref().unwrap_or(&self.call)
    }

    /// Returns its name for ever.
    pub fn key(&self) -> UpdateKey {
        let (source, call, generation) = (self.source, Arc::clone(&self.call), self.generation);
        UpdateKey { source, call, generation }
    }

    /// Returns names and values, without those that are lost.
    pub fn texts(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        self.variables.iter().filter_map(|Variable { name, value }| Some((name, value.as_str()?)))
    }

    /// Returns whether a value of it was lost with the process that held it.
    pub fn has_lost(&self) -> bool {
        self.variables.iter().any(|variable| variable.value == Value::Lost)
    }
}

/// A variable of an interaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// Its name.
    pub name: Arc<str>,
    /// Its value.
    pub value: Value,
}

/// What a variable says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// This.
    Plain(String),
    /// This, with a masked entry in clear (`{card!raw}`): it is held in memory only.
    Raw(String),
    /// It was `Raw`, and the process that knew it is gone.
    Lost,
}

impl Value {
    /// Returns what is to be written; `None` if it is lost.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Plain(text) | Value::Raw(text) => Some(text),
            Value::Lost => None,
        }
    }
}

impl Variable {
    /// Returns a variable whose value may be kept.
    pub fn plain(name: &str, value: &str) -> Variable {
        Variable { name: Arc::from(name), value: Value::Plain(value.to_owned()) }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.text(&self.name);
        writer.option(
            match &self.value {
                Value::Plain(text) => Some(text),
                Value::Raw(_) | Value::Lost => None,
            },
            |writer, text| writer.text(text),
        );
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Variable, Unreadable> {
        let name = reader.shared()?;
        let value = reader.option(|reader| reader.text().map(str::to_owned))?;
        Ok(Variable { name, value: value.map_or(Value::Lost, Value::Plain) })
    }
}

/// How an update stands.
#[derive(Clone, PartialEq, Debug)]
pub struct UpdateStanding {
    /// What an operator calls it.
    pub name: u64,
    /// The update.
    pub update: Arc<Update>,
    /// How many attempts it has had.
    pub attempts: u32,
    /// Milliseconds since its call ended.
    pub age_ms: u64,
    /// What it waits for.
    pub state: UpdateState,
}

/// What an update waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateState {
    /// To be on disk.
    Held,
    /// For its turn.
    Ready,
    /// For the answer to an attempt.
    InFlight,
    /// For its next attempt.
    Waiting,
    /// For an operator.
    Parked(Parked),
}

/// What one attempt at a delivery came to: the rows of SPEC.md section 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// 2xx.
    Accepted {
        /// The answer's status.
        status: u16,
    },
    /// 401 or 403.
    Refused {
        /// The answer's status.
        status: u16,
        /// Which token was refused: later tokens have greater numbers.
        token: u64,
    },
    /// There was no token to ask with; nothing was sent.
    NoToken {
        /// Milliseconds until it is worth another try.
        retry_in_ms: u64,
    },
    /// 429 or 503 with `Retry-After`.
    Paused {
        /// The answer's status.
        status: u16,
        /// Milliseconds that it asks for.
        retry_after_ms: u64,
    },
    /// 408, 425, or 429 without `Retry-After`.
    Busy {
        /// The answer's status.
        status: u16,
    },
    /// 5xx but 501 and 505, the network, or a timeout.
    Failed(Failure),
    /// 404 or 409: the interaction may not exist yet.
    NotYet {
        /// The answer's status.
        status: u16,
    },
    /// Any other answer: asking again would not help.
    Rejected {
        /// The answer's status.
        status: u16,
    },
}

/// How an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The endpoint answered with this status.
    Status(u16),
    /// It could not be reached, or the connection broke.
    Network,
    /// It took too long.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status) => write!(f, "{status}"),
            Failure::Network => f.write_str("network"),
            Failure::Timeout => f.write_str("timeout"),
        }
    }
}

impl fmt::Display for Outcome {
    /// Writes the status, or what stood in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Accepted { status }
            | Outcome::Refused { status, .. }
            | Outcome::Paused { status, .. }
            | Outcome::Busy { status }
            | Outcome::NotYet { status }
            | Outcome::Rejected { status } => write!(f, "{status}"),
            Outcome::NoToken { .. } => f.write_str("no token"),
            Outcome::Failed(failure) => failure.fmt(f),
        }
    }
}

/// Why an update was set aside for an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parked {
    /// The answer said that asking again would not help.
    Rejected {
        /// Its status.
        status: u16,
    },
    /// The interaction did not turn up.
    NotFound {
        /// The last answer's status.
        status: u16,
    },
    /// A day has passed.
    TooOld,
    /// It held a masked entry in clear, which was in memory only, and the process ended.
    RawLost,
}

impl Parked {
    pub(super) fn write(self, writer: &mut Writer) {
        let (kind, status) = match self {
            Parked::Rejected { status } => (1, status),
            Parked::NotFound { status } => (2, status),
            Parked::TooOld => (3, 0),
            Parked::RawLost => (4, 0),
        };
        writer.byte(kind);
        writer.number(u64::from(status));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Parked, Unreadable> {
        let (kind, status) = (reader.byte()?, reader.narrow()?);
        match kind {
            1 => Ok(Parked::Rejected { status }),
            2 => Ok(Parked::NotFound { status }),
            3 => Ok(Parked::TooOld),
            4 => Ok(Parked::RawLost),
            _ => Err(Unreadable),
        }
    }
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parked::Rejected { status } => write!(f, "rejected with {status}"),
            Parked::NotFound { status } => write!(f, "still {status} after a minute"),
            Parked::TooOld => f.write_str("undelivered for 24 hours"),
            Parked::RawLost => f.write_str("raw value lost"),
        }
    }
}
