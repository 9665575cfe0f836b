//! An output plugin that breaks the rule that the option `?behaviour=` names. Without the option it follows all
//! rules: it writes a config and uncompressed layers, and nothing else.
//!
//! The host calls `describe` without a URI, and so without options. The behaviour of `describe` is therefore a
//! marker in the data of the component ([`MARKER`]), which the tests overwrite.

// This plugin does on purpose what the lints prevent.
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

/// The behaviour of `describe`: the text after the `=`, padded with `-`.
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
        // Read at run time, so that the compiler does not use the text from the source.
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
