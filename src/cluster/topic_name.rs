//! What a topic may be called.

/// The longest name: it names a directory, with a partition's number behind it.
pub const LENGTH_MAX: usize = 249;

/// Checks a topic's name as Kafka's `Topic.validate` does.
///
/// # Errors
/// What Kafka says with `INVALID_TOPIC_EXCEPTION`.
pub fn check(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > LENGTH_MAX {
        format!("the length of '{name}' is longer than the max allowed length {LENGTH_MAX}")
    } else if !name.bytes().all(legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        )
    } else {
        return Ok(());
    };
    Err(format!("Topic name is invalid: {reason}"))
}

/// Whether two names differ only in `.` and `_`, which metric names can't tell apart.
pub fn collide(one: &str, other: &str) -> bool {
    let unified = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(unified).eq(other.bytes().map(unified))
}

/// Whether Kafka keeps its own state in a topic of this name.
pub fn is_internal(name: &str) -> bool {
    super::image::INTERNAL_TOPICS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_as_kafka_refuses_them() {
        let longest = "x".repeat(LENGTH_MAX);
        for good in ["a", "A.b_c-9", "...", "__consumer_offsets", longest.as_str()] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let too_long = "x".repeat(LENGTH_MAX + 1);
        for bad in ["", ".", "..", "a b", "a/b", "é", "a\0", "a\n", too_long.as_str()] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(
            check("").unwrap_err(),
            "Topic name is invalid: the empty string is not allowed"
        );
    }

    #[test]
    fn dots_and_underscores_collide_where_they_stand() {
        assert!(collide("a.b", "a_b") && collide("a.b_c", "a_b.c") && collide("a", "a"));
        assert!(!collide("a.b", "ab") && !collide("a.b", "a.c") && !collide("a-b", "a_b"));
    }
}
