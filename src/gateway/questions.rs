//! Answers what may be answered here, or has the upstream do it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, DescribeTopicPartitionsRequest};
use kafka_protocol::protocol::Decodable;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::answers::{Answer, Question};
use super::connection::{Closed, Link};
use super::metrics::Outcome;
use super::owed::{FromUpstream, Owed, Then};
use super::requests::{HEAD, Requests};
use super::view::View;
use super::{api_versions, described, exchange, missing};
use crate::config::gateway::GatewayAuthorizer;
use crate::kafka::security::Caller;
use crate::kafka::wire::frame::LENGTH_BYTES;
use crate::kafka::wire::guard;
use crate::kafka::wire::header::{self, Start};
use crate::kafka::wire::schema;
use crate::limits;

impl Requests<'_> {
    /// Answers a request that was read whole, or has the upstream do it.
    pub(super) async fn whole(
        &mut self,
        frame: Bytes,
        start: Start,
        key: ApiKey,
    ) -> Result<(), Closed> {
        let Link { core, visitor, ledger, .. } = self.link;
        let mut body = frame.slice(HEAD..);
        if key == ApiKey::ApiVersions {
            let known = (0..=api_versions::NEWEST).contains(&start.version);
            let request = if known {
                header::client_id(&mut body, key, start.version)?;
                Some(decode(key, start.version, body)?)
            } else {
                None
            };
            let view = core.views.load();
            let reply = core
                .versions
                .answer(&view, visitor.broker, start.version, request.as_ref())
                .await?;
            ledger.owe(Owed::Here { key, start, reply });
            core.metrics.request(key, Outcome::Here);
            return Ok(());
        }
        header::client_id(&mut body, key, start.version)?;
        if self.question(start, key, body).await? {
            core.metrics.request(key, Outcome::Here);
            return Ok(());
        }
        core.metrics.request(key, Outcome::Asked);
        self.ask_upstream(frame, start, key).await
    }

    /// Who asks; `None` while nobody here knows, and the upstream must be asked.
    fn caller(&self, view: &View) -> Option<Caller> {
        let Link { core, visitor, login, .. } = self.link;
        if core.config.principal_upstream {
            return None;
        }
        if !*view.logins.get(visitor.listener)? {
            // Brokers may judge by the certificate that the gateway shows them: only they can tell.
            let lent = core.config.upstream.key_store.is_some() && visitor.certificate.is_none();
            let judged = core.config.authorizer != GatewayAuthorizer::Nobody;
            return (!lent || !judged).then(|| self.visitor.clone());
        }
        if let Some(own) = core.own_login(visitor.listener) {
            let principal = visitor.certificate.clone().unwrap_or_else(|| own.principal());
            return Some(Caller { principal, host: visitor.address.ip() });
        }
        let principal = login.lock().principal()?.clone();
        Some(Caller { principal, host: visitor.address.ip() })
    }

    /// Whether a question could be answered here.
    async fn question(&self, start: Start, key: ApiKey, body: Bytes) -> Result<bool, Closed> {
        let Link { core, visitor, ledger, .. } = self.link;
        let listener = visitor.listener;
        let mut known = HashMap::new();
        for _ in 0..limits::GATEWAY_QUESTION_ROUNDS {
            let view = core.views.load();
            let Some(addresses) = view.addresses.get(listener) else { break };
            let Some(caller) = self.caller(&view) else { break };
            let question = Question {
                image: &view.image,
                addresses,
                key,
                version: start.version,
                body: body.clone(),
                caller: Some(&caller),
                authorizer: &core.config.authorizer,
                auto_create_topics: core.config.auto_create_topics,
                missing: &known,
            };
            match core.answers.answer(&question)? {
                Answer::Reply(reply) => {
                    view.answered();
                    ledger.owe(Owed::Here { key, start, reply });
                    return Ok(true);
                }
                Answer::Missing { names, create } => {
                    match missing::find(core, listener, names, create).await {
                        Some(found) => known.extend(found),
                        None => break,
                    }
                }
                Answer::AskUpstream => break,
            }
        }
        Ok(false)
    }

    /// Passes a whole request on, in a version that the upstream has.
    async fn ask_upstream(
        &mut self,
        frame: Bytes,
        start: Start,
        key: ApiKey,
    ) -> Result<(), Closed> {
        let id = self.open().await?;
        let core = &self.link.core;
        if key == ApiKey::DescribeTopicPartitions && core.versions.highest(id, key).is_none() {
            return self.ask_as_metadata(id, frame, start).await;
        }
        let mut version = start.version;
        if core.relays() {
            let highest = core.versions.highest(id, key);
            if key == ApiKey::Metadata {
                version = version.min(highest.unwrap_or(limits::GATEWAY_METADATA_ASSUMED));
            } else if highest.is_some_and(|highest| version > highest) {
                return Err(Closed::Refused { key: start.key, version });
            }
        }
        let then = self.then(key, version, start.version);
        let correlation = Some(start.correlation);
        self.link.ledger.owe(Owed::Upstream(FromUpstream { correlation, then }));
        self.active = false;
        let Some(upstream) = &mut self.upstream else { return Err(Closed::UpstreamEnded) };
        upstream.sent = Instant::now();
        let mut head = BytesMut::with_capacity(HEAD);
        head.put_slice(&frame[..LENGTH_BYTES + 2]);
        head.put_i16(version);
        let rest = frame.slice(head.len()..);
        let mut whole = head.chain(rest);
        upstream.requests.write_all_buf(&mut whole).await.map_err(Closed::Upstream)?;
        upstream.requests.flush().await.map_err(Closed::Upstream)?;
        core.metrics.received.increment(frame.len() as u64);
        Ok(())
    }
}

impl Requests<'_> {
    /// Asks an upstream for `Metadata` that doesn't have `DescribeTopicPartitions`.
    async fn ask_as_metadata(&mut self, id: i32, frame: Bytes, start: Start) -> Result<(), Closed> {
        let highest = self.link.core.versions.highest(id, ApiKey::Metadata);
        let assumed = limits::GATEWAY_METADATA_ASSUMED;
        let version = highest.unwrap_or(assumed).min(assumed);
        let mut body = frame.slice(HEAD..);
        let client = header::client_id(&mut body, ApiKey::DescribeTopicPartitions, start.version)?;
        let request: DescribeTopicPartitionsRequest =
            decode(ApiKey::DescribeTopicPartitions, start.version, body)?;
        let question = described::question(&request);
        let question =
            exchange::request(ApiKey::Metadata, version, (start.correlation, client), &question)
                .map_err(Closed::Upstream)?;
        let then = Then::Describe(version, Arc::new(request));
        let correlation = Some(start.correlation);
        self.link.ledger.owe(Owed::Upstream(FromUpstream { correlation, then }));
        self.send(&question).await
    }
}

fn decode<R: Decodable>(key: ApiKey, version: i16, mut body: Bytes) -> Result<R, Closed> {
    if let Some(schema) = schema::of(key) {
        guard::check(schema, version, &body)?;
    }
    R::decode(&mut body, version).map_err(|_| Closed::Header(guard::Refused::Truncated))
}
