//! A client's login to its upstream, followed from outside: who it is once the broker has said so.
//! Pure.
//!
//! Requests and answers pass unchanged; this notes what they were, in their order. A name is known
//! when the broker took the handshake, the token that claims the name, and the last token of that
//! mechanism. Whatever does not fit leaves the name unknown for good.

use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use tokio::time::Instant;

use super::sasl::{self, Answered, Mechanism};
use crate::kafka::security::Principal;

/// What an answer of the upstream's says to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `SaslHandshake`.
    Handshake,
    /// `SaslAuthenticate` of this version.
    Token { version: i16 },
    /// A token without a header.
    BareToken,
}

/// What the next frame of a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// A request.
    Request,
    /// A token without a header.
    BareToken,
    /// It depends on the answer to a `SaslHandshake` of version 0.
    Unknown,
}

/// Tokens without a header can't be followed with this mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfollowed;

/// One client's logins, the first and those that renew it (KIP-368).
#[derive(Debug, Default)]
pub(super) struct Login {
    attempt: Option<Attempt>,
    who: Who,
    /// When the broker takes no more requests without another login.
    ends: Option<Instant>,
}

#[derive(Debug, Default)]
enum Who {
    /// Nobody has logged in yet.
    #[default]
    Nobody,
    /// Somebody has.
    Known(Principal),
    /// Somebody may have.
    Unknown,
}

/// A login that has begun and is not done.
#[derive(Debug)]
struct Attempt {
    mechanism: Mechanism,
    /// Whether its tokens come without a header.
    bare: bool,
    /// Whether the broker took the handshake.
    accepted: bool,
    sent: usize,
    answered: usize,
    /// Whose name the first token claims.
    claim: Option<Principal>,
}

impl Login {
    /// Notes a `SaslHandshake`; `None` for a mechanism that can't be read.
    pub(super) fn handshake(&mut self, version: i16, mechanism: Option<Mechanism>) {
        if self.attempt.is_some() {
            // No client does this, and no broker takes it.
            self.who = Who::Unknown;
        }
        self.attempt = Some(Attempt {
            mechanism: mechanism.unwrap_or(Mechanism::Other),
            bare: version == 0,
            accepted: false,
            sent: 0,
            answered: 0,
            claim: None,
        });
    }

    /// Notes a token; `None` for one that was not read.
    pub(super) fn token(&mut self, token: Option<&[u8]>) {
        let Some(attempt) = &mut self.attempt else { return };
        if attempt.sent == 0 {
            let name = token.and_then(|token| attempt.mechanism.name(token));
            attempt.claim = name.map(|name| Principal::user(&name));
        }
        attempt.sent = attempt.sent.saturating_add(1);
    }

    /// Notes an answer, from its correlation id on, or from the first byte of a bare token.
    ///
    /// # Errors
    /// Bare tokens follow that nobody here knows the end of.
    pub(super) fn answer(
        &mut self,
        part: Part,
        answer: &[u8],
        now: Instant,
    ) -> Result<(), Unfollowed> {
        match part {
            Part::Handshake => return self.handshake_answer(sasl::error(answer)),
            Part::Token { version } => self.token_answer(sasl::answered(version, answer), now),
            Part::BareToken => {
                let whole = Answered { error: 0, token: answer, lifetime_ms: 0 };
                self.token_answer(Some(whole), now);
            }
        }
        Ok(())
    }

    fn handshake_answer(&mut self, error: Option<i16>) -> Result<(), Unfollowed> {
        let Some(attempt) = &mut self.attempt else { return Ok(()) };
        if error != Some(0) {
            // The broker goes on as before: a login that holds goes on to hold.
            self.attempt = None;
            return Ok(());
        }
        attempt.accepted = true;
        if attempt.bare && attempt.mechanism == Mechanism::Other {
            return Err(Unfollowed);
        }
        Ok(())
    }

    fn token_answer(&mut self, answered: Option<Answered<'_>>, now: Instant) {
        let error = answered.map(|answered| answered.error);
        let Some(attempt) = &mut self.attempt else {
            if error.is_none_or(|error| error == 0) {
                self.who = Who::Unknown;
            }
            return;
        };
        attempt.answered += 1;
        let Some(answered) = answered.filter(|answered| answered.error == 0) else {
            self.attempt = None;
            if error.is_none() {
                self.who = Who::Unknown;
            }
            return;
        };
        let last = attempt.mechanism.tokens();
        if last.is_some_and(|last| attempt.answered < last) {
            return;
        }
        let lifetime = u64::try_from(answered.lifetime_ms).unwrap_or(0);
        let lifetime = (lifetime > 0).then(|| Duration::from_millis(lifetime));
        self.ends = lifetime.and_then(|lifetime| now.checked_add(lifetime));
        let proved = attempt.accepted
            && last == Some(attempt.answered)
            && attempt.sent == attempt.answered
            && answered.proves(attempt.mechanism);
        let claim = attempt.claim.take().filter(|_| proved);
        let taken = std::mem::take(&mut self.who);
        self.who = match (taken, claim) {
            (Who::Nobody, Some(name)) => Who::Known(name),
            // A broker lets nobody become another.
            (Who::Known(before), Some(name)) if before == name => Who::Known(name),
            _ => Who::Unknown,
        };
        if last.is_some() {
            self.attempt = None;
        }
    }

    /// Whose requests these are, where a broker has said so and no other login is on its way.
    pub(super) fn principal(&self) -> Option<&Principal> {
        match (&self.who, &self.attempt) {
            (Who::Known(principal), None) => Some(principal),
            _ => None,
        }
    }

    /// What the next frame is.
    pub(super) fn next_frame(&self) -> Frame {
        match &self.attempt {
            Some(attempt) if attempt.bare && !attempt.accepted => Frame::Unknown,
            Some(Attempt { bare: true, mechanism, sent, .. })
                if mechanism.tokens().is_none_or(|last| *sent < last) =>
            {
                Frame::BareToken
            }
            _ => Frame::Request,
        }
    }

    /// Whether somebody has logged in and no other login is on its way, so that a request of the
    /// gateway's own may stand between the client's.
    pub(super) fn is_done(&self) -> bool {
        self.attempt.is_none() && !matches!(self.who, Who::Nobody)
    }

    /// Whether the login's time is over, so that a broker closes the connection at a request that is
    /// not for another login (`SocketServer.processCompletedReceives`).
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now > ends)
    }
}

/// Whether a request is part of a login.
pub(super) fn is_part(key: ApiKey) -> bool {
    matches!(key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate)
}

#[cfg(test)]
#[path = "login/tests.rs"]
mod tests;
