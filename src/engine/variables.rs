//! What a walk leaves behind: its path, its named entries, and the variables made of them.

use std::fmt::Write as _;
use std::sync::Arc;

use super::event::{Reason, Tick};
use super::ivr::{Assignment, Mask, Piece, SlotId, Template};
use super::key::Digits;
use super::row::{Reader, Unreadable, Writer};
use super::update::{Value, Variable};

/// Shown in the place of an entry that is masked whole.
const MASKED: &str = "[masked]";

/// The path of a walk, its named entries and its variables.
#[derive(Default, Debug)]
pub(super) struct Record {
    /// The entries as shown, one behind the other.
    shown: String,
    /// For each commit on the path: where its entry ends in `shown`, and its label.
    path: Vec<(u32, Arc<str>)>,
    /// The last commit's entry as shown, and its label: what they were when `@back` cut the path.
    last: Option<(String, Arc<str>)>,
    /// Named entries, the later ones of a name in the place of the earlier.
    slots: Vec<(SlotId, Named)>,
    /// In the order of their last writing.
    variables: Vec<Variable>,
}

/// A named entry.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Named {
    /// As it was entered, and how it is shown.
    Entry(Digits, Mask),
    /// As it is shown: it was masked, and the process that knew it is gone.
    Shown(String),
}

/// What the templates tell of the call and of the moment, beside the record.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) call: &'a str,
    pub(super) interaction: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) began: Tick,
    pub(super) now: Tick,
    pub(super) node: &'a str,
    pub(super) node_label: &'a str,
    /// The choice's or the node's; in `onEnd`, where it is `None`, the last commit's.
    pub(super) label: Option<&'a str>,
    pub(super) outcome: &'a str,
    pub(super) reason: Reason,
    pub(super) attempt: u32,
}

impl Record {
    /// Notes a good entry: what `{digits}` and `{label}` are from here.
    pub(super) fn commit(&mut self, entry: Digits, mask: Mask, label: &Arc<str>) {
        let (shown, last) = self.last.get_or_insert_with(|| (String::new(), Arc::clone(label)));
        shown.clear();
        show(shown, entry, mask);
        *last = Arc::clone(label);
    }

    /// Adds the last commit to the path.
    pub(super) fn extend_path(&mut self) {
        if let Some((shown, label)) = &self.last {
            self.shown.push_str(shown);
            let end = u32::try_from(self.shown.len()).expect("`limits.steps` entries of 32 keys");
            self.path.push((end, Arc::clone(label)));
        }
    }

    /// Returns how many commits are on the path.
    pub(super) fn path_len(&self) -> usize {
        self.path.len()
    }

    /// Cuts the path to its first `len` commits.
    pub(super) fn cut_path(&mut self, len: usize) {
        self.path.truncate(len);
        self.shown.truncate(self.path.last().map_or(0, |&(end, _)| end as usize));
    }

    /// Gives a good entry its name.
    pub(super) fn name(&mut self, slot: SlotId, entry: Digits, mask: Mask) {
        self.slots.retain(|&(named, _)| named != slot);
        self.slots.push((slot, Named::Entry(entry, mask)));
    }

    /// Writes variables: each value is expanded now, and of two writes to a name the later wins.
    pub(super) fn assign(&mut self, assignments: &[Assignment], scene: Scene<'_>) {
        for Assignment { name, value } in assignments {
            let value = self.expand(value, scene);
            self.write(name, value);
        }
    }

    /// Writes what the seed writes at an end: the selection where a commit reached it, and the status.
    pub(super) fn assign_as_the_seed(&mut self, outcome: &str, by_commit: bool) {
        if by_commit {
            let mut keys = String::new();
            self.write_keys(&mut keys);
            self.write(&Arc::from("ivr_selection"), Value::Plain(keys));
        }
        self.write(&Arc::from("ivr_status"), Value::Plain(outcome.to_owned()));
    }

    fn write(&mut self, name: &Arc<str>, value: Value) {
        self.variables.retain(|written| written.name != *name);
        self.variables.push(Variable { name: Arc::clone(name), value });
    }

