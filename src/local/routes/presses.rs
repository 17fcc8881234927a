//! `POST /simulator`: one key on a simulated call.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{JSON, PRESS_PATIENCE, Reply, Routes, unavailable};
use crate::call_id;
use crate::engine::{Answer, Key, Verdict};
use crate::inbox::{Ask, NoAnswer};
use crate::local::head::BODY_MAX;
use crate::local::problem::Problem;

impl Routes {
    pub(super) fn press(&self, body: &[u8]) -> Result<Reply, Problem> {
        let Some(reach) = self.simulator else {
            return Err(Problem::new(404, "simulator_off", "the simulator is off: see --simulator"));
        };
        let (call, key) = read_press(body)?;
        match self.inbox.ask(Ask::Press { call, key, reach }, PRESS_PATIENCE) {
            Ok(Answer::OfTheStream) => {
                let detail = "the voice stream has shown this call, so it is not the simulator's";
                Err(Problem::new(409, "call_of_the_stream", detail))
            }
            Ok(Answer::Pressed(Verdict::Refused)) => {
                let detail = "there is no room for another call: GET /readyz says what is full";
                Err(Problem::new(503, "no_room", detail).with("Retry-After", "1"))
            }
            Ok(Answer::Pressed(_)) => Ok(Reply::new(200, JSON, r#"{"status":"digit_processed"}"#)),
            // A press has no other answer; while the engine drains it takes none.
            Ok(_) | Err(NoAnswer::Closed) => Err(unavailable("stopping", "dtmfd is stopping")),
            Err(error @ NoAnswer::Late) => Err(unavailable("engine_late", &error.to_string())),
        }
    }
}

/// What `POST /simulator` takes. Other members are ignored, and nothing of them is kept.
#[derive(Deserialize)]
struct Press<'a> {
    #[serde(rename = "callId", borrow)]
    call: Cow<'a, str>,
    #[serde(borrow)]
    digit: Cow<'a, str>,
}

fn read_press(body: &[u8]) -> Result<(String, Key), Problem> {
    if body.len() > BODY_MAX {
        let detail = format!("a request's body has at most {BODY_MAX} bytes");
        return Err(Problem::new(413, "body_too_large", detail));
    }
    let example = r#"send {"callId":"c1","digit":"1"}"#;
    let not_json = |error: &dyn std::fmt::Display| {
        Problem::new(400, "not_json", format!("the body is not JSON ({error}): {example}"))
    };
    let text = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
    // The whole of it is read first, so that whether it is JSON does not hang on where a type is wrong.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
    let press: Press<'_> = serde_json::from_str(text).map_err(|_| {
        Problem::new(
            422,
            "bad_press",
            format!("`callId` and `digit` are strings, each there once: {example}"),
        )
    })?;
    call_id::check(&press.call).map_err(|error| Problem::new(422, "bad_call_id", error.to_string()))?;
    let mut symbols = press.digit.chars();
    match (symbols.next().and_then(Key::parse), symbols.next()) {
        (Some(key), None) => Ok((press.call.into_owned(), key)),
        _ => Err(Problem::new(422, "bad_digit", "`digit` is one of 0-9 * # A-D")),
    }
}
