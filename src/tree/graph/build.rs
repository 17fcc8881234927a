//! From a tree to its [`Graph`].

use std::collections::{HashMap, HashSet};

use super::words::{entry, key_string};
use super::{By, Edge, Graph, Kind, Place, Rule, Start, To, Way};
use crate::engine::{Choice, Content, Ivr, KeySet, Mask, Node, NodeId, Target};

/// In how many nodes a handler is the same before it becomes a rule.
const NODES_OF_A_RULE: usize = 3;

/// The most keys that an exception names.
const KEYS_NAMED: usize = 4;

/// The choices of `keys`: which of them has these keys.
type Globals<'a> = HashMap<&'a [KeySet], usize>;

impl Graph {
    /// Returns the graph of a tree; `keys` are the choices of its `keys`.
    ///
    /// A choice of a menu that differs in nothing from one of `keys` counts as that.
    pub fn new(ivr: &Ivr, keys: &[Choice]) -> Graph {
        let globals: Globals<'_> = keys.iter().enumerate().map(|(key, way)| (&*way.pattern.0, key)).collect();
        let mut graph =
            Graph { starts: starts(ivr), nodes: Vec::new(), edges: Vec::new(), rules: Vec::new() };
        for (index, node) in ivr.nodes.iter().enumerate() {
            let first = graph.edges.len();
            graph.edges.extend(edges(index, node, keys, &globals));
            graph.nodes.push(place(node, first..graph.edges.len()));
        }
        graph.add_rules_of_keys(ivr, keys, &globals);
        graph.add_rules_of_handlers();
        graph.find_reachable();
        graph
    }

    /// Makes rules of `keys`, as far as a menu takes them; edges hold the numbers of their keys.
    fn add_rules_of_keys(&mut self, ivr: &Ivr, keys: &[Choice], globals: &Globals<'_>) {
        let mut taken = vec![0; keys.len()];
        for key in self.edges.iter().filter_map(|edge| edge.rule) {
            taken[key] += 1;
        }
        let n_menus = ivr.nodes.iter().filter(|node| node.is_menu()).count();
        let mut rules = vec![None; keys.len()];
        for (index, key) in keys.iter().enumerate().filter(|&(index, _)| taken[index] > 0) {
            rules[index] = Some(self.rules.len());
            let by = By::Choices(vec![way(key, "", index)]);
            self.rules.push(Rule { by, to: to(&key.target), n_nodes: taken[index], of: n_menus });
        }
        for edge in &mut self.edges {
            edge.rule = edge.rule.and_then(|key| rules[key]);
        }
        for (place, node) in self.nodes.iter_mut().zip(&ivr.nodes) {
            let Content::Menu(choices) = &node.content else { continue };
            let known: HashSet<usize> =
                choices.iter().filter_map(|choice| globals.get(&*choice.pattern.0).copied()).collect();
            let lacks = |&index: &usize| rules[index].is_some() && !known.contains(&index);
            let mut lacking: Vec<_> =
                (0..keys.len()).filter(lacks).map(|index| key_string(&keys[index].pattern)).collect();
            if lacking.len() > KEYS_NAMED {
                lacking.truncate(KEYS_NAMED - 1);
                lacking.push("…".to_owned());
            }
            if !lacking.is_empty() {
                place.exceptions.push(format!("without {}", lacking.join(", ")));
            }
        }
    }

    /// Makes a rule of the handler that most nodes have, one each for no-input and no-match.
    fn add_rules_of_handlers(&mut self) {
        let takes_keys = |place: &Place| !matches!(place.kind, Kind::End(_));
        let of = self.nodes.iter().filter(|place| takes_keys(place)).count();
        for no_match in [false, true] {
            let is_meant = |by: &By| match by {
                By::NoInput { .. } => !no_match,
                By::NoMatch { .. } => no_match,
                By::Choices(_) | By::Entry => false,
            };
            // In the order of the file, so that of two that are as frequent the first one wins.
            let mut kinds: Vec<(usize, usize)> = Vec::new();
            let mut known: HashMap<(String, &To), usize> = HashMap::new();
            for (index, edge) in self.edges.iter().enumerate().filter(|(_, edge)| is_meant(&edge.by)) {
                let kind = *known.entry((format!("{:?}", edge.by), &edge.to)).or_insert_with(|| {
                    kinds.push((index, 0));
                    kinds.len() - 1
                });
                kinds[kind].1 += 1;
            }
            let most = kinds.into_iter().rev().max_by_key(|&(_, n_nodes)| n_nodes);
            let Some((first, n_nodes)) = most.filter(|&(_, n_nodes)| n_nodes >= NODES_OF_A_RULE) else {
                continue;
            };
            let (by, to) = (self.edges[first].by.clone(), self.edges[first].to.clone());
            for edge in &mut self.edges {
                if edge.by == by && edge.to == to {
                    edge.rule = Some(self.rules.len());
                }
            }
            for place in self.nodes.iter_mut().filter(|place| takes_keys(place)) {
                if !self.edges[place.edges.clone()].iter().any(|edge| is_meant(&edge.by)) {
                    place.exceptions.push("no match: ignored".to_owned());
                }
            }
            self.rules.push(Rule { by, to, n_nodes, of });
        }
    }

