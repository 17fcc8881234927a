//! `dtmfd outbox`: updates that a running daemon has not delivered, and what an operator does to them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::calls::List;
use super::client::{Client, Refusal};
use super::show::{Table, Tone, age, number, text};
use super::{counted, is_colored, print, say};
use crate::config::ApiFlags;
use crate::error::Error;

/// How many digits of an id are enough, where they tell it from all others.
const PREFIX_MIN: usize = 4;
/// How many digits an id has.
const ID_LENGTH: usize = 16;
/// How many ids are named where more than one begin so.
const CANDIDATES_MAX: usize = 8;

/// The flags of `dtmfd outbox`.
#[derive(Args, Debug)]
pub(super) struct Outbox {
    #[command(subcommand)]
    wish: Option<Wish>,
    /// Print one JSON object (its fields: src/local/routes.rs)
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    api: ApiFlags,
}

#[derive(Subcommand, Debug)]
enum Wish {
    /// Try updates now, though they wait or are parked
    Retry(Which),
    /// Drop updates: their variables are never written
    Drop(Which),
}

#[derive(Args, Debug)]
struct Which {
    /// Their ids, or as much of them as tells them apart: 4 digits or more
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = prefix)]
    ids: Vec<String>,
    /// All that are parked
    #[arg(long)]
    all: bool,
}

fn prefix(text: &str) -> Result<String, String> {
    let is_one =
        (PREFIX_MIN..=ID_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase()).ok_or_else(|| {
        format!("an id is {PREFIX_MIN} to {ID_LENGTH} hexadecimal digits, as `dtmfd outbox` lists them")
    })
}

/// What an operator does to an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Retry,
    Drop,
}

impl Deed {
    fn done(self) -> &'static str {
        match self {
            Deed::Retry => "retried",
            Deed::Drop => "dropped",
        }
    }
}

impl Outbox {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let client = Client::new(&self.api)?;
        let (deed, which) = match &self.wish {
            None => return self.list(&client),
            Some(Wish::Retry(which)) => (Deed::Retry, which),
            Some(Wish::Drop(which)) => (Deed::Drop, which),
        };
        if which.all { self.change_all(&client, deed) } else { self.change_each(&client, deed, &which.ids) }
    }

    fn list(&self, client: &Client) -> Result<ExitCode, Error> {
        let mut table = Table::new(["ID", "CALL", "STATE", "ATTEMPTS", "AGE", "WHY"], is_colored());
        let (mut n_updates, mut n_parked) = (0, 0);
        let mut list = List::new("updates", self.json);
        client.pages("/api/v1/outbox", "updates", |updates| {
            n_updates += updates.len();
            n_parked += updates.iter().filter(|update| is_parked(update)).count();
            list.page(&updates, |updates| table.rows(&updates.iter().map(row).collect::<Vec<_>>()))
        })?;
        list.end(&match (n_parked, n_updates - n_parked) {
            (0, 0) => "nothing waits: every update was acknowledged".to_owned(),
            (0, n) => format!("{} on the way, none is parked", are(n)),
            (n, _) => {
                format!("{} parked: `dtmfd outbox retry ID` tries one again, `drop` gives it up", are(n))
            }
        });
        Ok(ExitCode::SUCCESS)
    }

    /// Does it to all that is parked, which the daemon does some at a time.
    fn change_all(&self, client: &Client, deed: Deed) -> Result<ExitCode, Error> {
        let (mut n_changed, mut most) = (0, u64::MAX);
        let parked = loop {
            let answer = match deed {
                Deed::Retry => client.post("/api/v1/outbox/retry"),
                Deed::Drop => client.delete("/api/v1/outbox?state=parked"),
            };
            let answer = answer?.map_err(Error::from)?;
            let (changed, parked) = (number(&answer, "changed"), number(&answer, "parked"));
            n_changed += changed;
            // What is retried may be parked again at once: it is not retried for ever.
            most = most.min(changed + parked);
            if changed == 0 || parked == 0 || n_changed >= most {
                break parked;
            }
        };
        if self.json {
            print(&format!("{}\n", json!({ "changed": n_changed, "parked": parked })));
        }
        let left = match parked {
            0 => "none is parked any more".to_owned(),
            n => format!("{} parked still or again: see `dtmfd outbox`", are(n as usize)),
        };
        self.verdict(&format!("{} {}, {left}", counted(n_changed as usize, "update"), deed.done()));
        Ok(ExitCode::SUCCESS)
    }

    fn change_each(&self, client: &Client, deed: Deed, ids: &[String]) -> Result<ExitCode, Error> {
        let found = find(client, ids)?;
        let mut results = Vec::new();
        for (given, found) in ids.iter().zip(found) {
            let result = match found {
                Ok(id) => {
                    let changed = match deed {
                        Deed::Retry => client.post(&format!("/api/v1/outbox/{id}/retry")),
                        Deed::Drop => client.delete(&format!("/api/v1/outbox/{id}")),
                    };
                    (id, changed?.map(drop))
                }
                Err(refusal) => (given.clone(), Err(refusal)),
            };
            if !self.json {
                match &result {
                    (id, Ok(())) => print(&format!("{id}  {}\n", deed.done())),
                    (id, Err(refusal)) => say(&format!("{id}  not {}: {}", deed.done(), refusal.detail)),
                }
            }
            results.push(result);
        }
        let n_failed = results.iter().filter(|(_, result)| result.is_err()).count();
        if self.json {
            let shown: Vec<_> = results.iter().map(|(id, result)| shown(id, deed, result)).collect();
            print(&format!("{}\n", json!({ "updates": shown })));
        }
        let changed = counted(results.len() - n_failed, "update");
        self.verdict(&match n_failed {
            0 => format!("{changed} {}", deed.done()),
            n => format!("{changed} {}, {n} not: `dtmfd outbox` lists those there are", deed.done()),
        });
        Ok(ExitCode::from(u8::from(n_failed > 0)))
    }

    fn verdict(&self, verdict: &str) {
        if self.json { say(verdict) } else { print(&format!("{verdict}\n")) }
    }
}

