//! The tree: valid by construction, nodes by index, and the two questions that everything follows
//! from: is an entry *complete*, and is it *extendable*?

use std::fmt;
use std::sync::Arc;

use super::key::{Digits, Key, KeySet};

/// A node of one tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

/// The name of a good entry (`collect.as`) in one tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotId(pub u32);

/// Names a tree by what is written in its file: the same text is the same tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Version(pub u128);

impl fmt::Display for Version {
    /// Writes the first eight hexadecimal digits: enough to tell the trees of one house apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

/// A tree that a call can walk. `tree::load` makes one of `ivr.json`; IVR.md says what it means.
#[derive(PartialEq, Eq, Debug)]
pub struct Ivr {
    /// Its name.
    pub version: Version,
    /// Its file's text, which is kept as long as calls walk it.
    pub text: Arc<str>,
    /// The nodes, by [`NodeId`].
    pub nodes: Box<[Node]>,
    /// Where a call begins.
    pub root: NodeId,
    /// Where a call to this number begins instead.
    pub entries: Box<[(Box<str>, NodeId)]>,
    /// Names of good entries, by [`SlotId`].
    pub slots: Box<[Box<str>]>,
    /// What ends every walk.
    pub limits: Limits,
    /// What is written at a walk's end; `None` writes what the seed wrote.
    pub on_end: Option<OnEnd>,
    /// The same key again within this many milliseconds is a bounce.
    pub bounce_ms: u64,
}

/// What ends every walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest a walk may take, in milliseconds.
    pub call_ms: u64,
    /// The most node entries a walk may have.
    pub steps: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { call_ms: 600_000, steps: 100 }
    }
}

/// What is written at a walk's end.
#[derive(PartialEq, Eq, Debug)]
pub struct OnEnd {
    /// The variables.
    pub set: Box<[Assignment]>,
    /// Whether a hang-up writes them too.
    pub hangup: bool,
}

/// One place in the tree.
#[derive(PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name in the file.
    pub name: Box<str>,
    /// What people call it: its label, else its name.
    pub label: Arc<str>,
    /// What it is.
    pub content: Content,
    /// How long it waits for what.
    pub timing: Timing,
    /// Ends an entry; never stored.
    pub end_key: Option<Key>,
    /// What happens when nothing was pressed.
    pub no_input: Handler,
    /// What happens when what was pressed is not valid; `None` ignores it.
    pub no_match: Option<Handler>,
    /// How its entries are shown.
    pub mask: Mask,
    /// What is written when the walk enters it, or for an entry once it is good.
    pub set: Box<[Assignment]>,
}

/// What a node is.
#[derive(PartialEq, Eq, Debug)]
pub enum Content {
    /// A menu: choices, in file order, those of `keys` last.
    Menu(Box<[Choice]>),
    /// An entry: an account number, a PIN.
    Entry(Box<Entry>),
    /// The walk ends here with this outcome.
    End(Arc<str>),
}

/// What may be entered in a menu, and where it leads.
#[derive(PartialEq, Eq, Debug)]
pub struct Choice {
    /// What may be entered.
    pub pattern: Pattern,
    /// Its own label, else the node's.
    pub label: Arc<str>,
    /// Where it leads.
    pub target: Target,
    /// What is written when it is taken.
    pub set: Box<[Assignment]>,
}

/// The set of entries of a `collect`.
#[derive(PartialEq, Eq, Debug)]
pub struct Entry {
    /// The fewest keys of a good entry; 0 lets the end key commit an empty one.
    pub min: usize,
    /// The most keys of a good entry, at most [`Digits::MAX`].
    pub max: usize,
    /// The keys it may hold.
    pub digits: KeySet,
    /// What it must match, if anything: each within `min`, `max` and `digits` already.
    pub patterns: Option<Box<[Pattern]>>,
    /// Clears the entry, or leads back where there is none.
    pub cancel_key: Option<Key>,
    /// Whether the Luhn checksum (ISO/IEC 7812-1 annex B) must hold.
    pub luhn: bool,
    /// The least and the greatest number it may be.
    pub range: Option<(u128, u128)>,
    /// The name under which templates find it.
    pub slot: SlotId,
    /// Where a good entry leads.
    pub target: Target,
}

