//! Verification cannot change a destination: it only has the handles of `ReadAccess`, which have no method that writes.

use std::path::{Path, PathBuf};

/// Types that can change a destination, and the file system functions that can.
const WRITERS: &[&str] = &[
    "Grant",
    "Destination",
    "BlockingRepository",
    "BlockingSite",
    "EngineImage",
    "ArchiveUpload",
    "Pending",
    "Staging",
    "fs::write",
    "fs::rename",
    "fs::remove_file",
    "create",
    "push_manifest",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// Whether a line has a name, and not a longer name that it is part of.
fn names(line: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + name.len()..].starts_with(is_part)
    })
}

#[test]
fn verification_has_no_handle_that_can_change_a_destination() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/src");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let source = std::fs::read_to_string(file).unwrap();
        let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
        for (number, line) in (1..).zip(source[..end].lines()) {
            let code = line.split("//").next().unwrap_or_default();
            // A variant of an enum with the name of a kind of destination is no handle.
            let is_variant = |name: &str| code.contains(&format!("::{name}"));
            let found = WRITERS.iter().filter(|name| names(code, name) && !is_variant(name));
            let found: Vec<_> = found.collect();
            if !found.is_empty() {
                wrong.push(format!("{}:{number}: {found:?}", file.display()));
            }
        }
    }
    assert!(files.len() > 30, "{} files", files.len());
    assert!(wrong.is_empty(), "verification could write:\n{}", wrong.join("\n"));
}
