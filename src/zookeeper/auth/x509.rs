//! The `x509` scheme: the subject of a client's certificate as `X500Principal.getName()` writes it
//! (RFC 2253), which is what ACLs of Apache ZooKeeper hold (`X509AuthenticationProvider`), or an id
//! from its subject alternative names.

mod alternative_name;

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::CertificateId;
use crate::net::tls::distinguished_name::{is_distinguished_name, text_of};

/// The id of a certificate's owner, as an ACL names it; `None` if it has none that can be read.
pub fn id_of(certificate: &[u8], wanted: &CertificateId) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = || text_of(certificate.subject());
    match wanted {
        CertificateId::Subject => subject(),
        CertificateId::AlternativeName(wanted) => alternative_name::id_of(&certificate, wanted)
            .or_else(|| {
                let subject = subject()?;
                tracing::warn!(
                    subject,
                    "not exactly one alternative name of a client's certificate fits \
                     ssl.x509.clientCertIdSan*: its subject is its id"
                );
                Some(subject)
            }),
    }
}

/// Whether a list may name this id.
pub(super) fn is_valid(id: &str, wanted: &CertificateId) -> bool {
    match wanted {
        CertificateId::Subject => is_distinguished_name(id),
        CertificateId::AlternativeName(_) => true,
    }
}

#[cfg(test)]
mod tests;
