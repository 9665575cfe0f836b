//! Errors, cancellation, limits, secrets, OCI documents ([`oci`]), files of this machine ([`files`]) and the
//! terminal ([`terminal`]).
//!
//! This crate refuses to open connections, to start other programs and to know any format of layers. It uses no
//! other crate of occystrap.

pub mod cancel;
pub mod error;
pub mod files;
pub mod limits;
pub mod minimum_rate;
pub mod oci;
pub mod parallel;
pub mod secret;
mod sha256;
pub mod terminal;
pub mod warnings;