/// What matches an entry, key by key: at least one, at most [`Digits::MAX`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(pub Box<[KeySet]>);

impl Pattern {
    /// Returns how many places stand for more than one key.
    pub fn wildcards(&self) -> usize {
        self.0.iter().filter(|keys| keys.len() > 1).count()
    }

    /// Returns whether the pattern's first keys match all of `entry`.
    fn begins_with(&self, entry: Digits) -> bool {
        self.0.len() >= entry.len() && entry.iter().zip(&self.0).all(|(key, keys)| keys.contains(key))
    }

    /// Returns whether the pattern matches `entry`.
    pub fn matches(&self, entry: Digits) -> bool {
        self.0.len() == entry.len() && self.begins_with(entry)
    }

    /// Returns whether something longer that begins with `entry` matches the pattern.
    pub fn extends(&self, entry: Digits) -> bool {
        self.0.len() > entry.len() && self.begins_with(entry)
    }
}

/// Where a choice, an entry or a handler leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a node.
    Node(NodeId),
    /// To where the walk came from.
    Back,
    /// To where it began.
    Root,
    /// To the node it stands in, as if entered for the first time.
    Again,
    /// To the end, with this outcome.
    End(Arc<str>),
}

/// How long a node waits for what, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How long its announcement lasts: the wait for the first digit begins after it.
    pub prompt_ms: u64,
    /// How long it waits for the first digit of an attempt; 0 is for ever.
    pub first_digit_ms: u64,
    /// How long it waits while the entry is not complete.
    pub inter_digit_ms: u64,
    /// How long it waits while the entry is complete but could still grow.
    pub decide_ms: u64,
    /// The longest from the first digit of an attempt to its end; 0 is no limit.
    pub max_ms: u64,
    /// Digits earlier than this after the node was entered, or after a failed attempt, are dropped.
    pub guard_ms: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            prompt_ms: 0,
            first_digit_ms: 10_000,
            inter_digit_ms: 3_000,
            decide_ms: 3_000,
            max_ms: 0,
            guard_ms: 0,
        }
    }
}

/// What happens after failed attempts.
#[derive(PartialEq, Eq, Debug)]
pub struct Handler {
    /// How many failed attempts there may be: the last of them leads to `target`.
    pub tries: u32,
    /// Where the last failed attempt leads.
    pub target: Target,
    /// What is written then.
    pub set: Box<[Assignment]>,
}

/// How the entries of a node are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mask {
    /// As they are.
    Off,
    /// As `[masked]`.
    All,
    /// As `…` and this many digits where the entry has at least three times as many, else `[masked]`.
    Last(usize),
}

/// A variable to be written.
#[derive(PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Its name.
    pub name: Arc<str>,
    /// Its value, expanded when it is written.
    pub value: Template,
}

/// A value with names in it, expanded at the moment it is written.
#[derive(PartialEq, Eq, Debug)]
pub struct Template(pub Box<[Piece]>);

/// A part of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Written as it is.
    Text(Box<str>),
    /// `{digits}`: the entry just committed, as shown.
    Digits,
    /// `{label}`: of the choice taken, else the node's, else its name.
    Label,
    /// `{node}`.
    Node,
    /// `{outcome}`.
    Outcome,
    /// `{reason}`.
    Reason,
    /// `{attempt}`: 1 + failed attempts here.
    Attempt,
    /// `{callId}`.
    CallId,
    /// `{interaction}`.
    Interaction,
    /// `{from}`.
    From,
    /// `{to}`.
    To,
    /// `{path}`: labels joined by ` > `.
    Path,
    /// `{keys}`: entries as compact JSON.
    Keys,
    /// `{elapsedMs}`: since the call began.
    ElapsedMs,
    /// The name of an `as`: the entry, as shown.
    Slot(SlotId),
    /// The name of an `as` with `!raw`: the entry in clear.
    RawSlot(SlotId),
}

