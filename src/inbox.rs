//! What the threads send to `calls`: one bounded channel, so that there is one order of events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::engine::{
    Answer, EndedRow, Event, Facts, Ivr, Key, Named, Outcome, Page, Question, Reach, Row, Source, Stamp,
    Tick, UpdateId,
};

/// How many messages may wait for `calls`. A batch holds what one socket read returned, so this is
/// some thousands of digits: a burst fits, and a reader that is further ahead should feel it.
pub const INBOX_MAX: usize = 256;

/// How many empty batches wait to be filled again: the reader has at most one in hand and `calls` one.
const SPARE_MAX: usize = 8;

/// What happened, on its way to `calls`.
#[derive(Debug)]
pub enum Incoming {
    /// What one read of the WebSocket returned.
    Batch(Box<Batch>),
    /// Somebody asks.
    Asked {
        /// What.
        question: Ask,
        /// Where the answer goes; it has room for one.
        reply: Sender<Answer>,
    },
    /// An attempt at a delivery came back.
    Finished {
        /// The update that the attempt was for.
        id: UpdateId,
        /// What came of it.
        outcome: Outcome,
        /// When the answer was there.
        at: Instant,
        /// What to tell an operator beside the outcome.
        detail: Option<Box<str>>,
    },
    /// New calls walk this tree.
    TreeLoaded(Arc<Ivr>),
    /// The transaction of this number was made.
    Committed(u64),
    /// The transaction of this number was not made, or nobody knows.
    CommitFailed {
        /// Its number.
        number: u64,
        /// Why not, in words for an operator.
        why: String,
    },
    /// The store lost what it had: all of it is to be kept again.
    StoreLost,
    /// Rows that were found only now, because the store could not be read at the start; the last of them
    /// comes with `true`.
    Found(Vec<Kept>, bool),
    /// Take nothing new and deliver what is queued, until then at most.
    Drain(Instant),
}

/// A [`Question`] that owns its words, as it crosses threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// [`Question::Ping`].
    Ping,
    /// [`Question::Press`].
    Press {
        /// The simulated call's id.
        call: String,
        /// The key.
        key: Key,
        /// What the press may do.
        reach: Reach,
    },
    /// [`Question::HangUp`].
    HangUp {
        /// The simulated call's id.
        call: String,
    },
    /// [`Question::Call`].
    Call {
        /// Where its events come from.
        source: Source,
        /// Its id in that source.
        call: String,
    },
    /// [`Question::Summary`].
    Summary,
    /// [`Question::Calls`].
    Calls(Page),
    /// [`Question::Outbox`].
    Outbox {
        /// Only those that are set aside.
        only_parked: bool,
        /// Which of them.
        page: Page,
    },
    /// [`Question::Retry`].
    Retry(Named),
    /// [`Question::Drop`].
    Drop(Named),
}

/// A [`Row`] that owns its bytes, as it crosses threads.
#[derive(Debug)]
pub enum Kept {
    /// [`Row::Tree`].
    Tree(Arc<Ivr>),
    /// [`Row::Call`].
    Call {
        /// Where its events come from.
        source: Source,
        /// Its id in that source.
        id: String,
        /// What was kept of it.
        row: Vec<u8>,
    },
    /// [`Row::Update`].
    Update {
        /// Where the call came from.
        source: Source,
        /// The call's id in that source.
        call: String,
        /// When the call began.
        generation: Tick,
        /// What was kept of it.
        row: Vec<u8>,
    },
    /// [`Row::Ended`].
    Ended(EndedRow),
}

impl Kept {
    /// Returns the row that this is.
    pub fn row(&self) -> Row<'_> {
        match self {
            Kept::Tree(ivr) => Row::Tree(Arc::clone(ivr)),
            Kept::Call { source, id, row } => Row::Call { source: *source, id, row },
            Kept::Update { source, call, generation, row } => {
                Row::Update { source: *source, call, generation: *generation, row }
            }
            Kept::Ended(row) => Row::Ended(*row),
        }
    }
}

impl Ask {
    /// Returns the question that this asks.
    pub fn question(&self) -> Question<'_> {
        match self {
            Ask::Ping => Question::Ping,
            Ask::Press { call, key, reach } => Question::Press { call, key: *key, reach: *reach },
            Ask::HangUp { call } => Question::HangUp { call },
            Ask::Call { source, call } => Question::Call { source: *source, call },
            Ask::Summary => Question::Summary,
            Ask::Calls(page) => Question::Calls(*page),
            Ask::Outbox { only_parked, page } => Question::Outbox { only_parked: *only_parked, page: *page },
            Ask::Retry(named) => Question::Retry(*named),
            Ask::Drop(named) => Question::Drop(*named),
        }
    }
}

/// A way into `calls`, for any thread.
#[derive(Clone, Debug)]
pub struct Inbox {
    sender: Sender<Incoming>,
    spare: Receiver<Box<Batch>>,
}

/// The other end: what `calls` receives, and where it gives emptied batches back.
#[derive(Debug)]
pub struct Outlet {
    /// What happened.
    pub incoming: Receiver<Incoming>,
    /// Emptied batches, for the reader to fill again.
    pub spare: Sender<Box<Batch>>,
}

/// `calls` is gone: the service is stopping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the calls thread has ended")]
pub struct Closed;

/// Why a question was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoAnswer {
    /// `calls` is gone: the service is stopping.
    #[error("the calls thread has ended")]
    Closed,
    /// `calls` did not answer in time.
    #[error("the calls thread did not answer in time")]
    Late,
}

