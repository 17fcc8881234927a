//! Arguments → command → exit code; an error's chain is printed once, here.

use std::error::Error as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use dtmfd::cli::Cli;

fn main() -> ExitCode {
    dtmfd::platform::limit_arenas(); // Before the first thread: it counts for all of them.
    let error = match Cli::parse().run() {
        Ok(code) => return code,
        Err(error) => error,
    };
    let mut text = format!("dtmfd: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    // If nobody can read it, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "{text}");
    error.exit_code()
}
