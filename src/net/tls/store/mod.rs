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

/// One store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub kind: StoreKind,
    /// What it, and the key in it, are locked with.
    pub password: Password,
}

/// Why a store can't be used: one line with the file.
#[derive(Debug, thiserror::Error)]
#[error("can't use the store {}: {reason}", path.display())]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
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
    let fail = |reason: String| StoreError { path: store.path.clone(), reason };
    let (bytes, password) = read(store)?;
    let password = password.expose();
    let found = match store.kind {
        StoreKind::Pem => pem::identity(&bytes, password),
        StoreKind::Java if jks::is_jks(&bytes) => jks::identity(&bytes, password),
        StoreKind::Java => pkcs12::identity(&bytes, password),
    };
    found.map_err(fail)
}

/// Reads the trusted certificates of a trust store: at least one.
///
/// # Errors
/// The file can't be read or unlocked, or has none.
pub fn trusted(store: &StoreConfig) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let fail = |reason: String| StoreError { path: store.path.clone(), reason };
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
    let bytes = read_file(&store.path)?;
    let password = match &store.password {
        Password::Text(secret) => secret.clone(),
        Password::File(path) => {
            let text = String::from_utf8(read_file(path)?).map_err(|_| StoreError {
                path: path.clone(),
                reason: "a password must be UTF-8".to_owned(),
            })?;
            Secret::new(text.strip_suffix('\n').unwrap_or(&text))
        }
    };
    Ok((bytes, password))
}

fn read_file(path: &Path) -> Result<Vec<u8>, StoreError> {
    bounded_file::read(path, limits::STORE_FILE_BYTES_MAX)
        .map_err(|error| StoreError { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests;
