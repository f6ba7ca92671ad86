//! Who decides what a gateway's clients may see, and whom a certificate names: Kafka's keys, set as on
//! the brokers.

use std::collections::BTreeSet;

use super::keys::Owner;
use super::settings::Settings;
use crate::kafka::security::{AclRules, PrincipalMapper};

const OWNER: Owner = Owner::Gateway;

/// The class that decides by ACLs in ZooKeeper, and the name that it had before Kafka 2.4.
const ACL_AUTHORIZERS: [&str; 2] =
    ["kafka.security.authorizer.AclAuthorizer", "kafka.security.auth.SimpleAclAuthorizer"];

/// `authorizer.class.name`: who decides what a client may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayAuthorizer {
    /// There is none: everybody may see everything.
    Nobody,
    /// The cluster's ACLs, as Kafka's `AclAuthorizer` reads them.
    Acls(AclRules),
    /// Another class, or ACLs that are kept elsewhere (`authorizer.zookeeper.url`): only the brokers
    /// can tell.
    Brokers,
}

pub(super) fn authorizer(settings: &mut Settings) -> GatewayAuthorizer {
    const USERS: &str = "super.users";
    let text = |settings: &mut Settings, key| settings.text(OWNER, key).unwrap_or_default();
    let users = text(settings, USERS);
    let super_users = AclRules::super_users(&users).unwrap_or_else(|entry| {
        let reason = format!(
            "expected principals such as User:alice, with semicolons between them, not {entry:?}"
        );
        settings.problem(USERS, &reason);
        BTreeSet::new()
    });
    let allow_without_acls = settings.flag(OWNER, "allow.everyone.if.no.acl.found");
    let elsewhere = !text(settings, "authorizer.zookeeper.url").is_empty();
    match text(settings, "authorizer.class.name").as_str() {
        "" => GatewayAuthorizer::Nobody,
        class if ACL_AUTHORIZERS.contains(&class) && !elsewhere => {
            GatewayAuthorizer::Acls(AclRules { super_users, allow_without_acls })
        }
        _ => GatewayAuthorizer::Brokers,
    }
}

pub(super) fn principal_mapper(settings: &mut Settings) -> PrincipalMapper {
    const KEY: &str = "ssl.principal.mapping.rules";
    let rules = settings.text(OWNER, KEY).unwrap_or_default();
    PrincipalMapper::parse(&rules).unwrap_or_else(|expected| {
        settings.problem(KEY, &format!("expected {expected}"));
        PrincipalMapper::default()
    })
}