impl Ivr {
    /// Returns a node.
    ///
    /// # Panics
    ///
    /// Panics if `id` is another tree's.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Returns where a call to the number `to` begins.
    pub fn entry(&self, to: Option<&str>) -> NodeId {
        to.and_then(|to| self.entries.iter().find(|(number, _)| **number == *to))
            .map_or(self.root, |&(_, node)| node)
    }
}

impl Node {
    /// Returns whether `entry` is one of the node's entries.
    pub fn is_complete(&self, entry: Digits) -> bool {
        match &self.content {
            Content::Menu(choices) => choices.iter().any(|choice| choice.pattern.matches(entry)),
            Content::Entry(collect) => collect.is_complete(entry),
            Content::End(_) => false,
        }
    }

    /// Returns whether `entry` is a proper prefix of one of the node's entries.
    pub fn is_extendable(&self, entry: Digits) -> bool {
        match &self.content {
            Content::Menu(choices) => choices.iter().any(|choice| choice.pattern.extends(entry)),
            Content::Entry(collect) => collect.is_extendable(entry),
            Content::End(_) => false,
        }
    }

    /// Returns how long the longest prefix of `entry` is that is one of the node's entries.
    pub fn longest_complete(&self, entry: Digits) -> Option<usize> {
        (1..=entry.len()).rev().find(|&len| self.is_complete(entry.prefix(len)))
    }

    /// Returns the choice that `entry` takes: fewest wildcards, then file order.
    pub fn choice(&self, entry: Digits) -> Option<&Choice> {
        let Content::Menu(choices) = &self.content else { return None };
        // `min_by_key` gives the first of equals: file order.
        choices
            .iter()
            .filter(|choice| choice.pattern.matches(entry))
            .min_by_key(|choice| choice.pattern.wildcards())
    }

    /// Returns whether the node is a menu.
    pub fn is_menu(&self) -> bool {
        matches!(self.content, Content::Menu(_))
    }
}

impl Entry {
    fn holds(&self, entry: Digits) -> bool {
        entry.iter().all(|key| self.digits.contains(key))
    }

    fn is_complete(&self, entry: Digits) -> bool {
        (self.min..=self.max).contains(&entry.len())
            && self.holds(entry)
            && match &self.patterns {
                Some(patterns) => entry.is_empty() || patterns.iter().any(|pattern| pattern.matches(entry)),
                None => true,
            }
    }

    fn is_extendable(&self, entry: Digits) -> bool {
        entry.len() < self.max
            && self.holds(entry)
            && match &self.patterns {
                Some(patterns) => patterns.iter().any(|pattern| pattern.extends(entry)),
                None => !self.digits.is_empty(),
            }
    }

    /// Returns whether `entry` passes the check and the range. An empty entry is not checked.
    pub fn is_valid(&self, entry: Digits) -> bool {
        entry.is_empty()
            || (!self.luhn || luhn_holds(entry))
                && self.range.is_none_or(|(least, greatest)| {
                    number(entry).is_some_and(|number| (least..=greatest).contains(&number))
                })
    }
}

/// Returns the decimal number that the digits write; `None` where one is not `0-9`.
fn number(entry: Digits) -> Option<u128> {
    // 32 digits stay below 2^107, so this can't overflow.
    entry
        .iter()
        .try_fold(0u128, |number, key| (key.event() < 10).then(|| number * 10 + u128::from(key.event())))
}

/// Returns whether the Luhn checksum (ISO/IEC 7812-1 annex B) of the digits holds.
fn luhn_holds(entry: Digits) -> bool {
    let sum = entry.iter().rev().enumerate().try_fold(0u32, |sum, (place, key)| {
        let digit = u32::from(key.event());
        let doubled = digit * 2;
        let counted = match (place % 2, doubled > 9) {
            (0, _) => digit,
            (_, true) => doubled - 9,
            (_, false) => doubled,
        };
        (digit < 10).then_some(sum + counted)
    });
    sum.is_some_and(|sum| sum % 10 == 0)
}
