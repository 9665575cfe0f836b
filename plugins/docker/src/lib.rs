//! The output `docker`. It writes an image into a container engine, Docker or Podman.

mod session;
mod verify;

use occystrap_plugin::writer::{Description, Destination, Guest, ManifestForm};

struct Docker;

occystrap_plugin::export!(Docker with_types_in occystrap_plugin);

impl Guest for Docker {
    type Session = session::DockerSession;

    fn describe() -> Description {
        Description {
            name: "docker".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "an image in a Docker or Podman engine, under the name that you give"
                .to_owned(),
            schemes: vec!["docker".to_owned()],
            destination: Destination::Engine,
            manifests: ManifestForm::Custom,
            options: Vec::new(),
        }
    }
}
