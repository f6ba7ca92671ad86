//! A moment as `java.util.Date` writes it, in UTC: `Mon Nov 23 18:05:06 UTC 2026`.

use crate::calendar::Utc;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date of so many milliseconds since 1970.
pub(super) fn utc(ms: u64) -> String {
    let Utc { year, month, day, weekday, hour, minute, second, .. } =
        Utc::of(i64::try_from(ms).unwrap_or(i64::MAX));
    let name = |names: &[&'static str], at: i64| -> &'static str {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("?")
    };
    let (weekday, month) = (name(&DAYS, weekday), name(&MONTHS, month - 1));
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_java() {
        for (seconds, date) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (951_782_400, "Tue Feb 29 00:00:00 UTC 2000"),
            (951_868_799, "Tue Feb 29 23:59:59 UTC 2000"),
            (1_795_457_106, "Mon Nov 23 18:05:06 UTC 2026"),
            (4_102_444_799, "Thu Dec 31 23:59:59 UTC 2099"),
            (4_107_542_400, "Mon Mar 01 00:00:00 UTC 2100"),
        ] {
            assert_eq!(utc(seconds * 1_000 + 999), date);
        }
    }
}
