//! The APIs that are served, one file each, and what a handler gets and gives.
//!
//! A file opens with its version notes, names its versions in `pub const API`, and has one
//! `pub async fn handle(context: &RequestContext<'_>, request) -> HandlerResult`. To serve
//! another API: write the file, add its `mod` line and its line in [`serve!`] below, and the
//! shape of its request in `wire/schema.rs`. What `ApiVersions` offers follows by itself.

#![allow(clippy::unused_async, reason = "handlers have one shape, whether they wait or not")]

mod context;

pub use context::{ConnectionContext, HandlerError, HandlerResult, Piece, Reply, RequestContext};

use bytes::Bytes;
use kafka_protocol::messages::{self, ApiKey};
use kafka_protocol::protocol::{Decodable, Message, VersionRange};

pub mod admin_result;
pub mod auto_creation;
pub mod broker_configs;
pub mod config_resource;
pub mod coordinator_answer;
pub mod fetch_response;
pub mod leader;
pub mod metadata_answer;
pub mod metadata_topic;
pub mod operations;
pub mod topic_configs;

#[path = "33_alter_configs.rs"]
pub mod alter_configs;
#[path = "18_api_versions.rs"]
pub mod api_versions;
#[path = "37_create_partitions.rs"]
pub mod create_partitions;
#[path = "19_create_topics.rs"]
pub mod create_topics;
#[path = "42_delete_groups.rs"]
pub mod delete_groups;
#[path = "21_delete_records.rs"]
pub mod delete_records;
#[path = "20_delete_topics.rs"]
pub mod delete_topics;
#[path = "60_describe_cluster.rs"]
pub mod describe_cluster;
#[path = "32_describe_configs.rs"]
pub mod describe_configs;
#[path = "15_describe_groups.rs"]
pub mod describe_groups;
#[path = "35_describe_log_dirs.rs"]
pub mod describe_log_dirs;
#[path = "61_describe_producers.rs"]
pub mod describe_producers;
#[path = "75_describe_topic_partitions.rs"]
pub mod describe_topic_partitions;
#[path = "01_fetch.rs"]
pub mod fetch;
#[path = "10_find_coordinator.rs"]
pub mod find_coordinator;
#[path = "71_get_telemetry_subscriptions.rs"]
pub mod get_telemetry_subscriptions;
#[path = "12_heartbeat.rs"]
pub mod heartbeat;
#[path = "44_incremental_alter_configs.rs"]
pub mod incremental_alter_configs;
#[path = "22_init_producer_id.rs"]
pub mod init_producer_id;
#[path = "11_join_group.rs"]
pub mod join_group;
#[path = "13_leave_group.rs"]
pub mod leave_group;
#[path = "16_list_groups.rs"]
pub mod list_groups;
#[path = "02_list_offsets.rs"]
pub mod list_offsets;
#[path = "03_metadata.rs"]
pub mod metadata;
#[path = "08_offset_commit.rs"]
pub mod offset_commit;
#[path = "47_offset_delete.rs"]
pub mod offset_delete;
#[path = "09_offset_fetch.rs"]
pub mod offset_fetch;
#[path = "23_offset_for_leader_epoch.rs"]
pub mod offset_for_leader_epoch;
#[path = "00_produce.rs"]
pub mod produce;
#[path = "14_sync_group.rs"]
pub mod sync_group;

/// One API: its number, its name and the versions of it.
#[derive(Debug, Clone, Copy)]
pub struct ApiRegistration {
    /// Kafka's number of the API.
    pub key: ApiKey,
    /// Kafka's name of the API, the `api` label of metrics.
    pub name: &'static str,
    /// The versions that a request may have.
    pub served: VersionRange,
    /// The first version that `ApiVersions` offers: `served.min`, except where clients would
    /// otherwise turn off something unrelated.
    pub advertised_min: i16,
}

impl ApiRegistration {
    /// An API that is served and advertised in versions `min` to `max`.
    pub const fn new(key: ApiKey, name: &'static str, min: i16, max: i16) -> Self {
        ApiRegistration { key, name, served: VersionRange { min, max }, advertised_min: min }
    }

