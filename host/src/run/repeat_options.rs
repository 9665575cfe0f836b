//! Options of the command line without which the same command would not work again: those that name
//! files and servers, and what becomes of layers that are stored elsewhere.

use std::path::Path;

use crate::cli::{Global, Process};
use occystrap_output::plugin::embedded::EMBEDDED;
use occystrap_output::receipt::repeat_command::option;
use occystrap_output::write::occupied;
use occystrap_output::write::target::Target;

/// Each as one word, its path from any folder.
pub fn options(asked: &Process, global: &Global, target: &Target) -> Vec<String> {
    let own = &target.plugin.description().name;
    let embedded = EMBEDDED.iter().any(|embedded| embedded.name == own);
    let word = |name: &'static str, path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        option(name, path.display())
    };
    let mut words = Vec::new();
    if target.force && occupied::is_unknown_file(target) {
        words.push(occupied::FORCE.to_owned());
    }
    if !embedded {
        words.extend(global.plugin.iter().map(|path| word("plugin", path)));
        words.extend(global.plugin_dir.iter().map(|path| word("plugin-dir", path)));
    }
    words.extend(global.authfile.iter().map(|path| word("authfile", path)));
    words.extend(global.ca_bundle.iter().map(|path| word("ca-bundle", path)));
    words.extend(global.netrc_file.iter().map(|path| word("netrc-file", path)));
    words.extend(asked.foreign_layers.map(|what| option("foreign-layers", what.name())));
    words.extend(asked.allow_net.iter().map(|server| option("allow-net", server)));
    words
}
