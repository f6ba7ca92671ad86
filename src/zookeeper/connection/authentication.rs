//! What clients prove: auth packets and SASL tokens, answered here, and who is sent away without.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Connection;
use super::answers::Answers;
use crate::zookeeper::auth::{Answer, Identities, NONCE_BYTES, Refusal};
use crate::zookeeper::jute::Writer as _;
use crate::zookeeper::proto::request::{AuthPacket, decode_sasl};
use crate::zookeeper::proto::{ErrorCode, reply};

impl Connection {
    /// Answers an auth packet, with the zxid 0, unless it is malformed. Says whether the connection
    /// goes on.
    pub(super) fn authenticate(&mut self, xid: i32, body: &[u8], answers: &mut Answers) -> bool {
        let packet = match AuthPacket::decode(body) {
            Ok(packet) => packet,
            Err(error) => {
                tracing::debug!(%error, "closed: malformed authentication");
                return false;
            }
        };
        let peer = self.handle.peer().ip();
        let proved = self.state.auth.authenticate(
            &packet.scheme,
            packet.credentials,
            peer,
            &self.identities,
        );
        match proved {
            Ok(identities) => {
                self.proved(identities);
                answers.put(|out| reply::empty(out, xid, 0));
                true
            }
            Err(refusal) => {
                tracing::debug!(scheme = ?packet.scheme, ?refusal, "closed: authentication failed");
                self.state.stats.auth_failures.fetch_add(1, Ordering::Relaxed);
                if refusal == Refusal::Failed {
                    answers.put(|out| reply::error(out, xid, 0, ErrorCode::AuthFailed));
                }
                false
            }
        }
    }

    /// Answers a token of a SASL exchange, with the zxid 0 (`ZooKeeperServer.processSasl`). Says
    /// whether the connection goes on.
    pub(super) fn sasl(&mut self, xid: i32, body: &[u8], answers: &mut Answers) -> bool {
        let token = match decode_sasl(body) {
            Ok(token) => token,
            Err(error) => {
                tracing::debug!(%error, "closed: a malformed SASL token");
                return false;
            }
        };
        let auth = &self.state.auth;
        if self.sasl.is_none() {
            self.sasl = auth.begin_sasl(rand::random::<[u8; NONCE_BYTES]>()).map(Box::new);
        }
        let Some(exchange) = &mut self.sasl else {
            tracing::debug!("a SASL token, and no JAAS file names users");
            answers.put(|out| sasl_reply(out, xid, None));
            return true;
        };
        let answer = auth.sasl(exchange, token).map_err(|error| error.to_string());
        let proved = answer.and_then(|answer| match answer {
            Answer::Challenge(token) => Ok((token, None)),
            Answer::Proved { token, user } => auth
                .with_sasl_user(&self.identities, &user)
                .map(|identities| (token, Some(identities)))
                .map_err(|_| "too many identities".to_owned()),
        });
        match proved {
            Ok((token, identities)) => {
                if let Some(identities) = identities {
                    self.proved(identities);
                }
                answers.put(|out| sasl_reply(out, xid, Some(&token)));
                true
            }
            Err(reason) => {
                tracing::info!(peer = %self.handle.peer(), reason, "SASL authentication failed");
                self.state.stats.auth_failures.fetch_add(1, Ordering::Relaxed);
                let Some(code) = auth.after_failed_sasl() else {
                    answers.put(|out| sasl_reply(out, xid, None));
                    return true;
                };
                answers.put(|out| {
                    reply::error_with(out, xid, 0, code, |out| out.write_buffer(None));
                });
                false
            }
        }
    }

    /// Sends a client away that has not proved what the configuration enforces.
    pub(super) fn refuse_unauthenticated(&self, xid: i32, answers: &mut Answers) {
        tracing::info!(
            peer = %self.handle.peer(),
            "closed: the client has not authenticated with a scheme that is enforced"
        );
        self.state.stats.auth_failures.fetch_add(1, Ordering::Relaxed);
        let code = ErrorCode::SessionClosedRequireSaslAuth;
        answers.put(|out| reply::error(out, xid, 0, code));
    }

    fn proved(&mut self, identities: Identities) {
        self.admitted = self.state.auth.admits(&identities);
        self.handle.set_identities(Arc::clone(&identities));
        self.identities = identities;
    }
}

fn sasl_reply(out: &mut Vec<u8>, xid: i32, token: Option<&[u8]>) {
    reply::ok(out, xid, 0, |out| out.write_buffer(token));
}
