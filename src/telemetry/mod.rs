//! Metrics and their names, tracing, and the HTTP endpoint.

pub mod cluster_label;
pub mod health;
pub mod http;
pub mod logging;
pub mod names;
mod process;
pub mod recorder;

pub use health::Health;
pub use recorder::{install_recorder, on_scrape};
