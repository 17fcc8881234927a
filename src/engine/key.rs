//! One DTMF key, sets of keys, and the digits of an entry.

use std::fmt;

use super::row::{Reader, Unreadable, Writer};

/// A DTMF key: `0-9 * # A-D`, the sixteen events of RFC 4733 section 3.2, in that order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u8);

/// What is written for each key, by its RFC 4733 event number.
const SYMBOLS: &[u8; 16] = b"0123456789*#ABCD";

impl Key {
    /// Every key, in the order of its RFC 4733 event number.
    pub const ALL: [Key; 16] = {
        let mut keys = [Key(0); 16];
        let mut event = 0;
        while event < 16 {
            keys[event as usize] = Key(event);
            event += 1;
        }
        keys
    };

    /// Reads one key; `a-d` mean `A-D`, as IVR.md section 4 says.
    pub fn parse(symbol: char) -> Option<Key> {
        let event = match symbol {
            '0'..='9' => symbol as u8 - b'0',
            '*' => 10,
            '#' => 11,
            'A'..='D' => symbol as u8 - b'A' + 12,
            'a'..='d' => symbol as u8 - b'a' + 12,
            _ => return None,
        };
        Some(Key(event))
    }

    /// Returns the RFC 4733 event number, 0 to 15.
    pub fn event(self) -> u8 {
        self.0
    }

    /// Returns the key's symbol, one of `0-9*#A-D`.
    pub fn symbol(self) -> char {
        char::from(SYMBOLS[usize::from(self.0)])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Write::write_char(f, self.symbol())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.symbol())
    }
}

/// A set of keys: one place of a pattern, or the digits an entry may hold.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct KeySet(u16);

impl KeySet {
    /// The set without a key.
    pub const EMPTY: KeySet = KeySet(0);
    /// `0` to `9`: what the pattern symbol `X` stands for.
    pub const DECIMAL: KeySet = KeySet(0x03ff);

    /// Returns the set with `key` added.
    #[must_use]
    pub fn with(self, key: Key) -> KeySet {
        KeySet(self.0 | 1 << key.0)
    }

    /// Returns whether `key` is in the set.
    pub fn contains(self, key: Key) -> bool {
        self.0 & 1 << key.0 != 0
    }

    /// Returns the keys that are in both sets.
    #[must_use]
    pub fn intersection(self, other: KeySet) -> KeySet {
        KeySet(self.0 & other.0)
    }

    /// Returns whether the set is without a key.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns how many keys are in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns the keys in the set, in the order of their event numbers.
    pub fn iter(self) -> impl Iterator<Item = Key> {
        Key::ALL.into_iter().filter(move |&key| self.contains(key))
    }
}

impl FromIterator<Key> for KeySet {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> KeySet {
        keys.into_iter().fold(KeySet::EMPTY, KeySet::with)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        self.iter().try_for_each(|key| write!(f, "{key}"))?;
        f.write_str("]")
    }
}

/// The keys of one entry so far, without its termination key: at most [`Digits::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Digits {
    /// Four bits a key, the first key lowest.
    keys: u128,
    len: u8,
}

impl Digits {
    /// The most keys an entry can hold. A payment card has 19, an IBAN's digits 30; a longer
    /// `max` or pattern is refused when the tree is loaded.
    pub const MAX: usize = 32;
    /// No key at all.
    pub const EMPTY: Digits = Digits { keys: 0, len: 0 };

    /// Returns how many keys there are.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns these digits with `key` after them; `None` when they are [`Digits::MAX`] already.
    pub fn pushed(self, key: Key) -> Option<Digits> {
        (self.len() < Self::MAX)
            .then(|| Digits { keys: self.keys | u128::from(key.0) << (4 * self.len), len: self.len + 1 })
    }

    /// Returns the key at `index`, counted from 0.
    ///
    /// # Panics
    ///
    /// Panics if there are not that many keys.
    pub fn get(&self, index: usize) -> Key {
        assert!(index < self.len(), "digit {index} of {}", self.len());
        Key((self.keys >> (4 * index) & 0xf) as u8)
    }

    /// Returns the first `len` keys.
    ///
    /// # Panics
    ///
    /// Panics if there are not that many keys.
    #[must_use]
    pub fn prefix(self, len: usize) -> Digits {
        assert!(len <= self.len(), "prefix {len} of {}", self.len());
        let kept = match len {
            Self::MAX => u128::MAX,
            _ => (1 << (4 * len)) - 1,
        };
        Digits { keys: self.keys & kept, len: len as u8 }
    }

    pub(super) fn write(self, writer: &mut Writer) {
        writer.byte(self.len);
        writer.wide(self.keys);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Digits, Unreadable> {
        let (len, keys) = (reader.byte()?, reader.wide()?);
        let digits = Digits { keys, len };
        let is_whole = digits.len() <= Self::MAX && digits.prefix(digits.len()) == digits;
        if is_whole { Ok(digits) } else { Err(Unreadable) }
    }

    /// Returns the keys, the first one first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Key> + ExactSizeIterator {
        (0..self.len()).map(move |index| self.get(index))
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|key| write!(f, "{key}"))
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_symbol_back_and_nothing_else() {
        for key in Key::ALL {
            assert_eq!(Some(key), Key::parse(key.symbol()));
        }
        assert_eq!(Key::parse('A'), Key::parse('a'));
        for symbol in ['e', 'E', ' ', '+', '٣', '\0'] {
            assert_eq!(None, Key::parse(symbol), "{symbol:?}");
        }
    }

    #[test]
    fn holds_as_many_digits_as_it_says_and_no_more() {
        let mut digits = Digits::EMPTY;
        for index in 0..Digits::MAX {
            digits = digits.pushed(Key::ALL[index % 16]).expect("there is room");
        }
        assert_eq!(None, digits.pushed(Key::ALL[0]));
        assert_eq!("0123456789*#ABCD0123456789*#ABCD", digits.to_string());
        assert_eq!(digits, digits.prefix(Digits::MAX));
        assert_eq!("0123456789*#ABCD0", digits.prefix(17).to_string());
        assert_eq!(Digits::EMPTY, digits.prefix(0));
    }
}
