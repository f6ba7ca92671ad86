//! TLS towards servers: who vouches for them, what this process shows of itself, and new files taken
//! up as they change.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::client::check_validity;
use super::options::Protocol;
use super::reload::{self, Stamp};
use super::store::{self, StoreConfig};
use super::{TlsError, version1};
use crate::net::stream::TlsClientStream;

/// What TLS towards servers needs.
#[derive(Debug, Clone)]
pub struct TlsClientConfig {
    /// Who may have signed a server's certificate.
    pub trust_store: StoreConfig,
    /// What this process shows of itself where it is asked.
    pub key_store: Option<StoreConfig>,
    /// The versions that are spoken.
    pub protocols: Vec<Protocol>,
    /// Whether a server's certificate must be for the name that it was reached by
    /// (`ssl.endpoint.identification.algorithm=https`).
    pub verify_host: bool,
}

impl TlsClientConfig {
    fn stores(&self) -> impl Iterator<Item = &StoreConfig> {
        [Some(&self.trust_store), self.key_store.as_ref()].into_iter().flatten()
    }
}

/// The TLS side of connections to servers.
#[derive(Debug)]
pub struct TlsClient {
    config: TlsClientConfig,
    current: ArcSwap<ClientConfig>,
    /// The files as they were when they were looked at.
    stamps: Mutex<Vec<Stamp>>,
}

impl TlsClient {
    /// Reads the stores.
    ///
    /// # Errors
    /// A store that can't be read, or holds nothing that can be used.
    pub fn new(config: TlsClientConfig) -> Result<TlsClient, TlsError> {
        // Before they are read: a change meanwhile is then seen as one.
        let stamps = Mutex::new(reload::stamps(config.stores()));
        let current = ArcSwap::new(client_config(&config)?);
        Ok(TlsClient { config, current, stamps })
    }

    /// The same on a thread that may wait for a disk.
    ///
    /// # Errors
    /// As for [`TlsClient::new`].
    pub async fn read(config: TlsClientConfig) -> Result<Arc<TlsClient>, TlsError> {
        let store = config.trust_store.source.to_string();
        let read = tokio::task::spawn_blocking(move || TlsClient::new(config)).await;
        read.unwrap_or_else(|error| Err(TlsError::Unusable { store, reason: error.to_string() }))
            .map(Arc::new)
    }

    /// Reads the stores anew: connections from now on use them, those that are open go on.
    ///
    /// # Errors
    /// As for [`TlsClient::new`]; what was used before goes on being used.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(client_config(&self.config)?);
        Ok(())
    }

    /// Looks at the files every [`crate::limits::TLS_RELOAD_INTERVAL`], until `stop`, and takes up new ones.
    /// Those that can't be used leave those in force that were, with a WARN.
    pub async fn reload_on_change(self: Arc<Self>, stop: CancellationToken) {
        let look = move || {
            let now = reload::stamps(self.config.stores());
            let before = std::mem::replace(&mut *self.stamps.lock(), now.clone());
            (now != before).then(|| self.reload())
        };
        reload::look_on(look, stop).await;
    }

    /// The client's half of a handshake with the server that is called `host`.
    ///
    /// # Errors
    /// The server's certificate is not good, or it speaks no TLS.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<TlsClientStream> {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            // No certificate could be for it; where that is not looked at, any name will do.
            Err(error) if self.config.verify_host => return Err(io::Error::other(error)),
            Err(_) => ServerName::IpAddress(stream.peer_addr()?.ip().into()),
        };
        TlsConnector::from(self.current.load_full()).connect(name, stream).await
    }
}

