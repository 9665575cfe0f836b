//! The output `oci-layout`. It writes images into a directory in the format of the OCI image specification
//! ("Image Layout"): blobs under their digests, and an `index.json` with the names of the images.

mod index;
mod layout;
mod object;
mod platform;
mod session;
mod verify;

use occystrap_plugin::writer::{
    Description, Destination, Guest, ManifestForm, OptionKind, OptionSpec,
};

struct OciLayout;

occystrap_plugin::export!(OciLayout with_types_in occystrap_plugin);

impl Guest for OciLayout {
    type Session = session::LayoutSession;

    fn describe() -> Description {
        Description {
            name: "oci-layout".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "an OCI image layout, for skopeo, podman, crane and others".to_owned(),
            schemes: vec!["oci-layout".to_owned()],
            destination: Destination::TaggedDirectory,
            manifests: ManifestForm::Oci,
            options: vec![OptionSpec {
                name: "compression".to_owned(),
                kind: OptionKind::Text,
                default: String::new(),
                summary: "gzip or zstd for every layer; without, as they are, and gzip where they are plain".to_owned(),
            }],
        }
    }
}
