//! The oracle: from what was sent, when and to which process, and from what arrived, it says what must not
//! have happened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::caller::{Act, BEFORE_MASK, Step, Trees, Walk};
use super::lane::Life;
use super::tenant::Post;

/// What a kill may undo at most: group commit gathers for 10 ms and waits for one transaction. The rest is
/// for a machine that has other things to do than to read a socket.
const LOSS_MAX: Duration = Duration::from_secs(1);
/// An event may be read so much later than it was sent.
const LATE_MAX: Duration = Duration::from_secs(1);
/// An event that was sent so long before a deadline was read before it.
const CLEAR: Duration = Duration::from_millis(300);

/// What a history of kills came to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Figures {
    pub(super) kills: usize,
    pub(super) starts: usize,
    pub(super) calls: usize,
    /// Calls of which no update was ever seen: a kill took all that was sent of them.
    pub(super) vanished: usize,
    pub(super) completed: usize,
    pub(super) timed_out: usize,
    pub(super) hung_up: usize,
    pub(super) posts: usize,
    /// Updates that arrived more than once, under the same key.
    pub(super) duplicates: usize,
    /// Events that a kill undid.
    pub(super) lost: usize,
    /// The longest time from the sending of an event that was lost to the kill.
    pub(super) loss_window: Duration,
    /// How many losses there were with a window of under 20 ms, 50 ms, 100 ms, 200 ms, and above.
    pub(super) windows: [usize; 5],
    pub(super) undurable: usize,
}

/// The bounds of [`Figures::windows`], in ms.
const WINDOWS: [u128; 4] = [20, 50, 100, 200];

impl Figures {
    pub(super) fn add(&mut self, other: &Figures) {
        self.kills += other.kills;
        self.starts += other.starts;
        self.calls += other.calls;
        self.vanished += other.vanished;
        self.completed += other.completed;
        self.timed_out += other.timed_out;
        self.hung_up += other.hung_up;
        self.posts += other.posts;
        self.duplicates += other.duplicates;
        self.lost += other.lost;
        self.loss_window = self.loss_window.max(other.loss_window);
        self.windows.iter_mut().zip(other.windows).for_each(|(sum, count)| *sum += count);
        self.undurable += other.undurable;
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Figures { kills, starts, calls, vanished, completed, timed_out, hung_up, .. } = self;
        let Figures { posts, duplicates, lost, loss_window, windows, undurable, .. } = self;
        write!(
            f,
            "{kills} kills, {starts} starts, {calls} calls ({completed} completed, {timed_out} timed out, \
             {hung_up} hung up, {vanished} vanished), {posts} posts, {duplicates} duplicates by key, \
             {lost} events lost ({windows:?} within {WINDOWS:?} ms and above), largest loss window {} ms, \
             {undurable} undurable",
            loss_window.as_millis()
        )
    }
}

/// Judges a history once everything has been delivered. Returns its figures and what was wrong.
pub(super) fn judge(
    trees: &Trees,
    walks: &[Walk],
    lives: &[Life],
    posts: &[Post],
    undurable: usize,
) -> (Figures, Vec<String>) {
    let mut figures = Figures {
        kills: lives.iter().filter(|life| life.killed.is_some()).count(),
        starts: lives.len(),
        calls: walks.len(),
        posts: posts.len(),
        undurable,
        ..Figures::default()
    };
    let mut wrong = Vec::new();
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (place, walk) in walks.iter().enumerate() {
        if !walk.is_again {
            names.insert(&walk.call, place);
        }
        names.extend(walk.interaction.as_deref().map(|name| (name, place)));
    }
    let mut arrived: BTreeMap<usize, Vec<&Post>> = BTreeMap::new();
    for post in posts {
        match names.get(post.to.as_str()) {
            Some(&place) => arrived.entry(place).or_default().push(post),
            None => wrong.push(format!("an update for nobody: {post:?}")),
        }
    }
    let mut keys = HashSet::new();
    for (place, walk) in walks.iter().enumerate() {
        let posts = arrived.remove(&place).unwrap_or_default();
        let first = posts.first().map(|post| post.key.as_str());
        let mut case = Case { trees, lives, walk, figures: &mut figures, wrong: Vec::new() };
        if !first.is_none_or(|key| keys.insert(key)) {
            case.wrong.push("its key is another call's".to_owned());
        }
        case.judge(&posts, undurable > 0);
        if !case.wrong.is_empty() {
            let said = case.wrong.join("; ");
            wrong.push(format!("{said}\n{}", case.story(&posts)));
        }
    }
    (figures, wrong)
}

/// What a call wrote at its end.
struct Written {
    tree: String,
    status: String,
    /// The open keys that counted, in order.
    keys: Vec<char>,
    /// Each entry, a masked one as it is shown.
    entries: Vec<String>,
    took: Duration,
}

