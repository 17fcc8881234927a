//! Presses on simulated calls: `POST /simulator`, one key, and `/api/v1/calls/{id}/digits`, a script.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::{JSON, Reply, Routes, of_the_stream, unavailable, unexpected};
use crate::call_id;
use crate::engine::{Answer, Key, Reach, Verdict};
use crate::inbox::Ask;
use crate::local::head::BODY_MAX;
use crate::local::plays::{PLAY_MAX, PLAYS_MAX};
use crate::local::problem::Problem;
use crate::press::{self, Step};

/// How many steps of a script one request may bring: what has no pause before it is played at once,
/// while other clients wait, at some 20 µs a step.
const STEPS_MAX: usize = 256;

/// What a step did.
#[derive(Serialize)]
struct Did {
    digit: char,
    result: &'static str,
}

/// What came of a script so far.
#[derive(Serialize)]
struct Played {
    presses: Vec<Did>,
    /// How many steps are played later.
    remaining: usize,
}

impl Routes {
    /// Returns what a simulated press may do.
    pub(super) fn simulator(&self) -> Result<Reach, Problem> {
        let off = || Problem::new(404, "simulator_off", "the simulator is off: see --simulator");
        self.simulator.ok_or_else(off)
    }

    pub(super) fn press(&self, body: &[u8]) -> Result<Reply, Problem> {
        let reach = self.simulator()?;
        let (call, key) = read_press(body)?;
        self.press_key(&call, key, reach)?;
        Ok(Reply::new(200, JSON, r#"{"status":"digit_processed"}"#))
    }

    fn press_key(&self, call: &str, key: Key, reach: Reach) -> Result<Verdict, Problem> {
        match self.ask(Ask::Press { call: call.to_owned(), key, reach }) {
            Ok(Answer::OfTheStream) => Err(of_the_stream()),
            Ok(Answer::Pressed(Verdict::Refused)) => {
                let detail = "there is no room for another call: GET /readyz says what is full";
                Err(Problem::new(503, "no_room", detail).with("Retry-After", "1"))
            }
            Ok(Answer::Pressed(verdict)) => Ok(verdict),
            Ok(_) => Err(unexpected()),
            Err(problem) => Err(problem),
        }
    }

    pub(super) fn press_digits(&self, call: String, body: &[u8]) -> Result<Reply, Problem> {
        let reach = self.simulator()?;
        let steps = read_script(body)?;
        let n_now = steps.iter().position(is_pause).unwrap_or(steps.len());
        // The place comes first: either all of a script is played, or nothing.
        let place = match n_now < steps.len() {
            true => Some(self.plays.reserve().ok_or_else(|| {
                let detail =
                    format!("{PLAYS_MAX} scripts with pauses are being played, the most there may be");
                unavailable("too_many_plays", &detail)
            })?),
            false => None,
        };
        let presses: Result<Vec<_>, _> =
            steps[..n_now].iter().map(|&step| self.play_step(&call, step, reach)).collect();
        let played = Played { presses: presses?, remaining: steps.len() - n_now };
        if let Some(place) = place {
            let begun = n_now > 0;
            let is_playing = place.play(call, reach, &steps[n_now..], begun);
            is_playing.then_some(()).ok_or_else(|| unavailable("stopping", "dtmfd is stopping"))?;
        }
        Ok(Reply::json(if played.remaining > 0 { 202 } else { 200 }, &played))
    }

    fn play_step(&self, call: &str, step: Step, reach: Reach) -> Result<Did, Problem> {
        match step {
            Step::Key(key) => {
                let verdict = self.press_key(call, key, reach)?;
                Ok(Did { digit: key.symbol(), result: verdict.name() })
            }
            Step::HangUp => match self.ask(Ask::HangUp { call: call.to_owned() }) {
                Ok(Answer::HungUp) => Ok(Did { digit: '!', result: "hung_up" }),
                Ok(Answer::NoSuchCall) => Ok(Did { digit: '!', result: "late" }),
                Ok(Answer::OfTheStream) => Err(of_the_stream()),
                Ok(_) => Err(unexpected()),
                Err(problem) => Err(problem),
            },
            // Only what comes before the first pause is played here.
            Step::Wait(_) | Step::UntilDeadline => Err(unexpected()),
        }
    }
}

fn is_pause(step: &Step) -> bool {
    matches!(step, Step::Wait(_) | Step::UntilDeadline)
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
    let example = r#"send {"callId":"c1","digit":"1"}"#;
    let text = json_text(body, example)?;
    let press: Press<'_> = serde_json::from_str(text).map_err(|_| {
        let detail = format!("`callId` and `digit` are strings, each there once: {example}");
        Problem::new(422, "bad_press", detail)
    })?;
    call_id::check(&press.call).map_err(|error| Problem::new(422, "bad_call_id", error.to_string()))?;
    let mut symbols = press.digit.chars();
    match (symbols.next().and_then(Key::parse), symbols.next()) {
        (Some(key), None) => Ok((press.call.into_owned(), key)),
        _ => Err(Problem::new(422, "bad_digit", "`digit` is one of 0-9 * # A-D")),
    }
}

/// What `POST /api/v1/calls/{id}/digits` takes.
#[derive(Deserialize)]
struct Script<'a> {
    #[serde(borrow)]
    digits: Cow<'a, str>,
}

fn read_script(body: &[u8]) -> Result<Vec<Step>, Problem> {
    let example = r#"send {"digits":"1wA1"}"#;
    let text = json_text(body, example)?;
    let script: Script<'_> = serde_json::from_str(text).map_err(|_| {
        let detail = format!("`digits` is a string, there once: {example}");
        Problem::new(422, "bad_press", detail)
    })?;
    let bad = |detail: String| Problem::new(422, "bad_digits", format!("`digits`: {detail}"));
    let steps = press::parse(&script.digits).map_err(|error| bad(error.to_string()))?;
    if !(1..=STEPS_MAX).contains(&steps.len()) {
        return Err(bad(format!("there are {} steps, and must be 1 to {STEPS_MAX}", steps.len())));
    }
    let waits_ms = steps.iter().map(|step| if let Step::Wait(ms) = step { *ms } else { 0 });
    if u128::from(waits_ms.sum::<u64>()) > PLAY_MAX.as_millis() {
        return Err(bad(format!("the pauses are longer than {} minutes in all", PLAY_MAX.as_secs() / 60)));
    }
    Ok(steps)
}

/// Returns a body that is JSON, and not too long.
fn json_text<'a>(body: &'a [u8], example: &str) -> Result<&'a str, Problem> {
    if body.len() > BODY_MAX {
        let detail = format!("a request's body has at most {BODY_MAX} bytes");
        return Err(Problem::new(413, "body_too_large", detail));
    }
    let not_json = |error: &dyn std::fmt::Display| {
        Problem::new(400, "not_json", format!("the body is not JSON ({error}): {example}"))
    };
    let text = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
    // The whole of it is read first, so that whether it is JSON does not hang on where a type is wrong.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
    Ok(text)
}
