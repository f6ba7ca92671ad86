//! Times as people read them.

/// Milliseconds since 1970 as `2026-11-23T17:05:09.120Z`; a time before that year as the bare number.
pub(super) fn utc(milliseconds: i64) -> String {
    let (Ok(second), Ok(rest)) = (
        u64::try_from(milliseconds.div_euclid(1_000)),
        u64::try_from(milliseconds.rem_euclid(1_000)),
    ) else {
        return milliseconds.to_string();
    };
    let (mut day, second) = (second / 86_400, second % 86_400);
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let mut month = 0;
    for length in [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    {
        month += 1;
        if day < length {
            break;
        }
        day -= length;
    }
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z", day + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(utc(1_735_689_599_999), "2024-12-31T23:59:59.999Z");
        assert_eq!(utc(1_795_453_509_120), "2026-11-23T17:05:09.120Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(utc(-1), "-1");
    }
}