    /// Returns whether there is a variable to be taken out.
    pub(super) fn has_variables(&self) -> bool {
        !self.variables.is_empty()
    }

    /// Takes the variables out.
    pub(super) fn take_variables(&mut self) -> Vec<Variable> {
        std::mem::take(&mut self.variables)
    }

    fn expand(&self, template: &Template, scene: Scene<'_>) -> Value {
        let mut text = String::new();
        let (mut is_raw, mut is_lost) = (false, false);
        for piece in &template.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Digits => text.push_str(self.last.as_ref().map_or("", |(shown, _)| shown)),
                Piece::Label => {
                    let last = || self.last.as_ref().map_or(scene.node_label, |(_, label)| label);
                    text.push_str(scene.label.unwrap_or_else(last));
                }
                Piece::Node => text.push_str(scene.node),
                Piece::Outcome => text.push_str(scene.outcome),
                Piece::Reason => text.push_str(scene.reason.name()),
                Piece::Attempt => write_number(&mut text, u64::from(scene.attempt)),
                Piece::CallId => text.push_str(scene.call),
                Piece::Interaction => text.push_str(scene.interaction),
                Piece::From => text.push_str(scene.from),
                Piece::To => text.push_str(scene.to),
                Piece::Path => self.write_path(&mut text),
                Piece::Keys => self.write_keys(&mut text),
                Piece::ElapsedMs => write_number(&mut text, scene.now.since(scene.began)),
                Piece::Slot(slot) => match self.named(*slot) {
                    Some(Named::Entry(entry, mask)) => show(&mut text, *entry, *mask),
                    Some(Named::Shown(shown)) => text.push_str(shown),
                    None => (),
                },
                Piece::RawSlot(slot) => match self.named(*slot) {
                    Some(Named::Entry(entry, mask)) => {
                        show(&mut text, *entry, Mask::Off);
                        is_raw |= *mask != Mask::Off;
                    }
                    Some(Named::Shown(_)) => is_lost = true,
                    None => (),
                },
            }
        }
        match (is_lost, is_raw) {
            (true, _) => Value::Lost,
            (false, true) => Value::Raw(text),
            (false, false) => Value::Plain(text),
        }
    }

    fn named(&self, slot: SlotId) -> Option<&Named> {
        self.slots.iter().find(|(named, _)| *named == slot).map(|(_, entry)| entry)
    }

    /// Writes the record into a row: of masked entries what is shown, never the digits.
    pub(super) fn write_row(&self, writer: &mut Writer) {
        writer.text(&self.shown);
        writer.number(self.path.len() as u64);
        for (end, label) in &self.path {
            writer.number(u64::from(*end));
            writer.text(label);
        }
        writer.option(self.last.as_ref(), |writer, (shown, label)| {
            writer.text(shown);
            writer.text(label);
        });
        writer.number(self.slots.len() as u64);
        for (slot, named) in &self.slots {
            writer.number(u64::from(slot.0));
            match named {
                Named::Entry(entry, Mask::Off) => {
                    writer.option(Some(*entry), |writer, entry| entry.write(writer))
                }
                Named::Entry(entry, mask) => {
                    let mut shown = String::new();
                    show(&mut shown, *entry, *mask);
                    writer.byte(0);
                    writer.text(&shown);
                }
                Named::Shown(shown) => {
                    writer.byte(0);
                    writer.text(shown);
                }
            }
        }
        writer.number(self.variables.len() as u64);
        self.variables.iter().for_each(|variable| variable.write(writer));
    }

    /// Reads what [`Record::write_row`] wrote for a call of a tree with so many named entries.
    pub(super) fn read_row(reader: &mut Reader<'_>, slots_max: usize) -> Result<Record, Unreadable> {
        let shown = reader.text()?.to_owned();
        let mut begin = 0;
        let path = reader.list(|reader| {
            let end: u32 = reader.narrow()?;
            if end < begin || !shown.is_char_boundary(end as usize) {
                return Err(Unreadable);
            }
            begin = end;
            Ok((end, reader.shared()?))
        })?;
        let last = reader.option(|reader| Ok((reader.text()?.to_owned(), reader.shared()?)))?;
        let slots = reader.list(|reader| {
            let slot: u32 = reader.narrow()?;
            if slot as usize >= slots_max {
                return Err(Unreadable);
            }
            let named = match reader.option(Digits::read)? {
                Some(entry) => Named::Entry(entry, Mask::Off),
                None => Named::Shown(reader.text()?.to_owned()),
            };
            Ok((SlotId(slot), named))
        })?;
        let variables = reader.list(Variable::read)?;
        Ok(Record { shown, path, last, slots, variables })
    }

    fn write_path(&self, text: &mut String) {
        for (index, (_, label)) in self.path.iter().enumerate() {
            if index > 0 {
                text.push_str(" > ");
            }
            text.push_str(label);
        }
    }

    /// Writes the entries as a compact JSON list. What is shown holds no character that JSON escapes:
    /// DTMF keys, `…` and `[masked]`.
    fn write_keys(&self, text: &mut String) {
        let mut begin = 0;
        text.push('[');
        for (index, &(end, _)) in self.path.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push('"');
            text.push_str(&self.shown[begin..end as usize]);
            text.push('"');
            begin = end as usize;
        }
        text.push(']');
    }
}

