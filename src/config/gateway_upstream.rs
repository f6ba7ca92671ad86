//! How a gateway reaches brokers, and who it is to them: `doorkeeper.gateway.upstream.*`, named as the
//! keys of Kafka's clients are.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::keys::Owner;
use super::settings::Settings;
use crate::limits;
use crate::net::tls::StoreKind;
use crate::net::tls::options::Protocol;
use crate::net::tls::store::{Password, StoreConfig};

const OWNER: Owner = Owner::Gateway;
const SHARED: &str = "doorkeeper.gateway.upstream.shared.identity";

/// `doorkeeper.gateway.upstream.*`.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// `ssl.truststore.*`: who may have signed a broker's certificate. Without it no broker can be
    /// reached over TLS.
    pub trust_store: Option<StoreConfig>,
    /// `ssl.keystore.*`: the gateway's own certificate.
    pub key_store: Option<StoreConfig>,
    /// `ssl.endpoint.identification.algorithm=https`: a broker's certificate must be for its host.
    pub verify_host: bool,
    /// `ssl.enabled.protocols`.
    pub protocols: Vec<Protocol>,
    /// `sasl.*`: the gateway's own login, for clients that can't log in themselves.
    pub login: Option<UpstreamLogin>,
    /// `shared.identity`: clients may be lent the gateway's own rights.
    pub shared_identity: bool,
    /// How long an upstream with a client's login is idle before it is asked something, while the client
    /// is not idle. No key sets it.
    pub keep_alive: Duration,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        UpstreamConfig {
            trust_store: None,
            key_store: None,
            verify_host: true,
            protocols: Protocol::ALL.to_vec(),
            login: None,
            shared_identity: false,
            keep_alive: limits::GATEWAY_KEEP_ALIVE,
        }
    }
}

/// How the gateway logs in to brokers.
#[derive(Debug, Clone)]
pub struct UpstreamLogin {
    /// `sasl.mechanism`.
    pub mechanism: LoginMechanism,
    /// `sasl.username`.
    pub username: String,
    /// `sasl.password`.
    pub password: Secret,
}

/// The mechanisms that the gateway logs in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMechanism {
    /// `PLAIN`.
    Plain,
    /// `SCRAM-SHA-256`.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
}

impl LoginMechanism {
    /// By the name that SASL has for it.
    pub fn by_name(name: &str) -> Option<LoginMechanism> {
        Some(match name {
            "PLAIN" => LoginMechanism::Plain,
            "SCRAM-SHA-256" => LoginMechanism::ScramSha256,
            "SCRAM-SHA-512" => LoginMechanism::ScramSha512,
            _ => return None,
        })
    }

