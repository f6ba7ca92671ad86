//! What every Kafka role knows of the cluster: znode layout, image, observer and admin writes.
//!
//! - [`topic_name`]: what a topic may be called (pure).
//! - [`layout`]: znode paths and their JSON, both ways (pure).
//! - [`image`]: one immutable picture of the cluster (pure); [`builder`] makes the next one from
//!   what was read; [`handle`] shares the newest.
//! - [`client`]: sessions with the coordinator, with `credentials` for one that demands them and
//!   [`znode_acls`] for what is made there; [`reader`]: many znodes at once; [`znodes`]:
//!   how a server is read, with `one_shots` for an old one; [`changes`]: what the watches named
//!   (pure), gathered in `dirty`; [`observer`]: znodes and watches in, images out.
//! - [`acls`]: the ACLs of an image (pure).
//! - [`image_file`]: an image as bytes (pure); [`image_store`]: the newest one, kept on disk.
//! - [`coordinators`]: which broker coordinates a group or a transaction (pure).
//! - [`topic_config`]: the topic configuration keys, their types, defaults and validation (pure).
//! - [`placement`]: which brokers get a new partition's replicas (pure).
//! - [`admin`]: topics and configurations, written as Kafka 3.9 writes them.

pub mod acls;
pub mod admin;
pub mod builder;
pub mod changes;
pub mod client;
pub mod coordinators;
mod credentials;
mod dirty;
pub mod handle;
pub mod image;
pub mod image_file;
pub mod image_store;
pub mod layout;
pub mod observer;
mod one_shots;
pub mod placement;
pub mod reader;
pub mod topic_config;
pub mod topic_name;
pub mod znode_acls;
pub mod znodes;

pub use acls::{AclDirectory, Acls, ResourceAcls};
pub use admin::{AdminError, ClusterAdmin};
pub use credentials::ConnectError;
pub use handle::ImageHandle;
pub use image::{
    BrokerInfo, ClusterImage, ConfigMap, ControllerInfo, Endpoint, PartitionImage, TopicImage,
};
pub use topic_config::TopicConfig;
