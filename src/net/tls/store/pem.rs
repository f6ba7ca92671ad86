//! PEM: certificates and a key as text, in one file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{Identity, pkcs12};

/// The first key, and all certificates in their order. A key may be PKCS#8, plain or encrypted, or
/// in the older forms of RSA (PKCS#1) and elliptic curves (SEC1).
pub(super) fn identity(text: &[u8], password: &str) -> Result<Identity, String> {
    // First: it has more to say of a key that can't be read.
    let key = key(text, password)?;
    let chain = certificates(text)?;
    if chain.is_empty() {
        return Err("it has no certificate".to_owned());
    }
    Ok(Identity { chain, key })
}

/// All certificates of a file, in their order.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(&error))
}

/// A PEM text as it stands in a `.properties` file, whose continued lines have no line ends between
/// them, with line ends where PEM has them.
pub(super) fn in_lines(text: &str) -> String {
    const EDGE: &str = "-----";
    let mut lines = String::with_capacity(text.len() + 256);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(EDGE) {
        let Some((label, after)) = after.split_once(EDGE) else { break };
        if before.contains(':') {
            // A key with headers of its own, which can't be told from its content in one line.
            lines.extend([before.trim(), "\n"]);
        } else {
            lines.extend(before.split_ascii_whitespace().flat_map(|line| [line, "\n"]));
        }
        for piece in [EDGE, label, EDGE, "\n"] {
            lines.push_str(piece);
        }
        rest = after;
    }
    lines
}

fn malformed(error: &pem::Error) -> String {
    // Not the error's own text, which may show a line of a key.
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no end".to_owned(),
        pem::Error::NoItemsFound => "it has no PEM section".to_owned(),
        _ => "it is not well-formed PEM".to_owned(),
    }
}

fn key(text: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, String> {
    if let Some(der) = encrypted_section(text)? {
        let key = pkcs12::unlock(&der, password).ok_or(
            "its key can't be decrypted: the password is wrong, or the cipher is neither AES \
             (PBES2) nor Triple-DES",
        )?;
        return Ok(PrivatePkcs8KeyDer::from(key).into());
    }
    if find(text, b"Proc-Type: 4,ENCRYPTED").is_some() {
        return Err(
            "its key is encrypted in OpenSSL's old form: `openssl pkcs8 -topk8` makes one \
             that can be read"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => "it has no private key".to_owned(),
        other => malformed(&other),
    })
}

/// The bytes of an encrypted PKCS#8 key, if the file has one.
fn encrypted_section(text: &[u8]) -> Result<Option<Vec<u8>>, String> {
    const BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    const END: &[u8] = b"-----END ENCRYPTED PRIVATE KEY-----";
    let Some(begin) = find(text, BEGIN) else { return Ok(None) };
    let body = &text[begin + BEGIN.len()..];
    let end = find(body, END).ok_or("a PEM section has no end")?;
    let body: Vec<u8> = body[..end].iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    STANDARD.decode(body).map(Some).map_err(|_| "it is not well-formed PEM".to_owned())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
