//! Statements of the documentation about tests and interfaces are true.

use std::path::{Path, PathBuf};

use occystrap_output::plugin::permission;

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

/// The sources of each crate of the host.
fn crates() -> Vec<PathBuf> {
    let host = root().join("host");
    let below = ["base", "net", "layer", "serve", "images", "output", "verify", "mirror"]
        .map(|name| host.join(name));
    below.iter().chain([&host]).map(|package| package.join("src")).collect()
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
    crates().iter().for_each(|source| sources(source, &mut all));
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

#[test]
fn every_file_that_the_documents_name_exists_and_every_module_of_a_crate_is_in_the_map() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut files = Vec::new();
    crates().iter().for_each(|source| paths(source, &mut files));
    let exists = |name: &str| {
        let ending = format!("/{name}");
        root().join(name).exists() || files.iter().any(|path| path.ends_with(&ending))
    };
    let mut documents = vec![root().join("ARCHITECTURE.md")];
    documents.extend(
        (std::fs::read_dir(root().join("docs/decisions")).into_iter().flatten())
            .map(|entry| entry.unwrap().path()),
    );
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let named = quoted(&text).filter(|word| word.ends_with(".rs"));
        let missing: Vec<_> = named.filter(|name| !exists(name)).collect();
        assert!(missing.is_empty(), "{} names what is not there: {missing:?}", document.display());
    }
    for source in crates() {
        for entry in std::fs::read_dir(&source).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let module = name.trim_end_matches(".rs");
            let forms = [format!("`{module}.rs`"), format!("`{module}/`"), format!("`{module}`")];
            let is_named = forms.iter().any(|form| text.contains(form.as_str()));
            assert!(
                is_named || module == "lib",
                "ARCHITECTURE.md does not name '{name}' of {}",
                source.display()
            );
        }
    }
}

#[test]
fn the_command_reference_is_what_the_command_line_says() {
    // Variables that are set to nothing would change what is said of them.
    let mut expected = Vec::new();
    occystrap::cli::reference::write(occystrap::cli::command(), &mut expected).unwrap();
    let found = std::fs::read_to_string(root().join("docs/command-reference.md")).unwrap();
    assert!(
        found == String::from_utf8(expected).unwrap(),
        "docs/command-reference.md is out of date: \
         cargo run --example command_reference > docs/command-reference.md"
    );
}
