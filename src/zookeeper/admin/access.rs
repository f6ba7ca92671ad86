//! Who may take a snapshot or restore one: who has every permission on the root, proved by the
//! `Authorization` header (`Commands.handleAuthentication`, `handleAuthorization`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode};

use crate::zookeeper::acl;
use crate::zookeeper::auth::Identities;
use crate::zookeeper::state::State;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NoCredentials,
    NotAuthenticated,
    NotAuthorized,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Refused::NoCredentials | Refused::NotAuthenticated => StatusCode::UNAUTHORIZED,
            Refused::NotAuthorized => StatusCode::FORBIDDEN,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Refused::NoCredentials => "Auth info is missing for the command",
            Refused::NotAuthenticated => "Not authenticated",
            Refused::NotAuthorized => "Not authorized",
        }
    }
}

/// Checks `scheme credentials` of a header, such as `digest super:secret`. The scheme `ip` takes the
/// address of the connection, whatever `X-Forwarded-For` says (CVE-2024-51504). Each permission on the
/// root is needed, not just one of them (CVE-2025-58457).
pub(super) fn check(
    state: &State,
    header: Option<&HeaderValue>,
    peer: IpAddr,
) -> Result<(), Refused> {
    let header = header.ok_or(Refused::NoCredentials)?;
    let text = header.to_str().map_err(|_| Refused::NotAuthenticated)?;
    let (scheme, credentials) = match text.trim_end_matches(' ').split(' ').collect::<Vec<_>>()[..]
    {
        [scheme] => (scheme, None),
        [scheme, credentials] => (scheme, Some(credentials.as_bytes())),
        _ => return Err(Refused::NotAuthenticated),
    };
    let nothing: Identities = Arc::from([]);
    let proved = state.auth.authenticate(scheme, credentials, peer, &nothing);
    let identities = proved.map_err(|_| Refused::NotAuthenticated)?;
    if identities.is_empty() {
        return Err(Refused::NotAuthenticated);
    }
    let root = state.database.read().tree.node("/").map(|root| Arc::clone(root.acl()));
    let root = root.ok_or(Refused::NotAuthorized)?;
    let each = [acl::READ, acl::WRITE, acl::CREATE, acl::DELETE, acl::ADMIN];
    if each.iter().all(|&permission| state.auth.allows(&root, permission, &identities)) {
        Ok(())
    } else {
        Err(Refused::NotAuthorized)
    }
}
