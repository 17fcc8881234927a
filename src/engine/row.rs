//! How rows are written: numbers as LEB128, texts and lists with their length in front.
//!
//! What a row holds is written beside the type that it holds: `Call::write_row`, `Delivery`'s updates.
//! A row begins with [`VERSION`]; one of another version, or with a byte too many or too few, is
//! unreadable as a whole. Whoever keeps rows sees to it that they come back as they were given.

use std::sync::Arc;

use super::event::Tick;

/// The version of every row. It changes with what any row holds, and with the order in which
/// `tree::load` numbers nodes and entries: rows name them by number.
pub(super) const VERSION: u8 = 1;

/// A row that can't be read: of another version, or damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable;

/// Writes a row.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Writer {
        Writer(vec![VERSION])
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn wide(&mut self, number: u128) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn tick(&mut self, tick: Tick) {
        self.number(tick.0);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads a row.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins to read a row.
    ///
    /// # Errors
    ///
    /// It is of another version.
    pub(super) fn new(row: &'a [u8]) -> Result<Reader<'a>, Unreadable> {
        match row {
            [VERSION, rest @ ..] => Ok(Reader(rest)),
            _ => Err(Unreadable),
        }
    }

    /// Sees to it that the row ends here.
    pub(super) fn finish(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable) }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let (&byte, rest) = self.0.split_first().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Unreadable> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Unreadable);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable)
    }

    /// Reads a number that fits another type.
    pub(super) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Unreadable> {
        T::try_from(self.number()?).map_err(|_| Unreadable)
    }

    pub(super) fn wide(&mut self) -> Result<u128, Unreadable> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(u128::from_le_bytes(*bytes))
    }

    pub(super) fn tick(&mut self) -> Result<Tick, Unreadable> {
        self.number().map(Tick)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.narrow()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unreadable)
    }

    pub(super) fn shared(&mut self) -> Result<Arc<str>, Unreadable> {
        self.text().map(Arc::from)
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// Reads a list. Nothing is reserved ahead: a damaged length ends at the row's end.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        let length = self.number()?;
        let mut list = Vec::new();
        for _ in 0..length {
            list.push(read(self)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_written_and_refuses_every_cut_of_it() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let mut writer = Writer::new();
        numbers.into_iter().for_each(|number| writer.number(number));
        writer.wide(u128::MAX - 5);
        writer.text("grüße");
        writer.option(Some(7), Writer::number);
        writer.option(None, Writer::number);
        let row = writer.finish();
        type Read = (Vec<u64>, u128, String, Option<u64>, Option<u64>);
        let read = |row: &[u8]| -> Result<Read, Unreadable> {
            let mut reader = Reader::new(row)?;
            let read: Result<Vec<_>, _> = numbers.iter().map(|_| reader.number()).collect();
            let (wide, text) = (reader.wide()?, reader.text()?.to_owned());
            let (some, none) = (reader.option(Reader::number)?, reader.option(Reader::number)?);
            reader.finish()?;
            Ok((read?, wide, text, some, none))
        };
        assert_eq!(Ok((numbers.to_vec(), u128::MAX - 5, "grüße".to_owned(), Some(7), None)), read(&row));
        for cut in 0..row.len() {
            assert_eq!(Err(Unreadable), read(&row[..cut]), "cut to {cut}");
        }
        assert_eq!(Err(Unreadable), read(&[row.as_slice(), &[0]].concat()), "a byte too many");
        assert_eq!(Err(Unreadable), read(&[&[VERSION + 1], &row[1..]].concat()), "another version");
    }

    #[test]
    fn a_number_past_64_bits_and_a_length_past_the_row_are_unreadable() {
        let mut large = vec![VERSION];
        large.extend([0xff; 9]);
        large.push(0x02);
        assert_eq!(Err(Unreadable), Reader::new(&large).and_then(|mut reader| reader.number()));
        let long = [VERSION, 0xff, 0xff, 0x7f];
        assert_eq!(Err(Unreadable), Reader::new(&long).and_then(|mut reader| reader.bytes()));
        assert_eq!(Err(Unreadable), Reader::new(&long).and_then(|mut reader| reader.list(Reader::byte)));
    }
}
