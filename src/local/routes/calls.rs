//! `/api/v1/calls`: calls in progress, and one of them or how it went.

use std::borrow::Cow;

use serde::Serialize;

use super::history::EndedShown;
use super::page::{Parameters, cut, pages};
use super::{Reply, Routes, no_such_call, of_the_stream, to_json, unexpected};
use crate::engine::{Answer, CallStanding, Page, Source};
use crate::inbox::Ask;
use crate::local::problem::Problem;

/// A call in progress, as [`super`] tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallShown<'a> {
    id: &'a str,
    source: &'static str,
    interaction: &'a str,
    state: &'static str,
    age_ms: u64,
    node: Cow<'a, str>,
    attempt: u32,
    entered: usize,
    due_in_ms: u64,
    dry: bool,
}

impl CallShown<'_> {
    fn of(standing: &CallStanding) -> CallShown<'_> {
        let CallStanding {
            source, id, interaction, age_ms, attempt, entered, is_dry, node, due_in_ms, ..
        } = standing;
        CallShown {
            id,
            source: source.name(),
            interaction: interaction.as_deref().unwrap_or(id),
            state: "in_progress",
            age_ms: *age_ms,
            node: cut(node).0,
            attempt: *attempt,
            entered: *entered,
            due_in_ms: *due_in_ms,
            dry: *is_dry,
        }
    }
}

impl Routes {
    pub(super) fn calls(&self, query: &str) -> Result<Reply, Problem> {
        let Page { after, limit } = Parameters::read(query, &["after", "limit"])?.page()?;
        let fetch = |limit| match self.ask(Ask::Calls(Page { after, limit })) {
            Ok(Answer::Calls(list, next)) => Ok((list, next)),
            Ok(_) => Err(unexpected()),
            Err(problem) => Err(problem),
        };
        pages("calls", limit, fetch, |standing| to_json(&CallShown::of(standing)))
    }

    pub(super) fn call(&self, id: &str) -> Result<Reply, Problem> {
        // The stream's goes first, as it does everywhere.
        for source in Source::ALL {
            match self.ask(Ask::Call { source, call: id.to_owned() }) {
                Ok(Answer::Call(standing)) => return Ok(Reply::json(200, &CallShown::of(&standing))),
                Ok(Answer::NoSuchCall) => (),
                Ok(_) => return Err(unexpected()),
                Err(problem) => return Err(problem),
            }
        }
        let last = Page { after: 0, limit: 1 };
        let ended = self.read_history(Some(id), last)?.and_then(|page| page.entries.into_iter().next());
        let ended = ended.ok_or_else(no_such_call)?;
        Ok(Reply::json(200, &EndedShown::with_presses(&ended)))
    }

    pub(super) fn hang_up(&self, id: &str) -> Result<Reply, Problem> {
        self.simulator()?;
        match self.ask(Ask::HangUp { call: id.to_owned() }) {
            Ok(Answer::HungUp) => Ok(Reply::json(200, &serde_json::json!({ "status": "hung_up" }))),
            Ok(Answer::OfTheStream) => Err(of_the_stream()),
            Ok(Answer::NoSuchCall) => Err(no_such_call()),
            Ok(_) => Err(unexpected()),
            Err(problem) => Err(problem),
        }
    }
}
