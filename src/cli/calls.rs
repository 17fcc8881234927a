//! `dtmfd calls`: what a running daemon has in progress, and how a call went.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::show::{Table, Tone, age, number, text};
use super::{counted, is_colored, print, print_some, say};
use crate::call_id;
use crate::config::ApiFlags;
use crate::error::Error;

/// The flags of `dtmfd calls`.
#[derive(Args, Debug)]
pub(super) struct Calls {
    /// One call: how it stands, or how it went, key by key [default: all that are in progress]
    #[arg(value_parser = id)]
    id: Option<String>,
    /// Print one JSON object (its fields: src/local/routes.rs)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiFlags,
}

fn id(text: &str) -> Result<String, call_id::BadCallId> {
    call_id::check(text).map(|()| text.to_owned())
}

impl Calls {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let client = Client::new(&self.api)?;
        match &self.id {
            Some(id) => self.one(&client, id),
            None => self.all(&client),
        }?;
        Ok(ExitCode::SUCCESS)
    }

    fn all(&self, client: &Client) -> Result<(), Error> {
        let mut table =
            Table::new(["CALL", "SOURCE", "NODE", "ATTEMPT", "ENTERED", "AGE", "DEADLINE IN"], is_colored());
        let mut n_calls = 0;
        let mut list = List::new("calls", self.json);
        client.pages("/api/v1/calls", "calls", |calls| {
            n_calls += calls.len();
            list.page(&calls, |calls| table.rows(&calls.iter().map(row).collect::<Vec<_>>()))
        })?;
        let verdict = match n_calls {
            0 => "no call is in progress".to_owned(),
            1 => "1 call is in progress".to_owned(),
            n => format!("{n} calls are in progress"),
        };
        list.end(&verdict);
        Ok(())
    }

    fn one(&self, client: &Client, id: &str) -> Result<(), Error> {
        let call = client.get(&format!("/api/v1/calls/{}", call_id::encode(id)))?.map_err(Error::from)?;
        if self.json {
            print(&format!("{call}\n"));
        } else {
            print(&in_full(&call));
        }
        Ok(())
    }
}

fn row(call: &Value) -> ([String; 7], Tone) {
    let cells = [
        text(call, "id"),
        text(call, "source"),
        text(call, "node"),
        text(call, "attempt"),
        text(call, "entered"),
        age(number(call, "ageMs")),
        age(number(call, "dueInMs")),
    ];
    (cells, Tone::Plain)
}

/// Returns all that is known of a call, line by line, and where it is as the last.
fn in_full(call: &Value) -> String {
    let mut facts = vec![("source", text(call, "source")), ("interaction", text(call, "interaction"))];
    let verdict = if call["state"] == "in_progress" {
        let entered = counted(number(call, "entered") as usize, "digit");
        facts.extend([
            ("node", format!("{}, attempt {}, {entered} entered", text(call, "node"), text(call, "attempt"))),
            ("age", age(number(call, "ageMs"))),
            ("deadline in", age(number(call, "dueInMs"))),
            ("writes", if call["dry"] == true { "nothing" } else { "variables, at its end" }.to_owned()),
        ]);
        format!("{} is in progress", text(call, "id"))
    } else {
        facts.extend([
            ("called", text(call, "to")),
            ("began", text(call, "began")),
            ("ended", text(call, "ended")),
            ("node", text(call, "node")),
            ("tree", text(call, "tree")),
            ("writes", if call["writes"] == true { "variables" } else { "nothing" }.to_owned()),
        ]);
        let reason = text(call, "reason");
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        format!("{} ended: {}{why}", text(call, "id"), text(call, "outcome"))
    };
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut lines: String = facts.iter().map(|(name, fact)| format!("{name:width$}  {fact}\n")).collect();
    if let Some(presses) = call["presses"].as_array().filter(|presses| !presses.is_empty()) {
        let rows: Vec<_> = presses.iter().map(press).collect();
        lines.push_str(&format!("\n{}", Table::new(["AFTER", "DIGIT", "RESULT"], is_colored()).rows(&rows)));
        match number(call, "digitsOmitted") {
            0 => (),
            omitted => lines.push_str(&format!("... and {}\n", counted(omitted as usize, "press"))),
        }
        lines.push('\n');
    }
    format!("{lines}{verdict}\n")
}

fn press(press: &Value) -> ([String; 3], Tone) {
    let digit = if press["digit"].is_null() { "•".to_owned() } else { text(press, "digit") };
    let ms = number(press, "atMs");
    ([format!("{}.{:03} s", ms / 1_000, ms % 1_000), digit, text(press, "result")], Tone::Plain)
}

/// A list as it is printed: for people, or as one JSON object, page by page either way.
pub(super) struct List {
    name: &'static str,
    json: bool,
    n_entries: usize,
}

impl List {
    pub(super) fn new(name: &'static str, json: bool) -> List {
        List { name, json, n_entries: 0 }
    }

    /// Prints a page; `table` shows it to people. Returns whether anybody reads it.
    pub(super) fn page(&mut self, entries: &[Value], table: impl FnOnce(&[Value]) -> String) -> bool {
        if !self.json {
            return print_some(&table(entries));
        }
        let mut text = String::new();
        for entry in entries {
            text.push_str(&if self.n_entries == 0 {
                format!("{{\"{}\":[", self.name)
            } else {
                ",".to_owned()
            });
            text.push_str(&entry.to_string());
            self.n_entries += 1;
        }
        print_some(&text)
    }

    /// Ends it, with the verdict as the last line.
    pub(super) fn end(self, verdict: &str) {
        if !self.json {
            print(&format!("{verdict}\n"));
            return;
        }
        print(&if self.n_entries == 0 { format!("{{\"{}\":[]}}\n", self.name) } else { "]}\n".to_owned() });
        say(verdict);
    }
}
