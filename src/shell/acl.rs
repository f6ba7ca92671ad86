//! Access control lists as `zkCli.sh` writes them: `scheme:id:perms[,scheme:id:perms...]`.

use zookeeper_client::{Acl, AuthId, Permission};

const LETTERS: [(char, Permission); 5] = [
    ('c', Permission::CREATE),
    ('d', Permission::DELETE),
    ('r', Permission::READ),
    ('w', Permission::WRITE),
    ('a', Permission::ADMIN),
];

/// Reads a list (ZooKeeper's `AclParser`). An id may hold colons, as digests and IPv6 addresses do.
///
/// # Errors
/// An entry without its three parts, or with an unknown letter.
pub(super) fn parse(text: &str) -> Result<Vec<Acl>, String> {
    text.split(',').map(entry).collect()
}

fn entry(text: &str) -> Result<Acl, String> {
    let wrong = || format!("{text} is not scheme:id:permissions (of the letters cdrwa)");
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (id, letters) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let mut permission = Permission::NONE;
    for letter in letters.chars() {
        let known = LETTERS.iter().find(|(known, _)| *known == letter).ok_or_else(wrong)?;
        permission = permission | known.1;
    }
    Ok(Acl::new(permission, AuthId::new(scheme, id)))
}

/// The letters of a permission, in the order in which `getAcl` of `zkCli.sh` shows them.
pub(super) fn letters(permission: Permission) -> String {
    LETTERS.iter().filter(|(_, known)| permission.has(*known)).map(|(letter, _)| *letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_shown_alike() {
        let text = "world:anyone:r,digest:me:aGFzaA==:cdrwa,ip:::1/64:cw,auth::ra";
        let read = parse(text).unwrap();
        let shown: Vec<String> = read
            .iter()
            .map(|acl| format!("{}:{}:{}", acl.scheme(), acl.id(), letters(acl.permission())))
            .collect();
        assert_eq!(shown.join(","), text);
    }

    #[test]
    fn what_is_no_list_is_named() {
        for text in ["", "world", "world:anyone", "world:anyone:rx", "world:anyone:r,"] {
            assert!(parse(text).unwrap_err().contains("is not scheme:id:permissions"), "{text}");
        }
    }
}
