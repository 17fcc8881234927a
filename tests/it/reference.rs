//! The language of IVR.md a second time, slow and obvious: strings, linear search, one call.
//!
//! It shares nothing with the engine but the types of the tree. Whatever it does stands in IVR.md in
//! nearly the same words; where the page leaves a choice, the comment says so.

use dtmfd::engine::{
    Assignment, Content, Entry, Handler, Ivr, Key, KeySet, Mask, Node, Pattern, Piece, Target, Timing,
};

/// How long an ended call is remembered after its last event, in milliseconds.
const REMEMBERED: u64 = 12 * 3_600_000;
/// How long it is remembered after its hang-up.
const REMEMBERED_HUNG_UP: u64 = 600_000;

/// What happens to the call.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum What {
    /// It began.
    Start { interaction: Option<String>, from: Option<String>, to: Option<String> },
    /// A key, with the event's own time in microseconds.
    Key { key: char, stamp: Option<u64> },
    /// The caller hung up.
    HangUp,
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Seen {
    Entered { at: u64, node: usize, attempt: u32, reason: &'static str },
    Ended { at: u64, node: usize, outcome: String, reason: &'static str },
    Wrote { at: u64, interaction: String, variables: Vec<(String, String)> },
}

/// Everything that came of a script: what was seen in order, and the verdict on each key.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Transcript {
    pub(crate) seen: Vec<Seen>,
    pub(crate) verdicts: Vec<(u64, char, &'static str)>,
}

/// A pattern: for each place the symbols that may stand there.
type Places = Vec<String>;

/// A tree, its sets of keys as strings.
pub(crate) struct Tree<'t> {
    pub(crate) ivr: &'t Ivr,
    menus: Vec<Vec<Places>>,
    collects: Vec<Option<(String, Option<Vec<Places>>)>>,
}

impl<'t> Tree<'t> {
    pub(crate) fn new(ivr: &'t Ivr) -> Tree<'t> {
        let menu = |node: &Node| match &node.content {
            Content::Menu(choices) => choices.iter().map(|choice| places(&choice.pattern)).collect(),
            Content::Entry(_) | Content::End(_) => Vec::new(),
        };
        let collect = |node: &Node| match &node.content {
            Content::Entry(entry) => {
                let patterns = entry.patterns.as_ref().map(|patterns| patterns.iter().map(places).collect());
                Some((symbols(entry.digits), patterns))
            }
            Content::Menu(_) | Content::End(_) => None,
        };
        Tree {
            ivr,
            menus: ivr.nodes.iter().map(menu).collect(),
            collects: ivr.nodes.iter().map(collect).collect(),
        }
    }

    fn node(&self, node: usize) -> &'t Node {
        &self.ivr.nodes[node]
    }

    fn entry(&self, node: usize) -> Option<&'t Entry> {
        match &self.node(node).content {
            Content::Entry(entry) => Some(entry),
            Content::Menu(_) | Content::End(_) => None,
        }
    }

    /// complete?: `text` is in the set.
    pub(crate) fn complete(&self, node: usize, text: &str) -> bool {
        let Some((digits, patterns)) = &self.collects[node] else {
            return self.menus[node].iter().any(|places| fits(places, text));
        };
        let entry = self.entry(node).expect("it collects");
        text.len() >= entry.min
            && text.len() <= entry.max
            && text.chars().all(|key| digits.contains(key))
            && match patterns {
                None => true,
                // `min` 0 lets the end key commit nothing, whatever the pattern.
                Some(_) if text.is_empty() => true,
                Some(patterns) => patterns.iter().any(|places| fits(places, text)),
            }
    }

    /// extendable?: `text` is a proper prefix of something in the set.
    pub(crate) fn extendable(&self, node: usize, text: &str) -> bool {
        let begins = |places: &Places| places.len() > text.len() && fits(&places[..text.len()], text);
        let Some((digits, patterns)) = &self.collects[node] else {
            return self.menus[node].iter().any(begins);
        };
        let entry = self.entry(node).expect("it collects");
        let held = text.chars().all(|key| digits.contains(key));
        match patterns {
            None => held && text.len() < entry.max && !digits.is_empty(),
            Some(patterns) => patterns.iter().any(|places| {
                let within = places.len() >= entry.min && places.len() <= entry.max;
                let can_be = places.iter().all(|symbols| symbols.chars().any(|key| digits.contains(key)));
                held && within && can_be && begins(places)
            }),
        }
    }

    /// "If the key is part of one of the node's choices it is no end key there."
    pub(crate) fn end_key(&self, node: usize) -> Option<char> {
        let key = self.node(node).end_key.map(Key::symbol)?;
        let chosen = self.menus[node].iter().flatten().any(|symbols| symbols.contains(key));
        (!chosen).then_some(key)
    }

    pub(crate) fn cancel_key(&self, node: usize) -> Option<char> {
        self.entry(node)?.cancel_key.map(Key::symbol)
    }
}

