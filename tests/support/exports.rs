//! Exports of a mirror: made, read, damaged.
//!
//!     let gap = Gap::new(2, 2);                       // two repositories with two tags each
//!     gap.export("one", &[]).exits(0);
//!     gap.import("one", &[]).exits(0);

use std::path::Path;

use serde_json::Value;

use super::cli::{Ran, Sandbox, Tree};
use super::mirrored::{FILE, Mirrored, mirror};
use super::registry::Registry;

/// A registry that can be reached, a registry behind an air gap, and a machine for both.
pub struct Gap {
    pub source: Registry,
    pub far: Registry,
    pub sandbox: Sandbox,
}

impl Gap {
    /// With a file for so many repositories with so many tags each, which go to `mirror/appN` of a host that is not there.
    pub fn new(repositories: usize, tags: usize) -> Self {
        let (source, far, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let many = Mirrored::at(&source, repositories, tags);
        many.write_file(&sandbox, "registry.invalid/mirror/{name}", &[]);
        Self { source, far, sandbox }
    }

    /// Exports into a directory or an archive of the sandbox.
    pub fn export(&self, to: &str, more: &[&str]) -> Ran {
        mirror(&self.sandbox, "export", &[&["--to", to], more].concat())
    }

    /// The URI that images are imported below.
    pub fn to(&self) -> String {
        format!("registry://{}/far", self.far.url_host())
    }

    /// Imports into the registry behind the gap.
    pub fn import(&self, from: &str, more: &[&str]) -> Ran {
        let to = self.to();
        self.sandbox.run(&[&["mirror", "import", from, "--to", &to, "--insecure"], more].concat())
    }

    /// The document of an export.
    pub fn document(&self, export: &str) -> Value {
        let text = std::fs::read(self.sandbox.path(export).join("export.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Checks that the registry behind the gap has the images that the source has.
    #[track_caller]
    pub fn assert_there(&self, images: &[(&str, &str)]) {
        for (name, tag) in images {
            let found = self.far.manifest(&format!("far/mirror/{name}"), tag);
            assert_eq!(found, self.source.manifest(&format!("team/{name}"), tag), "{name}:{tag}");
            assert!(found.is_some(), "{name}:{tag}");
        }
    }

    /// Requests to the registry behind the gap that change something.
    pub fn writes(&self) -> usize {
        let requests = self.far.requests();
        requests.iter().filter(|one| !["GET", "HEAD"].contains(&one.method.as_str())).count()
    }

    /// The files of an export, without its folders.
    pub fn files(&self, export: &str) -> Vec<String> {
        let tree: Tree = self.sandbox.tree(export);
        let root = self.sandbox.path(export);
        tree.into_keys().filter(|path| root.join(path.trim_start_matches('/')).is_file()).collect()
    }
}

/// Runs `sha256sum -c SHA256SUMS` in a directory.
pub fn sha256sum(folder: &Path) -> std::process::Output {
    std::process::Command::new("sha256sum")
        .args(["-c", "--quiet", "--strict", "SHA256SUMS"])
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Changes one bit in the middle of a file.
pub fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    std::fs::write(path, bytes).unwrap();
}

/// The file of the sandbox.
pub fn file_of(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path(FILE)).unwrap()
}
