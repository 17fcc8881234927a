//! `Retry-After`: how long a server asks to be left alone.

use std::time::SystemTime;

/// Returns how many milliseconds a `Retry-After` asks for, as seen at `now`; `None` if it is neither seconds nor a date.
///
/// It isn't clamped: more seconds than can be counted are `u64::MAX`, and a date that has passed is 0.
pub fn retry_after_ms(value: &str, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse::<u64>().map_or(u64::MAX, |seconds| seconds.saturating_mul(1000)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let left = date.duration_since(now).unwrap_or_default();
    Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn reads_seconds_and_dates_and_nothing_else() {
        // Sun, 06 Nov 1994 08:49:37 GMT, half a second before.
        let now = UNIX_EPOCH + Duration::from_millis(784_111_776_500);
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 7 ", Some(7_000)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(500)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10_500)),
            ("Sun Nov  6 08:49:36 1994", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("12 s", None),
            ("٣", None),
        ] {
            assert_eq!(expected, retry_after_ms(value, now), "{value:?}");
        }
    }
}
