//! `plugins.lock`: what each committed component is and what it was built from.

use serde::Serialize;

/// The whole file, as JSON.
#[derive(Serialize, PartialEq, Eq)]
pub struct Lock {
    /// The compiler that the components were built with; another one may give other bytes.
    pub rustc: String,
    pub plugins: Vec<Plugin>,
}

/// One component.
#[derive(Serialize, PartialEq, Eq)]
pub struct Plugin {
    pub name: String,
    /// SHA-256 of the component.
    pub sha256: String,
    /// SHA-256 of its sources (`inputs.rs`).
    pub inputs: String,
    /// The interfaces it imports: its permissions.
    pub imports: Vec<String>,
}

impl Lock {
    pub fn render(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}
