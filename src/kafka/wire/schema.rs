//! The shape of every request body that is served: what the guard walks before a decoder runs.
//!
//! One constant for each API, in the order of their numbers, field by field as in Kafka's
//! message definitions (`clients/src/main/resources/common/message/*Request.json`). Versions
//! that are not served may be missing.

use kafka_protocol::messages::ApiKey;

/// A request body: from which version on it is flexible (KIP-482), and its fields.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The first version with compact lengths and tagged fields.
    pub flexible: i16,
    /// The fields in the order of the wire.
    pub fields: &'static [Field],
}

/// One field of a structure.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// What it is.
    pub kind: Kind,
    /// The first version that has it.
    pub since: i16,
    /// The last version that has it.
    pub until: i16,
    /// The first version in which it may be null.
    pub nullable: i16,
    /// Its tag, if it is a tagged field.
    pub tag: Option<u32>,
}

/// The type of a field.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// So many bytes: integers, booleans, UUIDs.
    Fixed(usize),
    /// UTF-8 text of at most 32,767 bytes.
    Text,
    /// Bytes of any length; record batches are among them.
    Blob,
    /// A count, and so many of one kind.
    Array(&'static Kind),
    /// Fields, and in flexible versions the tagged ones after them.
    Struct(&'static [Field]),
}

const NEVER: i16 = i16::MAX;

pub(super) const BYTE: Field = field(Kind::Fixed(1));
pub(super) const SHORT: Field = field(Kind::Fixed(2));
pub(super) const INT: Field = field(Kind::Fixed(4));
pub(super) const LONG: Field = field(Kind::Fixed(8));
pub(super) const UUID: Field = field(Kind::Fixed(16));
pub(super) const TEXT: Field = field(Kind::Text);
pub(super) const INTS: Field = field(Kind::Array(&Kind::Fixed(4)));
const TEXTS: Field = field(Kind::Array(&Kind::Text));

pub(super) const fn field(kind: Kind) -> Field {
    Field { kind, since: 0, until: i16::MAX, nullable: NEVER, tag: None }
}

pub(super) const fn array(items: &'static Kind) -> Field {
    field(Kind::Array(items))
}

impl Field {
    pub(super) const fn since(mut self, version: i16) -> Field {
        self.since = version;
        self
    }

    pub(super) const fn until(mut self, version: i16) -> Field {
        self.until = version;
        self
    }

    pub(super) const fn nullable(mut self, since: i16) -> Field {
        self.nullable = since;
        self
    }

    pub(super) const fn tagged(mut self, tag: u32) -> Field {
        self.tag = Some(tag);
        self
    }

    /// Whether a message of `version` has the field.
    pub const fn exists(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// The shape of the requests of an API, if it is served.
pub const fn of(key: ApiKey) -> Option<&'static Schema> {
    Some(match key {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::OffsetDelete => &OFFSET_DELETE,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS,
        ApiKey::GetTelemetrySubscriptions => &GET_TELEMETRY_SUBSCRIPTIONS,
        ApiKey::DescribeTopicPartitions => &DESCRIBE_TOPIC_PARTITIONS,
        _ => return None,
    })
}

const PRODUCE: Schema = Schema {
    flexible: 9,
    fields: &[
        TEXT.since(3).nullable(3), // transactional_id
        SHORT,                     // acks
        INT,                       // timeout_ms
        array(&Kind::Struct(&[
            TEXT.until(12), // name
            UUID.since(13), // topic_id
            array(&Kind::Struct(&[
                INT,                           // index
                field(Kind::Blob).nullable(0), // records
            ])),
        ])),
    ],
};

const FETCH: Schema = Schema {
    flexible: 12,
    fields: &[
        TEXT.since(12).nullable(12).tagged(0), // cluster_id
        INT.until(14),                         // replica_id
        field(Kind::Struct(&[INT, LONG])).since(15).tagged(1), // replica_state
        INT,                                   // max_wait_ms
        INT,                                   // min_bytes
        INT.since(3),                          // max_bytes
        BYTE.since(4),                         // isolation_level
        INT.since(7),                          // session_id
        INT.since(7),                          // session_epoch
        array(&Kind::Struct(&[
            TEXT.until(12), // topic
            UUID.since(13), // topic_id
            array(&Kind::Struct(&[
                INT,                      // partition
                INT.since(9),             // current_leader_epoch
                LONG,                     // fetch_offset
                INT.since(12),            // last_fetched_epoch
                LONG.since(5),            // log_start_offset
                INT,                      // partition_max_bytes
                UUID.since(17).tagged(0), // replica_directory_id
                LONG.since(18).tagged(1), // high_watermark
            ])),
        ])),
        array(&Kind::Struct(&[
            TEXT.until(12), // topic
            UUID.since(13), // topic_id
            INTS,           // partitions
        ]))
        .since(7), // forgotten_topics_data
        TEXT.since(11), // rack_id
    ],
};

const LIST_OFFSETS: Schema = Schema {
    flexible: 6,
    fields: &[
        INT,           // replica_id
        BYTE.since(2), // isolation_level
        array(&Kind::Struct(&[
            TEXT, // name
            array(&Kind::Struct(&[
                INT,          // partition_index
                INT.since(4), // current_leader_epoch
                LONG,         // timestamp
            ])),
        ])),
        INT.since(10), // timeout_ms
    ],
};

const METADATA: Schema = Schema {
    flexible: 9,
    fields: &[
        array(&Kind::Struct(&[
            UUID.since(10),    // topic_id
            TEXT.nullable(10), // name
        ]))
        .nullable(1),
        BYTE.since(4),           // allow_auto_topic_creation
        BYTE.since(8).until(10), // include_cluster_authorized_operations
        BYTE.since(8),           // include_topic_authorized_operations
    ],
};

const OFFSET_COMMIT: Schema = Schema {
    flexible: 8,
    fields: &[
        TEXT,                      // group_id
        INT,                       // generation_id
        TEXT,                      // member_id
        TEXT.since(7).nullable(7), // group_instance_id
        LONG.since(2).until(4),    // retention_time_ms
        array(&Kind::Struct(&[
            TEXT, // name
            array(&Kind::Struct(&[
                INT,              // partition_index
                LONG,             // committed_offset
                INT.since(6),     // committed_leader_epoch
                TEXT.nullable(0), // committed_metadata
            ])),
        ])),
    ],
};

const OFFSET_FETCH: Schema = Schema {
    flexible: 6,
    fields: &[
        TEXT.until(7),                                            // group_id
        array(&Kind::Struct(&[TEXT, INTS])).until(7).nullable(2), // topics
        array(&Kind::Struct(&[
            TEXT,                      // group_id
            TEXT.since(9).nullable(9), // member_id
            INT.since(9),              // member_epoch
            array(&Kind::Struct(&[TEXT, INTS])).nullable(8),
        ]))
        .since(8), // groups
        BYTE.since(7),                                            // require_stable
    ],
};

const FIND_COORDINATOR: Schema = Schema {
    flexible: 3,
    fields: &[
        TEXT.until(3),  // key
        BYTE.since(1),  // key_type
        TEXTS.since(4), // coordinator_keys
    ],
};

const JOIN_GROUP: Schema = Schema {
    flexible: 6,
    fields: &[
        TEXT,                      // group_id
        INT,                       // session_timeout_ms
        INT.since(1),              // rebalance_timeout_ms
        TEXT,                      // member_id
        TEXT.since(5).nullable(5), // group_instance_id
        TEXT,                      // protocol_type
        array(&Kind::Struct(&[TEXT, field(Kind::Blob)])),
        TEXT.since(8).nullable(8), // reason
    ],
};

const HEARTBEAT: Schema = Schema {
    flexible: 4,
    fields: &[
        TEXT,                      // group_id
        INT,                       // generation_id
        TEXT,                      // member_id
        TEXT.since(3).nullable(3), // group_instance_id
    ],
};

const LEAVE_GROUP: Schema = Schema {
    flexible: 4,
    fields: &[
        TEXT,          // group_id
        TEXT.until(2), // member_id
        array(&Kind::Struct(&[
            TEXT,                      // member_id
            TEXT.nullable(3),          // group_instance_id
            TEXT.since(5).nullable(5), // reason
        ]))
        .since(3),
    ],
};

const SYNC_GROUP: Schema = Schema {
    flexible: 4,
    fields: &[
        TEXT,                      // group_id
        INT,                       // generation_id
        TEXT,                      // member_id
        TEXT.since(3).nullable(3), // group_instance_id
        TEXT.since(5).nullable(5), // protocol_type
        TEXT.since(5).nullable(5), // protocol_name
        array(&Kind::Struct(&[TEXT, field(Kind::Blob)])),
    ],
};

const DESCRIBE_GROUPS: Schema = Schema {
    flexible: 5,
    fields: &[
        TEXTS,         // groups
        BYTE.since(3), // include_authorized_operations
    ],
};

const LIST_GROUPS: Schema = Schema {
    flexible: 3,
    fields: &[
        TEXTS.since(4), // states_filter
        TEXTS.since(5), // types_filter
    ],
};

const DELETE_GROUPS: Schema = Schema { flexible: 2, fields: &[TEXTS] };

const OFFSET_DELETE: Schema = Schema {
    flexible: NEVER,
    fields: &[
        TEXT, // group_id
        array(&Kind::Struct(&[TEXT, array(&Kind::Struct(&[INT]))])),
    ],
};

const API_VERSIONS: Schema = Schema {
    flexible: 3,
    fields: &[
        TEXT.since(3), // client_software_name
        TEXT.since(3), // client_software_version
    ],
};

const CREATE_TOPICS: Schema = Schema {
    flexible: 5,
    fields: &[
        array(&Kind::Struct(&[
            TEXT,                                            // name
            INT,                                             // num_partitions
            SHORT,                                           // replication_factor
            array(&Kind::Struct(&[INT, INTS])),              // assignments
            array(&Kind::Struct(&[TEXT, TEXT.nullable(0)])), // configs
        ])),
        INT,           // timeout_ms
        BYTE.since(1), // validate_only
    ],
};

const DELETE_TOPICS: Schema = Schema {
    flexible: 4,
    fields: &[
        array(&Kind::Struct(&[TEXT.nullable(6), UUID])).since(6), // topics
        TEXTS.until(5),                                           // topic_names
        INT,                                                      // timeout_ms
    ],
};

const DELETE_RECORDS: Schema = Schema {
    flexible: 2,
    fields: &[
        array(&Kind::Struct(&[TEXT, array(&Kind::Struct(&[INT, LONG]))])),
        INT, // timeout_ms
    ],
};

const INIT_PRODUCER_ID: Schema = Schema {
    flexible: 2,
    fields: &[
        TEXT.nullable(0), // transactional_id
        INT,              // transaction_timeout_ms
        LONG.since(3),    // producer_id
        SHORT.since(3),   // producer_epoch
    ],
};

const OFFSET_FOR_LEADER_EPOCH: Schema = Schema {
    flexible: 4,
    fields: &[
        INT.since(3), // replica_id
        array(&Kind::Struct(&[
            TEXT, // topic
            array(&Kind::Struct(&[
                INT,          // partition
                INT.since(2), // current_leader_epoch
                INT,          // leader_epoch
            ])),
        ])),
    ],
};

const DESCRIBE_CONFIGS: Schema = Schema {
    flexible: 4,
    fields: &[
        array(&Kind::Struct(&[
            BYTE,              // resource_type
            TEXT,              // resource_name
            TEXTS.nullable(0), // configuration_keys
        ])),
        BYTE.since(1), // include_synonyms
        BYTE.since(3), // include_documentation
    ],
};

const ALTER_CONFIGS: Schema = Schema {
    flexible: 2,
    fields: &[
        array(&Kind::Struct(&[
            BYTE,                                            // resource_type
            TEXT,                                            // resource_name
            array(&Kind::Struct(&[TEXT, TEXT.nullable(0)])), // configs
        ])),
        BYTE, // validate_only
    ],
};

const DESCRIBE_LOG_DIRS: Schema = Schema {
    flexible: 2,
    fields: &[array(&Kind::Struct(&[TEXT, INTS])).nullable(0)], // topics
};

const CREATE_PARTITIONS: Schema = Schema {
    flexible: 2,
    fields: &[
        array(&Kind::Struct(&[
            TEXT,                                      // name
            INT,                                       // count
            array(&Kind::Struct(&[INTS])).nullable(0), // assignments
        ])),
        INT,  // timeout_ms
        BYTE, // validate_only
    ],
};

const INCREMENTAL_ALTER_CONFIGS: Schema = Schema {
    flexible: 1,
    fields: &[
        array(&Kind::Struct(&[
            BYTE,                                                  // resource_type
            TEXT,                                                  // resource_name
            array(&Kind::Struct(&[TEXT, BYTE, TEXT.nullable(0)])), // configs
        ])),
        BYTE, // validate_only
    ],
};

const DESCRIBE_CLUSTER: Schema = Schema {
    flexible: 0,
    fields: &[
        BYTE,          // include_cluster_authorized_operations
        BYTE.since(1), // endpoint_type
        BYTE.since(2), // include_fenced_brokers
    ],
};

const DESCRIBE_PRODUCERS: Schema =
    Schema { flexible: 0, fields: &[array(&Kind::Struct(&[TEXT, INTS]))] };

const GET_TELEMETRY_SUBSCRIPTIONS: Schema = Schema { flexible: 0, fields: &[UUID] };

const DESCRIBE_TOPIC_PARTITIONS: Schema = Schema {
    flexible: 0,
    fields: &[
        array(&Kind::Struct(&[TEXT])),                 // topics
        INT,                                           // response_partition_limit
        field(Kind::Struct(&[TEXT, INT])).nullable(0), // cursor
    ],
};
