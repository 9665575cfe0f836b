//! The order of modules: inside each crate, modules of one folder use each other in one direction only.
//!
//! The compiler enforces the order of the crates. It accepts modules that use each other in a circle, and a reader
//! then has to know all of them to understand one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules by name, each with the modules of the same folder that it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn host() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The sources of a crate, by module path.
fn modules(folder: &Path, path: &[String], found: &mut BTreeMap<Vec<String>, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let mut module = path.to_vec();
        module.push(file.file_stem().unwrap().to_str().unwrap().to_owned());
        if file.is_dir() {
            modules(&file, &module, found);
        } else if !matches!(module.last().map(String::as_str), Some("lib" | "main" | "tests")) {
            found.insert(module, std::fs::read_to_string(&file).unwrap());
        }
    }
}

/// The source without comments, strings and the tests at its end.
fn code(source: &str) -> String {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let lines = source[..end].lines();
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every path in a `use` line, its groups in braces taken apart.
fn leaves(tree: &str, prefix: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        found.push(format!("{prefix}{}", tree.split(" as ").next().unwrap_or_default().trim()));
        return;
    };
    let group = group.trim_end().trim_end_matches('}');
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut start) = (0, 0);
    for (at, character) in group.char_indices().chain([(group.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    leaves(&group[start..at], &prefix, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Every path that a module names: those of its `use` lines, and those that start with `crate::` or `super::`.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let is_word = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        rest = &rest[at + 4..];
        if is_word && let Some((tree, _)) = rest.split_once(';') {
            leaves(tree, "", &mut found);
        }
    }
    for start in ["crate::", "super::"] {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for (at, _) in code.match_indices(start) {
            let end = code[at..].find(|c| !is_path(c)).map_or(code.len(), |length| at + length);
            found.push(code[at..end].to_owned());
        }
    }
    found
}

/// The module path that a path leads to, from a module.
fn absolute(path: &str, module: &[String]) -> Option<Vec<String>> {
    let mut parts = path.split("::").map(str::trim).peekable();
    let mut found = match *parts.peek()? {
        "crate" => {
            parts.next();
            Vec::new()
        }
        "super" | "self" => module.to_vec(),
        // A child is named as it is.
        _ => module.to_vec(),
    };
    while let Some(part) = parts.next_if(|part| matches!(*part, "super" | "self")) {
        if part == "super" {
            found.pop()?;
        }
    }
    found.extend(parts.map(str::to_owned));
    Some(found)
}

/// For each folder of a crate, which of its modules use which.
fn folders(source: &Path) -> BTreeMap<Vec<String>, Uses> {
    let mut all = BTreeMap::new();
    modules(source, &[], &mut all);
    let mut folders = BTreeMap::<Vec<String>, Uses>::new();
    for (module, text) in &all {
        for path in paths(&code(text)) {
            let Some(mut target) = absolute(&path, module) else { continue };
            while !target.is_empty() && !all.contains_key(&target) {
                target.pop();
            }
            let shared = module.iter().zip(&target).take_while(|(one, other)| one == other).count();
            if let (Some(from), Some(to)) = (module.get(shared), target.get(shared)) {
                let uses = folders.entry(module[..shared].to_vec()).or_default();
                uses.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    folders
}

/// A circle of modules, if there is one.
fn cycle(uses: &Uses) -> Option<Vec<String>> {
    fn visit(
        name: &str,
        uses: &Uses,
        trail: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        if let Some(at) = trail.iter().position(|known| known == name) {
            trail.drain(..at);
            trail.push(name.to_owned());
            return true;
        }
        if done.contains(name) {
            return false;
        }
        trail.push(name.to_owned());
        for next in uses.get(name).into_iter().flatten() {
            if visit(next, uses, trail, done) {
                return true;
            }
        }
        trail.pop();
        done.insert(name.to_owned());
        false
    }
    let (mut trail, mut done) = (Vec::new(), BTreeSet::new());
    uses.keys().any(|name| visit(name, uses, &mut trail, &mut done)).then_some(trail)
}

#[test]
fn modules_of_a_folder_use_each_other_in_one_direction() {
    let mut cycles = Vec::new();
    for name in ["base", "net", "layer", "serve", "images", "output", "verify", "mirror", "."] {
        for (folder, uses) in folders(&host().join(name).join("src")) {
            let place =
                [&["host".to_owned(), name.to_owned(), "src".to_owned()], &folder[..]].concat();
            let place = place.join("/").replace("/./", "/");
            if let Some(circle) = cycle(&uses) {
                cycles.push(format!("{place}: {}", circle.join(" -> ")));
            }
        }
    }
    assert!(cycles.is_empty(), "modules use each other in circles:\n{}", cycles.join("\n"));
}

#[test]
fn a_circle_is_found_and_named() {
    let uses = |pairs: &[(&str, &str)]| {
        let mut uses = Uses::new();
        for (from, to) in pairs {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        uses
    };
    assert_eq!(cycle(&uses(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = cycle(&uses(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap();
    assert_eq!(found, ["b", "c", "b"]);
}

#[test]
fn use_lines_are_read_with_their_groups() {
    let module = ["look".to_owned(), "files".to_owned()];
    let code = "use super::{check::{self, Check}, web};\nuse crate::verdict::object as x;";
    let found: BTreeSet<String> = paths(code)
        .iter()
        .filter_map(|path| absolute(path, &module))
        .map(|p| p.join("::"))
        .collect();
    for expected in ["look::check", "look::check::Check", "look::web", "verdict::object"] {
        assert!(
            found.iter().any(|path| path == expected || path == &format!("{expected}::self")),
            "{expected}: {found:?}"
        );
    }
}
