//! The digest of everything that a plugin is built from.
//!
//! The tests of the host include this file as well, so that a plain `cargo test` detects an outdated component
//! without a WebAssembly target.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Returns the SHA-256, in hexadecimal, of the paths and contents of everything that a plugin is built from:
///
/// - the plugin's own crate;
/// - the crates that plugins share;
/// - the WIT package;
/// - the manifest and the lock file of the workspace.
///
/// `root` is the repository. The folders are relative to it.
pub fn digest(root: &Path, crate_folder: &str, workspace: &str) -> io::Result<String> {
    let mut files: Vec<PathBuf> = [
        format!("{workspace}/Cargo.toml"),
        format!("{workspace}/Cargo.lock"),
        format!("{crate_folder}/Cargo.toml"),
        // The SDK's manifest inherits values from this one.
        "plugins/Cargo.toml".to_owned(),
        "plugins/sdk/Cargo.toml".to_owned(),
        "plugins/docker-save/Cargo.toml".to_owned(),
        "plugins/manifest/Cargo.toml".to_owned(),
    ]
    .map(|file| root.join(file))
    .into();
    let own = format!("{crate_folder}/src");
    let shared = ["wit", "plugins/sdk/src", "plugins/docker-save/src", "plugins/manifest/src"];
    for folder in shared.into_iter().chain([own.as_str()]) {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    files.dedup();
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        let content = std::fs::read(&file)?;
        hasher.update(format!("{name}\n{}\n", content.len()));
        hasher.update(&content);
    }
    Ok(hex(&hasher.finalize()))
}

/// Returns the SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            // `wit/released` has copies of earlier versions. Nothing is built from them.
            if path.ends_with("wit/released") {
                continue;
            }
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "wit")
        {
            files.push(path);
        }
    }
    Ok(())
}
