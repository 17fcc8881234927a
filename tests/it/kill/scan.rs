//! The search for digits of masked nodes in everything that lies in the state directory.

use std::fs;
use std::path::Path;

/// The keys of the masked entry, which no other node of the trees takes. Every six of them in a row hold
/// one twice, which the other presses of a walk never do.
pub(super) const CANARY: &str = "7889798779987898";
/// So many bytes in a row are a find. Of ASCII digits in a row there are many in a database: times.
const ASCII_MIN: usize = 8;
/// One key a byte: by chance once in 10^12 of random bytes.
const BYTES_MIN: usize = 6;
/// Two keys a byte: 48 bits.
const NIBBLES_MIN: usize = 12;
/// Keys of a call's history: a time of one or two bytes, then the key's number times this.
const HISTORY_FACTOR: u8 = 9;

/// Returns where `keys`, or enough of them in a row, are written in any file below `folder`, and how.
pub(super) fn find(folder: &Path, keys: &str) -> Vec<String> {
    let needles = needles(keys);
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there").map_while(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                let finds = needles.find(&bytes);
                found.extend(finds.into_iter().map(|(at, how)| format!("{}: {how} at {at}", path.display())));
            }
        }
    }
    found
}

struct Needles {
    /// What to look for as it is, and what that is.
    plain: Vec<(Vec<u8>, &'static str)>,
    /// The bytes of a call's history, without the times between.
    history: Vec<Vec<u8>>,
    /// Whether anything begins with this byte.
    begins: [bool; 256],
}

fn needles(keys: &str) -> Needles {
    let symbols = "0123456789*#ABCD";
    let codes: Vec<u8> = keys.chars().map(|key| symbols.find(key).expect("it is a DTMF key") as u8).collect();
    let mut plain = Vec::new();
    plain.extend(keys.as_bytes().windows(ASCII_MIN).map(|window| (window.to_vec(), "as text")));
    plain.extend(codes.windows(BYTES_MIN).map(|window| (window.to_vec(), "a key a byte")));
    let pairs = |codes: &[u8], low_first: bool| -> Vec<u8> {
        let pair = |pair: &[u8]| if low_first { pair[1] << 4 | pair[0] } else { pair[0] << 4 | pair[1] };
        codes.chunks_exact(2).map(pair).collect()
    };
    for window in codes.windows(NIBBLES_MIN) {
        plain.push((pairs(window, true), "two keys a byte"));
        plain.push((pairs(window, false), "two keys a byte, the first one high"));
    }
    let history: Vec<Vec<u8>> = codes
        .windows(BYTES_MIN)
        .map(|window| window.iter().map(|code| code * HISTORY_FACTOR).collect())
        .collect();
    let mut begins = [false; 256];
    let firsts = plain.iter().map(|(needle, _)| needle[0]).chain(history.iter().map(|needle| needle[0]));
    firsts.for_each(|first| begins[usize::from(first)] = true);
    Needles { plain, history, begins }
}

impl Needles {
    fn find(&self, bytes: &[u8]) -> Vec<(usize, &'static str)> {
        let mut found = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            if !self.begins[usize::from(byte)] {
                continue;
            }
            let rest = &bytes[at..];
            let plain = self.plain.iter().filter(|(needle, _)| rest.starts_with(needle));
            found.extend(plain.map(|(_, how)| (at, *how)));
            if self.history.iter().any(|needle| is_history(needle, rest)) {
                found.push((at, "as a history"));
            }
        }
        found
    }
}

/// Returns whether `bytes` begin with the codes of a history, a time of one or two bytes between any two.
fn is_history(codes: &[u8], bytes: &[u8]) -> bool {
    let mut at = 0;
    for (number, code) in codes.iter().enumerate() {
        if number > 0 {
            at += match bytes.get(at) {
                Some(0..0x80) => 1,
                _ => 2,
            };
        }
        if bytes.get(at) != Some(code) {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Scratch;

    #[test]
    fn the_search_for_masked_digits_finds_them_however_they_are_written() {
        let codes: Vec<u8> = CANARY.bytes().map(|key| key - b'0').collect();
        let history: Vec<u8> =
            codes.iter().zip([3, 90].iter().cycle()).flat_map(|(code, ms)| [code * 9, *ms]).collect();
        let slow: Vec<u8> = codes.iter().flat_map(|code| [code * 9, 0x81, 0x01]).collect();
        let low: Vec<u8> = codes.chunks(2).map(|pair| pair[1] << 4 | pair[0]).collect();
        let high: Vec<u8> = codes[1..].chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        for written in [CANARY.as_bytes(), &CANARY.as_bytes()[3..11], &codes, &history, &slow, &low, &high] {
            let folder = Scratch::new("canary-scan");
            let bytes = [&[0; 100][..], written, &[0xff; 100]].concat();
            fs::create_dir_all(folder.path().join("deep")).expect("it can be made");
            fs::write(folder.path().join("deep/file"), bytes).expect("it can be written");
            assert!(!find(folder.path(), CANARY).is_empty(), "{written:?}");
        }
        let folder = Scratch::new("canary-scan-clean");
        folder.write("file", "1763942417889 7889 8779 0123456789*#ABCD 78897980");
        assert!(find(folder.path(), CANARY).is_empty());
    }
}
