//! Who a client is, and what access control lists let it do: the schemes `world`, `ip`, `digest`,
//! `auth` and `super`, as Apache ZooKeeper has them without further providers.

mod digest;
mod ip;

use std::net::IpAddr;
use std::sync::Arc;

use super::acl::{Acl, AclList};
use super::proto::ErrorCode;
use crate::limits;

/// One identity that a client has proved (`Id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthId {
    /// How it was proved: `ip`, `digest`, `super`.
    pub scheme: Box<str>,
    /// The identity, in the form that the scheme gives it.
    pub id: Box<str>,
}

impl AuthId {
    fn new(scheme: &str, id: &str) -> Self {
        AuthId { scheme: scheme.into(), id: id.into() }
    }
}

/// All identities of a connection, in the order in which they were proved.
pub type Identities = Arc<[AuthId]>;

/// What a connection from `peer` is before it proves anything.
pub fn identities_of_peer(peer: IpAddr) -> Identities {
    Arc::from([AuthId::new("ip", &peer.to_string())])
}

/// Answers an auth packet: the identities with what it proves added.
///
/// # Errors
/// `AuthFailed` for a scheme that is not served, for no credentials, and past
/// [`limits::IDENTITIES_MAX`].
pub fn authenticate(
    scheme: &str,
    credentials: Option<&[u8]>,
    peer: IpAddr,
    identities: &Identities,
    super_digest: Option<&str>,
) -> Result<Identities, ErrorCode> {
    let mut all = identities.to_vec();
    let mut add = |identity: AuthId| {
        if !all.contains(&identity) {
            all.push(identity);
        }
    };
    match scheme {
        "digest" => {
            let id = digest::id_of(credentials.ok_or(ErrorCode::AuthFailed)?);
            if super_digest == Some(id.as_str()) {
                add(AuthId::new("super", ""));
            }
            add(AuthId::new("digest", &id));
        }
        "ip" => add(AuthId::new("ip", &peer.to_string())),
        _ => return Err(ErrorCode::AuthFailed),
    }
    if all.len() > limits::IDENTITIES_MAX {
        return Err(ErrorCode::AuthFailed);
    }
    Ok(all.into())
}

/// The name that an identity shows of its user (`AuthenticationProvider.getUserName`): for `digest`
/// what stands before the hash, none for `super`, which no provider proves.
pub fn user_name(identity: &AuthId) -> &str {
    match &*identity.scheme {
        "digest" => identity.id.split(':').next().unwrap_or_default(),
        "super" => "",
        _ => &identity.id,
    }
}

/// Whether a client with these identities has one of the permissions `perms` by this list
/// (`ZooKeeperServer.checkACL`). An empty list lets everybody do everything.
pub fn allows(acl: &[Acl], perms: i32, identities: &[AuthId]) -> bool {
    acl.is_empty()
        || acl.iter().any(|entry| entry.perms & perms != 0 && is_anyone(entry))
        || identities.iter().any(|identity| &*identity.scheme == "super")
        || acl.iter().any(|entry| {
            entry.perms & perms != 0
                && identities.iter().any(|identity| {
                    identity.scheme == entry.scheme
                        && match &*identity.scheme {
                            "ip" => ip::matches(&identity.id, &entry.id),
                            "digest" => identity.id == entry.id,
                            _ => false,
                        }
                })
        })
}

fn is_anyone(entry: &Acl) -> bool {
    &*entry.scheme == "world" && &*entry.id == "anyone"
}

/// The list as it is stored (`PrepRequestProcessor.fixupACL`): duplicates dropped, `auth` replaced
/// by the client's own identities.
///
/// # Errors
/// `InvalidAcl` for an empty list, an unknown scheme, an id that its scheme finds invalid, and
/// `auth` from a client that has proved nothing.
pub fn fixup(acl: &[Acl], identities: &[AuthId]) -> Result<AclList, ErrorCode> {
    if acl.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    if let [only] = acl
        && is_anyone(only)
    {
        return Ok(Arc::from([only.clone()]));
    }
    let mut stored: Vec<Acl> = Vec::with_capacity(acl.len());
    let mut seen = hashbrown::HashSet::with_capacity(acl.len());
    for entry in acl {
        if !seen.insert(entry) {
            continue;
        }
        match &*entry.scheme {
            "world" if &*entry.id == "anyone" => stored.push(entry.clone()),
            "auth" => {
                let before = stored.len();
                stored.extend(
                    identities
                        .iter()
                        .filter(|identity| &*identity.scheme == "digest")
                        .map(|identity| Acl::new(entry.perms, &identity.scheme, &identity.id)),
                );
                if stored.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
            }
            "ip" if ip::is_valid(&entry.id) => stored.push(entry.clone()),
            "digest" if digest::is_valid(&entry.id) => stored.push(entry.clone()),
            _ => return Err(ErrorCode::InvalidAcl),
        }
    }
    Ok(stored.into())
}

