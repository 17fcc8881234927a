//! What is kept, seen from outside: the real binary, killed, and on disks that fail.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::program::{BINARY, Program, Scratch, dtmfd, output, root};

const SANDBOX: [&str; 7] =
    ["sandbox", "--listen", "127.0.0.1:0", "--ivr", "trees/seed.json", "--log", "info"];

fn sandbox(state: &Path, more: &[&str]) -> Command {
    let mut command = dtmfd(&SANDBOX);
    command.arg("--state").arg(state).args(more);
    command
}

/// Waits until the program listens, and returns where.
fn address(program: &mut Program) -> String {
    let line = program.wait_for("press digits: curl");
    let (_, rest) = line.split_once("http://").expect("the address is in it");
    rest.split_once('/').expect("a path follows").0.to_owned()
}

fn press(address: &str, call: &str, digits: &str) {
    for digit in digits.chars() {
        let body = format!(r#"{{"callId":"{call}","digit":"{digit}"}}"#);
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(
            stream,
            "POST /simulator HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.contains("digit_processed"), "{answer}");
    }
}

#[test]
fn a_call_goes_on_after_kill_9_and_one_that_ended_stays_ended() {
    let folder = Scratch::new("store-killed");
    let state = folder.path().join("state");
    let mut program = Program::start(sandbox(&state, &["--press", "a=1", "b=1A1"]));
    program.wait_for("variables written call=b");
    program.signal("KILL");
    program.end(Duration::from_secs(10));

    let mut program = Program::start(sandbox(&state, &["--press", "b=1"]));
    let read = program.wait_for("the state was read");
    assert!(read.contains("calls=1") && read.contains("ended=1") && read.contains("history=1"), "{read}");
    program.wait_for("call ended: timeout_fallback call=a");
    program.wait_for("variables written call=a");
    program.signal("INT");
    let (status, text) = program.end(Duration::from_secs(15));
    assert_eq!(Some(0), status.code(), "{text}");
    // Its update may go out once more, with the same key: that it was acknowledged need not be kept yet.
    assert!(text.contains("verdict=late count=1"), "a late digit begins nothing:\n{text}");
    assert!(!state.join("dtmfd.db-wal").exists(), "what stops in peace leaves no log");
}

#[test]
fn a_second_daemon_and_a_wrong_directory_have_exit_codes_of_their_own() {
    let folder = Scratch::new("store-second");
    let state = folder.path().join("state");
    let mut program = Program::start(sandbox(&state, &[]));
    address(&mut program);
    let (code, text) = output(sandbox(&state, &[]));
    assert_eq!(Some(75), code, "{text}");
    assert!(text.contains("another dtmfd") && text.contains("--state"), "{text}");
    let file = folder.write("file", "");
    let (code, text) = output(sandbox(Path::new(&file), &[]));
    assert_eq!(Some(78), code, "{text}");
    assert!(text.contains("DTMFD_STATE") && text.contains(&file), "{text}");
}

#[test]
fn a_file_that_may_not_grow_ends_nothing() {
    let folder = Scratch::new("store-limit");
    let mut command = Command::new("sh");
    command.current_dir(root("tests")).arg("-c").arg(r#"ulimit -f 100; exec "$0" "$@""#);
    command.arg(BINARY).args(SANDBOX).arg("--state").arg(folder.path().join("state"));
    let mut program = Program::start(command);
    let address = address(&mut program);
    for call in 0..8 {
        press(&address, &format!("c{call}"), "1A1");
    }
    program.wait_for("the state can't be kept: calls go on in memory");
    // What the log holds is taken into the database, and the log begins anew.
    program.wait_for("the state is kept again");
    program.wait_for("variables written call=c7");
    program.signal("INT");
    let (status, text) = program.end(Duration::from_secs(15));
    assert_eq!(Some(0), status.code(), "{text}");
}

/// A program that sees a file system of 256 KiB at `place`, after `prepare` was run there; `None` where
/// we may not mount.
fn on_small_disk(place: &Path, prepare: &str) -> Option<Program> {
    let may_mount =
        Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|told| told.status.success());
    if !may_mount {
        #[expect(clippy::print_stderr, reason = "a test that is left out should be seen")]
        {
            eprintln!("SKIPPED: only root can mount a small disk (unshare -m)");
        }
        return None;
    }
    let script = format!(
        r#"set -e; cd "$0"; mount -t tmpfs -o size=256k none .; cd "$0"; {prepare}; cd {}; exec "$@""#,
        root("tests").display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).arg(place).arg(BINARY).args(SANDBOX);
    command.arg("--state").arg(place.join("state"));
    Some(Program::start(command))
}

/// Returns a path as the program sees it.
fn seen_by(program: &Program, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", program.id()));
    root.join(path.strip_prefix("/").expect("it is absolute"))
}

#[test]
fn a_full_disk_is_lived_through_and_heals() {
    let folder = Scratch::new("store-full");
    let Some(mut program) = on_small_disk(folder.path(), "true") else { return };
    let address = address(&mut program);
    press(&address, "before", "1");
    let filler = seen_by(&program, &folder.path().join("filler"));
    let mut file = File::create(&filler).expect("there is room");
    // To the last byte.
    for size in [4096, 1] {
        let block = vec![b'x'; size];
        let full = std::iter::repeat_with(|| file.write_all(&block)).find_map(Result::err);
        assert_eq!(Some(ErrorKind::StorageFull), full.map(|error| error.kind()));
    }
    for call in 0..4 {
        press(&address, &format!("full-{call}"), "1A1");
    }
    program.wait_for("the state can't be kept: calls go on in memory");
    program.wait_for("could not be kept in time and leaves all the same");
    program.wait_for("variables written");
    drop(file);
    fs::remove_file(&filler).expect("it can be removed");
    program.wait_for("the state is kept again");
    press(&address, "after", "1A1");
    program.wait_for("variables written call=after");
    program.signal("INT");
    let (status, text) = program.end(Duration::from_secs(15));
    assert_eq!(Some(0), status.code(), "{text}");
    assert_eq!(1, text.matches("the state can't be kept").count(), "it is said once:\n{text}");
    assert!(text.contains("they go on after the next start"), "{text}");
}

#[test]
fn what_could_not_be_read_at_the_start_goes_on_once_it_can() {
    let folder = Scratch::new("store-read-only");
    let state = folder.path().join("first");
    let mut program = Program::start(sandbox(&state, &["--press", "a=1", "b=1A1"]));
    program.wait_for("variables written call=b");
    program.signal("KILL");
    program.end(Duration::from_secs(10));

    let small = folder.path().join("small");
    fs::create_dir(&small).expect("it can be made");
    let prepare = format!("cp -a {} state; mount -o remount,ro .", state.display());
    let Some(mut program) = on_small_disk(&small, &prepare) else { return };
    program.wait_for("the state can't be read: calls go on in memory until it can");
    let address = address(&mut program);
    press(&address, "new", "1");
    let target = format!("--target={}", program.id());
    let remount =
        Command::new("nsenter").args([&target, "-m", "mount", "-o", "remount,rw"]).arg(&small).status();
    assert!(remount.expect("nsenter runs").success());
    program.wait_for("the state was read after all");
    program.wait_for("call ended: timeout_fallback call=a");
    program.signal("INT");
    let (status, text) = program.end(Duration::from_secs(15));
    assert_eq!(Some(0), status.code(), "{text}");
}