fn symbols(keys: KeySet) -> String {
    let is_in = |symbol: &char| Key::parse(*symbol).is_some_and(|key| keys.contains(key));
    "0123456789*#ABCD".chars().filter(is_in).collect()
}

fn places(pattern: &Pattern) -> Places {
    pattern.0.iter().map(|&keys| symbols(keys)).collect()
}

fn fits(places: &[String], text: &str) -> bool {
    places.len() == text.len() && places.iter().zip(text.chars()).all(|(symbols, key)| symbols.contains(key))
}

fn luhn(text: &str) -> bool {
    let mut sum = 0;
    for (place, key) in text.chars().rev().enumerate() {
        let Some(digit) = key.to_digit(10) else { return false };
        let counted = if place % 2 == 1 { digit * 2 } else { digit };
        sum += counted / 10 + counted % 10;
    }
    sum % 10 == 0
}

fn shown(text: &str, mask: Mask) -> String {
    match mask {
        Mask::Off => text.to_owned(),
        Mask::Last(n) if text.len() >= 3 * n => format!("…{}", &text[text.len() - n..]),
        Mask::All | Mask::Last(_) => "[masked]".to_owned(),
    }
}

/// What the call is at the moment.
enum State {
    Unknown,
    Walking(Box<Walk>),
    Ended { until: u64, hung_up: bool },
}

/// Stands for a value that was lost with the process that knew it.
pub(crate) const LOST: &str = "\u{0}lost";

/// One call, from the first event to after the last.
pub(crate) struct Reference<'t> {
    tree: &'t Tree<'t>,
    id: String,
    state: State,
    /// What was written last that holds a masked entry in clear.
    pub(crate) raw: Vec<String>,
    pub(crate) transcript: Transcript,
}

/// What a writer of scripts wants to know of the walk.
pub(crate) struct Standing<'a> {
    pub(crate) node: usize,
    pub(crate) buffer: &'a str,
    pub(crate) due: u64,
    pub(crate) limit: u64,
    pub(crate) guarded_until: u64,
    pub(crate) trailing: Option<(char, u64)>,
}

