//! Who a client is, and what access control lists let it do: the schemes `world`, `ip`, `digest`,
//! `auth`, `sasl`, `x509`, `ensemble` and `super`, as Apache ZooKeeper's own providers have them.

mod digest;
mod digest_md5;
mod ip;
mod principal;
pub mod x509;

use std::net::IpAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

pub use self::digest_md5::{Answer, Exchange, NONCE_BYTES, SaslError};
use super::acl::{Acl, AclList};
use super::proto::ErrorCode;
use crate::config::AuthConfig;
use crate::limits;

/// One identity that a client has proved (`Id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthId {
    /// How it was proved: `ip`, `digest`, `sasl`, `x509`, `super`.
    pub scheme: Box<str>,
    /// The identity, in the form that the scheme gives it.
    pub id: Box<str>,
}

impl AuthId {
    /// An identity.
    pub fn new(scheme: &str, id: &str) -> Self {
        AuthId { scheme: scheme.into(), id: id.into() }
    }
}

/// All identities of a connection, in the order in which they were proved.
pub type Identities = Arc<[AuthId]>;

/// What a connection from `peer` is before it proves anything.
pub fn identities_of_peer(peer: IpAddr) -> Identities {
    Arc::from([AuthId::new("ip", &peer.to_string())])
}

/// Why an auth packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The client is answered `AuthFailed`.
    Failed,
    /// It means to be at another ensemble: its connection is closed without an answer, so that it
    /// tries another server.
    OtherEnsemble,
}

/// The rules of one coordinator: who is who, and who may do what.
#[derive(Debug)]
pub struct Auth {
    config: AuthConfig,
}

impl Auth {
    /// The rules of this configuration.
    pub const fn new(config: AuthConfig) -> Self {
        Auth { config }
    }

    /// Answers an auth packet of a client whose identities are `identities`: them with what it proves
    /// added.
    ///
    /// # Errors
    /// A scheme that is not served, wrong or no credentials, or more identities than
    /// [`limits::IDENTITIES_MAX`].
    pub fn authenticate(
        &self,
        scheme: &str,
        credentials: Option<&[u8]>,
        peer: IpAddr,
        identities: &Identities,
    ) -> Result<Identities, Refusal> {
        match scheme {
            "digest" if self.config.digest_enabled => {
                let credentials = credentials.ok_or(Refusal::Failed)?;
                let id = digest::id_of(credentials, self.config.digest_algorithm);
                let is_super = self.config.super_digest.as_ref().is_some_and(|digest| {
                    bool::from(digest.expose().as_bytes().ct_eq(id.as_bytes()))
                });
                let root = is_super.then(|| AuthId::new("super", ""));
                with(identities, root.into_iter().chain([AuthId::new("digest", &id)]))
            }
            "ip" => with(identities, [AuthId::new("ip", &peer.to_string())]),
            // What the certificate proves was added with the connection: this only asks for it.
            "x509" if identities.iter().any(|identity| &*identity.scheme == "x509") => {
                Ok(Arc::clone(identities))
            }
            "ensemble" if self.config.ensemble_provider => {
                let name = String::from_utf8_lossy(credentials.unwrap_or_default());
                match &self.config.ensemble_names {
                    Some(names)
                        if !name.is_empty() && !names.iter().any(|known| *known == name) =>
                    {
                        Err(Refusal::OtherEnsemble)
                    }
                    _ => Ok(Arc::clone(identities)),
                }
            }
            _ => Err(Refusal::Failed),
        }
    }

    /// Begins SASL for one connection; `None` where no users are configured.
    pub fn begin_sasl(&self, nonce: [u8; NONCE_BYTES]) -> Option<Exchange> {
        self.config.sasl_users.as_ref().map(|_| Exchange::new(nonce))
    }

    /// Takes the next token of a SASL exchange.
    ///
    /// # Errors
    /// See [`Exchange::evaluate`].
    pub fn sasl(&self, exchange: &mut Exchange, token: &[u8]) -> Result<Answer, SaslError> {
        exchange.evaluate(token, self.config.sasl_users.as_deref().unwrap_or_default())
    }

    /// The identities of a client that has proved by SASL to be `user`.
    ///
    /// # Errors
    /// More identities than [`limits::IDENTITIES_MAX`].
    pub fn with_sasl_user(
        &self,
        identities: &Identities,
        user: &str,
    ) -> Result<Identities, Refusal> {
        let is_super = self.config.sasl_super_users.iter().any(|known| known == user);
        let root = is_super.then(|| AuthId::new("super", ""));
        with(identities, [AuthId::new("sasl", user)].into_iter().chain(root))
    }

    /// The identities of a client with this certificate (DER), which TLS has verified; `None` if it
    /// has no id that can be read.
    pub fn with_certificate(
        &self,
        identities: &Identities,
        certificate: &[u8],
    ) -> Option<Identities> {
        let id = x509::id_of(certificate, &self.config.certificate_id)?;
        self.with_certificate_id(identities, &id).ok()
    }

