//! `ivr.json` as it is written: from text to an [`Ivr`](crate::engine::Ivr), with findings that
//! name the place, what is there, and what would be right.
//!
//! [`read`] takes the file in, [`load()`] makes sense of it, [`human`], [`json`] and [`github`] show
//! what was found. IVR.md says what a tree means, and lists all that is checked in its section 8.

mod collect;
mod diagnostic;
mod fields;
pub mod graph;
mod lint;
mod load;
mod menu;
mod node;
mod overlap;
mod pattern;
mod reach;
mod render;
mod sample;
mod satisfy;
mod scenario;
mod schema;
mod settings;
mod source;
mod strict;
mod syntax;
mod template;
mod trial;
mod walk;

pub use diagnostic::{FINDINGS_MAX, Finding, Severity, Span, code};
pub use load::{Loaded, NODES_MAX, load};
pub use render::{Lines, Place, github, human, json, printable};
pub use sample::{SAMPLE, SAMPLE_NAME};
pub use scenario::Scenario;
pub use schema::SCHEMA;
pub use source::{ReadError, Source, read};
pub use syntax::FILE_BYTES_MAX;
pub use trial::{Mismatch, Trial, junit, proven, trials};
pub use walk::{Happened, WalkStep};

pub(crate) use trial::{RAW, raw_variables};

#[cfg(test)]
mod tests;
