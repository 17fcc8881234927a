//! The press language: the digits and pauses of a caller, as trees' `tests` and `dtmfd press` write
//! them (IVR.md section 2).
//!
//! A script is a row of steps, each one character but for `+ms`; spaces only separate:
//!
//! | Word | Step |
//! | --- | --- |
//! | `0-9 * # A-D` (also `a-d`) | presses that key |
//! | `w`, `W` | waits half a second, one second |
//! | `+ms` | waits that many milliseconds: all digits that follow belong to the number |
//! | `~` | waits for the next deadline |
//! | `!` | hangs up |

use crate::engine::Key;

/// The most steps of a script. A walk has at most a few dozen digits; more is a file gone wrong.
pub const STEPS_MAX: usize = 4096;

/// The longest single wait, in milliseconds: a day, longer than any call.
pub const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// One thing a caller does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Presses a key.
    Key(Key),
    /// Waits this many milliseconds, at most [`WAIT_MS_MAX`].
    Wait(u64),
    /// Waits until the next deadline has passed.
    UntilDeadline,
    /// Hangs up.
    HangUp,
}

/// Why a script can't be played: the place, what is there, and what may be there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("character {position}: {kind}")]
pub struct PressError {
    /// Which character, counted from 1.
    pub position: usize,
    /// Where it begins in the script, in bytes.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: PressErrorKind,
}

/// What is wrong with a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PressErrorKind {
    /// A character that is no step.
    #[error(
        "{0:?} is no step: digits are 0-9 * # A-D, waits are w (500 ms), W (1 s), +ms and ~ (until the \
         deadline), and ! hangs up"
    )]
    UnknownStep(char),
    /// A `+` without a number.
    #[error("+ needs the milliseconds to wait right after it, as in +700")]
    NoMilliseconds,
    /// A wait that is too long.
    #[error("a wait is at most {WAIT_MS_MAX} ms (24 hours)")]
    WaitTooLong,
    /// Too many steps.
    #[error("a script has at most {STEPS_MAX} steps")]
    TooManySteps,
}

/// Reads a script.
///
/// # Errors
///
/// The first character that is no step, a `+` without a number, a wait over [`WAIT_MS_MAX`], or the
/// step that would be one more than [`STEPS_MAX`].
pub fn parse(text: &str) -> Result<Vec<Step>, PressError> {
    let mut steps = Vec::new();
    let mut characters = text.char_indices().enumerate().peekable();
    while let Some((index, (offset, character))) = characters.next() {
        let error = |kind| PressError { position: index + 1, offset, kind };
        let step = match character {
            ' ' | '\t' | '\r' | '\n' => continue,
            'w' => Step::Wait(500),
            'W' => Step::Wait(1000),
            '~' => Step::UntilDeadline,
            '!' => Step::HangUp,
            '+' => {
                let mut ms = None;
                while let Some((_, (_, digit))) =
                    characters.next_if(|(_, (_, character))| character.is_ascii_digit())
                {
                    let digit = u64::from(u32::from(digit) - u32::from('0'));
                    // Saturating, so that a number of any length is simply too long.
                    ms = Some(ms.unwrap_or(0u64).saturating_mul(10).saturating_add(digit));
                }
                match ms {
                    None => return Err(error(PressErrorKind::NoMilliseconds)),
                    Some(ms) if ms > WAIT_MS_MAX => return Err(error(PressErrorKind::WaitTooLong)),
                    Some(ms) => Step::Wait(ms),
                }
            }
            _ => match Key::parse(character) {
                Some(key) => Step::Key(key),
                None => return Err(error(PressErrorKind::UnknownStep(character))),
            },
        };
        if steps.len() == STEPS_MAX {
            return Err(error(PressErrorKind::TooManySteps));
        }
        steps.push(step);
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(symbol: char) -> Step {
        Step::Key(Key::parse(symbol).unwrap())
    }

    #[test]
    fn reads_every_word() {
        for (text, expected) in [
            ("", vec![]),
            ("   ", vec![]),
            ("1*#", vec![key('1'), key('*'), key('#')]),
            ("aA", vec![key('A'), key('A')]),
            ("1wW2", vec![key('1'), Step::Wait(500), Step::Wait(1000), key('2')]),
            ("1+700 2", vec![key('1'), Step::Wait(700), key('2')]),
            ("+7002", vec![Step::Wait(7002)]),
            ("+0+1", vec![Step::Wait(0), Step::Wait(1)]),
            ("~ ~!", vec![Step::UntilDeadline, Step::UntilDeadline, Step::HangUp]),
        ] {
            assert_eq!(Ok(expected), parse(text), "{text:?}");
        }
    }

    #[test]
    fn names_the_character_that_is_wrong() {
        for (text, position, offset, kind) in [
            ("1 x", 3, 2, PressErrorKind::UnknownStep('x')),
            ("é", 1, 0, PressErrorKind::UnknownStep('é')),
            ("1+", 2, 1, PressErrorKind::NoMilliseconds),
            ("+ 700", 1, 0, PressErrorKind::NoMilliseconds),
            ("+86400001", 1, 0, PressErrorKind::WaitTooLong),
            ("1+99999999999999999999999", 2, 1, PressErrorKind::WaitTooLong),
        ] {
            assert_eq!(Err(PressError { position, offset, kind }), parse(text), "{text:?}");
        }
        assert_eq!(
            "character 3: 'x' is no step: digits are 0-9 * # A-D, waits are w (500 ms), W (1 s), +ms and ~ \
             (until the deadline), and ! hangs up",
            parse("12x").unwrap_err().to_string()
        );
    }

    #[test]
    fn takes_as_many_steps_as_it_says_and_no_more() {
        assert_eq!(Ok(STEPS_MAX), parse(&"1".repeat(STEPS_MAX)).map(|steps| steps.len()));
        let error = parse(&"1".repeat(STEPS_MAX + 1)).unwrap_err();
        assert_eq!((STEPS_MAX + 1, PressErrorKind::TooManySteps), (error.position, error.kind));
    }

    proptest! {
        #[test]
        fn never_panics_and_points_at_a_character(text in "[0-9a-dA-DxwW+~! *#é]{0,40}") {
            if let Err(error) = parse(&text) {
                prop_assert!(text.is_char_boundary(error.offset));
                prop_assert_eq!(error.position, text[..error.offset].chars().count() + 1);
            }
        }
    }
}
