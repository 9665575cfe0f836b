//! An output plugin that breaks whichever rule it is asked to break, by `?behaviour=`. Without one
//! it is honest: a config, plain layers and nothing else.
//!
//! What it says of itself is not asked with a URI at hand: there, the behaviour is a marker in the
//! component's data ([`MARKER`]), which the tests overwrite.

// It does on purpose what lints are there to prevent.
#![allow(clippy::infinite_iter, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod listing;
mod reenter;
mod sabotage;
mod session;
mod verify;

use occystrap_plugin::storage;
use occystrap_plugin::writer::{
    Description, Destination, Guest, ManifestForm, OptionKind, OptionSpec,
};

struct Hostile;

occystrap_plugin::export!(Hostile with_types_in occystrap_plugin);

/// The behaviour of `describe`, after the `=`, filled up with `-`.
#[used]
static MARKER: [u8; 32] = *b"hostile-describe=honest---------";

impl Guest for Hostile {
    type Session = session::HostileSession;

    fn describe() -> Description {
        let text = |text: &str| text.to_owned();
        let mut description = Description {
            name: text("hostile"),
            version: text("0.5.0"),
            summary: text("breaks whichever rule it is asked to break"),
            schemes: vec![text("hostile")],
            destination: Destination::Directory,
            manifests: ManifestForm::Custom,
            options: vec![OptionSpec {
                name: text("behaviour"),
                kind: OptionKind::Text,
                default: text("honest"),
                summary: text("which rule to break"),
            }],
        };
        // Read at run time: the compiler must not know what it says.
        let marker = unsafe { std::ptr::read_volatile(&MARKER) };
        let behaviour = String::from_utf8_lossy(&marker[17..]).into_owned();
        match behaviour.trim_end_matches('-') {
            "honest" => {}
            "loop" => sabotage::forever(),
            "panic" => panic!("as asked"),
            "grow" => sabotage::grow(),
            "name" => description.name = text("../hostile"),
            "no-name" => description.name = String::new(),
            "no-scheme" => description.schemes.clear(),
            "bad-scheme" => description.schemes = vec![text("a b")],
            "dir-scheme" => description.schemes = vec![text("dir")],
            "many-schemes" => description.schemes = vec![text("hostile"); 100_000],
            "many-options" => description.options = vec![description.options[0].clone(); 1_000],
            "long" => description.summary = "x".repeat(10_000_000),
            "escape" => description.summary = text("a\u{1b}[2Jb\nc"),
            "oci" => description.manifests = ManifestForm::Oci,
            "version" => description.version = "é".repeat(100),
            "host-call" => drop(storage::open()),
            other => panic!("'{other}' is not a behaviour"),
        }
        description
    }
}
