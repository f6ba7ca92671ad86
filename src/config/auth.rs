//! Who may do what, as `zoo.cfg` says it: schemes, super users, what is enforced.

use std::path::Path;

use super::Secret;
use super::certificate_id::CertificateId;
use super::jaas;
use super::keys::Owner;
use super::settings::Settings;

/// What clients are authenticated and authorized by. Defaults are Apache ZooKeeper's.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `skipACL`: check no ACL.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.enabled`: the scheme `digest` is served.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `DigestAuthenticationProvider.superDigest`: `super:<base64 of the digest>`.
    pub super_digest: Option<Secret>,
    /// Whether an `authProvider` is the one of SASL: ACLs may name the scheme `sasl`.
    pub sasl_provider: bool,
    /// Whether an `authProvider` is the one of X.509: ACLs may name the scheme `x509`.
    pub x509_provider: bool,
    /// Whether an `authProvider` is the one of ensemble names: the scheme `ensemble` is served.
    pub ensemble_provider: bool,
    /// `ensembleAuthName`: the names that a client may give; `None` lets any pass.
    pub ensemble_names: Option<Vec<String>>,
    /// The users of the JAAS file's server section; `None` where there is no such section.
    pub sasl_users: Option<Vec<SaslUser>>,
    /// `superUser` and `superUser.*`: names of SASL users that pass every ACL.
    pub sasl_super_users: Vec<String>,
    /// `letAnySaslUserDoX`: the name in an ACL that stands for every SASL user.
    pub any_sasl_user: Option<String>,
    /// `allowSaslFailedClients`: a failed SASL authentication doesn't close the connection.
    pub keep_sasl_failed_clients: bool,
    /// The schemes of which a client must have proved one before it may do anything; empty enforces
    /// nothing (`enforce.auth.enabled`, `enforce.auth.schemes`, `sessionRequireClientSASLAuth`).
    pub enforced_schemes: Vec<String>,
    /// `X509AuthenticationProvider.superUser`: the id of the certificate that passes every ACL.
    pub x509_super_user: Option<String>,
    /// `ssl.x509.clientCertId*`: what of a certificate is its id.
    pub certificate_id: CertificateId,
}

impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig::DEFAULT
    }
}

/// A user that SASL DIGEST-MD5 knows.
#[derive(Debug, Clone)]
pub struct SaslUser {
    /// The name that the client gives.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// The hash of the scheme `digest`, by the names of `java.security.MessageDigest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the algorithms")]
pub enum DigestAlgorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512Over224,
    Sha512Over256,
    Sha3Over224,
    Sha3Over256,
    Sha3Over384,
    Sha3Over512,
}

impl DigestAlgorithm {
    /// The algorithm that Java knows by this name, in any case.
    pub fn named(name: &str) -> Option<DigestAlgorithm> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => DigestAlgorithm::Md5,
            "SHA" | "SHA1" | "SHA-1" => DigestAlgorithm::Sha1,
            "SHA-224" | "SHA224" => DigestAlgorithm::Sha224,
            "SHA-256" | "SHA256" => DigestAlgorithm::Sha256,
            "SHA-384" | "SHA384" => DigestAlgorithm::Sha384,
            "SHA-512" | "SHA512" => DigestAlgorithm::Sha512,
            "SHA-512/224" | "SHA512/224" => DigestAlgorithm::Sha512Over224,
            "SHA-512/256" | "SHA512/256" => DigestAlgorithm::Sha512Over256,
            "SHA3-224" => DigestAlgorithm::Sha3Over224,
            "SHA3-256" => DigestAlgorithm::Sha3Over256,
            "SHA3-384" => DigestAlgorithm::Sha3Over384,
            "SHA3-512" => DigestAlgorithm::Sha3Over512,
            _ => return None,
        })
    }
}

const OWNER: Owner = Owner::Coordinator;

impl AuthConfig {
    /// ZooKeeper's defaults.
    pub const DEFAULT: AuthConfig = AuthConfig {
        skip_acl: false,
        digest_enabled: true,
        digest_algorithm: DigestAlgorithm::Sha1,
        super_digest: None,
        sasl_provider: false,
        x509_provider: false,
        ensemble_provider: false,
        ensemble_names: None,
        sasl_users: None,
        sasl_super_users: Vec::new(),
        any_sasl_user: None,
        keep_sasl_failed_clients: false,
        enforced_schemes: Vec::new(),
        x509_super_user: None,
        certificate_id: CertificateId::Subject,
    };

