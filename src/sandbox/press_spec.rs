//! What `--press` asks for: a call, what to press on it, and how it should end.

use std::str::FromStr;

/// A `--press CALL=DIGITS[:OUTCOME]`.
///
/// The digits are kept as written: what they mean, and when each is pressed, is read elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PressSpec {
    /// The call's id.
    pub call: String,
    /// What to press, of the words that `dtmfd press` takes.
    pub digits: String,
    /// What the call must end with, if it matters.
    pub outcome: Option<String>,
}

/// Why a `--press` can't be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PressSpecError {
    /// There is no `=`.
    #[error("`{found}` names no call: write CALL=DIGITS, such as `demo=1A1`")]
    NoEquals {
        /// What was given.
        found: String,
    },
    /// Nothing stands before the `=`.
    #[error("`{found}` has no call before the `=`: write CALL=DIGITS, such as `demo=1A1`")]
    NoCall {
        /// What was given.
        found: String,
    },
    /// Nothing stands after the `=`.
    #[error("`{found}` presses nothing: write CALL=DIGITS, such as `demo=1A1`")]
    NoDigits {
        /// What was given.
        found: String,
    },
    /// Something after the `=` can't be pressed.
    #[error(
        "`{symbol}` in `{found}` can't be pressed: \
         digits are `0-9 * # A-D`, pauses `w`, `W` and `+ms`, `~` waits for the deadline, `!` hangs up"
    )]
    Digit {
        /// What can't be pressed.
        symbol: char,
        /// What was given.
        found: String,
    },
    /// Nothing stands after the `:`.
    #[error("`{found}` names no outcome after the `:`: write `demo=1A1:completed`, or leave the `:` out")]
    NoOutcome {
        /// What was given.
        found: String,
    },
}

impl FromStr for PressSpec {
    type Err = PressSpecError;

    fn from_str(text: &str) -> Result<PressSpec, PressSpecError> {
        let found = || text.to_owned();
        let (call, rest) = text.split_once('=').ok_or_else(|| PressSpecError::NoEquals { found: found() })?;
        // No word of the digits holds a `:`, so the first one ends them.
        let (digits, outcome) = match rest.split_once(':') {
            Some((digits, outcome)) => (digits, Some(outcome)),
            None => (rest, None),
        };
        if call.is_empty() {
            return Err(PressSpecError::NoCall { found: found() });
        }
        if digits.trim_ascii().is_empty() {
            return Err(PressSpecError::NoDigits { found: found() });
        }
        if let Some(symbol) = digits.chars().find(|&symbol| !is_word(symbol)) {
            return Err(PressSpecError::Digit { symbol, found: found() });
        }
        if outcome.is_some_and(str::is_empty) {
            return Err(PressSpecError::NoOutcome { found: found() });
        }
        Ok(PressSpec {
            call: call.to_owned(),
            digits: digits.to_owned(),
            outcome: outcome.map(str::to_owned),
        })
    }
}

/// Returns whether `symbol` may occur in what is pressed.
fn is_word(symbol: char) -> bool {
    matches!(symbol, '0'..='9' | '*' | '#' | 'A'..='D' | 'a'..='d' | 'w' | 'W' | '+' | '~' | '!' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_call_digits_and_outcome() {
        for (text, call, digits, outcome) in [
            ("demo=1A1", "demo", "1A1", None),
            ("demo=1A1:completed", "demo", "1A1", Some("completed")),
            ("demo=1+300A ~", "demo", "1+300A ~", None),
            ("sip:7@host=#*dwW!:timeout_fallback", "sip:7@host", "#*dwW!", Some("timeout_fallback")),
            ("a=1:b=c:d", "a", "1", Some("b=c:d")),
        ] {
            let expected = PressSpec {
                call: call.to_owned(),
                digits: digits.to_owned(),
                outcome: outcome.map(str::to_owned),
            };
            assert_eq!(Ok(expected), text.parse(), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("1A1", "`1A1` names no call"),
            ("", "`` names no call"),
            ("=1A1", "`=1A1` has no call"),
            ("demo=", "`demo=` presses nothing"),
            ("demo= :completed", "`demo= :completed` presses nothing"),
            ("demo=1E", "`E` in `demo=1E` can't be pressed"),
            ("demo=1٣", "`٣` in `demo=1٣` can't be pressed"),
            ("demo=1:", "`demo=1:` names no outcome"),
        ] {
            let error = text.parse::<PressSpec>().expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
