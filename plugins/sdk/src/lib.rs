//! The SDK for output plugins of occystrap.
//!
//! A plugin implements [`writer::Guest`], [`writer::GuestSession`] and [`verifier::Guest`], and passes
//! its type to [`export!`]. Everything else in this crate is convenience over the same interfaces:
//! functions that split calls into the sizes that the host allows, and the checks that every output of
//! files needs.

#[allow(missing_docs, clippy::missing_docs_in_private_items)]
mod bindings {
    wit_bindgen::generate!({
        world: "output-plugin",
        path: "wit",
        pub_export_macro: true,
        default_bindings_module: "occystrap_plugin",
    });
}

mod check;
mod files;
mod web;

pub use bindings::exports::occystrap::output::{verifier, writer};
pub use bindings::occystrap::output::{
    blobs, engine, engine_load, entries, http_in, http_out, log, registry, registry_push, storage,
    storage_edit, types,
};
pub use check::{check_expectations, finding};
pub use files::{FileWriter, read_blob, read_to_end};
pub use web::{check_web_expectations, header, make_folder, put};

#[doc(hidden)]
pub use bindings::exports;

/// Exports a type as the plugin of this component.
///
/// ```ignore
/// occystrap_plugin::export!(MyPlugin);
/// ```
pub use bindings::export;

/// Returns the hexadecimal digits of a digest, for use in a path.
#[must_use]
pub fn hex(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, hex)| hex)
}

impl From<types::ErrorCode> for writer::Error {
    fn from(code: types::ErrorCode) -> Self {
        Self::Host(code)
    }
}