    /// The typed values of the keys of authentication; what is wrong goes to `settings`. TLS brings
    /// the scheme `x509` by itself.
    pub(super) fn from_settings(settings: &mut Settings, with_tls: bool) -> Self {
        let digest_algorithm =
            settings.text(OWNER, "DigestAuthenticationProvider.digestAlg").unwrap_or_default();
        let digest_algorithm = DigestAlgorithm::named(&digest_algorithm).unwrap_or_else(|| {
            let expected = "expected MD5, SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224, \
                            SHA-512/256 or SHA3-224 to SHA3-512";
            settings.problem("DigestAuthenticationProvider.digestAlg", expected);
            DigestAlgorithm::Sha1
        });
        let mut config = AuthConfig {
            skip_acl: settings.text(OWNER, "skipACL").as_deref() == Some("yes"),
            digest_enabled: settings.flag(OWNER, "DigestAuthenticationProvider.enabled"),
            digest_algorithm,
            super_digest: settings.secret(OWNER, "DigestAuthenticationProvider.superDigest"),
            ensemble_names: settings
                .text(OWNER, "ensembleAuthName")
                .map(|names| names.split(',').map(|name| name.trim().to_owned()).collect()),
            any_sasl_user: settings.text(OWNER, "letAnySaslUserDoX"),
            x509_provider: with_tls,
            keep_sasl_failed_clients: settings.flag(OWNER, "allowSaslFailedClients"),
            x509_super_user: settings.text(OWNER, "X509AuthenticationProvider.superUser"),
            certificate_id: CertificateId::from_settings(settings),
            ..AuthConfig::default()
        };
        config.sasl_super_users = settings
            .given
            .iter()
            .filter(|(key, _)| *key == "superUser" || key.starts_with("superUser."))
            .map(|(_, given)| given.value.clone())
            .filter(|user| !user.is_empty())
            .collect();
        settings.text(OWNER, "superUser");
        if config.skip_acl {
            settings.warnings.push(
                "skipACL=yes: no access control list is checked, every client may read and change \
                 everything"
                    .to_owned(),
            );
        }
        config.providers(settings);
        config.sasl_login(settings);
        config.enforce(settings);
        config
    }

    /// `authProvider.*`: the classes that are built in. Any other one stops the start, since its
    /// ACLs could not be checked.
    fn providers(&mut self, settings: &mut Settings) {
        let given: Vec<_> = settings
            .given
            .iter()
            .filter(|(key, _)| *key == "authProvider" || key.starts_with("authProvider."))
            .map(|(key, given)| (key.clone(), given.value.clone()))
            .collect();
        for (key, class) in given {
            match class.strip_prefix("org.apache.zookeeper.server.auth.") {
                Some("SASLAuthenticationProvider") => self.sasl_provider = true,
                Some("X509AuthenticationProvider") => self.x509_provider = true,
                Some("EnsembleAuthenticationProvider") => self.ensemble_provider = true,
                Some("DigestAuthenticationProvider") => self.digest_enabled = true,
                Some("IPAuthenticationProvider") => {}
                _ => settings.problem(
                    &key,
                    "doorkeeper has no such provider, and without it the ACLs that name its scheme \
                     would not be checked (it has those of SASL, X509, Digest, IP and Ensemble, \
                     org.apache.zookeeper.server.auth.SASLAuthenticationProvider for one)",
                ),
            }
        }
    }