    fn with_certificate_id(
        &self,
        identities: &Identities,
        id: &str,
    ) -> Result<Identities, Refusal> {
        let is_super = self.config.x509_super_user.as_deref() == Some(id);
        let root = is_super.then(|| AuthId::new("super", id));
        with(identities, root.into_iter().chain([AuthId::new("x509", id)]))
    }

    /// What is done of a client whose SASL authentication fails: `None` lets it go on, else it is
    /// answered this code and its connection closed.
    pub fn after_failed_sasl(&self) -> Option<ErrorCode> {
        let required = self.config.enforced_schemes.iter().any(|scheme| scheme == "sasl");
        match (required, self.config.keep_sasl_failed_clients) {
            (true, _) => Some(ErrorCode::SessionClosedRequireSaslAuth),
            (false, true) => None,
            (false, false) => Some(ErrorCode::AuthFailed),
        }
    }

    /// Whether a client with these identities may send requests at all (`AuthenticationHelper`).
    pub fn admits(&self, identities: &[AuthId]) -> bool {
        let enforced = &self.config.enforced_schemes;
        enforced.is_empty()
            || identities
                .iter()
                .any(|identity| enforced.iter().any(|scheme| **scheme == *identity.scheme))
    }

    /// Whether a client with these identities has one of the permissions `perms` by this list
    /// (`ZooKeeperServer.checkACL`). An empty list lets everybody do everything.
    pub fn allows(&self, acl: &[Acl], perms: i32, identities: &[AuthId]) -> bool {
        self.config.skip_acl
            || acl.is_empty()
            || acl.iter().any(|entry| entry.perms & perms != 0 && is_anyone(entry))
            || identities.iter().any(|identity| &*identity.scheme == "super")
            || acl.iter().any(|entry| {
                entry.perms & perms != 0
                    && identities.iter().any(|identity| self.matches(entry, identity))
            })
    }

    /// Whether an entry means this identity.
    fn matches(&self, entry: &Acl, identity: &AuthId) -> bool {
        if identity.scheme != entry.scheme || !self.config.serves(&entry.scheme) {
            return false;
        }
        match &*identity.scheme {
            "ip" => ip::matches(&identity.id, &entry.id),
            "sasl" => {
                identity.id == entry.id
                    || &*identity.id == "super"
                    || self.config.any_sasl_user.as_deref() == Some(&*entry.id)
            }
            "digest" | "x509" => identity.id == entry.id,
            _ => false,
        }
    }

    /// The list as it is stored (`PrepRequestProcessor.fixupACL`): duplicates dropped, `auth` replaced
    /// by the client's own identities.
    ///
    /// # Errors
    /// `InvalidAcl` for an empty list, an unknown scheme, an id that its scheme finds invalid, and
    /// `auth` from a client that has proved nothing.
    pub fn fixup(&self, acl: &[Acl], identities: &[AuthId]) -> Result<AclList, ErrorCode> {
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
            if &*entry.scheme == "auth" {
                let before = stored.len();
                stored.extend(
                    identities
                        .iter()
                        .filter(|identity| self.is_authenticated(&identity.scheme))
                        .map(|identity| Acl::new(entry.perms, &identity.scheme, &identity.id)),
                );
                if stored.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
            } else if is_anyone(entry) || self.is_valid(entry) {
                stored.push(entry.clone());
            } else {
                return Err(ErrorCode::InvalidAcl);
            }
        }
        Ok(stored.into())
    }

    /// Whether identities of this scheme were proved by the client, so that `auth` stands for them.
    fn is_authenticated(&self, scheme: &str) -> bool {
        matches!(scheme, "digest" | "sasl" | "x509") && self.config.serves(scheme)
    }

    /// Whether a list may hold this entry.
    fn is_valid(&self, entry: &Acl) -> bool {
        self.config.serves(&entry.scheme)
            && match &*entry.scheme {
                "ip" => ip::is_valid(&entry.id),
                "digest" => digest::is_valid(&entry.id),
                "sasl" => principal::is_principal(&entry.id),
                "x509" => x509::is_valid(&entry.id, &self.config.certificate_id),
                _ => false,
            }
    }

    /// The name of who has this identity, without what proves it (`AuthUtil.getUser`): that of a
    /// `digest` user alone, else the id; empty where the scheme is not served.
    pub fn user_name<'a>(&self, identity: &'a AuthId) -> &'a str {
        match &*identity.scheme {
            scheme if !self.config.serves(scheme) => "",
            "digest" => identity.id.split(':').next().unwrap_or_default(),
            _ => &identity.id,
        }
    }
}

/// `identities` with those of `more` that are not among them.
fn with(
    identities: &Identities,
    more: impl IntoIterator<Item = AuthId>,
) -> Result<Identities, Refusal> {
    let mut all = identities.to_vec();
    for identity in more {
        if !all.contains(&identity) {
            all.push(identity);
        }
    }
    if all.len() > limits::IDENTITIES_MAX {
        return Err(Refusal::Failed);
    }
    Ok(all.into())
}

fn is_anyone(entry: &Acl) -> bool {
    &*entry.scheme == "world" && &*entry.id == "anyone"
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
mod tests;
