//! Metrics and their names, tracing, and the HTTP endpoint.

pub mod recorder;

pub use recorder::{install_recorder, on_scrape};
