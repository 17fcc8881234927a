//! `dtmfd check`: every mistake in a tree, in one run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{counted, environment, is_colored, online, open, print, say};
use crate::config::{Settings, TenantFlags};
use crate::error::Error;
use crate::tree::{self, Finding, Loaded, Severity, printable};

/// The flags of `dtmfd check`.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// The tree [default: ivr.json]
    file: Option<PathBuf>,
    /// How findings are shown
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Fail on warnings too
    #[arg(long)]
    deny_warnings: bool,
    /// Also fetch a token and open the WebSocket once, with the settings that follow
    #[arg(long)]
    online: bool,
    #[command(flatten, next_help_heading = "With --online")]
    tenant: TenantFlags,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// As a compiler would show them
    Human,
    /// One JSON object
    Json,
    /// Workflow commands, which GitHub shows beside the lines
    Github,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let format = if self.json { Format::Json } else { self.format };
        let tenant = if self.online {
            let mut settings = Settings::new(&environment);
            let tenant = settings.tenant(&self.tenant);
            Some(settings.finish(tenant)?)
        } else {
            None
        };
        let source = open(self.file.as_deref())?;
        let name = source.path.display().to_string();
        let loaded = tree::proven(source.load());
        let result = Checked::new(&name, &loaded, self.deny_warnings);

        let mut shown = loaded.findings;
        shown.extend(loaded.notes);
        shown.sort_by_key(|finding| (finding.span.start, finding.severity));
        match format {
            Format::Human => print(&tree::human(&shown, &name, &source.text, is_colored())),
            Format::Github => print(&tree::github(&shown, &name, &source.text)),
            // It waits for what the tenant says.
            Format::Json => (),
        }
        let steps = tenant.map(online::probe).transpose()?;
        let answers = steps.as_ref().is_none_or(|steps| steps.iter().all(|step| step.result.is_ok()));
        for step in steps.iter().flatten() {
            if format == Format::Json { say(&step.to_string()) } else { print(&format!("{step}\n")) }
        }
        let verdict = match &steps {
            None => result.verdict,
            Some(_) if answers => format!("{}; the tenant lets us in", result.verdict),
            Some(_) => format!("{}; the tenant doesn't let us in", result.verdict),
        };
        match format {
            Format::Human | Format::Github => print(&format!("{verdict}\n")),
            Format::Json => {
                print(&format!("{}\n", document(&tree::json(&shown, &name, &source.text), steps)));
                say(&verdict);
            }
        }
        Ok(ExitCode::from(u8::from(result.failed || !answers)))
    }
}

/// What the check came to.
struct Checked {
    failed: bool,
    /// The last line.
    verdict: String,
}

impl Checked {
    fn new(name: &str, loaded: &Loaded, deny_warnings: bool) -> Checked {
        let count = |severity| {
            let is_such = |finding: &&Finding| finding.severity == severity;
            loaded.findings.iter().filter(is_such).count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let failed = errors > 0 || deny_warnings && warnings > 0;
        let mut parts = Vec::new();
        if errors > 0 {
            parts.push(counted(errors, "error"));
        } else if let Some(ivr) = loaded.ivr.as_ref().filter(|_| !failed) {
            parts.push(format!("ok, {}", counted(ivr.nodes.len(), "node")));
            parts.push(match loaded.tests.len() {
                0 => "no tests".to_owned(),
                tests => format!("{} passed", counted(tests, "test")),
            });
        }
        if warnings > 0 {
            let denied = if failed && errors == 0 { ", which --deny-warnings denies" } else { "" };
            parts.push(format!("{}{denied}", counted(warnings, "warning")));
        }
        if !loaded.notes.is_empty() {
            parts.push(counted(loaded.notes.len(), "note"));
        }
        if loaded.omitted > 0 {
            parts.push(format!("{} more not shown", loaded.omitted));
        }
        Checked { failed, verdict: format!("{}: {}", printable(name), parts.join(", ")) }
    }
}

/// Returns the findings as JSON, with what the tenant said where it was asked.
fn document(findings: &str, steps: Option<Vec<online::Step>>) -> String {
    let Some(steps) = steps else { return findings.to_owned() };
    let mut document: Value = serde_json::from_str(findings).expect("we have just written it");
    document["online"] = steps.iter().map(online::Step::to_json).collect();
    document.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str, deny_warnings: bool) -> (bool, String) {
        let checked = Checked::new("x.json", &tree::proven(tree::load(text)), deny_warnings);
        (checked.failed, checked.verdict)
    }

    #[test]
    fn the_verdict_says_how_it_stands() {
        let tree = |node: &str, more: &str| {
            format!(
                r#"{{"rootNode": "a", "nodes": {{"a": {{"outcome": "x"{node}}}, "b": {{"outcome": "y"}}}}{more}}}"#
            )
        };
        let reached = r#", "entries": {"1": "b"}"#;
        let test = r#", "tests": [{"press": "", "outcome": "x"}], "entries": {"1": "b"}"#;
        for (text, deny, failed, expected) in [
            (tree("", reached), true, false, "x.json: ok, 2 nodes, no tests"),
            (tree("", test), true, false, "x.json: ok, 2 nodes, 1 test passed"),
            (tree("", ""), false, false, "x.json: ok, 2 nodes, no tests, 1 warning"),
            (tree("", ""), true, true, "x.json: 1 warning, which --deny-warnings denies"),
            (tree(r#", "mask": 0, "maxMs": -1"#, reached), false, true, "x.json: 2 errors"),
            (tree(r#", "mask": 0"#, ""), true, true, "x.json: 1 error, 1 warning"),
            (tree("", &test.replace('x', "z")), false, true, "x.json: 1 error"),
            ("{".to_owned(), false, true, "x.json: 1 error"),
        ] {
            assert_eq!((failed, expected.to_owned()), verdict(&text, deny), "{text}");
        }
    }
}
