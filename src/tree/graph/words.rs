//! The words of a drawing: key strings, times, and text that is safe to show anywhere.

use std::collections::HashMap;

use super::{By, Way};
use crate::engine::{Entry, Key, KeySet, Pattern};
use crate::tree::diagnostic::is_unprintable;

/// The most patterns of an entry that are shown.
const PATTERNS_SHOWN: usize = 3;

/// One line of what leads on: choices with one label share theirs.
#[derive(Debug)]
pub(super) struct Line {
    /// Key strings, or what happened.
    pub(super) what: String,
    /// A label, or how often and for how long; may be empty.
    pub(super) more: String,
    /// The position of the first choice in its menu.
    pub(super) at: usize,
}

impl Line {
    /// Returns both parts as one text.
    pub(super) fn joined(&self) -> String {
        if self.more.is_empty() { self.what.clone() } else { format!("{} {}", self.what, self.more) }
    }
}

/// Returns a text on one line, with U+FFFD for what can't be shown.
pub(super) fn clean(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\r' | '\t' => ' ',
        // Noncharacters are no XML.
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        _ if is_unprintable(character) => '\u{fffd}',
        _ => character,
    };
    text.chars().map(shown).collect()
}

/// Returns a time in the largest unit that it is a short number of.
pub(super) fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        _ if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        _ => format!("{} s", format!("{}.{:03}", ms / 1_000, ms % 1_000).trim_end_matches('0')),
    }
}

/// Returns a key string as the file could write it: of all that mean the same, the shortest.
pub(super) fn key_string(pattern: &Pattern) -> String {
    pattern.0.iter().map(|&keys| place(keys)).collect()
}

fn place(keys: KeySet) -> String {
    let from = |least| KeySet::DECIMAL.iter().filter(|key| key.event() >= least).collect::<KeySet>();
    let mut each = keys.iter();
    match (each.next(), each.next()) {
        (Some(key), None) => key.to_string(),
        _ if keys == KeySet::DECIMAL => "X".to_owned(),
        _ if keys == from(1) => "Z".to_owned(),
        _ if keys == from(2) => "N".to_owned(),
        _ => format!("[{}]", set(keys)),
    }
}

/// Returns the keys of a set, with `-` for three in a row or more.
fn set(keys: KeySet) -> String {
    let mut runs: Vec<Vec<Key>> = Vec::new();
    for key in keys.iter() {
        let goes_on = |last: Key| last.event() + 1 == key.event() && !(9..12).contains(&last.event());
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|&last| goes_on(last)) => run.push(key),
            _ => runs.push(vec![key]),
        }
    }
    let shown = |run: &Vec<Key>| match run[..] {
        [first, _, .., last] if run.len() > 2 => format!("{first}-{last}"),
        _ => run.iter().map(Key::to_string).collect(),
    };
    runs.iter().map(shown).collect()
}

/// Returns what may be entered.
pub(super) fn entry(entry: &Entry, end_key: Option<Key>, masked: bool) -> String {
    let count = match (entry.min, entry.max) {
        (1, 1) => "1 digit".to_owned(),
        (min, max) if min == max => format!("{max} digits"),
        (min, max) => format!("{min}-{max} digits"),
    };
    let mut words = vec![count];
    if entry.digits != KeySet::DECIMAL {
        words[0] = format!("{} of {}", words[0], set(entry.digits));
    }
    if let Some(patterns) = &entry.patterns {
        let shown: Vec<_> = patterns.iter().take(PATTERNS_SHOWN).map(key_string).collect();
        let more = if patterns.len() > PATTERNS_SHOWN { " or …" } else { "" };
        words.push(format!("like {}{more}", shown.join(" or ")));
    }
    if entry.luhn {
        words.push("luhn".to_owned());
    }
    words.extend(entry.range.map(|(least, greatest)| format!("{least} to {greatest}")));
    words.extend(end_key.map(|key| format!("{key} ends it")));
    words.extend(entry.cancel_key.map(|key| format!("{key} clears it")));
    if masked {
        words.push("masked".to_owned());
    }
    words.join(", ")
}

impl By {
    /// Returns what leads on, in lines: choices with one label stand in one.
    pub(super) fn lines(&self) -> Vec<Line> {
        let times = |tries: u32| if tries > 1 { format!("{tries} ×") } else { String::new() };
        let line = |what: &str, more| vec![Line { what: what.to_owned(), more, at: usize::MAX }];
        match self {
            By::Choices(ways) => choice_lines(ways),
            By::Entry => line("entered", String::new()),
            By::NoInput { tries, wait_ms } => {
                let words = [times(*tries), wait_ms.map_or_else(String::new, time)];
                line("no input", words.join(" ").trim().to_owned())
            }
            By::NoMatch { tries } => line("no match", times(*tries)),
        }
    }
}

fn choice_lines(ways: &[Way]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for way in ways {
        let label = way.label.as_deref().map(clean).unwrap_or_default();
        match known.get(&label) {
            Some(&line) => {
                lines[line].what.push_str(", ");
                lines[line].what.push_str(&way.keys);
            }
            None => {
                known.insert(label.clone(), lines.len());
                lines.push(Line { what: way.keys.clone(), more: label, at: way.at });
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_in_the_unit_that_reads_best() {
        for (ms, expected) in [
            (0, "0 ms"),
            (600, "600 ms"),
            (1_000, "1 s"),
            (1_500, "1.5 s"),
            (2_050, "2.05 s"),
            (90_000, "90 s"),
            (600_000, "10 min"),
        ] {
            assert_eq!(expected, time(ms));
        }
    }

    #[test]
    fn writes_key_strings_as_short_as_they_can_be() {
        for (text, expected) in [
            ("4XZN*#A", "4XZN*#A"),
            ("[0-9]", "X"),
            ("[1]", "1"),
            ("[135-8]", "[135-8]"),
            ("[12]", "[12]"),
            ("[7-9*#A-C]", "[7-9*#A-C]"),
            ("[9*]", "[9*]"),
        ] {
            let pattern = crate::tree::pattern::parse(text).unwrap();
            assert_eq!(expected, key_string(&pattern), "{text}");
        }
    }

    #[test]
    fn shows_nothing_that_moves_the_cursor_or_turns_the_line_around() {
        assert_eq!("a b\u{fffd}c\u{fffd}é", clean("a\nb\u{202e}c\u{1b}é"));
    }
}
