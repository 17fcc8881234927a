//! Arguments → command → exit code; an error's chain is printed once, here.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use dtmfd::cli::Cli;
use dtmfd::error::Chain;
use dtmfd::observe::log::{Out, last_words};

/// How long the reader of what we say may take at the end.
const FLUSH_MAX: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    dtmfd::platform::limit_arenas(); // Before the first thread: it counts for all of them.
    // Before a secret is read. Whoever can't have it is told nothing: neither call has a way to fail.
    let _ = dtmfd::platform::keep_memory_private();
    match Cli::parse().run() {
        Ok(code) => {
            log::logger().flush();
            code
        }
        Err(error) => {
            last_words(Out::Stderr, &format!("dtmfd: {}", Chain(&error)), FLUSH_MAX);
            error.exit_code()
        }
    }
}
