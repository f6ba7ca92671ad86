//! A JAAS file: refused with a line of it, or written back to what is read the same.

use doorkeeper::config::jaas::{JaasError, Section, parse};

/// One input.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse(&text) {
        Ok(sections) => {
            let written = written(&sections);
            let again = parse(&written).map(|again| self::written(&again));
            assert_eq!(again.as_ref(), Ok(&written));
        }
        Err(JaasError::Malformed { line, .. }) => {
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "no line {line}");
        }
        Err(JaasError::Unreadable(reason)) => panic!("it is text: {reason}"),
    }
}

/// The sections with everything in quotes.
fn written(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        quote(&section.name, &mut text);
        text.push_str(" {\n");
        for module in &section.modules {
            quote(&module.class, &mut text);
            text.push_str(" required");
            for option in &module.options {
                text.push(' ');
                quote(&option.key, &mut text);
                text.push('=');
                quote(option.value.expose(), &mut text);
            }
            text.push_str(";\n");
        }
        text.push_str("};\n");
    }
    text
}

fn quote(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
}
