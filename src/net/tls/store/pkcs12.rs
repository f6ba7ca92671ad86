//! PKCS12: what `keytool` makes by default, and `openssl pkcs12 -export`.

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12Archive, Pkcs12ImportPolicy};
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

/// The key in an `EncryptedPrivateKeyInfo`, as PEM has it too: read as the only bag of an archive,
/// which knows the ciphers that Java and OpenSSL use.
pub(super) fn unlock(encrypted: &[u8], password: &str) -> Option<Vec<u8>> {
    /// 1.2.840.113549.1.7.1, plain data.
    const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    /// 1.2.840.113549.1.12.10.1.2, an encrypted key.
    const SHROUDED_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 2];
    let content = |bytes: &[u8]| {
        let bytes = explicit(&value(0x04, &[bytes]));
        value(0x30, &[&value(0x06, &[DATA]), &bytes])
    };
    let bag = value(0x30, &[&value(0x06, &[SHROUDED_KEY]), &explicit(encrypted)]);
    let safes = value(0x30, &[&content(&value(0x30, &[&bag]))]);
    let archive = value(0x30, &[&value(0x02, &[&[3]]), &content(&safes)]);
    let archive = Pkcs12Archive::from_pkcs12(&archive, password).ok()?;
    archive.keys.first().map(|bag| bag.key.as_der().to_vec())
}

/// A DER value.
fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count().min(3);
    let short = &length[zeros..];
    let mut bytes = vec![tag];
    if short.len() > 1 || short[0] >= 0x80 {
        bytes.push(0x80 | u8::try_from(short.len()).unwrap_or(4));
    }
    bytes.extend_from_slice(short);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// What stands in an explicit tag 0.
fn explicit(bytes: &[u8]) -> Vec<u8> {
    value(0xa0, &[bytes])
}

fn der(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(bytes.to_vec())
}
