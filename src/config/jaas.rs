//! JAAS login files, in the grammar of Java's `sun.security.provider.ConfigFile`:
//! `Section { module.Class flag key="value" ... ; ... };`

use std::path::Path;

use super::Secret;
use crate::{bounded_file, limits};

/// One section of a file.
#[derive(Debug)]
pub struct Section {
    /// Its name, `Server` for one.
    pub name: String,
    /// Its login modules, in their order.
    pub modules: Vec<Module>,
}

/// One login module of a section.
#[derive(Debug)]
pub struct Module {
    /// The Java class.
    pub class: String,
    /// Its options, in their order.
    pub options: Vec<ModuleOption>,
}

/// One option of a module. Any value may be a password.
#[derive(Debug)]
pub struct ModuleOption {
    /// The name before the `=`.
    pub key: String,
    /// What stands behind it.
    pub value: Secret,
}

/// Why a file can't be used. It never holds a value of the file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum JaasError {
    #[error("can't read it: {0}")]
    Unreadable(String),
    #[error("line {line}: {reason}")]
    Malformed { line: usize, reason: String },
}

/// The path in a value of `java.security.auth.login.config`, where `=file` stands for "this file alone".
pub(super) fn path_of(value: &str) -> &str {
    let file = value.strip_prefix('=').unwrap_or(value);
    file.strip_prefix("file:").unwrap_or(file)
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<Section>, JaasError> {
    let bytes = bounded_file::read(path, limits::CONFIG_FILE_BYTES_MAX)
        .map_err(|error| JaasError::Unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| JaasError::Unreadable("it is not UTF-8 text".to_owned()))?;
    parse(&text)
}

/// Reads a file's text.
///
/// # Errors
/// The first line that Java would refuse too, or that it would read as something else.
pub fn parse(text: &str) -> Result<Vec<Section>, JaasError> {
    let mut tokens = Tokens { rest: text.chars().peekable(), line: 1 };
    let mut sections: Vec<Section> = Vec::new();
    while let Some(token) = tokens.next()? {
        let Token::Word(name) = token else {
            return Err(tokens.expected("the name of a section", &token));
        };
        tokens.mark('{')?;
        let mut modules = Vec::new();
        loop {
            match tokens.some("a login module or }")? {
                Token::Word(class) => modules.push(module(class, &mut tokens)?),
                Token::Mark('}') => break,
                other @ Token::Mark(_) => {
                    return Err(tokens.expected("a login module or }", &other));
                }
            }
        }
        tokens.mark(';')?;
        if sections.iter().any(|section| section.name == name) {
            return Err(tokens.malformed(format!("a second section {name}")));
        }
        sections.push(Section { name, modules });
    }
    Ok(sections)
}

/// The rest of a module, after its class.
fn module(class: String, tokens: &mut Tokens<'_>) -> Result<Module, JaasError> {
    const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];
    let expected = "required, requisite, sufficient or optional";
    match tokens.some(expected)? {
        Token::Word(flag) if FLAGS.iter().any(|known| known.eq_ignore_ascii_case(&flag)) => {}
        other => return Err(tokens.expected(expected, &other)),
    }
    let mut options = Vec::new();
    loop {
        let key = match tokens.some("an option or ;")? {
            Token::Word(key) => key,
            Token::Mark(';') => return Ok(Module { class, options }),
            other @ Token::Mark(_) => return Err(tokens.expected("an option or ;", &other)),
        };
        tokens.mark('=')?;
        let Token::Word(value) = tokens.some("a value")? else {
            let reason = "a value must be in quotes, unless it is a plain word";
            return Err(tokens.malformed(reason.to_owned()));
        };
        if let Some((_, rest)) = value.split_once("${")
            && !rest.starts_with('{')
            && rest.contains('}')
        {
            let reason = "a value names a system property (${...}), which is not filled in";
            return Err(tokens.malformed(reason.to_owned()));
        }
        options.push(ModuleOption { key, value: Secret::new(value) });
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A word or a quoted text.
    Word(String),
    /// Any other character; `'0'` stands for a number without quotes.
    Mark(char),
}

/// A text in the tokens of Java's `StreamTokenizer`, as `ConfigFile` sets it up.
struct Tokens<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Tokens<'_> {
    fn malformed(&self, reason: String) -> JaasError {
        JaasError::Malformed { line: self.line, reason }
    }

    fn expected(&self, what: &str, found: &Token) -> JaasError {
        // Words are not shown: one may be what is left of a password with a quote in it.
        let found = match found {
            Token::Word(_) => "a word".to_owned(),
            Token::Mark('0') => "a number".to_owned(),
            Token::Mark(mark) => format!("{mark:?}"),
        };
        self.malformed(format!("expected {what}, found {found}"))
    }

    /// The next token; the end of the file is an error.
    fn some(&mut self, what: &str) -> Result<Token, JaasError> {
        match self.next()? {
            Some(token) => Ok(token),
            None => Err(self.malformed(format!("expected {what}, found the end of the file"))),
        }
    }

    fn mark(&mut self, mark: char) -> Result<(), JaasError> {
        match self.some(&mark.to_string())? {
            Token::Mark(found) if found == mark => Ok(()),
            other => Err(self.expected(&mark.to_string(), &other)),
        }
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn next(&mut self) -> Result<Option<Token>, JaasError> {
        loop {
            let Some(&first) = self.rest.peek() else { return Ok(None) };
            if first <= ' ' {
                self.take();
            } else if first == '/' {
                self.comment()?;
            } else if first == '"' {
                return self.quoted().map(Some);
            } else if is_word(first) && !first.is_ascii_digit() && first != '.' {
                let mut word = String::new();
                while let Some(&next) = self.rest.peek()
                    && is_word(next)
                {
                    word.push(next);
                    self.take();
                }
                return Ok(Some(Token::Word(word)));
            } else if first.is_ascii_digit() || first == '.' {
                while self.rest.peek().is_some_and(|next| next.is_ascii_digit() || *next == '.') {
                    self.take();
                }
                return Ok(Some(Token::Mark('0')));
            } else {
                self.take();
                return Ok(Some(Token::Mark(first)));
            }
        }
    }

    /// Two slashes, and a single one too, are a comment up to the end of the line.
    fn comment(&mut self) -> Result<(), JaasError> {
        self.take();
        if self.rest.peek() == Some(&'*') {
            let begin = self.line;
            let mut before = ' ';
            self.take();
            loop {
                match self.take() {
                    Some('/') if before == '*' => return Ok(()),
                    Some(next) => before = next,
                    None => {
                        let reason = "a comment that isn't closed".to_owned();
                        return Err(JaasError::Malformed { line: begin, reason });
                    }
                }
            }
        }
        while self.rest.peek().is_some_and(|next| *next != '\n') {
            self.take();
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<Token, JaasError> {
        self.take();
        let mut text = String::new();
        loop {
            match self.rest.peek().copied() {
                None | Some('\n') => {
                    return Err(self.malformed("a quoted text that isn't closed".to_owned()));
                }
                Some('"') => {
                    self.take();
                    return Ok(Token::Word(text));
                }
                Some('\\') => {
                    self.take();
                    let Some(escaped) = self.escape() else {
                        let reason = "a quoted text that isn't closed".to_owned();
                        return Err(self.malformed(reason));
                    };
                    text.push(escaped);
                }
                Some(other) => {
                    text.push(other);
                    self.take();
                }
            }
        }
    }

    /// What follows a backslash: up to three octal digits, a letter of C's, or itself.
    fn escape(&mut self) -> Option<char> {
        let first = self.take()?;
        if let Some(digit) = first.to_digit(8) {
            let mut code = digit;
            // The third digit only fits behind a first one of 0 to 3.
            for _ in 0..if digit <= 3 { 2 } else { 1 } {
                let Some(next) = self.rest.peek().and_then(|next| next.to_digit(8)) else { break };
                code = code * 8 + next;
                self.take();
            }
            return char::from_u32(code);
        }
        Some(match first {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            other => other,
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '$' | '_' | '-' | '*' | '.') || c >= '\u{a0}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPICAL: &str = r#"
        // Kafka's brokers and people
        Server {
            org.apache.zookeeper.server.auth.DigestLoginModule required
            user_super="adminsecret" /* not
            for people */
            user_bob="bob's \"secret\"\\"
            "user_eve@EXAMPLE.COM"=plain;
        };
        Client {
            org.apache.zookeeper.server.auth.DigestLoginModule Required
            username="bob" password="b";
        };
        Empty { };
    "#;

    fn options(section: &Section) -> Vec<(&str, &str)> {
        let options = section.modules.iter().flat_map(|module| &module.options);
        options.map(|option| (option.key.as_str(), option.value.expose())).collect()
    }

    #[test]
    fn sections_are_read_as_java_reads_them() {
        let sections = parse(TYPICAL).unwrap();
        let names: Vec<_> = sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, ["Server", "Client", "Empty"]);
        let class = "org.apache.zookeeper.server.auth.DigestLoginModule";
        assert_eq!(sections[0].modules[0].class, class);
        assert_eq!(
            options(&sections[0]),
            [
                ("user_super", "adminsecret"),
                ("user_bob", "bob's \"secret\"\\"),
                ("user_eve@EXAMPLE.COM", "plain"),
            ]
        );
        assert!(sections[2].modules.is_empty());
        let two = parse("S { a.B required; c.D optional x=\"\\101\\t\\q\\08\"; };").unwrap();
        assert_eq!(two[0].modules.len(), 2);
        assert_eq!(options(&two[0]), [("x", "A\tq\u{0}8")]);
        assert_eq!(parse("").unwrap().len(), 0);
    }

    #[test]
    fn what_is_malformed_is_named_with_its_line() {
        for (text, line, reason) in [
            ("Server", 1, "expected {, found the end of the file"),
            ("\nServer {\n m required", 3, "expected an option or ;, found the end of the file"),
            (
                "Server { m needed; };",
                1,
                "expected required, requisite, sufficient or optional, found a word",
            ),
            ("Server { m required a b; };", 1, "expected =, found a word"),
            (
                "Server { m required a=12; };",
                1,
                "a value must be in quotes, unless it is a plain word",
            ),
            ("Server { m required a=\"x; };\n", 1, "a quoted text that isn't closed"),
            (
                "Server { m required a=\"${user.home}\"; };",
                1,
                "a value names a system property (${...}), which is not filled in",
            ),
            ("# no\nServer { };", 1, "expected the name of a section, found '#'"),
            ("Server { m required; }\nClient { };", 2, "expected ;, found a word"),
            ("Server { };\nServer { };", 2, "a second section Server"),
            ("/* Server { };", 1, "a comment that isn't closed"),
            (
                "Server { m required a='x'; };",
                1,
                "a value must be in quotes, unless it is a plain word",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, JaasError::Malformed { line, reason: reason.to_owned() }, "{text}");
        }
    }

    #[test]
    fn errors_show_no_password() {
        let whole: Vec<char> = TYPICAL.chars().collect();
        for at in 0..whole.len() {
            for replacement in [None, Some('"'), Some('\\'), Some(';'), Some('='), Some('/')] {
                let mut text = whole.clone();
                match replacement {
                    Some(other) => text[at] = other,
                    None => text.truncate(at),
                }
                let text: String = text.into_iter().collect();
                if let Err(error) = parse(&text) {
                    let shown = format!("{error} {error:?}");
                    assert!(!shown.contains("secret"), "{shown}\n{text}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z0-9 ={};\"'/*\\\\\n.#$-]{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn quoted_values_come_back(value in "[^\"\\\\\n$]{0,20}") {
            let text = format!("S {{ m required k=\"{value}\"; }};");
            let sections = parse(&text).unwrap();
            prop_assert_eq!(options(&sections[0]), [("k", value.as_str())]);
        }
    }
}
