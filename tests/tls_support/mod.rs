//! Certificates that the tests make, and clients that use them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorkeeper::config::Secret;
use doorkeeper::net::tls::options::Protocol;
use doorkeeper::net::tls::store::{Password, StoreConfig};
use doorkeeper::net::tls::{ClientAuth, StoreKind, TlsConfig};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate with its key.
pub struct Pair {
    pub certificate: CertificateDer<'static>,
    pub key: Vec<u8>,
    /// Both as text.
    pub pem: String,
    pub certificate_pem: String,
    pub key_pem: String,
}

impl Pair {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Pair {
        Pair {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            pem: format!("{}{}", certificate.pem(), key.serialize_pem()),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

/// Who signs certificates.
pub struct Authority {
    pub pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `name`, which may be used at the loopback address.
    pub fn sign(&self, name: &str) -> Pair {
        self.sign_with(name, |_| ())
    }

    pub fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        Pair::new(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }

    /// One whose time is over.
    pub fn sign_expired(&self, name: &str) -> Pair {
        self.sign_with(name, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }
}

/// A certificate that is its own authority, as `openssl req -x509` makes them.
pub fn self_signed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    Pair::new(&params.self_signed(&key).unwrap(), &key)
}

/// Writes a file of the server's and says where it is.
pub fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A store of PEM.
pub fn pem(path: PathBuf) -> StoreConfig {
    StoreConfig::file(path, StoreKind::Pem, Password::Text(Secret::new("")))
}

/// The TLS of a server with these stores, which asks for certificates.
pub fn config(directory: &Path, server: &Pair, trusted: &str) -> TlsConfig {
    TlsConfig {
        key_store: pem(write(directory, "server.pem", &server.pem)),
        trust_store: Some(pem(write(directory, "trusted.pem", trusted))),
        client_auth: ClientAuth::Need,
        protocols: Protocol::ALL.to_vec(),
        cipher_suites: Vec::new(),
        verify_client_address: false,
    }
}

/// A client's TLS: whom it trusts, who it is.
pub fn client(trusted: &Authority, identity: Option<&Pair>) -> Arc<ClientConfig> {
    client_of(trusted, identity, rustls::ALL_VERSIONS)
}

pub fn client_of(
    trusted: &Authority,
    identity: Option<&Pair>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(
                vec![pair.certificate.clone()],
                PrivatePkcs8KeyDer::from(pair.key.clone()).into(),
            )
            .unwrap(),
    })
}

/// Connects; an error is what the client saw of it.
pub async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_as("localhost", address, config).await
}

/// The same, to a host of this name.
pub async fn connect_as(
    name: &str,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}
