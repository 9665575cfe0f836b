//! What the documentation says of the tests and the interfaces is so.

use std::path::{Path, PathBuf};

use occystrap::plugin::permission;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every source in which there may be tests, by its name without `.rs`.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn paths(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => paths(&path, found),
            false => found.push(path.display().to_string()),
        }
    }
}

/// Words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_attack_has_the_test_that_is_named() {
    let text = std::fs::read_to_string(root().join("docs/permissions.md")).unwrap();
    let mut all = Vec::new();
    sources(&root().join("tests/it"), &mut all);
    sources(&root().join("host/src"), &mut all);
    let mut named = 0;
    for (file, test) in quoted(&text).filter_map(|word| word.split_once("::")) {
        let declared = format!("#[test]\nfn {test}()");
        let inner = format!("#[test]\n    fn {test}()");
        let there = |(name, source): &(String, String)| {
            name == file && (source.contains(&declared) || source.contains(&inner))
        };
        assert!(all.iter().any(there), "there is no test '{file}::{test}'");
        named += 1;
    }
    assert!(named > 50, "{named}");
    let wide = |line: &&str| line.starts_with("| ") && line.matches('|').count() > 4;
    assert_eq!(text.lines().find(wide), None, "a cell too many");
}

#[test]
fn every_interface_is_explained() {
    let text = std::fs::read_to_string(root().join("docs/permissions.md")).unwrap();
    for permission in permission::ALL {
        let row = format!("\n| `{}` |", permission.interface);
        assert!(
            text.contains(&row),
            "docs/permissions.md has no row for '{}'",
            permission.interface
        );
    }
}

/// A map with rooms that are not there, or without those that are, leads nobody.
#[test]
fn the_map_of_the_house_is_true() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let source = root().join("host/src");
    let mut files = Vec::new();
    paths(&source, &mut files);
    let is_there = |name: &str| {
        let of_a_room = format!("/{name}");
        root().join(name).exists() || files.iter().any(|path| path.ends_with(&of_a_room))
    };
    let named: Vec<&str> = quoted(&text).filter(|word| word.ends_with(".rs")).collect();
    assert!(named.len() > 80, "{}", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
    for entry in std::fs::read_dir(&source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        let told = [format!("`{room}.rs`"), format!("`{room}/`")];
        let is_told = told.iter().any(|room| text.contains(room.as_str()));
        assert!(
            is_told || matches!(room, "lib" | "template"),
            "ARCHITECTURE.md does not name '{name}'"
        );
    }
}
