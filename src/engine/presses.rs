//! What was pressed on a call, and when: for its history, some three bytes a key.

use super::event::{Tick, Verdict};
use super::key::Key;
use super::row::{Reader, Unreadable, Writer};

/// How long the record of a call may grow: some 700 keys. Somebody who leans on a key for ten minutes
/// should not fill the disk; what comes after is only counted.
const BYTES_MAX: usize = 2048;
/// In the place of a key that is not to be shown.
const MASKED: u8 = Key::ALL.len() as u8;

/// One key press of a call's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Press {
    /// Milliseconds since the call began.
    pub at_ms: u64,
    /// The key; `None` where it was, or may have become, part of a masked entry.
    pub key: Option<Key>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What was pressed on a call, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presses {
    last: Tick,
    bytes: Vec<u8>,
    omitted: u32,
}

impl Presses {
    pub(super) fn since(began: Tick) -> Presses {
        Presses { last: began, bytes: Vec::new(), omitted: 0 }
    }

    /// Notes a key press.
    pub(super) fn note(&mut self, at: Tick, key: Option<Key>, verdict: Verdict) {
        if self.bytes.len() >= BYTES_MAX {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        let mut since = at.since(self.last);
        self.last = self.last.max(at);
        while since >= 0x80 {
            self.bytes.push(since as u8 | 0x80);
            since >>= 7;
        }
        self.bytes.push(since as u8);
        let key = key.map_or(MASKED, Key::event);
        let place = Verdict::ALL.into_iter().position(|known| known == verdict);
        let place = place.expect("`ALL` holds every verdict") as u8;
        self.bytes.push(key * Verdict::ALL.len() as u8 + place);
    }

    /// Returns the record as bytes, which [`Presses::read`] reads.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns how many key presses came after the record was full.
    pub fn omitted(&self) -> u32 {
        self.omitted
    }

    /// Returns the key presses that `bytes` tell of, up to the first that can't be read.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = Press> + '_ {
        let mut rest = bytes;
        let mut at_ms = 0u64;
        std::iter::from_fn(move || {
            let end = rest.iter().position(|byte| *byte < 0x80).filter(|&end| end < 9)?;
            let since = rest[..=end].iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
            at_ms = at_ms.saturating_add(since);
            let code = usize::from(*rest.get(end + 1)?);
            rest = &rest[end + 2..];
            let (key, verdict) = (code / Verdict::ALL.len(), Verdict::ALL[code % Verdict::ALL.len()]);
            let key = match key as u8 {
                MASKED => None,
                _ => Some(*Key::ALL.get(key)?),
            };
            Some(Press { at_ms, key, verdict })
        })
    }

    pub(super) fn write_row(&self, writer: &mut Writer) {
        writer.tick(self.last);
        writer.bytes(&self.bytes);
        writer.number(u64::from(self.omitted));
    }

    pub(super) fn read_row(reader: &mut Reader<'_>) -> Result<Presses, Unreadable> {
        Ok(Presses { last: reader.tick()?, bytes: reader.bytes()?.to_vec(), omitted: reader.narrow()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_noted_up_to_its_bound() {
        let mut presses = Presses::since(Tick(1_000));
        let mut noted = Vec::new();
        for (number, verdict) in Verdict::ALL.into_iter().cycle().take(900).enumerate() {
            let key = (number % 17 != 16).then(|| Key::ALL[number % 17 % 16]);
            let at_ms = number as u64 * 200;
            presses.note(Tick(1_000 + at_ms), key, verdict);
            noted.push(Press { at_ms, key, verdict });
        }
        let read: Vec<_> = Presses::read(presses.bytes()).collect();
        assert!(read.len() > 600 && presses.bytes().len() <= BYTES_MAX + 10, "{}", read.len());
        assert_eq!(noted[..read.len()], read);
        assert_eq!(900 - read.len(), presses.omitted() as usize);
        for cut in 0..20 {
            assert!(Presses::read(&presses.bytes()[..cut]).count() <= cut / 2, "cut to {cut}");
        }
        assert_eq!(0, Presses::read(&[0xff; 30]).count());
    }
}
