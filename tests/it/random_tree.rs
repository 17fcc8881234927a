//! Random trees, as the text of an `ivr.json`: small, with every feature of the language, and with
//! numbers so close together that deadlines meet.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtmfd::engine::Ivr;

/// SplitMix64: a number from a number.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Returns a tree that loads. Most of what the generator writes does.
pub(crate) fn random_tree(random: &mut Random) -> (String, Arc<Ivr>) {
    loop {
        let json = write_tree(random);
        if let Some(ivr) = dtmfd::tree::load(&json).ivr {
            return (json, ivr);
        }
    }
}

/// Members of an object, as they are written.
type Members = Vec<String>;

fn object(members: Members) -> String {
    format!("{{{}}}", members.join(", "))
}

fn text(text: &str) -> String {
    format!("\"{text}\"")
}

fn write_tree(random: &mut Random) -> String {
    let count = 1 + random.below(5);
    let mut names: Vec<String> = (0..count).map(|index| format!("n{index}")).collect();
    // Which nodes collect is known first: templates name their entries.
    let kinds: Vec<u64> = (0..count).map(|_| random.below(10)).collect();
    let mut slots = Vec::new();
    for (name, kind) in names.iter().zip(&kinds) {
        if (6..9).contains(kind) {
            slots.push(if random.one_in(3) { "pin".to_owned() } else { name.clone() });
        }
    }
    names.push("end".to_owned());
    let tree = Tree { names, slots: slots.clone() };
    let mut unnamed = slots.into_iter();
    let mut nodes = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let mut members = Members::new();
        if random.one_in(2) {
            members.push(format!("\"label\": \"L{index}\""));
        }
        if random.one_in(3) {
            members.push(format!("\"set\": {}", tree.set(random)));
        }
        match kind {
            0..=5 => {
                members.push(format!("\"choices\": {}", tree.choices(random, 4)));
                if random.one_in(5) {
                    members.push("\"globalKeys\": false".to_owned());
                }
            }
            6..=8 => {
                let slot = unnamed.next().expect("each was counted");
                tree.collect(random, &slot, &mut members);
            }
            _ => members.push(format!("\"outcome\": \"E{index}\"")),
        }
        if *kind < 9 {
            tree.settings(random, 3, &mut members);
        }
        nodes.push(format!("\"n{index}\": {}", object(members)));
    }
    nodes.push(format!("\"end\": {{\"outcome\": \"done\", \"set\": {}}}", tree.set(random)));

    let mut members = vec!["\"rootNode\": \"n0\"".to_owned(), format!("\"nodes\": {}", object(nodes))];
    let mut defaults = Members::new();
    tree.settings(random, 2, &mut defaults);
    members.push(format!("\"defaults\": {}", object(defaults)));
    if random.one_in(3) {
        members.push(format!("\"keys\": {}", tree.choices(random, 2)));
    }
    let limits = (random.pick(&[700, 2000, 6000, 20_000, 600_000]), random.pick(&[1, 2, 4, 9, 100]));
    members.push(format!("\"limits\": {{\"callMs\": {}, \"steps\": {}}}", limits.0, limits.1));
    if random.one_in(2) {
        let hangup = random.pick(&["true", "false"]);
        members.push(format!("\"onEnd\": {{\"set\": {}, \"hangup\": {hangup}}}", tree.set(random)));
    }
    if random.one_in(2) {
        members.push(format!("\"entries\": {{\"+49\": \"{}\"}}", tree.name(random)));
    }
    if random.one_in(2) {
        members.push(format!("\"dedupe\": {{\"bounceMs\": {}}}", random.pick(&[0, 1, 80, 300])));
    }
    object(members)
}

struct Tree {
    names: Vec<String>,
    slots: Vec<String>,
}

impl Tree {
    fn name(&self, random: &mut Random) -> String {
        self.names[random.below(self.names.len() as u64) as usize].clone()
    }

    fn node(&self, random: &mut Random) -> String {
        match random.below(12) {
            0..=1 => "@back".to_owned(),
            2 => "@root".to_owned(),
            3 => "@again".to_owned(),
            _ => self.name(random),
        }
    }

    /// Writes members that say where to go.
    fn target(&self, random: &mut Random, outcome: &str, members: &mut Members) {
        if random.one_in(4) {
            members.push(format!("\"outcome\": \"{outcome}{}\"", random.below(3)));
        } else {
            members.push(format!("\"nextNode\": \"{}\"", self.node(random)));
        }
    }

