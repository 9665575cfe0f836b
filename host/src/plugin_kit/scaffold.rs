//! `occystrap plugin new`: makes a crate for a new output plugin, which builds without changes.
//!
//! The crate holds a copy of the SDK and of the interface, from this binary: building it needs no
//! network beyond what Cargo fetches from crates.io, and no clone of this repository. It
//! refuses to write to a folder that is not empty.

use std::path::Path;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_output::plugin::embedded::EMBEDDED;

/// Files of the crate: path and content.
const FILES: [(&str, &str); 10] = [
    ("Cargo.toml", include_str!("../../template/Cargo.toml.in")),
    (".cargo/config.toml", include_str!("../../template/cargo-config.toml.in")),
    ("rust-toolchain.toml", include_str!("../../template/rust-toolchain.toml.in")),
    (".gitignore", include_str!("../../template/gitignore.in")),
    ("README.md", include_str!("../../template/README.md.in")),
    ("src/lib.rs", include_str!("../../template/src/lib.rs")),
    ("src/session.rs", include_str!("../../template/src/session.rs")),
    ("src/sums.rs", include_str!("../../template/src/sums.rs")),
    ("src/verify.rs", include_str!("../../template/src/verify.rs")),
    ("tests/conformance.rs", include_str!("../../template/tests/conformance.rs")),
];

/// The SDK, below [`SDK`]: `template/sdk` leads to its source, `wit` to the interface.
const SDK_FILES: [(&str, &str); 22] = [
    ("Cargo.toml", include_str!("../../template/sdk.toml.in")),
    // 'cargo fmt' must leave this list as it is.
    ("rustfmt.toml", include_str!("../../template/sdk-rustfmt.toml")),
    ("src/check.rs", include_str!("../../template/sdk/check.rs")),
    ("src/files.rs", include_str!("../../template/sdk/files.rs")),
    ("src/lib.rs", include_str!("../../template/sdk/lib.rs")),
    ("src/web.rs", include_str!("../../template/sdk/web.rs")),
    ("wit/README.md", include_str!("../../wit/README.md")),
    ("wit/blobs.wit", include_str!("../../wit/blobs.wit")),
    ("wit/engine-load.wit", include_str!("../../wit/engine-load.wit")),
    ("wit/engine.wit", include_str!("../../wit/engine.wit")),
    ("wit/entries.wit", include_str!("../../wit/entries.wit")),
    ("wit/http-in.wit", include_str!("../../wit/http-in.wit")),
    ("wit/http-out.wit", include_str!("../../wit/http-out.wit")),
    ("wit/log.wit", include_str!("../../wit/log.wit")),
    ("wit/registry-push.wit", include_str!("../../wit/registry-push.wit")),
    ("wit/registry.wit", include_str!("../../wit/registry.wit")),
    ("wit/storage-edit.wit", include_str!("../../wit/storage-edit.wit")),
    ("wit/storage.wit", include_str!("../../wit/storage.wit")),
    ("wit/types.wit", include_str!("../../wit/types.wit")),
    ("wit/verifier.wit", include_str!("../../wit/verifier.wit")),
    ("wit/world.wit", include_str!("../../wit/world.wit")),
    ("wit/writer.wit", include_str!("../../wit/writer.wit")),
];

/// Folder of the copy of the SDK.
const SDK: &str = "vendor/occystrap-plugin";

/// Manifest of the SDK, which names its dependencies.
const SDK_MANIFEST: &str = include_str!("../../template/sdk-manifest.toml");

/// Longest name, in bytes: the limit of [`occystrap_output::plugin::description`].
const LONGEST_NAME: usize = 64;

/// Names that Cargo or the compiler reserves.
const TAKEN: [&str; 6] = ["alloc", "core", "proc-macro", "std", "test", "occystrap-plugin"];

/// Checks the name of a plugin, which is the name of its crate and its URI scheme as well.
pub fn check_name(name: &str) -> Result<()> {
    let letters =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !letters || !begins || name.ends_with('-') || name.len() > LONGEST_NAME {
        return Err(Error::usage(format!("'{name}' is not a name for a plugin"))
            .hint("lower-case letters, digits and '-', a letter first, such as my-output"));
    }
    if let Some(known) = EMBEDDED.iter().find(|known| known.schemes.contains(&name)) {
        let message = format!("'{name}://' is a scheme of the built-in plugin '{}'", known.name);
        return Err(Error::usage(message).hint("choose another name"));
    }
    if TAKEN.contains(&name) {
        return Err(Error::usage(format!("the name '{name}' is reserved by Rust"))
            .hint("choose another name"));
    }
    Ok(())
}

/// Writes the crate. Errors when the name is not valid, or the folder is not empty or cannot be written.
pub fn write(name: &str, folder: &Path) -> Result<()> {
    check_name(name)?;
    let display = folder.display();
    let occupied = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => false,
        Err(cause) => return Err(Error::io(Kind::Destination, "write to", display, &cause)),
    };
    if occupied {
        return Err(Error::usage(format!("the folder '{display}' has something in it"))
            .hint("name another with --path DIR"));
    }
    for (path, content) in FILES {
        put(&folder.join(path), &fill(content, name))?;
    }
    for (path, content) in SDK_FILES {
        let content = match path {
            "Cargo.toml" => sdk_manifest(content),
            _ => content.to_owned(),
        };
        put(&folder.join(SDK).join(path), &content)?;
    }
    Ok(())
}

fn fill(content: &str, name: &str) -> String {
    content
        .replace("@NAME@", name)
        .replace("@FILE@", &file_name(name))
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

/// Returns the name that Cargo gives the library of a crate.
#[must_use]
pub fn file_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Returns the manifest of the SDK without the workspace that it has in this repository.
fn sdk_manifest(template: &str) -> String {
    let dependencies = SDK_MANIFEST.split_once("[dependencies]\n").map_or("", |(_, rest)| rest);
    template
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@RUST@", env!("CARGO_PKG_RUST_VERSION"))
        .replace("@DEPENDENCIES@\n", dependencies)
}

fn put(path: &Path, content: &str) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, content)
    };
    write().map_err(|cause| Error::io(Kind::Destination, "write", path.display(), &cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the content of a folder, by name.
    fn names(folder: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(folder).expect("the folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().into_string().expect("a name")
        };
        let mut names: Vec<String> = entries.map(name).filter(|name| name != "released").collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_of_the_sdk_and_of_the_interface_is_in_it() {
        for (prefix, folder) in [("src/", "template/sdk"), ("wit/", "wit")] {
            let listed: Vec<&str> =
                SDK_FILES.iter().filter_map(|(path, _)| path.strip_prefix(prefix)).collect();
            assert_eq!(listed, names(folder), "SDK_FILES and {folder}");
        }
    }

    #[test]
    fn the_sdk_depends_on_what_it_depends_on_here() {
        let manifest = sdk_manifest(SDK_FILES[0].1);
        assert!(manifest.contains("\nwit-bindgen = "), "{manifest}");
        assert!(!manifest.contains('@') && !manifest.contains("workspace"), "{manifest}");
    }

    #[test]
    fn names_that_are_none() {
        for name in ["", "A", "1a", "a b", "a_b", "../a", "a/b", "-a", "a-", "ä", "dir", "test"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["a", "my-output", "s3", "x-1-y"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
