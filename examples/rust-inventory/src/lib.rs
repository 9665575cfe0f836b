//! An output plugin for occystrap: an image as a folder of plain layers, with an inventory of every
//! file in them as CycloneDX 1.6 JSON.
//!
//! The crate is built outside occystrap's workspaces, like every plugin of another author.

mod inventory;
mod session;
mod verify;

use occystrap_plugin::writer::{Description, Destination, Guest, ManifestForm};

/// The plugin.
struct Plugin;

occystrap_plugin::export!(Plugin with_types_in occystrap_plugin);

impl Guest for Plugin {
    type Session = session::ImageSession;

    fn describe() -> Description {
        Description {
            name: "inventory".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "a folder with the image and an inventory of its files, as CycloneDX"
                .to_owned(),
            schemes: vec!["inventory".to_owned()],
            destination: Destination::Directory,
            manifests: ManifestForm::Custom,
            options: Vec::new(),
        }
    }
}
