//! PKCS12: what `keytool` makes by default, and `openssl pkcs12 -export`.

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::Identity;

/// The key of the first alias that has one, with its chain.
pub(super) fn identity(bytes: &[u8], password: &str) -> Result<Identity, String> {
    let store = open(bytes, password)?;
    store
        .entries()
        .find_map(|(_, entry)| match entry {
            KeyStoreEntry::PrivateKeyChain(found) if !found.certs().is_empty() => Some(Identity {
                chain: found.certs().iter().map(|certificate| der(certificate.as_der())).collect(),
                key: PrivatePkcs8KeyDer::from(found.key().as_der().to_vec()).into(),
            }),
            _ => None,
        })
        .ok_or_else(|| "it has no private key with a certificate".to_owned())
}

/// The certificates that are marked as trusted, as `keytool -importcert` marks them: Java takes no
/// others either.
pub(super) fn trusted(
    bytes: &[u8],
    password: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    Ok(open(bytes, password)?
        .entries()
        .filter_map(|(_, entry)| match entry {
            KeyStoreEntry::Certificate(certificate) => Some(der(certificate.as_der())),
            _ => None,
        })
        .collect())
}

fn open(bytes: &[u8], password: &str) -> Result<KeyStore, String> {
    // Not the crate's own words: they say little to whoever mistyped a password.
    KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict).map_err(|_| {
        "it is neither PKCS12 nor JKS that this password opens (a wrong password, or no store)"
            .to_owned()
    })
}

fn der(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(bytes.to_vec())
}
