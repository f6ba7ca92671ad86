//! Writes a client's answers in the order of its requests: those made here, and the upstream's.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, DescribeTopicPartitionsRequest, MetadataResponse};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::connection::{Closed, Link};
use super::owed::{FromUpstream, Front, Then};
use super::rewrite::{self, Failed, Rewrite, Strangers};
use super::{described, held};
use crate::kafka::api::HandlerError;
use crate::kafka::wire::frame::LENGTH_BYTES;
use crate::kafka::wire::output::Output;
use crate::kafka::wire::{answer_schema, guard};
use crate::limits;
use crate::net::splice::{Broken, Splice};
use crate::net::stream::{ReadHalf, WriteHalf};

/// Length and correlation id: what every answer begins with.
const HEAD: usize = LENGTH_BYTES + 4;

/// Writes until everything is answered and no more requests come, or nothing more can be answered.
pub(super) async fn run(link: &Link, client: WriteHalf) -> Result<(), Closed> {
    let replies = Replies {
        link,
        client,
        upstream: None,
        input: BytesMut::new(),
        room: limits::GATEWAY_READ_MIN,
        passing: 0,
        output: Output::default(),
        held: None,
        until: None,
    };
    replies.run().await
}

struct Replies<'a> {
    link: &'a Link,
    client: WriteHalf,
    upstream: Option<ReadHalf>,
    input: BytesMut,
    room: usize,
    /// Bytes of the answer that is being passed on, which are not read yet.
    passing: usize,
    output: Output,
    held: Option<OwnedSemaphorePermit>,
    /// When the answer that is held must be there.
    until: Option<Instant>,
}

/// What is to be done once what is ready is written.
enum Next {
    /// Look again.
    Look,
    /// More bytes of the upstream are needed, or another answer.
    Wait,
    /// The whole answer will be held.
    Hold(usize),
    /// A whole answer is there, to be made into another.
    Whole(usize, Change),
    Fail(Closed),
}

