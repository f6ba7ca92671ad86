//! What a session shows to a coordinator that demands TLS or a login, and why one did not come about.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zookeeper_client::{Connector, Error, SaslOptions, TlsCa, TlsCerts, TlsIdentity, TlsOptions};

use crate::config::coordinator_access::LOGIN_FILE;
use crate::config::{CoordinatorAccess, CoordinatorTls, ListenAddress};
use crate::limits;
use crate::net::tls::store::{self, Identity, StoreError};

/// Why there is no session.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The session's or the connection's error: another try may do better.
    #[error("{0}")]
    Session(#[from] Error),
    /// An operator must act: one line, with the key. It is tried again all the same.
    #[error("{0}")]
    Refused(String),
}

/// The stores of TLS as they were read.
struct Stores {
    trusted: Vec<rustls_pki_types::CertificateDer<'static>>,
    identity: Option<Identity>,
}

/// Gives a connector what `access` says. Reads files, on a thread that may wait for a disk.
///
/// # Errors
/// What of the files can't be used.
pub(super) async fn equip(
    mut connector: Connector,
    access: &CoordinatorAccess,
) -> Result<Connector, ConnectError> {
    if let Some(login) = access.login.clone() {
        let at = login.to_string();
        let (name, password) = blocking(move || login.read())
            .await?
            .map_err(|reason| ConnectError::Refused(format!("{LOGIN_FILE} {at}: {reason}")))?;
        connector =
            connector.with_sasl(SaslOptions::digest_md5(name, password.expose().to_owned()));
    }
    if let Some(tls) = access.tls.clone() {
        // The crate takes the process's provider, and ours may not be it yet.
        _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stores = read(tls).await?;
        connector = connector.with_tls(TlsOptions::new().with_certs(certificates(&stores)?));
    }
    Ok(connector)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ConnectError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ConnectError::Refused(error.to_string()))
}

async fn read(tls: CoordinatorTls) -> Result<Stores, ConnectError> {
    let of = |key: &str, error: StoreError| ConnectError::Refused(format!("{key}: {error}"));
    blocking(move || {
        let trusted = store::trusted(&tls.trust_store)
            .map_err(|error| of("zookeeper.ssl.truststore.location", error))?;
        let identity = tls.key_store.as_ref().map(store::identity).transpose();
        let identity = identity.map_err(|error| of("zookeeper.ssl.keystore.location", error))?;
        Ok(Stores { trusted, identity })
    })
    .await?
}

fn certificates(stores: &Stores) -> Result<TlsCerts, ConnectError> {
    let pem = |certificates: &[rustls_pki_types::CertificateDer<'_>]| {
        let mut text = String::new();
        for der in certificates {
            armour(&mut text, "CERTIFICATE", der);
        }
        text
    };
    let of = |key: &str, error: Error| ConnectError::Refused(format!("{key}: {error}"));
    let authorities = TlsCa::from_pem(&pem(&stores.trusted))
        .map_err(|error| of("zookeeper.ssl.truststore.location", error))?;
    let mut builder = TlsCerts::builder().with_ca(authorities);
    if let Some(Identity { chain, key }) = &stores.identity {
        let label = match key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let mut private = String::new();
        armour(&mut private, label, key.secret_der());
        let identity = TlsIdentity::from_pem(&pem(chain), &private)
            .map_err(|error| of("zookeeper.ssl.keystore.location", error))?;
        builder = builder.with_identity(identity);
    }
    Ok(builder.build()?)
}

/// Adds DER as PEM, in lines of 64 (RFC 7468).
fn armour(text: &mut String, label: &str, der: &[u8]) {
    let encoded = STANDARD.encode(der);
    _ = writeln!(text, "-----BEGIN {label}-----");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        _ = writeln!(text, "{line}");
        rest = after;
    }
    _ = writeln!(text, "-----END {label}-----");
}

/// What an operator should know of a session that did not come about. The client crate tells that a
/// login failed, and nothing of why TLS did: that is found out with a handshake of our own.
pub(super) async fn explain(
    access: &CoordinatorAccess,
    servers: &str,
    error: Error,
) -> ConnectError {
    match (&error, &access.login) {
        (Error::AuthFailed, Some(login)) => {
            return ConnectError::Refused(format!(
                "the coordinator at {servers} refuses the login of {LOGIN_FILE} {login}"
            ));
        }
        (Error::AuthFailed, None) => {
            return ConnectError::Refused(format!(
                "the coordinator at {servers} demands a login, and {LOGIN_FILE} names none \
                 (section Client)"
            ));
        }
        _ => {}
    }
    let Some(tls) = access.tls.clone() else { return error.into() };
    let stores = match read(tls).await {
        Ok(stores) => stores,
        Err(refused) => return refused,
    };
    for server in servers.split(',') {
        if let Some(reason) = handshake(server, &stores).await {
            return ConnectError::Refused(reason);
        }
    }
    error.into()
}

/// Why TLS with a server fails; `None` where it doesn't, or the server can't be reached at all.
async fn handshake(server: &str, stores: &Stores) -> Option<String> {
    /// How long a server that takes a handshake for a bad one has to say so.
    const VERDICT: Duration = Duration::from_secs(5);
    let address = ListenAddress::parse(server)?;
    let name = ServerName::try_from(address.host.clone()).ok()?;
    let config = match client_config(stores) {
        Ok(config) => config,
        Err(error) => return Some(format!("zookeeper.ssl.keystore.location: {error}")),
    };
    let shake = async {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await.ok()?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = match connector.connect(name, stream).await {
            Ok(stream) => stream,
            Err(error) => return told(server, stores, &error),
        };
        // In TLS 1.3 the server judges our certificate after our side of the handshake.
        match tokio::time::timeout(VERDICT, stream.read_u8()).await {
            Ok(Err(error)) => told(server, stores, &error),
            Ok(Ok(_)) | Err(_) => None,
        }
    };
    tokio::time::timeout(limits::TLS_HANDSHAKE_TIMEOUT, shake).await.ok().flatten()
}

fn client_config(stores: &Stores) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in &stores.trusted {
        // What can't be an authority is left out by the client crate too.
        _ = roots.add(certificate.clone());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match &stores.identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key())
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

/// What an error of a handshake says, with the key that it is about.
fn told(server: &str, stores: &Stores, error: &std::io::Error) -> Option<String> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let key_store = "zookeeper.ssl.keystore.location";
    Some(match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => format!(
            "zookeeper.ssl.truststore.location: the certificate of the coordinator {server} is not \
             trusted: {reason}"
        ),
        Some(rustls::Error::AlertReceived(alert)) if stores.identity.is_some() => {
            format!("{key_store}: the coordinator {server} refuses the certificate: {alert:?}")
        }
        Some(rustls::Error::AlertReceived(alert)) => format!(
            "{key_store} is not set, and the coordinator {server} refuses a client without a \
             certificate: {alert:?}"
        ),
        Some(other) => {
            format!("zookeeper.ssl.client.enable: no TLS with the coordinator {server}: {other}")
        }
        None if error.kind() == std::io::ErrorKind::UnexpectedEof
            || error.kind() == std::io::ErrorKind::ConnectionReset =>
        {
            format!(
                "zookeeper.ssl.client.enable: the coordinator {server} closes the connection during \
                 the TLS handshake"
            )
        }
        None => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_lines_of_64() {
        let mut text = String::new();
        armour(&mut text, "CERTIFICATE", &[7; 49]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            (lines[0], lines[3]),
            ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
        );
        assert_eq!((lines[1].len(), lines[2].len()), (64, 4));
    }
}
