//! What a call id may look like, wherever one comes in: the stream, the local API, the command line.

use std::fmt;

/// The most bytes that a call id has.
pub const CALL_ID_MAX: usize = 128;

/// Printable ASCII that a call id must not hold: what ends or splits a URL's path, and what quotes.
const FORBIDDEN: &[u8] = b"/\\?#\"<>";

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
