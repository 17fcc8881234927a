//! What dtmfd decides: pure, told the time, without sockets, threads, files, clocks or JSON.

mod calls;
mod delivery;
mod event;
mod ivr;
mod key;

pub use calls::{CallId, Calls};
pub use delivery::{Endpoint, UpdateId};
pub use event::{
    Answer, AskId, Attempt, CallStanding, Event, Facts, Failure, NoMatch, Outcome, Output, Parked, Question,
    Reach, Reason, Source, Stamp, Summary, Tick, Update, Verdict,
};
pub use ivr::{
    Assignment, Choice, Content, Entry, Handler, Ivr, Limits, Mask, Node, NodeId, OnEnd, Pattern, Piece,
    SlotId, Target, Template, Timing,
};
pub use key::{Digits, Key, KeySet};
