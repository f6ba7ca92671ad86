//! The `.properties` format as `java.util.Properties.load` reads it, with the line of each key.

/// One key of a file, its value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved and white space around it removed, as both Kafka and ZooKeeper
    /// remove it from every value.
    pub value: String,
    /// The line on which the key stands, from 1.
    pub line: usize,
}

/// A line that isn't in the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// Reads a file's bytes: UTF-8, or ISO 8859-1 (Java's own choice) where they aren't UTF-8.
///
/// `=`, `:` and white space separate a key from its value; `#` and `!` begin a comment; a line that
/// ends with an odd number of backslashes goes on in the next one, without that one's indentation.
///
/// # Errors
/// A `\u` that four hexadecimal digits don't follow, the only thing that Java refuses.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, Malformed> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text.split('\n').enumerate();
    let mut properties = Vec::new();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_space);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_with_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, more)) => logical.push_str(more.trim_start_matches(is_space)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let line = index + 1;
        let resolve =
            |text: &str| resolve_escapes(text).map_err(|reason| Malformed { line, reason });
        properties.push(Property {
            key: resolve(key)?,
            value: resolve(value)?.trim().to_owned(),
            line,
        });
    }
    Ok(properties)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn ends_with_continuation(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// The raw key and the raw value of one logical line.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && (matches!(c, '=' | ':') || is_space(c));
            escaped = !escaped && c == '\\';
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_space);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_space))
}

fn resolve_escapes(text: &str) -> Result<String, &'static str> {
    const BAD_UNICODE: &str = "\\u must be followed by four hexadecimal digits";
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut buffer));
            continue;
        }
        match chars.next() {
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(BAD_UNICODE);
                }
                units.push(u16::from_str_radix(&digits, 16).map_err(|_| BAD_UNICODE)?);
            }
            Some('t') => units.push(u16::from(b'\t')),
            Some('n') => units.push(u16::from(b'\n')),
            Some('r') => units.push(u16::from(b'\r')),
            Some('f') => units.push(0xc),
            Some(other) => units.extend_from_slice(other.encode_utf16(&mut buffer)),
            None => {}
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text.as_bytes()).unwrap().into_iter().map(|p| (p.key, p.value, p.line)).collect()
    }

    #[test]
    fn reads_what_java_reads() {
        for (text, key, value, line) in [
            ("a=b", "a", "b", 1),
            ("a = b ", "a", "b", 1),
            ("  a:b", "a", "b", 1),
            ("a b", "a", "b", 1),
            ("a\t= b=c", "a", "b=c", 1),
            ("a", "a", "", 1),
            ("a==b", "a", "=b", 1),
            ("\n# no\n! no\r\na=b", "a", "b", 4),
            ("a=b,\\\n    c", "a", "b,c", 1),
            ("a=b\\\\\nc=d", "a", "b\\", 1),
            ("a=b\\\r\n# not a comment", "a", "b# not a comment", 1),
            ("a\\ b\\:c\\=d=e", "a b:c=d", "e", 1),
            ("a=C:\\\\data\\ttab", "a", "C:\\data\ttab", 1),
            ("a=\\u00e4\\uD83D\\uDE00\\z", "a", "ä😀z", 1),
            ("a=b\\", "a", "b", 1),
            ("\u{feff}a=ü", "a", "ü", 1),
        ] {
            let first = pairs(text).remove(0);
            assert_eq!(first, (key.to_owned(), value.to_owned(), line), "{text:?}");
        }
    }

    #[test]
    fn latin_1_is_read_where_utf_8_fails() {
        assert_eq!(parse(b"a=\xfc").unwrap()[0].value, "ü");
    }

    #[test]
    fn a_bad_unicode_escape_is_refused_with_its_line() {
        for text in ["a=b\nc=\\u12g4", "a=b\nc=\\u12", "a=b\nc=\\u+123"] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().line, 2, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn plain_pairs_come_back(key in "[a-zA-Z.]{1,20}", value in "[a-zA-Z0-9/:=,]{0,20}") {
            let parsed = parse(format!("{key} = {value}\n").as_bytes()).unwrap();
            // The first separator after the key is taken by it, and so is one at the value's start.
            prop_assert_eq!(&parsed[0].key, &key);
            prop_assert_eq!(&parsed[0].value, &value);
        }
    }
}
