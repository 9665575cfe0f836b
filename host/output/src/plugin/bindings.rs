//! The WIT package as Rust, generated from `host/wit`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    world: "output-plugin",
    path: "wit",
    imports: { default: trappable },
    with: {
        "occystrap:output/blobs.blob": crate::plugin::handle::Blob,
        "occystrap:output/blobs.sink": crate::destination::sink::Sink,
        "occystrap:output/entries.walk": crate::plugin::handle::Walk,
        "occystrap:output/storage.directory": crate::plugin::handle::DirectoryHandle,
        "occystrap:output/engine.engine": crate::plugin::handle::EngineHandle,
        "occystrap:output/http-in.response": crate::plugin::handle::Response,
        "occystrap:output/http-out.transfer": crate::plugin::handle::PendingPut,
        "occystrap:output/registry.repository": crate::plugin::handle::RepositoryHandle,
        "occystrap:output/registry-push.transfer": crate::plugin::handle::PendingTransfer,
    },
});

pub use self::exports::occystrap::output::{verifier, writer};
pub use self::occystrap::output::{
    blobs, engine, engine_load, entries, http_in, http_out, log, registry, registry_push, storage,
    storage_edit, types,
};