impl Replies<'_> {
    async fn run(mut self) -> Result<(), Closed> {
        loop {
            if let Some(upstream) = self.link.ledger.take_answers() {
                self.upstream = Some(upstream);
                self.input = BytesMut::new();
            }
            let (pass, next) = self.look();
            self.write(pass).await?;
            match next {
                Next::Look => {}
                Next::Hold(length) => {
                    self.held = held::hold(&self.link.core.answers_held, length).await;
                    self.until = Some(Instant::now() + limits::GATEWAY_HELD_PATIENCE);
                }
                Next::Whole(length, change) => self.change(length, change).await?,
                Next::Wait => {
                    if self.link.ledger.is_settled() && self.passing == 0 {
                        return self.goodbye().await;
                    }
                    self.wait().await?;
                }
                Next::Fail(reason) => return Err(reason),
            }
        }
    }

    /// How many of the upstream's bytes may be passed on, and what comes then. Answers made here
    /// are put into the output when nothing stands before them.
    fn look(&mut self) -> (usize, Next) {
        let mut pass = 0;
        loop {
            let some = self.passing.min(self.input.len() - pass);
            pass += some;
            self.passing -= some;
            if self.passing > 0 {
                return (pass, Next::Wait);
            }
            if !self.output.is_empty() && self.output.len() >= limits::KAFKA_WRITE_BURST_BYTES {
                return (pass, Next::Look);
            }
            let answer = &self.input[pass..];
            if pass > 0 && self.link.ledger.here_is_next() {
                return (pass, Next::Look);
            }
            match self.link.ledger.front() {
                Front::Nothing if answer.is_empty() => return (pass, Next::Wait),
                Front::Nothing => return (pass, Next::Fail(Closed::WrongAnswer)),
                Front::Here { key, start, reply } => {
                    if let Err(error) = self.output.push(key, start, reply) {
                        let error = HandlerError::Encoding(error.to_string());
                        return (pass, Next::Fail(error.into()));
                    }
                }
                Front::Upstream(FromUpstream { correlation, then }) => {
                    let length = match begin(answer, correlation) {
                        Ok(Some(length)) => length,
                        Ok(None) => return (pass, Next::Wait),
                        Err(reason) => return (pass, Next::Fail(reason)),
                    };
                    if !self.output.is_empty() {
                        return (0, Next::Look);
                    }
                    let change = match then {
                        Then::Rewrite(rewrite) => Change::Addresses(rewrite),
                        Then::Describe(version, request) => Change::Describe(version, request),
                        Then::Pass => {
                            self.link.ledger.begun();
                            self.passing = LENGTH_BYTES + length;
                            continue;
                        }
                        Then::Own { kept } => {
                            if length > limits::GATEWAY_OWN_BYTES_MAX {
                                return (pass, Next::Fail(Closed::TooLong(length)));
                            }
                            let Some(whole) = answer.get(LENGTH_BYTES..LENGTH_BYTES + length)
                            else {
                                return (pass, Next::Wait);
                            };
                            if pass > 0 {
                                return (pass, Next::Look);
                            }
                            if kept {
                                *self.link.own.lock() = Some(Bytes::copy_from_slice(whole));
                            }
                            self.input.advance(LENGTH_BYTES + length);
                            self.link.ledger.begun();
                            continue;
                        }
                        Then::Login(part) => {
                            if length > limits::GATEWAY_LOGIN_BYTES_MAX {
                                return (pass, Next::Fail(Closed::TooLong(length)));
                            }
                            let Some(whole) = answer.get(LENGTH_BYTES..LENGTH_BYTES + length)
                            else {
                                return (pass, Next::Wait);
                            };
                            // The client must not have the answer before it is known here who it is.
                            let now = Instant::now();
                            if self.link.login.lock().answer(part, whole, now).is_err() {
                                return (pass, Next::Fail(Closed::Unfollowed));
                            }
                            self.link.ledger.begun();
                            self.passing = LENGTH_BYTES + length;
                            continue;
                        }
                    };
                    let (longest, copies) = match change {
                        // The answer, and what it is rewritten to.
                        Change::Addresses(_) => (limits::GATEWAY_ANSWER_BYTES_MAX, 2),
                        Change::Describe(..) => {
                            (limits::GATEWAY_DESCRIBED_BYTES_MAX, limits::GATEWAY_DECODED_COPIES)
                        }
                    };
                    if length > longest {
                        return (pass, Next::Fail(Closed::TooLong(length)));
                    }
                    if self.held.is_none() && length > limits::GATEWAY_SMALL_BYTES {
                        return (pass, Next::Hold(copies * length));
                    }
                    if answer.len() < LENGTH_BYTES + length {
                        return (pass, Next::Wait);
                    }
                    return (pass, Next::Whole(length, change));
                }
            }
        }
    }

    /// Writes what was made here, then so many of the upstream's bytes: only one of them is there.
    async fn write(&mut self, pass: usize) -> Result<(), Closed> {
        let idle = self.link.idle_max();
        if !self.output.is_empty() {
            let written = timeout(idle, self.output.write_to(&mut self.client)).await;
            written.map_err(|_| Closed::Stuck)?.map_err(Closed::Client)?;
            self.flush().await?;
            self.link.moved();
        }
        let mut rest = pass;
        while rest > 0 {
            let written = timeout(idle, self.client.write(&self.input[..rest])).await;
            let written = written.map_err(|_| Closed::Stuck)?.map_err(Closed::Client)?;
            if written == 0 {
                return Err(Closed::Client(std::io::ErrorKind::WriteZero.into()));
            }
            self.input.advance(written);
            rest -= written;
            self.link.moved();
        }
        if pass > 0 {
            self.flush().await?;
        }
        self.link.core.metrics.sent.increment(pass as u64);
        Ok(())
    }

    /// Sends what TLS still holds.
    async fn flush(&mut self) -> Result<(), Closed> {
        let flushed = timeout(self.link.idle_max(), self.client.flush()).await;
        flushed.map_err(|_| Closed::Stuck)?.map_err(Closed::Client)
    }

    /// Tells the client that nothing more comes, after all that was written.
    async fn goodbye(&mut self) -> Result<(), Closed> {
        let said = timeout(limits::GATEWAY_LINGER, self.client.shutdown()).await;
        said.map_err(|_| Closed::Stuck)?.map_err(Closed::Client)
    }

    /// Waits for bytes of the upstream or another answer.
    async fn wait(&mut self) -> Result<(), Closed> {
        if self.passing >= limits::GATEWAY_SPLICE_MIN && self.splice().await? {
            return Ok(());
        }
        let ledger = &self.link.ledger;
        let Some(upstream) = &mut self.upstream else {
            if ledger.is_abandoned() {
                return Err(Closed::UpstreamEnded);
            }
            ledger.filled().await;
            return Ok(());
        };
        tokio::select! {
            biased;
            // An error shows as an end.
            length = upstream.read_into(&mut self.input, self.room) => self.got(length.unwrap_or(0)),
            () = ledger.filled() => Ok(()),
            () = sleep_until(self.until.unwrap_or_else(Instant::now)), if self.until.is_some() => {
                Err(Closed::Unfinished)
            }
        }
    }

    /// Has the kernel pass on the rest of an answer, which saves half of its cost where a broker sends
    /// from its page cache, as brokers do; for requests, which come from a client's memory, reading and
    /// writing costs no more. False if that is not possible.
    async fn splice(&mut self) -> Result<bool, Closed> {
        let Some(upstream) = self.upstream.as_ref().filter(|_| self.input.is_empty()) else {
            return Ok(false);
        };
        let Some(splice) = Splice::new(upstream, &self.client) else { return Ok(false) };
        while self.passing > 0 {
            let some = timeout(self.link.idle_max(), splice.some(self.passing)).await;
            let length = some.map_err(|_| Closed::Stuck)?.map_err(|broken| match broken {
                Broken::From(error) => Closed::Upstream(error),
                Broken::To(error) => Closed::Client(error),
            })?;
            if length == 0 {
                return Err(Closed::UpstreamEnded);
            }
            self.passing -= length;
            self.link.moved();
            self.link.core.metrics.sent.increment(length as u64);
            tokio::task::yield_now().await;
        }
        // The next answer's beginning is read, and no more of it than need be.
        self.room = limits::GATEWAY_READ_MIN;
        Ok(true)
    }

    fn got(&mut self, length: usize) -> Result<(), Closed> {
        if length == 0 {
            self.upstream = None;
            let unharmed = self.link.ledger.gone();
            return if unharmed && self.passing == 0 && self.input.is_empty() {
                tracing::debug!("the upstream ended with nothing owed");
                Ok(())
            } else {
                Err(Closed::UpstreamEnded)
            };
        }
        if length >= self.room {
            self.room = (self.room * 2).min(limits::GATEWAY_READ_MAX);
        } else if length < self.room / 4 {
            self.room = (self.room / 2).max(limits::GATEWAY_READ_MIN);
        }
        Ok(())
    }

    /// Writes what a whole answer is changed to.
    async fn change(&mut self, length: usize, change: Change) -> Result<(), Closed> {
        self.link.ledger.begun();
        self.until = None;
        let mut frame = self.input.split_to(LENGTH_BYTES + length).freeze();
        frame.advance(LENGTH_BYTES);
        let answer = match change {
            Change::Addresses(what) => self.rewritten(&frame, what).await?,
            Change::Describe(version, request) => page(version, &frame, &request)?,
        };
        drop(frame);
        // Half of it was for what came.
        let held = self.held.take();
        let _held = held.and_then(|mut held| held.split(held.num_permits() / 2));
        let mut head = BytesMut::with_capacity(LENGTH_BYTES);
        head.put_i32(i32::try_from(answer.len()).map_err(|_| Closed::TooLong(answer.len()))?);
        let mut whole = head.chain(answer);
        let idle = self.link.idle_max();
        let seconds = whole.remaining() / limits::GATEWAY_READ_RATE_MIN;
        let patience = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
        let until = Instant::now() + limits::GATEWAY_HELD_PATIENCE + patience;
        while whole.has_remaining() {
            let until = Instant::now().checked_add(idle).map_or(until, |idle| until.min(idle));
            let written = timeout_at(until, self.client.write_buf(&mut whole)).await;
            if written.map_err(|_| Closed::Stuck)?.map_err(Closed::Client)? == 0 {
                return Err(Closed::Client(std::io::ErrorKind::WriteZero.into()));
            }
            self.link.moved();
        }
        self.flush().await
    }

    /// The answer with the gateway's addresses. The upstream may know of a broker before the image
    /// does: it is waited for a little.
    async fn rewritten(&self, frame: &Bytes, what: Rewrite) -> Result<BytesMut, Closed> {
        let Link { core, visitor, .. } = self.link;
        let mut changed = core.views.changed();
        let deadline = Instant::now() + limits::GATEWAY_SHOWN_PATIENCE;
        loop {
            let late = Instant::now() >= deadline;
            let strangers = if late { Strangers::LeaveOut } else { Strangers::Refuse };
            let view = core.views.load();
            let book = view.addresses.get(visitor.listener).ok_or(Failed::Malformed)?;
            match rewrite::rewrite(what, frame, book, strangers) {
                Ok(answer) => return Ok(answer),
                Err(Failed::Unknown(broker)) => {
                    tracing::debug!(broker, "an upstream names a broker that has no address here");
                    let _ = timeout_at(deadline, changed.changed()).await;
                }
                Err(failed) => return Err(failed.into()),
            }
        }
    }
}

