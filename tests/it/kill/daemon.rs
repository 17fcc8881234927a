//! The daemon under test: started on a state directory, killed, and started again.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::tenant::Tenant;
use crate::program::{BINARY, Program, Scratch, dtmfd};

/// What all processes of one history of kills share.
pub(super) struct Home {
    folder: Scratch,
    durability: &'static str,
    /// What the processes said, the latest last.
    said: Vec<String>,
    /// Updates that left without being kept, as the processes said.
    pub(super) undurable: usize,
}

/// So many processes back, what they said is kept to be shown.
const SAID_MAX: usize = 8;

impl Home {
    pub(super) fn new(name: &str, durability: &'static str) -> Home {
        Home { folder: Scratch::new(name), durability, said: Vec::new(), undurable: 0 }
    }

    /// Writes the tree that the next process begins with, and the current one takes with SIGHUP.
    pub(super) fn write_tree(&self, tree: &str) {
        self.folder.write("ivr.json", tree);
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts a process; `wrapper` is what runs it, if anything does.
    pub(super) fn start(&self, tenant: &Tenant, wrapper: &[&str]) -> Daemon {
        let (url, state) = (tenant.url(), self.state().display().to_string());
        let tree = self.folder.path().join("ivr.json").display().to_string();
        let usual = ["run", "--tenant", "t", "--client-id", "c", "--api-url", &url, "--ivr", &tree];
        let more = ["--listen", "127.0.0.1:0", "--workers", "8", "--log-format", "human"];
        let kept = ["--state", &state, "--durability", self.durability];
        let mut command = dtmfd(&[]);
        if let [program, arguments @ ..] = wrapper {
            let mut wrapped = Command::new(program);
            wrapped.args(arguments).arg(BINARY).current_dir(self.folder.path());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => wrapped.env(name, value),
                    None => wrapped.env_remove(name),
                };
            }
            command = wrapped;
        }
        command.args(usual).args(more).args(kept).env("CXONE_CLIENT_SECRET", "s");
        Daemon { program: Program::start(command) }
    }

    /// Takes down what a process said that has ended.
    pub(super) fn listen(&mut self, said: String) {
        self.undurable += said.matches("could not be kept in time").count();
        self.said.push(said);
        if self.said.len() > SAID_MAX {
            self.said.remove(0);
        }
    }

    /// Returns what the last processes said.
    pub(super) fn said(&self) -> String {
        self.said.join("\n--- the next process:\n")
    }
}

/// A process of the daemon.
pub(super) struct Daemon {
    program: Program,
}

/// A process that was killed needs no longer than this to be gone.
const GONE: Duration = Duration::from_secs(20);

impl Daemon {
    /// Kills the process with SIGKILL, waits for its end, and returns when it was killed.
    pub(super) fn kill(self, home: &mut Home) -> Instant {
        let at = Instant::now();
        self.program.signal("KILL");
        home.listen(self.program.end(GONE).1);
        at
    }

    pub(super) fn reload(&self) {
        self.program.signal("HUP");
    }

    pub(super) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Returns whether the process has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.program.has_ended()
    }

    /// Takes down what it said, after it has ended; returns its exit code.
    pub(super) fn bury(self, home: &mut Home) -> Option<i32> {
        let (status, said) = self.program.end(GONE);
        home.listen(said);
        status.code()
    }

    /// Asks the process to leave.
    pub(super) fn ask_to_leave(&mut self) {
        if !self.has_ended() {
            self.program.signal("TERM");
        }
    }
}
