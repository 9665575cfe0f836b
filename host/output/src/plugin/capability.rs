//! The functions that a plugin can call: a file for each interface, with the name of the WIT file.

pub mod blobs;
pub mod edit;
pub mod engine;
pub mod engine_load;
pub mod entries;
mod failure;
mod granted_path;
pub mod http_in;
pub mod http_out;
pub mod log;
pub mod registry;
pub mod registry_push;
pub mod storage;
pub mod storage_edit;
pub mod wasi;

use super::state::GuestState;

/// The interface `types` has no functions.
impl super::bindings::types::Host for GuestState {}
