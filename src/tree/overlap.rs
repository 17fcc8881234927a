//! How the choices of one menu stand to each other: which match a common entry, which begin alike,
//! which can never win.
//!
//! All patterns of a menu are in one trie whose edges are sets of keys, so that a menu of a thousand
//! extensions is not compared pair by pair. Looking at all menus of a file is bounded by a [`Budget`]:
//! past it, choices count as neither overlapping nor shadowed. The engine is safe with both (fewest
//! wildcards, then file order); a file that needs more was made to.

use std::cell::Cell;
use std::collections::HashMap;

use crate::engine::{KeySet, Pattern};

/// How many more steps through tries one load may take.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Default for Budget {
    /// Some hundred milliseconds; a menu of 10 000 extensions takes a tenth of it.
    fn default() -> Budget {
        Budget(Cell::new(20_000_000))
    }
}

/// The patterns of one menu.
#[derive(Debug)]
pub(super) struct Patterns<'p> {
    patterns: &'p [&'p Pattern],
    nodes: Vec<TrieNode>,
    budget: &'p Budget,
}

#[derive(Debug, Default)]
struct TrieNode {
    edges: Vec<(KeySet, usize)>,
    /// The patterns that end here.
    ends: Vec<usize>,
    /// The first pattern that ends further on.
    beyond: Option<usize>,
}

