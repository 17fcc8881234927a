//! Every write of one small history is a moment at which the process may be killed: `strace` kills it as it
//! enters the nth system call of a kind, for every n until it survives.
//!
//! Such calls are counted for each thread, and whoever comes to its nth first is killed. So the points are
//! counted from the start once, where the main thread makes the database, and once from when the process is
//! ready, where it is the store's thread that writes.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::caller::{Act, Trees, Walk};
use super::daemon::{Daemon, Home};
use super::judge::Figures;
use super::lane::Lane;
use super::tenant::PARKED;
use super::{finish, said};
use crate::program::Program;

/// What changes files or folders; `?` where not every platform has it.
const WRITES: [&str; 12] = [
    "pwrite64",
    "fdatasync",
    "fsync",
    "ftruncate",
    "fallocate",
    "?unlink",
    "unlinkat",
    "?rename",
    "?renameat",
    "renameat2",
    "?mkdir",
    "?fchmod",
];
/// A history of three calls has no more writes of a kind than this.
const POINTS_MAX: usize = 500;
/// Points at once: most of their time they wait.
const WORKERS: usize = 4;
/// A history is over within this, whatever the machine does beside.
const HISTORY: Duration = Duration::from_secs(30);

/// From when on writes are counted.
#[derive(Clone, Copy, PartialEq, Debug)]
enum From {
    /// The first start, without a database.
    Start,
    /// The first start, but once it is ready.
    Ready,
    /// The start after a kill in the midst of the history.
    Recovery,
}

#[test]
fn what_was_promised_holds_at_every_write_at_which_the_daemon_may_be_killed() {
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !traces.is_ok_and(|status| status.success()) {
        return said("SKIPPED: no write boundary was tried, for strace is missing, or may not trace");
    }
    let begun = Instant::now();
    let mut all = Figures::default();
    let mut points = Vec::new();
    for from in [From::Start, From::Ready, From::Recovery] {
        for write in WRITES {
            let (killed, figures) = series(from, write);
            all.add(&figures);
            if killed > 0 {
                points.push(format!("{from:?} {write} {killed}"));
            }
        }
    }
    let total: usize =
        points.iter().filter_map(|point| point.rsplit(' ').next()?.parse::<usize>().ok()).sum();
    said(&format!(
        "{total} write boundaries ({}): {all}, {} s",
        points.join(", "),
        begun.elapsed().as_secs()
    ));
    for (from, write) in [("Start", "pwrite64"), ("Ready", "pwrite64"), ("Ready", "fdatasync")] {
        let beginning = format!("{from} {write} ");
        assert!(points.iter().any(|point| point.starts_with(&beginning)), "no {beginning}: {points:?}");
    }
}

/// Kills at the first write of a kind, the second, and so on, until one history survives. Returns how many
/// times it was killed.
fn series(from: From, write: &'static str) -> (usize, Figures) {
    let next = AtomicUsize::new(1);
    let survived = AtomicUsize::new(POINTS_MAX);
    let figures = Mutex::new((0, Figures::default()));
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= survived.load(Ordering::SeqCst) {
                    return;
                }
                let (killed, of_point) = Point { from, write, number }.play();
                let mut figures = figures.lock().expect("a failure ends the test");
                figures.0 += usize::from(killed);
                figures.1.add(&of_point);
                if !killed {
                    survived.fetch_min(number, Ordering::SeqCst);
                }
            }
        };
        (0..WORKERS).for_each(|_| drop(scope.spawn(work)));
    });
    assert!(survived.into_inner() < POINTS_MAX, "{write} from {from:?}: over {POINTS_MAX} of them");
    figures.into_inner().expect("a failure ends the test")
}

#[derive(Clone, Copy, Debug)]
struct Point {
    from: From,
    write: &'static str,
    number: usize,
}

impl Point {
    /// Plays the history up to the point, and after it. Returns whether the process was killed there.
    fn play(self) -> (bool, Figures) {
        let Point { from, write, number } = self;
        let name = format!("kill-{from:?}-{}-{number}", write.trim_start_matches('?'));
        let trees = Trees { menus: 4, waits: [Duration::from_millis(250); 2] };
        let mut lane = Lane::new(number as u64, Home::new(&name, "power"), trees);
        let inject = format!("inject={write}:signal=KILL:when={number}");
        let trace = format!("trace={write}");
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        // With `-D` the process is ours, and the tracer beside it.
        let wrapper = [&["strace", "-D"], &options[..]].concat();

        let mut daemon = lane.start(if from == From::Start { &wrapper } else { &[] });
        if from == From::Recovery {
            lane.wait_until_ready(&mut daemon);
            callers(&mut lane);
            lane.run_for(Duration::from_millis(40));
            lane.kill(daemon);
            daemon = lane.start(&wrapper);
        }
        let ready = lane.wait_until_ready(&mut daemon);
        let tracer = (ready && from == From::Ready).then(|| {
            let mut command = Command::new("strace");
            command.args(["-f", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
            let mut tracer = Program::start({
                command.args(["-p", &daemon.pid().to_string()]);
                command
            });
            tracer.wait_for("attached");
            tracer
        });
        if from != From::Recovery {
            callers(&mut lane);
        }
        let killed = !ready || run(&mut lane, &mut daemon);
        let killed = if killed {
            daemon.bury(&mut lane.home);
            true
        } else {
            lane.leave(daemon) != Some(0)
        };
        if killed {
            lane.died(Instant::now());
        }
        drop(tracer);
        (killed, finish(&mut lane, number as u64))
    }
}

/// A call that is completed, one that falls silent, one whose update will be parked.
fn callers(lane: &mut Lane) {
    let stamp = lane.stamp();
    let press = |keys: &str| keys.chars().map(|key| (12, Act::Open(key))).collect::<Vec<_>>();
    lane.add(Walk::new("four", None, &press("1234"), stamp));
    lane.add(Walk::new("silent", None, &press("5"), stamp));
    let begun = [vec![(0, Act::Start)], press("6#AB")].concat();
    lane.add(Walk::new("refused", Some(format!("{PARKED}refused")), &begun, stamp));
}

/// Goes on until all three have ended for the tenant, and what follows from it is written. Returns whether the
/// process was killed.
fn run(lane: &mut Lane, daemon: &mut Daemon) -> bool {
    let deadline = Instant::now() + HISTORY;
    let mut ended = None;
    while ended.is_none_or(|ended: Instant| ended.elapsed() <= Duration::from_millis(60)) {
        if daemon.has_ended() {
            return true;
        }
        assert!(Instant::now() < deadline, "not over after {HISTORY:?}");
        lane.turn();
        if ended.is_none() && lane.is_done() && lane.tenant.settled_count() >= 3 {
            ended = Some(Instant::now());
        }
    }
    false
}
