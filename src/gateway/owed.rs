//! The answers that a client is owed, in the order of its requests.
//!
//! The half of a connection that reads requests puts in, the half that writes answers takes out.
//! An answer made here waits until everything before it is written.

use std::collections::VecDeque;
use std::sync::Arc;

use kafka_protocol::messages::{ApiKey, DescribeTopicPartitionsRequest};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::login::Part;
use super::rewrite::Rewrite;
use crate::kafka::api::Reply;
use crate::kafka::wire::header::Start;
use crate::limits;
use crate::net::stream::ReadHalf;

/// One answer that is owed.
#[derive(Debug)]
pub(super) enum Owed {
    /// Made here.
    Here { key: ApiKey, start: Start, reply: Reply },
    /// To come from the upstream.
    Upstream(FromUpstream),
}

/// An answer that comes from the upstream.
#[derive(Debug, Clone)]
pub(super) struct FromUpstream {
    /// Its correlation id; `None` for the answer to a token without a header.
    pub correlation: Option<i32>,
    pub then: Then,
}

/// What becomes of an upstream's answer.
#[derive(Debug, Clone)]
pub(super) enum Then {
    /// It is passed on as it comes.
    Pass,
    /// It is passed on with other addresses.
    Rewrite(Rewrite),
    /// It is one to `Metadata` in this version, and a page of `DescribeTopicPartitions` is made of it.
    Describe(i16, Arc<DescribeTopicPartitionsRequest>),
    /// It is read, and passed on.
    Login(Part),
    /// The gateway asked, not the client. Whether it waits for the answer.
    Own { kept: bool },
}

/// What stands first.
#[derive(Debug)]
pub(super) enum Front {
    Nothing,
    Here { key: ApiKey, start: Start, reply: Reply },
    Upstream(FromUpstream),
}

/// What one client is owed, and the upstream that it is owed by.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
    /// An answer or an upstream was put in, or nothing more will be.
    filled: Notify,
    /// There is room again.
    room: Notify,
    /// The upstream is gone.
    lost: Notify,
}

#[derive(Debug, Default)]
struct State {
    owed: VecDeque<Owed>,
    by_upstream: usize,
    bytes_here: usize,
    /// The upstream's answers, for the half that writes.
    answers: Option<ReadHalf>,
    open: bool,
    /// Records went to the upstream that it does not answer for, and nothing later was answered yet.
    unconfirmed: bool,
    /// The client logs in to the upstream: another one would not know it.
    login: bool,
    finished: bool,
    abandoned: bool,
}

impl Ledger {
    /// Owes one more answer.
    pub(super) fn owe(&self, owed: Owed) {
        let mut state = self.state.lock();
        match &owed {
            Owed::Here { reply, .. } => state.bytes_here += reply.len(),
            Owed::Upstream(_) => state.by_upstream += 1,
        }
        state.owed.push_back(owed);
        drop(state);
        self.filled.notify_one();
    }

    /// Notes that the upstream gets a request that has no answer.
    pub(super) fn unanswered(&self) {
        self.state.lock().unconfirmed = true;
    }

    /// Notes that the client logs in to the upstream.
    pub(super) fn login(&self) {
        self.state.lock().login = true;
    }

