//! Test that `docs/mirror.schema.json` and the parser accept and refuse the same files.
//!
//! It runs Python's `jsonschema`. Where that is not installed, the test says `skipped: NAME: reason`; in CI that is a failure.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::Document;
use super::yaml::{Node, Value, parse};

/// Whether a file is accepted, and its lines after `version: 1`.
const FILES: [(bool, &str); 66] = [
    (true, "images: [{from: 'a:1', to: m.example/a}]"),
    (true, "images: [{from: a, to: m.example/a, tags: {semver: '>=1'}}]"),
    (true, "images: [{from: a, to: m.example/a, tags: {semver: ['1', '2'], latest: 3}}]"),
    (true, "images: [{from: a, to: m.example/a, tags: {regex: '.*', not: [x], newer-than: 90d}}]"),
    (true, "images: [{from: a, to: m.example/a, tags: {also: [latest, 1.10]}}]"),
    (true, "images: [{from: a, to: m.example/a, tags: {also: latest}}]"),
    (true, "images: [{from: 'q.io/{a,b}:1', to: 'm.example/{name}'}]"),
    (true, "images: [{from: 'localhost:5000/a:1', to: 'm.example/{registry}/{repository}'}]"),
    (true, "images: [{from: 'localhost:5000/a', to: m.example/a, tags: {latest: 1}}]"),
    (true, "images: [{list: images.txt, to: 'm.example/{repository}'}]"),
    (true, "images: [{from: 'a:1', to: 'oci-layout:///srv/x'}]"),
    (true, "images: [{from: 'a:1', to: m.example/a, platforms: all}]"),
    (
        true,
        "images: [{from: 'a:1', to: m.example/a, platforms: [linux/amd64, linux/arm/v7], index: rewrite}]",
    ),
    (true, "images: [{from: 'a:1', to: m.example/a, filters: [canonical]}]"),
    (true, "images: [{from: 'a:1', to: m.example/a, filters: []}]"),
    (true, "images: [{from: 'a:1', to: m.example/a, referrers: true}]"),
    (true, "images: [{from: 'a:1', to: m.example/a, referrers: [application/spdx+json]}]"),
    (true, "images: [{from: 'a:1', to: m.example/a, verify: none, on-conflict: error}]"),
    (true, "images: [{from: 'a:1', to: m.example/a, immutable: ['[0-9]*']}]"),
    (true, "images: [{from: 'a:1', to: m.example/a, immutable: 'v*'}]"),
    (true, "images: [{from: 'a:1'}]\ndefaults: {to: m.example/a}"),
    (true, "images: [{from: a, to: m.example/a}]\ndefaults: {tags: {latest: 2}}"),
    (true, "images: [{from: 'a:1', to: m.example/a}]\ndefaults: {tags: {latest: 2}, verify: full}"),
    (
        true,
        "images: [{from: 'a:1', to: m.example/a}]\nhosts: {docker.io: {requests-per-second: 0.5, connections: 4, pulls-left: 0}}",
    ),
    (true, "images: [{from: 'a:1', to: m.example/a}]\nhosts: {'localhost:5000': {connections: 1}}"),
    (true, "images: [{from: 'a:1', to: m.example/a}]\nprune: {extra: delete}"),
    (true, "images: [{from: 'a:1', to: m.example/a}]\nx-mine: {anything: [1]}"),
    (false, "images: []"),
    (false, "images:"),
    (false, "images: {}"),
    (false, "hosts: {docker.io: {connections: 1}}"),
    (false, "images: [text]"),
    (false, "images: [{}]"),
    (false, "images: [{to: m.example/a}]"),
    (false, "images: [{from: 'a:1'}]"),
    (false, "images: [{from: a, to: m.example/a}]"),
    (false, "images: [{from: a, list: b, to: m.example/a}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, tags: {latest: 1}}]"),
    (false, "images: [{list: a, to: 'm.example/{name}', tags: {latest: 1}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: [latest]}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {latest: 0}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {latest: 1.5}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {newer-than: 90}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {newer-than: 0d}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {also: []}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {also: ['a b']}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {regex: []}}]"),
    (false, "images: [{from: a, to: m.example/a, tags: {semvar: '1'}}]"),
    (false, "images: [{from: 'a:1', to: '{registry}/a'}]"),
    (false, "images: [{from: 'a:1', to: 'm.example/{repo}'}]"),
    (false, "images: [{from: 'a:1', to: 'm.example/{name'}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, platforms: linux/amd64}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, platforms: [amd64]}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, platforms: [linux/amd64, linux/amd64]}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, index: none}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, filters: canonical}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, referrers: 'yes'}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, referrers: [sbom]}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, verify: true}]"),
    (false, "images: [{from: 'a:1', to: m.example/a, on-conflict: skip}]"),
    (
        false,
        "images: [{from: 'a:1', to: m.example/a}]\nhosts: {docker.io: {requests-per-second: 0}}",
    ),
    (false, "images: [{from: 'a:1', to: m.example/a}]\nhosts: {docker.io: {connections: 0.5}}"),
    (false, "images: [{from: 'a:1', to: m.example/a}]\nprune: {extra: true}"),
    (false, "images: [{from: 'a:1', to: m.example/a}]\ndefaults: {from: x}"),
    (false, "images: [{from: 'a:1', to: m.example/a}]\nother: 1"),
];

