//! An output plugin for occystrap: an image as an OCI image layout on a WebDAV server.
//!
//! The crate is built outside occystrap's workspaces, like every plugin of another author.

mod manifest;
mod session;
mod verify;

use occystrap_plugin::writer::{Description, Destination, Guest, ManifestForm};

/// The plugin.
struct Plugin;

occystrap_plugin::export!(Plugin with_types_in occystrap_plugin);

/// The file that lists the images of the layout. It is written last.
const INDEX: &str = "index.json";

/// The marker file, which says that the folder is an OCI image layout.
const MARKER: &str = "oci-layout";

impl Guest for Plugin {
    type Session = session::ImageSession;

    fn describe() -> Description {
        Description {
            name: "webdav".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "an OCI image layout in a folder of a WebDAV server".to_owned(),
            schemes: vec!["webdav".to_owned()],
            // The plugin imports `http-in` but not `storage`, so the directory is a folder of a web server.
            destination: Destination::Directory,
            manifests: ManifestForm::Oci,
            options: Vec::new(),
        }
    }
}
