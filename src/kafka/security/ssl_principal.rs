//! `ssl.principal.mapping.rules`: whom a certificate's distinguished name stands for, as Kafka's
//! `SslPrincipalMapper` says it (pure).
//!
//! The first rule that fits the whole name counts: `DEFAULT` is the name as it is;
//! `RULE:pattern/replacement/` puts what the pattern found into the replacement, `L` or `U` behind it
//! makes it lower or upper case. Where no rule fits, the name is nobody's.

use regex::{Captures, Regex};

use super::Principal;

/// The rules, in their order.
#[derive(Debug, Clone)]
pub struct PrincipalMapper {
    rules: Vec<Rule>,
}

impl Default for PrincipalMapper {
    /// `DEFAULT`.
    fn default() -> Self {
        PrincipalMapper { rules: vec![Rule::Default] }
    }
}

#[derive(Debug, Clone)]
enum Rule {
    Default,
    Rewrite {
        /// The pattern, to fit a whole name.
        whole: Regex,
        /// The pattern, to be found in one.
        part: Regex,
        replacement: Vec<Part>,
        case: Case,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

/// A piece of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl PrincipalMapper {
    /// Reads rules with commas between them. No rules at all fit no name.
    ///
    /// # Errors
    /// What is no rule, to follow "expected": one that Kafka doesn't take, or a pattern with something
    /// of Java's that is not known here, such as looking ahead.
    pub fn parse(text: &str) -> Result<PrincipalMapper, String> {
        let mut rules = Vec::new();
        let mut rest = Some(text.trim());
        while let Some(text) = rest {
            let (rule, after) = one_rule(text.trim_start())?;
            rules.extend(rule);
            rest = after;
        }
        Ok(PrincipalMapper { rules })
    }

    /// The user of this distinguished name, in the form of RFC 2253; `None` if no rule fits.
    pub fn principal(&self, name: &str) -> Option<Principal> {
        self.rules.iter().find_map(|rule| rule.apply(name)).map(|name| Principal::user(&name))
    }
}

/// The rule at the front, and what stands behind the comma after it.
fn one_rule(text: &str) -> Result<(Option<Rule>, Option<&str>), String> {
    if let Some(rule) = text.strip_prefix("RULE:")
        && let Some((pattern, rest)) = until_slash(rule)
        && let Some((replacement, rest)) = until_slash(rest)
    {
        let (case, after) = until_comma(rest);
        let case = match case {
            "" => Case::Kept,
            "L" => Case::Lower,
            "U" => Case::Upper,
            other => return Err(format!("L, U or nothing behind a rule, not {other}")),
        };
        return Ok((Some(rewrite(pattern, replacement, case)?), after));
    }
    match until_comma(text) {
        ("", after) => Ok((None, after)),
        ("DEFAULT", after) => Ok((Some(Rule::Default), after)),
        (other, _) => Err(format!("DEFAULT or RULE:pattern/replacement/[LU], not {other}")),
    }
}

/// What stands before the first slash without a backslash before it, and what stands behind it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => _ = characters.next()?,
            '/' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn until_comma(text: &str) -> (&str, Option<&str>) {
    match text.split_once(',') {
        Some((before, after)) => (before.trim_end(), Some(after)),
        None => (text.trim_end(), None),
    }
}

fn rewrite(pattern: &str, replacement: &str, case: Case) -> Result<Rule, String> {
    let bad = |error: regex::Error| format!("a regular expression: {error}");
    let as_here = as_here(pattern);
    let part = Regex::new(&as_here).map_err(bad)?;
    let whole = Regex::new(&format!(r"\A(?:{as_here})\z")).map_err(bad)?;
    let replacement = parts(replacement, &part)?;
    Ok(Rule::Rewrite { whole, part, replacement, case })
}

/// A pattern of Java's: a dot is no end of a line, and `\d`, `\w` and `\s` are about ASCII.
fn as_here(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut in_class = 0_usize;
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some('d') => text.push_str("[0-9]"),
                Some('D') => text.push_str("[^0-9]"),
                Some('w') => text.push_str("[a-zA-Z0-9_]"),
                Some('W') => text.push_str("[^a-zA-Z0-9_]"),
                Some('s') => text.push_str(r"[ \t\n\x0B\f\r]"),
                Some('S') => text.push_str(r"[^ \t\n\x0B\f\r]"),
                Some(other) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            '.' if in_class == 0 => text.push_str(r"[^\n\r\u{85}\u{2028}\u{2029}]"),
            _ => {
                match c {
                    '[' => in_class += 1,
                    ']' => in_class = in_class.saturating_sub(1),
                    _ => {}
                }
                text.push(c);
            }
        }
    }
    text
}