/// The list as it is shown to a client without ADMIN: the hashes of `digest` ids masked.
pub fn masked(acl: &[Acl]) -> Vec<Acl> {
    acl.iter()
        .map(|entry| match (&*entry.scheme, entry.id.split_once(':')) {
            ("digest", Some((user, _))) => Acl::new(entry.perms, "digest", &format!("{user}:x")),
            _ => entry.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::acl::{ADMIN, ALL, READ, WRITE, open_acl_unsafe};

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn user(credentials: &[u8]) -> Identities {
        authenticate("digest", Some(credentials), PEER, &identities_of_peer(PEER), None).unwrap()
    }

    #[test]
    fn lists_are_checked_entry_by_entry() {
        let joe = user(b"joe:secret");
        let peer = identities_of_peer(PEER);
        let acl = [
            Acl::new(READ, "world", "anyone"),
            Acl::new(ALL, "digest", &joe[1].id),
            Acl::new(ADMIN, "ip", "127.0.0.0/8"),
        ];
        assert!(allows(&acl, READ, &peer));
        assert!(!allows(&acl, WRITE, &peer));
        assert!(allows(&acl, ADMIN, &peer));
        assert!(allows(&acl, WRITE, &joe));
        assert!(!allows(&acl, WRITE, &user(b"joe:guess")));
        assert!(allows(&[], WRITE, &peer));
        assert!(allows(&open_acl_unsafe(), ALL, &peer));
    }

    #[test]
    fn super_may_do_everything() {
        let digest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";
        let peer = identities_of_peer(PEER);
        let root = authenticate("digest", Some(b"super:test"), PEER, &peer, Some(digest)).unwrap();
        assert!(allows(&[Acl::new(ALL, "digest", "a:b")], WRITE, &root));
        let other = authenticate("digest", Some(b"super:tess"), PEER, &peer, Some(digest)).unwrap();
        assert!(!allows(&[Acl::new(ALL, "digest", "a:b")], WRITE, &other));
    }

    #[test]
    fn unknown_schemes_and_missing_credentials_fail() {
        let peer = identities_of_peer(PEER);
        for (scheme, credentials) in [("sasl", Some(&b"x"[..])), ("world", None), ("digest", None)]
        {
            let result = authenticate(scheme, credentials, PEER, &peer, None);
            assert_eq!(result, Err(ErrorCode::AuthFailed), "{scheme}");
        }
        assert_eq!(authenticate("ip", None, PEER, &peer, None).unwrap(), peer, "no duplicates");
    }

    #[test]
    fn identities_are_bounded() {
        let mut identities = identities_of_peer(PEER);
        let failed = (0..=limits::IDENTITIES_MAX).any(|i| {
            match authenticate(
                "digest",
                Some(format!("u{i}:p").as_bytes()),
                PEER,
                &identities,
                None,
            ) {
                Ok(more) => {
                    identities = more;
                    false
                }
                Err(_) => true,
            }
        });
        assert!(failed);
        assert_eq!(identities.len(), limits::IDENTITIES_MAX);
    }

    #[test]
    fn lists_are_stored_without_duplicates_and_with_auth_expanded() {
        let joe = user(b"joe:secret");
        let world = Acl::new(READ, "world", "anyone");
        let auth = Acl::new(ALL, "auth", "");
        let stored = fixup(&[world.clone(), auth.clone(), world.clone()], &joe).unwrap();
        assert_eq!(*stored, [world, Acl::new(ALL, "digest", &joe[1].id)]);
        assert_eq!(fixup(&[auth], &identities_of_peer(PEER)), Err(ErrorCode::InvalidAcl));
        for bad in [
            Acl::new(ALL, "world", "somebody"),
            Acl::new(ALL, "super", ""),
            Acl::new(ALL, "sasl", "joe"),
            Acl::new(ALL, "digest", "joe"),
            Acl::new(ALL, "ip", "joe"),
            Acl::new(ALL, "", ""),
        ] {
            assert_eq!(
                fixup(std::slice::from_ref(&bad), &joe),
                Err(ErrorCode::InvalidAcl),
                "{bad:?}"
            );
        }
        assert_eq!(fixup(&[], &joe), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn hashes_are_masked() {
        let acl = [Acl::new(ALL, "digest", "joe:hash:x"), Acl::new(READ, "ip", "::1")];
        assert_eq!(masked(&acl), [Acl::new(ALL, "digest", "joe:x"), Acl::new(READ, "ip", "::1")]);
    }
}
