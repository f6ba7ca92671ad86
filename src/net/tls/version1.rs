//! X.509 certificates of version 1, which have no extensions: Java serves with them and takes them from
//! clients, webpki reads none. Here they are good for an end entity alone, never for an authority.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, InconsistentKeys, PeerMisbehaved,
    ProtocolVersion,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

/// The certificate, if it is one of version 1.
pub(super) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    (rest.is_empty() && parsed.version() == X509Version::V1).then_some(parsed)
}

/// Whether the key of a key store belongs to its certificate, as rustls asks it of version 3.
///
/// # Errors
/// It doesn't, or the certificate can't be read.
pub(super) fn check_own(own: &CertifiedKey) -> Result<(), Error> {
    let Some(certificate) = own.cert.first().and_then(parse) else {
        return match own.keys_match() {
            // A key that doesn't say what its public half is.
            Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
            other => other,
        };
    };
    match own.key.public_key() {
        Some(public) if public.as_ref() != certificate.public_key().raw => {
            Err(InconsistentKeys::KeyMismatch.into())
        }
        _ => Ok(()),
    }
}

/// Whether one of the `trusted` authorities itself issued the certificate.
///
/// # Errors
/// None did, or its signature is wrong.
pub(super) fn check_issuer(
    certificate: &X509Certificate<'_>,
    trusted: &[CertificateDer<'_>],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    let mut refusal = CertificateError::UnknownIssuer;
    for authority in trusted {
        let Ok((_, authority)) = X509Certificate::from_der(authority) else { continue };
        // Only what says of itself that it is an authority issues anything.
        if authority.subject().as_raw() != certificate.issuer().as_raw() || !authority.is_ca() {
            continue;
        }
        let key = &authority.public_key().subject_public_key.data;
        let signed = certificate.tbs_certificate.as_ref();
        let signature = &certificate.signature_value.data;
        // Each of rustls' algorithms takes keys of its own kind alone, and none is a weak one.
        let is_good = |algorithm: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
            algorithm.verify_signature(key, signed, signature).is_ok()
        };
        if algorithms.all.iter().any(is_good) {
            return Ok(());
        }
        refusal = CertificateError::BadSignature;
    }
    Err(Error::InvalidCertificate(refusal))
}

/// Whether a handshake was signed with the certificate's key.
///
/// # Errors
/// It was not, or by a scheme that is not offered.
pub(super) fn check_handshake(
    version: ProtocolVersion,
    message: &[u8],
    certificate: &X509Certificate<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let public = certificate.public_key();
    if version == ProtocolVersion::TLSv1_3 {
        let key = SubjectPublicKeyInfoDer::from(public.raw);
        return verify_tls13_signature_with_raw_key(message, &key, signature, algorithms);
    }
    let Some((_, possible)) =
        algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme)
    else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let key = &public.subject_public_key.data;
    let is_good = |algorithm: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
        algorithm.verify_signature(key, message, signature.signature()).is_ok()
    };
    if possible.iter().any(is_good) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SigningKey as _};
    use rustls::crypto::aws_lc_rs;
    use rustls_pki_types::UnixTime;

    use super::super::client;
    use super::*;

    const SEQUENCE: u8 = 0x30;

    /// The length of the value at the front of `der`, and of its header.
    fn lengths(der: &[u8]) -> (usize, usize) {
        match der[1] {
            short @ ..=0x7f => (2, usize::from(short)),
            0x81 => (3, usize::from(der[2])),
            0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
            other => panic!("length of {other:#x}"),
        }
    }

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = vec![tag, 0x82];
        der.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
        der.extend_from_slice(content);
        der
    }

    fn authority(name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.der().clone(), Issuer::new(params, key))
    }

    /// A certificate of version 1: one of version 3 without its version and its extensions, signed anew.
    fn version1(issuer: &Issuer<'static, KeyPair>) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::default().signed_by(&key, issuer).unwrap();
        let whole = made.der();
        let body = &whole[lengths(whole).0..];
        let (header, length) = lengths(body);
        let (signed, rest) = body.split_at(header + length);
        let (mut parts, mut content) = (&signed[header..], Vec::new());
        while !parts.is_empty() {
            let (header, length) = lengths(parts);
            let (part, after) = parts.split_at(header + length);
            if !matches!(part[0], 0xa0 | 0xa3) {
                content.extend_from_slice(part);
            }
            parts = after;
        }
        let mut outer = value(SEQUENCE, &content);
        let mut bits = vec![0];
        bits.extend(issuer.key().sign(&outer).unwrap());
        let (header, length) = lengths(rest);
        outer.extend_from_slice(&rest[..header + length]);
        outer.extend(value(0x03, &bits));
        CertificateDer::from(value(SEQUENCE, &outer))
    }

    #[test]
    fn it_is_good_if_a_trusted_authority_signed_it() {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let (trusted, issuer) = authority("ours");
        let certificate = version1(&issuer);
        let parsed = parse(&certificate).expect("it is of version 1");
        check_issuer(&parsed, std::slice::from_ref(&trusted), &algorithms).unwrap();
        let (of_that_name, _) = authority("ours");
        let (stranger, _) = authority("another");
        for wrong in [vec![], vec![stranger], vec![of_that_name]] {
            check_issuer(&parsed, &wrong, &algorithms).unwrap_err();
        }
        assert!(parse(&trusted).is_none(), "of version 3");
        // An end entity that signs is no authority.
        check_issuer(&parsed, std::slice::from_ref(&certificate), &algorithms).unwrap_err();
    }

    #[test]
    fn it_is_good_for_its_time_alone() {
        let (trusted, issuer) = authority("ours");
        let certificate = version1(&issuer);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = client::verifier(vec![trusted], true, provider).unwrap();
        // rcgen's are good from 1975 to 4096.
        let at = |year: u64| {
            let seconds = (year - 1970) * 31_556_952;
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            verifier.verify_client_cert(&certificate, &[], now).map(|_| ())
        };
        assert_eq!(at(2026), Ok(()));
        assert_eq!(at(4100), Err(Error::InvalidCertificate(CertificateError::Expired)));
        assert_eq!(at(1971), Err(Error::InvalidCertificate(CertificateError::NotValidYet)));
    }

    #[test]
    fn whatever_stands_in_a_byte_nothing_panics() {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let (_, issuer) = authority("ours");
        let certificate = version1(&issuer);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        for place in 0..certificate.len() {
            for value in 0..=u8::MAX {
                let mut changed = certificate.to_vec();
                changed[place] = value;
                let changed = CertificateDer::from(changed);
                let _ = client::check_validity(&changed, now);
                if let Some(parsed) = parse(&changed) {
                    check_issuer(&parsed, &[], &algorithms).unwrap_err();
                }
            }
            let prefix = CertificateDer::from(certificate[..place].to_vec());
            client::check_validity(&prefix, now).unwrap_err();
        }
    }

    #[test]
    fn every_changed_byte_is_refused_and_every_prefix() {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let (trusted, issuer) = authority("ours");
        let certificate = version1(&issuer);
        let (header, length) = lengths(&certificate[lengths(&certificate).0..]);
        let signed = lengths(&certificate).0 + header + length;
        for place in 0..certificate.len() {
            assert!(parse(&CertificateDer::from(certificate[..place].to_vec())).is_none());
            let mut changed = certificate.to_vec();
            changed[place] ^= 1;
            let changed = CertificateDer::from(changed);
            let Some(parsed) = parse(&changed) else { continue };
            let verdict = check_issuer(&parsed, std::slice::from_ref(&trusted), &algorithms);
            assert!(verdict.is_err() || place >= signed, "byte {place} is signed");
        }
    }
}