impl<'t> Reference<'t> {
    pub(crate) fn new(tree: &'t Tree<'t>) -> Reference<'t> {
        Reference::of("call", tree)
    }

    /// A call of this id.
    pub(crate) fn of(id: &str, tree: &'t Tree<'t>) -> Reference<'t> {
        Reference {
            tree,
            id: id.to_owned(),
            state: State::Unknown,
            raw: Vec::new(),
            transcript: Transcript::default(),
        }
    }

    /// Returns what came of a script once time has run until nothing happens any more.
    pub(crate) fn play(tree: &'t Tree<'t>, script: &[(u64, What)]) -> Transcript {
        let mut reference = Reference::new(tree);
        for (at, what) in script {
            reference.happens(*at, what);
        }
        reference.pass_time(u64::MAX);
        reference.transcript
    }

    pub(crate) fn standing(&self) -> Option<Standing<'_>> {
        let State::Walking(walk) = &self.state else { return None };
        let guard_ms = if walk.is_opening { 0 } else { self.tree.node(walk.node).timing.guard_ms };
        Some(Standing {
            node: walk.node,
            buffer: &walk.buffer,
            due: walk.next_deadline(self.tree).0,
            limit: walk.began + self.tree.ivr.limits.call_ms,
            guarded_until: walk.attempt_began + guard_ms,
            trailing: walk.trailing,
        })
    }

    /// Plays the deadlines up to and including `now`, each at the instant when it is due.
    pub(crate) fn pass_time(&mut self, now: u64) {
        while let State::Walking(walk) = &mut self.state {
            let (due, is_limit) = walk.next_deadline(self.tree);
            if due > now {
                break;
            }
            if is_limit {
                walk.end(self.tree, due, "limit", "limit");
            } else {
                walk.deadline(self.tree, due);
            }
            self.look(due, false);
        }
    }

    pub(crate) fn happens(&mut self, at: u64, what: &What) {
        self.pass_time(at);
        if let State::Ended { until, .. } = self.state
            && at >= until
        {
            self.state = State::Unknown;
        }
        match what {
            What::Start { interaction, from, to } => {
                let facts = [interaction, from, to].map(Clone::clone);
                match &mut self.state {
                    State::Walking(walk) => walk.learn(facts),
                    State::Unknown | State::Ended { .. } => self.begin(at, facts),
                }
            }
            What::Key { key, stamp } => {
                if matches!(self.state, State::Unknown) {
                    self.begin(at, [None, None, None]);
                }
                let verdict = match &mut self.state {
                    State::Walking(walk) => walk.key(self.tree, at, *key, *stamp),
                    State::Ended { until, hung_up } => {
                        if !*hung_up {
                            *until = at + REMEMBERED;
                        }
                        "late"
                    }
                    State::Unknown => unreachable!("it has just begun"),
                };
                self.transcript.verdicts.push((at, *key, verdict));
            }
            What::HangUp => match &mut self.state {
                State::Walking(walk) => walk.end(self.tree, at, "hangup", "hangup"),
                State::Ended { until, hung_up } => {
                    (*until, *hung_up) = (at + REMEMBERED_HUNG_UP, true);
                }
                // Nobody has seen it begin, so nothing has ended.
                State::Unknown => (),
            },
        }
        self.look(at, matches!(what, What::HangUp));
    }

    fn begin(&mut self, at: u64, facts: [Option<String>; 3]) {
        self.state = State::Walking(Box::new(Walk::begin(self.tree, &self.id, at, facts)));
    }

    /// Plays deadlines until so much has been seen.
    pub(crate) fn pass_until_seen(&mut self, seen: usize) {
        while let State::Walking(walk) = &self.state
            && self.transcript.seen.len() < seen
        {
            let (due, _) = walk.next_deadline(self.tree);
            self.pass_time(due);
        }
    }

    /// The process that held the call has ended, and another goes on with what was kept (SPEC.md section
    /// 6): no digit of a masked entry. A node whose entry was not kept begins again, counters kept.
    pub(crate) fn restart(&mut self, at: u64) {
        let State::Walking(walk) = &mut self.state else { return };
        for (_, value, is_raw) in &mut walk.variables {
            if std::mem::take(is_raw) {
                *value = LOST.to_owned();
            }
        }
        for (_, raw, shown) in &mut walk.named {
            if raw != shown {
                *raw = LOST.to_owned();
            }
        }
        if walk.hides_entry(self.tree) {
            walk.buffer.clear();
            (walk.first_digit, walk.trailing) = (None, None);
            (walk.attempt_began, walk.is_opening) = (at, false);
            walk.wait_for_first(self.tree, at, self.tree.node(walk.node).timing.prompt_ms);
        }
    }

    /// Takes over what the walk has told, and notices that it has ended.
    fn look(&mut self, at: u64, hung_up: bool) {
        let State::Walking(walk) = &mut self.state else { return };
        self.transcript.seen.append(&mut walk.seen);
        if walk.has_ended {
            let raw = walk.variables.iter().filter(|(.., is_raw)| *is_raw);
            self.raw = raw.map(|(name, ..)| name.clone()).collect();
            let until = at + if hung_up { REMEMBERED_HUNG_UP } else { REMEMBERED };
            self.state = State::Ended { until, hung_up };
        }
    }
}

