//! The output `registry`. It writes an image to a repository of a registry.

mod session;
mod verify;

use occystrap_plugin::writer::{
    Description, Destination, Guest, ManifestForm, OptionKind, OptionSpec,
};

struct Registry;

occystrap_plugin::export!(Registry with_types_in occystrap_plugin);

impl Guest for Registry {
    type Session = session::RegistrySession;

    fn describe() -> Description {
        let option = |name: &str, summary: &str| OptionSpec {
            name: name.to_owned(),
            kind: OptionKind::Text,
            default: String::new(),
            summary: summary.to_owned(),
        };
        Description {
            name: "registry".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "an image at a registry, with its digest where nothing changed it".to_owned(),
            schemes: vec!["registry".to_owned()],
            destination: Destination::Repository,
            manifests: ManifestForm::Oci,
            options: vec![
                option(
                    "compression",
                    "gzip or zstd for every layer; without, as they are, and gzip where they are plain",
                ),
                option(
                    "chunk_size",
                    "upload blobs in pieces of so many bytes (or 64k, 8M), for proxies that limit requests",
                ),
            ],
        }
    }
}
