//! What a plugin may do, from what its component imports.

use super::capability::wasi;
use super::state::violation;
use occystrap_base::error::Result;

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
pub const ALL: [Permission; 12] = [
    Permission { interface: "types", words: "" },
    Permission { interface: "log", words: "show you messages" },
    Permission {
        interface: "blobs",
        words: "move and read the config and layers of the image being written",
    },
    Permission { interface: "entries", words: "list the files in its layers, with their digests" },
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
    Permission {
        interface: "http-in",
        words: "read what is in the one folder of a web server that you name as destination, and on hosts that you name with --allow-net, with your logins for them, which it does not see",
    },
    Permission {
        interface: "http-out",
        words: "while writing, create and replace things there, and call services of these hosts; never while verifying",
    },
];

/// What there is instead.
const OFFERED: &str = "a plugin may import the interfaces of occystrap:output@0.1.0, and those of \
    WASI 0.2, behind which there is nothing";

/// The permissions of a component with these imports. An import of anything else is refused.
pub fn of<'a>(plugin: &str, imports: impl IntoIterator<Item = &'a str>) -> Result<Vec<Permission>> {
    let mut permissions = Vec::new();
    for name in imports {
        let interface = name
            .strip_prefix(PACKAGE)
            .map(|rest| rest.split_once('@').map_or(rest, |(interface, _)| interface));
        let own = ALL.iter().find(|known| Some(known.interface) == interface);
        match own.or_else(|| wasi::interface(name)) {
            Some(permission) => permissions.push(*permission),
            None => {
                let rule = format!("it imports '{name}', which this version does not offer");
                return Err(violation(plugin, rule).hint(OFFERED));
            }
        }
    }
    Ok(permissions)
}

/// What permissions allow, one line each, with a remark: what occystrap grants first, and then what
/// a language's runtime imports, which is much and grants nothing.
#[must_use]
pub fn in_words(
    permissions: &[Permission],
    remark: impl Fn(&Permission) -> &'static str,
) -> Vec<String> {
    let mut lines: Vec<((&str, &str), Vec<&str>)> = Vec::new();
    let (runtime, own): (Vec<&Permission>, Vec<&Permission>) = permissions
        .iter()
        .filter(|permission| !permission.words.is_empty())
        .partition(|permission| permission.interface.starts_with(wasi::PACKAGES));
    for permission in own.into_iter().chain(runtime) {
        let key = (permission.words, remark(permission));
        match lines.iter_mut().find(|(known, _)| *known == key) {
            Some((_, interfaces)) => interfaces.push(permission.interface),
            None => lines.push((key, vec![permission.interface])),
        }
    }
    let line = |((words, remark), interfaces): ((&str, &str), Vec<&str>)| {
        format!("{words} ({}){remark}", interfaces.join(", "))
    };
    lines.into_iter().map(line).collect()
}
