//! An output plugin for occystrap. It writes a folder with the image's config, one file for each layer,
//! and a file with their checksums.

mod session;
mod sums;
mod verify;

use occystrap_plugin::writer::{
    Description, Destination, Guest, ManifestForm, OptionKind, OptionSpec,
};

/// The plugin.
struct Plugin;

occystrap_plugin::export!(Plugin with_types_in occystrap_plugin);

impl Guest for Plugin {
    type Session = session::ImageSession;

    // Returns the description of the plugin. It must not call the host: nothing is granted yet.
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "a folder with the config, one file a layer, and SHA256SUMS".to_owned(),
            // The text that the user types before '://'.
            schemes: vec![env!("CARGO_PKG_NAME").to_owned()],
            destination: Destination::Directory,
            manifests: ManifestForm::Custom,
            // The options that the user types after '?'. The host refuses options that are not listed.
            options: vec![OptionSpec {
                name: "layers".to_owned(),
                kind: OptionKind::Text,
                default: "uncompressed".to_owned(),
                summary: "how layers are stored: uncompressed, gzip, zstd, or stored as the source has them"
                    .to_owned(),
            }],
        }
    }
}
