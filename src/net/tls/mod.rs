//! TLS for listeners and towards servers: certificates from files, who must show one, and new files
//! taken up as they change.

pub mod client;
pub mod connect;
pub mod distinguished_name;
pub mod options;
mod reload;
pub mod store;
mod version1;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use self::options::Protocol;
use self::reload::Stamp;
use self::store::StoreConfig;
pub use self::store::{StoreError, StoreKind};
use crate::limits;

/// The first byte of a TLS connection: a record of the kind "handshake". Neither a ZooKeeper client,
/// whose first byte is the highest of a length or a letter, nor an HTTP client begins with it.
pub const TLS_HANDSHAKE: u8 = 22;

/// A client's connection after its handshake.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Whether clients show a certificate (`ssl.clientAuth`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// One that they show must be good.
    Want,
    /// They must show a good one.
    Need,
}

/// What a listener needs for TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// The server's certificates and its key.
    pub key_store: StoreConfig,
    /// Who may have signed a client's certificate.
    pub trust_store: Option<StoreConfig>,
    /// Whether clients show one.
    pub client_auth: ClientAuth,
    /// The versions that are spoken.
    pub protocols: Vec<Protocol>,
    /// The cipher suites that are taken, by Java's names; empty is all of rustls.
    pub cipher_suites: Vec<String>,
    /// Whether the address that a client comes from must be one of its certificate's.
    pub verify_client_address: bool,
}

impl TlsConfig {
    fn stores(&self) -> impl Iterator<Item = &StoreConfig> {
        [Some(&self.key_store), self.trust_store.as_ref()].into_iter().flatten()
    }
}

/// Why TLS can't be spoken with these files: one line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A store can't be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The certificate or the key is not one that can be used.
    #[error("TLS with {store}: {reason}")]
    Unusable {
        /// The store: its file, or its key.
        store: String,
        /// What rustls says.
        reason: String,
    },
}

/// Why a client's connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took longer than [`limits::TLS_HANDSHAKE_TIMEOUT`].
    #[error("no TLS handshake in time")]
    Timeout,
    /// The client went, spoke no TLS, or showed no good certificate.
    #[error("{0}")]
    Failed(#[from] std::io::Error),
    /// `clientHostnameVerification`: it comes from elsewhere than its certificate says.
    #[error("the client's certificate is not for the address it comes from")]
    WrongAddress,
}

/// The TLS side of one or more listeners.
#[derive(Debug)]
pub struct TlsServer {
    config: TlsConfig,
    current: ArcSwap<ServerConfig>,
    /// The files as they were when they were looked at.
    stamps: Mutex<Vec<Stamp>>,
}

impl TlsServer {
    /// Reads the stores.
    ///
    /// # Errors
    /// A store that can't be read, or holds nothing that can be used.
    pub fn new(config: TlsConfig) -> Result<TlsServer, TlsError> {
        // Before they are read: a change meanwhile is then seen as one.
        let stamps = Mutex::new(reload::stamps(config.stores()));
        let current = ArcSwap::new(server_config(&config)?);
        Ok(TlsServer { config, current, stamps })
    }

    /// The same on a thread that may wait for a disk, and for a password's many rounds.
    ///
    /// # Errors
    /// As for [`TlsServer::new`].
    pub async fn read(config: TlsConfig) -> Result<Arc<TlsServer>, TlsError> {
        let store = config.key_store.source.to_string();
        let read = tokio::task::spawn_blocking(move || TlsServer::new(config)).await;
        read.unwrap_or_else(|error| Err(TlsError::Unusable { store, reason: error.to_string() }))
            .map(Arc::new)
    }

    /// Reads the stores anew: connections from now on use them, those that are open go on.
    ///
    /// # Errors
    /// As for [`TlsServer::new`]; what was used before goes on being used.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(server_config(&self.config)?);
        Ok(())
    }

    /// The server's half of a handshake, in the connection's own task and within
    /// [`limits::TLS_HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    /// What failed; the client has been told as far as TLS tells.
    pub async fn accept(
        &self,
        stream: TcpStream,
        peer: IpAddr,
    ) -> Result<TlsStream, HandshakeError> {
        let handshake = TlsAcceptor::from(self.current.load_full()).accept(stream);
        let stream = tokio::time::timeout(limits::TLS_HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_| HandshakeError::Timeout)??;
        if self.config.verify_client_address
            && let Some(certificate) = client_certificate(&stream)
            && !is_for_address(certificate, peer)
        {
            return Err(HandshakeError::WrongAddress);
        }
        Ok(stream)
    }
}

/// The certificate that a client has proved to be its own, if it showed one.
pub fn client_certificate(stream: &TlsStream) -> Option<&CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first()
}

/// Whether a certificate has `address` among its alternative names. Names of hosts are not looked
/// up: whoever has a hand in reverse DNS could then come from anywhere.
fn is_for_address(certificate: &CertificateDer<'_>, address: IpAddr) -> bool {
    ParsedCertificate::try_from(certificate).is_ok_and(|certificate| {
        verify_server_name(&certificate, &ServerName::IpAddress(address.into())).is_ok()
    })
}

fn server_config(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let identity = store::identity(&config.key_store)?;
    let unusable = |store: &StoreConfig, reason: String| TlsError::Unusable {
        store: store.source.to_string(),
        reason,
    };
    let mut provider = aws_lc_rs::default_provider();
    if !config.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            config.cipher_suites.iter().any(|name| *name == options::java_name(suite.suite()))
        });
    }
    let provider: Arc<CryptoProvider> = Arc::new(provider);
    let versions: Vec<_> = config.protocols.iter().map(|protocol| protocol.version()).collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| unusable(&config.key_store, error.to_string()))?;
    let builder = match (config.client_auth, &config.trust_store) {
        (ClientAuth::None, _) => builder.with_no_client_auth(),
        (auth, Some(trust_store)) => {
            let trusted = store::trusted(trust_store)?;
            let mandatory = auth == ClientAuth::Need;
            let verifier = client::verifier(trusted, mandatory, Arc::clone(&provider))
                .map_err(|reason| unusable(trust_store, reason))?;
            builder.with_client_cert_verifier(verifier)
        }
        (_, None) => {
            let reason =
                "clients are asked for certificates, and there is no trust store".to_owned();
            return Err(unusable(&config.key_store, reason));
        }
    };
    let own = provider
        .key_provider
        .load_private_key(identity.key)
        .map(|key| CertifiedKey::new(identity.chain, key))
        .and_then(|own| version1::check_own(&own).map(|()| own))
        .map_err(|error| unusable(&config.key_store, error.to_string()))?;
    Ok(Arc::new(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)))))
}
