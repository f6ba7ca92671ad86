//! What a broker's configuration says of consumer groups.

use std::time::Duration;

use super::broker::{count, milliseconds};
use super::keys::Owner;
use super::settings::Settings;

/// The keys `group.*` and `offsets.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupsConfig {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i64,
    /// `group.max.size`.
    pub max_size: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// `offsets.topic.num.partitions`.
    pub topic_partitions: i32,
    /// `offsets.topic.replication.factor`; `None` is as many as there are brokers, three at most.
    pub topic_replication_factor: Option<i16>,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: i64,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        GroupsConfig {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: usize::MAX,
            offset_metadata_max_bytes: 4_096,
            offsets_retention: Duration::from_secs(10_080 * 60),
            offsets_retention_check_interval: Duration::from_secs(600),
            topic_partitions: 50,
            topic_replication_factor: None,
            topic_segment_bytes: 104_857_600,
        }
    }
}

const OWNER: Owner = Owner::Broker;

impl GroupsConfig {
    /// The typed values; what is wrong goes to `settings`. `embedded` says that the broker's own
    /// coordinator is in the process: then internal topics have no more replicas than there can be.
    pub(super) fn from_settings(settings: &mut Settings, embedded: bool) -> Self {
        const REPLICATION: &str = "offsets.topic.replication.factor";
        const MIN: &str = "group.min.session.timeout.ms";
        const MAX: &str = "group.max.session.timeout.ms";
        let narrow = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
        let (min, max) = (settings.number(OWNER, MIN), settings.number(OWNER, MAX));
        if min > max {
            settings.problem(MIN, &format!("expected at most {MAX}, which is {max}"));
        }
        let replication = settings.number(OWNER, REPLICATION);
        let chosen = settings.is_given(REPLICATION) || !embedded;
        let minutes = u64::try_from(settings.number(OWNER, "offsets.retention.minutes"));
        GroupsConfig {
            min_session_timeout_ms: narrow(min),
            max_session_timeout_ms: narrow(max),
            initial_rebalance_delay_ms: settings
                .number(OWNER, "group.initial.rebalance.delay.ms")
                .max(0),
            max_size: count(settings.number(OWNER, "group.max.size")),
            offset_metadata_max_bytes: count(settings.number(OWNER, "offset.metadata.max.bytes")),
            offsets_retention: Duration::from_secs(minutes.unwrap_or(0).saturating_mul(60)),
            offsets_retention_check_interval: milliseconds(
                settings.number(OWNER, "offsets.retention.check.interval.ms"),
            ),
            topic_partitions: narrow(settings.number(OWNER, "offsets.topic.num.partitions")),
            topic_replication_factor: chosen
                .then(|| i16::try_from(replication).unwrap_or(i16::MAX)),
            topic_segment_bytes: settings.number(OWNER, "offsets.topic.segment.bytes"),
        }
    }
}
