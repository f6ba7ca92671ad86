//! The `x509` scheme: the subject of a client's certificate as `X500Principal.getName()` writes it
//! (RFC 2253), which is what ACLs of Apache ZooKeeper hold (`X509AuthenticationProvider`).

mod name;

use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

pub use self::name::is_distinguished_name;

/// The subject of a certificate, as an ACL names it; `None` if it has none that can be read.
pub fn subject_of(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    text_of(certificate.subject())
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
