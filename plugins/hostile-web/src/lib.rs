//! An output plugin for web servers that breaks whichever rule it is asked to break, by
//! `?behaviour=`. Without one it is honest: a config, layers as they are stored, and a list.

// It does on purpose what lints are there to prevent.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod session;
mod unwanted;
mod verify;

use occystrap_plugin::writer::{
    Description, Destination, Guest, ManifestForm, OptionKind, OptionSpec,
};

struct Hostile;

occystrap_plugin::export!(Hostile with_types_in occystrap_plugin);

impl Guest for Hostile {
    type Session = session::HostileSession;

    fn describe() -> Description {
        let text = |text: &str| text.to_owned();
        Description {
            name: text("hostile-web"),
            version: text("0.5.0"),
            summary: text("breaks whichever rule of web servers it is asked to break"),
            schemes: vec![text("hostile-web")],
            destination: Destination::Directory,
            manifests: ManifestForm::Custom,
            options: vec![OptionSpec {
                name: text("behaviour"),
                kind: OptionKind::Text,
                default: text("honest"),
                summary: text("which rule to break"),
            }],
        }
    }
}
