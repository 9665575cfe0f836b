//! The permissions of a plugin, which follow from its component's imports.

use super::violation::violation;
use occystrap_base::error::Result;

/// The package whose interfaces are granted.
const PACKAGE: &str = "occystrap:output/";

/// A permission: an interface that a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The interface, as the WIT names it.
    pub interface: &'static str,
    /// The permission in plain words.
    pub words: &'static str,
}

/// Every interface of occystrap's own package. `types` holds no functions and grants nothing.
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

/// Every interface of WASI that a component may import. None of them can do harm: they are listed so that
/// `plugin show` can say so of each.
pub const WASI: [Permission; 29] = [
    Permission { interface: "wasi:cli/environment", words: "see no environment, no arguments" },
    Permission { interface: "wasi:cli/exit", words: "end itself, which counts as a crash" },
    Permission { interface: "wasi:cli/stdin", words: "read an input that is empty" },
    Permission { interface: "wasi:cli/stdout", words: "print lines to the log" },
    Permission { interface: "wasi:cli/stderr", words: "print lines to the log, as warnings" },
    Permission { interface: "wasi:cli/terminal-input", words: TERMINAL },
    Permission { interface: "wasi:cli/terminal-output", words: TERMINAL },
    Permission { interface: "wasi:cli/terminal-stdin", words: TERMINAL },
    Permission { interface: "wasi:cli/terminal-stdout", words: TERMINAL },
    Permission { interface: "wasi:cli/terminal-stderr", words: TERMINAL },
    Permission {
        interface: "wasi:clocks/monotonic-clock",
        words: "see for how long it has computed; waiting takes no time",
    },
    Permission {
        interface: "wasi:clocks/wall-clock",
        words: "see a clock that stands at 1970-01-01",
    },
    Permission { interface: "wasi:filesystem/preopens", words: "learn that there are no files" },
    Permission { interface: "wasi:filesystem/types", words: NOTHING },
    Permission { interface: "wasi:http/outgoing-handler", words: NOTHING },
    Permission { interface: "wasi:http/types", words: NOTHING },
    Permission { interface: "wasi:io/error", words: "" },
    Permission { interface: "wasi:io/poll", words: "" },
    Permission { interface: "wasi:io/streams", words: "" },
    Permission { interface: "wasi:random/random", words: RANDOM },
    Permission { interface: "wasi:random/insecure", words: RANDOM },
    Permission { interface: "wasi:random/insecure-seed", words: RANDOM },
    Permission { interface: "wasi:sockets/instance-network", words: NOTHING },
    Permission { interface: "wasi:sockets/ip-name-lookup", words: NOTHING },
    Permission { interface: "wasi:sockets/network", words: NOTHING },
    Permission { interface: "wasi:sockets/tcp", words: NOTHING },
    Permission { interface: "wasi:sockets/tcp-create-socket", words: NOTHING },
    Permission { interface: "wasi:sockets/udp", words: NOTHING },
    Permission { interface: "wasi:sockets/udp-create-socket", words: NOTHING },
];

const TERMINAL: &str = "learn that there is no terminal";
const RANDOM: &str = "get numbers that are the same in every run";
const NOTHING: &str = "do nothing: a call ends the session";

/// Prefix of the names of WASI's interfaces.
pub const WASI_PACKAGES: &str = "wasi:";

/// The offered versions of WASI, 0.2.x; in 0.3 functions are asynchronous, which is not supported here.
const WASI_VERSION: &str = "0.2.";

/// The hint for a component that imports anything else.
const OFFERED: &str = "a plugin may import the interfaces of occystrap:output@0.1.0, and those of \
    WASI 0.2, which give access to nothing";

/// Returns the permissions of a component with these imports. Errors when it imports anything else.
pub fn of<'a>(plugin: &str, imports: impl IntoIterator<Item = &'a str>) -> Result<Vec<Permission>> {
    let mut permissions = Vec::new();
    for name in imports {
        let interface = name
            .strip_prefix(PACKAGE)
            .map(|rest| rest.split_once('@').map_or(rest, |(interface, _)| interface));
        let own = ALL.iter().find(|known| Some(known.interface) == interface);
        match own.or_else(|| wasi_interface(name)) {
            Some(permission) => permissions.push(*permission),
            None => {
                let rule = format!("it imports '{name}', which this version does not offer");
                return Err(violation(plugin, rule).hint(OFFERED));
            }
        }
    }
    Ok(permissions)
}

/// Returns the interface that an import names, if it is one of [`WASI`] in an offered version.
#[must_use]
pub fn wasi_interface(import: &str) -> Option<&'static Permission> {
    let (name, version) = import.split_once('@')?;
    WASI.iter().find(|known| known.interface == name && version.starts_with(WASI_VERSION))
}

/// Returns what permissions allow, one line for each, with a remark: first what occystrap grants, then what a
/// language's runtime imports, which is much and grants nothing.
#[must_use]
pub fn in_words(
    permissions: &[Permission],
    remark: impl Fn(&Permission) -> &'static str,
) -> Vec<String> {
    let mut lines: Vec<((&str, &str), Vec<&str>)> = Vec::new();
    let (runtime, own): (Vec<&Permission>, Vec<&Permission>) = permissions
        .iter()
        .filter(|permission| !permission.words.is_empty())
        .partition(|permission| permission.interface.starts_with(WASI_PACKAGES));
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
