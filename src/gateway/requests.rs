//! Reads a client's requests: some are answered here, the others stream to the upstream.
//!
//! A request that is passed on is read no further than its header (of `Produce`, to its `acks`), and
//! never held: its bytes go on as they come. One that may be answered here is read whole, up to a
//! limit; a longer one is passed on too.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use kafka_protocol::protocol::Decodable;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;

use super::answers::{ANSWERED, Answer, Question};
use super::connection::{Closed, Link};
use super::metrics::{Open, Outcome};
use super::owed::Owed;
use super::rewrite::Rewrite;
use super::{api_versions, held, missing, produce, upstream};
use crate::kafka::wire::frame::{BadFrame, LENGTH_BYTES};
use crate::kafka::wire::guard;
use crate::kafka::wire::header::{self, Start};
use crate::kafka::wire::schema;
use crate::limits;
use crate::net::stream::{ReadHalf, WriteHalf};

/// Length, API key, version and correlation id: what every request begins with.
const HEAD: usize = LENGTH_BYTES + 8;

/// The reading half of a connection.
pub(super) struct Requests<'a> {
    link: &'a Link,
    client: ReadHalf,
    input: BytesMut,
    room: usize,
    /// Bytes of the request that is being passed on, which are not read yet.
    passing: usize,
    upstream: Option<Upstream>,
    held: Option<OwnedSemaphorePermit>,
}

struct Upstream {
    id: i32,
    requests: WriteHalf,
    _open: Open,
}

/// What is to be done once the bytes at the front are passed on.
enum Next {
    /// More bytes are needed.
    Read,
    /// The client is owed too much already.
    Room,
    /// The whole request will be held.
    Hold(usize),
    /// A whole request is there.
    Whole(usize, Start, ApiKey),
    Fail(Closed),
}

impl<'a> Requests<'a> {
    pub(super) fn new(link: &'a Link, client: ReadHalf) -> Self {
        Requests {
            link,
            client,
            input: BytesMut::new(),
            room: limits::GATEWAY_READ_MIN,
            passing: 0,
            upstream: None,
            held: None,
        }
    }

    /// Reads until the client has no more to say, or the gateway stops.
    pub(super) async fn run(&mut self) -> Result<(), Closed> {
        loop {
            let (pass, next) = self.look();
            if pass > 0 {
                self.pass(pass).await?;
            }
            match next {
                Next::Read => {
                    if !self.read().await? {
                        return self.end().await;
                    }
                }
                Next::Room => self.link.ledger.room().await,
                Next::Hold(length) => {
                    self.held = held::hold(&self.link.core.requests_held, length).await;
                }

                Next::Whole(length, start, key) => {
                    let frame = self.input.split_to(LENGTH_BYTES + length).freeze();
                    let held = self.held.take();
                    self.whole(frame, start, key).await?;
                    drop(held);
                }
                Next::Fail(reason) => return Err(reason),
            }
        }
    }

    /// How many bytes at the front may be passed on, and what comes then. Notes what is owed for
    /// each request among them.
    fn look(&mut self) -> (usize, Next) {
        let mut pass = 0;
        loop {
            let rest = &self.input[pass..];
            let some = self.passing.min(rest.len());
            pass += some;
            self.passing -= some;
            if self.passing > 0 {
                return (pass, Next::Read);
            }
            match self.decide(pass) {
                Ok(length) => self.passing = length,
                Err(next) => return (pass, next),
            }
        }
    }

