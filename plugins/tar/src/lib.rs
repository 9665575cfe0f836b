//! The output `tar`. It writes one image as a docker-save v1.2 archive, for `docker load`, `podman load` and
//! skopeo. The same image gives the same bytes.

mod archive;
mod session;
mod verify;

use occystrap_plugin::writer::{Description, Destination, Guest, ManifestForm};

struct Tar;

occystrap_plugin::export!(Tar with_types_in occystrap_plugin);

impl Guest for Tar {
    type Session = session::TarSession;

    fn describe() -> Description {
        Description {
            name: "tar".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "a docker-save archive, for docker load, podman load and skopeo".to_owned(),
            schemes: vec!["tar".to_owned(), "file".to_owned()],
            destination: Destination::File,
            manifests: ManifestForm::Custom,
            options: Vec::new(),
        }
    }
}