/// Returns both ends of the way into `calls`.
pub fn inbox() -> (Inbox, Outlet) {
    let (sender, incoming) = bounded(INBOX_MAX);
    let (spare, emptied) = bounded(SPARE_MAX);
    (Inbox { sender, spare: emptied }, Outlet { incoming, spare })
}

impl Inbox {
    /// Sends what happened; waits while the inbox is full, which for the reader is back-pressure.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] once `calls` is gone.
    pub fn send(&self, incoming: Incoming) -> Result<(), Closed> {
        self.sender.send(incoming).map_err(|_| Closed)
    }

    /// Asks, and waits at most `patience` for the answer.
    ///
    /// # Errors
    ///
    /// Returns why there is no answer.
    pub fn ask(&self, question: Ask, patience: Duration) -> Result<Answer, NoAnswer> {
        let deadline = Instant::now() + patience;
        let (reply, answer) = bounded(1);
        self.sender
            .send_deadline(Incoming::Asked { question, reply }, deadline)
            .map_err(|error| if error.is_timeout() { NoAnswer::Late } else { NoAnswer::Closed })?;
        answer.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => NoAnswer::Late,
            RecvTimeoutError::Disconnected => NoAnswer::Closed,
        })
    }

    /// Returns an empty batch, used before where one is to be had.
    pub fn empty_batch(&self) -> Box<Batch> {
        self.spare.try_recv().unwrap_or_default()
    }
}

/// Events in the order they were read, with their words in one buffer: filled and emptied again
/// without an allocation an event.
#[derive(Default, Debug)]
pub struct Batch {
    read_at: Option<Instant>,
    text: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Where the call's id begins in the buffer; everything else follows it.
    begin: u32,
    call: u8,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Pressed(Key, Option<Stamp>),
    /// The lengths of the facts that there are: interaction, from, to.
    Started([Option<u8>; 3]),
    Ended,
}

impl Batch {
    /// Returns whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many events there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says when the read returned that everything added from here came with.
    pub fn set_read_at(&mut self, read_at: Instant) {
        self.read_at = Some(read_at);
    }

    /// Returns when the read returned that the events came with.
    pub fn read_at(&self) -> Option<Instant> {
        self.read_at
    }

    /// Adds a key press.
    ///
    /// # Panics
    ///
    /// Panics if `call` is longer than 255 bytes: ids are checked before.
    pub fn press(&mut self, call: &str, key: Key, stamp: Option<Stamp>) {
        self.add(call, Kind::Pressed(key, stamp));
    }

    /// Adds a call's start.
    ///
    /// # Panics
    ///
    /// Panics if `call` or a fact is longer than 255 bytes: they are checked before.
    pub fn start(&mut self, call: &str, facts: Facts<'_>) {
        let facts = [facts.interaction, facts.from, facts.to];
        self.add(call, Kind::Started(facts.map(|fact| fact.map(length))));
        for fact in facts.into_iter().flatten() {
            self.text.push_str(fact);
        }
    }

    /// Adds a hang-up.
    ///
    /// # Panics
    ///
    /// Panics if `call` is longer than 255 bytes: ids are checked before.
    pub fn end(&mut self, call: &str) {
        self.add(call, Kind::Ended);
    }

    fn add(&mut self, call: &str, kind: Kind) {
        let begin = u32::try_from(self.text.len()).expect("a batch holds one read, far below 4 GiB");
        self.entries.push(Entry { begin, call: length(call), kind });
        self.text.push_str(call);
    }

    /// Returns the events, in the order they were added, all from `source`.
    pub fn events(&self, source: Source) -> impl Iterator<Item = Event<'_>> {
        self.entries.iter().map(move |entry| {
            let mut rest = &self.text[entry.begin as usize..];
            let mut take = |length: u8| {
                let (taken, after) = rest.split_at(usize::from(length));
                rest = after;
                taken
            };
            let call = take(entry.call);
            match entry.kind {
                Kind::Pressed(key, stamp) => Event::KeyPressed { source, call, key, stamp },
                Kind::Started(lengths) => {
                    let [interaction, from, to] = lengths.map(|length| length.map(&mut take));
                    Event::CallStarted { source, call, facts: Facts { interaction, from, to } }
                }
                Kind::Ended => Event::CallEnded { source, call },
            }
        })
    }

    /// Takes everything out and keeps the buffers.
    pub fn clear(&mut self) {
        self.read_at = None;
        self.text.clear();
        self.entries.clear();
    }
}

fn length(text: &str) -> u8 {
    u8::try_from(text.len()).expect("ids and facts are at most 128 bytes, checked when decoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in_and_can_be_filled_again() {
        let key = Key::parse('7').expect("a key");
        let facts = Facts { interaction: Some("i-1"), from: None, to: Some("+49") };
        let mut batch = Batch::default();
        for _ in 0..2 {
            batch.start("a", facts);
            batch.press("bc", key, Some(9));
            batch.end("a");
            let source = Source::Voice;
            let events: Vec<_> = batch.events(source).collect();
            assert_eq!(
                vec![
                    Event::CallStarted { source, call: "a", facts },
                    Event::KeyPressed { source, call: "bc", key, stamp: Some(9) },
                    Event::CallEnded { source, call: "a" },
                ],
                events
            );
            batch.clear();
            assert!(batch.is_empty());
        }
    }
}
