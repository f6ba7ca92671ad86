//! What all connections together hold of whole requests and answers: a budget of bytes.
//!
//! A request has a share for what has arrived of it, and for a time; when either is used up it is passed
//! on instead of being held. So nobody waits for a client that sends a byte a second.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limits;

const UNIT: usize = 1024;

/// A budget that is all there.
pub(super) fn budget() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits::GATEWAY_HELD_BYTES_MAX / UNIT))
}

/// Waits until so many bytes may be held. `None` only where there is no budget any more.
pub(super) async fn hold(budget: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let units = bytes.min(limits::GATEWAY_HELD_BYTES_MAX).div_ceil(UNIT);
    budget.clone().acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).await.ok()
}

/// What one request has of a budget.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    units: usize,
    /// When it must be whole.
    pub until: Instant,
}

impl Share {
    /// A share without a byte.
    pub(super) fn new(budget: &Arc<Semaphore>, now: Instant) -> Share {
        let until = now + limits::GATEWAY_HELD_PATIENCE;
        Share { budget: budget.clone(), held: None, units: 0, until }
    }

    /// Makes it so many bytes. False if the budget doesn't have them, or the time is over: then
    /// nothing may be held.
    pub(super) fn grow(&mut self, bytes: usize, now: Instant) -> bool {
        if now >= self.until {
            return false;
        }
        let more = bytes.div_ceil(UNIT).saturating_sub(self.units);
        if more == 0 {
            return true;
        }
        let Ok(more_units) = u32::try_from(more) else { return false };
        let Ok(permit) = self.budget.clone().try_acquire_many_owned(more_units) else {
            return false;
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        self.units += more;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_is_for_what_has_arrived_and_for_a_time() {
        let budget = budget();
        let now = Instant::now();
        let all = budget.available_permits();
        let mut slow: Vec<Share> = (0..1_000).map(|_| Share::new(&budget, now)).collect();
        assert!(slow.iter_mut().all(|share| share.grow(100, now)), "a byte takes no room");
        assert_eq!(budget.available_permits(), all - 1_000);
        let mut quick = Share::new(&budget, now);
        assert!(quick.grow(limits::GATEWAY_QUESTION_BYTES_MAX, now));
        assert!(!quick.grow(limits::GATEWAY_HELD_BYTES_MAX, now), "not there");
        assert!(quick.grow(1, now), "what it has it keeps");
        drop(slow);
        drop(quick);
        assert_eq!(budget.available_permits(), all);
        let mut late = Share::new(&budget, now);
        assert!(!late.grow(1, now + limits::GATEWAY_HELD_PATIENCE));
    }
}
