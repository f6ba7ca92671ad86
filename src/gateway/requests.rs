//! Reads a client's requests: some are answered here (`questions`), the others stream to the upstream.
//!
//! A request that is passed on is read no further than its header (of `Produce`, to its `acks`), and
//! never held: its bytes go on as they come. One that may be answered here is read whole, up to a
//! limit; a longer one is passed on too.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until};

use super::answers::ANSWERED;
use super::connection::{Closed, Link};
use super::held::Share;
use super::login::{self, Frame};
use super::metrics::{self, Open, Outcome};
use super::owed::{FromUpstream, Owed, Then};
use super::produce;
use super::rewrite::Rewrite;
use super::upstream::{self, Reached};
use crate::kafka::security::{Caller, Principal};
use crate::kafka::wire::frame::{BadFrame, LENGTH_BYTES};
use crate::kafka::wire::guard;
use crate::kafka::wire::header::Start;
use crate::limits;
use crate::net::stream::{ReadHalf, WriteHalf};

/// Length, API key, version and correlation id: what every request begins with.
pub(super) const HEAD: usize = LENGTH_BYTES + 8;

/// The reading half of a connection.
pub(super) struct Requests<'a> {
    pub(super) link: &'a Link,
    client: ReadHalf,
    pub(super) input: BytesMut,
    room: usize,
    /// Bytes of the request that is being passed on, which are not read yet.
    pub(super) passing: usize,
    pub(super) upstream: Option<Upstream>,
    held: Option<Share>,
    /// Whether the client has begun a login.
    pub(super) logs_in: bool,
    /// Whether the client has sent something since the upstream was last sent something.
    pub(super) active: bool,
    /// Who asks where brokers want no login.
    pub(super) visitor: Caller,
}

pub(super) struct Upstream {
    pub(super) id: i32,
    pub(super) requests: WriteHalf,
    /// When the gateway's own login is to be renewed.
    pub(super) renew: Option<Instant>,
    /// When something was last sent.
    pub(super) sent: Instant,
    _open: Open,
}

/// What is to be done once the bytes at the front are passed on.
enum Next {
    /// More bytes are needed.
    Read,
    /// The client is owed too much already.
    Room,
    /// Its address has asked for too much.
    Delay(Duration),
    /// A whole request is there.
    Whole(usize, Start, ApiKey),
    /// What comes now depends on the answer to a `SaslHandshake`.
    Handshake,
    /// A whole request of a login is there, or a token without a header.
    Token(usize, Option<(Start, ApiKey)>),
    Fail(Closed),
}

impl<'a> Requests<'a> {
    pub(super) fn new(link: &'a Link, client: ReadHalf) -> Self {
        let principal = link.visitor.certificate.clone().unwrap_or_else(Principal::anonymous);
        Requests {
            link,
            client,
            input: BytesMut::new(),
            room: limits::GATEWAY_READ_MIN,
            passing: 0,
            upstream: None,
            held: None,
            logs_in: false,
            active: false,
            visitor: Caller { principal, host: link.visitor.address.ip() },
        }
    }

    /// Reads until the client has no more to say, or the gateway stops.
    pub(super) async fn run(&mut self) -> Result<(), Closed> {
        loop {
            if self.passing == 0 && !self.input.is_empty() {
                self.renew().await?;
            }
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
                Next::Room => {
                    let ledger = &self.link.ledger;
                    ledger.until(|| ledger.has_room()).await;
                }
                Next::Handshake => {
                    let Link { ledger, login, .. } = self.link;
                    ledger.until(|| login.lock().next_frame() != Frame::Unknown).await;
                }
                Next::Token(length, request) => self.login(length, request).await?,
                Next::Delay(pause) => {
                    metrics::delayed();
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.link.closing.cancelled() => {}
                    }
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
            if let Some(pause) = self.delay().filter(|_| self.input.len() > pass) {
                return (pass, Next::Delay(pause));
            }
            let next = self.decide(pass);
            if matches!(next, Ok(_) | Err(Next::Whole(..) | Next::Token(..))) {
                let rates = &self.link.core.admission.requests;
                rates.charge(self.link.visitor.address.ip(), std::time::Instant::now());
            }
            match next {
                Ok(length) => self.passing = length,
                Err(next) => return (pass, next),
            }
        }
    }

