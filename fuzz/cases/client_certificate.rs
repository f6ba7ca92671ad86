//! Any bytes as a client's certificate, of X.509 version 1 or 3: its reader and the one of subjects must
//! not panic, and nothing passes that the trusted authority hasn't signed.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use doorkeeper::config::{AlternativeNameId, CertificateId, NameKind};
use doorkeeper::net::tls::client;
use doorkeeper::zookeeper::auth::x509::id_of;
use regex::Regex;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

/// Valid from 2026 for a century, as are the certificates among the seeds that it has signed.
const AUTHORITY: &[u8] = include_bytes!("../seeds/client_certificate/authority");
/// In 2033.
const NOW: Duration = Duration::from_secs(2_000_000_000);

static VERIFIER: LazyLock<Arc<dyn ClientCertVerifier>> = LazyLock::new(|| {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trusted = vec![CertificateDer::from(AUTHORITY.to_vec())];
    client::verifier(trusted, true, provider).unwrap_or_else(|error| panic!("{error}"))
});

/// Every text of every kind of alternative name.
static NAMES: LazyLock<Vec<CertificateId>> = LazyLock::new(|| {
    let all = Regex::new(".*").unwrap_or_else(|error| panic!("{error}"));
    [
        NameKind::Rfc822Name,
        NameKind::DnsName,
        NameKind::DirectoryName,
        NameKind::UniformResourceIdentifier,
        NameKind::IpAddress,
        NameKind::RegisteredId,
    ]
    .map(|kind| {
        let (matching, extracting) = (all.clone(), all.clone());
        CertificateId::AlternativeName(AlternativeNameId { kind, matching, extracting, group: 0 })
    })
    .into()
});

/// One input.
pub(crate) fn run(data: &[u8]) {
    let subject = id_of(data, &CertificateId::Subject);
    for name in NAMES.iter() {
        id_of(data, name);
    }
    let certificate = CertificateDer::from(data);
    let now = UnixTime::since_unix_epoch(NOW);
    if VERIFIER.verify_client_cert(&certificate, &[], now).is_ok() {
        let known = ["CN=seed of version 1", "CN=seed of version 3", "CN=seeds' authority"];
        let subject = subject.unwrap_or_default();
        assert!(known.contains(&subject.as_str()), "{subject:?} was never signed");
    }
}
