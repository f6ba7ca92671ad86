//! `DescribeCluster`: brokers, controller and cluster id.
//!
//! Versions: all are flexible; 1 tells brokers from KRaft controllers (KIP-919); 2 can ask for
//! fenced brokers, which a cluster without KRaft does not have.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{ApiKey, BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::operations::{self, NOT_ASKED};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::ClusterImage;
use crate::kafka::addresses::AddressBook;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::DescribeCluster, "DescribeCluster", 0, 2);

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers with the live brokers that have the client's listener.
pub async fn handle(
    context: &RequestContext<'_>,
    request: DescribeClusterRequest,
) -> HandlerResult {
    let image = context.broker.image.load();
    let addresses = AddressBook::direct(context.connection.listener.clone());
    let response = describe(&image, &addresses, &request, context.version, operations::CLUSTER);
    context.note_failure(response.error_code != 0);
    context.reply(&response)
}

/// The answer from one image, for a client that may do these operations on the cluster (pure).
///
/// `MISMATCHED_ENDPOINT_TYPE` if the client wants KRaft controllers, `UNSUPPORTED_ENDPOINT_TYPE` for
/// any other type; `INVALID_REQUEST` for both in version 0.
pub fn describe(
    image: &ClusterImage,
    addresses: &AddressBook,
    request: &DescribeClusterRequest,
    version: i16,
    cluster_operations: i32,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return refusal(request.endpoint_type, version);
    }
    let brokers: Vec<_> = image
        .brokers
        .values()
        .filter_map(|info| {
            let (host, port) = addresses.of(info)?;
            Some(
                DescribeClusterBroker::default()
                    .with_broker_id(BrokerId(info.id))
                    .with_host(StrBytes::from_string(host.to_owned()))
                    .with_port(port)
                    .with_rack(info.rack.clone().map(StrBytes::from_string)),
            )
        })
        .collect();
    let controller = BrokerId(image.controller_id());
    let listed = brokers.iter().any(|broker| broker.broker_id == controller);
    let cluster_id = image.cluster_id.as_deref().unwrap_or_default().to_owned();
    let asked = request.include_cluster_authorized_operations;
    DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(cluster_id))
        .with_controller_id(if listed { controller } else { BrokerId(-1) })
        .with_brokers(brokers)
        .with_cluster_authorized_operations(if asked { cluster_operations } else { NOT_ASKED })
}

fn refusal(endpoint_type: i8, version: i16) -> DescribeClusterResponse {
    let (error, message) = if endpoint_type == CONTROLLERS {
        (
            ResponseError::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of \
             type CONTROLLER"
                .to_owned(),
        )
    } else {
        (
            ResponseError::UnsupportedEndpointType,
            format!("Unsupported endpoint type {endpoint_type}"),
        )
    };
    let error = if version == 0 { ResponseError::InvalidRequest } else { error };
    DescribeClusterResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
