//! Stores of every kind, made here, read, and damaged.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use p12_keystore::{EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKeyChain};
use pkcs8::PrivateKeyInfoRef;
use rcgen::{CertifiedKey, KeyPair};

use super::*;

/// A certificate with its key, in DER.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
    pem: String,
    key_pem: String,
}

fn pair(name: &str) -> Pair {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair {
        certificate: cert.der().to_vec(),
        key: signing_key.serialize_der(),
        pem: cert.pem(),
        key_pem: signing_key.serialize_pem(),
    }
}

fn section(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn jks_of(pair: &Pair, trusted: &[&Pair], password: &str) -> Vec<u8> {
    let certificate = |pair: &Pair| ::jks::Certificate {
        cert_type: "X.509".to_owned(),
        content: pair.certificate.clone(),
    };
    let mut store = ::jks::KeyStore::new();
    let entry = ::jks::PrivateKeyEntry {
        creation_time: SystemTime::UNIX_EPOCH,
        private_key: pair.key.clone(),
        certificate_chain: vec![certificate(pair)],
    };
    store.set_private_key_entry("mine", entry, password.as_bytes()).unwrap();
    for (number, trusted) in trusted.iter().enumerate() {
        let entry = ::jks::TrustedCertificateEntry {
            creation_time: SystemTime::UNIX_EPOCH,
            certificate: certificate(trusted),
        };
        store.set_trusted_certificate_entry(&format!("ca{number}"), entry).unwrap();
    }
    let mut bytes = Vec::new();
    store.store(&mut bytes, password.as_bytes()).unwrap();
    bytes
}

fn pkcs12_of(pair: &Pair, trusted: &[&Pair], password: &str, old: bool) -> Vec<u8> {
    let certificate = |pair: &Pair| p12_keystore::Certificate::from_der(&pair.certificate).unwrap();
    let mut store = KeyStore::new();
    let key = p12_keystore::PrivateKey::from_der(&pair.key).unwrap();
    let chain = PrivateKeyChain::new("id", key, [certificate(pair)]);
    store.add_entry("mine", KeyStoreEntry::PrivateKeyChain(chain));
    for (number, trusted) in trusted.iter().enumerate() {
        store.add_entry(&format!("ca{number}"), KeyStoreEntry::Certificate(certificate(trusted)));
    }
    let writer = store.writer(password).encryption_iterations(100).mac_iterations(100);
    let writer = if old {
        writer
            .encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc)
            .mac_algorithm(MacAlgorithm::HmacSha1)
    } else {
        writer
    };
    writer.write().unwrap()
}

fn store(path: PathBuf, kind: StoreKind, password: &str) -> StoreConfig {
    StoreConfig::file(path, kind, Password::Text(Secret::new(password)))
}

fn written(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_java_store_is_jks_or_pkcs12_whatever_it_is_called() {
    let directory = tempfile::tempdir().unwrap();
    let (server, one, other) = (pair("server"), pair("one"), pair("other"));
    for (name, bytes) in [
        ("a.jks", jks_of(&server, &[&one, &other], "secret")),
        ("b.p12", pkcs12_of(&server, &[&one, &other], "secret", false)),
        ("old.p12", pkcs12_of(&server, &[&one, &other], "secret", true)),
        ("c.jks", pkcs12_of(&server, &[&one, &other], "secret", false)),
        ("d.p12", jks_of(&server, &[&one, &other], "secret")),
    ] {
        let path = written(directory.path(), name, &bytes);
        assert_eq!(StoreKind::by_file_name(&path), Some(StoreKind::Java));
        let good = store(path.clone(), StoreKind::Java, "secret");
        let found = identity(&good).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.chain, [CertificateDer::from(server.certificate.clone())], "{name}");
        assert_eq!(found.key.secret_der(), server.key, "{name}");
        let mut found = trusted(&good).unwrap();
        found.sort_by_key(|der| der.to_vec());
        let mut expected: Vec<CertificateDer<'static>> =
            [&one, &other].map(|pair| pair.certificate.clone().into()).to_vec();
        expected.sort_by_key(|der| der.to_vec());
        assert_eq!(found, expected, "{name}: the certificates of the key are not trusted");
        let bad = store(path, StoreKind::Java, "secreT");
        assert!(identity(&bad).unwrap_err().to_string().contains("password"), "{name}");
        assert!(trusted(&bad).unwrap_err().to_string().contains("password"), "{name}");
    }
}

#[test]
fn every_prefix_and_every_changed_byte_of_a_jks_is_refused() {
    let (server, one) = (pair("server"), pair("one"));
    let whole = jks_of(&server, &[&one], "changeit");
    assert!(jks::identity(&whole, "changeit", "changeit").is_ok());
    for end in 0..whole.len() {
        assert!(jks::trusted(&whole[..end], "changeit").is_err(), "the first {end} bytes");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(jks::trusted(&bytes, "changeit").is_err(), "byte {at}");
    }
}

/// Its private key as PEM, under the password `secret`.
fn encrypted(pair: &Pair) -> String {
    let info = PrivateKeyInfoRef::try_from(pair.key.as_slice()).unwrap();
    let parameters =
        pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(100, &[7; 16], [9; 16])
            .unwrap();
    let encrypted = info.encrypt_with_params(parameters, b"secret").unwrap();
    section("ENCRYPTED PRIVATE KEY", encrypted.as_bytes())
}

