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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GatewayConfig;
    use crate::kafka::security::Principal;

    fn configured(lines: &[&str]) -> Result<GatewayConfig, String> {
        let base = ["process.roles=gateway", "zookeeper.connect=localhost:2181"];
        let overrides: Vec<String> = base.iter().chain(lines).map(|&s| s.to_owned()).collect();
        let loaded = crate::config::load(&[], &overrides).map_err(|error| error.to_string())?;
        loaded.gateway.ok_or_else(|| "no gateway".to_owned())
    }

    fn authorizer(lines: &[&str]) -> GatewayAuthorizer {
        configured(lines).unwrap().authorizer
    }

    const CLASS: &str = "authorizer.class.name=kafka.security.authorizer.AclAuthorizer";

    #[test]
    fn who_decides() {
        assert_eq!(authorizer(&[]), GatewayAuthorizer::Nobody);
        assert_eq!(authorizer(&["authorizer.class.name="]), GatewayAuthorizer::Nobody);
        let rules = |users: &[&str], allow_without_acls| {
            let super_users = users.iter().map(|user| Principal::user(user)).collect();
            GatewayAuthorizer::Acls(AclRules { super_users, allow_without_acls })
        };
        assert_eq!(authorizer(&[CLASS]), rules(&[], false));
        let old = "authorizer.class.name=kafka.security.auth.SimpleAclAuthorizer";
        assert_eq!(authorizer(&[old]), rules(&[], false));
        let set =
            [CLASS, "super.users=User:a;User:CN=b,O=c", "allow.everyone.if.no.acl.found=TRUE"];
        assert_eq!(authorizer(&set), rules(&["a", "CN=b,O=c"], true));
        let elsewhere = [CLASS, "authorizer.zookeeper.url=other:2181"];
        assert_eq!(authorizer(&elsewhere), GatewayAuthorizer::Brokers);
        for other in ["org.example.Authorizer", "AclAuthorizer"] {
            let class = format!("authorizer.class.name={other}");
            assert_eq!(authorizer(&[&class]), GatewayAuthorizer::Brokers);
        }
    }

    #[test]
    fn whom_certificates_name() {
        let rules = "ssl.principal.mapping.rules=RULE:^CN=(.*?),.*$/$1/L, DEFAULT";
        let mapper = configured(&[rules]).unwrap().principal_mapper;
        assert_eq!(mapper.principal("CN=Joe,O=x"), Some(Principal::user("joe")));
        assert_eq!(mapper.principal("O=x"), Some(Principal::user("O=x")));
        let mapper = configured(&[]).unwrap().principal_mapper;
        assert_eq!(mapper.principal("CN=Joe"), Some(Principal::user("CN=Joe")));
    }

    #[test]
    fn what_brokers_would_not_start_with_is_refused() {
        for (line, part) in [
            ("super.users=alice", "expected principals such as User:alice"),
            ("allow.everyone.if.no.acl.found=perhaps", "expected true or false"),
            ("ssl.principal.mapping.rules=RULE:(a/b/", "expected a regular expression"),
            ("ssl.principal.mapping.rules=default", "expected DEFAULT or RULE:"),
        ] {
            let error = configured(&[line]).unwrap_err();
            let key = line.split('=').next().unwrap();
            assert!(error.starts_with(key) && error.contains(part), "{error}");
        }
    }
}
