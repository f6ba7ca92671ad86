//! The gateway's own login at brokers, for clients of listeners without SASL
//! (`doorkeeper.gateway.upstream.sasl.*`).

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use rand::RngCore as _;

use super::exchange::{self, invalid};
use super::sasl;
use super::scram::{self, Salt};
use crate::config::Secret;
use crate::config::gateway_upstream::{LoginMechanism, UpstreamLogin};
use crate::kafka::security::Principal;

const NONCE_BYTES: usize = 24;
const HANDSHAKE_VERSION: i16 = 1;
/// The first version that says how long a login holds.
const AUTHENTICATE_VERSION: i16 = 1;

/// What all connections need to log in. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct OwnLogin {
    config: Arc<UpstreamLogin>,
    /// The key that the password came to last: brokers of a cluster have one salt for a user.
    key: Arc<Mutex<Option<(Salt, Secret)>>>,
}

/// Asks over one connection, between other requests or alone: the frame goes as it is, and the answer
/// comes from its correlation id on.
pub(super) trait Line {
    async fn ask(&mut self, frame: Bytes) -> io::Result<Bytes>;
}

impl OwnLogin {
    pub(super) fn new(config: &UpstreamLogin) -> OwnLogin {
        OwnLogin { config: Arc::new(config.clone()), key: Arc::default() }
    }

    /// Who the gateway is to brokers.
    pub(super) fn principal(&self) -> Principal {
        Principal::user(&self.config.username)
    }

    /// Logs in, the first time or again. How long it holds, in milliseconds; 0 is for ever.
    ///
    /// # Errors
    /// The connection's, or that the broker does not take the login, or is none.
    pub(super) async fn log_in(&self, line: &mut impl Line) -> io::Result<i64> {
        let mechanism = self.config.mechanism;
        let request = SaslHandshakeRequest::default()
            .with_mechanism(StrBytes::from_static_str(mechanism.name()));
        let frame = exchange::frame(ApiKey::SaslHandshake, HANDSHAKE_VERSION, &request)?;
        match sasl::error(&line.ask(frame).await?) {
            Some(0) => {}
            code => return Err(refused(mechanism.name(), code)),
        }
        if mechanism == LoginMechanism::Plain {
            let UpstreamLogin { username, password, .. } = &*self.config;
            let token = format!("\0{username}\0{}", password.expose());
            return Ok(self.token(line, token).await?.1);
        }
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let username = &self.config.username;
        let mut client = scram::Client::new(mechanism, username, STANDARD.encode(nonce));
        let (first, _) = self.token(line, client.first()).await?;
        let key = self.key(client.salt(&first).map_err(invalid)?).await?;
        let key = STANDARD.decode(key.expose()).map_err(invalid)?;
        let last = client.last(&first, &key).map_err(invalid)?;
        let (last, lifetime_ms) = self.token(line, last).await?;
        client.check(&last).map_err(invalid)?;
        Ok(lifetime_ms)
    }

    /// Sends a token. The broker's own, and how long the login holds.
    async fn token(&self, line: &mut impl Line, token: String) -> io::Result<(Bytes, i64)> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
        let frame = exchange::frame(ApiKey::SaslAuthenticate, AUTHENTICATE_VERSION, &request)?;
        let answer = line.ask(frame).await?;
        let answered = sasl::answered(AUTHENTICATE_VERSION, &answer)
            .ok_or_else(|| invalid("an answer that can't be read"))?;
        if answered.error != 0 {
            return Err(refused(&self.config.username, Some(answered.error)));
        }
        Ok((Bytes::copy_from_slice(answered.token), answered.lifetime_ms))
    }

    /// What the password comes to, on a thread that may take its time.
    async fn key(&self, salt: Salt) -> io::Result<Secret> {
        let known = self.key.lock().clone();
        if let Some((of, key)) = known
            && of == salt
        {
            return Ok(key);
        }
        let config = Arc::clone(&self.config);
        let of = salt.clone();
        let derive = move || scram::key(config.mechanism, config.password.expose(), &of);
        let key = tokio::task::spawn_blocking(derive).await.map_err(io::Error::other)?;
        let key = Secret::new(STANDARD.encode(key));
        *self.key.lock() = Some((salt, key.clone()));
        Ok(key)
    }
}

fn refused(what: &str, code: Option<i16>) -> io::Error {
    let code =
        code.map_or_else(|| "an unreadable answer".to_owned(), |code| format!("error {code}"));
    io::Error::new(io::ErrorKind::PermissionDenied, format!("it refuses {what}: {code}"))
}