impl<'p> Patterns<'p> {
    /// Takes in the patterns of a menu, in their order.
    pub(super) fn new(patterns: &'p [&'p Pattern], budget: &'p Budget) -> Patterns<'p> {
        let mut nodes = vec![TrieNode::default()];
        let mut edges = HashMap::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let mut at = 0;
            for &keys in &pattern.0 {
                nodes[at].beyond.get_or_insert(index);
                at = *edges.entry((at, keys)).or_insert_with(|| {
                    nodes.push(TrieNode::default());
                    let new = nodes.len() - 1;
                    nodes[at].edges.push((keys, new));
                    new
                });
            }
            nodes[at].ends.push(index);
        }
        Patterns { patterns, nodes, budget }
    }

    /// Returns the first pattern before `index` that matches a common entry and has as many wildcards.
    pub(super) fn overlapping(&self, index: usize) -> Option<usize> {
        let wildcards = self.patterns[index].wildcards();
        let mut found: Option<usize> = None;
        self.visit(index, &mut |depth, node| {
            if depth == self.patterns[index].0.len() {
                let alike = |&&other: &&usize| other < index && self.patterns[other].wildcards() == wildcards;
                // Ends are in order: the first that fits is the least.
                found = found.into_iter().chain(node.ends.iter().find(alike).copied()).min();
            }
        });
        found
    }

    /// Returns the first longer pattern that begins with an entry of `index`.
    pub(super) fn longer(&self, index: usize) -> Option<usize> {
        let mut found: Option<usize> = None;
        self.visit(index, &mut |depth, node| {
            if depth == self.patterns[index].0.len() {
                found = found.into_iter().chain(node.beyond).min();
            }
        });
        found
    }

    /// Returns the patterns that take every entry of `index`, where there are such: more specific
    /// ones, and where a complete entry commits at once (`decideMs` 0) also shorter ones.
    ///
    /// This is exact, but for menus that take too long to look through: then there are none.
    pub(super) fn shadows(&self, index: usize, commits_at_once: bool) -> Option<Vec<usize>> {
        let pattern = self.patterns[index];
        let wildcards = pattern.wildcards();
        let mut blockers = Vec::new();
        self.visit(index, &mut |depth, node| {
            if depth == pattern.0.len() {
                let beats = |&&other: &&usize| self.patterns[other].wildcards() < wildcards;
                blockers.extend(node.ends.iter().filter(beats));
            } else if commits_at_once {
                blockers.extend(&node.ends);
            }
        });
        blockers.sort_unstable();
        let covered: f64 = blockers.iter().map(|&other| share(self.patterns[other], pattern)).sum();
        // Together they must match at least as many entries; the margin is for rounding.
        (covered > 1.0 - 1e-6 && self.covers(pattern, 0, &blockers)).then_some(blockers)
    }

    /// Returns whether a pattern is shorter than another one.
    pub(super) fn is_shorter(&self, index: usize, than: usize) -> bool {
        self.patterns[index].0.len() < self.patterns[than].0.len()
    }

    /// Returns whether each entry of `pattern` is one of `blockers`, all of which match its first
    /// `depth` keys.
    fn covers(&self, pattern: &Pattern, depth: usize, blockers: &[usize]) -> bool {
        if !self.may_visit(blockers.len() + 1) || blockers.is_empty() {
            return false;
        }
        if blockers.iter().any(|&other| self.patterns[other].0.len() == depth) {
            return true;
        }
        let Some(&keys) = pattern.0.get(depth) else { return true };
        let mut last: Option<Vec<usize>> = None;
        keys.iter().all(|key| {
            let holds = |&&other: &&usize| self.patterns[other].0[depth].contains(key);
            let left: Vec<usize> = blockers.iter().filter(holds).copied().collect();
            // Neighbouring keys mostly leave the same ones: the answer is the one just found.
            if last.as_ref() == Some(&left) {
                return true;
            }
            let covers = self.covers(pattern, depth + 1, &left);
            last = Some(left);
            covers
        })
    }

    /// Calls `f` with each trie node that an entry of `index` passes, and how deep it is.
    fn visit(&self, index: usize, f: &mut dyn FnMut(usize, &TrieNode)) {
        let places = &self.patterns[index].0;
        let mut open = vec![(0, 0)];
        while let Some((depth, at)) = open.pop() {
            let node = &self.nodes[at];
            if !self.may_visit(1 + node.edges.len()) {
                return;
            }
            f(depth, node);
            if let Some(&keys) = places.get(depth) {
                let meets = |(edge, _): &&(KeySet, usize)| !edge.intersection(keys).is_empty();
                open.extend(node.edges.iter().filter(meets).map(|&(_, next)| (depth + 1, next)));
            }
        }
    }

    fn may_visit(&self, steps: usize) -> bool {
        let left = self.budget.0.get().checked_sub(steps);
        self.budget.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// Returns which part of the entries of `pattern` begin with one of `other`.
fn share(other: &Pattern, pattern: &Pattern) -> f64 {
    let parts = pattern.0.iter().zip(&other.0);
    parts.map(|(keys, others)| keys.intersection(*others).len() as f64 / keys.len() as f64).product()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::Digits;
    use crate::tree::pattern::parse;

    fn with<R>(texts: &[&str], look: impl FnOnce(&Patterns<'_>) -> R) -> R {
        let patterns: Vec<Pattern> = texts.iter().map(|text| parse(text).unwrap()).collect();
        look(&Patterns::new(&patterns.iter().collect::<Vec<_>>(), &Budget::default()))
    }

    #[test]
    fn finds_choices_that_match_a_common_entry_alike() {
        for (texts, expected) in [
            (&["1", "2"][..], None),
            (&["1", "1"], Some(0)),
            (&["1X", "X1"], Some(0)),
            (&["1", "X"], None),
            (&["1X", "2X"], None),
            (&["1X", "1XX"], None),
            (&["9", "[1-3]", "[3-5]"], Some(1)),
            (&["9", "1", "[1]"], Some(1)),
            (&["XX1", "X1X"], Some(0)),
            (&["XX1", "XX"], None),
        ] {
            let actual = with(texts, |patterns| patterns.overlapping(texts.len() - 1));
            assert_eq!(expected, actual, "{texts:?}");
        }
    }

    #[test]
    fn finds_what_a_choice_has_to_wait_for() {
        for (texts, expected) in [
            (&["1", "10"][..], Some(1)),
            (&["1", "2", "1X5"], Some(2)),
            (&["X", "20"], Some(1)),
            (&["3", "20"], None),
            (&["10", "1"], None),
        ] {
            assert_eq!(expected, with(texts, |patterns| patterns.longer(0)), "{texts:?}");
        }
    }

    #[test]
    fn finds_choices_that_can_never_win() {
        for (texts, at_once, expected) in [
            (&["X", "1"][..], false, None),
            (&["[12]", "1", "2"], false, Some(vec![1, 2])),
            (&["X", "[0-4]", "[5-9]"], false, None),
            (&["X", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], false, Some((1..=10).collect())),
            (&["1[12]", "11", "12"], false, Some(vec![1, 2])),
            (&["[12][34]", "1[34]", "2[34]"], false, Some(vec![1, 2])),
            (&["[12][34]", "1[34]", "23"], false, None),
            (&["10", "1"], false, None),
            (&["10", "1"], true, Some(vec![1])),
            (&["XX", "1"], true, None),
            (&["XX", "[0-4]", "[5-9]"], true, Some(vec![1, 2])),
        ] {
            assert_eq!(expected, with(texts, |patterns| patterns.shadows(0, at_once)), "{texts:?} {at_once}");
        }
    }

    #[test]
    fn looks_through_a_hostile_menu_in_bounded_time() {
        let texts: Vec<String> = (0..3000u32)
            .map(|n| (0..12).map(|bit| if n >> bit & 1 == 0 { "[12]" } else { "[123]" }).collect())
            .collect();
        let patterns: Vec<Pattern> = texts.iter().map(|text| parse(text).unwrap()).collect();
        let patterns: Vec<&Pattern> = patterns.iter().collect();
        let budget = Budget::default();
        let menu = Patterns::new(&patterns, &budget);
        for index in 0..patterns.len() {
            menu.overlapping(index);
            menu.longer(index);
            menu.shadows(index, true);
        }
        assert_eq!(0, budget.0.get());
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_entry(
            texts in prop::collection::vec("[12X]{1,3}|[\\[]12[\\]][12]", 1..6),
            at_once: bool,
        ) {
            let patterns: Vec<Pattern> = texts.iter().map(|text| parse(text).unwrap()).collect();
            let all: Vec<&Pattern> = patterns.iter().collect();
            let budget = Budget::default();
            let menu = Patterns::new(&all, &budget);
            let mut every = vec![Digits::EMPTY];
            for _ in 0..all[0].0.len() {
                let keys = KeySet::DECIMAL;
                every = every.iter().flat_map(|entry| keys.iter().filter_map(|key| entry.pushed(key))).collect();
            }
            every.retain(|&entry| all[0].matches(entry));
            let wildcards = all[0].wildcards();
            let blocked = |entry: Digits| {
                all[1..].iter().any(|other| {
                    other.matches(entry) && other.wildcards() < wildcards
                        || at_once && (1..entry.len()).any(|length| other.matches(entry.prefix(length)))
                })
            };
            let shadowed = every.iter().all(|&entry| blocked(entry));
            prop_assert_eq!(shadowed, menu.shadows(0, at_once).is_some());
            let longer = every.iter().any(|&entry| all.iter().any(|other| other.extends(entry)));
            prop_assert_eq!(longer, menu.longer(0).is_some());
            let last = all.len() - 1;
            let meets = |other: &Pattern| {
                other.0.len() == all[last].0.len()
                    && other.wildcards() == all[last].wildcards()
                    && other.0.iter().zip(&all[last].0).all(|(a, b)| !a.intersection(*b).is_empty())
            };
            let first = all[..last].iter().position(|other| meets(other));
            prop_assert_eq!(first, menu.overlapping(last));
        }
    }
}
