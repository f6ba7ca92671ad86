//! Which names an ACL may hold: Kerberos principals for `sasl` (`KerberosName`), distinguished names
//! for `x509` (`X500Principal`).

/// Whether an ACL of the scheme `sasl` may name `id`: any text without `@`, else
/// `primary[/instance]@REALM`.
pub(super) fn is_principal(id: &str) -> bool {
    match id.split_once('@') {
        None => true,
        Some((name, realm)) => {
            name.matches('/').count() <= 1 && !realm.contains('@') && !realm.contains('/')
        }
    }
}

/// The attribute names that Java knows; any other one must be a number such as 2.5.4.3.
const ATTRIBUTES: [&str; 22] = [
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
    "SN",
];

/// Whether an ACL of the scheme `x509` may name `id`: a distinguished name in the form of RFC 2253,
/// such as `CN=bob,O=Example`.
pub(super) fn is_distinguished_name(id: &str) -> bool {
    if id.trim().is_empty() {
        return true;
    }
    parts(id).is_some_and(|parts| parts.iter().all(|part| is_attribute(part)))
}

/// What stands between separators, of which quotes and backslashes take the meaning away.
fn parts(id: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = id.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => part.extend([c, chars.next()?]),
            '"' => {
                quoted = !quoted;
                part.push(c);
            }
            ',' | ';' | '+' if !quoted => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    (!quoted).then_some(parts)
}

fn is_attribute(part: &str) -> bool {
    let Some((name, _)) = part.split_once('=') else { return false };
    let name = name.trim().to_ascii_uppercase();
    let number = name.strip_prefix("OID.").unwrap_or(&name);
    let is_number = number.contains('.')
        && number
            .split('.')
            .all(|arc| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()));
    is_number || ATTRIBUTES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_have_at_most_an_instance_and_a_realm() {
        for (id, valid) in [
            ("bob", true),
            ("", true),
            ("a/b/c", true),
            ("bob@EXAMPLE.COM", true),
            ("zk/host@EXAMPLE.COM", true),
            ("@", true),
            ("a/b/c@EXAMPLE.COM", false),
            ("bob@EXAMPLE@COM", false),
            ("bob@EXAMPLE/COM", false),
        ] {
            assert_eq!(is_principal(id), valid, "{id}");
        }
    }

    #[test]
    fn distinguished_names_are_attributes_with_separators() {
        for (id, valid) in [
            ("CN=bob,OU=Eng,O=Example\\, Inc.,C=US", true),
            ("cn = bob ; o=\"Example, Inc.\"", true),
            ("UID=1+CN=a", true),
            ("1.2.840.113549.1.9.1=bob", true),
            ("CN=", true),
            ("", true),
            ("bob", false),
            ("XX=bob", false),
            ("CN=bob,", false),
            ("CN=\"bob", false),
            ("CN=bob\\", false),
            ("1..2=bob", false),
        ] {
            assert_eq!(is_distinguished_name(id), valid, "{id}");
        }
    }
}
