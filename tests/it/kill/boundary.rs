//! Every write of one small history is a moment at which the process may be killed: `strace` kills it as it
//! enters the nth system call of a kind, for every n until it survives.
//!
//! Such calls are counted for each thread, and whoever comes to its nth first is killed. So the points are
//! counted from the start once, where the main thread makes the database, and once from when the process is
//! ready, where it is the store's thread that writes.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::caller::{Act, Trees, Walk};
use super::daemon::{Daemon, Home};
use super::judge::Figures;
use super::lane::Lane;
use super::tenant::PARKED;
use super::{finish, said};
use crate::program::Program;

/// What changes files or folders; `?` where not every platform has it.
const WRITES: [&str; 10] = [
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "?unlink",
    "unlinkat",
    "?rename",
    "?renameat",
    "?mkdir",
    "mkdirat",
];
/// A history of three calls has no more writes of a kind than this.
const POINTS_MAX: usize = 500;
/// Points at once: most of their time they wait.
const WORKERS: usize = 6;
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
    /// The start that finds the database damaged, with all of its rows readable.
    Damage,
}

const FROM: [From; 4] = [From::Start, From::Ready, From::Recovery, From::Damage];

/// All writes of a kind: killed at the first, at the second, and so on, until one history survives.
struct Series {
    from: From,
    write: &'static str,
    next: usize,
    running: usize,
    killed: usize,
    has_survived: bool,
}

#[test]
#[ignore = "it hangs since the daemon keeps its memory private: to be mended before issue 4 is closed"]
fn what_was_promised_holds_at_every_write_at_which_the_daemon_may_be_killed() {
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !traces.is_ok_and(|status| status.success()) {
        return said("SKIPPED: no write boundary was tried, for strace is missing, or may not trace");
    }
    let begun = Instant::now();
    let mut all = Vec::new();
    for from in FROM {
        let series = |write| Series { from, write, next: 1, running: 0, killed: 0, has_survived: false };
        all.extend(WRITES.map(series));
    }
    let all = Mutex::new(all);
    let has_failed = AtomicBool::new(false);
    let figures = Mutex::new(Figures::default());
    std::thread::scope(|scope| {
        let work = || {
            while let Some(point) = next(&all, &has_failed) {
                let failing = Failing(&has_failed);
                let (killed, of_point) = point.play();
                drop(failing);
                figures.lock().expect("a failure ends the test").add(&of_point);
                let mut all = all.lock().expect("a failure ends the test");
                let series = all.iter_mut().find(|series| point.is_of(series)).expect("it is one of them");
                series.running -= 1;
                series.killed += usize::from(killed);
                series.has_survived |= !killed;
            }
        };
        (0..WORKERS).for_each(|_| drop(scope.spawn(work)));
    });
    let all = all.into_inner().expect("a failure ends the test");
    let total: usize = all.iter().map(|series| series.killed).sum();
    let points: Vec<_> = all
        .iter()
        .filter(|series| series.killed > 0)
        .map(|series| format!("{:?} {} {}", series.from, series.write.trim_start_matches('?'), series.killed))
        .collect();
    let figures = figures.into_inner().expect("a failure ends the test");
    let points = points.join(", ");
    said(&format!("{total} write boundaries ({points}): {figures}, {} s", begun.elapsed().as_secs()));
    for from in FROM {
        let killed: usize = all.iter().filter(|series| series.from == from).map(|series| series.killed).sum();
        assert!(killed >= 10, "only {killed} points from {from:?}: {points}");
    }
}

/// Lets the others end where one point fails: it is not waited for.
struct Failing<'a>(&'a AtomicBool);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::Relaxed);
    }
}

/// Returns the next point to be tried, if there is one. As long as a kind of write may not occur at all, one
/// of it is tried at a time.
fn next(all: &Mutex<Vec<Series>>, has_failed: &AtomicBool) -> Option<Point> {
    while !has_failed.load(Ordering::Relaxed) {
        let mut all = all.lock().expect("a failure ends the test");
        if let Some(series) =
            all.iter_mut().find(|series| !series.has_survived && series.running <= series.killed)
        {
            let Series { from, write, next: number, .. } = *series;
            assert!(number < POINTS_MAX, "over {POINTS_MAX} times {write} from {from:?}");
            series.next += 1;
            series.running += 1;
            return Some(Point { from, write, number });
        }
        if all.iter().all(|series| series.running == 0) {
            return None;
        }
        drop(all);
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

#[derive(Clone, Copy, Debug)]
struct Point {
    from: From,
    write: &'static str,
    number: usize,
}

impl Point {
    fn is_of(&self, series: &Series) -> bool {
        self.from == series.from && self.write == series.write
    }

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
        if matches!(from, From::Recovery | From::Damage) {
            assert!(lane.wait_until_ready(&mut daemon), "it does not start:\n{}", lane.home.said());
            callers(&mut lane);
            if from == From::Recovery {
                lane.run_for(Duration::from_millis(40));
                lane.kill(daemon);
            } else {
                // One has ended, one is parked, one is in progress; and nothing is in the log alone.
                lane.run_for(Duration::from_millis(150));
                lane.stop(daemon);
                damage(&lane.home.state().join("dtmfd.db"));
            }
            daemon = lane.start(&wrapper);
        }
        let ready = lane.wait_until_ready(&mut daemon);
        let tracer = (ready && from == From::Ready).then(|| {
            let mut command = Command::new("strace");
            command.args(["-f", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
            command.args(["-p", &daemon.pid().to_string()]);
            let mut tracer = Program::start(command);
            tracer.wait_for("attached");
            tracer
        });
        if matches!(from, From::Start | From::Ready) {
            callers(&mut lane);
        }
        let killed = if !ready || run(&mut lane, &mut daemon) {
            assert_eq!(None, daemon.bury(&mut lane.home), "it ended by itself:\n{}", lane.home.said());
            true
        } else {
            lane.leave(daemon) != Some(0)
        };
        if killed {
            lane.died(Instant::now());
        }
        drop(tracer);
        let figures = finish(&mut lane, number as u64);
        let said = lane.home.said();
        let is_refused = lane.tenant.posts().iter().any(|post| post.to.starts_with(PARKED));
        assert!(!is_refused || said.contains("parked=1"), "what was parked is gone:\n{said}");
        let copy = lane.home.state().join("dtmfd.db.damaged-1");
        assert_eq!(from == From::Damage, copy.exists(), "what was damaged is set aside, once:\n{said}");
        (killed, figures)
    }
}

/// Overwrites what says that this is a database, and no row of it.
fn damage(database: &Path) {
    let file = OpenOptions::new().write(true).open(database).expect("it is there");
    file.write_all_at(&[0; 16], 0).expect("it can be written");
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