/// Writes an entry as its node's mask shows it.
fn show(text: &mut String, entry: Digits, mask: Mask) {
    let shown = match mask {
        Mask::Off => entry.iter(),
        Mask::Last(kept) if entry.len() >= 3 * kept => {
            text.push('…');
            return text.extend(entry.iter().skip(entry.len() - kept).map(|key| key.symbol()));
        }
        Mask::All | Mask::Last(_) => return text.push_str(MASKED),
    };
    text.extend(shown.map(|key| key.symbol()));
}

fn write_number(text: &mut String, number: u64) {
    write!(text, "{number}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::key::Key;

    fn digits(text: &str) -> Digits {
        text.chars().fold(Digits::EMPTY, |digits, symbol| {
            digits.pushed(Key::parse(symbol).expect("a key")).expect("room")
        })
    }

    #[test]
    fn shows_an_entry_as_its_mask_says() {
        for (entry, mask, expected) in [
            ("4111111111111111", Mask::Off, "4111111111111111"),
            ("4111111111111111", Mask::All, "[masked]"),
            ("4111111111111111", Mask::Last(4), "…1111"),
            ("123456789012", Mask::Last(4), "…9012"),
            ("12345678901", Mask::Last(4), "[masked]"),
            ("123", Mask::Last(1), "…3"),
            ("", Mask::Last(1), "[masked]"),
            ("", Mask::Off, ""),
        ] {
            let mut shown = String::new();
            show(&mut shown, digits(entry), mask);
            assert_eq!(expected, shown, "{entry} {mask:?}");
        }
    }

    #[test]
    fn a_cut_path_forgets_the_entries_with_the_labels() {
        let mut record = Record::default();
        for (entry, label) in [("1", "Sales"), ("23", "Billing"), ("4", "More")] {
            record.commit(digits(entry), Mask::Off, &Arc::from(label));
            record.extend_path();
        }
        record.cut_path(1);
        record.commit(digits("A#"), Mask::Off, &Arc::from("Back again"));
        record.extend_path();
        let (mut keys, mut path) = (String::new(), String::new());
        record.write_keys(&mut keys);
        record.write_path(&mut path);
        assert_eq!((r##"["1","A#"]"##, "Sales > Back again"), (keys.as_str(), path.as_str()));
    }

    #[test]
    fn the_later_of_two_writes_to_a_name_wins_and_moves_to_the_end() {
        let mut record = Record::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            record.write(&Arc::from(name), Value::Plain(value.to_owned()));
        }
        let variables = record.take_variables();
        let plain: Vec<_> =
            variables.iter().map(|variable| (&*variable.name, variable.value.as_str())).collect();
        assert_eq!(vec![("b", Some("2")), ("a", Some("3"))], plain);
    }
}