    /// Whether another request may be read.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.owed.len() < limits::GATEWAY_OWED_MAX
            && (state.bytes_here < limits::GATEWAY_OWED_BYTES_MAX || state.owed.is_empty())
    }

    /// Waits until this holds, which answers that are taken change.
    pub(super) async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let room = self.room.notified();
            if holds() {
                return;
            }
            room.await;
        }
    }

    /// Hands over the answers of a new upstream.
    pub(super) fn opened(&self, answers: ReadHalf) {
        let mut state = self.state.lock();
        state.answers = Some(answers);
        state.open = true;
        drop(state);
        self.filled.notify_one();
    }

    /// Whether the upstream is there, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().open
    }

    /// Waits until an upstream is gone. It may be an earlier one than [`Ledger::is_open`] tells of.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Notes that no more requests come.
    pub(super) fn finish(&self) {
        self.state.lock().finished = true;
        self.filled.notify_one();
    }

    /// The answers of a new upstream, once.
    pub(super) fn take_answers(&self) -> Option<ReadHalf> {
        self.state.lock().answers.take()
    }

    /// Takes the first answer if it was made here; says what it is if it comes from the upstream.
    pub(super) fn front(&self) -> Front {
        let mut state = self.state.lock();
        match state.owed.front() {
            None => return Front::Nothing,
            Some(Owed::Upstream(answer)) => return Front::Upstream(answer.clone()),
            Some(Owed::Here { .. }) => {}
        }
        let Some(Owed::Here { key, start, reply }) = state.owed.pop_front() else {
            return Front::Nothing;
        };
        state.bytes_here -= reply.len();
        drop(state);
        self.room.notify_one();
        Front::Here { key, start, reply }
    }

    /// Takes the first answer, which the upstream has begun.
    pub(super) fn begun(&self) {
        let mut state = self.state.lock();
        if state.owed.pop_front().is_some() {
            state.by_upstream -= 1;
        }
        // A broker works off a connection in order: what came before was taken.
        state.unconfirmed = false;
        drop(state);
        self.room.notify_one();
    }

    /// Notes that the upstream is gone. Whether nothing was lost by it, so that another one can
    /// take its place.
    pub(super) fn gone(&self) -> bool {
        let mut state = self.state.lock();
        state.open = false;
        state.answers = None;
        self.lost.notify_one();
        state.by_upstream == 0 && !state.unconfirmed && !state.login
    }

    /// Notes that what the upstream owes can't come any more, unless it is on its way.
    pub(super) fn abandon(&self) {
        self.state.lock().abandoned = true;
        self.filled.notify_one();
    }

    /// Whether nobody opens an upstream any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.lock().abandoned
    }

    /// Whether the first answer was made here.
    pub(super) fn here_is_next(&self) -> bool {
        matches!(self.state.lock().owed.front(), Some(Owed::Here { .. }))
    }

    /// Whether everything is answered, and no more requests come.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.finished && state.owed.is_empty()
    }

    /// Waits until something was put in.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn here(correlation: i32, length: usize) -> Owed {
        let start = Start { key: 3, version: 0, correlation };
        let reply = Reply::Body(Bytes::from(vec![0; length]));
        Owed::Here { key: ApiKey::Metadata, start, reply }
    }

    fn upstream(correlation: i32) -> Owed {
        Owed::Upstream(FromUpstream { correlation: Some(correlation), then: Then::Pass })
    }

    #[test]
    fn answers_are_taken_in_their_order() {
        let ledger = Ledger::default();
        ledger.owe(upstream(1));
        ledger.owe(here(2, 10));
        assert!(!ledger.here_is_next());
        let first =
            |front| matches!(front, Front::Upstream(answer) if answer.correlation == Some(1));
        assert!(first(ledger.front()));
        assert!(first(ledger.front()), "still owed");
        ledger.begun();
        assert!(ledger.here_is_next());
        assert!(matches!(ledger.front(), Front::Here { .. }));
        assert!(matches!(ledger.front(), Front::Nothing));
        assert!(!ledger.is_settled(), "more may come");
        ledger.finish();
        assert!(ledger.is_settled());
    }

    #[test]
    fn what_is_owed_is_bounded_in_number_and_in_bytes() {
        let ledger = Ledger::default();
        for correlation in 0..i32::try_from(limits::GATEWAY_OWED_MAX).unwrap() {
            assert!(ledger.has_room());
            ledger.owe(upstream(correlation));
        }
        assert!(!ledger.has_room());
        ledger.begun();
        assert!(ledger.has_room());

        let ledger = Ledger::default();
        ledger.owe(here(1, limits::GATEWAY_OWED_BYTES_MAX - 1));
        assert!(ledger.has_room());
        ledger.owe(here(2, 1));
        assert!(!ledger.has_room());
        ledger.front();
        assert!(ledger.has_room());
    }

    #[test]
    fn an_upstream_that_ends_is_replaced_only_if_nothing_is_lost() {
        let ledger = Ledger::default();
        assert!(ledger.gone());
        ledger.owe(here(1, 1));
        assert!(ledger.gone(), "what was made here is not lost");
        ledger.owe(upstream(2));
        assert!(!ledger.gone());
        ledger.front();
        ledger.begun();
        assert!(ledger.gone());
        ledger.unanswered();
        assert!(!ledger.gone(), "nobody knows what became of records without an answer");
        ledger.owe(upstream(3));
        ledger.begun();
        assert!(ledger.gone(), "they came before what was answered");
        ledger.login();
        assert!(!ledger.gone(), "another broker would not know the client");
    }
}
