//! The `ssl.*` keys of a listener, as Kafka's `DefaultSslEngineFactory` reads them: each may have a
//! value of the listener's own, `listener.name.<listener>.ssl.*`.

use std::path::PathBuf;

use super::Secret;
use super::keys::Owner;
use super::settings::Settings;
use super::tls::check_suites;
use crate::net::tls::options::Protocol;
use crate::net::tls::store::{Password, StoreConfig, StoreSource};
use crate::net::tls::{ClientAuth, StoreKind, TlsConfig};

/// The keys of one store.
struct StoreKeys {
    location: &'static str,
    password: &'static str,
    kind: &'static str,
    key_password: Option<&'static str>,
    /// Those of a store in the configuration itself.
    inline: &'static [&'static str],
}

const KEY_STORE: StoreKeys = StoreKeys {
    location: "ssl.keystore.location",
    password: "ssl.keystore.password",
    kind: "ssl.keystore.type",
    key_password: Some("ssl.key.password"),
    inline: &["ssl.keystore.key", "ssl.keystore.certificate.chain"],
};

const TRUST_STORE: StoreKeys = StoreKeys {
    location: "ssl.truststore.location",
    password: "ssl.truststore.password",
    kind: "ssl.truststore.type",
    key_password: None,
    inline: &["ssl.truststore.certificates"],
};

/// The keys that a listener may have values of its own of.
pub(super) const OF_LISTENERS: &[&str] = &[
    "ssl.cipher.suites",
    "ssl.client.auth",
    "ssl.enabled.protocols",
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// What the TLS of a listener is made with; what is wrong goes to `settings`.
pub(super) fn of_listener(
    settings: &mut Settings,
    owner: Owner,
    listener: &str,
) -> Option<TlsConfig> {
    let mut keys = Keys { settings, owner, listener };
    let key_store = keys.store(&KEY_STORE);
    if matches!(key_store, Ok(None)) {
        let reason = format!("not set, and listener {listener} needs a certificate");
        keys.problem(KEY_STORE.location, &reason);
    }
    let trust_store = keys.store(&TRUST_STORE);
    let client_auth = match keys.text("ssl.client.auth").as_deref() {
        Some("required") => ClientAuth::Need,
        Some("requested") => ClientAuth::Want,
        _ => ClientAuth::None,
    };
    if client_auth != ClientAuth::None && matches!(trust_store, Ok(None)) {
        let reason = format!(
            "not set, and listener {listener} asks clients for certificates (ssl.client.auth)"
        );
        keys.problem(TRUST_STORE.location, &reason);
    }
    let protocols = keys.protocols();
    let cipher_suites = keys.list("ssl.cipher.suites");
    if let Err(reason) = check_suites(&cipher_suites, &protocols) {
        keys.problem("ssl.cipher.suites", &reason);
    }
    Some(TlsConfig {
        key_store: key_store.ok()??,
        trust_store: trust_store.ok()?,
        client_auth,
        protocols,
        cipher_suites,
        verify_client_address: false,
    })
}

/// A key that is wrong, and has been said to be.
struct Wrong;

/// The keys as one listener sees them.
struct Keys<'a> {
    settings: &'a mut Settings,
    owner: Owner,
    listener: &'a str,
}

