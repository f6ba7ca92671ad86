//! What every Kafka role knows of the cluster: znode layout, image, observer and admin writes.
//!
//! - [`image`]: one immutable picture of the cluster (pure); [`handle`] shares the newest one.
//! - [`topic_config`]: the topic configuration keys, their types, defaults and validation (pure).
//! - [`layout`]: znode paths and their JSON, both ways (pure).
//! - [`admin`]: topics, configurations and producer ids, written as Kafka 3.9 writes them.

pub mod admin;
pub mod handle;
pub mod image;
pub mod layout;
pub mod topic_config;

pub use admin::{AdminError, ClusterAdmin};
pub use handle::ImageHandle;
pub use image::{
    BrokerInfo, ClusterImage, ConfigMap, ControllerInfo, Endpoint, PartitionImage, TopicImage,
};
pub use topic_config::TopicConfig;
