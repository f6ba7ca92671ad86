//! Distinguished names as Java writes and reads them (`X500Name`, `AVA` and `RDN` of the JDK): what
//! ACLs of Apache ZooKeeper and of Kafka hold of a certificate's owner.

use std::fmt::Write as _;

use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

/// The types that RFC 2253 has words for.
const RFC_2253: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// Further words that Java reads, but doesn't write in this form.
const READ_ONLY: [&str; 13] = [
    "S",
    "T",
    "IP",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "SERIALNUMBER",
    "OID",
];

/// Tags of values that are text: UTF8, printable, T61, IA5, general, universal and BMP strings.
const TEXT_TAGS: [u8; 7] = [12, 19, 20, 22, 27, 28, 30];

/// Characters that a backslash goes before.
const ESCAPED: &str = ",=+<>#;\"\\";

/// The subject of a certificate as `X500Principal.getName()` writes it (RFC 2253); `None` if it can't be
/// read.
pub fn subject_of(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    text_of(certificate.subject())
}

/// A name as `X500Principal.getName()` writes it (RFC 2253); `None` if it can't be read.
pub fn text_of(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for relative in name.iter() {
        let mut values = Vec::new();
        for part in relative.iter() {
            let value = part.attr_value();
            values.push(attribute(
                &part.attr_type().to_id_string(),
                u8::try_from(value.header.tag().0).ok()?,
                value.header.is_constructed(),
                value.data,
            ));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

/// One attribute of a name, with its value as the bytes of a DER value with this tag.
pub(crate) fn attribute(oid: &str, tag: u8, constructed: bool, value: &[u8]) -> String {
    match RFC_2253.iter().find(|(known, _)| *known == oid) {
        Some((_, word)) if TEXT_TAGS.contains(&tag) => {
            format!("{word}={}", escaped(&String::from_utf8_lossy(value)))
        }
        known => {
            let mut text = format!("{}=#", known.map_or(oid, |(_, word)| word));
            let tag = tag | if constructed { 0x20 } else { 0 };
            for byte in std::iter::once(tag).chain(der_length(value.len())).chain(value.to_vec()) {
                let _ = write!(text, "{byte:02x}");
            }
            text
        }
    }
}

fn der_length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![short],
        _ => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let count = u8::try_from(bytes.len() - zeros).unwrap_or(0);
            std::iter::once(0x80 | count).chain(bytes.into_iter().skip(zeros)).collect()
        }
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let is_space = |c: char| c == ' ' || c == '\r';
    let inner = value.trim_matches(is_space);
    let lead = value.len() - value.trim_start_matches(is_space).len();
    for (at, c) in value.char_indices() {
        match c {
            '\0' => text.push_str("\\00"),
            _ if ESCAPED.contains(c) || at < lead || at >= lead + inner.len() => {
                text.push('\\');
                text.push(c);
            }
            _ => text.push(c),
        }
    }
    text
}

/// Whether Java reads this text as a distinguished name (`new X500Principal(String)`).
pub fn is_distinguished_name(text: &str) -> bool {
    text.is_empty() || attributes(text).into_iter().all(is_valid_attribute)
}

/// The parts between commas, semicolons and plus signs that no quotes and no backslash protect.
fn attributes(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' | ';' | '+' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn is_valid_attribute(text: &str) -> bool {
    let Some((name, value)) = text.split_once('=') else { return false };
    is_valid_type(name.trim()) && is_valid_value(value.trim_start_matches([' ', '\n']))
}

fn is_valid_type(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if RFC_2253.iter().any(|(_, word)| *word == name)
        || READ_ONLY.contains(&name.as_str()) && name != "OID"
    {
        return true;
    }
    let oid = name.strip_prefix("OID.").unwrap_or(&name);
    let mut numbers = oid.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u128>().unwrap_or(u128::MAX))
    });
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(0 | 1), Some(0..=39)) | (Some(2), Some(_)) => numbers.all(|number| number.is_some()),
        _ => false,
    }
}

fn is_valid_value(value: &str) -> bool {
    if let Some(hex) = value.strip_prefix('#') {
        return hex.len() >= 4
            && hex.len().is_multiple_of(2)
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && is_der(hex);
    }
    if let Some(quoted) = value.strip_prefix('"') {
        return is_valid_quoted(quoted);
    }
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(first) if first.is_ascii_hexdigit() => {
                    if !characters.next().is_some_and(|second| second.is_ascii_hexdigit()) {
                        return false;
                    }
                }
                Some(c) if ESCAPED.contains(c) || c == ' ' || c == '\n' => {}
                _ => return false,
            },
            '<' | '>' | '"' => return false,
            _ => {}
        }
    }
    true
}

/// A value in quotes, from behind the first one: nothing but blanks after the second.
fn is_valid_quoted(value: &str) -> bool {
    let mut escaped = false;
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return value[at + 1..].chars().all(|c| c == ' ' || c == '\n'),
            _ => {}
        }
    }
    false
}

/// Whether the digits are one whole DER value with a short length.
fn is_der(hex: &str) -> bool {
    let Some(length) = hex.get(2..4).and_then(|digits| usize::from_str_radix(digits, 16).ok())
    else {
        return false;
    };
    length >= 0x80 || hex.len() == 4 + 2 * length
}
