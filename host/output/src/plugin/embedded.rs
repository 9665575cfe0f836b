//! The plugins that are part of the binary, and the URI schemes that no other plugin may answer to.
//!
//! `plugins/plugins.lock` says what the components are.

/// A plugin that is part of the binary.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// The name of the plugin.
    pub name: &'static str,
    /// The URI schemes it answers to.
    pub schemes: &'static [&'static str],
    /// The component's bytes.
    pub component: &'static [u8],
}

/// Every plugin that is part of the binary.
pub const EMBEDDED: [Embedded; 5] = [
    Embedded {
        name: "dir",
        schemes: &["dir", "directory"],
        component: include_bytes!("../../plugins/dir.wasm"),
    },
    Embedded {
        name: "docker",
        schemes: &["docker"],
        component: include_bytes!("../../plugins/docker.wasm"),
    },
    Embedded {
        name: "oci-layout",
        schemes: &["oci-layout"],
        component: include_bytes!("../../plugins/oci-layout.wasm"),
    },
    Embedded {
        name: "registry",
        schemes: &["registry"],
        component: include_bytes!("../../plugins/registry.wasm"),
    },
    Embedded {
        name: "tar",
        schemes: &["tar", "file"],
        component: include_bytes!("../../plugins/tar.wasm"),
    },
];

/// Schemes that were outputs in 0.4.17 and are not supported yet.
const NOT_YET: [&str; 2] = ["oci", "mounts"];

/// Returns whether a scheme was an output in 0.4.17 and is not supported yet.
#[must_use]
pub fn is_to_come(scheme: &str) -> bool {
    NOT_YET.contains(&scheme)
}

/// Schemes of sources, of web addresses, and of places from which plugins are added. A destination with such a
/// scheme would be confused with them.
const OTHERS: [&str; 4] = ["dockerpush", "quay", "http", "https"];

/// Returns the built-in plugin with a name.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static Embedded> {
    EMBEDDED.iter().find(|plugin| plugin.name == name)
}

/// Returns who owns a scheme that no other plugin may answer to, in words that follow "which". A built-in
/// plugin cannot be replaced: its scheme is a source as well, and `verify` checks its destinations without a
/// receipt, and the host reads both itself.
#[must_use]
pub fn reserved(scheme: &str) -> Option<String> {
    if let Some(taken) = EMBEDDED.iter().find(|known| known.schemes.contains(&scheme)) {
        return Some(format!("the built-in plugin '{}' does", taken.name));
    }
    let kept = NOT_YET.contains(&scheme) || OTHERS.contains(&scheme);
    kept.then(|| "occystrap keeps for itself".to_owned())
}
