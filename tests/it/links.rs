//! Links of the pages lead to files and headings that exist.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Folders with pages, besides the root.
const FOLDERS: [&str; 4] = ["docs", "examples", "fuzz", "wit"];

/// Folders that are made by tools.
const MADE: [&str; 4] = ["node_modules", "build", "target", "corpus"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Adds the pages of a folder, and of those below it.
fn pages(folder: &Path, is_deep: bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        } else if is_deep && path.is_dir() && !MADE.contains(&name) {
            pages(&path, true, found);
        }
    }
}

/// Returns the anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // Of a link, the text counts.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let kept = text.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns the anchors of a page. A heading that is there twice has a number.
fn anchors(page: &Path) -> HashSet<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut found = HashSet::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        if is_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let name = anchor(heading);
        let count = counts.entry(name.clone()).or_default();
        found.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    found
}

/// Returns what the links of a text name, besides addresses.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target).filter(|target| {
        !target.contains(char::is_whitespace) && !target.contains("://") && !target.is_empty()
    })
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading() {
    let mut all = Vec::new();
    pages(&root(), false, &mut all);
    FOLDERS.iter().for_each(|folder| pages(&root().join(folder), true, &mut all));
    let (mut links, mut broken) = (0, Vec::new());
    for page in &all {
        let text = std::fs::read_to_string(page).unwrap();
        for target in targets(&text) {
            links += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.with_file_name(path) };
            let is_page = file.extension().is_some_and(|extension| extension == "md");
            let is_there = file.exists()
                && (heading.is_empty() || !is_page || anchors(&file).contains(heading));
            if !is_there {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(links > 200, "{links}");
}

#[test]
fn anchors_are_those_of_the_web_page() {
    assert_eq!(anchor(" Coming from 0.4.17"), "coming-from-0417");
    assert_eq!(anchor(" `squash`, and [more](filters.md)"), "squash-and-more");
    assert_eq!(anchor(" Signatures, SBOMs and attestations"), "signatures-sboms-and-attestations");
}
