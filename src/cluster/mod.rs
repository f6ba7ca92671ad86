//! What every Kafka role knows of the cluster: znode layout, image, observer and admin writes.
//!
//! - [`topic_name`]: what a topic may be called (pure).
//! - [`layout`]: znode paths and their JSON, both ways (pure).
//! - [`image`]: one immutable picture of the cluster (pure); [`builder`] makes the next one from
//!   what was read; [`handle`] shares the newest.
//! - [`client`]: sessions with the coordinator; [`reader`]: many znodes at once; [`observer`]:
//!   znodes and watches in, images out.
//! - [`lookups`]: topics that the image lacks, read once more on demand.
//! - [`topic_config`]: the topic configuration keys, their types, defaults and validation (pure).
//! - [`placement`]: which brokers get a new partition's replicas (pure).
//! - [`admin`]: topics and configurations, written as Kafka 3.9 writes them.

pub mod admin;
pub mod builder;
pub mod client;
pub mod handle;
pub mod image;
pub mod layout;
pub mod lookups;
pub mod observer;
pub mod placement;
pub mod reader;
pub mod topic_config;
pub mod topic_name;

pub use admin::{AdminError, ClusterAdmin};
pub use handle::ImageHandle;
pub use image::{
    BrokerInfo, ClusterImage, ConfigMap, ControllerInfo, Endpoint, PartitionImage, TopicImage,
};
pub use topic_config::TopicConfig;
