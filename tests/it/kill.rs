//! The real daemon, killed at any moment, with a real disk and real sockets; judged from outside by who
//! knows what was sent and what arrived.
//!
//! `KILLS=1000 cargo test kill:: -- --nocapture` kills so often; `SEED=7` begins with another seed. What
//! the callers do comes from the seed, but time is real: a failure shows what was sent when.

mod boundary;
mod caller;
mod daemon;
mod judge;
mod lane;
mod scan;
mod tenant;

use std::time::{Duration, Instant};

use caller::Trees;
use daemon::Home;
use judge::{Figures, judge};
use lane::Lane;

use crate::random_tree::Random;

/// How many kills there are, in the short setting and in the long one.
const KILLS: usize = 200;
const KILLS_LONG: usize = 10_000;
/// So many kills one state directory goes through.
const KILLS_OF_A_LANE: usize = 50;
/// Histories at once: most of their time they wait.
const LANES: usize = 2;
/// All that is left is delivered within this, once nothing fails any more.
const DRAINED: Duration = Duration::from_secs(90);
/// When nothing has arrived for so long, nothing more will: a retry of the tenant's answers is not waited for.
const QUIET: Duration = Duration::from_millis(1_500);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn what_was_promised_holds_however_often_the_daemon_is_killed() {
    let usual = if std::env::var_os("DTMFD_LONG").is_some() { KILLS_LONG } else { KILLS };
    let kills = number("KILLS").map_or(usual, |kills| kills as usize);
    let seed = number("SEED").unwrap_or(1);
    let histories = kills.div_ceil(KILLS_OF_A_LANE);
    let begun = Instant::now();
    let mut figures = Figures::default();
    std::thread::scope(|scope| {
        let lane = |lane| {
            move || {
                let mut figures = Figures::default();
                for history in (lane..histories).step_by(LANES) {
                    let kills = KILLS_OF_A_LANE.min(kills - history * KILLS_OF_A_LANE);
                    figures.add(&history_of_kills(seed + history as u64, kills));
                }
                figures
            }
        };
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(lane(number))).collect();
        for lane in lanes {
            figures.add(&lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    said(&format!("{figures}, {} s", begun.elapsed().as_secs()));
    let Figures { completed, timed_out, hung_up, duplicates, calls, .. } = figures;
    assert!(completed > kills && timed_out > kills && hung_up > kills / 4, "the load was no load: {figures}");
    assert!(duplicates > kills / 20 && calls > 4 * kills, "the load was no load: {figures}");
}

/// Says the figures: they are what the test is for.
#[expect(clippy::print_stderr, reason = "figures are to be seen, with `--nocapture`")]
fn said(figures: &str) {
    eprintln!("kill: {figures}");
}

/// Plays one history, and judges it.
fn history_of_kills(seed: u64, kills: usize) -> Figures {
    let mut random = Random(seed.wrapping_mul(0x9e37));
    let wait = |random: &mut Random| Duration::from_millis(200 + random.below(701));
    let trees = Trees { menus: 8, waits: [wait(&mut random), wait(&mut random)] };
    let durability = if seed.is_multiple_of(2) { "power" } else { "process" };
    let mut lane = Lane::new(seed, Home::new(&format!("kill-{seed}"), durability), trees);
    lane.tenant.set_foul(true);
    lane.set_open(true);
    for _ in 0..kills {
        one_kill(&mut lane, &mut random);
        let found = scan::find(&lane.home.state(), scan::CANARY);
        assert!(found.is_empty(), "seed {seed}: digits of a masked node are on disk: {found:#?}");
        if random.one_in(12) {
            // Long enough for every deadline to pass while nobody is there.
            lane.run_for(Duration::from_millis(1_200 + random.below(1_000)));
        }
    }
    lane.set_open(false);
    lane.tenant.set_foul(false);
    let figures = finish(&mut lane, seed);
    // Open presses are in the history: so the search that found no masked ones does find what is there.
    let posts = lane.tenant.posts();
    let open = posts.iter().rev().take(100).filter(|post| post.variables["status"] == "completed");
    let keys = open.map(|post| post.variables["keys"].replace(['[', ']', '"', ','], ""));
    let mut whole = keys.filter(|keys| keys.len() == trees.menus);
    assert!(whole.any(|keys| !scan::find(&lane.home.state(), &keys).is_empty()), "seed {seed}: no history");
    figures
}

/// Starts the daemon and kills it: as it starts, or later.
fn one_kill(lane: &mut Lane, random: &mut Random) {
    if random.one_in(3) {
        lane.change_tree();
    }
    let mut daemon = lane.start(&[]);
    if random.one_in(5) {
        lane.run_for(Duration::from_millis(random.below(120)));
        return lane.kill(daemon);
    }
    if lane.wait_until_ready(&mut daemon) {
        let ms = 50 + random.below(551);
        let reloads = random.one_in(4);
        lane.run_for(Duration::from_millis(ms / 2));
        if reloads {
            lane.change_tree();
            daemon.reload();
        }
        lane.run_for(Duration::from_millis(ms - ms / 2));
    }
    lane.kill(daemon);
}

/// Lets everything drain, sees that it is over with, and judges.
fn finish(lane: &mut Lane, seed: u64) -> Figures {
    let mut daemon = lane.start(&[]);
    let ready = lane.wait_until_ready(&mut daemon);
    assert!(ready, "seed {seed}: it does not start:\n{}", lane.home.said());
    let deadline = Instant::now() + DRAINED;
    let longest = lane.trees.waits[0].max(lane.trees.waits[1]);
    let (mut count, mut since) = (lane.tenant.post_count(), Instant::now());
    let is_quiet = loop {
        lane.turn();
        let now = lane.tenant.post_count();
        if now != count || !lane.is_done() {
            (count, since) = (now, Instant::now());
        }
        if lane.is_done() && lane.tenant.settled_count() >= lane.walks.len() {
            break false;
        }
        if since.elapsed() > longest + QUIET && !has_unsettled(lane) {
            break true;
        }
        if Instant::now() > deadline {
            break false; // The judgement says what is missing.
        }
    };
    lane.stop(daemon);
    let at_stop = lane.tenant.post_count();
    // What was delivered is over: the next process brings nothing.
    let mut daemon = lane.start(&[]);
    let ready = lane.wait_until_ready(&mut daemon);
    assert!(ready, "seed {seed}: it does not start again:\n{}", lane.home.said());
    lane.run_for(Duration::from_millis(200));
    lane.stop(daemon);
    let after = lane.tenant.post_count();
    let (posts, protests) = (lane.tenant.posts(), lane.tenant.protests());
    let (figures, mut wrong) = judge(&lane.trees, &lane.walks, &lane.lives, &posts, lane.home.undurable);
    if is_quiet && at_stop != count {
        wrong.push(format!("{} updates came only as it left", at_stop - count));
    }
    if after != at_stop {
        wrong.push(format!("{} updates came again after they were acknowledged", after - at_stop));
    }
    wrong.extend(protests);
    let shown = wrong.len().min(5);
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} wrong:\n{}\n--- what the last processes said:\n{}",
        wrong.len(),
        wrong[..shown].join("\n"),
        lane.home.said()
    );
    figures
}

/// Returns whether an update arrived that was not taken yet.
fn has_unsettled(lane: &Lane) -> bool {
    let posts = lane.tenant.posts();
    let settled: std::collections::HashSet<_> =
        posts.iter().filter(|post| post.settled).map(|post| post.key.as_str()).collect();
    posts.iter().any(|post| !settled.contains(post.key.as_str()))
}
