//! The ways in which the stand-in can be told to misbehave, and how they are written.

use std::str::FromStr;
use std::time::Duration;

/// The longest duration that a fault may have: beyond a day it is a slip of the hand.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How the stand-in misbehaves; by default not at all.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Faults {
    /// Which requests for variables fail; each takes its turn in this order.
    pub fail: Vec<Fail>,
    /// After how long every voice WebSocket is cut, without a close frame.
    pub drop_every: Option<Duration>,
    /// How late every HTTP answer is, that to the upgrade included.
    pub slow: Option<Duration>,
}

/// One fault of `--fail`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    /// The first `times` requests of every update, told apart by their idempotency key, answer `status`.
    Status {
        /// 400 to 599.
        status: u16,
        /// At least 1.
        times: u32,
    },
    /// One request of the whole run answers 401, and its token is good for nothing from then on.
    Once401,
}

/// Why a `--fail` can't be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FailError {
    /// There is no `:`, and it isn't `401`.
    #[error(
        "`{found}` doesn't say how often: write `429:2` for the first two requests of every update, or `401`"
    )]
    NoTimes {
        /// What was given.
        found: String,
    },
    /// What comes before the `:` is no status of an error.
    #[error("`{found}` is no status to fail with: 400 to 599, such as `429:2` or `503:5`")]
    Status {
        /// What was given.
        found: String,
    },
    /// What comes after the `:` is no count.
    #[error("`{found}` is no number of requests: at least 1, such as `429:2`")]
    Times {
        /// What was given.
        found: String,
    },
}

impl FromStr for Fail {
    type Err = FailError;

    /// Reads `429:2`, `503:5` or `401`.
    fn from_str(text: &str) -> Result<Fail, FailError> {
        if text == "401" {
            return Ok(Fail::Once401);
        }
        let Some((status, times)) = text.split_once(':') else {
            return Err(FailError::NoTimes { found: text.to_owned() });
        };
        let status = number(status)
            .and_then(|status| u16::try_from(status).ok())
            .filter(|status| (400..=599).contains(status))
            .ok_or_else(|| FailError::Status { found: status.to_owned() })?;
        let times = number(times)
            .filter(|&times| times >= 1)
            .ok_or_else(|| FailError::Times { found: times.to_owned() })?;
        Ok(Fail::Status { status, times })
    }
}

/// Why a duration can't be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// It isn't a number with a unit.
    #[error("`{found}` is no duration: a number and a unit, such as `800ms`, `20s`, `1.5s` or `1m`")]
    Malformed {
        /// What was given.
        found: String,
    },
    /// It is no time at all, or more than a day.
    #[error("`{found}` is out of bounds: above 0 and at most 24 hours (`1440m`)")]
    OutOfBounds {
        /// What was given.
        found: String,
    },
}

/// Reads a duration such as `800ms`, `20s`, `1.5s` or `1m`, exact to the microsecond.
///
/// # Errors
///
/// Returns an error if `text` is anything else, is zero, or is more than a day.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed { found: text.to_owned() };
    let units = [("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000)];
    let (amount, unit_us) =
        units.iter().find_map(|(unit, us)| Some((text.strip_suffix(unit)?, *us))).ok_or_else(malformed)?;
    let (whole, fraction) = match amount.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (amount, None),
    };
    let mut us = u64::from(number(whole).ok_or_else(malformed)?) * unit_us;
    if let Some(fraction) = fraction {
        let digits =
            u32::try_from(fraction.len()).ok().filter(|&digits| digits <= 6).ok_or_else(malformed)?;
        us += u64::from(number(fraction).ok_or_else(malformed)?) * unit_us / 10_u64.pow(digits);
    }
    let duration = Duration::from_micros(us);
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(DurationError::OutOfBounds { found: text.to_owned() });
    }
    Ok(duration)
}

/// Reads decimal digits and nothing else: `str::parse` would take a sign, too.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_faults_and_says_what_would_be_right() {
        assert_eq!(Ok(Fail::Once401), "401".parse());
        assert_eq!(Ok(Fail::Status { status: 429, times: 2 }), "429:2".parse());
        assert_eq!(Ok(Fail::Status { status: 401, times: 1 }), "401:1".parse());
        for (text, expected) in [
            ("429", "`429` doesn't say how often"),
            ("", "`` doesn't say how often"),
            ("200:1", "`200` is no status"),
            ("600:1", "`600` is no status"),
            ("+429:1", "`+429` is no status"),
            (":1", "`` is no status"),
            ("503:0", "`0` is no number of requests"),
            ("503:-1", "`-1` is no number of requests"),
            ("503:1:2", "`1:2` is no number of requests"),
            ("503:", "`` is no number of requests"),
            ("503:4294967296", "`4294967296` is no number of requests"),
        ] {
            let error = text.parse::<Fail>().expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn reads_durations_and_nothing_else() {
        for (text, expected_us) in [
            ("800ms", 800_000),
            ("20s", 20_000_000),
            ("1.5s", 1_500_000),
            ("0.001s", 1_000),
            ("1m", 60_000_000),
            ("0.5m", 30_000_000),
            ("1440m", 86_400_000_000),
        ] {
            assert_eq!(Ok(Duration::from_micros(expected_us)), parse_duration(text), "{text}");
        }
        for text in
            ["", "s", "20", "20 s", "-1s", "+1s", "1.s", ".5s", "1e3s", "1h", "1.5.5s", "1.1234567s", "٣s"]
        {
            assert_eq!(
                Err(DurationError::Malformed { found: text.to_owned() }),
                parse_duration(text),
                "{text}"
            );
        }
        for text in ["0s", "0.0ms", "1441m", "4294967295m"] {
            assert_eq!(
                Err(DurationError::OutOfBounds { found: text.to_owned() }),
                parse_duration(text),
                "{text}"
            );
        }
    }
}
