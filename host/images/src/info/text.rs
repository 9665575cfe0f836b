//! The description of an image as text.

use std::io::{self, Write};

use super::describe::{ImageInfo, LayerInfo, PlatformInfo, RunConfig};
use super::history::shorten;
use occystrap_base::oci::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use occystrap_base::oci::name::title;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::table::{Paper, Table, bar};

/// Columns of the bar that shows the share of a layer in the image.
const BAR: usize = 8;

/// Columns below which the table of layers has neither bars nor ratios, and no form below [`NARROWER`].
const NARROW: usize = 60;

/// See [`NARROW`].
const NARROWER: usize = 48;

/// Digits of a digest in a table: as many as Docker shows.
const DIGITS: usize = 12;

/// Writes the description of an image. An image without a name gets the name of its `source`.
pub fn write(image: &ImageInfo, source: &str, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
    let is_artifact = image.kind.is_artifact();
    let platform = match is_artifact {
        true if image.is_encrypted => "encrypted image",
        true => "artifact",
        false => image.platform.as_deref().unwrap_or_default(),
    };
    let title = format!("{}  {platform}", title(&image.image, &image.tag, source));
    let title = occystrap_base::error::printable(&title);
    writeln!(to, "{}", paper.heading(&paper.line(title.trim_end())))?;
    let kind = image.media_type.as_deref().map_or("", specification);
    let digests = [
        ("Reference", &image.reference, ""),
        ("Index", &image.index_digest, ""),
        ("Manifest", &image.manifest_digest, kind),
        (if is_artifact { "Config" } else { "Image ID" }, &image.image_id, ""),
        ("Created", &image.created, ""),
        ("Author", &image.author, ""),
    ];
    for (label, value, note) in digests {
        if let Some(value) = value {
            paper.field(to, label, format!("{value}  {note}").trim_end())?;
        }
    }
    if !image.layers.is_empty() {
        paper.field(to, "Size", &sizes(image))?;
    }
    if !image.platforms.is_empty() {
        platforms(&image.platforms, to, paper)?;
    }
    if !image.layers.is_empty() {
        layers(image, to, paper)?;
    }
    if image.history.iter().any(|step| step.empty_layer.is_none()) {
        steps(image, to, paper)?;
    }
    config(&image.config, to, paper)?;
    if !image.annotations.is_empty() {
        writeln!(to, "\n{}", paper.heading("Annotations"))?;
        let pairs = image.annotations.iter().map(|(key, value)| format!("{key}={value}"));
        several(to, paper, "", pairs)?;
    }
    Ok(())
}

/// Returns the specification of a media type in a word.
fn specification(media_type: &str) -> &str {
    match media_type {
        OCI_MANIFEST | OCI_INDEX => "OCI",
        DOCKER_MANIFEST | DOCKER_LIST => "Docker",
        other => other,
    }
}