struct Walk {
    id: String,
    began: u64,
    interaction: Option<String>,
    from: Option<String>,
    to: Option<String>,
    node: usize,
    buffer: String,
    /// When the node was entered or the last attempt failed.
    attempt_began: u64,
    /// Whether this is the root's first entry, which has no guard.
    is_opening: bool,
    /// When the first digit of the attempt came, for `maxMs`.
    first_digit: Option<u64>,
    /// The wait for the next digit; `None` is for ever.
    wait: Option<u64>,
    no_inputs: u32,
    no_matches: u32,
    /// Entries as shown, with labels.
    path: Vec<(String, String)>,
    /// Nodes that were left, with the path's length before.
    back: Vec<(usize, usize)>,
    /// Names, values, and whether a masked entry is in them in clear.
    variables: Vec<(String, String, bool)>,
    /// Names of entries: the slot, the entry, as shown.
    named: Vec<(u32, String, String)>,
    /// The last commit: the entry as shown, its label.
    last: Option<(String, String)>,
    trailing: Option<(char, u64)>,
    /// Keys and times of the events that passed the filters.
    events: Vec<(char, u64)>,
    entries: u32,
    has_ended: bool,
    seen: Vec<Seen>,
}

/// What a value tells beside the walk.
struct Moment<'a> {
    now: u64,
    label: &'a str,
    outcome: &'a str,
    reason: &'a str,
}

impl Walk {
    fn begin(tree: &Tree<'_>, id: &str, now: u64, facts: [Option<String>; 3]) -> Walk {
        let [interaction, from, to] = facts;
        let root = root_of(tree, to.as_deref());
        let mut walk = Walk {
            id: id.to_owned(),
            began: now,
            interaction,
            from,
            to,
            node: root,
            buffer: String::new(),
            attempt_began: now,
            is_opening: true,
            first_digit: None,
            wait: None,
            no_inputs: 0,
            no_matches: 0,
            path: Vec::new(),
            back: Vec::new(),
            variables: Vec::new(),
            named: Vec::new(),
            last: None,
            trailing: None,
            events: Vec::new(),
            entries: 0,
            has_ended: false,
            seen: Vec::new(),
        };
        walk.enter(tree, now, root, "");
        walk.is_opening = true;
        walk
    }

    /// What a second start of the call tells: what was known before stays.
    fn learn(&mut self, [interaction, from, to]: [Option<String>; 3]) {
        self.interaction = self.interaction.take().or(interaction);
        self.from = self.from.take().or(from);
        self.to = self.to.take().or(to);
    }

    /// Whether the entry is, or may become, that of a masked node: no digit of it is kept.
    fn hides_entry(&self, tree: &Tree<'_>) -> bool {
        let node = tree.node(self.node);
        // A menu hands on what a commit leaves over.
        let leaves_over = || node.is_menu() && self.longest_complete(tree) < Some(self.buffer.len());
        let may_be_masked = || tree.ivr.nodes.iter().any(|node| node.mask != Mask::Off);
        let is_handed_on = || self.longest_complete(tree).is_some() && leaves_over() && may_be_masked();
        !self.buffer.is_empty() && (node.mask != Mask::Off || is_handed_on())
    }

    fn interaction(&self) -> &str {
        self.interaction.as_deref().unwrap_or(&self.id)
    }

    /// When the next deadline is due, and whether it is `callMs`.
    fn next_deadline(&self, tree: &Tree<'_>) -> (u64, bool) {
        let limit = self.began + tree.ivr.limits.call_ms;
        let max_ms = tree.node(self.node).timing.max_ms;
        let mut due = limit;
        let mut is_limit = true;
        let cap = self.first_digit.filter(|_| max_ms > 0).map(|first| first + max_ms);
        for other in [self.wait, cap].into_iter().flatten() {
            if other < due {
                due = other;
                is_limit = false;
            }
        }
        (due, is_limit)
    }

