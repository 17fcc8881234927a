//! What a call id may look like, wherever one comes in: the stream, the local API, the command line.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

/// The most bytes that a call id has.
pub const CALL_ID_MAX: usize = 128;

/// Printable ASCII that a call id must not hold: what ends or splits a URL's path, and what quotes.
const FORBIDDEN: &[u8] = b"/\\?#\"<>";

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the id as one segment of a URL's path.
pub fn encode(id: &str) -> PercentEncode<'_> {
    utf8_percent_encode(id, RESERVED)
}

/// Reads an id out of one segment of a URL's path, or out of a query.
///
/// A `%` that no two hexadecimal digits follow is an error: whoever wrote it may have meant the id `a%4`,
/// or another.
///
/// # Errors
///
/// Returns what is wrong with it.
pub fn decode(segment: &str) -> Result<String, BadCallId> {
    for (at, _) in segment.match_indices('%') {
        let digits = segment.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadCallId::Percent { place: segment[..at].chars().count() + 1 });
        }
    }
    let id = percent_decode_str(segment).decode_utf8().map_err(|_| BadCallId::NotText)?;
    check(&id)?;
    Ok(id.into_owned())
}

/// What is wrong with a call id. The message is fit for whoever sent the id, and holds at most one
/// character of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadCallId {
    /// There is nothing in it.
    #[error("a call id has 1 to {CALL_ID_MAX} characters, and this one none")]
    Empty,
    /// It is longer than [`CALL_ID_MAX`].
    #[error("a call id has 1 to {CALL_ID_MAX} characters, and this one {0} bytes")]
    TooLong(usize),
    /// It holds something else than printable ASCII, or a character that is reserved.
    #[error(
        "character {place} of the call id is {found}; it may be printable ASCII but for space and / \\ ? # \" < >"
    )]
    Character {
        /// The character's place, counted from 1.
        place: usize,
        /// What stands there.
        found: Found,
    },
    /// It is `.` or `..`, which a URL's path takes for a direction.
    #[error("a call id may not be `.` or `..`")]
    Dots,
    /// In a URL: a `%` that encodes nothing.
    #[error("character {place} is a `%` that encodes nothing: in a URL the character `%` is `%25`")]
    Percent {
        /// The character's place, counted from 1.
        place: usize,
    },
    /// In a URL: what is encoded is no text.
    #[error("what its `%` encode is no text")]
    NotText,
}

/// A character that has no place in a call id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found(char);

impl fmt::Display for Found {
    /// Writes the character itself where that is safe on a terminal, else its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ' ' => f.write_str("a space"),
            shown @ '!'..='~' => write!(f, "`{shown}`"),
            other => write!(f, "U+{:04X}", u32::from(other)),
        }
    }
}

/// Checks that `id` can name a call: 1 to [`CALL_ID_MAX`] bytes of printable ASCII without space
/// and `/ \ ? # " < >`, and not `.` or `..`. SIP call ids, which hold `@ % ~`, pass.
///
/// # Errors
///
/// Returns the first thing that is wrong with it.
pub fn check(id: &str) -> Result<(), BadCallId> {
    match id {
        "" => return Err(BadCallId::Empty),
        "." | ".." => return Err(BadCallId::Dots),
        _ if id.len() > CALL_ID_MAX => return Err(BadCallId::TooLong(id.len())),
        _ => (),
    }
    // Bytes first: nearly every id is fine, and this is asked for every digit.
    if id.bytes().all(|byte| byte.is_ascii_graphic() && !FORBIDDEN.contains(&byte)) {
        return Ok(());
    }
    let allowed = |c: char| c.is_ascii_graphic() && !FORBIDDEN.contains(&(c as u8));
    match id.chars().zip(1..).find(|&(c, _)| !allowed(c)) {
        Some((c, place)) => Err(BadCallId::Character { place, found: Found(c) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_telephony_uses_for_ids() {
        let longest = "a".repeat(CALL_ID_MAX);
        for id in [
            "c",
            "c-7f3a91",
            "...",
            ".a",
            "a84b4c76e66710@pc33.atlanta.example.com",
            "1731%40~_!$&'()*+,;=:[]{}|^`",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            &longest,
        ] {
            assert_eq!(Ok(()), check(id), "{id}");
        }
    }

    #[test]
    fn is_one_segment_of_a_path_and_comes_back_out_of_it() {
        for id in ["c-1._~", "a@b", "1731%40~", "%", "!$&'()*+,;=:[]{}|^`"] {
            let segment = encode(id).to_string();
            assert!(!segment.contains(['/', '?', '#']), "{segment}");
            assert_eq!(Ok(id.to_owned()), decode(&segment), "{segment}");
        }
        assert_eq!("1731%2540~", encode("1731%40~").to_string());
        assert_eq!(Ok("a@b+c".to_owned()), decode("a@b+c"), "what needs no encoding may go without");
        for (segment, expected) in [
            ("", BadCallId::Empty),
            ("%2e%2E", BadCallId::Dots),
            ("a%2Fb", BadCallId::Character { place: 2, found: Found('/') }),
            ("a%00", BadCallId::Character { place: 2, found: Found('\0') }),
            ("a%", BadCallId::Percent { place: 2 }),
            ("a%4", BadCallId::Percent { place: 2 }),
            ("a%40%+1", BadCallId::Percent { place: 5 }),
            ("%zz", BadCallId::Percent { place: 1 }),
            ("a%4é", BadCallId::Percent { place: 2 }),
            ("%ff", BadCallId::NotText),
        ] {
            assert_eq!(Err(expected), decode(segment), "{segment}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let long = "a".repeat(CALL_ID_MAX + 1);
        for (id, expected) in [
            ("", "none"),
            (long.as_str(), "129 bytes"),
            (".", "`.` or `..`"),
            ("..", "`.` or `..`"),
            ("a b", "character 2 of the call id is a space"),
            ("a/b", "character 2 of the call id is `/`"),
            ("\\", "is `\\`"),
            ("abc?", "character 4 of the call id is `?`"),
            ("#", "is `#`"),
            ("\"", "is `\"`"),
            ("<", "is `<`"),
            (">", "is `>`"),
            ("é/", "character 1 of the call id is U+00E9"),
            ("a\u{1b}[2J", "character 2 of the call id is U+001B"),
            ("a\0", "is U+0000"),
            ("a\u{7f}", "is U+007F"),
        ] {
            let message = check(id).expect_err(id).to_string();
            assert!(message.contains(expected), "{id:?}: {message}");
        }
    }
}
