//! What dtmfd decides: pure, told the time, without sockets, threads, files, clocks or JSON.

mod call;
mod calls;
mod delivery;
mod ended;
mod endpoint;
mod event;
mod ivr;
mod key;
mod random;
mod update;
mod variables;
mod wheel;

pub use call::{Call, End};
pub use calls::{Bounds, CallId, Calls, Counts};
pub use delivery::UpdateId;
pub use endpoint::Endpoint;
pub use event::{
    Answer, AskId, CallStanding, Event, Facts, NoMatch, Output, Question, Reach, Reason, Source, Stamp,
    Summary, Tick, Verdict,
};
pub use ivr::{
    Assignment, Choice, Content, Entry, Handler, Ivr, Limits, Mask, Node, NodeId, OnEnd, Pattern, Piece,
    SlotId, Target, Template, Timing,
};
pub use key::{Digits, Key, KeySet};
pub use random::Random;
pub use update::{Attempt, Failure, Outcome, Parked, Update};