impl Keys<'_> {
    fn text(&mut self, key: &'static str) -> Option<String> {
        let text = self.settings.text_of_listener(self.owner, self.listener, key);
        text.filter(|text| !text.is_empty())
    }

    fn list(&mut self, key: &'static str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::to_owned).collect()
    }

    fn problem(&mut self, key: &'static str, reason: &str) {
        let name = self.settings.key_of_listener(self.listener, key);
        self.settings.problem(&name, reason);
    }

    fn wrong<T>(&mut self, key: &'static str, reason: &str) -> Result<T, Wrong> {
        self.problem(key, reason);
        Err(Wrong)
    }

    /// The store that some keys name, if they name one.
    fn store(&mut self, keys: &StoreKeys) -> Result<Option<StoreConfig>, Wrong> {
        let kind = self.text(keys.kind);
        let password = self.text(keys.password);
        let key_password = keys.key_password.and_then(|key| self.text(key)).map(Secret::new);
        let location = self.text(keys.location);
        let mut inline = Vec::new();
        for key in keys.inline {
            inline.push((*key, self.text(key)));
        }
        let Some(kind) = kind.as_deref().and_then(StoreKind::by_name) else {
            return self.wrong(keys.kind, "expected JKS, PKCS12 or PEM");
        };
        if kind == StoreKind::Pem && password.is_some() {
            let reason = "a store of PEM has no password, only its key may have one \
                          (ssl.key.password)";
            return self.wrong(keys.password, reason);
        }
        let given = inline.iter().find(|(_, text)| text.is_some()).map(|(key, _)| *key);
        let (source, password) = match (location, given) {
            (None, None) => return Ok(None),
            (Some(_), Some(key)) => {
                let reason = format!("expected either this or {}, not both", keys.location);
                return self.wrong(key, &reason);
            }
            (Some(path), None) => (StoreSource::File(PathBuf::from(path)), password),
            (None, Some(key)) if kind != StoreKind::Pem => {
                let reason = format!("it is PEM: expected {}=PEM beside it", keys.kind);
                return self.wrong(key, &reason);
            }
            (None, Some(given)) => {
                if let Some((missing, _)) = inline.iter().find(|(_, text)| text.is_none()) {
                    let reason = format!("not set, and {given} is");
                    return self.wrong(missing, &reason);
                }
                let text: Vec<String> = inline.into_iter().filter_map(|(_, text)| text).collect();
                let name = self.settings.key_of_listener(self.listener, given).into_owned();
                (StoreSource::Inline(name, Secret::new(text.join("\n"))), None)
            }
        };
        let password = Password::Text(Secret::new(password.unwrap_or_default()));
        Ok(Some(StoreConfig { source, kind, password, key_password }))
    }

    fn protocols(&mut self) -> Vec<Protocol> {
        const KEY: &str = "ssl.enabled.protocols";
        let mut named = Vec::new();
        for name in self.list(KEY) {
            if let Some(protocol) = Protocol::by_name(&name) {
                named.push(protocol);
            } else {
                let reason = format!("{name} is not served: expected TLSv1.2, TLSv1.3 or both");
                self.problem(KEY, &reason);
            }
        }
        if named.is_empty() { Protocol::ALL.to_vec() } else { named }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::net::tls::store::{Password, StoreSource};
    use crate::net::tls::{ClientAuth, StoreKind, TlsConfig};

    const SECURE: [&str; 7] = [
        "process.roles=gateway",
        "zookeeper.connect=localhost",
        "listeners=SSL://:0,OUT://:0,PLAINTEXT://:0",
        "listener.security.protocol.map=SSL:SSL,OUT:SASL_SSL,PLAINTEXT:PLAINTEXT",
        "ssl.keystore.location=/k.jks",
        "ssl.keystore.password=one",
        "doorkeeper.gateway.upstream.shared.identity=true",
    ];

    fn loaded(more: &[&str]) -> Result<Vec<Option<TlsConfig>>, Vec<String>> {
        let overrides: Vec<String> =
            SECURE.iter().chain(more).map(|&text| text.to_owned()).collect();
        match load(&[], &overrides) {
            Ok(configuration) => {
                let listeners = configuration.gateway.unwrap().listeners;
                Ok(listeners.into_iter().map(|listener| listener.tls).collect())
            }
            Err(error) => Err(error.problems),
        }
    }

    fn file(tls: &TlsConfig) -> String {
        tls.key_store.source.to_string()
    }

    #[test]
    fn a_listener_has_its_own_values_or_those_of_all() {
        let loaded = loaded(&[
            "listener.name.out.ssl.keystore.location=/own.pem",
            "listener.name.out.ssl.keystore.type=PEM",
            "listener.name.out.ssl.keystore.password=",
            "listener.name.out.ssl.key.password=two",
            "listener.name.out.ssl.client.auth=required",
            "ssl.truststore.location=/t.jks",
        ])
        .unwrap();
        let [Some(common), Some(own), None] = loaded.as_slice() else { panic!("{loaded:?}") };
        assert_eq!((file(common), common.key_store.kind), ("/k.jks".to_owned(), StoreKind::Java));
        assert_eq!(common.client_auth, ClientAuth::None);
        assert!(
            matches!(&common.key_store.password, Password::Text(text) if text.expose() == "one")
        );
        assert_eq!((file(own), own.key_store.kind), ("/own.pem".to_owned(), StoreKind::Pem));
        assert_eq!(own.client_auth, ClientAuth::Need);
        assert_eq!(own.key_store.key_password.as_ref().unwrap().expose(), "two");
        assert_eq!(own.trust_store.as_ref().unwrap().source.to_string(), "/t.jks");
        let shown = format!("{loaded:?}");
        assert!(!shown.contains("\"one\"") && !shown.contains("two"), "no password in {shown}");
    }

    #[test]
    fn certificates_may_stand_in_the_configuration() {
        let inline = [
            "ssl.keystore.location=",
            "ssl.keystore.password=",
            "ssl.keystore.type=PEM",
            "ssl.keystore.key=KEY",
            "ssl.keystore.certificate.chain=CHAIN",
        ];
        let loaded = loaded(&inline).unwrap();
        let source = &loaded[0].as_ref().unwrap().key_store.source;
        let StoreSource::Inline(name, text) = source else { panic!("{source:?}") };
        assert_eq!((name.as_str(), text.expose()), ("ssl.keystore.key", "KEY\nCHAIN"));
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        for (lines, expected) in [
            (&["ssl.keystore.location="][..], "listener SSL needs a certificate"),
            (&["ssl.keystore.type=BCFKS"], "expected JKS, PKCS12 or PEM"),
            (&["ssl.keystore.type=PEM"], "a store of PEM has no password"),
            (&["ssl.keystore.key=K"], "expected either this or ssl.keystore.location"),
            (&["ssl.truststore.certificates=C"], "expected ssl.truststore.type=PEM beside it"),
            (&["ssl.client.auth=required"], "asks clients for certificates"),
            (&["ssl.client.auth=need"], "expected one of required, requested, none"),
            (&["ssl.enabled.protocols=TLSv1.1"], "TLSv1.1 is not served"),
            (&["ssl.cipher.suites=TLS_X"], "TLS_X is not served"),
            (
                &["listener.name.out.ssl.client.auth=maybe"],
                "listener.name.out.ssl.client.auth=maybe",
            ),
            (&["listener.name.nowhere.ssl.client.auth=none"], "nowhere is not one of listeners"),
        ] {
            let problems = loaded(lines).map(|_| ()).unwrap_err();
            assert!(problems.iter().any(|line| line.contains(expected)), "{problems:?}");
            assert!(!problems.iter().any(|line| line.contains("=one")), "{problems:?}");
        }
    }

    #[test]
    fn certificates_without_a_login_lend_the_gateways_rights_only_where_that_is_said() {
        let lines = ["ssl.client.auth=requested", "ssl.truststore.location=/t.jks"];
        assert!(loaded(&lines).is_ok());
        let shared = "doorkeeper.gateway.upstream.shared.identity=false";
        let problems = loaded(&[lines[0], lines[1], shared]).map(|_| ()).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.contains("listener SSL takes certificates and no login"), "{problem}");
    }
}
