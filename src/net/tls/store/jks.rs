//! JKS: Java's own format of stores, with keys in its own way of encryption (`JavaKeyStore` and
//! `KeyProtector` of the JDK).

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;

use super::Identity;

const MAGIC: [u8; 4] = 0xfeed_feed_u32.to_be_bytes();
const PRIVATE_KEY: u32 = 1;
const TRUSTED_CERTIFICATE: u32 = 2;
const SHA1_BYTES: usize = 20;
/// What the JDK puts between the password and the content when it signs a store.
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// The JDK's object identifier of its key encryption, 1.3.6.1.4.1.42.2.17.1.1.
const KEY_PROTECTOR: &[u8] = &[0x2b, 6, 1, 4, 1, 0x2a, 2, 0x11, 1, 1];

/// Whether a file begins as a JKS does.
pub(super) fn is_jks(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The first key of the store, with its chain.
pub(super) fn identity(
    bytes: &[u8],
    password: &str,
    key_password: &str,
) -> Result<Identity, String> {
    let (locked, chain) = entries(bytes, &utf16(password))?
        .into_iter()
        .find_map(|entry| match entry {
            Entry::Key { locked, chain } if !chain.is_empty() => Some((locked, chain)),
            _ => None,
        })
        .ok_or("it has no private key with a certificate")?;
    let key = unlock(locked, &utf16(key_password)).ok_or("its key has another password")?;
    Ok(Identity {
        chain: chain.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect(),
        key: PrivatePkcs8KeyDer::from(key).into(),
    })
}

/// The certificates that the store trusts: those of a key's chain are not among them.
pub(super) fn trusted(
    bytes: &[u8],
    password: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    Ok(entries(bytes, &utf16(password))?
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Trusted(der) => Some(CertificateDer::from(der.to_vec())),
            Entry::Key { .. } => None,
        })
        .collect())
}

enum Entry<'a> {
    Key { locked: &'a [u8], chain: Vec<&'a [u8]> },
    Trusted(&'a [u8]),
}

/// Checks the store's signature, then takes it apart.
fn entries<'a>(bytes: &'a [u8], password: &[u8]) -> Result<Vec<Entry<'a>>, String> {
    let (content, signature) = bytes
        .len()
        .checked_sub(SHA1_BYTES)
        .map(|at| bytes.split_at(at))
        .ok_or("it is too short")?;
    let digest = Sha1::new().chain_update(password).chain_update(WHITENER).chain_update(content);
    if !bool::from(digest.finalize().as_slice().ct_eq(signature)) {
        return Err("it has been damaged, or the password is wrong".to_owned());
    }
    read(content).ok_or_else(|| "it is a JKS that can't be read".to_owned())
}

fn read(content: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut reader = Reader(content.strip_prefix(&MAGIC)?);
    let version = reader.int()?;
    if !(1..=2).contains(&version) {
        return None;
    }
    let count = reader.int()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let kind = reader.int()?;
        reader.text()?; // The alias.
        reader.bytes(8)?; // When it was made.
        entries.push(match kind {
            PRIVATE_KEY => {
                let length = reader.int()?;
                let locked = reader.bytes(length)?;
                let mut chain = Vec::new();
                for _ in 0..reader.int()? {
                    chain.push(reader.certificate(version)?);
                }
                Entry::Key { locked, chain }
            }
            TRUSTED_CERTIFICATE => Entry::Trusted(reader.certificate(version)?),
            _ => return None,
        });
    }
    Some(entries)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.bytes(2)?.try_into().ok()?);
        self.bytes(length.into())
    }

    fn certificate(&mut self, version: u32) -> Option<&'a [u8]> {
        if version == 2 && self.text()? != b"X.509" {
            return None;
        }
        let length = self.int()?;
        self.bytes(length)
    }
}

/// A password as the JDK digests it: two bytes for each of its units.
fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// The PKCS#8 key in an `EncryptedPrivateKeyInfo` of the JDK's own algorithm.
fn unlock(locked: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let (info, rest) = der_value(locked, 0x30)?;
    let (algorithm, encrypted) = der_value(info, 0x30)?;
    let (identifier, _) = der_value(algorithm, 0x06)?;
    let (encrypted, end) = der_value(encrypted, 0x04)?;
    if identifier != KEY_PROTECTOR || !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let (salt, encrypted) = encrypted.split_at_checked(SHA1_BYTES)?;
    let (encrypted, check) =
        encrypted.split_at_checked(encrypted.len().checked_sub(SHA1_BYTES)?)?;
    let mut key = Vec::with_capacity(encrypted.len());
    let mut mask = salt.to_vec();
    for block in encrypted.chunks(SHA1_BYTES) {
        mask = Sha1::new().chain_update(password).chain_update(&mask).finalize().to_vec();
        key.extend(block.iter().zip(&mask).map(|(byte, mask)| byte ^ mask));
    }
    let found = Sha1::new().chain_update(password).chain_update(&key).finalize();
    bool::from(found.as_slice().ct_eq(check)).then_some(key)
}

/// The content of one DER value with this tag, and what follows it.
fn der_value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}
