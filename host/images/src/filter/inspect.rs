//! `inspect:file=PATH`: appends one line of JSON per image, which describes it at that point of the chain.
//!
//! The keys of 0.4.17 keep their meaning; the others are new. A lock keeps lines of simultaneous runs apart.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::OFlags;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Applied, Filter, FilterOutcome, MemberVerdict, Pass, Spec};
use crate::info::history::{HistoryStep, steps};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Digest, json};
use occystrap_base::secret::mask_json;
use occystrap_layer::image::Image;
use occystrap_layer::tar::Member;

/// The filter `inspect`.
pub struct Inspect {
    path: PathBuf,
}

impl Inspect {
    /// Creates the filter from its options. Errors when the file cannot be one.
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
            Some(folder) if !folder.exists() => "its folder does not exist",
            Some(folder) if !folder.is_dir() => "its folder is not a folder",
            _ if path.is_dir() => "it is a folder",
            _ => return Ok(Self { path }),
        };
        Err(spec.error(format!("'{}' cannot be a file: {why}", path.display())))
    }
}

/// One line of the file.
#[derive(Serialize)]
struct InspectDocument<'a> {
    /// Name with its tag.
    name: String,
    image: &'a str,
    tag: &'a str,
    platform: String,
    /// Digest of the config.
    id: Digest,
    /// Newest first, as in 0.4.17.
    layers: Vec<InspectedLayer>,
}

/// A layer, with the keys of `docker history`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedLayer {
    comment: String,
    /// Seconds since 1970; 0 if not known.
    created: i64,
    created_by: String,
    /// Diff-id at this point of the chain.
    id: Digest,
    /// Diff-id at the source; `None` for a layer that a filter made from several layers, or from none.
    before: Option<Digest>,
    /// Digest of the stored layer; `None` if a filter changed it.
    stored: Option<Digest>,
    /// Bytes of the uncompressed layer.
    size: u64,
    /// Bytes of the stored layer; `None` if a filter changed it.
    stored_size: Option<u64>,
    /// Names of the image, for the newest layer only.
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

    fn is_read_only(&self) -> bool {
        true
    }

    fn end(&self, outcome: &FilterOutcome<'_>) -> Result<()> {
        let failed = |cause: &io::Error| {
            Error::io(Kind::Destination, "append to", self.path.display(), cause)
        };
        let line = serde_json::to_string(&line(outcome)).map_err(|cause| failed(&cause.into()))?;
        let line = mask_json(line) + "\n";
        // With this flag a FIFO without a reader is an error; else the open would wait without end.
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
    fn member(&mut self, _member: &mut Member) -> Result<MemberVerdict> {
        Ok(MemberVerdict::Same)
    }
}

/// Returns the line of an image.
fn line<'a>(outcome: &FilterOutcome<'a>) -> InspectDocument<'a> {
    let FilterOutcome { source, from, image, sizes, .. } = outcome;
    let config = json::parse(&image.config).unwrap_or_default();
    let history = steps(&config, image.layers.len());
    let layers = image.layers.iter().zip(*from).enumerate().map(|(index, (layer, from))| {
        let step = history.iter().find(|step| step.layer == Some(index));
        let was = from.and_then(|from| source.layers.get(from));
        let same = was.filter(|was| was.diff_id == layer.diff_id);
        let text = |of: fn(&HistoryStep) -> &Option<String>| {
            step.and_then(|step| of(step).clone()).unwrap_or_default()
        };
        InspectedLayer {
            comment: text(|step| &step.comment),
            created: seconds(&text(|step| &step.created)),
            created_by: text(|step| &step.created_by),
            id: layer.diff_id,
            before: was.map(|was| was.diff_id),
            stored: same.and_then(|was| was.digest),
            size: sizes.get(index).copied().flatten().unwrap_or_default(),
            stored_size: same.filter(|was| was.digest.is_some()).map(|was| was.size),
            tags: None,
        }
    });
    let mut layers: Vec<InspectedLayer> = layers.collect();
    layers.reverse();
    let tag = image.name.tag_or_latest();
    let name = format!("{}:{tag}", image.name.repository);
    if let Some(newest) = layers.first_mut() {
        newest.tags = Some(vec![name.clone()]);
    }
    InspectDocument {
        name,
        image: &image.name.repository,
        tag,
        platform: image.platform.to_string(),
        id: image.id,
        layers,
    }
}

/// Returns a time of RFC 3339 in seconds since 1970; 0 if it is none.
fn seconds(created: &str) -> i64 {
    OffsetDateTime::parse(created, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp)
}
