//! Which client certificates are good: rustls' own check against the trust store, certificates that
//! are themselves in it, and those of X.509 version 1 that one of it issued.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::version1;

/// A verifier with these roots; `mandatory` where a client must show a certificate.
///
/// # Errors
/// What of the roots can't be read, or that there are none.
pub fn verifier(
    trusted: Vec<CertificateDer<'static>>,
    mandatory: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        roots.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    let algorithms = provider.signature_verification_algorithms;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
    let chains = builder.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(Verifier { chains, trusted, algorithms }))
}

/// As in Java, a certificate that is itself in the trust store is good, though it may be one that
/// webpki takes for an authority's: `openssl req -x509` makes such ones. Unlike Java, not when it
/// has expired.
#[derive(Debug)]
struct Verifier {
    chains: Arc<dyn ClientCertVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.chains.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            return check_validity(end_entity, now).map(|()| ClientCertVerified::assertion());
        }
        if let Some(certificate) = version1::parse(end_entity) {
            check_validity(end_entity, now)?;
            return version1::check_issuer(&certificate, &self.trusted, &self.algorithms)
                .map(|()| ClientCertVerified::assertion());
        }
        self.chains.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_handshake(ProtocolVersion::TLSv1_2, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_handshake(ProtocolVersion::TLSv1_3, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

impl Verifier {
    /// Whether a handshake was signed with the certificate's key.
    fn check_handshake(
        &self,
        version: ProtocolVersion,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match version1::parse(certificate) {
            Some(old) => {
                version1::check_handshake(version, message, &old, signature, &self.algorithms)
            }
            None if version == ProtocolVersion::TLSv1_3 => {
                self.chains.verify_tls13_signature(message, certificate, signature)
            }
            None => self.chains.verify_tls12_signature(message, certificate, signature),
        }
    }
}

pub(super) fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let bad = |reason| Err(Error::InvalidCertificate(reason));
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return bad(CertificateError::BadEncoding);
    };
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let validity = certificate.validity();
    if now.as_secs() < seconds(validity.not_before.timestamp()) {
        return bad(CertificateError::NotValidYet);
    }
    if now.as_secs() > seconds(validity.not_after.timestamp()) {
        return bad(CertificateError::Expired);
    }
    Ok(())
}
