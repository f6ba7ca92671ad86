//! Metrics and their names, tracing, and the HTTP endpoint.
