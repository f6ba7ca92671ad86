//! The id that a certificate's subject alternative names hold (`X509AuthenticationUtil`).

use std::net::Ipv6Addr;

use x509_parser::prelude::{GeneralName, X509Certificate};

use crate::config::{AlternativeNameId, NameKind};
use crate::net::tls::distinguished_name;

/// The id of a certificate's owner; `None` unless exactly one alternative name fits and the
/// expression finds an id in it.
pub(super) fn id_of(
    certificate: &X509Certificate<'_>,
    wanted: &AlternativeNameId,
) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut fitting = names
        .value
        .general_names
        .iter()
        .filter_map(|name| text_of(name, wanted.kind))
        .filter(|name| wanted.matching.is_match(name));
    let name = fitting.next()?;
    if fitting.next().is_some() {
        return None;
    }
    let found = wanted.extracting.captures(&name)?.get(wanted.group)?;
    Some(found.as_str().to_owned())
}

/// A name of this kind, as `X509Certificate.getSubjectAlternativeNames` of Java writes it.
fn text_of(name: &GeneralName<'_>, kind: NameKind) -> Option<String> {
    match (kind, name) {
        (NameKind::Rfc822Name, GeneralName::RFC822Name(text))
        | (NameKind::DnsName, GeneralName::DNSName(text))
        | (NameKind::UniformResourceIdentifier, GeneralName::URI(text)) => Some((*text).to_owned()),
        (NameKind::DirectoryName, GeneralName::DirectoryName(name)) => {
            distinguished_name::text_of(name)
        }
        (NameKind::IpAddress, GeneralName::IPAddress(bytes)) => address(bytes),
        (NameKind::RegisteredId, GeneralName::RegisteredID(id)) => Some(id.to_id_string()),
        _ => None,
    }
}

/// An address as Java writes it: an IPv6 one without leaving zeros out.
fn address(bytes: &[u8]) -> Option<String> {
    if let Ok([a, b, c, d]) = <[u8; 4]>::try_from(bytes) {
        return Some(format!("{a}.{b}.{c}.{d}"));
    }
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    let groups = address.segments().map(|group| format!("{group:x}"));
    Some(groups.join(":"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
    use regex::Regex;

    use super::super::id_of;
    use crate::config::{AlternativeNameId, CertificateId, NameKind};

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "subject");
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn wanted(kind: NameKind, matching: &str, extracting: &str, group: usize) -> CertificateId {
        CertificateId::AlternativeName(AlternativeNameId {
            kind,
            matching: Regex::new(matching).unwrap(),
            extracting: Regex::new(extracting).unwrap(),
            group,
        })
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn one_name_that_fits_gives_the_id_and_anything_else_the_subject() {
        let uri = SanType::URI("spiffe://mesh/ns/orders/sa/writer".try_into().unwrap());
        let mail = SanType::Rfc822Name("joe@x.example".try_into().unwrap());
        let four = SanType::IpAddress("192.0.2.1".parse().unwrap());
        let six = SanType::IpAddress("2001:db8::1".parse().unwrap());
        let all = certificate(vec![dns("a.example"), dns("b.example"), uri, mail, four, six]);
        for (kind, matching, extracting, group, expected) in [
            (
                NameKind::UniformResourceIdentifier,
                ".*",
                ".*",
                0,
                "spiffe://mesh/ns/orders/sa/writer",
            ),
            (NameKind::UniformResourceIdentifier, "^spiffe:", "/ns/([^/]+)/sa/(.+)$", 2, "writer"),
            (NameKind::UniformResourceIdentifier, "^https:", ".*", 0, "CN=subject"),
            (NameKind::UniformResourceIdentifier, ".*", "no such", 0, "CN=subject"),
            (NameKind::UniformResourceIdentifier, ".*", "(no such)?spiffe", 1, "CN=subject"),
            (NameKind::Rfc822Name, ".*", "^[^@]+", 0, "joe"),
            (NameKind::DnsName, "^a", ".*", 0, "a.example"),
            (NameKind::DnsName, ".*", ".*", 0, "CN=subject"),
            (NameKind::IpAddress, "^192", ".*", 0, "192.0.2.1"),
            (NameKind::IpAddress, ":", ".*", 0, "2001:db8:0:0:0:0:0:1"),
            (NameKind::DirectoryName, ".*", ".*", 0, "CN=subject"),
            (NameKind::RegisteredId, ".*", ".*", 0, "CN=subject"),
        ] {
            let id = id_of(&all, &wanted(kind, matching, extracting, group));
            assert_eq!(id.as_deref(), Some(expected), "{kind:?} {matching} {extracting}");
        }
        let without = certificate(Vec::new());
        let id = id_of(&without, &wanted(NameKind::DnsName, ".*", ".*", 0));
        assert_eq!(id.as_deref(), Some("CN=subject"));
        assert_eq!(id_of(&all, &CertificateId::Subject).as_deref(), Some("CN=subject"));
    }

    #[test]
    fn registered_ids_and_directory_names_are_written_as_java_writes_them() {
        let mut params = CertificateParams::default();
        let names = b"\x30\x17\x88\x03\x2a\x03\x04\xa4\x10\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x13\x03joe";
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names.to_vec());
        params.custom_extensions.push(extension);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for (kind, expected) in
            [(NameKind::RegisteredId, "1.2.3.4"), (NameKind::DirectoryName, "CN=joe")]
        {
            let id = id_of(certificate.der(), &wanted(kind, ".*", ".*", 0));
            assert_eq!(id.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_cut_or_changed_certificate_is_no_panic() {
        let whole = certificate(vec![dns("a.example")]);
        let wanted = wanted(NameKind::DnsName, ".*", ".*", 0);
        for end in 0..whole.len() {
            assert_eq!(id_of(&whole[..end], &wanted), None, "{end} bytes");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                id_of(&changed, &wanted);
            }
        }
    }
}
