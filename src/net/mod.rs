//! Listeners, connection caps and drain, shared by both protocols.
