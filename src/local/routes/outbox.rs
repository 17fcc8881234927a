//! `/api/v1/outbox`: updates that are not acknowledged, and what an operator does to them.

use std::borrow::Cow;

use serde::Serialize;

use super::page::{Parameters, bad, cut, moment, pages, wall_ms};
use super::{Reply, Routes, to_json, unexpected};
use crate::engine::{Answer, Named, Page, UpdateStanding, UpdateState, Value, Variable};
use crate::inbox::Ask;
use crate::local::problem::Problem;

/// How many bytes of an update's variables are shown; the others are only counted.
const VARIABLES_BYTES_MAX: usize = 16 * 1024;

/// An update, as [`super`] tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdateShown<'a> {
    id: String,
    call: &'a str,
    interaction: &'a str,
    source: &'static str,
    ended: String,
    age_ms: u64,
    attempts: u32,
    state: &'static str,
    why: String,
    variables: Vec<VariableShown<'a>>,
    variables_omitted: usize,
}

#[derive(Serialize)]
struct VariableShown<'a> {
    name: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl UpdateShown<'_> {
    fn of(standing: &UpdateStanding, now_ms: u64) -> UpdateShown<'_> {
        let UpdateStanding { name, update, attempts, age_ms, state } = standing;
        let mut bytes = 0;
        let shown = update.variables.iter().map(VariableShown::of).take_while(|shown| {
            bytes += shown.name.len() + shown.value.as_ref().map_or(0, |value| value.len());
            bytes <= VARIABLES_BYTES_MAX
        });
        let variables: Vec<_> = shown.collect();
        let (state, why) = in_words(*state);
        UpdateShown {
            id: format!("{name:016x}"),
            call: &update.call,
            interaction: update.interaction(),
            source: update.source.name(),
            ended: moment(now_ms.saturating_sub(*age_ms)),
            age_ms: *age_ms,
            attempts: *attempts,
            state,
            why,
            variables_omitted: update.variables.len() - variables.len(),
            variables,
        }
    }
}

impl VariableShown<'_> {
    fn of(variable: &Variable) -> VariableShown<'_> {
        let (value, note) = match &variable.value {
            Value::Plain(text) => {
                let (text, is_cut) = cut(text);
                (Some(text), is_cut.then_some("cut"))
            }
            Value::Raw(_) => (None, Some("raw")),
            Value::Lost => (None, Some("lost")),
        };
        VariableShown { name: cut(&variable.name).0, value, note }
    }
}

/// Returns a state's name, and what the update waits for.
fn in_words(state: UpdateState) -> (&'static str, String) {
    let (name, why) = match state {
        UpdateState::Held => ("held", "waits to be on disk"),
        UpdateState::Ready => ("ready", "waits for its turn"),
        UpdateState::InFlight => ("in_flight", "its attempt is under way"),
        UpdateState::Waiting => ("waiting", "waits for its next attempt"),
        UpdateState::Parked(why) => return ("parked", why.to_string()),
    };
    (name, why.to_owned())
}

/// How many updates changed, and how many are set aside now.
#[derive(Serialize)]
struct Changed {
    changed: usize,
    parked: usize,
}

impl Routes {
    pub(super) fn outbox(&self, query: &str) -> Result<Reply, Problem> {
        let parameters = Parameters::read(query, &["after", "limit", "state"])?;
        let Page { after, limit } = parameters.page()?;
        let only_parked = match parameters.get("state") {
            None | Some("all") => false,
            Some("parked") => true,
            Some(other) => return Err(bad(&format!("`state` is `{other}`: it is `parked` or `all`"))),
        };
        let fetch = |limit| match self.ask(Ask::Outbox { only_parked, page: Page { after, limit } }) {
            Ok(Answer::Outbox(list, next)) => Ok((list, next)),
            Ok(_) => Err(unexpected()),
            Err(problem) => Err(problem),
        };
        let now_ms = wall_ms();
        pages("updates", limit, fetch, |standing| to_json(&UpdateShown::of(standing, now_ms)))
    }

    pub(super) fn retry_parked(&self) -> Result<Reply, Problem> {
        self.change(Ask::Retry(Named::AllParked))
    }

    pub(super) fn drop_parked(&self, query: &str) -> Result<Reply, Problem> {
        match Parameters::read(query, &["state"])?.get("state") {
            Some("parked") => self.change(Ask::Drop(Named::AllParked)),
            _ => Err(bad("`state` must be `parked`: what is on its way is dropped one by one only")),
        }
    }

    pub(super) fn retry_update(&self, segment: &str) -> Result<Reply, Problem> {
        self.change(Ask::Retry(named(segment)?))
    }

    pub(super) fn drop_update(&self, segment: &str) -> Result<Reply, Problem> {
        self.change(Ask::Drop(named(segment)?))
    }

    fn change(&self, wish: Ask) -> Result<Reply, Problem> {
        let changed = match self.ask(wish) {
            Ok(Answer::Changed(changed)) => changed,
            Ok(Answer::NoSuchUpdate) => return Err(no_such_update()),
            Ok(Answer::UpdateInFlight) => {
                let detail =
                    "its attempt is under way, so nobody knows whether it arrives: ask again in some seconds";
                return Err(Problem::new(409, "update_in_flight", detail));
            }
            Ok(Answer::RawLost) => {
                let detail = "it held a masked entry in clear that a restart forgot: it can only be dropped";
                return Err(Problem::new(409, "raw_value_lost", detail));
            }
            Ok(_) => return Err(unexpected()),
            Err(problem) => return Err(problem),
        };
        match self.ask(Ask::Summary) {
            Ok(Answer::Summary(summary)) => {
                Ok(Reply::json(200, &Changed { changed, parked: summary.parked }))
            }
            Ok(_) => Err(unexpected()),
            Err(problem) => Err(problem),
        }
    }
}

/// Reads an update's id: 16 hexadecimal digits, as they are shown.
fn named(segment: &str) -> Result<Named, Problem> {
    let is_id = segment.len() == 16 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = is_id.then(|| u64::from_str_radix(segment, 16).ok()).flatten();
    name.map(Named::One).ok_or_else(no_such_update)
}

fn no_such_update() -> Problem {
    let detail = "no update has this id, or it was acknowledged: GET /api/v1/outbox lists those there are";
    Problem::new(404, "no_such_update", detail)
}
