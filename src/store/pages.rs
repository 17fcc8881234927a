//! The rows of a database file as they lie on its pages, without SQLite: what can be read of a damaged
//! one (<https://sqlite.org/fileformat2.html>).
//!
//! Nothing on a page is trusted: a row counts if its CRC is right. Rows lie in the leaves of tables
//! only, and what was deleted is zeroed (`secure_delete`), so whatever leaf a row is found in, it was
//! there last. What leads to a leaf isn't needed at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::types::ValueRef;

use super::table::{COLUMNS_MAX, Table, whole};
use super::wal::Log;

/// The size of a page: SQLite's own choice for a new database.
pub(super) const PAGE: usize = 4096;
/// The first page begins with the header of the database.
const HEADER: usize = 100;
/// A leaf of a table begins with this.
const TABLE_LEAF: u8 = 0x0d;
/// So much of a row lies on its leaf at most; see "B-tree Pages" of the file format.
const LOCAL_MAX: usize = PAGE - 35;
/// So much at least, where the rest lies on overflow pages.
const LOCAL_MIN: usize = (PAGE - 12) * 32 / 255 - 23;
/// No row is longer: a tree has 1 MiB at most.
const ROW_MAX: usize = 2 << 20;

/// A page.
pub(super) type Page = [u8; PAGE];

/// The pages of a database file, as its write-ahead log has them last.
#[derive(Debug)]
pub(super) struct Pages {
    file: Option<File>,
    log: Log,
    count: u64,
}

impl Pages {
    /// Opens the pages of a database; there may be only its log.
    pub(super) fn open(path: &Path, log: Log) -> io::Result<Pages> {
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let length = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))?;
        // A last page that is cut off counts: what is left of it may hold rows.
        let count = length.div_ceil(PAGE as u64).max(log.pages().max().unwrap_or(0));
        Ok(Pages { file, log, count })
    }

    /// Hands every row that is whole to `take`: older ones may come after younger ones.
    pub(super) fn each<E>(
        &self,
        mut take: impl FnMut(Table, i64, &[ValueRef<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut page = [0; PAGE];
        for number in 1..=self.count {
            if self.read(number, &mut page) {
                self.rows_of(number, &page, &mut take)?;
            }
        }
        // Behind the place where the log is broken lies what nobody reads any more.
        for (number, place) in self.log.behind_the_break() {
            if self.log.read(place, &mut page) {
                self.rows_of(number, &page, &mut take)?;
            }
        }
        Ok(())
    }

    /// Reads a page; what can't be read of it is zero. Returns whether there is anything of it.
    fn read(&self, number: u64, page: &mut Page) -> bool {
        if let Some(place) = self.log.place_of(number) {
            return self.log.read(place, page);
        }
        let Some(file) = &self.file else { return false };
        page.fill(0);
        let begin = number.saturating_sub(1).saturating_mul(PAGE as u64);
        let mut filled = 0;
        while filled < PAGE {
            match file.read_at(&mut page[filled..], begin.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => break,
            }
        }
        filled > 0
    }

    fn rows_of<E>(
        &self,
        number: u64,
        page: &Page,
        take: &mut impl FnMut(Table, i64, &[ValueRef<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let header = if number == 1 { HEADER } else { 0 };
        if page[header] != TABLE_LEAF {
            return Ok(());
        }
        let n_cells = usize::from(u16::from_be_bytes([page[header + 3], page[header + 4]]));
        let pointers = page[header + 8..].chunks_exact(2).take(n_cells);
        for pointer in pointers {
            // SQLite looks at no more bits of it than a page needs.
            let begin = usize::from(u16::from_be_bytes([pointer[0], pointer[1]])) % PAGE;
            let Some(mut cell) = page.get(begin..) else { continue };
            let Some((length, key)) = varint(&mut cell).zip(varint(&mut cell)) else { continue };
            let key = key as i64;
            // A record says itself how long it is: the length before it matters only where a part of it
            // lies elsewhere.
            if let Some((table, columns)) = record(cell).and_then(|record| record.row(key)) {
                take(table, key, &columns)?;
            } else if let Some(payload) = self.spilled(cell, length)
                && let Some((table, columns)) = record(&payload).and_then(|record| record.row(key))
            {
                take(table, key, &columns)?;
            }
        }
        Ok(())
    }

    /// Reads a record that begins in a cell and goes on on overflow pages.
    fn spilled(&self, cell: &[u8], length: u64) -> Option<Vec<u8>> {
        let length =
            usize::try_from(length).ok().filter(|length| (LOCAL_MAX + 1..=ROW_MAX).contains(length))?;
        let wanted = LOCAL_MIN + (length - LOCAL_MIN) % (PAGE - 4);
        let local = if wanted <= LOCAL_MAX { wanted } else { LOCAL_MIN };
        let (begin, rest) = cell.split_at_checked(local)?;
        let mut payload = begin.to_vec();
        let mut next = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))?;
        let mut page = [0; PAGE];
        // It ends: each page adds some, and the length is bounded.
        while payload.len() < length {
            if next == 0 || !self.read(u64::from(next), &mut page) {
                return None;
            }
            let (head, body) = page.split_at(4);
            next = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            payload.extend_from_slice(&body[..body.len().min(length - payload.len())]);
        }
        Some(payload)
    }
}

/// What a record holds: the values of its columns, the first of which stands for the key.
struct Record<'a> {
    columns: [ValueRef<'a>; COLUMNS_MAX],
    n_columns: usize,
}

impl<'a> Record<'a> {
    /// Returns the table that this is a row of, and its columns without the CRC, if it is whole.
    fn row(&self, key: i64) -> Option<(Table, Vec<ValueRef<'a>>)> {
        let columns = self.columns.get(1..self.n_columns)?;
        let table = Table::ALL.into_iter().find(|table| table.columns().len() + 1 == columns.len())?;
        whole(table, key, columns).map(|columns| (table, columns.to_vec()))
    }
}

/// Reads a number as records have them: seven bits a byte, the highest first; of the ninth byte all eight.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if place == 8 {
            return Some(number << 8 | u64::from(byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            break;
        }
    }
    Some(number)
}

