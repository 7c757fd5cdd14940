//! Wall time as RFC 3339 text in UTC, for log lines and listings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, 0 if the clock stands before that.
pub fn now_unix() -> u64 {
    since_epoch().as_secs()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Unix seconds as `2025-11-24T14:05:00Z`.
pub fn rfc3339(unix: u64) -> String {
    let (year, month, day) = date(unix / 86_400);
    let (hour, minute, second) = (unix / 3_600 % 24, unix / 60 % 60, unix % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Unix milliseconds as `2025-11-24T14:05:00.123Z`.
pub fn rfc3339_ms(unix_ms: u64) -> String {
    let whole = rfc3339(unix_ms / 1_000);
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), unix_ms % 1_000)
}

/// The present as `2025-11-24T14:05:00.123456Z`.
pub fn now_rfc3339() -> String {
    let now = since_epoch();
    let whole = rfc3339(now.as_secs());
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), now.subsec_micros())
}

/// Days since 1970 as year, month and day: years are counted from March, so that the leap day is
/// the last of its year, in eras of 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_right() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
    }

    #[test]
    fn milliseconds_are_written_with_three_digits() {
        assert_eq!(rfc3339_ms(951_782_399_007), "2000-02-28T23:59:59.007Z");
    }

    #[test]
    fn the_present_has_microseconds() {
        let now = now_rfc3339();
        assert_eq!(now.len(), "2025-11-24T14:05:00.123456Z".len(), "{now}");
    }
}
