//! The write-ahead log of a database, read without SQLite: which pages it has, and whether it is broken
//! (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
//!
//! SQLite reads a log up to the first frame whose checksum is wrong and takes that for its end: so ends
//! one whose last transaction a power cut tore. Where whole transactions follow, the log was damaged,
//! and what it tells of them is to be had still, page by page.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::pages::{PAGE, Page};

const HEADER: u64 = 32;
const FRAME_HEADER: usize = 24;
const FRAME: u64 = FRAME_HEADER as u64 + PAGE as u64;
/// The first word of a log; the lowest bit is set if its checksums are of big-endian words.
const MAGIC: u32 = 0x377f_0682;
/// More frames are not looked at: 1 GiB, where a log is cut to 4 MiB after each transaction.
const FRAMES_MAX: u64 = 1 << 18;

/// What a write-ahead log holds.
#[derive(Default, Debug)]
pub(super) struct Log {
    file: Option<File>,
    /// Where each page lies that a committed transaction wrote.
    committed: HashMap<u64, u64>,
    /// The pages behind the place where the log is broken, in order, if whole transactions are there.
    behind: Vec<(u64, u64)>,
}

/// A frame's header.
struct Frame {
    page: u32,
    /// Not 0 in the last frame of a transaction.
    size_after: u32,
    salt: [u8; 8],
    sums: [u32; 2],
}

impl Log {
    /// Reads the log at `path`; where there is none, it is empty.
    pub(super) fn read_at(path: &Path) -> io::Result<Log> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Log::default()),
            Err(error) => return Err(error),
        };
        let n_frames = (file.metadata()?.len().saturating_sub(HEADER) / FRAME).min(FRAMES_MAX);
        let mut log = Log { file: Some(file), ..Log::default() };
        if n_frames > 0 {
            log.follow(n_frames)?;
        }
        Ok(log)
    }

    /// Returns whether there is anything in it.
    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.behind.is_empty()
    }

    /// Returns whether whole transactions lie behind a place that is damaged.
    pub(super) fn is_broken(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Returns the numbers of the pages that it has.
    pub(super) fn pages(&self) -> impl Iterator<Item = u64> + '_ {
        self.committed.keys().copied()
    }

    /// Returns where a page lies, if a committed transaction wrote it.
    pub(super) fn place_of(&self, page: u64) -> Option<u64> {
        self.committed.get(&page).copied()
    }

    /// Returns the numbers and the places of the pages that nobody reads any more, in order.
    pub(super) fn behind_the_break(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.behind.iter().copied()
    }

    /// Reads the page that lies at `place`. Returns whether it could.
    pub(super) fn read(&self, place: u64, page: &mut Page) -> bool {
        self.file.as_ref().is_some_and(|file| file.read_exact_at(page, place).is_ok())
    }

    fn follow(&mut self, n_frames: u64) -> io::Result<()> {
        let file = self.file.as_ref().expect("there are frames, so there is a file");
        let mut header = [0; HEADER as usize];
        file.read_exact_at(&mut header, 0)?;
        let magic = word(&header, 0);
        let is_big = magic & 1 == 1;
        let sums = checksum([0, 0], &header[..24], is_big);
        let is_whole = magic & !1 == MAGIC
            && word(&header, 8) == PAGE as u32
            && sums == [word(&header, 24), word(&header, 28)];

        let mut bytes = [0; FRAME as usize];
        let mut salt: Option<[u8; 8]> = is_whole.then(|| header[16..24].try_into().expect("eight bytes"));
        let mut chain = is_whole.then_some(sums);
        let mut open = Vec::new();
        let mut behind = Vec::new();
        let mut transactions_behind = 0;
        for number in 0..n_frames {
            let begin = HEADER + number * FRAME;
            file.read_exact_at(&mut bytes, begin)?;
            let frame = Frame::of(&bytes);
            let place = begin + FRAME_HEADER as u64;
            // Without a header the first frame tells which ones belong together.
            let is_ours = frame.salt == *salt.get_or_insert(frame.salt) && frame.page > 0;
            chain = chain.and_then(|sums| {
                let sums = checksum(checksum(sums, &bytes[..8], is_big), &bytes[FRAME_HEADER..], is_big);
                (is_ours && sums == frame.sums).then_some(sums)
            });
            if chain.is_some() {
                open.push((u64::from(frame.page), place));
                if frame.size_after > 0 {
                    self.committed.extend(open.drain(..));
                }
            } else if is_ours {
                behind.push((u64::from(frame.page), place));
                transactions_behind += u32::from(frame.size_after > 0);
            }
        }
        // The last transaction may just be torn: it was never answered, and nothing of it counts.
        if transactions_behind > 1 {
            open.append(&mut behind);
            self.behind = open;
        }
        Ok(())
    }
}

impl Frame {
    fn of(bytes: &[u8]) -> Frame {
        Frame {
            page: word(bytes, 0),
            size_after: word(bytes, 4),
            salt: bytes[8..16].try_into().expect("eight bytes"),
            sums: [word(bytes, 16), word(bytes, 20)],
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn checksum(sums: [u32; 2], bytes: &[u8], is_big: bool) -> [u32; 2] {
    let [mut first, mut second] = sums;
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let bytes = pair[at..at + 4].try_into().expect("four bytes");
            if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        first = first.wrapping_add(word(0)).wrapping_add(second);
        second = second.wrapping_add(word(4)).wrapping_add(first);
    }
    [first, second]
}