/// Returns the number of layers and their sizes.
fn sizes(image: &ImageInfo) -> String {
    let count = match image.layers.len() {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    let about = if image.unpacked_exact { "" } else { "about " };
    let plain = image.size == image.unpacked && image.unpacked_exact;
    let stored = image.size.map(|bytes| match plain {
        true => format!("{} unpacked", size(bytes)),
        false => format!("{} stored", size(bytes)),
    });
    let unpacked = image.unpacked.filter(|_| !plain);
    let unpacked = unpacked.map(|bytes| format!("{about}{} unpacked", size(bytes)));
    let parts: Vec<String> = [Some(count), stored, unpacked].into_iter().flatten().collect();
    parts.join(", ")
}

/// Writes the entries of the index.
fn platforms(all: &[PlatformInfo], to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
    let images: Vec<&PlatformInfo> = all.iter().filter(|entry| !entry.attestation).collect();
    let attested = all.len() - images.len();
    writeln!(to, "\n{}", paper.heading(&format!("Platforms ({})", images.len())))?;
    for entry in images {
        let mark = if entry.chosen { "→" } else { " " };
        let platform = entry.platform.as_deref().unwrap_or("(not given)");
        let line = format!("{mark} {platform:<17} {}", entry.digest);
        writeln!(to, "{}", paper.line(&format!("  {}", occystrap_base::error::printable(&line))))?;
    }
    match attested {
        0 => Ok(()),
        1 => writeln!(to, "    and an attestation"),
        more => writeln!(to, "    and {more} attestations"),
    }
}

/// Writes the table of layers.
fn layers(image: &ImageInfo, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
    let unmade = image.history.iter().filter(|step| step.empty_layer == Some(true)).count();
    let note = match unmade {
        0 => String::new(),
        1 => ", and 1 step without one".to_owned(),
        more => format!(", and {more} steps without one"),
    };
    writeln!(to, "\n{}", paper.heading(&paper.line(&format!("Layers, lowest first{note}"))))?;
    let weight = |layer: &LayerInfo| layer.size.or(layer.unpacked).unwrap_or_default();
    let whole: u64 = image.layers.iter().map(weight).fold(0, u64::saturating_add);
    let has_room = |columns: usize| paper.width.is_none_or(|width| width >= columns);
    let shares = image.layers.len() > 1 && has_room(NARROW);
    let plain = image.layers.iter().all(|layer| layer.size == layer.unpacked);
    let known = image.layers.iter().any(|layer| layer.size.is_some());
    let mut table =
        Table::new(&[">#", ">size", "share", ">unpacked", ">ratio", "form", "digest", "made by"]);
    for layer in &image.layers {
        let unknown = || "-".to_owned();
        let about = if layer.unpacked_exact { "" } else { "~" };
        let unpacked = layer.unpacked.map(|bytes| format!("{about}{}", size(bytes)));
        let ratio = layer.ratio.map(|ratio| format!("{about}{ratio:.1}x"));
        let digest = layer.digest.as_ref().or(layer.diff_id.as_ref());
        let digest = digest.map(|digest| digest.trim_start_matches("sha256:"));
        table.row(vec![
            (layer.index + 1).to_string(),
            // An engine gives no stored sizes.
            if known { layer.size.map_or_else(unknown, size) } else { String::new() },
            if shares { bar(weight(layer), whole, BAR) } else { String::new() },
            // For uncompressed layers both sizes are equal.
            if plain { String::new() } else { unpacked.unwrap_or_else(unknown) },
            if plain || !known || !has_room(NARROW) {
                String::new()
            } else {
                ratio.unwrap_or_else(unknown)
            },
            layer.compression.clone().filter(|_| has_room(NARROWER)).unwrap_or_default(),
            digest.map_or_else(unknown, |digest| digest.chars().take(DIGITS).collect()),
            layer.created_by.as_deref().map_or_else(unknown, shorten),
        ]);
    }
    table.write(to, paper)
}

/// Writes the steps of an image in an engine, if it is not certain which of them made a layer.
fn steps(image: &ImageInfo, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
    let heading = "Steps, first to last (which of those without bytes made a layer is not known)";
    writeln!(to, "\n{}", paper.heading(&paper.line(heading)))?;
    let mut table = Table::new(&[">size", ">layer", "step"]);
    for step in &image.history {
        let layer = match (step.layer, step.empty_layer) {
            (Some(layer), _) => (layer + 1).to_string(),
            (None, Some(true)) => "none".to_owned(),
            (None, _) => "?".to_owned(),
        };
        let command = step.created_by.as_deref().map_or_else(|| "-".to_owned(), shorten);
        table.row(vec![step.size.map_or_else(String::new, size), layer, command]);
    }
    table.write(to, paper)
}

/// Writes the settings for running the image.
fn config(config: &RunConfig, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
    let list = |words: &[String]| match words {
        [] => String::new(),
        // In the form of a Dockerfile.
        words => serde_json::to_string(words).unwrap_or_default().replace("\",\"", "\", \""),
    };
    let stop_signal = config.stop_signal.clone().unwrap_or_default();
    let healthcheck = config.healthcheck.as_ref().map(ToString::to_string).unwrap_or_default();
    let fields = [
        ("Entrypoint", list(&config.entrypoint)),
        ("Cmd", list(&config.cmd)),
        ("User", config.user.clone()),
        ("Workdir", config.working_dir.clone()),
        ("Ports", config.exposed_ports.join(", ")),
        ("Volumes", config.volumes.join(", ")),
        ("Stop signal", stop_signal),
        ("Shell", list(&config.shell)),
        ("Healthcheck", healthcheck),
    ];
    let has_fields = fields.iter().any(|(_, value)| !value.is_empty());
    if !has_fields && config.env.is_empty() && config.labels.is_empty() {
        return Ok(());
    }
    writeln!(to, "\n{}", paper.heading("Config"))?;
    for (label, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        paper.field(to, label, value)?;
    }
    several(to, paper, "Env", config.env.iter().cloned())?;
    several(to, paper, "Labels", config.labels.iter().map(|(key, value)| format!("{key}={value}")))
}

/// Writes values below each other, the first one behind the label.
fn several(
    to: &mut dyn Write,
    paper: &Paper,
    label: &str,
    values: impl Iterator<Item = String>,
) -> io::Result<()> {
    let mut label = label;
    for value in values {
        paper.field(to, label, &value)?;
        label = "";
    }
    Ok(())
}
