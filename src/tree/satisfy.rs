//! Whether any entry of a `collect` satisfies its check and range.
//!
//! A walk over the digits of all candidates at once, from the left: what matters of a prefix is
//! only whether it still equals the bounds' digits so far and its share of the checksum. So it takes
//! at most 40 states a digit, however many entries there are.

use crate::engine::{Entry, KeySet};

/// Returns whether at least one entry with a digit in it passes.
pub(super) fn is_satisfiable(entry: &Entry) -> bool {
    if !entry.luhn && entry.range.is_none() {
        return true;
    }
    match &entry.patterns {
        Some(patterns) => patterns.iter().any(|pattern| passes(entry, &pattern.0)),
        None => (entry.min.max(1)..=entry.max).any(|length| passes(entry, &vec![entry.digits; length])),
    }
}

/// What matters of a prefix: whether it equals the lower and the upper bound so far, and the
/// checksum modulo 10. One bit for each of the 40.
type States = u64;

fn state(at_least: bool, at_greatest: bool, sum: u32) -> States {
    1 << ((u32::from(at_least) * 2 + u32::from(at_greatest)) * 10 + sum % 10)
}

/// Returns whether an entry with these keys at its places passes.
fn passes(entry: &Entry, places: &[KeySet]) -> bool {
    let length = places.len();
    let (least, greatest) = entry.range.unwrap_or((0, u128::MAX));
    // No number of this length is over the greatest one, so an upper bound can be cut to it.
    let over = 10u128.checked_pow(length as u32).unwrap_or(u128::MAX);
    if least >= over || least > greatest {
        return false;
    }
    let greatest = greatest.min(over - 1);
    let mut states = state(true, true, 0);
    for (place, keys) in places.iter().enumerate() {
        let from_right = length - 1 - place;
        let bounds = [least, greatest].map(|bound| (bound / 10u128.pow(from_right as u32) % 10) as u32);
        let mut next = 0;
        for digit in keys.intersection(KeySet::DECIMAL).iter().map(|key| u32::from(key.event())) {
            let counted = match (from_right % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) => doubled / 10 + doubled % 10,
            };
            next |= step(states, digit, bounds, counted);
        }
        states = next;
    }
    let checked = |sum| !entry.luhn || sum == 0;
    (0..4).any(|bounds| (0..10).any(|sum| checked(sum) && states & 1 << (bounds * 10 + sum) != 0))
}

/// Returns the states after `digit`.
fn step(states: States, digit: u32, [least, greatest]: [u32; 2], counted: u32) -> States {
    let mut next = 0;
    for bits in (0..40).filter(|bits| states & 1 << bits != 0) {
        let (at_least, at_greatest, sum) = (bits / 20 == 1, bits / 10 % 2 == 1, bits % 10);
        if at_least && digit < least || at_greatest && digit > greatest {
            continue;
        }
        next |= state(at_least && digit == least, at_greatest && digit == greatest, sum + counted);
    }
    next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{Digits, Key, Pattern, SlotId, Target};

    fn entry(min: usize, max: usize, digits: &str, luhn: bool, range: Option<(u128, u128)>) -> Entry {
        let digits = digits.chars().map(|symbol| Key::parse(symbol).unwrap()).collect();
        let (slot, target) = (SlotId(0), Target::Root);
        Entry { min, max, digits, patterns: None, cancel_key: None, luhn, range, slot, target }
    }

    #[test]
    fn knows_what_can_be_entered() {
        for (min, max, digits, luhn, range, expected) in [
            (1, 2, "0123456789", false, Some((1, 31)), true),
            (3, 3, "0123456789", false, Some((1000, 2000)), false),
            (1, 9, "0123456789", false, Some((5, 4)), false),
            (1, 3, "12", false, Some((3, 10)), false),
            (1, 3, "12", false, Some((3, 11)), true),
            (4, 4, "0123456789", false, Some((0, 9)), true),
            (1, 1, "5", true, None, false),
            (13, 19, "0123456789", true, None, true),
            (1, 3, "*#", true, None, false),
            (2, 2, "0123456789", true, Some((11, 17)), false),
            (2, 2, "0123456789", true, Some((11, 18)), true),
            (32, 32, "9", false, Some((0, 10u128.pow(32) - 1)), true),
            (0, 1, "0123456789", false, Some((10, 10)), false),
        ] {
            let entry = entry(min, max, digits, luhn, range);
            assert_eq!(expected, is_satisfiable(&entry), "{entry:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_entry(
            places in prop::collection::vec("[0-9]{1,3}", 1..4),
            luhn: bool,
            range in prop::option::of((0u128..1200, 0u128..1200)),
        ) {
            let set = |text: &String| text.chars().filter_map(Key::parse).collect::<KeySet>();
            let places: Vec<KeySet> = places.iter().map(set).collect();
            let mut entry = entry(1, 3, "0123456789", luhn, range);
            let mut every = vec![Digits::EMPTY];
            for keys in &places {
                every = every.iter().flat_map(|entry| keys.iter().filter_map(|key| entry.pushed(key))).collect();
            }
            let expected = every.into_iter().any(|digits| entry.is_valid(digits));
            entry.patterns = Some([Pattern(places.into())].into());
            prop_assert_eq!(expected, is_satisfiable(&entry));
        }
    }
}
