//! An output plugin for container engines that breaks the rule that the option `?behaviour=` names. Without the
//! option it follows all rules: it writes an archive of the image, as the output `docker` does.

// This plugin does on purpose what the lints prevent.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod archive;
mod session;
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
            name: text("hostile-engine"),
            version: text("0.5.0"),
            summary: text("breaks whichever rule of engines it is asked to break"),
            schemes: vec![text("hostile-engine")],
            destination: Destination::Engine,
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
