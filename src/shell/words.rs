//! A line taken apart into words: blanks separate, quotes and backslashes hold together.

/// The words of a line.
///
/// # Errors
/// A quote that is not closed, or a backslash at the very end.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                let escaped = letters.next().ok_or("a backslash at the end of the line")?;
                word.get_or_insert_default().push(escaped);
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote that is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_separate_and_quotes_hold_together() {
        let same = |line, words: &[&str]| assert_eq!(split(line).unwrap(), words, "{line}");
        same("", &[]);
        same("  ls   / ", &["ls", "/"]);
        same("set /a \"two words\"", &["set", "/a", "two words"]);
        same("set /a 'it is \"so\" \\'", &["set", "/a", "it is \"so\" \\"]);
        same(r#"set /a "a \" b" c\ d"#, &["set", "/a", "a \" b", "c d"]);
        same("set /a ''", &["set", "/a", ""]);
        same("set /a x''y", &["set", "/a", "xy"]);
        assert!(split("set /a 'open").is_err());
        assert!(split("set /a \\").is_err());
    }
}