    /// How long nothing is read of this client, since its address has asked for too much.
    fn delay(&self) -> Option<Duration> {
        let rates = &self.link.core.admission.requests;
        if !rates.limited() || self.link.closing.is_cancelled() {
            return None;
        }
        let pause = rates.wait(self.link.visitor.address.ip(), std::time::Instant::now());
        (!pause.is_zero()).then(|| pause.min(limits::GATEWAY_DELAY_MAX))
    }

    /// Looks at the request at `at`: its whole length if it is passed on.
    fn decide(&mut self, at: usize) -> Result<usize, Next> {
        let link = self.link;
        let Link { core, ledger, .. } = link;
        let max = core.config.socket_request_max_bytes;
        let input = &self.input[at..];
        let length = match length(input, max) {
            Ok(Some(length)) => length,
            Ok(None) => return Err(Next::Read),
            Err(bad) => return Err(Next::Fail(bad.into())),
        };
        if self.logs_in {
            match link.login.lock().next_frame() {
                Frame::Request => {}
                Frame::Unknown => return Err(Next::Handshake),
                Frame::BareToken if length > limits::GATEWAY_LOGIN_BYTES_MAX => {
                    return Err(Next::Fail(Closed::TooLong(length)));
                }
                Frame::BareToken if !ledger.has_room() => return Err(Next::Room),
                Frame::BareToken if input.len() < LENGTH_BYTES + length => return Err(Next::Read),
                Frame::BareToken => return Err(Next::Token(length, None)),
            }
        }
        if length < HEAD - LENGTH_BYTES {
            return Err(Next::Fail(guard::Refused::Truncated.into()));
        }
        let Some(mut head) = input.get(LENGTH_BYTES..HEAD) else { return Err(Next::Read) };
        let start =
            Start { key: head.get_i16(), version: head.get_i16(), correlation: head.get_i32() };
        let Ok(key) = ApiKey::try_from(start.key) else {
            return Err(Next::Fail(Closed::UnknownApi(start.key)));
        };
        if self.logs_in && !login::is_part(key) && link.login.lock().is_over(Instant::now()) {
            core.metrics.expired();
            return Err(Next::Fail(Closed::SessionOver));
        }
        if key != ApiKey::ApiVersions && !core.versions.rules().allow(start.key, start.version) {
            core.metrics.request(key, Outcome::Refused);
            let (key, version) = (start.key, start.version);
            return Err(Next::Fail(Closed::Refused { key, version }));
        }
        if !ledger.has_room() {
            return Err(Next::Room);
        }
        if login::is_part(key) {
            return self.decide_login(length, start, key, input.len());
        }
        let here = key == ApiKey::ApiVersions || answered(core.relays(), key, start.version);
        if here && length <= limits::GATEWAY_QUESTION_BYTES_MAX {
            let small = length <= limits::GATEWAY_SMALL_BYTES;
            if !small && key == ApiKey::ApiVersions {
                return Err(Next::Fail(Closed::TooLong(length)));
            }
            let now = Instant::now();
            let share = || Share::new(&core.requests_held, now);
            if small || self.held.get_or_insert_with(share).grow(input.len(), now) {
                let whole = input.len() >= LENGTH_BYTES + length;
                return Err(if whole { Next::Whole(length, start, key) } else { Next::Read });
            }
            // Held no longer: the upstream reads it as it comes.
            self.held = None;
            return self.stream(at, length, start, key);
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
        let then = self.then(key, start.version, start.version);
        ledger.owe(Owed::Upstream(FromUpstream { correlation: Some(start.correlation), then }));
        core.metrics.request(key, Outcome::Passed);
        Ok(LENGTH_BYTES + length)
    }

    /// Passes on a question that is not held, in a version that brokers kept in `ZooKeeper` have.
    fn stream(
        &mut self,
        at: usize,
        length: usize,
        start: Start,
        key: ApiKey,
    ) -> Result<usize, Next> {
        let Link { core, ledger, .. } = self.link;
        let mut version = start.version;
        if core.relays() && key == ApiKey::DescribeTopicPartitions {
            return Err(Next::Fail(Closed::Refused { key: start.key, version }));
        }
        if core.relays() && key == ApiKey::Metadata {
            version = version.min(limits::GATEWAY_METADATA_ASSUMED);
            let field = at + LENGTH_BYTES + 2;
            self.input[field..field + 2].copy_from_slice(&version.to_be_bytes());
        }
        let then = self.then(key, version, start.version);
        ledger.owe(Owed::Upstream(FromUpstream { correlation: Some(start.correlation), then }));
        core.metrics.request(key, Outcome::Passed);
        Ok(LENGTH_BYTES + length)
    }

    /// Looks at a request of a login, of which `there` bytes are there: it is read whole, unless no
    /// broker takes one so long.
    fn decide_login(
        &mut self,
        length: usize,
        start: Start,
        key: ApiKey,
        there: usize,
    ) -> Result<usize, Next> {
        if length > limits::GATEWAY_LOGIN_BYTES_MAX {
            return Err(Next::Fail(Closed::TooLong(length)));
        }
        if there < LENGTH_BYTES + length {
            return Err(Next::Read);
        }
        self.logs_in = self.link.core.own_login(self.link.visitor.listener).is_none();
        Err(Next::Token(length, Some((start, key))))
    }

    /// What becomes of the answer of an upstream.
    pub(super) fn then(&self, key: ApiKey, version: i16, asked: i16) -> Then {
        let names =
            matches!(key, ApiKey::Metadata | ApiKey::DescribeCluster | ApiKey::FindCoordinator);
        if names && self.link.core.relays() {
            Then::Rewrite(Rewrite { key, version, asked })
        } else {
            Then::Pass
        }
    }

    /// Sends bytes over an upstream that is opened if it isn't there.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.open().await?;
        let Some(upstream) = &mut self.upstream else { return Err(Closed::UpstreamEnded) };
        upstream.requests.write_all(bytes).await.map_err(Closed::Upstream)?;
        upstream.requests.flush().await.map_err(Closed::Upstream)?;
        upstream.sent = Instant::now();
        self.active = false;
        self.link.core.metrics.received.increment(bytes.len() as u64);
        Ok(())
    }

