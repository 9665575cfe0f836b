//! An output plugin for occystrap: an image as an OCI image layout on a WebDAV server.
//!
//! Built outside of occystrap's workspaces, as anybody's plugin is.

mod manifest;
mod session;
mod verify;

use occystrap_plugin::writer::{Description, Destination, Guest, ManifestForm};

/// The plugin.
struct Plugin;

occystrap_plugin::export!(Plugin with_types_in occystrap_plugin);

/// The images in the layout; written last.
const INDEX: &str = "index.json";

/// What the folder is.
const MARKER: &str = "oci-layout";

impl Guest for Plugin {
    type Session = session::ImageSession;

    fn describe() -> Description {
        Description {
            name: "webdav".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "an OCI image layout in a folder of a WebDAV server".to_owned(),
            schemes: vec!["webdav".to_owned()],
            // It imports `http-in` and no `storage`: a directory of a web server.
            destination: Destination::Directory,
            manifests: ManifestForm::Oci,
            options: Vec::new(),
        }
    }
}
