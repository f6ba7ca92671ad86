//! The `ssl.*` keys of `zoo.cfg`, as ZooKeeper's `X509Util` reads them: those of clients' ports, and the
//! stores of `ssl.quorum.*`, which its AdminServer uses.

use std::path::PathBuf;

use super::keys::Owner;
use super::settings::Settings;
use crate::net::tls::options::{self, Protocol};
use crate::net::tls::store::{Password, StoreConfig};
use crate::net::tls::{ClientAuth, StoreKind, TlsConfig};

const OWNER: Owner = Owner::Coordinator;

/// The keys of one store.
struct StoreKeys {
    location: &'static str,
    password: &'static str,
    password_path: &'static str,
    kind: &'static str,
}

const KEY_STORE: StoreKeys = StoreKeys {
    location: "ssl.keyStore.location",
    password: "ssl.keyStore.password",
    password_path: "ssl.keyStore.passwordPath",
    kind: "ssl.keyStore.type",
};

const TRUST_STORE: StoreKeys = StoreKeys {
    location: "ssl.trustStore.location",
    password: "ssl.trustStore.password",
    password_path: "ssl.trustStore.passwordPath",
    kind: "ssl.trustStore.type",
};

/// The stores that a member of an ensemble shows to the others.
const QUORUM_KEY_STORE: StoreKeys = StoreKeys {
    location: "ssl.quorum.keyStore.location",
    password: "ssl.quorum.keyStore.password",
    password_path: "ssl.quorum.keyStore.passwordPath",
    kind: "ssl.quorum.keyStore.type",
};

const QUORUM_TRUST_STORE: StoreKeys = StoreKeys {
    location: "ssl.quorum.trustStore.location",
    password: "ssl.quorum.trustStore.password",
    password_path: "ssl.quorum.trustStore.passwordPath",
    kind: "ssl.quorum.trustStore.type",
};

/// What the AdminServer's TLS is made with (`JettyAdminServer`); what is wrong goes to `settings`.
/// `wanted_by` is the key that asks for it, and `certificates` says whether clients must show one.
pub(super) fn of_admin_server(
    settings: &mut Settings,
    wanted_by: &str,
    certificates: bool,
) -> Option<TlsConfig> {
    let key_store = store(settings, &QUORUM_KEY_STORE);
    if !settings.is_filled(QUORUM_KEY_STORE.location) {
        let reason = format!("not set, and {wanted_by} needs a certificate");
        settings.problem(QUORUM_KEY_STORE.location, &reason);
    }
    let trust_store = store(settings, &QUORUM_TRUST_STORE);
    if certificates && !settings.is_filled(QUORUM_TRUST_STORE.location) {
        settings.problem(
            QUORUM_TRUST_STORE.location,
            "not set, and admin.needClientAuth asks clients for certificates",
        );
    }
    Some(TlsConfig {
        key_store: key_store?,
        trust_store,
        client_auth: if certificates { ClientAuth::Need } else { ClientAuth::None },
        protocols: Protocol::ALL.to_vec(),
        cipher_suites: Vec::new(),
        verify_client_address: false,
    })
}

/// What the TLS listeners of a coordinator are made with; what is wrong goes to `settings`.
/// `wanted_by` is the key that asks for TLS.
pub(super) fn from_settings(settings: &mut Settings, wanted_by: &str) -> Option<TlsConfig> {
    let key_store = store(settings, &KEY_STORE);
    if !settings.is_filled(KEY_STORE.location) {
        let reason = format!("not set, and {wanted_by} needs a certificate");
        settings.problem(KEY_STORE.location, &reason);
    }
    let trust_store = store(settings, &TRUST_STORE);
    let client_auth = client_auth(settings);
    if client_auth != ClientAuth::None && !settings.is_filled(TRUST_STORE.location) {
        settings.problem(
            TRUST_STORE.location,
            "not set, and clients are asked for certificates; ssl.clientAuth=none doesn't ask them",
        );
    }
    let protocols = protocols(settings);
    let cipher_suites = cipher_suites(settings, &protocols);
    let verify = settings.flag(OWNER, "ssl.hostnameVerification");
    let verify_client_address = settings.flag(OWNER, "ssl.clientHostnameVerification") && verify;
    Some(TlsConfig {
        key_store: key_store?,
        trust_store,
        client_auth,
        protocols,
        cipher_suites,
        verify_client_address,
    })
}

