//! `inspect:file=PATH`: what an image is at that point of the chain, as one line of JSON for each.
//!
//! The keys of 0.4.17 keep their meaning; the others are new. Lines of runs at the same time do not
//! get into each other.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::OFlags;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Applied, Filter, Outcome, Pass, Spec, Verdict};
use crate::info::history::{Step, steps};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Digest, json};
use occystrap_base::secret::mask_json;
use occystrap_layer::image::Image;
use occystrap_layer::tar::Member;

/// The filter.
pub struct Inspect {
    path: PathBuf,
}

impl Inspect {
    /// From what the user typed.
    pub fn new(spec: &Spec) -> Result<Self> {
        spec.only(&["file"])?;
        let path = match spec.one("file")? {
            None | Some("") => {
                return Err(spec
                    .error("a file is missing")
                    .hint("such as inspect:file=layers.jsonl"));
            }
            Some(path) => PathBuf::from(path),
        };
        let folder = path.parent().filter(|folder| *folder != std::path::Path::new(""));
        let why = match folder {
            Some(folder) if !folder.exists() => "its folder is not there",
            Some(folder) if !folder.is_dir() => "its folder is none",
            _ if path.is_dir() => "it is a folder",
            _ => return Ok(Self { path }),
        };
        Err(spec.error(format!("'{}' cannot be a file: {why}", path.display())))
    }
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    /// With its tag.
    name: String,
    image: &'a str,
    tag: &'a str,
    platform: String,
    /// Digest of the config.
    id: Digest,
    /// Newest first, as in 0.4.17.
    layers: Vec<Layer>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layer {
    comment: String,
    /// In seconds since 1970; 0 where that is not known.
    created: i64,
    created_by: String,
    /// Diff-id, at this point of the chain.
    id: Digest,
    /// Diff-id at the source.
    before: Digest,
    /// Digest as it is stored, where it has not changed since.
    stored: Option<Digest>,
    /// Bytes, uncompressed.
    size: u64,
    /// Bytes as it is stored, where it has not changed since.
    stored_size: Option<u64>,
    /// Of the newest layer.
    tags: Option<Vec<String>>,
}

impl Filter for Inspect {
    fn key(&self) -> Option<String> {
        None
    }

    fn begin<'a>(&'a self, _image: &'a Image) -> Box<dyn Applied + 'a> {
        Box::new(self)
    }

    fn wants_images(&self) -> bool {
        true
    }
}

impl Applied for &Inspect {
    fn pass(&self, _index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(*self)
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn end(&self, outcome: &Outcome<'_>) -> Result<()> {
        let failed = |cause: &io::Error| {
            Error::io(Kind::Destination, "append to", self.path.display(), cause)
        };
        let line = serde_json::to_string(&line(outcome)).map_err(|cause| failed(&cause.into()))?;
        let line = mask_json(line) + "\n";
        // A FIFO that nobody reads is an error so, and not a wait without end.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut options = File::options();
        let file = options.create(true).append(true).custom_flags(flags).open(&self.path);
        let mut file = file.map_err(|cause| failed(&cause))?;
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND).map_err(|cause| failed(&cause.into()))?;
        file.lock().map_err(|cause| failed(&cause))?;
        file.write_all(line.as_bytes()).map_err(|cause| failed(&cause))
    }
}

impl Pass for &Inspect {
    fn member(&mut self, _member: &mut Member) -> Result<Verdict> {
        Ok(Verdict::Same)
    }
}

fn line<'a>(outcome: &Outcome<'a>) -> Line<'a> {
    let Outcome { source, image, sizes, .. } = outcome;
    let config = json::parse(&image.config).unwrap_or_default();
    let history = steps(&config, image.layers.len());
    let layers =
        image.layers.iter().zip(&source.layers).enumerate().map(|(index, (layer, was))| {
            let step = history.iter().find(|step| step.layer == Some(index));
            let same = layer.diff_id == was.diff_id;
            let text = |of: fn(&Step) -> &Option<String>| {
                step.and_then(|step| of(step).clone()).unwrap_or_default()
            };
            Layer {
                comment: text(|step| &step.comment),
                created: seconds(&text(|step| &step.created)),
                created_by: text(|step| &step.created_by),
                id: layer.diff_id,
                before: was.diff_id,
                stored: was.digest.filter(|_| same),
                size: sizes.get(index).copied().flatten().unwrap_or_default(),
                stored_size: Some(was.size).filter(|_| same && was.digest.is_some()),
                tags: None,
            }
        });
    let mut layers: Vec<Layer> = layers.collect();
    layers.reverse();
    let tag = image.name.tag_or_latest();
    let name = format!("{}:{tag}", image.name.repository);
    if let Some(newest) = layers.first_mut() {
        newest.tags = Some(vec![name.clone()]);
    }
    Line {
        name,
        image: &image.name.repository,
        tag,
        platform: image.platform.to_string(),
        id: image.id,
        layers,
    }
}

fn seconds(created: &str) -> i64 {
    OffsetDateTime::parse(created, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp)
}