/// Reads a record from the begin of `payload`, whatever comes after it.
fn record(payload: &[u8]) -> Option<Record<'_>> {
    let mut columns = [ValueRef::Null; COLUMNS_MAX];
    let mut header = payload;
    let length = usize::try_from(varint(&mut header)?).ok()?;
    let mut types = payload.get(payload.len() - header.len()..length)?;
    let mut body = payload.get(length..)?;
    let mut n_columns = 0;
    while !types.is_empty() {
        let column = columns.get_mut(n_columns)?;
        *column = value(varint(&mut types)?, &mut body)?;
        n_columns += 1;
    }
    (n_columns > 0).then_some(Record { columns, n_columns })
}

/// Reads a value of a serial type.
fn value<'a>(serial: u64, body: &mut &'a [u8]) -> Option<ValueRef<'a>> {
    let mut take = |length: u64| {
        let (taken, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
        *body = rest;
        Some(taken)
    };
    let mut integer = |length| {
        let bytes = take(length)?;
        let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
        Some(ValueRef::Integer(bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte))))
    };
    match serial {
        0 => Some(ValueRef::Null),
        1..=4 => integer(serial),
        5 => integer(6),
        6 => integer(8),
        8 => Some(ValueRef::Integer(0)),
        9 => Some(ValueRef::Integer(1)),
        12.. if serial.is_multiple_of(2) => take((serial - 12) / 2).map(ValueRef::Blob),
        13.. => take((serial - 13) / 2).map(ValueRef::Text),
        // A number with a fraction, which no row of ours has, or a type that doesn't exist.
        7 | 10.. => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_sqlite_writes_them() {
        for (bytes, expected) in [
            (&[0x00][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x81, 0x00], Some(128)),
            (&[0xff; 9], Some(u64::MAX)),
            (&[0x80; 8], None),
            (&[], None),
        ] {
            assert_eq!(expected, varint(&mut &*bytes), "{bytes:x?}");
        }
    }

    #[test]
    fn a_record_that_is_cut_anywhere_is_none() {
        // NULL, 1 byte -2, 0, 1, the text "ab", a blob of one byte.
        let bytes = [7, 0, 1, 8, 9, 17, 14, 0xfe, b'a', b'b', 7];
        let Record { columns, n_columns } = record(&bytes).unwrap();
        let expected = [
            ValueRef::Null,
            ValueRef::Integer(-2),
            ValueRef::Integer(0),
            ValueRef::Integer(1),
            ValueRef::Text(b"ab"),
            ValueRef::Blob(&[7]),
        ];
        assert_eq!(expected, columns[..n_columns]);
        for cut in 0..bytes.len() {
            assert!(record(&bytes[..cut]).is_none(), "cut to {cut}");
        }
        assert!(record(&[1]).is_none() && record(&[0xff; 40]).is_none());
    }
}
