//! Walks through trees, key by key, to the millisecond: IVR.md, section by section.

mod digits;
mod duplicates;
mod edges;
mod language;
mod seed;
mod templates;
mod timers;
mod whole;
