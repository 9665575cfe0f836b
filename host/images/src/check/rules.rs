//! The names of all rules, and which findings make a check fail.
//!
//! What it refuses: to let the user ignore a rule that does not exist, because a gate with a typing error is open.

use std::collections::BTreeSet;

use super::finding::Severity;

/// The names of all rules (docs/inspecting.md), in alphabetical order.
pub const RULES: [&str; 60] = [
    "annotations",
    "args-escaped",
    "config",
    "config-descriptor",
    "config-digest",
    "config-size",
    "config-values",
    "created",
    "device",
    "diff-id",
    "directory-over-link",
    "docker-media-type",
    "duplicate-file",
    "duplicate-member",
    "foreign-layer",
    "history-count",
    "image",
    "index",
    "large-layer",
    "layer-compression",
    "layer-count",
    "layer-data",
    "layer-descriptor",
    "layer-digest",
    "layer-elsewhere",
    "layer-missing",
    "layer-size",
    "layers",
    "layout",
    "manifest",
    "many-layers",
    "media-type",
    "name",
    "oci-media-type",
    "overlay-attribute",
    "overwritten",
    "platform",
    "replaced-directory",
    "rootfs-type",
    "schema-version",
    "served",
    "setuid",
    "source",
    "tar-attribute",
    "tar-format",
    "tar-link",
    "tar-name",
    "tar-owner",
    "tar-parent",
    "tar-path",
    "tar-permissions",
    "tar-through-link",
    "tar-timestamp",
    "tar-trailer",
    "tar-type",
    "whiteout",
    "whiteout-nothing",
    "whiteout-size",
    "world-writable",
    "zstd-compat",
];

/// The findings that make a check fail.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The least severity of them: an error, a warning or a note. What could not be checked has an exit code of its own.
    pub fail_on: Severity,
    /// Rules whose findings are counted as ignored and not reported.
    pub ignored: BTreeSet<String>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { fail_on: Severity::Error, ignored: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_listed_once_and_documented() {
        assert!(RULES.is_sorted_by(|first, second| first < second));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/inspecting.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, rules) = text.split_once("### Rules").unwrap();
        let rules = rules.split("\n#### Where").next().unwrap();
        let cells =
            rules.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once(" |")?.0));
        let documented: BTreeSet<&str> = cells
            .flat_map(|cell| cell.split([',', ' ', '`']))
            .filter(|name| !name.is_empty())
            .collect();
        assert_eq!(documented, RULES.into_iter().collect());
    }
}
