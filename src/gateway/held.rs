//! What all connections together hold of whole requests and answers: a budget of bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
