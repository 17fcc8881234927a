//! How calls went, as the store tells it and the API shows it.

use crate::engine::{Page, Press, Source, Version};

/// How many calls a page has at most.
pub const HISTORY_PAGE_MAX: usize = 100;

/// Where ended calls are found.
pub trait History: Send {
    /// Returns a page of all of them, or of those with this id from whatever source: at most
    /// [`HISTORY_PAGE_MAX`]. It returns soon: a page is small, and other clients wait meanwhile.
    ///
    /// # Errors
    ///
    /// Returns why they can't be read, in words for an operator.
    fn page(&self, call: Option<&str>, page: Page) -> Result<HistoryPage, String>;
}

/// A part of the history, the calls that ended last first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HistoryPage {
    /// At most as many as were asked for.
    pub entries: Vec<HistoryEntry>,
    /// Where to go on ([`Page::after`]) if there are more; never 0.
    pub next: Option<u64>,
}

/// How a call went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// Its number: the later a call ended, the greater. It is below 2^53.
    pub number: u64,
    /// Where its events came from.
    pub source: Source,
    /// Its id in that source.
    pub id: String,
    /// What its variables were written to, where that differs from the call.
    pub interaction: Option<String>,
    /// The number that was called, where it is known.
    pub to: Option<String>,
    /// The tree that it walked.
    pub tree: Version,
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_ms: u64,
    /// With what.
    pub outcome: String,
    /// Why: what the template `{reason}` expands to.
    pub reason: String,
    /// Where: the node's name.
    pub node: String,
    /// Whether it left an update to be delivered.
    pub writes: bool,
    /// What was pressed, and when.
    pub presses: Vec<Press>,
    /// How many key presses came after those.
    pub omitted: u64,
}