    fn choices(&self, random: &mut Random, most: u64) -> String {
        let mut choices = BTreeMap::new();
        for _ in 0..1 + random.below(most) {
            let pattern = pattern(random);
            let target = if random.one_in(2) {
                text(&self.node(random))
            } else {
                let mut members = Members::new();
                self.target(random, "O", &mut members);
                if random.one_in(3) {
                    members.push(format!("\"label\": \"C{}\"", random.below(9)));
                }
                if random.one_in(3) {
                    members.push(format!("\"set\": {}", self.set(random)));
                }
                object(members)
            };
            choices.insert(pattern, target);
        }
        object(choices.iter().map(|(pattern, target)| format!("\"{pattern}\": {target}")).collect())
    }

    fn collect(&self, random: &mut Random, slot: &str, members: &mut Members) {
        let mut collect = vec![format!("\"as\": \"{slot}\"")];
        if random.one_in(2) {
            collect.push(format!("\"min\": {}", random.below(4)));
        }
        if random.one_in(2) {
            collect.push(format!("\"max\": {}", 1 + random.below(5)));
        }
        if random.one_in(3) {
            collect.push(format!("\"digits\": \"{}\"", random.pick(&["12", "123*", "1#", "0123456789AB"])));
        }
        if random.one_in(3) {
            let patterns: Vec<_> = (0..1 + random.below(3)).map(|_| text(&pattern(random))).collect();
            collect.push(format!("\"pattern\": [{}]", patterns.join(", ")));
        }
        if random.one_in(5) {
            collect.push("\"check\": \"luhn\"".to_owned());
        }
        if random.one_in(4) {
            collect.push(format!("\"range\": [{}, {}]", random.below(3), random.pick(&[2, 12, 122, 2000])));
        }
        if random.one_in(2) {
            collect.push(format!("\"cancelKey\": \"{}\"", random.pick(&["*", "#", "3", ""])));
        }
        members.push(format!("\"collect\": {}", object(collect)));
        self.target(random, "G", members);
    }

    /// Writes each setting one time in `rarity`.
    fn settings(&self, random: &mut Random, rarity: u64, members: &mut Members) {
        for (name, values) in [
            ("promptMs", &[0, 1, 200, 500][..]),
            ("firstDigitMs", &[0, 1, 300, 700, 2000]),
            ("interDigitMs", &[1, 200, 300, 700]),
            ("decideMs", &[0, 0, 1, 200, 900]),
            ("maxMs", &[0, 1, 200, 500, 900, 1400]),
            ("guardMs", &[0, 1, 100, 600]),
        ] {
            if random.one_in(rarity) {
                members.push(format!("\"{name}\": {}", random.pick(values)));
            }
        }
        if random.one_in(rarity) {
            members.push(format!("\"endKey\": \"{}\"", random.pick(&["", "#", "#", "#", "*", "1"])));
        }
        if random.one_in(rarity) {
            members.push(format!("\"mask\": {}", random.pick(&["true", "false", "1", "2"])));
        }
        for name in ["noInput", "noMatch"] {
            if !random.one_in(rarity) {
                continue;
            }
            if name == "noMatch" && random.one_in(4) {
                members.push("\"noMatch\": \"ignore\"".to_owned());
                continue;
            }
            let mut handler = vec![format!("\"tries\": {}", 1 + random.below(3))];
            if !random.one_in(4) {
                self.target(random, "H", &mut handler);
            }
            if random.one_in(3) {
                handler.push(format!("\"set\": {}", self.set(random)));
            }
            members.push(format!("\"{name}\": {}", object(handler)));
        }
    }

    fn set(&self, random: &mut Random) -> String {
        let mut set = BTreeMap::new();
        for _ in 0..random.below(4) {
            let value: String = (0..random.below(4)).map(|_| self.piece(random)).collect();
            set.insert(random.pick(&["a", "b", "c", "ivr_status"]), value);
        }
        object(set.iter().map(|(name, value)| format!("\"{name}\": \"{value}\"")).collect())
    }

    fn piece(&self, random: &mut Random) -> String {
        if !self.slots.is_empty() && random.one_in(3) {
            let slot = &self.slots[random.below(self.slots.len() as u64) as usize];
            return format!("{{{slot}{}}}", random.pick(&["", "!raw"]));
        }
        let names = [
            "{digits}",
            "{label}",
            "{node}",
            "{outcome}",
            "{reason}",
            "{attempt}",
            "{callId}",
            "{interaction}",
            "{from}",
            "{to}",
            "{path}",
            "{keys}",
            "{elapsedMs}",
            "x",
            "{{",
            "}}",
        ];
        random.pick(&names).to_owned()
    }
}

fn pattern(random: &mut Random) -> String {
    let symbols = ["1", "1", "1", "1", "2", "2", "2", "3", "X", "Z", "N", "[12]", "[1-3]", "#", "*", "A"];
    let len = random.pick(&[1, 1, 1, 2, 2, 3, 4]);
    (0..len).map(|_| random.pick(&symbols)).collect()
}
