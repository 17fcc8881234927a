//! Callers: what each will press and when, the trees that they walk, and what was really sent.

use std::time::{Duration, Instant};

use super::scan::CANARY;
use super::tenant::PARKED;
use crate::random_tree::Random;

/// The keys that every node takes but the masked one. A caller presses each of them at most once, so
/// what a call wrote tells which of its presses counted.
const OPEN: [char; 13] = ['0', '1', '2', '3', '4', '5', '6', '*', '#', 'A', 'B', 'C', 'D'];
/// So many open keys in tree b come before the masked node.
pub(super) const BEFORE_MASK: usize = 4;

/// The trees: how many menus the first has, and how long each of them waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trees {
    /// Menus of one key in tree a; the last one ends the call.
    pub(super) menus: usize,
    /// How long a node of tree a waits for a key, and one of tree b.
    pub(super) waits: [Duration; 2],
}

impl Trees {
    /// How long a node waits of the tree that writes `name`.
    pub(super) fn wait(&self, name: &str) -> Duration {
        self.waits[usize::from(name == "b")]
    }

    /// Writes tree a: so many menus, and what was pressed is written however a call ends.
    pub(super) fn a(&self) -> String {
        let nodes: Vec<_> = (0..self.menus)
            .map(|menu| match menu + 1 == self.menus {
                true => menu_node(menu, r#"{"outcome":"completed"}"#),
                false => menu_node(menu, &format!(r#""m{}""#, menu + 1)),
            })
            .collect();
        tree("a", self.waits[0], &nodes.join(",\n"))
    }

    /// Writes tree b: two menus, an entry of two keys, a masked one, a menu.
    pub(super) fn b(&self) -> String {
        let open: String = OPEN.iter().collect();
        let nodes = [
            menu_node(0, r#""m1""#),
            menu_node(1, r#""pair""#),
            format!(r#""pair":{{"collect":{{"min":2,"max":2,"digits":"{open}"}},"nextNode":"pin"}}"#),
            format!(
                r#""pin":{{"mask":true,"collect":{{"min":{0},"max":{0},"digits":"789"}},"nextNode":"m2"}}"#,
                CANARY.len()
            ),
            menu_node(2, r#"{"outcome":"completed"}"#),
        ];
        tree("b", self.waits[1], &nodes.join(",\n"))
    }
}

fn menu_node(number: usize, target: &str) -> String {
    let choices: Vec<_> = OPEN.iter().map(|key| format!(r#""{key}":{target}"#)).collect();
    format!(r#""m{number}":{{"choices":{{{}}}}}"#, choices.join(","))
}

fn tree(name: &str, wait: Duration, nodes: &str) -> String {
    let ms = wait.as_millis();
    let set = format!(r#""tree":"{name}","keys":"{{keys}}","status":"{{outcome}}","ms":"{{elapsedMs}}""#);
    format!(
        r#"{{"rootNode":"m0","defaults":{{"firstDigitMs":{ms},"interDigitMs":{ms}}},
"onEnd":{{"hangup":true,"set":{{{set}}}}},
"nodes":{{
{nodes}
}}}}
"#
    )
}

/// Something that a caller does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Act {
    /// The stream tells that the call begins.
    Start,
    /// A key that tells by itself whether it counted.
    Open(char),
    /// One of the masked entry.
    Masked(char),
    HangUp,
}

/// When something was sent, and to which process.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sent {
    pub(super) life: usize,
    pub(super) at: Instant,
}

/// One step of a caller.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// How long after the step before.
    pub(super) after: Duration,
    pub(super) act: Act,
    /// The timestamp of the event, in ms.
    pub(super) stamp: u64,
    /// Every time it was sent: a stream that comes back may send it again.
    pub(super) sent: Vec<Sent>,
    /// It was due while nobody listened.
    pub(super) held: bool,
}

/// One walk of a call: from its first event to its end.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) call: String,
    /// What `call_started` says that the variables are written to.
    pub(super) interaction: Option<String>,
    /// It begins anew after an earlier walk of the call has ended.
    pub(super) is_again: bool,
    pub(super) steps: Vec<Step>,
    /// The next step, and when it is due.
    pub(super) next: usize,
    pub(super) due: Instant,
    /// It began with its masked entry again.
    pub(super) has_reentered: bool,
    /// The timestamp of the latest event.
    stamp: u64,
}

/// Between two timestamps of a walk: past what counts as the bounce of a key.
const STAMP_STEP_MS: u64 = 200;

impl Walk {
    pub(super) fn new(call: &str, interaction: Option<String>, acts: &[(u64, Act)], stamp: u64) -> Walk {
        let mut walk = Walk {
            call: call.to_owned(),
            interaction,
            is_again: false,
            steps: Vec::new(),
            next: 0,
            due: Instant::now(),
            has_reentered: false,
            stamp,
        };
        for &(after_ms, act) in acts {
            let after = Duration::from_millis(after_ms);
            walk.stamp += STAMP_STEP_MS;
            walk.steps.push(Step { after, act, stamp: walk.stamp, sent: Vec::new(), held: false });
        }
        walk
    }

    pub(super) fn has_finished(&self) -> bool {
        self.next >= self.steps.len()
    }

    /// Moves on to the next step, and returns the place of the one that is due by now.
    pub(super) fn step(&mut self, now: Instant) -> Option<usize> {
        if self.has_finished() || now < self.due {
            return None;
        }
        self.next += 1;
        // From now on, not from when it was due: who had to wait presses no faster afterwards.
        self.due = now + self.steps.get(self.next).map_or(Duration::ZERO, |step| step.after);
        Some(self.next - 1)
    }

    /// Begins with the masked entry again if it stands in the midst of it, with new events.
    pub(super) fn enter_again(&mut self, now: Instant) {
        let is_masked = |step: &Step| matches!(step.act, Act::Masked(_));
        let Some(first) = self.steps.iter().position(is_masked) else { return };
        let is_within = self.next > first && self.steps.get(self.next).is_some_and(is_masked);
        if is_within {
            self.next = first;
            self.due = now;
            self.has_reentered = true;
            for step in &mut self.steps[first..] {
                self.stamp += STAMP_STEP_MS;
                step.stamp = self.stamp;
            }
        }
    }
}

/// Returns what a caller of the random load does; `tree_b` where it presses for tree b.
pub(super) fn random_acts(random: &mut Random, trees: &Trees, tree_b: bool) -> Vec<(u64, Act)> {
    let mut keys = OPEN;
    for place in (1..keys.len()).rev() {
        keys.swap(place, random.below(place as u64 + 1) as usize);
    }
    // Bursts, people who know the menu, and people.
    let (least, more) = random.pick(&[(0, 3), (5, 30), (30, 90)]);
    let mut acts: Vec<(u64, Act)> = Vec::new();
    let mut wait = |random: &mut Random| least + random.below(more);
    let open =
        |count: u64, acts: &mut Vec<_>, random: &mut Random, wait: &mut dyn FnMut(&mut Random) -> u64| {
            acts.extend(keys.iter().take(count as usize).map(|&key| (wait(random), Act::Open(key))));
        };
    let last = *keys.last().expect("there are keys");
    match random.below(10) {
        0..=2 if tree_b => {
            open(BEFORE_MASK as u64, &mut acts, random, &mut wait);
            acts.extend(CANARY.chars().map(|key| (wait(random), Act::Masked(key))));
            acts.extend(keys[BEFORE_MASK..].iter().take(2).map(|&key| (wait(random), Act::Open(key))));
        }
        0..=5 => {
            let count = 8 + random.below(5);
            open(count, &mut acts, random, &mut wait);
        }
        6..=7 => {
            // Falls silent, and comes back when it is too late.
            let count = 1 + random.below(7);
            open(count, &mut acts, random, &mut wait);
            let late_ms = trees.waits[usize::from(tree_b)].as_millis() as u64 + 400 + random.below(1_200);
            acts.push((late_ms, Act::Open(last)));
        }
        _ => {
            let count = 1 + random.below(7);
            open(count, &mut acts, random, &mut wait);
            acts.push((wait(random), Act::HangUp));
            acts.push((20 + random.below(400), Act::Open(last)));
        }
    }
    acts
}

/// Returns a caller of the random load, the `number`th.
pub(super) fn random_walk(
    random: &mut Random,
    trees: &Trees,
    tree_b: bool,
    number: usize,
    stamp: u64,
) -> Walk {
    let mut acts = random_acts(random, trees, tree_b);
    let interaction = random.one_in(3).then(|| match random.one_in(4) {
        true => format!("{PARKED}{number}"),
        false => format!("i-{number}"),
    });
    if interaction.is_some() {
        acts.insert(0, (0, Act::Start));
    }
    Walk::new(&format!("c-{number}"), interaction, &acts, stamp)
}
