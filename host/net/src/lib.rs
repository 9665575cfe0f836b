//! Clients for registries (distribution specification), container engines (Docker Engine API) and web servers, on one
//! HTTP layer ([`http`]), and the addresses that users type ([`uri`]).
//!
//! This crate refuses to read the content of layers and to decide what is right or wrong about an image: it fetches
//! and sends bytes, compares them with the digest and the size that were promised, and names what failed.

pub mod context;
pub mod docker;
pub mod http;
pub mod registry;
pub mod uri;
pub mod web;
