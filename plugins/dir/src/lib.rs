//! The output `dir`. It writes an image as a directory of uncompressed layers, with a `manifest.json` in
//! the format of docker-save, and a `catalog.json` that lists the images in the directory.

mod catalog;
mod checksums;
mod json_stream;
mod layout;
mod manifest;
mod output;
mod replaced;
mod session;
mod verify;

use occystrap_plugin::writer::{
    Description, Destination, Guest, ManifestForm, OptionKind, OptionSpec,
};

struct Dir;

occystrap_plugin::export!(Dir with_types_in occystrap_plugin);

impl Guest for Dir {
    type Session = session::DirSession;

    fn describe() -> Description {
        let option = |name: &str, summary: &str| OptionSpec {
            name: name.to_owned(),
            kind: OptionKind::Boolean,
            default: "false".to_owned(),
            summary: summary.to_owned(),
        };
        Description {
            name: "dir".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "a directory with one plain tar a layer, shared by any number of images"
                .to_owned(),
            schemes: vec!["dir".to_owned(), "directory".to_owned()],
            destination: Destination::Directory,
            manifests: ManifestForm::Custom,
            options: vec![
                option("unique_names", "name the manifest after the image, so that several fit"),
                option("checksums", "also write SHA256SUMS, for 'sha256sum -c'"),
            ],
        }
    }
}