fn store(settings: &mut Settings, keys: &StoreKeys) -> Option<StoreConfig> {
    let password = settings.secret(OWNER, keys.password).unwrap_or_default();
    let password_path = settings.text(OWNER, keys.password_path).filter(|path| !path.is_empty());
    let kind = settings.text(OWNER, keys.kind).filter(|kind| !kind.is_empty());
    let path = settings.text(OWNER, keys.location).filter(|path| !path.is_empty());
    let path = PathBuf::from(path?);
    let kind = match &kind {
        Some(name) => StoreKind::by_name(name).or_else(|| {
            settings.problem(keys.kind, "expected JKS, PKCS12 or PEM");
            None
        }),
        None => StoreKind::by_file_name(&path).or_else(|| {
            let reason = format!("expected a name ending in .jks, .p12 or .pem, or {}", keys.kind);
            settings.problem(keys.location, &reason);
            None
        }),
    };
    let password = match password_path {
        Some(path) => Password::File(PathBuf::from(path)),
        None => Password::Text(password),
    };
    Some(StoreConfig::file(path, kind?, password))
}

fn client_auth(settings: &mut Settings) -> ClientAuth {
    const KEY: &str = "ssl.clientAuth";
    let text = settings.text(OWNER, KEY).unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "none" => ClientAuth::None,
        "want" => ClientAuth::Want,
        "need" | "" => ClientAuth::Need,
        _ => {
            settings.problem(KEY, "expected none, want or need");
            ClientAuth::Need
        }
    }
}

/// `enabledProtocols`, else the one of `protocol`, else all.
fn protocols(settings: &mut Settings) -> Vec<Protocol> {
    let mut named = Vec::new();
    let enabled = settings.list(OWNER, "ssl.enabledProtocols");
    let single = settings.text(OWNER, "ssl.protocol").filter(|name| !name.is_empty());
    let (key, names) = if enabled.is_empty() {
        ("ssl.protocol", single.into_iter().collect())
    } else {
        ("ssl.enabledProtocols", enabled)
    };
    for name in &names {
        match Protocol::by_name(name) {
            Some(protocol) => named.push(protocol),
            // Java's name for whatever it has.
            None if name == "TLS" => named.extend(Protocol::ALL),
            None => {
                let reason = format!("{name} is not served: expected TLSv1.2, TLSv1.3 or both");
                settings.problem(key, &reason);
            }
        }
    }
    if names.is_empty() { Protocol::ALL.to_vec() } else { named }
}

fn cipher_suites(settings: &mut Settings, protocols: &[Protocol]) -> Vec<String> {
    const KEY: &str = "ssl.ciphersuites";
    let names = settings.list(OWNER, KEY);
    if let Err(reason) = check_suites(&names, protocols) {
        settings.problem(KEY, &reason);
    }
    names
}