#[test]
fn pem_keys_are_read_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let server = pair("server");
    let info = PrivateKeyInfoRef::try_from(server.key.as_slice()).unwrap();
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let rsa_der = rsa.serialize_der();
    let rsa_info = PrivateKeyInfoRef::try_from(rsa_der.as_slice()).unwrap();
    for (name, key, expected) in [
        ("pkcs8", server.key_pem.clone(), server.key.clone()),
        ("encrypted", encrypted(&server), server.key.clone()),
        (
            "sec1",
            section("EC PRIVATE KEY", info.private_key.as_bytes()),
            info.private_key.as_bytes().to_vec(),
        ),
        (
            "pkcs1",
            section("RSA PRIVATE KEY", rsa_info.private_key.as_bytes()),
            rsa_info.private_key.as_bytes().to_vec(),
        ),
    ] {
        for text in [format!("{key}{}", server.pem), format!("x\n{}{key}", server.pem)] {
            let path = written(directory.path(), "server.pem", text.as_bytes());
            let found = identity(&store(path, StoreKind::Pem, "secret")).unwrap();
            assert_eq!(found.key.secret_der(), expected, "{name}");
            assert_eq!(found.chain, [CertificateDer::from(server.certificate.clone())], "{name}");
        }
    }
}

#[test]
fn errors_say_what_is_wrong_and_show_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let server = pair("server");
    let encrypted = encrypted(&server);
    let cut = |text: &str| text[..text.len() - 30].to_owned();
    for (text, expected) in [
        (server.pem.clone(), "it has no private key"),
        (server.key_pem.clone(), "it has no certificate"),
        (String::new(), "it has no private key"),
        (format!("{}{encrypted}", server.pem), "the password is wrong"),
        (format!("{}{}", server.pem, cut(&server.key_pem)), "PEM"),
        (format!("{}{}", server.pem, cut(&encrypted)), "PEM"),
        (
            format!(
                "{}-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n\
                 -----END RSA PRIVATE KEY-----\n",
                server.pem
            ),
            "`openssl pkcs8 -topk8`",
        ),
        (
            format!(
                "{}-----BEGIN PRIVATE KEY-----\n!!hunter2!!\n-----END PRIVATE KEY-----\n",
                server.pem
            ),
            "not well-formed",
        ),
    ] {
        let path = written(directory.path(), "server.pem", text.as_bytes());
        let error = identity(&store(path, StoreKind::Pem, "other")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2") && error.contains("server.pem"), "{error}");
    }
    let missing = store(directory.path().join("none.pem"), StoreKind::Pem, "");
    assert!(trusted(&missing).unwrap_err().to_string().contains("none.pem: No such file"));
    let empty = written(directory.path(), "empty.pem", b"");
    let error = trusted(&store(empty, StoreKind::Pem, "")).unwrap_err().to_string();
    assert!(error.ends_with("it has no trusted certificate"), "{error}");
}

#[test]
fn a_password_may_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let server = pair("server");
    let path = written(directory.path(), "a.p12", &pkcs12_of(&server, &[], "two words", false));
    let password = written(directory.path(), "password", b"two words\n");
    let config = StoreConfig::file(path, StoreKind::Java, Password::File(password.clone()));
    assert!(identity(&config).is_ok());
    std::fs::write(&password, b"two words\n\n").unwrap();
    assert!(identity(&config).is_err(), "one newline alone is not part of it");
    std::fs::remove_file(&password).unwrap();
    assert!(identity(&config).unwrap_err().to_string().contains("password: No such file"));
}

#[test]
fn pem_in_the_configuration_needs_no_line_ends() {
    let server = pair("server");
    let in_one_line = |text: &str| text.trim().replace('\n', " ");
    for (text, key_password) in [
        (format!("{}{}", server.key_pem, server.pem), None),
        (format!("{} {}", in_one_line(&server.key_pem), in_one_line(&server.pem)), None),
        (format!("{}{}", in_one_line(&encrypted(&server)), server.pem), Some("secret")),
    ] {
        let store = StoreConfig {
            source: StoreSource::Inline("ssl.keystore.key".to_owned(), Secret::new(text)),
            kind: StoreKind::Pem,
            password: Password::Text(Secret::new("")),
            key_password: key_password.map(Secret::new),
        };
        let found = identity(&store).unwrap();
        assert_eq!(found.chain, [CertificateDer::from(server.certificate.clone())]);
        assert_eq!(found.key.secret_der(), server.key);
        assert_eq!(trusted(&store).unwrap(), [CertificateDer::from(server.certificate.clone())]);
    }
    let nothing = StoreSource::Inline("ssl.truststore.certificates".to_owned(), Secret::new("x"));
    let nothing = StoreConfig {
        source: nothing,
        kind: StoreKind::Pem,
        password: Password::Text(Secret::new("")),
        key_password: None,
    };
    let error = trusted(&nothing).unwrap_err().to_string();
    assert!(error.contains("the store ssl.truststore.certificates: it has no"), "{error}");
}

#[test]
fn a_key_may_have_a_password_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let server = pair("server");
    let mut store = ::jks::KeyStore::new();
    let certificate =
        ::jks::Certificate { cert_type: "X.509".to_owned(), content: server.certificate.clone() };
    let entry = ::jks::PrivateKeyEntry {
        creation_time: SystemTime::UNIX_EPOCH,
        private_key: server.key.clone(),
        certificate_chain: vec![certificate],
    };
    store.set_private_key_entry("mine", entry, b"of the key").unwrap();
    let mut bytes = Vec::new();
    store.store(&mut bytes, b"of the store").unwrap();
    let path = written(directory.path(), "a.jks", &bytes);
    let mut config = self::store(path, StoreKind::Java, "of the store");
    assert!(identity(&config).unwrap_err().to_string().ends_with("its key has another password"));
    config.key_password = Some(Secret::new("of the key"));
    assert_eq!(identity(&config).unwrap().key.secret_der(), server.key);
}
