//! What a check says at its end: to a program, and to a script's `$?`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::finding::{Findings, Severity};
use super::text;
use crate::level::Level;
use crate::source::view::{View, ViewKind, ViewedLayer};
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table::{Paper, write_json};

/// Exit code when something could not be looked at.
const UNCHECKED: u8 = 3;

/// One image, an index, or an attestation.
pub struct Checked {
    /// Which of them.
    pub kind: ViewKind,

    /// The familiar name, without the tag; empty where nothing could be read.
    pub image: String,
    /// The tag; empty where it has none.
    pub tag: String,
    /// What it is for, as the config says, or else the index; the other way round where all platforms
    /// are looked at. Of an attestation, what the image is for that it is about.
    pub platform: Option<String>,
    /// Digest of its manifest, or of the index.
    pub digest: Option<Digest>,
    /// How far it was checked.
    pub level: Level,
    /// How many layers it has.
    pub layers: usize,
    /// Bytes of its layers as they are stored; in an engine, as it counts their files.
    pub bytes: u64,
    /// All that was found.
    pub findings: Findings,
}

impl Checked {
    /// An image that was looked at.
    #[must_use]
    pub fn new(view: &View, level: Level, findings: Findings) -> Self {
        let size = |kept: &ViewedLayer| kept.size.or(kept.promised.size).or(kept.counted);
        let sizes = view.layers.iter().filter_map(size);
        let is_index = view.role == ViewKind::Index;
        let (manifest, entry) = match &view.index {
            Some(index) if is_index => (index.manifest.as_ref(), None),
            Some(index) => (view.manifest.as_ref(), index.entries.iter().find(|one| one.chosen)),
            None => (view.manifest.as_ref(), None),
        };
        let said = || crate::info::platform(&view.config.document);
        let listed = || Some(entry?.platform.as_ref()?.to_string());
        Self {
            kind: view.role,
            image: view.name.repository.clone(),
            tag: view.name.tag.clone().unwrap_or_default(),
            platform: match view.index.as_ref().is_some_and(|index| index.manifest.is_none()) {
                // What readers choose by: configs seldom name a variant.
                true => listed().or_else(said),
                false => said().or_else(listed),
            },
            digest: manifest.map(|known| known.digest),
            level,
            layers: view.layers.len(),
            bytes: sizes.fold(0, u64::saturating_add),
            findings,
        }
    }

    /// A source of which nothing could be seen.
    #[must_use]
    pub fn unseen(level: Level, findings: Findings) -> Self {
        let (image, tag) = Default::default();
        let kind = ViewKind::Image;
        Self {
            kind,
            image,
            tag,
            platform: None,
            digest: None,
            level,
            layers: 0,
            bytes: 0,
            findings,
        }
    }

    /// The worst that was found, in a word.
    #[must_use]
    pub fn status(&self) -> &'static str {
        let any = |severity| self.findings.count(severity) > 0;
        match () {
            () if any(Severity::Error) => "errors",
            () if any(Severity::Unchecked) => "unchecked",
            () if any(Severity::Warning) => "warnings",
            () => "ok",
        }
    }
}

impl Serialize for Checked {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let count = |severity| self.findings.count(severity);
        let all: Vec<_> = self.findings.all().collect();
        let left_out: BTreeMap<_, _> = self.findings.left_out();
        let mut to = to.serialize_struct("Checked", 16)?;
        to.serialize_field("kind", &self.kind)?;
        to.serialize_field("image", &self.image)?;
        to.serialize_field("tag", &self.tag)?;
        to.serialize_field("platform", &self.platform)?;
        to.serialize_field("digest", &self.digest)?;
        to.serialize_field("mode", &self.level)?;
        to.serialize_field("status", self.status())?;
        to.serialize_field("layers", &self.layers)?;
        to.serialize_field("bytes", &self.bytes)?;
        to.serialize_field("errors", &count(Severity::Error))?;
        to.serialize_field("unchecked", &count(Severity::Unchecked))?;
        to.serialize_field("warnings", &count(Severity::Warning))?;
        to.serialize_field("infos", &count(Severity::Info))?;
        to.serialize_field("results", &all)?;
        to.serialize_field("left_out", &left_out)?;
        to.serialize_field("passed", self.findings.passed())?;
        to.end()
    }
}

/// All images of a source.
#[derive(Serialize)]
pub struct Report {
    /// The source, without secrets.
    pub source: String,
    /// Each of them.
    pub images: Vec<Checked>,
    /// All together.
    pub summary: Summary,
}

/// All images together.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// How many images there are.
    pub images: usize,
    /// How many layers they have.
    pub layers: usize,
    /// Bytes of the layers as they are stored.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// How many findings are errors.
    pub errors: usize,
    /// How many things could not be looked at.
    pub unchecked: usize,
    /// How many findings are warnings.
    pub warnings: usize,
    /// How many findings are no more than something to know.
    pub infos: usize,
}

impl Report {
    /// Sum up.
    #[must_use]
    pub fn new(source: &str, images: Vec<Checked>, took: Duration) -> Self {
        let count =
            |severity| images.iter().map(|image| image.findings.count(severity)).sum::<usize>();
        let summary = Summary {
            images: images.len(),
            layers: images.iter().map(|image| image.layers).sum(),
            bytes: images.iter().map(|image| image.bytes).fold(0, u64::saturating_add),
            seconds: (took.as_secs_f64() * 1e6).round() / 1e6,
            errors: count(Severity::Error),
            unchecked: count(Severity::Unchecked),
            warnings: count(Severity::Warning),
            infos: count(Severity::Info),
        };
        Self { source: source.to_owned(), images, summary }
    }

    /// 1 for an error, 3 where something could not be looked at, else 0: as `occystrap verify`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.summary.errors, self.summary.unchecked) {
            (0, 0) => 0,
            (0, _) => UNCHECKED,
            _ => 1,
        }
    }

    /// The document for programs (docs/inspecting.md).
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        write_json(to, self)
    }

    /// For people. `quiet` leaves out everything but errors and what could not be looked at.
    pub fn write_text(&self, to: &mut dyn Write, paper: &Paper, quiet: bool) -> io::Result<()> {
        text::write(self, to, paper, quiet)
    }
}