/// Whether these suites are served, and one of them with these protocols.
///
/// # Errors
/// Which one is not, and which are.
pub(super) fn check_suites(names: &[String], protocols: &[Protocol]) -> Result<(), String> {
    let served = options::cipher_suites();
    if let Some(name) = names.iter().find(|name| !served.iter().any(|(known, _)| known == *name)) {
        let known: Vec<&str> = served.iter().map(|(name, _)| name.as_str()).collect();
        return Err(format!("{name} is not served; these are: {}", known.join(", ")));
    }
    let usable = |protocol: &Protocol| {
        served.iter().any(|(name, of)| of == protocol && names.contains(name))
    };
    if !names.is_empty() && !protocols.iter().any(usable) {
        return Err("none of them belongs to an enabled protocol".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::net::tls::options::Protocol;
    use crate::net::tls::store::Password;
    use crate::net::tls::{ClientAuth, StoreKind, TlsConfig};

    const SECURE: [&str; 5] = [
        "process.roles=coordinator",
        "secureClientPort=0",
        "ssl.keyStore.location=/k.jks",
        "ssl.keyStore.password=one",
        "ssl.trustStore.location=/t.pem",
    ];

    fn loaded(more: &[&str]) -> Result<TlsConfig, Vec<String>> {
        let overrides: Vec<String> =
            SECURE.iter().chain(more).map(|&text| text.to_owned()).collect();
        match load(&[], &overrides) {
            Ok(configuration) => Ok(configuration.coordinator.unwrap().tls.unwrap()),
            Err(error) => Err(error.problems),
        }
    }

    #[test]
    fn stores_are_told_apart_by_their_names() {
        let tls = loaded(&[]).unwrap();
        assert_eq!(tls.key_store.kind, StoreKind::Java);
        assert_eq!(tls.trust_store.as_ref().unwrap().kind, StoreKind::Pem);
        assert_eq!(tls.client_auth, ClientAuth::Need);
        assert_eq!(tls.protocols, Protocol::ALL);
        assert!(matches!(&tls.key_store.password, Password::Text(text) if text.expose() == "one"));
        assert!(!format!("{tls:?}").contains("\"one\""), "no password in {tls:?}");
        let tls = loaded(&["ssl.trustStore.type=pkcs12", "ssl.keyStore.passwordPath=/pw"]).unwrap();
        assert_eq!(tls.trust_store.unwrap().kind, StoreKind::Java);
        assert!(matches!(tls.key_store.password, Password::File(_)), "the file counts");
    }

    #[test]
    fn protocols_are_those_that_are_named() {
        for (line, expected) in [
            ("ssl.protocol=TLSv1.2", vec![Protocol::Tls12]),
            ("ssl.protocol=TLSv1.3", vec![Protocol::Tls13]),
            ("ssl.enabledProtocols=TLSv1.2,TLSv1.3", vec![Protocol::Tls12, Protocol::Tls13]),
        ] {
            assert_eq!(loaded(&[line]).unwrap().protocols, expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused_with_its_name() {
        for (line, expected) in [
            ("ssl.enabledProtocols=TLSv1.3,TLSv1.1", "TLSv1.1 is not served"),
            ("ssl.protocol=SSLv3", "SSLv3 is not served"),
            (
                "ssl.ciphersuites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256 is not served",
            ),
            ("ssl.clientAuth=maybe", "expected none, want or need"),
            ("ssl.crl=true", "checking revocation lists is not built yet"),
            ("ssl.ocsp=true", "asking OCSP servers is not built yet"),
            ("ssl.context.supplier.class=a.B", "an SSL context of one's own is not built yet"),
            ("ssl.authProvider=mine", "another provider of certificates is not built yet"),
            ("ssl.keyStore.type=BCFKS", "expected JKS, PKCS12 or PEM"),
            ("ssl.trustStore.location=/t.crt", "expected a name ending in .jks, .p12 or .pem"),
            ("ssl.trustStore.location=", "clients are asked for certificates"),
            ("ssl.keyStore.location=", "secureClientPort needs a certificate"),
        ] {
            let problems = loaded(&[line]).map(|_| ()).unwrap_err();
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert!(problems[0].contains(expected), "{line}: {problems:?}");
            assert!(!problems[0].contains("one)"), "{problems:?}");
        }
    }

    #[test]
    fn a_suite_of_a_protocol_that_is_off_is_no_suite() {
        let lines = ["ssl.protocol=TLSv1.2", "ssl.ciphersuites=TLS_AES_128_GCM_SHA256"];
        let problems = loaded(&lines).map(|_| ()).unwrap_err();
        assert!(
            problems[0].contains("none of them belongs to an enabled protocol"),
            "{problems:?}"
        );
    }
}
