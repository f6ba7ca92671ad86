//! `InitProducerId`: a new producer id for an idempotent producer.
//!
//! Versions: 2 is flexible; 3 lets a producer bring the id and epoch that it has; 4 and 5 only
//! change which errors a transactional producer may be answered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::InitProducerId, "InitProducerId", 0, 5);

/// Answers with an id that no other producer has had, and epoch 0.
///
/// # Errors
/// `INVALID_REQUEST` if only one of id and epoch is given, or the transactional id is empty;
/// `COORDINATOR_NOT_AVAILABLE` for a transactional id, as transactions are not built; what
/// [`crate::broker::ProducerIds::next`] says.
pub async fn handle(context: &RequestContext<'_>, request: InitProducerIdRequest) -> HandlerResult {
    let response = InitProducerIdResponse::default();
    let half_given = (request.producer_id.0 == -1) != (request.producer_epoch == -1);
    let next = match &request.transactional_id {
        _ if half_given => Err(ResponseError::InvalidRequest),
        Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
        Some(_) => Err(ResponseError::CoordinatorNotAvailable),
        None => context.broker.producer_ids.next().await.map_err(|error| {
            tracing::debug!(%error, "no producer id");
            error.code
        }),
    };
    context.reply(&match next {
        Ok(id) => response.with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(error) => response
            .with_error_code(context.error(error))
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    })
}
