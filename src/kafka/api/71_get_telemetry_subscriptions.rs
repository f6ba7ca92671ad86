//! `GetTelemetrySubscriptions`: which of its metrics a client shall push (KIP-714).
//!
//! None: metrics of clients are not kept here. Clients that ask are told so at once, rather than
//! ask again every few minutes whether the API is there.

use kafka_protocol::messages::{
    ApiKey, GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
};
use uuid::Uuid;

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::GetTelemetrySubscriptions, "GetTelemetrySubscriptions", 0, 0);

/// How often a client may ask again, in milliseconds: Kafka's default push interval.
const INTERVAL_MS: i32 = 300_000;

/// Kafka's `telemetry.max.bytes`.
const MAX_BYTES: i32 = 1 << 20;

/// zstd, lz4, gzip and snappy, in the order in which Kafka prefers them.
const COMPRESSION_TYPES: [i8; 4] = [4, 3, 1, 2];

/// Gives the client an id if it has none, and asks for no metric.
pub async fn handle(
    context: &RequestContext<'_>,
    request: GetTelemetrySubscriptionsRequest,
) -> HandlerResult {
    let id = request.client_instance_id;
    context.reply(
        &GetTelemetrySubscriptionsResponse::default()
            .with_client_instance_id(if id.is_nil() { Uuid::new_v4() } else { id })
            .with_accepted_compression_types(COMPRESSION_TYPES.to_vec())
            .with_push_interval_ms(INTERVAL_MS)
            .with_telemetry_max_bytes(MAX_BYTES)
            .with_delta_temporality(true),
    )
}
