//! The rules that hold the house together (DESIGN.md), read off the source.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file below `folder`, with its path from `src/`, without its tests and comments.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut tests = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path: PathBuf = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("it can be read");
                // A module that is declared for tests only is a file beside, or in a folder of our name.
                for (at, _) in text.match_indices("#[cfg(test)]\n") {
                    let declared = text[at..].lines().nth(1).unwrap_or_default().trim_end_matches(';');
                    if let Some((_, name)) = declared.split_once("mod ") {
                        let file = format!("{name}.rs");
                        tests.extend([path.with_file_name(&file), path.with_extension("").join(&file)]);
                    }
                }
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.push((path, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    found.retain(|(path, _)| !tests.contains(path));
    let mut found: Vec<_> = found
        .into_iter()
        .map(|(path, code)| (path.strip_prefix(&root).expect("it is below").display().to_string(), code))
        .collect();
    assert!(!found.is_empty(), "no source below {folder}");
    found.sort();
    found
}

#[track_caller]
pub(crate) fn nobody_says(folder: &str, words: &[&str], but: &[&str]) {
    for (name, code) in sources(folder) {
        for (number, line) in code.lines().enumerate() {
            let said = words.iter().find(|word| line.contains(**word));
            let allowed = but.iter().any(|allowed| name.starts_with(allowed));
            assert!(said.is_none() || allowed, "src/{name}, line {number} of its code: {}", line.trim());
        }
    }
}

#[test]
fn the_engine_knows_no_clock_thread_socket_file_channel_or_serde() {
    let words = [
        "now()",
        "std::net",
        "std::fs",
        "std::thread",
        "std::env",
        "std::io",
        "std::process",
        "Instant",
        "SystemTime",
        "crossbeam",
        "mpsc",
        "serde",
        "Mutex",
        "Atomic",
    ];
    nobody_says("engine", &words, &[]);
}

#[test]
fn the_engine_names_nothing_of_ours_and_iterates_over_no_hash_map() {
    nobody_says("engine", &["crate::"], &[]);
    // The engine's hash maps, by the names of their fields.
    let walks = ["iter()", "iter_mut()", "values()", "values_mut()", "keys()", "drain(", "retain("];
    for map in ["self.until.", "self.index[source as usize].", "self.index[simulated]."] {
        let words: Vec<_> = walks.iter().map(|walk| format!("{map}{walk}")).collect();
        nobody_says("engine", &words.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    }
}

#[test]
fn only_the_shell_reads_clocks() {
    let shell = [
        "driver.rs",
        "driver/clock.rs",
        "serve.rs",
        "inbox.rs",
        "cli/",
        "inbound/",
        "outbound/",
        "tenant/",
        "local/",
        "sandbox/",
        "observe/log",
    ];
    nobody_says("", &["Instant::now", "SystemTime::now", ".elapsed()"], &shell);
}

#[test]
fn threads_are_spawned_in_serve_the_sandbox_and_the_log_only() {
    nobody_says(
        "",
        &["thread::spawn", "thread::Builder", "thread::scope", ".spawn("],
        &["serve.rs", "sandbox/", "observe/log/queue.rs"],
    );
}

#[test]
fn every_channel_has_a_bound() {
    nobody_says("", &["unbounded", "mpsc::channel"], &[]);
}

#[test]
fn those_who_meet_in_the_engine_do_not_know_each_other() {
    let parts = ["inbound", "outbound", "local", "store"];
    for part in parts.iter().filter(|part| **part != "store") {
        let others: Vec<_> =
            parts.iter().filter(|other| *other != part).map(|other| format!("crate::{other}")).collect();
        nobody_says(part, &others.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    }
}

#[test]
fn unsafe_code_lives_in_one_file() {
    nobody_says("", &["unsafe "], &["platform.rs"]);
}

/// What can't fail says why; `unwrap` says nothing. Clippy's `unwrap_used` finds the rest.
#[test]
fn an_expectation_says_why_it_holds() {
    nobody_says("", &[".expect(\"\")", ".unwrap()"], &[]);
}

/// What deny.toml bans, which `cargo deny` sees only where it is installed.
#[test]
fn nothing_that_is_banned_is_in_the_tree_of_packages() {
    let read =
        |path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is committed");
    let (deny, lock) = (read("deny.toml"), read("Cargo.lock"));
    let (_, list) = deny.split_once("\ndeny = [").expect("it bans packages");
    let (list, _) = list.split_once(']').expect("the list has an end");
    let banned: Vec<&str> =
        list.lines().filter_map(|line| line.trim().strip_suffix("\",")?.strip_prefix('"')).collect();
    for known in ["rustls", "ring", "tokio", "async-std", "smol", "hyper"] {
        assert!(banned.contains(&known), "{known} is not banned: {banned:?}");
    }
    for name in banned {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is in Cargo.lock");
    }
    // All from one place, none from a repository or a folder.
    let sources = lock.lines().filter(|line| line.starts_with("source = "));
    let elsewhere: Vec<_> = sources.filter(|line| !line.contains("rust-lang/crates.io-index")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert_eq!(1, lock.matches("name = \"openssl-src\"").count(), "OpenSSL is built in");
}
