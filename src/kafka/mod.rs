//! The Kafka protocol server.