    /// The users of the JAAS file's server section (`ServerCnxnFactory.configureSaslLogin`).
    fn sasl_login(&mut self, settings: &mut Settings) {
        const FILE: &str = "java.security.auth.login.config";
        const SECTION: &str = "sasl.serverconfig";
        let super_password = settings.secret(OWNER, "SASLAuthenticationProvider.superPassword");
        let section_is_given = settings.is_given(SECTION);
        let section = settings.text(OWNER, SECTION).unwrap_or_default();
        let Some(file) = settings.text(OWNER, FILE).filter(|file| !file.is_empty()) else {
            if section_is_given {
                settings.problem(SECTION, &format!("{FILE} doesn't say in which file it is"));
            } else if self.sasl_provider {
                settings.warnings.push(format!(
                    "the scheme sasl is served, but {FILE} names no file with users: nobody can \
                     authenticate with it"
                ));
            }
            return;
        };
        let path = jaas::path_of(&file);
        let entries = match jaas::read(Path::new(path)) {
            Ok(sections) => sections.into_iter().find(|entry| entry.name == section),
            Err(error) => {
                settings.problem(FILE, &error.to_string());
                return;
            }
        };
        let Some(entries) = entries else {
            if section_is_given {
                settings.problem(SECTION, &format!("{path} has no such section"));
            } else {
                settings.warnings.push(format!(
                    "{path} has no section {section}: clients can't authenticate with SASL"
                ));
            }
            return;
        };
        let mut users: Vec<SaslUser> = Vec::new();
        for module in &entries.modules {
            if module.class != "org.apache.zookeeper.server.auth.DigestLoginModule" {
                settings.problem(
                    FILE,
                    &format!(
                        "section {section} logs in with {}, which doorkeeper doesn't have; it has \
                         org.apache.zookeeper.server.auth.DigestLoginModule (no Kerberos)",
                        module.class
                    ),
                );
                return;
            }
            for option in &module.options {
                let Some(name) = option.key.strip_prefix("user_") else { continue };
                users.retain(|user| user.name != name);
                let password = match (&super_password, name) {
                    (Some(password), "super") => password.clone(),
                    _ => option.value.clone(),
                };
                users.push(SaslUser { name: name.to_owned(), password });
            }
        }
        if entries.modules.is_empty() {
            settings.problem(FILE, &format!("section {section} has no login module"));
        } else if users.is_empty() {
            settings.warnings.push(format!(
                "{path}: section {section} has no user_NAME=\"password\": nobody can authenticate \
                 with SASL"
            ));
        }
        // Rules for principals change nothing in a name without a realm.
        if let Some(user) = users.iter().find(|user| user.name.contains('@')) {
            let name = user.name.clone();
            for key in [
                "security.auth_to_local",
                "kerberos.removeHostFromPrincipal",
                "kerberos.removeRealmFromPrincipal",
            ] {
                let given = settings.given.get(key).map(|given| given.value.as_str());
                if given.is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
                    settings.problem(key, &format!("not built, and the user {name} has a realm"));
                }
            }
        }
        self.sasl_users = Some(users);
    }

    /// What a client must have proved (`AuthenticationHelper`).
    fn enforce(&mut self, settings: &mut Settings) {
        const SCHEMES: &str = "enforce.auth.schemes";
        let sasl_required = settings.flag(OWNER, "sessionRequireClientSASLAuth");
        let enabled = settings.flag(OWNER, "enforce.auth.enabled");
        let schemes = settings.list(OWNER, SCHEMES);
        let (key, schemes) = if sasl_required {
            ("sessionRequireClientSASLAuth", vec!["sasl".to_owned()])
        } else if enabled {
            (SCHEMES, schemes)
        } else {
            return;
        };
        if schemes.is_empty() {
            settings.problem("enforce.auth.enabled", "enforce.auth.schemes names no scheme");
        }
        for scheme in &schemes {
            if !self.serves(scheme) {
                settings.problem(
                    key,
                    &format!("the scheme {scheme} is not served; an authProvider.N would add it"),
                );
            }
        }
        if schemes == ["sasl"] && self.sasl_users.as_ref().is_none_or(Vec::is_empty) {
            settings.warnings.push(format!(
                "{key}: every client must authenticate with SASL, and no file names a user: nobody \
                 can do anything"
            ));
        }
        self.enforced_schemes = schemes;
    }

    /// Whether clients can prove something with this scheme, and ACLs may name it.
    pub fn serves(&self, scheme: &str) -> bool {
        match scheme {
            "ip" => true,
            "digest" => self.digest_enabled,
            "sasl" => self.sasl_provider,
            "x509" => self.x509_provider,
            "ensemble" => self.ensemble_provider,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_algorithms_have_javas_names() {
        assert_eq!(DigestAlgorithm::named("sha-256"), Some(DigestAlgorithm::Sha256));
        assert_eq!(DigestAlgorithm::named("SHA"), Some(DigestAlgorithm::Sha1));
        assert_eq!(DigestAlgorithm::named("SHA3-512"), Some(DigestAlgorithm::Sha3Over512));
        assert_eq!(DigestAlgorithm::named("RipeMD160"), None);
        assert_eq!(DigestAlgorithm::named(""), None);
    }
}