    /// A key that the stream brought.
    fn key(&mut self, tree: &Tree<'_>, now: u64, key: char, stamp: Option<u64>) -> &'static str {
        if let Some(stamp) = stamp {
            let replay = self.events.iter().rev().take(16).any(|&event| event == (key, stamp));
            let bounce = self.events.last().is_some_and(|&(previous, time)| {
                previous == key && time.abs_diff(stamp) < tree.ivr.bounce_ms * 1000
            });
            if replay || bounce {
                return "duplicate";
            }
        }
        self.digit(tree, now, key, stamp, false)
    }

    /// Filters 3 to 5, and the match.
    fn digit(
        &mut self,
        tree: &Tree<'_>,
        now: u64,
        key: char,
        stamp: Option<u64>,
        is_fed: bool,
    ) -> &'static str {
        if self.has_ended {
            return "late";
        }
        let node = tree.node(self.node);
        if let Some((trailing, until)) = self.trailing.take() {
            let begins = key.to_string();
            let begins = tree.complete(self.node, &begins) || tree.extendable(self.node, &begins);
            if !is_fed && key == trailing && now <= until && !begins {
                return "trailing_end_key";
            }
        }
        if !self.is_opening && now < self.attempt_began + node.timing.guard_ms {
            return "guarded";
        }
        // "Accepted" events: those that passed the filters, whatever the node made of them.
        self.events.extend(stamp.map(|stamp| (key, stamp)));
        if tree.end_key(self.node) == Some(key) {
            let may_be_empty = tree.entry(self.node).is_some_and(|entry| entry.min == 0);
            let complete =
                if self.buffer.is_empty() { may_be_empty } else { tree.complete(self.node, &self.buffer) };
            if complete {
                let entry = self.buffer.clone();
                return self.commit(tree, now, &entry, true);
            }
            return self.no_match(tree, now, "incomplete", true);
        }
        if tree.cancel_key(self.node) == Some(key) {
            if self.buffer.is_empty() {
                self.go(tree, now, &Target::Back, "", None);
            } else {
                self.buffer.clear();
                self.first_digit = None;
                self.wait_for_first(tree, now, 0);
            }
            return "accepted";
        }
        let longer = format!("{}{key}", self.buffer);
        match (tree.complete(self.node, &longer), tree.extendable(self.node, &longer)) {
            (false, false) => match self.longest_complete(tree).filter(|_| node.is_menu()) {
                Some(len) => {
                    let entry = longer[..len].to_owned();
                    self.commit(tree, now, &entry, false);
                    self.feed(tree, now, &longer[len..])
                }
                None => self.no_match(tree, now, "invalid", true),
            },
            (true, false) => self.commit(tree, now, &longer, false),
            (true, true) if node.timing.decide_ms == 0 => self.commit(tree, now, &longer, false),
            (is_complete, true) => {
                self.buffer = longer;
                self.first_digit.get_or_insert(now);
                let Timing { inter_digit_ms, decide_ms, .. } = node.timing;
                self.wait = Some(now + if is_complete { decide_ms } else { inter_digit_ms });
                "accepted"
            }
        }
    }