    /// Looks at the request at `at`: its whole length if it is passed on.
    fn decide(&mut self, at: usize) -> Result<usize, Next> {
        let Link { core, ledger, .. } = self.link;
        let max = core.config.socket_request_max_bytes;
        let input = &self.input[at..];
        let length = match length(input, max) {
            Ok(Some(length)) => length,
            Ok(None) => return Err(Next::Read),
            Err(bad) => return Err(Next::Fail(bad.into())),
        };
        if length < HEAD - LENGTH_BYTES {
            return Err(Next::Fail(guard::Refused::Truncated.into()));
        }
        let Some(mut head) = input.get(LENGTH_BYTES..HEAD) else { return Err(Next::Read) };
        let start =
            Start { key: head.get_i16(), version: head.get_i16(), correlation: head.get_i32() };
        let Ok(key) = ApiKey::try_from(start.key) else {
            return Err(Next::Fail(Closed::UnknownApi(start.key)));
        };
        if key != ApiKey::ApiVersions && !core.versions.rules().allow(start.key, start.version) {
            core.metrics.request(key, Outcome::Refused);
            let (key, version) = (start.key, start.version);
            return Err(Next::Fail(Closed::Refused { key, version }));
        }
        if !ledger.has_room() {
            return Err(Next::Room);
        }
        let here = key == ApiKey::ApiVersions || answered(core.relays(), key, start.version);
        if here && length <= limits::GATEWAY_QUESTION_BYTES_MAX {
            if self.held.is_none() && length > limits::GATEWAY_SMALL_BYTES {
                return Err(Next::Hold(length));
            }
            if input.len() < LENGTH_BYTES + length {
                return Err(Next::Read);
            }
            return Err(Next::Whole(length, start, key));
        }
        if matches!(key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate) {
            if key == ApiKey::SaslHandshake && start.version == 0 {
                // What follows has no header, which can't be told from requests. It is offered still:
                // librdkafka takes a server without it for one that knows Kerberos alone.
                core.metrics.request(key, Outcome::Refused);
                return Err(Next::Fail(Closed::Refused { key: start.key, version: 0 }));
            }
            ledger.login();
        }
        if key == ApiKey::Produce {
            let content = &input[LENGTH_BYTES..input.len().min(LENGTH_BYTES + length)];
            match produce::acks(content, start.version, content.len() == length) {
                Ok(Some(0)) => {
                    ledger.unanswered();
                    core.metrics.request(key, Outcome::Passed);
                    return Ok(LENGTH_BYTES + length);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(Next::Read),
                Err(refused) => return Err(Next::Fail(refused.into())),
            }
        }
        let (correlation, rewrite) =
            (start.correlation, self.rewrite(key, start.version, start.version));
        ledger.owe(Owed::Upstream { correlation, rewrite });
        core.metrics.request(key, Outcome::Passed);
        Ok(LENGTH_BYTES + length)
    }

    /// How the answer of an upstream is changed, if it is.
    fn rewrite(&self, key: ApiKey, version: i16, asked: i16) -> Option<Rewrite> {
        let names =
            matches!(key, ApiKey::Metadata | ApiKey::DescribeCluster | ApiKey::FindCoordinator);
        (names && self.link.core.relays()).then_some(Rewrite { key, version, asked })
    }

    /// Passes on bytes at the front, over an upstream that is opened if it isn't there.
    async fn pass(&mut self, length: usize) -> Result<(), Closed> {
        self.open().await?;
        let Some(upstream) = &mut self.upstream else { return Err(Closed::UpstreamEnded) };
        upstream.requests.write_all(&self.input[..length]).await.map_err(Closed::Upstream)?;
        upstream.requests.flush().await.map_err(Closed::Upstream)?;
        self.input.advance(length);
        self.link.core.metrics.received.increment(length as u64);
        Ok(())
    }

    /// Makes sure that there is an upstream.
    async fn open(&mut self) -> Result<i32, Closed> {
        let Link { core, visitor, ledger, .. } = self.link;
        if let Some(upstream) = &self.upstream
            && ledger.is_open()
        {
            return Ok(upstream.id);
        }
        // One that ended with nothing owed makes room for another.
        self.upstream = None;
        let (id, stream) = upstream::connect(core, visitor.listener, visitor.broker).await?;
        tracing::debug!(broker = id, "upstream opened");
        let (answers, requests) = stream.into_split();
        ledger.opened(answers);
        self.upstream = Some(Upstream { id, requests, _open: core.metrics.upstream() });
        Ok(id)
    }

    /// Reads more bytes. False at the end of the requests.
    async fn read(&mut self) -> Result<bool, Closed> {
        let closing = &self.link.closing;
        let waiting = self.input.is_empty();
        if waiting && self.passing == 0 && closing.is_cancelled() {
            return Ok(false);
        }
        tokio::select! {
            biased;
            length = self.client.read_into(&mut self.input, self.room) => {
                self.got(length.map_err(Closed::Client)?)
            }
            () = self.link.ledger.lost(), if waiting && self.upstream.is_some() => {
                if !self.link.ledger.is_open() {
                    self.upstream = None;
                }
                Ok(true)
            }
            () = closing.cancelled(), if waiting && self.passing == 0 => Ok(false),
        }
    }

    fn got(&mut self, length: usize) -> Result<bool, Closed> {
        self.link.moved();
        if length == 0 {
            return if self.input.is_empty() && self.passing == 0 {
                Ok(false)
            } else {
                Err(Closed::MidFrame)
            };
        }
        // As much room as the client fills.
        if length >= self.room {
            self.room = (self.room * 2).min(limits::GATEWAY_READ_MAX);
        } else if length < self.room / 4 {
            self.room = (self.room / 2).max(limits::GATEWAY_READ_MIN);
        }
        Ok(true)
    }

    /// Tells the upstream that nothing more comes.
    async fn end(&mut self) -> Result<(), Closed> {
        if let Some(upstream) = &mut self.upstream
            && !self.link.closing.is_cancelled()
            && let Err(error) = upstream.requests.shutdown().await
        {
            tracing::debug!(%error, "the upstream is gone already");
        }
        Ok(())
    }

    /// Answers a request that was read whole, or has the upstream do it.
    async fn whole(&mut self, frame: Bytes, start: Start, key: ApiKey) -> Result<(), Closed> {
        let Link { core, visitor, ledger, .. } = self.link;
        let mut body = frame.slice(HEAD..);
        if key == ApiKey::ApiVersions {
            let known = (0..=api_versions::NEWEST).contains(&start.version);
            let request = if known {
                header::client_id(&mut body, key, start.version)?;
                Some(api_versions_request(start.version, body)?)
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

    /// Whether a question could be answered here.
    async fn question(&self, start: Start, key: ApiKey, body: Bytes) -> Result<bool, Closed> {
        let Link { core, visitor, ledger, .. } = self.link;
        let listener = visitor.listener;
        let mut known = HashMap::new();
        for _ in 0..limits::GATEWAY_QUESTION_ROUNDS {
            if core.config.authorizer {
                break;
            }
            let view = core.views.load();
            let Some(addresses) = view.addresses.get(listener) else { break };
            if view.logins.get(listener).is_none_or(|wanted| *wanted) {
                break;
            }
            let question = Question {
                image: &view.image,
                addresses,
                key,
                version: start.version,
                body: body.clone(),
                auto_create_topics: core.config.auto_create_topics,
                missing: &known,
            };
            match core.answers.answer(&question)? {
                Answer::Reply(reply) => {
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
        let mut version = start.version;
        if core.relays() {
            let highest = core.versions.highest(id, key);
            if key == ApiKey::Metadata {
                version = version.min(highest.unwrap_or(limits::GATEWAY_METADATA_ASSUMED));
            } else if highest.is_some_and(|highest| version > highest)
                || key == ApiKey::DescribeTopicPartitions
            {
                return Err(Closed::Refused { key: start.key, version });
            }
        }
        let rewrite = self.rewrite(key, version, start.version);
        self.link.ledger.owe(Owed::Upstream { correlation: start.correlation, rewrite });
        let Some(upstream) = &mut self.upstream else { return Err(Closed::UpstreamEnded) };
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

/// Whether a request may be answered here. In direct mode only what brokers have is.
fn answered(relay: bool, key: ApiKey, version: i16) -> bool {
    let only_relayed = key == ApiKey::DescribeTopicPartitions
        || key == ApiKey::Metadata && version > limits::GATEWAY_METADATA_ASSUMED;
    ANSWERED.iter().any(|api| api.key == key && api.serves(version)) && (relay || !only_relayed)
}

/// The length of the frame at the front, once it is there.
fn length(input: &[u8], max: usize) -> Result<Option<usize>, BadFrame> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(0) | Err(_) => Err(BadFrame::Empty(length)),
        Ok(length) if length > max => Err(BadFrame::TooLong { length, max }),
        Ok(length) => Ok(Some(length)),
    }
}

fn api_versions_request(version: i16, mut body: Bytes) -> Result<ApiVersionsRequest, Closed> {
    if let Some(schema) = schema::of(ApiKey::ApiVersions) {
        guard::check(schema, version, &body)?;
    }
    ApiVersionsRequest::decode(&mut body, version)
        .map_err(|_| Closed::Header(guard::Refused::Truncated))
}