    /// Passes on bytes at the front, over an upstream that is opened if it isn't there.
    async fn pass(&mut self, length: usize) -> Result<(), Closed> {
        self.open().await?;
        let Some(upstream) = &mut self.upstream else { return Err(Closed::UpstreamEnded) };
        upstream.requests.write_all(&self.input[..length]).await.map_err(Closed::Upstream)?;
        upstream.requests.flush().await.map_err(Closed::Upstream)?;
        upstream.sent = Instant::now();
        self.active = false;
        self.input.advance(length);
        self.link.core.metrics.received.increment(length as u64);
        Ok(())
    }

    /// Makes sure that there is an upstream.
    pub(super) async fn open(&mut self) -> Result<i32, Closed> {
        let Link { core, visitor, ledger, .. } = self.link;
        if let Some(upstream) = &self.upstream
            && ledger.is_open()
        {
            return Ok(upstream.id);
        }
        // One that ended with nothing owed makes room for another.
        self.upstream = None;
        let Reached { id, stream, renew } =
            upstream::connect(core, visitor.listener, visitor.broker).await?;
        tracing::debug!(broker = id, "upstream opened");
        let (answers, requests) = stream.into_split();
        ledger.opened(answers);
        self.upstream = Some(Upstream {
            id,
            requests,
            renew,
            sent: Instant::now(),
            _open: core.metrics.upstream(),
        });
        Ok(id)
    }

    /// Reads more bytes. False at the end of the requests.
    async fn read(&mut self) -> Result<bool, Closed> {
        let closing = &self.link.closing;
        let waiting = self.input.is_empty();
        if waiting && self.passing == 0 && closing.is_cancelled() {
            return Ok(false);
        }
        let held = self.held.as_ref().map(|share| share.until);
        let keep_alive = self.keep_alive_at();
        let timer = [held, keep_alive].into_iter().flatten().min();
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
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {
                if timer == keep_alive {
                    self.keep_alive().await?;
                }
                Ok(true)
            }
        }
    }

    fn got(&mut self, length: usize) -> Result<bool, Closed> {
        self.link.moved();
        self.active = true;
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
