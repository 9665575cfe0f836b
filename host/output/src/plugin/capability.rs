//! What a plugin can call, one file an interface, named as the WIT file is.

pub mod blobs;
pub mod edit;
pub mod engine;
pub mod engine_load;
pub mod entries;
pub mod http_in;
pub mod http_out;
pub mod log;
pub mod registry;
pub mod registry_push;
pub mod storage;
pub mod storage_edit;
pub mod wasi;
