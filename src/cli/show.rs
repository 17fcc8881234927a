//! What an operator reads: aligned columns, ages in words, one escape for whatever comes from outside.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::tree::printable;

/// What a cell says beside its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Plain,
    /// Somebody has to do something.
    Alarm,
}

/// A table that is written page by page: columns get wider where a page needs it, and stay so.
pub(super) struct Table<const N: usize> {
    heads: [&'static str; N],
    widths: [usize; N],
    is_begun: bool,
    colored: bool,
}

/// What separates two columns.
const GAP: usize = 2;

impl<const N: usize> Table<N> {
    pub(super) fn new(heads: [&'static str; N], colored: bool) -> Table<N> {
        Table { heads, widths: heads.map(str::len), is_begun: false, colored }
    }

    /// Returns the lines of these rows, below the heads if they are the first.
    pub(super) fn rows(&mut self, rows: &[([String; N], Tone)]) -> String {
        for (row, _) in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = String::new();
        if !rows.is_empty() && !std::mem::replace(&mut self.is_begun, true) {
            let heads = self.heads.map(str::to_owned);
            self.line(&mut text, &heads, "\x1b[2m");
        }
        for (row, tone) in rows {
            self.line(&mut text, row, if *tone == Tone::Alarm { "\x1b[33m" } else { "" });
        }
        text
    }

    fn line(&self, text: &mut String, cells: &[String; N], color: &str) {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(self.widths) {
            let padding = width - cell.width() + GAP;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        let line = line.trim_end();
        if self.colored && !color.is_empty() {
            text.extend([color, line, "\x1b[0m\n"]);
        } else {
            text.extend([line, "\n"]);
        }
    }
}

/// Returns a length of time in words: `8.2 s`, `3 m 12 s`, `2 h 5 m`, `3 d 4 h`.
pub(super) fn age(ms: u64) -> String {
    let s = ms / 1_000;
    let two = |large, large_unit, small, small_unit| format!("{large} {large_unit} {small} {small_unit}");
    match s {
        0..10 => format!("{s}.{} s", ms % 1_000 / 100),
        10..60 => format!("{s} s"),
        60..3_600 => two(s / 60, "m", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s / 60 % 60, "m"),
        86_400.. => two(s / 86_400, "d", s / 3_600 % 24, "h"),
    }
}

/// Returns a member of what the daemon answered as a terminal may show it.
pub(super) fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => printable(text),
        Value::Null => "-".to_owned(),
        other => printable(&other.to_string()),
    }
}

/// Returns a member that is a number; 0 if it is none.
pub(super) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_in_two_units_at_most() {
        for (ms, expected) in [
            (0, "0.0 s"),
            (8_249, "8.2 s"),
            (9_999, "9.9 s"),
            (10_000, "10 s"),
            (59_999, "59 s"),
            (192_000, "3 m 12 s"),
            (3_600_000, "1 h 0 m"),
            (7_500_000, "2 h 5 m"),
            (86_400_000, "1 d 0 h"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(expected, age(ms), "{ms}");
        }
    }

    #[test]
    fn columns_are_aligned_and_colours_are_round_whole_lines() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let rows = [(row("é", "x"), Tone::Plain), (row("longer", "y"), Tone::Alarm)];
        let mut plain = Table::new(["ID", "B"], false);
        assert_eq!("ID      B\né       x\nlonger  y\n", plain.rows(&rows));
        assert_eq!("a       b\n", plain.rows(&[(row("a", "b"), Tone::Plain)]), "as wide as before");
        let mut colored = Table::new(["ID", "B"], true);
        let expected = "\x1b[2mID      B\x1b[0m\né       x\n\x1b[33mlonger  y\x1b[0m\n";
        assert_eq!(expected, colored.rows(&rows));
        assert_eq!("", Table::new(["ID"], false).rows(&[]));
    }

    #[test]
    fn nothing_from_outside_changes_the_terminal() {
        let value = serde_json::json!({ "a": "x\u{1b}[2J", "n": 7, "none": null });
        assert_eq!("x\\u{1b}[2J", text(&value, "a"));
        assert_eq!(("7", "-", "-"), (&*text(&value, "n"), &*text(&value, "none"), &*text(&value, "other")));
    }
}
