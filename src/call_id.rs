//! What a call may be named, wherever its name comes from.

/// How many bytes a call's id may have.
pub const CALL_ID_MAX: usize = 128;

/// A call's id that is not taken. It does not repeat the id, which may hold anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadCallId {
    /// It has no byte.
    #[error("a call id is not empty")]
    Empty,
    /// It is too long.
    #[error("a call id has at most {CALL_ID_MAX} bytes")]
    TooLong,
    /// It would mean another place in a URL.
    #[error("a call id is not `.` or `..`")]
    Dots,
    /// It holds a byte that is not allowed.
    #[error("a call id is printable ASCII without space and / \\ ? # \" < >")]
    Symbol,
}

/// Checks that `id` may name a call: 1 to 128 bytes of printable ASCII without space and `/ \ ? # " < >`,
/// and neither `.` nor `..`.
///
/// SIP call ids hold `@`, `%` and `~`; what is left out would be read as something else in a URL, a log
/// line or a page.
///
/// # Errors
///
/// Returns the first rule that `id` breaks.
pub fn check(id: &str) -> Result<(), BadCallId> {
    if id.is_empty() {
        Err(BadCallId::Empty)
    } else if id.len() > CALL_ID_MAX {
        Err(BadCallId::TooLong)
    } else if id == "." || id == ".." {
        Err(BadCallId::Dots)
    } else if !id.bytes().all(|byte| byte.is_ascii_graphic() && !br#"/\?#"<>"#.contains(&byte)) {
        Err(BadCallId::Symbol)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_telephony_calls_calls_and_nothing_that_a_url_would_misread() {
        let longest = "x".repeat(CALL_ID_MAX);
        let longer = "x".repeat(CALL_ID_MAX + 1);
        for (id, expected) in [
            ("c-7f3a91", Ok(())),
            ("a84b4c76e66710@pc33.example.com", Ok(())),
            ("1%2~'`{|}^!$&()*+,;=:[]", Ok(())),
            ("...", Ok(())),
            (longest.as_str(), Ok(())),
            (longer.as_str(), Err(BadCallId::TooLong)),
            ("", Err(BadCallId::Empty)),
            (".", Err(BadCallId::Dots)),
            ("..", Err(BadCallId::Dots)),
            ("a b", Err(BadCallId::Symbol)),
            ("a/b", Err(BadCallId::Symbol)),
            ("a\\b", Err(BadCallId::Symbol)),
            ("a?b", Err(BadCallId::Symbol)),
            ("a#b", Err(BadCallId::Symbol)),
            ("a\"b", Err(BadCallId::Symbol)),
            ("<a", Err(BadCallId::Symbol)),
            ("a>", Err(BadCallId::Symbol)),
            ("a\n", Err(BadCallId::Symbol)),
            ("a\0", Err(BadCallId::Symbol)),
            ("a\x7f", Err(BadCallId::Symbol)),
            ("é", Err(BadCallId::Symbol)),
        ] {
            assert_eq!(expected, check(id), "{id:?}");
        }
    }
}
