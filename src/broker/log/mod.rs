//! Partition logs in the segment files of Apache Kafka.
