//! How calls went, as the store tells it and the API shows it.

use crate::engine::{Page, Source, Tick, Version};

/// A part of the history, the calls that ended last first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HistoryPage {
    /// At most as many as were asked for.
    pub entries: Vec<HistoryEntry>,
    /// Where to go on ([`Page::after`]) if there are more; never 0.
    pub next: Option<u64>,
}

/// How a call went: what was kept of an [`engine::CallRecord`](crate::engine::CallRecord).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// Where its events came from.
    pub source: Source,
    /// Its id in that source.
    pub id: String,
    /// What its variables are written to, where that differs from the call.
    pub interaction: Option<String>,
    /// The number that was called, where it is known.
    pub to: Option<String>,
    /// The tree that it walked.
    pub tree: Version,
    /// When it began.
    pub began: Tick,
    /// When it ended.
    pub ended: Tick,
    /// With what.
    pub outcome: String,
    /// Why: [`Reason::name`](crate::engine::Reason::name).
    pub reason: String,
    /// Where: the node's name.
    pub node: String,
    /// Whether it left an update to be delivered.
    pub writes: bool,
    /// What was pressed, and when: [`Presses::bytes`](crate::engine::Presses::bytes).
    pub presses: Vec<u8>,
    /// How many key presses came after that was full.
    pub omitted: u32,
}

/// Where ended calls are found.
pub trait History: Send {
    /// Returns a page of all of them, or of those with this id from whatever source. It returns soon: a
    /// page is small, and other clients wait meanwhile.
    ///
    /// # Errors
    ///
    /// Returns why they can't be read, in words for an operator.
    fn page(&self, call: Option<&str>, page: Page) -> Result<HistoryPage, String>;
}
