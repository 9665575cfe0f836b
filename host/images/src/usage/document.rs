//! The JSON document of `info --tree` (docs/inspecting.md). Entries are written one by one: a million of them are not in
//! memory as text.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::largest::{Amount, LargestPart, UsageEntry};
use super::rules::RuleResult;
use super::survey::{Survey, SurveyedLayer};
use super::{is_deleted_by, is_of};
use crate::artifact::SourceArtifact;
use occystrap_base::terminal::json_stream::JsonStream;

/// An entry, as the document has it.
#[derive(Serialize)]
struct ShownEntry<'a> {
    path: String,
    /// The path in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    kind: &'a str,
    size: u64,
    depth: usize,
}

impl<'a> ShownEntry<'a> {
    fn of(entry: &'a UsageEntry) -> Self {
        let (path, path_base64) = texts(&entry.path);
        Self { path, path_base64, kind: entry.kind, size: entry.size, depth: entry.depth }
    }
}

/// Returns a path as text, and in base64 if it is not UTF-8.
fn texts(path: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(path) {
        Ok(path) => (path.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(path).into_owned(), Some(STANDARD.encode(path))),
    }
}

/// Returns an object whose first members are a path.
fn with_path(path: &[u8], mut rest: Value) -> Value {
    let (path, path_base64) = texts(path);
    let mut object = serde_json::Map::new();
    object.insert("path".to_owned(), path.into());
    if let Some(path) = path_base64 {
        object.insert("path_base64".to_owned(), path.into());
    }
    if let Some(rest) = rest.as_object_mut() {
        object.append(rest);
    }
    Value::Object(object)
}

/// Writes the document. With `top`, lists have at most so many items, and `left_out` says how many are missing.
pub fn write(
    source: &str,
    images: &[(Survey, Vec<RuleResult>)],
    artifacts: &[SourceArtifact],
    top: Option<usize>,
    to: &mut dyn Write,
) -> io::Result<()> {
    let mut json = JsonStream::object(to)?;
    json.value(Some("source"), &source)?;
    json.begin_list(Some("images"))?;
    for (survey, rules) in images {
        json.begin_object(None)?;
        image(survey, rules, top, &mut json)?;
        json.end()?;
    }
    json.end()?;
    if !artifacts.is_empty() {
        json.value(Some("artifacts"), &artifacts)?;
    }
    json.finish()
}

fn image(
    survey: &Survey,
    rules: &[RuleResult],
    top: Option<usize>,
    json: &mut JsonStream<'_>,
) -> io::Result<()> {
    json.value(Some("image"), &survey.name.repository)?;
    json.value(Some("tag"), &survey.name.tag.as_deref().unwrap_or_default())?;
    json.value(Some("platform"), &survey.platform)?;
    json.value(Some("size"), &survey.size)?;
    json.value(Some("wasted"), &survey.wasted)?;
    json.value(Some("efficiency"), &survey.efficiency)?;
    json.value(Some("incomplete"), &survey.incomplete)?;
    json.value(Some("rules"), &rules)?;
    json.begin_list(Some("layers"))?;
    for own in &survey.layers {
        json.begin_object(None)?;
        layer(survey, own, top, json)?;
        json.end()?;
    }
    json.end()?;
    let waste = survey.waste();
    json.begin_list(Some("waste"))?;
    for one in waste.iter().take(top.unwrap_or(usize::MAX)) {
        let rest = json!({
            "size": one.size, "layer": one.layer, "fate": one.fate, "by": one.by,
        });
        json.value(None, &with_path(&one.path, rest))?;
    }
    json.end()?;
    let directories = survey.waste_by_directory();
    json.begin_list(Some("waste_by_directory"))?;
    for one in directories.iter().take(top.unwrap_or(usize::MAX)) {
        let rest = json!({ "size": one.size, "files": one.files });
        json.value(None, &with_path(&one.path, rest))?;
    }
    json.end()?;
    let left = |all: usize| top.map_or(0, |top| all.saturating_sub(top));
    let left_out =
        json!({ "waste": left(waste.len()), "waste_by_directory": left(directories.len()) });
    json.value(Some("left_out"), &left_out)
}

fn layer(
    survey: &Survey,
    layer: &SurveyedLayer,
    top: Option<usize>,
    json: &mut JsonStream<'_>,
) -> io::Result<()> {
    json.value(Some("index"), &layer.index)?;
    json.value(Some("diff_id"), &layer.diff_id)?;
    json.value(Some("created_by"), &layer.created_by)?;
    json.value(Some("stored"), &layer.stored)?;
    json.value(Some("size"), &layer.size)?;
    json.value(Some("wasted"), &layer.wasted)?;
    json.value(Some("deleted_size"), &layer.freed)?;
    json.value(Some("added"), &layer.added)?;
    json.value(Some("replaced"), &layer.replaced)?;
    json.value(Some("deleted"), &layer.deleted)?;
    let own = LargestPart::of(&survey.tree, is_of(layer.index));
    let entries = part("entries", &own, top, json)?;
    let gone = LargestPart::of(&survey.tree, is_deleted_by(layer.index));
    let deleted = part("deleted_entries", &gone, top, json)?;
    let left_out = json!({ "entries": entries, "deleted_entries": deleted });
    json.value(Some("left_out"), &left_out)
}

/// Writes the entries of a part as a list. Returns how many are missing.
fn part(
    key: &str,
    part: &LargestPart<'_>,
    top: Option<usize>,
    json: &mut JsonStream<'_>,
) -> io::Result<usize> {
    json.begin_list(Some(key))?;
    let left_out = match top {
        Some(top) => {
            let entries = part.largest(Amount::Top(top));
            entries.iter().try_for_each(|entry| json.value(None, &ShownEntry::of(entry)))?;
            part.count() - entries.len()
        }
        None => {
            let mut written = Ok(());
            part.each(|entry| {
                if written.is_ok() {
                    written = json.value(None, &ShownEntry::of(entry));
                }
            });
            written.map(|()| 0)?
        }
    };
    json.end()?;
    Ok(left_out)
}
