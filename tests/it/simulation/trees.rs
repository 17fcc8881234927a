//! Trees that callers walk: a few written by hand, so that everything that is kept occurs often, and
//! random ones.

use std::sync::Arc;

use dtmfd::engine::{Ivr, Mask};

use crate::random_tree::{Random, random_tree};
use crate::script::tree;

/// A card and a secret of ten digits, one of them in clear in the update; entries by number.
const CARD: &str = r##"{
  "rootNode": "main", "entries": { "+49": "vip" }, "limits": { "callMs": 300000, "steps": 40 },
  "nodes": {
    "main": { "choices": { "1": "sales", "10": { "outcome": "ten" }, "2": "card", "9": "@again", "*": "@back" },
      "promptMs": 500, "firstDigitMs": 4000, "interDigitMs": 1500, "endKey": "#", "set": { "seen": "{node}" },
      "noInput": { "tries": 2, "nextNode": "operator" }, "noMatch": { "tries": 3, "outcome": "nomatch" } },
    "sales": { "choices": { "1": { "outcome": "new", "label": "New" }, "2": "main", "*": "@back", "0": "@root" },
      "guardMs": 300, "noInput": { "tries": 3, "outcome": "silence" } },
    "card": { "collect": { "min": 12, "max": 16, "as": "card", "cancelKey": "*" }, "endKey": "#", "mask": 4,
      "firstDigitMs": 8000, "interDigitMs": 2500, "noInput": { "tries": 2, "nextNode": "operator" },
      "noMatch": { "tries": 2, "nextNode": "main" }, "nextNode": "secret", "set": { "paid": "{card}" } },
    "secret": { "collect": { "min": 10, "max": 10, "as": "secret", "cancelKey": "*" }, "mask": true, "endKey": "#",
      "maxMs": 20000, "nextNode": "done", "set": { "secret": "{secret}", "again": "{digits}" } },
    "done": { "choices": { "1": { "outcome": "paid", "set": { "clear": "n{card!raw}" } }, "2": { "outcome": "unpaid" } } },
    "vip": { "choices": { "1": "main", "2": "@root", "3": { "outcome": "vip", "set": { "to": "{to} {from}" } } } },
    "operator": { "outcome": "transfer", "set": { "queue": "operator" } } },
  "onEnd": { "set": { "result": "{outcome}", "keys": "{keys}", "path": "{path}", "why": "{reason} {attempt}",
    "took": "{elapsedMs}", "who": "{callId} {interaction}" }, "hangup": true } }"##;

/// Waits for ever, the longest calls there are.
const PATIENT: &str = r##"{
  "rootNode": "hold", "limits": { "callMs": 86400000, "steps": 9 },
  "nodes": {
    "hold": { "choices": { "1": "@again", "2": { "outcome": "left" }, "XX#": { "outcome": "code" }, "3": "back" },
      "firstDigitMs": 0, "interDigitMs": 5000, "set": { "n": "{elapsedMs}" } },
    "back": { "collect": { "min": 0, "max": 5, "as": "age", "range": [3, 120] }, "endKey": "#", "nextNode": "hold",
      "firstDigitMs": 60000, "noMatch": { "tries": 2, "outcome": "bad" }, "set": { "age": "{age}" } } } }"##;

/// Quick waits, guards, an entry that decides late, and what is left over handed on to a masked node.
const HASTY: &str = r##"{
  "rootNode": "a", "defaults": { "firstDigitMs": 900, "interDigitMs": 400, "guardMs": 60, "endKey": "#" },
  "keys": { "0": "@root" }, "limits": { "callMs": 20000, "steps": 60 },
  "nodes": {
    "a": { "choices": { "1": "b", "123": "c", "2": "@again" }, "decideMs": 300, "maxMs": 1500,
      "noInput": { "tries": 3, "nextNode": "c" } },
    "b": { "collect": { "min": 2, "max": 4, "as": "pin" }, "mask": true, "nextNode": "a", "set": { "pin": "{pin}" },
      "noMatch": { "tries": 2, "nextNode": "@back" }, "noInput": { "tries": 2, "nextNode": "@back" } },
    "c": { "choices": { "1": { "outcome": "one" }, "2": { "outcome": "two", "set": { "ivr_status": "{pin}" } },
      "*": "@back" }, "noInput": { "tries": 1, "outcome": "timeout" } } } }"##;

/// What the seed's callers walk.
const SEED: &str = include_str!("../../trees/seed.json");

/// Nothing is masked: keys bounce.
const PLAIN: &str = r##"{
  "rootNode": "lang", "dedupe": { "bounceMs": 80 }, "limits": { "callMs": 120000, "steps": 30 },
  "nodes": {
    "lang": { "choices": { "1": "menu", "2": "menu" }, "noInput": { "tries": 2, "nextNode": "menu" } },
    "menu": { "choices": { "1": "account", "4": "lang", "NX": { "outcome": "short", "label": "Short {{" }, "*": "@back" },
      "interDigitMs": 700, "noMatch": { "tries": 4, "outcome": "lost", "set": { "n": "{attempt}" } } },
    "account": { "collect": { "min": 4, "max": 8, "as": "account", "cancelKey": "*" }, "endKey": "#", "outcome": "account",
      "set": { "account": "{account}", "clear": "{account!raw}" }, "noMatch": { "tries": 2, "nextNode": "menu" } } } }"##;

/// The trees of a lifetime: the first one is walked first.
pub(super) fn trees(random: &mut Random) -> Vec<Arc<Ivr>> {
    let written = [CARD, CARD, PATIENT, HASTY, SEED, PLAIN];
    let count = match random.below(30) {
        0 => 20,
        n => 1 + n % 3,
    };
    let mut trees: Vec<Arc<Ivr>> = Vec::new();
    for _ in 0..count {
        let next = if random.one_in(3) { random_tree(random).1 } else { tree(random.pick(&written)) };
        if trees.iter().all(|known| known.version != next.version) {
            trees.push(next);
        }
    }
    trees
}

pub(super) fn has_mask(ivr: &Ivr) -> bool {
    ivr.nodes.iter().any(|node| node.mask != Mask::Off)
}