/// Takes a replacement apart: `$1`, `${name}`, and a backslash before what is meant as it stands. A
/// number that no group has is meant so too; where it has more digits than that, the first ones count.
fn parts(replacement: &str, pattern: &Regex) -> Result<Vec<Part>, String> {
    let groups = pattern.captures_len() - 1;
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut characters = replacement.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(c) => text.push(c),
                None => return Err("something behind the last \\ of a replacement".to_owned()),
            },
            '$' => {
                let group = if characters.next_if_eq(&'{').is_some() {
                    let name: String =
                        std::iter::from_fn(|| characters.next_if(|c| *c != '}')).collect();
                    let known = pattern.capture_names().position(|known| known == Some(&name));
                    characters.next_if_eq(&'}').and(known)
                } else {
                    let digit = characters.next_if(char::is_ascii_digit);
                    digit.and_then(|digit| digit.to_digit(10)).map(|digit| digit as usize)
                };
                let Some(mut group) = group else {
                    return Err("the number or name of a group behind a $".to_owned());
                };
                if group > groups {
                    if groups == 0 {
                        return Err(format!("a group ${group} in the pattern"));
                    }
                    text.push('$');
                    text.push_str(&group.to_string());
                    continue;
                }
                while let Some(digit) = characters.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer > groups {
                        break;
                    }
                    group = longer;
                    characters.next();
                }
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Group(group));
            }
            _ => text.push(c),
        }
    }
    parts.push(Part::Text(text));
    Ok(parts)
}

impl Rule {
    /// What the name becomes; `None` if the rule doesn't fit it.
    fn apply(&self, name: &str) -> Option<String> {
        let (whole, part, replacement, case) = match self {
            Rule::Default => return Some(name.to_owned()),
            Rule::Rewrite { whole, part, replacement, case } => (whole, part, replacement, *case),
        };
        if !whole.is_match(name) {
            return None;
        }
        let text = replace_all(part, name, replacement);
        Some(match case {
            Case::Kept => text,
            Case::Lower => text.to_lowercase(),
            Case::Upper => text.to_uppercase(),
        })
    }
}

/// As Java's `replaceAll`: a match of nothing counts right behind another match too.
fn replace_all(pattern: &Regex, name: &str, replacement: &[Part]) -> String {
    let mut text = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(found) = pattern.captures_at(name, from) {
        let (start, end) = span(&found);
        text.push_str(&name[copied..start]);
        for part in replacement {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Group(group) => {
                    text.push_str(found.get(*group).map_or("", |group| group.as_str()));
                }
            }
        }
        copied = end;
        from = end;
        if start == end {
            let Some(next) = name[end..].chars().next() else { break };
            from += next.len_utf8();
        }
    }
    text.push_str(&name[copied..]);
    text
}

fn span(found: &Captures<'_>) -> (usize, usize) {
    found.get(0).map_or((0, 0), |whole| (whole.start(), whole.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(rules: &str, name: &str) -> Option<String> {
        let mapper =
            PrincipalMapper::parse(rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
        mapper.principal(name).map(|principal| principal.name.to_string())
    }

    /// What the mapper of Apache Kafka 3.9.1 answers.
    #[test]
    fn names_are_mapped_as_kafka_maps_them() {
        const DN: &str = "CN=Duke,OU=ServiceUsers,O=Org,C=US";
        for (rules, name, expected) in [
            ("DEFAULT", DN, Some(DN)),
            ("", DN, None),
            (" , ", DN, None),
            ("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/", DN, Some("Duke")),
            ("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1@$2/", DN, Some("Duke@$2")),
            ("RULE:^CN=(.*?),OU=Admin.*$/$1/, RULE:^CN=(.*?),.*$/$1/L , DEFAULT", DN, Some("duke")),
            ("RULE:^CN=(.*?),OU=Admin.*$/$1/U,DEFAULT", DN, Some(DN)),
            ("RULE:^CN=(.*?),OU=(.*?),O=(.*?),C=(.*?)$/$1@$3/U", DN, Some("DUKE@ORG")),
            ("RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L", DN, Some("duke")),
            ("RULE:CN=(\\w+),.*/$1/", "CN=Duké,OU=x", None),
            ("RULE:^CN=(.*?),OU=Service\\/Users$/$1/", "CN=a,OU=Service/Users", Some("a")),
            ("RULE:^CN=(.*)$/a\\/$1\\$/", "CN=x", Some("a/x$")),
            ("RULE:(?<who>CN)=.*/${who}/", "CN=x", Some("CN")),
            ("RULE:^(C)(N)=.*$/$2$1$12/", "CN=x", Some("NCC2")),
            ("RULE:CN=.*/$0!/", "CN=x", Some("CN=x!")),
            ("RULE:.*/x/", "CN=a", Some("xx")),
            ("RULE:^.*$/x/", "CN=a", Some("x")),
            ("RULE:^CN=(.*)$//", "CN=a", Some("")),
            ("RULE:^CN=(.*),OU=.*$/$1/", "CN=a\nb,OU=x", None),
            ("RULE:^CN=(a)|(b)$/<$2>/", "b", Some("<b>")),
            ("RULE:^CN=(.)$/$1/", "CN=\u{1f600}", Some("\u{1f600}")),
        ] {
            assert_eq!(mapped(rules, name).as_deref(), expected, "{rules} of {name}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for rules in [
            "deault",
            "DEFAULT/L",
            "DEFAULTx",
            "RULE:^CN=(.*?)",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1",
            "RULE:a/b/LU",
            "RULE:a/b/l",
            "RULE:a/b/ L",
            "rule:a/b/",
            "RULE:a/$1/",
            "RULE:(a)/$/",
            "RULE:(a)/${b}/",
            "RULE:(a/b/",
            "RULE:(?=a)/b/",
            "DEFAULT, RULE:a\\/b/",
        ] {
            assert!(PrincipalMapper::parse(rules).is_err(), "{rules}");
        }
    }

    #[test]
    fn unset_it_is_the_name_itself() {
        let name = PrincipalMapper::default().principal("CN=a").unwrap();
        assert_eq!(name, Principal::user("CN=a"));
    }
}
