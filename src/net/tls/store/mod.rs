//! Key and trust stores: which file, of which kind, and what is in it.

mod jks;
mod pem;
mod pkcs12;

use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Secret;
use crate::{bounded_file, limits};

/// The formats of stores (ZooKeeper's `KeyStoreFileType`, without the one of Bouncy Castle).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Java's own format, or PKCS12: as Java does, the file's first bytes decide between them.
    Java,
    /// Text with certificates and a key.
    Pem,
}

impl StoreKind {
    /// By the value of a `type` key, in any case.
    pub fn by_name(name: &str) -> Option<StoreKind> {
        match name.to_ascii_uppercase().as_str() {
            "JKS" | "PKCS12" => Some(StoreKind::Java),
            "PEM" => Some(StoreKind::Pem),
            _ => None,
        }
    }

    /// By a file's name, where no `type` is given: `.jks`, `.p12` or `.pem`, in small letters.
    pub fn by_file_name(path: &Path) -> Option<StoreKind> {
        match path.extension()?.to_str()? {
            "jks" | "p12" => Some(StoreKind::Java),
            "pem" => Some(StoreKind::Pem),
            _ => None,
        }
    }
}

/// Where a store's password is.
#[derive(Debug, Clone)]
pub enum Password {
    /// In the configuration; empty where there is none.
    Text(Secret),
    /// In a file, which is read with the store. A newline at its end is not part of it.
    File(PathBuf),
}

/// Where the content of a store is.
#[derive(Debug, Clone)]
pub enum StoreSource {
    /// In a file.
    File(PathBuf),
    /// In the configuration itself, as PEM under this key.
    Inline(String, Secret),
}

impl std::fmt::Display for StoreSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreSource::File(path) => write!(f, "{}", path.display()),
            StoreSource::Inline(key, _) => f.write_str(key),
        }
    }
}

/// One store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where it is.
    pub source: StoreSource,
    /// Its format.
    pub kind: StoreKind,
    /// What it is locked with.
    pub password: Password,
    /// What the key in it is locked with, if that is something else.
    pub key_password: Option<Secret>,
}

impl StoreConfig {
    /// A store in a file, whose key has the same password.
    pub fn file(path: PathBuf, kind: StoreKind, password: Password) -> StoreConfig {
        StoreConfig { source: StoreSource::File(path), kind, password, key_password: None }
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let store = match &self.source {
            StoreSource::File(path) => Some(path.as_path()),
            StoreSource::Inline(..) => None,
        };
        let password = match &self.password {
            Password::File(path) => Some(path.as_path()),
            Password::Text(_) => None,
        };
        [store, password].into_iter().flatten()
    }
}

/// Why a store can't be used: one line with the file.
#[derive(Debug, thiserror::Error)]
#[error("can't use the store {store}: {reason}")]
pub struct StoreError {
    /// The file, or the key.
    pub store: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a server shows of itself.
#[derive(Debug)]
pub struct Identity {
    /// Its certificate, and those of the authorities that lead to a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first one.
    pub key: PrivateKeyDer<'static>,
}

/// Reads a key store.
///
/// # Errors
/// The file can't be read or unlocked, or holds no key with its certificate.
pub fn identity(store: &StoreConfig) -> Result<Identity, StoreError> {
    let fail = |reason: String| StoreError { store: store.source.to_string(), reason };
    let (bytes, password) = read(store)?;
    let password = password.expose();
    let key_password = store.key_password.as_ref().map_or(password, Secret::expose);
    let found = match store.kind {
        StoreKind::Pem => pem::identity(&bytes, key_password),
        StoreKind::Java if jks::is_jks(&bytes) => jks::identity(&bytes, password, key_password),
        StoreKind::Java => pkcs12::identity(&bytes, password),
    };
    found.map_err(fail)
}

/// Reads the trusted certificates of a trust store: at least one.
///
/// # Errors
/// The file can't be read or unlocked, or has none.
pub fn trusted(store: &StoreConfig) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let fail = |reason: String| StoreError { store: store.source.to_string(), reason };
    let (bytes, password) = read(store)?;
    let password = password.expose();
    let found = match store.kind {
        StoreKind::Pem => pem::certificates(&bytes),
        StoreKind::Java if jks::is_jks(&bytes) => jks::trusted(&bytes, password),
        StoreKind::Java => pkcs12::trusted(&bytes, password),
    };
    let found = found.map_err(fail)?;
    if found.is_empty() {
        return Err(fail("it has no trusted certificate".to_owned()));
    }
    Ok(found)
}

fn read(store: &StoreConfig) -> Result<(Vec<u8>, Secret), StoreError> {
    let bytes = match &store.source {
        StoreSource::File(path) => read_file(path)?,
        StoreSource::Inline(_, text) => pem::in_lines(text.expose()).into_bytes(),
    };
    let password = match &store.password {
        Password::Text(secret) => secret.clone(),
        Password::File(path) => {
            let text = String::from_utf8(read_file(path)?).map_err(|_| StoreError {
                store: path.display().to_string(),
                reason: "a password must be UTF-8".to_owned(),
            })?;
            Secret::new(text.strip_suffix('\n').unwrap_or(&text))
        }
    };
    Ok((bytes, password))
}

fn read_file(path: &Path) -> Result<Vec<u8>, StoreError> {
    bounded_file::read(path, limits::STORE_FILE_BYTES_MAX).map_err(|error| StoreError {
        store: path.display().to_string(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
