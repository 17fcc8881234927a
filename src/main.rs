//! Arguments → command → exit code; an error's chain is printed once, here.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use dtmfd::cli::Cli;
use dtmfd::error::Chain;

fn main() -> ExitCode {
    dtmfd::platform::limit_arenas(); // Before the first thread: it counts for all of them.
    let error = match Cli::parse().run() {
        Ok(code) => return code,
        Err(error) => error,
    };
    // If nobody can read it, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "dtmfd: {}", Chain(&error));
    error.exit_code()
}
