//! `/api/v1/history`: calls that have ended.

use std::borrow::Cow;

use serde::Serialize;

use super::page::{Parameters, bad, cut, moment, pages};
use super::{Reply, Routes, to_json, unavailable};
use crate::call_id;
use crate::engine::{Key, Page};
use crate::history::{HistoryEntry, HistoryPage};
use crate::local::problem::Problem;

/// Stands for a digit that is not to be shown.
const MASKED: char = '•';

/// An ended call, as [`super`] tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndedShown<'a> {
    id: &'a str,
    source: &'static str,
    interaction: &'a str,
    to: Option<&'a str>,
    state: &'static str,
    began: String,
    ended: String,
    outcome: Cow<'a, str>,
    reason: &'a str,
    node: Cow<'a, str>,
    tree: String,
    writes: bool,
    digits: String,
    digits_omitted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    presses: Option<Vec<PressShown>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PressShown {
    at_ms: u64,
    digit: Option<char>,
    result: &'static str,
}

impl EndedShown<'_> {
    fn of(entry: &HistoryEntry) -> EndedShown<'_> {
        EndedShown {
            id: &entry.id,
            source: entry.source.name(),
            interaction: entry.interaction.as_deref().unwrap_or(&entry.id),
            to: entry.to.as_deref(),
            state: "ended",
            began: moment(entry.began_ms),
            ended: moment(entry.ended_ms),
            outcome: cut(&entry.outcome).0,
            reason: &entry.reason,
            node: cut(&entry.node).0,
            tree: entry.tree.to_string(),
            writes: entry.writes,
            digits: entry.presses.iter().map(|press| press.key.map_or(MASKED, Key::symbol)).collect(),
            digits_omitted: entry.omitted,
            presses: None,
        }
    }

    pub(super) fn with_presses(entry: &HistoryEntry) -> EndedShown<'_> {
        let presses = entry.presses.iter().map(|press| PressShown {
            at_ms: press.at_ms,
            digit: press.key.map(Key::symbol),
            result: press.verdict.name(),
        });
        EndedShown { presses: Some(presses.collect()), ..EndedShown::of(entry) }
    }
}

impl Routes {
    pub(super) fn history(&self, query: &str) -> Result<Reply, Problem> {
        let parameters = Parameters::read(query, &["after", "limit", "call"])?;
        let Page { after, limit } = parameters.page()?;
        let call = parameters.get("call").map(call_id::decode).transpose();
        let call = call.map_err(|error| bad(&format!("`call` is no call id: {error}")))?;
        let fetch = |limit| match self.read_history(call.as_deref(), Page { after, limit })? {
            Some(HistoryPage { entries, next }) => Ok((entries, next)),
            None => Err(Problem::new(404, "no_history", "nothing is kept here, so there is no history")),
        };
        pages("calls", limit, fetch, |entry| to_json(&EndedShown::of(entry)))
    }

    /// Reads a part of the history; `None` if there is none.
    pub(super) fn read_history(
        &self,
        call: Option<&str>,
        page: Page,
    ) -> Result<Option<HistoryPage>, Problem> {
        let read = self.history.as_ref().map(|history| history.page(call, page)).transpose();
        read.map_err(|why| unavailable("history_unreadable", &why))
    }
}