fn shown(id: &str, deed: Deed, result: &Result<(), Refusal>) -> Value {
    match result {
        Ok(()) => json!({ "id": id, "result": deed.done() }),
        Err(refusal) => json!({ "id": id, "result": refusal.code, "detail": refusal.detail }),
    }
}

/// Returns the whole id of each, or why there is none. Where all are whole nobody has to be asked.
fn find(client: &Client, ids: &[String]) -> Result<Vec<Result<String, Refusal>>, Error> {
    let mut candidates: Vec<Vec<String>> = vec![Vec::new(); ids.len()];
    if ids.iter().any(|id| id.len() < ID_LENGTH) {
        client.pages("/api/v1/outbox", "updates", |updates| {
            for id in updates.iter().filter_map(|update| update["id"].as_str()) {
                let beginning = ids.iter().zip(&mut candidates).filter(|(prefix, _)| id.starts_with(*prefix));
                // One that moved meanwhile may be on two pages.
                let new = beginning
                    .filter(|(_, found)| found.len() <= CANDIDATES_MAX && !found.iter().any(|it| it == id));
                new.for_each(|(_, found)| found.push(id.to_owned()));
            }
            true
        })?;
    }
    Ok(ids.iter().zip(candidates).map(|(id, candidates)| the_one(id, &candidates)).collect())
}

fn the_one(id: &str, candidates: &[String]) -> Result<String, Refusal> {
    match candidates {
        _ if id.len() == ID_LENGTH => Ok(id.to_owned()),
        [one] => Ok(one.clone()),
        [] => {
            Err(Refusal { code: "no_such_update".to_owned(), detail: "no update's id begins so".to_owned() })
        }
        [..] => {
            let (named, more) = match candidates.get(..CANDIDATES_MAX) {
                Some(some) if candidates.len() > CANDIDATES_MAX => (some, ", …"),
                _ => (candidates, ""),
            };
            let detail = format!("more than one begin so: {}{more}", named.join(", "));
            Err(Refusal { code: "ambiguous".to_owned(), detail })
        }
    }
}

fn is_parked(update: &Value) -> bool {
    update["state"] == "parked"
}

/// Returns "1 update is" or "2 updates are".
fn are(n: usize) -> String {
    format!("{} {}", counted(n, "update"), if n == 1 { "is" } else { "are" })
}

fn row(update: &Value) -> ([String; 6], Tone) {
    let cells = [
        text(update, "id"),
        text(update, "call"),
        text(update, "state"),
        text(update, "attempts"),
        age(number(update, "ageMs")),
        text(update, "why"),
    ];
    (cells, if is_parked(update) { Tone::Alarm } else { Tone::Plain })
}