    fn feed(&mut self, tree: &Tree<'_>, now: u64, keys: &str) -> &'static str {
        let mut verdict = "accepted";
        for key in keys.chars() {
            verdict = self.digit(tree, now, key, None, true);
        }
        verdict
    }

    fn longest_complete(&self, tree: &Tree<'_>) -> Option<usize> {
        (1..=self.buffer.len()).filter(|&len| tree.complete(self.node, &self.buffer[..len])).max()
    }

    fn deadline(&mut self, tree: &Tree<'_>, now: u64) {
        let buffer = self.buffer.clone();
        if buffer.is_empty() {
            self.fail(tree, now, &tree.node(self.node).no_input, "noinput");
        } else if tree.node(self.node).is_menu() {
            match self.longest_complete(tree) {
                Some(len) => {
                    self.commit(tree, now, &buffer[..len], false);
                    self.feed(tree, now, &buffer[len..]);
                }
                None => drop(self.no_match(tree, now, "incomplete", false)),
            }
        } else if tree.complete(self.node, &buffer) {
            self.commit(tree, now, &buffer, false);
        } else {
            self.no_match(tree, now, "incomplete", false);
        }
    }

    fn commit(&mut self, tree: &Tree<'_>, now: u64, text: &str, by_end_key: bool) -> &'static str {
        let node = tree.node(self.node);
        let (label, target, set) = match &node.content {
            Content::Entry(entry) => {
                let number = text.parse::<u128>().ok();
                let in_range = entry.range.is_none_or(|(least, greatest)| {
                    number.is_some_and(|number| number >= least && number <= greatest)
                });
                if !text.is_empty() && !(in_range && (!entry.luhn || luhn(text))) {
                    return self.no_match(tree, now, "check", false);
                }
                self.named.retain(|&(slot, ..)| slot != entry.slot.0);
                self.named.push((entry.slot.0, text.to_owned(), shown(text, node.mask)));
                (&node.label, &entry.target, &node.set)
            }
            Content::Menu(choices) => {
                let mut best = None;
                for (index, places) in tree.menus[self.node].iter().enumerate() {
                    let wildcards = places.iter().filter(|symbols| symbols.len() > 1).count();
                    if fits(places, text) && best.is_none_or(|(fewest, _)| wildcards < fewest) {
                        best = Some((wildcards, index));
                    }
                }
                let choice = &choices[best.expect("it is complete").1];
                (&choice.label, &choice.target, &choice.set)
            }
            Content::End(_) => unreachable!("an end takes no digit"),
        };
        self.trailing = None;
        if let Some(key) = tree.end_key(self.node).filter(|_| !by_end_key) {
            self.trailing = Some((key, now + node.timing.inter_digit_ms));
        }
        let committed = (shown(text, node.mask), label.to_string());
        self.last = Some(committed.clone());
        self.assign(tree, set, &Moment { now, label, outcome: outcome_of(target), reason: "" });
        self.go(tree, now, target, "", Some(committed));
        "accepted"
    }

    fn no_match(&mut self, tree: &Tree<'_>, now: u64, why: &'static str, by_digit: bool) -> &'static str {
        let node = tree.node(self.node);
        match &node.no_match {
            None if by_digit => (),
            None => self.fail(tree, now, &node.no_input, "noinput"),
            Some(handler) => self.fail(tree, now, handler, why),
        }
        why
    }

    /// A failed attempt.
    fn fail(&mut self, tree: &Tree<'_>, now: u64, handler: &Handler, reason: &'static str) {
        self.buffer.clear();
        self.first_digit = None;
        let counter = if reason == "noinput" { &mut self.no_inputs } else { &mut self.no_matches };
        *counter += 1;
        if *counter == handler.tries {
            let (label, outcome) = (&tree.node(self.node).label, outcome_of(&handler.target));
            self.assign(tree, &handler.set, &Moment { now, label, outcome, reason });
            self.go(tree, now, &handler.target, reason, None);
        } else {
            self.attempt_began = now;
            self.is_opening = false;
            self.wait_for_first(tree, now, tree.node(self.node).timing.prompt_ms);
            let attempt = self.attempt();
            self.seen.push(Seen::Entered { at: now, node: self.node, attempt, reason });
        }
    }

    fn attempt(&self) -> u32 {
        1 + self.no_inputs + self.no_matches
    }

    fn wait_for_first(&mut self, tree: &Tree<'_>, now: u64, prompt_ms: u64) {
        let first_digit_ms = tree.node(self.node).timing.first_digit_ms;
        self.wait = (first_digit_ms > 0).then(|| now + prompt_ms + first_digit_ms);
    }

    fn go(
        &mut self,
        tree: &Tree<'_>,
        now: u64,
        target: &Target,
        reason: &'static str,
        committed: Option<(String, String)>,
    ) {
        match target {
            Target::Node(id) => {
                self.back.push((self.node, self.path.len()));
                self.path.extend(committed);
                self.enter(tree, now, id.0 as usize, reason);
            }
            Target::Back => match self.back.pop() {
                Some((node, len)) => {
                    self.path.truncate(len);
                    self.enter(tree, now, node, reason);
                }
                None => self.enter(tree, now, self.node, reason),
            },
            Target::Root => {
                self.back.clear();
                self.path.clear();
                self.enter(tree, now, root_of(tree, self.to.as_deref()), reason);
            }
            Target::Again => self.enter(tree, now, self.node, reason),
            Target::End(outcome) => {
                self.path.extend(committed);
                self.end(tree, now, outcome, reason);
            }
        }
    }

    fn enter(&mut self, tree: &Tree<'_>, now: u64, id: usize, reason: &'static str) {
        if self.entries == tree.ivr.limits.steps {
            self.end(tree, now, "limit", "limit");
            return;
        }
        self.entries += 1;
        self.node = id;
        self.buffer.clear();
        self.first_digit = None;
        self.no_inputs = 0;
        self.no_matches = 0;
        self.attempt_began = now;
        self.is_opening = false;
        let node = tree.node(id);
        self.wait_for_first(tree, now, node.timing.prompt_ms);
        self.seen.push(Seen::Entered { at: now, node: id, attempt: 1, reason });
        match &node.content {
            Content::Menu(_) => {
                let moment = Moment { now, label: &node.label, outcome: "", reason };
                self.assign(tree, &node.set, &moment);
            }
            // Its own are written when a good entry was given.
            Content::Entry(_) => (),
            Content::End(outcome) => {
                let moment = Moment { now, label: &node.label, outcome, reason };
                self.assign(tree, &node.set, &moment);
                self.end(tree, now, outcome, reason);
            }
        }
    }

    fn end(&mut self, tree: &Tree<'_>, now: u64, outcome: &str, reason: &'static str) {
        self.has_ended = true;
        self.seen.push(Seen::Ended { at: now, node: self.node, outcome: outcome.to_owned(), reason });
        match &tree.ivr.on_end {
            Some(on_end) if reason != "hangup" || on_end.hangup => {
                let label = match &self.last {
                    Some((_, label)) => label.clone(),
                    None => tree.node(self.node).label.to_string(),
                };
                self.assign(tree, &on_end.set, &Moment { now, label: &label, outcome, reason });
            }
            None if reason != "hangup" => {
                if reason.is_empty() {
                    let keys = self.keys();
                    self.write("ivr_selection", keys, false);
                }
                self.write("ivr_status", outcome.to_owned(), false);
            }
            Some(_) | None => return,
        }
        let variables: Vec<_> =
            self.variables.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect();
        if !variables.is_empty() {
            self.seen.push(Seen::Wrote { at: now, interaction: self.interaction().to_owned(), variables });
        }
    }

    fn keys(&self) -> String {
        let entries: Vec<_> = self.path.iter().map(|(entry, _)| format!("\"{entry}\"")).collect();
        format!("[{}]", entries.join(","))
    }

    fn write(&mut self, name: &str, value: String, is_raw: bool) {
        self.variables.retain(|(written, ..)| written != name);
        // A value that lacks a part is lost as a whole.
        let value = if value.contains(LOST) { LOST.to_owned() } else { value };
        self.variables.push((name.to_owned(), value, is_raw));
    }

    fn assign(&mut self, tree: &Tree<'_>, set: &[Assignment], moment: &Moment<'_>) {
        for Assignment { name, value } in set {
            let is_masked =
                |slot: u32| self.named.iter().any(|(name, raw, shown)| *name == slot && raw != shown);
            let is_raw =
                value.0.iter().any(|piece| matches!(piece, Piece::RawSlot(slot) if is_masked(slot.0)));
            let value: String = value.0.iter().map(|piece| self.expand(tree, piece, moment)).collect();
            self.write(name, value, is_raw);
        }
    }

    fn expand(&self, tree: &Tree<'_>, piece: &Piece, moment: &Moment<'_>) -> String {
        let named = |slot: u32| self.named.iter().find(|(name, ..)| *name == slot);
        match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Digits => self.last.as_ref().map_or(String::new(), |(entry, _)| entry.clone()),
            Piece::Label => moment.label.to_owned(),
            Piece::Node => tree.node(self.node).name.to_string(),
            Piece::Outcome => moment.outcome.to_owned(),
            Piece::Reason => moment.reason.to_owned(),
            Piece::Attempt => self.attempt().to_string(),
            Piece::CallId => self.id.clone(),
            Piece::Interaction => self.interaction().to_owned(),
            Piece::From => self.from.clone().unwrap_or_default(),
            Piece::To => self.to.clone().unwrap_or_default(),
            Piece::Path => {
                let labels: Vec<_> = self.path.iter().map(|(_, label)| label.as_str()).collect();
                labels.join(" > ")
            }
            Piece::Keys => self.keys(),
            Piece::ElapsedMs => (moment.now - self.began).to_string(),
            Piece::Slot(slot) => named(slot.0).map_or(String::new(), |(_, _, shown)| shown.clone()),
            Piece::RawSlot(slot) => named(slot.0).map_or(String::new(), |(_, raw, _)| raw.clone()),
        }
    }
}

fn root_of(tree: &Tree<'_>, to: Option<&str>) -> usize {
    let entry = tree.ivr.entries.iter().find(|(number, _)| Some(&**number) == to);
    entry.map_or(tree.ivr.root, |(_, node)| *node).0 as usize
}

/// `{outcome}` where it is taken: what the walk ends with there, if it does.
fn outcome_of(target: &Target) -> &str {
    match target {
        Target::End(outcome) => outcome,
        Target::Node(_) | Target::Back | Target::Root | Target::Again => "",
    }
}