    fn find_reachable(&mut self) {
        let mut open: Vec<usize> = self.starts.iter().map(|start| start.node).collect();
        while let Some(node) = open.pop() {
            let place = &mut self.nodes[node];
            if !std::mem::replace(&mut place.reachable, true) {
                open.extend(self.edges[place.edges.clone()].iter().filter_map(|edge| edge.to.node()));
            }
        }
    }
}

fn starts(ivr: &Ivr) -> Vec<Start> {
    let mut starts = vec![Start { node: index(ivr.root), numbers: Vec::new(), is_root: true }];
    let mut known = HashMap::from([(ivr.root, 0)]);
    for (number, node) in &ivr.entries {
        let start = *known.entry(*node).or_insert_with(|| {
            starts.push(Start { node: index(*node), numbers: Vec::new(), is_root: false });
            starts.len() - 1
        });
        starts[start].numbers.push(number.to_string());
    }
    starts
}

fn index(node: NodeId) -> usize {
    node.0 as usize
}

fn place(node: &Node, edges: std::ops::Range<usize>) -> Place {
    let masked = node.mask != Mask::Off;
    let timing = node.timing;
    let waits = timing.first_digit_ms > 0;
    Place {
        name: node.name.to_string(),
        label: node.label.to_string(),
        kind: match &node.content {
            Content::Menu(_) => Kind::Menu,
            Content::Entry(collect) => Kind::Entry(entry(collect, node.end_key, masked)),
            Content::End(outcome) => Kind::End(outcome.clone()),
        },
        masked: masked && !matches!(node.content, Content::End(_)),
        reachable: false,
        first_digit_ms: waits.then(|| timing.prompt_ms + timing.first_digit_ms),
        inter_digit_ms: timing.inter_digit_ms,
        exceptions: Vec::new(),
        edges,
    }
}

/// Returns the edges of a node: choices that lead to one place are one edge, those of `keys` one each,
/// with the number of the key.
fn edges(from: usize, node: &Node, keys: &[Choice], globals: &Globals<'_>) -> Vec<Edge> {
    let mut edges = Vec::new();
    match &node.content {
        Content::Menu(choices) => {
            let mut ways: Vec<(To, Vec<Way>)> = Vec::new();
            let mut known: HashMap<To, usize> = HashMap::new();
            let mut global = Vec::new();
            for (at, choice) in choices.iter().enumerate() {
                let key = globals.get(&*choice.pattern.0).copied();
                if let Some(key) = key.filter(|&key| is_global(choice, &keys[key], node)) {
                    let by = By::Choices(vec![way(choice, &node.label, at)]);
                    global.push(Edge { from, by, to: to(&choice.target), rule: Some(key) });
                    continue;
                }
                let to = to(&choice.target);
                let edge = *known.entry(to.clone()).or_insert_with(|| {
                    ways.push((to, Vec::new()));
                    ways.len() - 1
                });
                ways[edge].1.push(way(choice, &node.label, at));
            }
            let own = ways.into_iter().map(|(to, ways)| Edge { from, by: By::Choices(ways), to, rule: None });
            edges.extend(own.chain(global));
        }
        Content::Entry(entry) => edges.push(Edge { from, by: By::Entry, to: to(&entry.target), rule: None }),
        Content::End(_) => return edges,
    }
    let wait_ms =
        (node.timing.first_digit_ms > 0).then(|| node.timing.prompt_ms + node.timing.first_digit_ms);
    let by = By::NoInput { tries: node.no_input.tries, wait_ms };
    edges.push(Edge { from, by, to: to(&node.no_input.target), rule: None });
    edges.extend(node.no_match.as_ref().map(|handler| {
        let by = By::NoMatch { tries: handler.tries };
        Edge { from, by, to: to(&handler.target), rule: None }
    }));
    edges
}

/// Returns whether a choice is the one that `keys` has for its keys.
fn is_global(choice: &Choice, key: &Choice, node: &Node) -> bool {
    let label = if key.label.is_empty() { &node.label } else { &key.label };
    choice.target == key.target && choice.label == *label && choice.set == key.set
}

fn way(choice: &Choice, node_label: &str, at: usize) -> Way {
    let label = (*choice.label != *node_label).then(|| choice.label.to_string());
    Way { keys: key_string(&choice.pattern), label, at }
}

fn to(target: &Target) -> To {
    match target {
        Target::Node(node) => To::Node(index(*node)),
        Target::End(outcome) => To::Outcome(outcome.clone()),
        Target::Back => To::Back,
        Target::Root => To::Root,
        Target::Again => To::Again,
    }
}
