//! Prints matches as text, as lines for scripts (in the form of 0.4.17) and as JSON.
//!
//! Names come from the image. What it refuses: to print a name in such a way that it looks like another line, or drives a
//! terminal.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::found::{FoundImage, Match};
use crate::artifact::SourceArtifact;
use occystrap_base::error::printable;
use occystrap_base::terminal::table;
use occystrap_layer::overlay::Fate;

/// Writes matches as text, grouped by layer, and their number. Layers count from 1. The name of each image is printed if
/// `named` is set, which is for runs with several images.
pub fn write_text(images: &[FoundImage], named: bool, to: &mut dyn Write) -> io::Result<()> {
    let (mut count, mut hit) = (0, 0);
    for image in images.iter().filter(|image| image.count() > 0) {
        if named {
            writeln!(to, "Image: {}", image.name)?;
        }
        for (index, (diff_id, matches)) in image.layers.iter().enumerate() {
            if matches.is_empty() {
                continue;
            }
            (count, hit) = (count + matches.len(), hit + 1);
            writeln!(to, "Layer {} of {}: {}", index + 1, image.layers.len(), diff_id.hex())?;
            for found in matches {
                writeln!(to, "  {}", line(found, index))?;
            }
            writeln!(to)?;
        }
    }
    match count {
        0 => writeln!(to, "No matches found."),
        _ => writeln!(
            to,
            "Found {count} {} in {hit} {}.",
            if count == 1 { "match" } else { "matches" },
            if hit == 1 { "layer" } else { "layers" },
        ),
    }
}

/// Returns the line of a match in layer `index`.
fn line(found: &Match, index: usize) -> String {
    let name = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    let mut line = name(&found.path);
    if !found.link.is_empty() {
        line += &format!(" -> {}", name(&found.link));
    }
    line += &format!(" ({}", found.kind);
    if found.is_file() {
        line += &format!(", {} {}", found.size, if found.size == 1 { "byte" } else { "bytes" });
        if let Some(apparent) = found.apparent {
            line += &format!(", {apparent} with holes");
        }
    }
    let by = |layer: usize| match layer == index {
        true => "later in this layer".to_owned(),
        false => format!("by layer {}", layer + 1),
    };
    match found.fate {
        Fate::Present => line + ")",
        Fate::Deleted(layer) => format!("{line}, deleted {})", by(layer)),
        Fate::Replaced(layer) => format!("{line}, replaced {})", by(layer)),
    }
}

/// Writes one line for each match, `IMAGE:TAG:LAYER:PATH`, where LAYER is the diff-id in hexadecimal. Control characters
/// of a path are escaped as in C; all other bytes are written as they are in the layer.
pub fn write_script(images: &[FoundImage], to: &mut dyn Write) -> io::Result<()> {
    for image in images {
        let (repository, tag) = (&image.name.repository, image.name.tag.as_deref());
        for (diff_id, matches) in &image.layers {
            let (tag, hex) = (tag.unwrap_or_default(), diff_id.hex());
            for found in matches {
                write!(to, "{repository}:{tag}:{hex}:")?;
                write_escaped(&found.path, to)?;
                writeln!(to)?;
            }
        }
    }
    Ok(())
}

/// Writes a path with its control characters escaped.
fn write_escaped(path: &[u8], to: &mut dyn Write) -> io::Result<()> {
    for byte in path {
        match byte {
            b'\n' => to.write_all(b"\\n")?,
            b'\t' => to.write_all(b"\\t")?,
            b'\r' => to.write_all(b"\\r")?,
            control @ (..0x20 | 0x7f) => write!(to, "\\{control:03o}")?,
            other => to.write_all(&[*other])?,
        }
    }
    Ok(())
}

/// The JSON document.
#[derive(Serialize)]
struct Document<'a> {
    images: Vec<ShownImage<'a>>,
    /// The artifacts beside the images, which were not searched.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    artifacts: &'a [SourceArtifact],
    summary: Totals,
}

#[derive(Serialize)]
struct Totals {
    images: usize,
    layers: usize,
    matches: usize,
}

#[derive(Serialize)]
struct ShownImage<'a> {
    source: &'a str,
    image: &'a str,
    tag: &'a str,
    platform: Option<&'a str>,
    layers: usize,
    matches: Vec<ShownMatch<'a>>,
}

#[derive(Serialize)]
struct ShownMatch<'a> {
    layer: usize,
    diff_id: String,
    path: String,
    /// The path in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    kind: &'a str,
    size: u64,
    apparent_size: Option<u64>,
    link: Option<String>,
    mode: String,
    uid: i64,
    gid: i64,
    mtime: f64,
    fate: &'a str,
    by_layer: Option<usize>,
}

/// Writes one JSON document. Layers count from 0.
pub fn write_json(
    source: &str,
    images: &[FoundImage],
    artifacts: &[SourceArtifact],
    to: &mut dyn Write,
) -> io::Result<()> {
    let sum = |of: fn(&FoundImage) -> usize| images.iter().map(of).sum();
    let summary = Totals {
        images: images.len(),
        layers: sum(|image| image.layers.len()),
        matches: sum(FoundImage::count),
    };
    let shown = |image| shown_image(source, image);
    let document = Document { images: images.iter().map(shown).collect(), artifacts, summary };
    table::write_json(to, &document)
}

fn shown_image<'a>(source: &'a str, image: &'a FoundImage) -> ShownImage<'a> {
    let layers = image.layers.iter().enumerate();
    ShownImage {
        source,
        image: &image.name.repository,
        tag: image.name.tag.as_deref().unwrap_or_default(),
        platform: image.platform.as_deref(),
        layers: image.layers.len(),
        matches: layers
            .flat_map(|(layer, (diff_id, matches))| {
                matches.iter().map(move |found| shown_match(layer, diff_id.to_string(), found))
            })
            .collect(),
    }
}

fn shown_match(layer: usize, diff_id: String, found: &Match) -> ShownMatch<'_> {
    let (fate, by_layer) = match found.fate {
        Fate::Present => ("present", None),
        Fate::Deleted(layer) => ("deleted", Some(layer)),
        Fate::Replaced(layer) => ("replaced", Some(layer)),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ShownMatch {
        layer,
        diff_id,
        path: text(&found.path),
        path_base64: match std::str::from_utf8(&found.path) {
            Ok(_) => None,
            Err(_) => Some(STANDARD.encode(&found.path)),
        },
        kind: found.kind,
        size: found.size,
        apparent_size: found.apparent,
        link: Some(text(&found.link)).filter(|link| !link.is_empty()),
        mode: format!("{:04o}", found.mode),
        uid: found.owner.0,
        gid: found.owner.1,
        mtime: found.mtime.seconds as f64 + f64::from(found.mtime.nanos) / 1e9,
        fate,
        by_layer,
    }
}
