//! What dtmfd decides: pure, told the time, without sockets, threads, files, clocks or JSON.

mod call;
mod calls;
mod commit;
mod delivery;
mod ended;
mod endpoint;
mod event;
mod fingerprint;
mod ivr;
mod key;
mod ledger;
mod presses;
mod random;
mod row;
mod update;
mod variables;
mod wheel;

pub use call::{Call, End};
pub use calls::{Bounds, CallId, Calls, Counts, TREES_MAX};
pub use commit::{CallKey, CallRecord, Change, Commit, EndedRow, Row, UpdateKey};
pub use delivery::UpdateId;
pub use endpoint::Endpoint;
pub use event::{
    Answer, AskId, CallStanding, Event, Facts, Named, NoMatch, Output, Page, Question, Reach, Reason, Source,
    Stamp, Summary, Tick, Verdict,
};
pub use ivr::{
    Assignment, Choice, Content, Entry, Handler, Ivr, Limits, Mask, Node, NodeId, OnEnd, Pattern, Piece,
    SlotId, Target, Template, Timing, Version,
};
pub use key::{Digits, Key, KeySet};
pub use ledger::Keeping;
pub use presses::{Press, Presses};
pub use random::Random;
pub use row::Unreadable;
pub use update::{Attempt, Failure, Outcome, Parked, Update, UpdateStanding, UpdateState, Value, Variable};