    /// The same, advertised from an earlier version on, which is refused when it is asked for.
    #[must_use]
    pub const fn advertised_from(mut self, min: i16) -> Self {
        self.advertised_min = min;
        self
    }

    /// Whether requests of `version` are served.
    pub const fn serves(&self, version: i16) -> bool {
        self.served.min <= version && version <= self.served.max
    }
}

/// Makes the table of registrations and the dispatch from `API key => module, request type`.
macro_rules! serve {
    ($($key:ident => $module:ident, $request:ident;)*) => {
        /// Every API that is served, in the order of their numbers.
        pub const REGISTRATIONS: &[ApiRegistration] = &[$($module::API,)*];

        $(const _: () = {
            let decodable = <messages::$request as Message>::VERSIONS;
            assert!($module::API.served.min >= decodable.min && $module::API.served.max <= decodable.max);
            assert!($module::API.key as i16 == ApiKey::$key as i16);
        };)*

        /// Decodes a body that the guard has passed and answers it.
        pub async fn dispatch(
            context: &RequestContext<'_>,
            key: ApiKey,
            body: Bytes,
        ) -> HandlerResult {
            match key {
                $(ApiKey::$key => {
                    let request = decode::<messages::$request>(body, context.version)?;
                    $module::handle(context, request).await
                })*
                _ => Err(HandlerError::Malformed(format!("API {} is not served", key as i16))),
            }
        }
    };
}

serve! {
    Produce => produce, ProduceRequest;
    Fetch => fetch, FetchRequest;
    ListOffsets => list_offsets, ListOffsetsRequest;
    Metadata => metadata, MetadataRequest;
    OffsetCommit => offset_commit, OffsetCommitRequest;
    OffsetFetch => offset_fetch, OffsetFetchRequest;
    FindCoordinator => find_coordinator, FindCoordinatorRequest;
    JoinGroup => join_group, JoinGroupRequest;
    Heartbeat => heartbeat, HeartbeatRequest;
    LeaveGroup => leave_group, LeaveGroupRequest;
    SyncGroup => sync_group, SyncGroupRequest;
    DescribeGroups => describe_groups, DescribeGroupsRequest;
    ListGroups => list_groups, ListGroupsRequest;
    ApiVersions => api_versions, ApiVersionsRequest;
    CreateTopics => create_topics, CreateTopicsRequest;
    DeleteTopics => delete_topics, DeleteTopicsRequest;
    DeleteRecords => delete_records, DeleteRecordsRequest;
    InitProducerId => init_producer_id, InitProducerIdRequest;
    OffsetForLeaderEpoch => offset_for_leader_epoch, OffsetForLeaderEpochRequest;
    DescribeConfigs => describe_configs, DescribeConfigsRequest;
    AlterConfigs => alter_configs, AlterConfigsRequest;
    DescribeLogDirs => describe_log_dirs, DescribeLogDirsRequest;
    CreatePartitions => create_partitions, CreatePartitionsRequest;
    DeleteGroups => delete_groups, DeleteGroupsRequest;
    IncrementalAlterConfigs => incremental_alter_configs, IncrementalAlterConfigsRequest;
    OffsetDelete => offset_delete, OffsetDeleteRequest;
    DescribeCluster => describe_cluster, DescribeClusterRequest;
    DescribeProducers => describe_producers, DescribeProducersRequest;
    GetTelemetrySubscriptions => get_telemetry_subscriptions, GetTelemetrySubscriptionsRequest;
    DescribeTopicPartitions => describe_topic_partitions, DescribeTopicPartitionsRequest;
}

/// The registration of the API with number `key`, if it is served.
pub fn registration(key: i16) -> Option<&'static ApiRegistration> {
    REGISTRATIONS.iter().find(|registration| registration.key as i16 == key)
}

fn decode<R: Decodable>(mut body: Bytes, version: i16) -> Result<R, HandlerError> {
    R::decode(&mut body, version).map_err(|error| HandlerError::Malformed(error.to_string()))
}
