//! The `x509` scheme: the subject of a client's certificate as `X500Principal.getName()` writes it
//! (RFC 2253), which is what ACLs of Apache ZooKeeper hold (`X509AuthenticationProvider`), or an id
//! from its subject alternative names.

mod alternative_name;
mod name;

use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

use crate::config::CertificateId;

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
        CertificateId::Subject => name::is_distinguished_name(id),
        CertificateId::AlternativeName(_) => true,
    }
}

fn text_of(subject: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for relative in subject.iter() {
        let mut values = Vec::new();
        for attribute in relative.iter() {
            let value = attribute.attr_value();
            values.push(name::attribute(
                &attribute.attr_type().to_id_string(),
                u8::try_from(value.header.tag().0).ok()?,
                value.header.is_constructed(),
                value.data,
            ));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

#[cfg(test)]
mod tests;
