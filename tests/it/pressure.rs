//! The real binary while the system has no descriptors and no threads to give: the local API outlives it.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::api::{Api, Honest, ask_within, set_soft_limit, soft_limit};
use crate::program::{BINARY, PATIENCE, Scratch};

/// How long a client waits while there is nothing to answer it with.
const HURRY: Duration = Duration::from_secs(1);

const ROUNDS: usize = 6;

/// The user `nobody`, as on every Debian.
const NOBODY: u32 = 65_534;

/// Sends this many requests before it reads any answer, and then reads none.
fn burst(api: &Api, n: usize) -> Vec<TcpStream> {
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", api.address);
    let streams = (0..n).map(|_| {
        let mut stream = api.connect();
        let _ = stream.write_all(request.as_bytes());
        stream
    });
    streams.collect()
}

#[test]
fn the_api_outlives_a_lack_of_descriptors() {
    let api = Api::start("descriptors");
    api.wait_until_well();
    let usual = api.held().descriptors;
    let pid = api.program.id();
    let before = soft_limit(pid, "Max open files");
    // From none at all to what two requests need that are handed on at once.
    for more in [0, 2, 6, 10] {
        // The connections to the tenant count, too: what they are is left out of `usual`, and small.
        set_soft_limit(pid, "nofile", &(usual + more).to_string(), None);
        let mut held = Vec::new();
        let mut answered = 0;
        for round in 0..ROUNDS {
            held.push(api.connect());
            if round % 3 == 0 {
                drop(burst(&api, 12));
            }
            answered += usize::from(ask_within(api.address, Honest::Health, HURRY));
        }
        drop(held);
        set_soft_limit(pid, "nofile", &before, None);
        let back = api.wait_until_well();
        let _ = writeln!(
            std::io::stderr(),
            "pressure: {} descriptors: {answered} of {ROUNDS} answered, well {back:?} after there are more",
            usual + more
        );
    }
    let said = api.end();
    assert!(said.contains("Too many open files"), "there was no lack: {said}");
}

#[test]
fn the_api_outlives_a_lack_of_threads() {
    let is_root = fs::metadata("/proc/self").expect("it is mounted").uid() == 0;
    let user = is_root.then_some(NOBODY); // The limit does not hold for root.
    let folder = Scratch::new("threads-binary");
    let binary = folder.path().join("dtmfd");
    fs::copy(BINARY, &binary).expect("there is room"); // Nobody may be kept out of where it was built.
    let mut api = Api::start_as("threads", |command| {
        if let Some(user) = user {
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let environment: Vec<_> = command
                .get_envs()
                .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
                .collect();
            *command = Command::new(&binary);
            command.args(arguments).uid(user).gid(user).current_dir(folder.path());
            for (name, value) in environment {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
        }
    });
    api.wait_until_well();
    let pid = api.program.id();
    let before = soft_limit(pid, "Max processes");
    set_soft_limit(pid, "nproc", "1", user);
    // tiny_http starts a thread where all it has are busy, and its acceptor dies where it can't.
    let begin = Instant::now();
    let mut n_bursts = 0;
    while !api.program.has_said("failed to spawn thread") {
        assert!(begin.elapsed() < PATIENCE, "no thread was lacking");
        drop(burst(&api, 16));
        n_bursts += 1;
    }
    // Nothing can be started anew by now. It goes on trying, and keeps its clients waiting.
    let waiting = burst(&api, 4);
    let lacking = Instant::now();
    while !api.program.has_said("cannot be started anew") {
        assert!(lacking.elapsed() < PATIENCE, "it does not say why nobody is answered");
        std::thread::sleep(Duration::from_millis(20));
    }
    set_soft_limit(pid, "nproc", &before, user);
    let back = api.wait_until_well();
    drop(waiting);
    let _ = writeln!(
        std::io::stderr(),
        "pressure: no threads: lost in burst {n_bursts}, well {back:?} after there are more"
    );
    let said = api.end();
    assert!(said.contains("the local API has been started anew"), "{said}");
}