    /// The name that SASL has for it.
    pub fn name(self) -> &'static str {
        match self {
            LoginMechanism::Plain => "PLAIN",
            LoginMechanism::ScramSha256 => "SCRAM-SHA-256",
            LoginMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl UpstreamConfig {
    pub(super) fn from_settings(settings: &mut Settings) -> UpstreamConfig {
        let shared_identity = settings.flag(OWNER, SHARED);
        let key_store = store(settings, &KEY_STORE);
        let login = login(settings);
        if !shared_identity {
            for key in [KEY_STORE.location, MECHANISM] {
                if settings.is_filled(key) {
                    let reason = format!(
                        "it would lend every client of a listener without SASL the gateway's own rights, \
                         which only {SHARED}=true allows"
                    );
                    settings.problem(key, &reason);
                }
            }
        }
        let identification = settings.text(OWNER, IDENTIFICATION).unwrap_or_default();
        if !matches!(identification.to_ascii_lowercase().as_str(), "https" | "") {
            settings.problem(IDENTIFICATION, "expected https, or nothing to take any name");
        }
        UpstreamConfig {
            trust_store: store(settings, &TRUST_STORE),
            key_store,
            verify_host: !identification.is_empty(),
            protocols: protocols(settings),
            login,
            shared_identity,
            keep_alive: limits::GATEWAY_KEEP_ALIVE,
        }
    }
}

/// The keys of one store.
struct StoreKeys {
    location: &'static str,
    password: &'static str,
    kind: &'static str,
    /// What unlocks the key, where that is not the store's password.
    key_password: Option<&'static str>,
}

const TRUST_STORE: StoreKeys = StoreKeys {
    location: "doorkeeper.gateway.upstream.ssl.truststore.location",
    password: "doorkeeper.gateway.upstream.ssl.truststore.password",
    kind: "doorkeeper.gateway.upstream.ssl.truststore.type",
    key_password: None,
};

const KEY_STORE: StoreKeys = StoreKeys {
    location: "doorkeeper.gateway.upstream.ssl.keystore.location",
    password: "doorkeeper.gateway.upstream.ssl.keystore.password",
    kind: "doorkeeper.gateway.upstream.ssl.keystore.type",
    key_password: Some("doorkeeper.gateway.upstream.ssl.key.password"),
};

const IDENTIFICATION: &str = "doorkeeper.gateway.upstream.ssl.endpoint.identification.algorithm";
const PROTOCOLS: &str = "doorkeeper.gateway.upstream.ssl.enabled.protocols";
const MECHANISM: &str = "doorkeeper.gateway.upstream.sasl.mechanism";
const USERNAME: &str = "doorkeeper.gateway.upstream.sasl.username";
const PASSWORD: &str = "doorkeeper.gateway.upstream.sasl.password";

fn store(settings: &mut Settings, keys: &StoreKeys) -> Option<StoreConfig> {
    let password = settings.secret(OWNER, keys.password).unwrap_or_default();
    let kind = settings.text(OWNER, keys.kind).unwrap_or_default();
    let key_password = keys.key_password.and_then(|key| settings.secret(OWNER, key));
    let path = settings.text(OWNER, keys.location).filter(|path| !path.is_empty())?;
    let Some(kind) = StoreKind::by_name(&kind) else {
        settings.problem(keys.kind, "expected JKS, PKCS12 or PEM");
        return None;
    };
    let password = Password::Text(password);
    Some(StoreConfig { key_password, ..StoreConfig::file(PathBuf::from(path), kind, password) })
}

fn protocols(settings: &mut Settings) -> Vec<Protocol> {
    let mut protocols = Vec::new();
    for name in settings.list(OWNER, PROTOCOLS) {
        if let Some(protocol) = Protocol::by_name(&name) {
            protocols.push(protocol);
        } else {
            let reason = format!("{name} is not spoken: expected TLSv1.2, TLSv1.3 or both");
            settings.problem(PROTOCOLS, &reason);
        }
    }
    if protocols.is_empty() { Protocol::ALL.to_vec() } else { protocols }
}

fn login(settings: &mut Settings) -> Option<UpstreamLogin> {
    let mechanism = settings.text(OWNER, MECHANISM).filter(|name| !name.is_empty());
    let username = settings.text(OWNER, USERNAME).filter(|name| !name.is_empty());
    let password = settings.secret(OWNER, PASSWORD).filter(|text| !text.expose().is_empty());
    let Some(mechanism) = mechanism else {
        for key in [USERNAME, PASSWORD] {
            if settings.is_filled(key) {
                settings.problem(key, &format!("{MECHANISM} is not set"));
            }
        }
        return None;
    };
    let Some(mechanism) = LoginMechanism::by_name(&mechanism) else {
        settings.problem(MECHANISM, "expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
        return None;
    };
    for (key, missing) in [(USERNAME, username.is_none()), (PASSWORD, password.is_none())] {
        if missing {
            settings.problem(key, &format!("not set, and {MECHANISM} needs it"));
        }
    }
    let username = username?;
    if !username.is_ascii() || username.contains('\0') {
        settings.problem(USERNAME, "expected plain letters, digits and signs (ASCII)");
        return None;
    }
    Some(UpstreamLogin { mechanism, username, password: password? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn loaded(more: &[&str]) -> Result<UpstreamConfig, Vec<String>> {
        let base = ["process.roles=gateway", "zookeeper.connect=localhost:2181"];
        let lines: Vec<String> = base.iter().chain(more).map(|&text| text.to_owned()).collect();
        match load(&[], &lines) {
            Ok(configuration) => Ok(configuration.gateway.unwrap().upstream),
            Err(error) => Err(error.problems),
        }
    }

    const KEY: &str = "doorkeeper.gateway.upstream.ssl.keystore.location=/k.p12";
    const LOGIN: [&str; 3] = [
        "doorkeeper.gateway.upstream.sasl.mechanism=SCRAM-SHA-256",
        "doorkeeper.gateway.upstream.sasl.username=gate",
        "doorkeeper.gateway.upstream.sasl.password=hush",
    ];
    const SHARE: &str = "doorkeeper.gateway.upstream.shared.identity=true";

    #[test]
    fn nothing_is_lent_unless_it_is_said() {
        let upstream = loaded(&[]).unwrap();
        assert!(upstream.trust_store.is_none() && upstream.login.is_none());
        assert!(upstream.verify_host && !upstream.shared_identity);
        for lending in [&[KEY][..], &LOGIN] {
            let problems = loaded(lending).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains("shared.identity=true"), "{problems:?}");
            assert!(!problems[0].contains("hush"), "{problems:?}");
        }
        let upstream = loaded(&[&[KEY, SHARE][..], &LOGIN].concat()).unwrap();
        let login = upstream.login.as_ref().unwrap();
        assert_eq!((login.mechanism, &*login.username), (LoginMechanism::ScramSha256, "gate"));
        assert_eq!(upstream.key_store.as_ref().unwrap().kind, StoreKind::Java);
        assert!(!format!("{upstream:?}").contains("hush"));
    }

    #[test]
    fn a_store_is_unlocked_by_its_own_password() {
        const TRUST: &str = "doorkeeper.gateway.upstream.ssl.truststore.location=/t.pem";
        const PEM: &str = "doorkeeper.gateway.upstream.ssl.truststore.type=PEM";
        const IDENTIFY: &str = "doorkeeper.gateway.upstream.ssl.endpoint.identification.algorithm=";
        let upstream = loaded(&[TRUST, PEM, IDENTIFY]).unwrap();
        assert_eq!(upstream.trust_store.unwrap().kind, StoreKind::Pem);
        assert!(!upstream.verify_host);
        let of_key = "doorkeeper.gateway.upstream.ssl.key.password=other";
        let key_store = loaded(&[KEY, SHARE, of_key]).unwrap().key_store.unwrap();
        assert_eq!(key_store.key_password.unwrap().expose(), "other");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (lines, expected) in [
            (
                &[
                    "doorkeeper.gateway.upstream.ssl.truststore.location=/t",
                    "doorkeeper.gateway.upstream.ssl.truststore.type=BCFKS",
                ][..],
                "expected JKS, PKCS12 or PEM",
            ),
            (
                &["doorkeeper.gateway.upstream.ssl.enabled.protocols=TLSv1.1"],
                "TLSv1.1 is not spoken",
            ),
            (
                &["doorkeeper.gateway.upstream.ssl.endpoint.identification.algorithm=ldaps"],
                "expected https",
            ),
            (&["doorkeeper.gateway.upstream.sasl.username=gate"], "sasl.mechanism is not set"),
            (&[SHARE, LOGIN[0], LOGIN[1]], "sasl.password: not set"),
            (&[SHARE, "doorkeeper.gateway.upstream.sasl.mechanism=GSSAPI"], "expected PLAIN"),
        ] {
            let problems = loaded(lines).map(|_| ()).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(expected), "{problems:?}");
        }
    }
}
