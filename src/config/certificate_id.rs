//! What names the owner of a client's certificate in the scheme `x509`: the certificate's subject, or
//! one of its subject alternative names.
//!
//! The keys `ssl.x509.clientCertId*` are those of `LinkedIn`'s ZooKeeper (`X509AuthenticationConfig`);
//! Apache's, up to 3.9.4, knows subjects alone.

use regex::Regex;

use super::keys::Owner;
use super::settings::Settings;

/// What of a certificate is its id.
#[derive(Debug, Clone)]
pub enum CertificateId {
    /// The subject, in the form of RFC 2253.
    Subject,
    /// A part of one alternative name; where not exactly one fits, the subject.
    AlternativeName(AlternativeNameId),
}

/// Which alternative name is taken, and what of it.
#[derive(Debug, Clone)]
pub struct AlternativeNameId {
    /// Of which kind the name is (`ssl.x509.clientCertIdSanMatchType`).
    pub kind: NameKind,
    /// What is found in the name (`ssl.x509.clientCertIdSanMatchRegex`).
    pub matching: Regex,
    /// What finds the id in the name (`ssl.x509.clientCertIdSanExtractRegex`).
    pub extracting: Regex,
    /// The group of `extracting` that is the id, 0 for all of it; there is such a group
    /// (`ssl.x509.clientCertIdSanExtractMatcherGroupIndex`).
    pub group: usize,
}

/// The kinds of alternative names that have a text (RFC 5280, `GeneralName`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 5280")]
pub enum NameKind {
    Rfc822Name,
    DnsName,
    DirectoryName,
    UniformResourceIdentifier,
    IpAddress,
    RegisteredId,
}

impl NameKind {
    fn numbered(number: i64) -> Option<NameKind> {
        Some(match number {
            1 => NameKind::Rfc822Name,
            2 => NameKind::DnsName,
            4 => NameKind::DirectoryName,
            6 => NameKind::UniformResourceIdentifier,
            7 => NameKind::IpAddress,
            8 => NameKind::RegisteredId,
            _ => return None,
        })
    }
}

const OWNER: Owner = Owner::Coordinator;
const TYPE: &str = "ssl.x509.clientCertIdType";
const MATCH_TYPE: &str = "ssl.x509.clientCertIdSanMatchType";
const MATCH: &str = "ssl.x509.clientCertIdSanMatchRegex";
const EXTRACT: &str = "ssl.x509.clientCertIdSanExtractRegex";
const GROUP: &str = "ssl.x509.clientCertIdSanExtractMatcherGroupIndex";

impl CertificateId {
    /// What the keys say; what is wrong goes to `settings`.
    pub(super) fn from_settings(settings: &mut Settings) -> Self {
        let by_name = match settings.text(OWNER, TYPE) {
            Some(kind) if kind.eq_ignore_ascii_case("SAN") => true,
            Some(kind) if !kind.eq_ignore_ascii_case("SDN") => {
                settings.problem(TYPE, "expected SAN or SDN");
                false
            }
            _ => false,
        };
        let kind = NameKind::numbered(settings.number(OWNER, MATCH_TYPE));
        let matching = expression(settings, MATCH);
        let extracting = expression(settings, EXTRACT);
        let group = usize::try_from(settings.number(OWNER, GROUP)).unwrap_or(usize::MAX);
        if !by_name {
            return CertificateId::Subject;
        }
        let Some(kind) = kind else {
            let expected = "expected the kind of the alternative name that is the id: 1 (e-mail), 2 \
                            (DNS name), 4 (directory name), 6 (URI), 7 (IP address) or 8 (registered \
                            id)";
            settings.problem(MATCH_TYPE, expected);
            return CertificateId::Subject;
        };
        let (Some(matching), Some(extracting)) = (matching, extracting) else {
            return CertificateId::Subject;
        };
        if group >= extracting.captures_len() {
            let groups = extracting.captures_len() - 1;
            settings.problem(GROUP, &format!("{EXTRACT} has {groups} groups"));
            return CertificateId::Subject;
        }
        CertificateId::AlternativeName(AlternativeNameId { kind, matching, extracting, group })
    }
}

/// The regular expression of `key`; one that can't be read is a problem.
fn expression(settings: &mut Settings, key: &'static str) -> Option<Regex> {
    match Regex::new(&settings.text(OWNER, key).unwrap_or_default()) {
        Ok(expression) => Some(expression),
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            settings.problem(key, &format!("not a regular expression: {reason}"));
            None
        }
    }
}