impl Written {
    fn read(variables: &BTreeMap<String, String>) -> Option<Written> {
        let entries: Vec<String> = serde_json::from_str(variables.get("keys")?).ok()?;
        let keys =
            entries.iter().filter(|entry| *entry != "[masked]").flat_map(|entry| entry.chars()).collect();
        let took = Duration::from_millis(variables.get("ms")?.parse().ok()?);
        let text = |name: &str| variables.get(name).cloned();
        Some(Written { tree: text("tree")?, status: text("status")?, keys, entries, took })
    }

    /// Returns the outcome that such entries lead to, unless the caller hangs up.
    fn outcome(&self, trees: &Trees) -> Option<&'static str> {
        let lengths: Vec<_> = self
            .entries
            .iter()
            .map(|entry| if entry == "[masked]" { 0 } else { entry.chars().count() })
            .collect();
        let (path, ends): (&[usize], _) = match self.tree.as_str() {
            "a" => (&[1; 16][..trees.menus], trees.menus),
            "b" => (&[1, 1, 2, 0, 1], 5),
            _ => return None,
        };
        let is_a_way = path.starts_with(&lengths);
        is_a_way.then_some(if lengths.len() == ends { "completed" } else { "timeout_fallback" })
    }
}

struct Case<'a> {
    trees: &'a Trees,
    lives: &'a [Life],
    walk: &'a Walk,
    figures: &'a mut Figures,
    wrong: Vec<String>,
}

