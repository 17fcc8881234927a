//! The real binary, started and listened to.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_dtmfd");
/// Long enough for anything here on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program that is ended with the test, whose words can be waited for.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Program {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (sender, lines) = unbounded();
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let other = sender.clone();
        let readers = vec![
            std::thread::spawn(move || {
                BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
            }),
            std::thread::spawn(move || {
                BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| drop(other.send(line)));
            }),
        ];
        Program { child, lines, heard: Vec::new(), readers }
    }

    /// Returns the first line that holds `words`, from what was not waited for yet.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        self.wait_for_any(&[words])
    }

    /// As [`Program::wait_for`], for the first line that holds any of these words.
    #[track_caller]
    pub(crate) fn wait_for_any(&mut self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_deadline(deadline) {
            self.heard.push(line);
            let line = self.heard.last().expect("just pushed");
            if words.iter().any(|words| line.contains(words)) {
                return line.clone();
            }
        }
        panic!("never said {words:?}:\n{}", self.heard.join("\n"));
    }

    /// Returns whether it has said these words by now.
    pub(crate) fn has_said(&mut self, words: &str) -> bool {
        self.heard.extend(self.lines.try_iter());
        self.heard.iter().any(|line| line.contains(words))
    }

    /// Returns the program's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_some()
    }

    /// Waits for the end, and returns everything that was said.
    #[track_caller]
    pub(crate) fn end(mut self, within: Duration) -> (ExitStatus, String) {
        let deadline = Instant::now() + within;
        loop {
            // What it says must be read, or it might wait for us.
            while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(10)) {
                self.heard.push(line);
            }
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                self.readers.drain(..).for_each(|reader| reader.join().expect("reading does not panic"));
                self.heard.extend(self.lines.try_iter());
                return (status, self.heard.join("\n"));
            }
            assert!(Instant::now() < deadline, "still running after {within:?}:\n{}", self.heard.join("\n"));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn dtmfd(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(root("tests"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_ours = name.starts_with("CXONE_") || name.starts_with("DTMFD_");
        if is_ours || name.to_ascii_uppercase().ends_with("_PROXY") {
            command.env_remove(&*name);
        }
    }
    // No test finds what another has kept.
    command.env("DTMFD_STATE", "none");
    command
}

pub(crate) fn output(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// A folder of its own, gone with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("dtmfd-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Scratch(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
