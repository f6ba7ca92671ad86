//! An audited event as a line: `key=value` pairs with tabs between them, as ZooKeeper's `AuditEvent`
//! writes them, but for what could break a line, which is escaped.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::calendar::{self, Utc};

/// How something came out (`AuditEvent.Result`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    /// It was begun; nobody will be there to say how it ended.
    Invoked,
}

/// What happened. Fields that are `None` are left out.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) session: Option<i64>,
    /// Names, with commas between them.
    pub(super) user: Option<&'a str>,
    pub(super) ip: Option<IpAddr>,
    pub(super) operation: &'a str,
    pub(super) znode: Option<&'a str>,
    pub(super) znode_type: Option<&'a str>,
    pub(super) acl: Option<&'a str>,
    pub(super) outcome: Outcome,
}

impl Event<'_> {
    /// The whole line, with the time and level that ZooKeeper's own logging puts before it. Times are
    /// in UTC.
    pub(super) fn line(&self, now: SystemTime) -> String {
        let (level, result) = match self.outcome {
            Outcome::Success => ("INFO", "success"),
            Outcome::Failure => ("ERROR", "failure"),
            Outcome::Invoked => ("INFO", "invoked"),
        };
        let mut line = String::with_capacity(200);
        push_time(&mut line, now);
        let _ = write!(line, " {level} audit.Slf4jAuditLogger: ");
        if let Some(session) = self.session {
            let _ = write!(line, "session={session:#x}\t");
        }
        let mut field = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = write!(line, "{name}=");
                push_escaped(&mut line, value);
                line.push('\t');
            }
        };
        field("user", self.user);
        field("ip", self.ip.map(|ip| ip.to_string()).as_deref());
        field("operation", Some(self.operation));
        field("znode", self.znode);
        field("znode_type", self.znode_type);
        field("acl", self.acl);
        let _ = writeln!(line, "result={result}");
        line
    }
}

/// Appends `text` so that it can neither end the line nor the field, nor hide in it: backslashes,
/// control characters, line separators and marks that turn the direction of writing are escaped.
fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\u{2028}'
            | '\u{2029}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}

/// `2026-11-23 18:20:00,123`.
fn push_time(line: &mut String, now: SystemTime) {
    let Utc { year, month, day, hour, minute, second, millisecond, .. } =
        Utc::of(calendar::since_1970_ms(now));
    let _ = write!(
        line,
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{millisecond:03}"
    );
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn event(znode: &str) -> Event<'_> {
        Event {
            session: Some(0x0100_02ab),
            user: Some("127.0.0.1,bob"),
            ip: Some(IpAddr::from([127, 0, 0, 1])),
            operation: "create",
            znode: Some(znode),
            znode_type: Some("persistent"),
            acl: None,
            outcome: Outcome::Success,
        }
    }

    #[test]
    fn a_line_is_zookeepers() {
        assert_eq!(
            event("/a").line(at(1_795_458_000_123)),
            "2026-11-23 18:20:00,123 INFO audit.Slf4jAuditLogger: session=0x10002ab\t\
             user=127.0.0.1,bob\tip=127.0.0.1\toperation=create\tznode=/a\tznode_type=persistent\t\
             result=success\n"
        );
        let stop = Event {
            session: None,
            user: None,
            ip: None,
            operation: "serverStop",
            znode: None,
            znode_type: None,
            acl: None,
            outcome: Outcome::Invoked,
        };
        let line = stop.line(at(0));
        assert_eq!(
            line,
            "1970-01-01 00:00:00,000 INFO audit.Slf4jAuditLogger: operation=serverStop\tresult=invoked\n"
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (951_782_400, "2000-02-29 00:00:00,000"),
            (951_868_800, "2000-03-01 00:00:00,000"),
            (1_709_164_800, "2024-02-29 00:00:00,000"),
            (1_735_689_599, "2024-12-31 23:59:59,000"),
            (4_107_542_400, "2100-03-01 00:00:00,000"),
        ] {
            let mut line = String::new();
            push_time(&mut line, at(seconds * 1_000));
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn cve_2026_84439_a_name_can_neither_end_its_line_nor_its_field() {
        let evil = "/a\tresult=success\n2026-11-23 00:00:00,000 INFO x: user=root\r\u{2028}\u{202e}\u{1b}[2K\\";
        let line = event(evil).line(at(0));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.ends_with("\tresult=success\n"));
        assert_eq!(line.matches('\t').count(), event("/a").line(at(0)).matches('\t').count());
        let body = line.trim_end_matches('\n').replace('\t', "");
        assert!(!body.chars().any(char::is_control), "{body:?}");
        assert!(line.contains(
            "znode=/a\\tresult=success\\n2026-11-23 00:00:00,000 INFO x: user=root\\r\\u2028\\u202e\\u001b[2K\\\\\t"
        ));
    }
}
