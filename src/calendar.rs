//! Moments as milliseconds since 1970, and as dates and times of day in UTC.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    since_1970_ms(SystemTime::now())
}

/// Milliseconds from the beginning of 1970 to `moment`; 0 for one before it.
pub fn since_1970_ms(moment: SystemTime) -> i64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A duration in whole milliseconds.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment in the Gregorian calendar. It prints as `2026-11-23T17:05:09.120Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    /// The year, counted as astronomers do.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 6, from Monday on.
    pub weekday: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// 0 to 999.
    pub millisecond: i64,
}

impl Utc {
    /// So many milliseconds after the beginning of 1970, or before it.
    pub fn of(ms: i64) -> Utc {
        let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        // Counted from 1 March of the year 0: leap days are at the ends of years then, and 400 years
        // have the same length each.
        let since_march = days + 719_468;
        let (era, of_era) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Utc {
            year: era * 400 + year + next_year,
            month,
            day,
            // 1 January 1970 was a Thursday.
            weekday: (days + 3).rem_euclid(7),
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1_000 % 60,
            millisecond: of_day % 1_000,
        }
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, hour, minute, second, millisecond, .. } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (ms, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (1_795_453_509_120, "2026-11-23T17:05:09.120Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Utc::of(ms).to_string(), shown);
        }
        assert_eq!(Utc::of(1_795_453_509_120).weekday, 0, "a Monday");
        // The extremes of what a file may hold.
        let _ = (Utc::of(i64::MIN).to_string(), Utc::of(i64::MAX).to_string());
    }
}
