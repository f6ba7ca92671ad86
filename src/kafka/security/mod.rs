//! The place of SASL, ACLs and quotas: none is built, so every client may do everything, and a
//! configuration that asks for protection stops the start.
