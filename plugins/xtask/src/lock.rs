//! `plugins.lock`, which records the digest of each committed component, and of what it was built from.

use serde::Serialize;

/// The content of the file, which is JSON.
#[derive(Serialize, PartialEq, Eq)]
pub struct Lock {
    /// The compiler that built the components. Another compiler may give other bytes.
    pub rustc: String,
    pub plugins: Vec<Plugin>,
}

/// A component.
#[derive(Serialize, PartialEq, Eq)]
pub struct Plugin {
    pub name: String,
    /// The SHA-256 of the component.
    pub sha256: String,
    /// The SHA-256 of its sources (`inputs.rs`).
    pub inputs: String,
    /// The interfaces that it imports, which are its permissions.
    pub imports: Vec<String>,
}

impl Lock {
    pub fn render(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}