impl Case<'_> {
    fn judge(&mut self, posts: &[&Post], may_repeat: bool) {
        let Some(first) = posts.first() else { return self.judge_vanished() };
        for post in posts {
            if post.key == first.key && (post.body != first.body || post.to != first.to) {
                self.wrong.push("one key, two updates".to_owned());
            }
            if post.key != first.key && !may_repeat {
                self.wrong.push("two keys: it ended twice".to_owned());
            }
        }
        self.figures.duplicates += usize::from(posts.len() > 1);
        if !posts.iter().any(|post| post.settled) {
            self.wrong.push("its update was never taken".to_owned());
        }
        let Some(written) = Written::read(&first.variables) else {
            return self.wrong.push("its update can't be read".to_owned());
        };
        match written.status.as_str() {
            "completed" => self.figures.completed += 1,
            "hangup" => self.figures.hung_up += 1,
            _ => self.figures.timed_out += 1,
        }
        self.judge_outcome(&written);
        let Some(counted) = self.counted(&written) else { return };
        let has_started = Some(&first.to) == self.walk.interaction.as_ref();
        self.judge_losses(&written, &counted, has_started);
        self.judge_times(&written, &counted, has_started);
    }

    /// Whether the outcome is one that what counted leads to.
    fn judge_outcome(&mut self, written: &Written) {
        let Some(expected) = written.outcome(self.trees) else {
            return self.wrong.push("no walk of its tree is like that".to_owned());
        };
        let hung_up = self.walk.steps.iter().any(|step| step.act == Act::HangUp && !step.sent.is_empty());
        let may_be = match written.status.as_str() {
            "hangup" => hung_up && expected != "completed",
            status => status == expected,
        };
        if !may_be {
            self.wrong.push(format!("it should have ended with {expected}"));
        }
    }

    /// Returns the steps that counted, by place: each was sent, once, in this order.
    fn counted(&mut self, written: &Written) -> Option<Vec<usize>> {
        let place = |key: &char| {
            self.walk.steps.iter().position(|step| step.act == Act::Open(*key) && !step.sent.is_empty())
        };
        let places: Option<Vec<usize>> = written.keys.iter().map(place).collect();
        let places = places.filter(|places| places.is_sorted_by(|a, b| a < b));
        if places.is_none() {
            self.wrong.push("a key counted that was not sent, or not then".to_owned());
        }
        places
    }

    /// No trace of it: a kill must have followed soon after everything that could have begun it.
    fn judge_vanished(&mut self) {
        self.figures.vanished += 1;
        let begins = |step: &&Step| match step.act {
            Act::Start => true,
            Act::Open(_) | Act::Masked(_) => !self.walk.is_again,
            Act::HangUp => false,
        };
        // What comes after a hang-up opens nothing.
        let steps = self.walk.steps.iter().take_while(|step| step.act != Act::HangUp || step.sent.is_empty());
        let sent: Vec<_> = steps.filter(begins).flat_map(|step| step.sent.iter().copied()).collect();
        for sent in sent {
            self.lose(sent.life, sent.at, "it began, and no update came");
        }
    }

    /// An event that reached a process has no effect: it must have been killed soon after.
    fn lose(&mut self, life: usize, at: Instant, what: &str) {
        self.figures.lost += 1;
        match self.lives[life].killed {
            Some(killed) => {
                let window = killed.saturating_duration_since(at);
                self.figures.loss_window = self.figures.loss_window.max(window);
                let place = WINDOWS.iter().position(|bound| window.as_millis() < *bound);
                self.figures.windows[place.unwrap_or(WINDOWS.len())] += 1;
                if window > LOSS_MAX {
                    self.wrong.push(format!("{what}: {window:?} before kill {life}"));
                }
            }
            None => self.wrong.push(format!("{what}: sent to process {life}, which nobody killed")),
        }
    }

    /// Every key that was sent while its call was in progress counts, or was lost with the last commit; what
    /// a process was sent after one that was lost, is lost as well.
    fn judge_losses(&mut self, written: &Written, counted: &[usize], has_started: bool) {
        let wait = self.trees.wait(&written.tree);
        let last = counted.last().copied();
        // It may have ended by itself soon after the last key, whichever copy of that counted.
        let over = last.and_then(|last| self.walk.steps[last].sent.first()).map(|sent| sent.at + wait);
        let mut lost: Vec<(usize, usize)> = Vec::new();
        // One key of an entry that was not completed doesn't show.
        let mut unseen = usize::from(written.tree == "b" && written.keys.len() == 2);
        for (place, step) in self.walk.steps.iter().enumerate() {
            let before = counted.iter().filter(|other| **other < place).count();
            let is_past = last.is_none_or(|last| place > last);
            let is_told = match step.act {
                Act::Open(_) => written.tree == "a" || before < BEFORE_MASK,
                // Who has not called can't hang up.
                Act::HangUp => has_started || before > 0,
                Act::Start | Act::Masked(_) => false,
            };
            let has_counted =
                counted.contains(&place) || step.act == Act::HangUp && written.status == "hangup";
            if !is_told || has_counted || step.sent.is_empty() {
                continue;
            }
            if is_past && written.status != "timeout_fallback" {
                continue;
            }
            if is_past && step.act != Act::HangUp && unseen > 0 {
                unseen -= 1;
                continue;
            }
            for sent in &step.sent {
                // Where nothing counted it is not known when it began.
                let is_clear = !is_past || over.is_some_and(|over| sent.at + CLEAR < over);
                // A stream that comes back repeats in order: later copies came after what counted next.
                let next = counted.iter().find(|next| **next > place);
                let overtaken = next.is_some_and(|&next| {
                    self.walk.steps[next].sent.first().is_some_and(|next| next.at < sent.at)
                });
                if is_clear && !overtaken {
                    lost.push((place, sent.life));
                }
            }
        }
        for &(place, life) in &lost {
            let sent: Vec<_> =
                self.walk.steps[place].sent.iter().filter(|sent| sent.life == life).copied().collect();
            let what = format!("step {place} is lost");
            sent.iter().for_each(|sent| self.lose(sent.life, sent.at, &what));
            let overtakes = |&&later: &&usize| {
                later > place && self.walk.steps[later].sent.iter().all(|sent| sent.life == life)
            };
            let alone = self.walk.steps[place].sent.len() == 1;
            if let Some(later) = counted.iter().find(overtakes).filter(|_| alone) {
                self.wrong.push(format!("step {place} is lost, and step {later} to the same process is not"));
            }
        }
    }

    /// Deadlines are those that the last key that counted set, however long nobody was there to see them pass.
    fn judge_times(&mut self, written: &Written, counted: &[usize], has_started: bool) {
        let wait = self.trees.wait(&written.tree);
        let steps = &self.walk.steps;
        for (number, pair) in counted.windows(2).enumerate() {
            // The masked entry between them takes its own time.
            if written.tree == "b" && number + 1 == BEFORE_MASK {
                continue;
            }
            let times = steps[pair[0]].sent.last().zip(steps[pair[1]].sent.first());
            let gap = times.map(|(from, to)| to.at.saturating_duration_since(from.at));
            if gap.is_some_and(|gap| gap > wait + LATE_MAX) {
                self.wrong.push(format!("step {} counted though {gap:?} had passed", pair[1]));
            }
        }
        let is_plain = written.tree == "a"
            && written.status == "timeout_fallback"
            && !steps.iter().any(|step| matches!(step.act, Act::Masked(_)));
        let begin = match has_started {
            true => steps.iter().position(|step| step.act == Act::Start),
            false => counted.first().copied(),
        };
        let once = |step: usize| match steps[step].sent.as_slice() {
            [only] => Some(only.at),
            _ => None,
        };
        let begin = begin.and_then(once);
        let end = counted.last().copied().map_or(begin, once);
        if let (Some(begin), Some(end), true) = (begin, end, is_plain) {
            let expected = end.saturating_duration_since(begin) + wait;
            if written.took.abs_diff(expected) > LATE_MAX {
                self.wrong.push(format!("it took {:?}, and {expected:?} would be right", written.took));
            }
        }
    }

    /// Tells what was sent, and what arrived.
    fn story(&self, posts: &[&Post]) -> String {
        let mut story = format!("call {} ({:?}):", self.walk.call, self.walk.interaction);
        for (place, step) in self.walk.steps.iter().enumerate() {
            story.push_str(&format!("\n  {place} {:?}", step.act));
            for sent in &step.sent {
                let killed = self.lives[sent.life].killed;
                let before = killed.map(|killed| killed.saturating_duration_since(sent.at));
                story.push_str(&format!(", sent to process {} ({before:?} before its kill)", sent.life));
            }
        }
        for post in posts {
            let age = post.at.elapsed();
            story.push_str(&format!("\n  {age:?} ago to {} as {}: {}", post.to, post.key, post.body));
        }
        story
    }
}
