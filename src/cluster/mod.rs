//! What every Kafka role knows of the cluster: the znode layout, and the image made from it.