/// Reads a schema and documents, and prints a line for each: `1` where the schema accepts it.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft7Validator
schema, documents = json.load(sys.stdin)
Draft7Validator.check_schema(schema)
for document in documents:
    print(int(Draft7Validator(schema).is_valid(document)))
";

/// Returns what an editor makes of a node: plain scalars have the types of YAML's core schema.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar { text, is_plain: false } => json!(text),
        Value::Scalar { text, .. } => match serde_json::from_str::<Json>(text) {
            Ok(typed) if typed.is_number() || typed.is_boolean() => typed,
            _ => json!(text),
        },
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(pairs) => {
            pairs.iter().map(|(key, node)| (key.text.clone(), json(node))).collect()
        }
    }
}

/// Returns whether the schema accepts each document; `None` where `jsonschema` is not installed.
fn validate(schema: &Json, documents: &[Json]) -> Option<Vec<bool>> {
    let installed =
        Command::new("python3").args(["-c", "import jsonschema"]).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut python = Command::new("python3")
        .args(["-W", "ignore", "-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(json!([schema, documents]).to_string().as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "1").collect())
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema: Json =
        serde_json::from_str(include_str!("../../../../docs/mirror.schema.json")).unwrap();
    let texts: Vec<String> =
        FILES.iter().map(|(_, text)| format!("version: 1\n{text}\n")).collect();
    for ((is_accepted, _), text) in FILES.iter().zip(&texts) {
        let parsed = Document::parse("m.yaml", text);
        assert_eq!(parsed.is_ok(), *is_accepted, "the parser: {text} {parsed:?}");
    }
    let documents: Vec<Json> =
        texts.iter().map(|text| json(&parse(text).unwrap().unwrap())).collect();
    let Some(found) = validate(&schema, &documents) else {
        let skipped = "skipped: the_schema_accepts_what_the_parser_accepts: Python's jsonschema is not installed";
        let _ = writeln!(std::io::stderr(), "{skipped}");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{skipped}");
        return;
    };
    assert_eq!(found.len(), FILES.len());
    for (((is_accepted, _), text), found) in FILES.iter().zip(&texts).zip(found) {
        assert_eq!(found, *is_accepted, "the schema: {text}");
    }
}

#[test]
fn the_schema_has_every_key_with_a_description() {
    let schema: Json =
        serde_json::from_str(include_str!("../../../../docs/mirror.schema.json")).unwrap();
    let keys = |place: &str| -> Vec<String> {
        schema.pointer(place).and_then(Json::as_object).unwrap().keys().cloned().collect()
    };
    let sorted = |keys: &[&str]| {
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        keys
    };
    let mut found = keys("/properties");
    found.sort();
    assert_eq!(found, sorted(&super::KEYS));
    let mut found = keys("/properties/images/items/properties");
    found.sort();
    assert_eq!(found, sorted(&super::entry::KEYS));
    for key in keys("/definitions") {
        assert!(schema.pointer(&format!("/definitions/{key}/description")).is_some(), "{key}");
    }
}

#[test]
fn the_files_of_the_manual_are_accepted() {
    let first = include_str!("../../../../docs/mirroring.md");
    let reference = include_str!("../../../../docs/mirror-file.md");
    let moving = include_str!("../../../../docs/mirror-from.md");
    let pages = first.lines().chain(reference.lines()).chain(moving.lines());
    let lines: Vec<&str> = pages.collect();
    let mut count = 0;
    for start in (0..lines.len()).filter(|line| lines[*line] == "    version: 1") {
        let block = lines[start..].iter().take_while(|line| line.starts_with("    "));
        let text: String = block.map(|line| format!("{line}\n")).collect();
        let parsed = Document::parse("mirroring.md", &text);
        assert!(parsed.is_ok(), "{text}{parsed:?}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn the_files_of_the_examples_are_accepted() {
    for text in [
        include_str!("../../../../examples/mirror/three-images/mirror.yaml"),
        include_str!("../../../../examples/mirror/nightly/mirror.yaml"),
    ] {
        let parsed = Document::parse("mirror.yaml", text);
        assert!(parsed.is_ok(), "{text}{parsed:?}");
    }
}
