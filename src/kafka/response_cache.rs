//! Encoded topics, made when the image changes and not when a request comes.

/// The cache.
#[derive(Debug, Default)]
pub struct ResponseCache {}
