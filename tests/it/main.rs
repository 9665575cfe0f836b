//! Everything that is tested through the public surface: the library and the binary.

/// In-process servers and image builders.
#[path = "../support"]
mod support {
    pub mod registry;
    pub mod registry_auth;
    pub mod registry_fault;
    pub mod registry_tls;
}

mod registry_auth;
mod registry_blob;
mod registry_client;
mod registry_manifest;