/// How an answer is changed.
enum Change {
    Addresses(Rewrite),
    Describe(i16, Arc<DescribeTopicPartitionsRequest>),
}

/// The page of `DescribeTopicPartitions`, with its correlation id and header, from an answer to
/// `Metadata`.
fn page(
    version: i16,
    frame: &Bytes,
    request: &DescribeTopicPartitionsRequest,
) -> Result<BytesMut, Closed> {
    let malformed = |_| Failed::Malformed;
    let mut body = frame.slice(HEAD - LENGTH_BYTES..);
    if ApiKey::Metadata.response_header_version(version) >= 1 {
        body.advance(guard::skip_tagged_fields(&body).map_err(|_| Failed::Malformed)?);
    }
    guard::check_answer(&answer_schema::METADATA, version, &body).map_err(|_| Failed::Malformed)?;
    let metadata = MetadataResponse::decode(&mut body, version).map_err(malformed)?;
    let mut answer = BytesMut::new();
    answer.put_slice(&frame[..HEAD - LENGTH_BYTES]);
    answer.put_u8(0);
    described::page(metadata, request).encode(&mut answer, 0).map_err(malformed)?;
    Ok(answer)
}

/// The length of the upstream's answer at the front, which must be the one that is owed.
fn begin(answer: &[u8], correlation: Option<i32>) -> Result<Option<usize>, Closed> {
    let Some(correlation) = correlation else {
        let Some(mut head) = answer.get(..LENGTH_BYTES) else { return Ok(None) };
        return usize::try_from(head.get_i32()).map(Some).map_err(|_| Closed::WrongAnswer);
    };
    let Some(mut head) = answer.get(..HEAD) else { return Ok(None) };
    let length = usize::try_from(head.get_i32()).map_err(|_| Closed::WrongAnswer)?;
    if length < HEAD - LENGTH_BYTES || head.get_i32() != correlation {
        return Err(Closed::WrongAnswer);
    }
    Ok(Some(length))
}
