//! Which plugin wrote something.

use serde::{Deserialize, Serialize};

use occystrap_base::oci::Digest;

/// Which plugin, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginIdentity {
    /// Its name.
    pub name: String,
    /// What it calls its version.
    pub version: String,
    /// Of the component.
    pub sha256: Digest,
    /// Of the WIT package.
    pub wit: String,
}
