//! `dtmfd test`: a tree's own tests, in virtual time.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{open, print, say};
use crate::error::Error;
use crate::tree::{self, Trial, printable, trials};

/// The flags of `dtmfd test`.
#[derive(Args, Debug)]
pub(super) struct Test {
    /// The tree [default: ivr.json]
    file: Option<PathBuf>,
    /// Print one JSON object: each test with its walk
    #[arg(long)]
    json: bool,
    /// Write the results as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl Test {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let source = open(self.file.as_deref())?;
        let name = source.path.display().to_string();
        let loaded = source.load();
        let Some(ivr) = loaded.ivr else {
            // Without a tree there is no data: what is wrong is talk here, and data for `dtmfd check`.
            say(tree::human(&loaded.findings, &name, &source.text, false).trim_end());
            say(&format!("\n{}: no test was run, because the tree can't be walked", printable(&name)));
            return Ok(ExitCode::FAILURE);
        };
        let (mut passed, mut played) = (0, Vec::new());
        for trial in trials(&ivr, &loaded.tests) {
            passed += usize::from(trial.passed());
            if !self.json {
                print(&trial.human(&ivr));
            }
            // A walk is kept only for those who ask for it at the end.
            if self.json || self.junit.is_some() {
                played.push(trial);
            }
        }
        if self.json {
            let all: Vec<String> = played.iter().map(|trial: &Trial| trial.json(&ivr)).collect();
            print(&format!("{{\"tests\":[{}]}}\n", all.join(",")));
        }
        if let Some(path) = self.junit {
            let text = tree::junit(&played, &ivr, &name, &source.text);
            fs::write(&path, text).map_err(|source| Error::Write { path, source })?;
        }
        let failed = loaded.tests.len() - passed;
        let verdict = match loaded.tests.len() {
            0 => format!(
                "{} has no tests: `tests` holds them, as in [{{\"press\": \"1\", \"outcome\": \"sales\"}}]",
                printable(&name)
            ),
            _ => format!("{passed} passed, {failed} failed"),
        };
        if self.json {
            say(&verdict)
        } else {
            print(&format!("{verdict}\n"))
        }
        Ok(ExitCode::from(u8::from(failed > 0)))
    }
}