fn client_config(config: &TlsClientConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |store: &StoreConfig, reason: String| TlsError::Unusable {
        store: store.source.to_string(),
        reason,
    };
    let trust_store = &config.trust_store;
    let distrusted = |error: Error| unusable(trust_store, error.to_string());
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let versions: Vec<_> = config.protocols.iter().map(|protocol| protocol.version()).collect();
    let trusted = store::trusted(trust_store)?;
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        roots.add(certificate.clone()).map_err(distrusted)?;
    }
    let verifier = Verifier {
        roots,
        trusted,
        algorithms: provider.signature_verification_algorithms,
        verify_host: config.verify_host,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(distrusted)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(key_store) = &config.key_store else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let identity = store::identity(key_store)?;
    let own = provider
        .key_provider
        .load_private_key(identity.key)
        .map(|key| CertifiedKey::new(identity.chain, key))
        .and_then(|own| version1::check_own(&own).map(|()| own))
        .map_err(|error| unusable(key_store, error.to_string()))?;
    Ok(Arc::new(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))))
}

/// As in Java, a certificate that is itself in the trust store is good, though it may be one that
/// webpki takes for an authority's, and one of X.509 version 1 is, if a trusted authority issued it.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    verify_host: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            check_validity(end_entity, now)?;
        } else if let Some(certificate) = version1::parse(end_entity) {
            check_validity(end_entity, now)?;
            version1::check_issuer(&certificate, &self.trusted, &self.algorithms)?;
        } else {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.verify_host && !is_for(end_entity, server_name) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.algorithms;
        match version1::parse(certificate) {
            Some(old) => {
                let version = ProtocolVersion::TLSv1_2;
                version1::check_handshake(version, message, &old, signature, algorithms)
            }
            None => verify_tls12_signature(message, certificate, signature, algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.algorithms;
        match version1::parse(certificate) {
            Some(old) => {
                let version = ProtocolVersion::TLSv1_3;
                version1::check_handshake(version, message, &old, signature, algorithms)
            }
            None => verify_tls13_signature(message, certificate, signature, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate is for this name: by its alternative names or, as in Java, by its common
/// name where no alternative name is one of a host.
fn is_for(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let by_alternative = ParsedCertificate::try_from(certificate)
        .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok());
    if by_alternative {
        return true;
    }
    let (ServerName::DnsName(host), Ok((_, certificate))) =
        (name, X509Certificate::from_der(certificate))
    else {
        return false;
    };
    match certificate.subject_alternative_name() {
        Ok(None) => {}
        Ok(Some(names)) => {
            let host = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_));
            if names.value.general_names.iter().any(host) {
                return false;
            }
        }
        Err(_) => return false,
    }
    let common = certificate.subject().iter_common_name().last();
    common.and_then(|name| name.as_str().ok()).is_some_and(|name| covers(name, host.as_ref()))
}

/// Whether a common name is this host's, or has a star for its first label.
fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) if domain.contains('.') => {
            host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain))
        }
        Some(_) => false,
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name("a@b.example".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn good(certificate: &CertificateDer<'_>, host: &str) -> bool {
        is_for(certificate, &ServerName::try_from(host.to_owned()).unwrap())
    }

    #[test]
    fn the_common_name_counts_where_no_host_is_named_beside_it() {
        let named = certificate("b1.example", &["b2.example", "*.c.example", "10.0.0.1"]);
        for host in ["b2.example", "B2.Example", "x.c.example", "10.0.0.1"] {
            assert!(good(&named, host), "{host}");
        }
        for host in ["b1.example", "c.example", "x.y.c.example", "10.0.0.2"] {
            assert!(!good(&named, host), "{host}");
        }
        let common = certificate("b1.example", &["10.0.0.1"]);
        assert!(good(&common, "b1.EXAMPLE") && good(&common, "10.0.0.1"));
        assert!(!good(&common, "b2.example") && !good(&common, "10.0.0.2"));
        let star = certificate("*.k.example", &[]);
        assert!(good(&star, "b1.k.example"));
        for host in ["k.example", "a.b1.k.example", "b1.l.example"] {
            assert!(!good(&star, host), "{host}");
        }
        assert!(!good(&certificate("*.example", &[]), "k.example"), "not for a whole domain");
        assert!(!good(&certificate("10.0.0.1", &[]), "10.0.0.1"), "as in Java");
    }
}
