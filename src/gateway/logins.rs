//! Logins among the requests of a connection: the client's, which pass, and what the gateway asks of its
//! own between requests to keep an upstream's login alive.

use std::io;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::connection::{Closed, Link};
use super::login::Part;
use super::metrics::Outcome;
use super::owed::{FromUpstream, Owed, Then};
use super::own_login::Line;
use super::requests::Requests;
use super::{exchange, sasl, upstream};
use crate::kafka::api::{HandlerError, Reply};
use crate::kafka::wire::frame::LENGTH_BYTES;
use crate::kafka::wire::header::{self, Start};

impl Requests<'_> {
    /// Passes on a part of a login that is there whole: a request, or a token without a header. It may
    /// hold a password: nothing of it stays here.
    pub(super) async fn login(
        &mut self,
        length: usize,
        request: Option<(Start, ApiKey)>,
    ) -> Result<(), Closed> {
        let Link { core, visitor, ledger, login, .. } = self.link;
        let mut frame = self.input.split_to(LENGTH_BYTES + length);
        if let Some((start, key)) = request
            && core.own_login(visitor.listener).is_some()
        {
            // As a broker says it where nobody has to log in.
            let reply = no_login_here(key, start.version)?;
            ledger.owe(Owed::Here { key, start, reply });
            core.metrics.request(key, Outcome::Here);
            return Ok(());
        }
        let (correlation, part) = match request {
            None => {
                login.lock().token(frame.get(LENGTH_BYTES..));
                (None, Part::BareToken)
            }
            Some((start, key)) => {
                let version = start.version;
                let body = header::body(&frame[LENGTH_BYTES..], key, version)?;
                let part = if key == ApiKey::SaslHandshake {
                    login.lock().handshake(version, sasl::mechanism(body));
                    Part::Handshake
                } else {
                    login.lock().token(sasl::token(version, body));
                    Part::Token { version }
                };
                core.metrics.request(key, Outcome::Passed);
                (Some(start.correlation), part)
            }
        };
        ledger.login();
        ledger.owe(Owed::Upstream(FromUpstream { correlation, then: Then::Login(part) }));
        let sent = self.send(&frame).await;
        frame.fill(0);
        sent
    }

    /// When the upstream is to be asked something, so that it doesn't end a login as idle while its
    /// client is not.
    pub(super) fn keep_alive_at(&self) -> Option<Instant> {
        let upstream = self.upstream.as_ref().filter(|_| self.logs_in && self.active)?;
        let quiet = self.passing == 0 && self.link.ledger.is_open() && self.link.ledger.has_room();
        let at = upstream.sent.checked_add(self.link.core.config.upstream.keep_alive)?;
        let login = self.link.login.lock();
        (quiet && login.is_done() && !login.is_over(at)).then_some(at)
    }

    pub(super) async fn keep_alive(&mut self) -> Result<(), Closed> {
        let frame = exchange::frame(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())
            .map_err(Closed::Upstream)?;
        self.ask(&frame, false).await
    }

    /// Asks the upstream something of the gateway's own, between requests of the client's.
    async fn ask(&mut self, frame: &[u8], kept: bool) -> Result<(), Closed> {
        let correlation = Some(exchange::CORRELATION);
        let then = Then::Own { kept };
        self.link.ledger.owe(Owed::Upstream(FromUpstream { correlation, then }));
        self.send(frame).await
    }

    /// Renews the gateway's own login on the upstream, if it is time. The requests that stand before it
    /// go on to be answered.
    pub(super) async fn renew(&mut self) -> Result<(), Closed> {
        let Some(due) = self.upstream.as_ref().and_then(|upstream| upstream.renew) else {
            return Ok(());
        };
        let Link { core, visitor, ledger, .. } = self.link;
        let Some(login) = core.own_login(visitor.listener) else { return Ok(()) };
        if Instant::now() < due || !ledger.is_open() {
            return Ok(());
        }
        let renewed = login.log_in(&mut Between(self)).await;
        let id = self.upstream.as_ref().map_or(-1, |upstream| upstream.id);
        core.own_login_went(id, renewed.as_ref().err());
        let lifetime = renewed.map_err(Closed::Upstream)?;
        if let Some(upstream) = &mut self.upstream {
            upstream.renew = upstream::renew_at(lifetime);
        }
        Ok(())
    }
}

/// A connection on which a client's requests stand before and behind.
struct Between<'a, 'b>(&'a mut Requests<'b>);

impl Line for Between<'_, '_> {
    async fn ask(&mut self, frame: Bytes) -> io::Result<Bytes> {
        self.0.ask(&frame, true).await.map_err(io::Error::other)?;
        let Link { ledger, own, .. } = self.0.link;
        ledger.until(|| own.lock().is_some()).await;
        own.lock().take().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The answer to a login where clients have none.
fn no_login_here(key: ApiKey, version: i16) -> Result<Reply, HandlerError> {
    const MESSAGE: &str = "SaslAuthenticate request received after successful authentication";
    let code = ResponseError::IllegalSaslState.code();
    if key == ApiKey::SaslHandshake {
        return Reply::encode(&SaslHandshakeResponse::default().with_error_code(code), version);
    }
    let answer = SaslAuthenticateResponse::default()
        .with_error_code(code)
        .with_error_message(Some(StrBytes::from_static_str(MESSAGE)));
    Reply::encode(&answer, version)
}
