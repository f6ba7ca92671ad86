//! Which names an ACL of the scheme `sasl` may hold: Kerberos principals (`KerberosName`).

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
}
