//! What a plugin may do, from what its component imports.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::state::violation;
use crate::error::Result;

/// The package whose interfaces are granted.
const PACKAGE: &str = "occystrap:output/";

/// One thing that a plugin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The interface, as the WIT names it.
    pub interface: &'static str,
    /// In plain words.
    pub words: &'static str,
}

/// Every interface that there is. `types` holds no functions and grants nothing.
pub const ALL: [Permission; 9] = [
    Permission { interface: "types", words: "" },
    Permission { interface: "log", words: "show you messages" },
    Permission {
        interface: "blobs",
        words: "move and read the config and layers of the image being written",
    },
    Permission {
        interface: "storage",
        words: "read the one directory or file that you name as destination",
    },
    Permission {
        interface: "storage-edit",
        words: "while writing, create and replace files there; never while verifying",
    },
    Permission {
        interface: "registry",
        words: "look at blobs and manifests of the one repository that you name as destination",
    },
    Permission {
        interface: "registry-push",
        words: "while writing, push the image's blobs and a manifest there; never while verifying",
    },
    Permission {
        interface: "engine",
        words: "look at the one image, in the one container engine, that you name as destination",
    },
    Permission {
        interface: "engine-load",
        words: "while writing, load the image there under that name; never while verifying",
    },
];

/// The permissions of a component. An import of anything else is refused.
pub fn of(plugin: &str, engine: &Engine, component: &Component) -> Result<Vec<Permission>> {
    let mut permissions = Vec::new();
    let component_type = component.component_type();
    for (name, _) in component_type.imports(engine) {
        let interface = name
            .strip_prefix(PACKAGE)
            .map(|rest| rest.split_once('@').map_or(rest, |(interface, _)| interface));
        match ALL.iter().find(|known| Some(known.interface) == interface) {
            Some(permission) => permissions.push(*permission),
            None => {
                let rule = format!("it imports '{name}', which this version does not offer");
                return Err(violation(plugin, rule)
                    .hint("a plugin may import the interfaces of occystrap:output@0.1.0 only"));
            }
        }
    }
    Ok(permissions)
}
