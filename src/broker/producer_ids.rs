//! Producer ids: blocks of a thousand, taken through `/latest_producer_id_block`.

use std::ops::Range;

use kafka_protocol::ResponseError;
use tokio::sync::Mutex;
use zookeeper_client::{Client, Error};

use crate::cluster::client::{SharedSession, is_unknown};
use crate::cluster::layout::ids::ProducerIdBlock;
use crate::cluster::layout::paths::PRODUCER_ID_BLOCK;
use crate::cluster::{AdminError, reader};
use crate::limits;

/// Hands out producer ids, each once in the life of the cluster.
#[derive(Debug)]
pub struct ProducerIds {
    broker: i32,
    session: SharedSession,
    left: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// Takes blocks for this broker through this session. The first is taken when it is needed.
    pub fn new(broker: i32, session: SharedSession) -> Self {
        ProducerIds { broker, session, left: Mutex::new(0..0) }
    }

    /// The next producer id.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` while the coordinator can't be reached, which clients retry.
    pub async fn next(&self) -> Result<i64, AdminError> {
        let mut left = self.left.lock().await;
        if let Some(id) = left.next() {
            return Ok(id);
        }
        let taken = tokio::time::timeout(limits::PRODUCER_ID_TIMEOUT, self.take_block()).await;
        let retry =
            |message: String| AdminError::new(ResponseError::CoordinatorLoadInProgress, message);
        *left = taken
            .map_err(|_| retry("the coordinator can't be reached".to_owned()))?
            .map_err(|error| retry(error.to_string()))?;
        left.next().ok_or_else(|| retry("the block of producer ids is empty".to_owned()))
    }

    async fn take_block(&self) -> Result<Range<i64>, Error> {
        loop {
            let client = self.session.wait().await;
            match self.try_take(&client).await {
                Ok(Some(block)) => return Ok(block.start..block.end.saturating_add(1)),
                // Another broker was quicker.
                Ok(None) => {}
                // A block that was taken without our knowing stays unused.
                Err(error) if is_unknown(&error) => {
                    drop(client);
                    tokio::time::sleep(limits::SESSION_BACKOFF_MIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_take(&self, client: &Client) -> Result<Option<ProducerIdBlock>, Error> {
        let wrong = |reason: String| {
            let reason = format!("{PRODUCER_ID_BLOCK}: {reason}");
            tracing::error!(reason, "no producer ids can be handed out");
            Error::UnexpectedError(reason)
        };
        let Some(znode) = reader::read(client, PRODUCER_ID_BLOCK).await? else {
            let options = self.session.acls().persistent(PRODUCER_ID_BLOCK);
            return match client.create(PRODUCER_ID_BLOCK, b"", &options).await {
                Ok(_) | Err(Error::NodeExists) => Ok(None),
                Err(error) => Err(error),
            };
        };
        let last =
            ProducerIdBlock::decode(&znode.data).map_err(|error| wrong(error.to_string()))?;
        let block = match last {
            None => ProducerIdBlock::first(self.broker),
            Some(last) => last
                .next(self.broker)
                .ok_or_else(|| wrong("every producer id has been used".to_owned()))?,
        };
        match client.set_data(PRODUCER_ID_BLOCK, &block.encode(), Some(znode.version)).await {
            Ok(_) => Ok(Some(block)),
            Err(Error::BadVersion | Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
