//! The result of a check: the JSON document for programs, and the exit code for scripts.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::finding::{Findings, Severity};
use super::rules::Gate;
use crate::level::Level;
use crate::source::view::{View, ViewKind, ViewedLayer};
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table::write_json;

/// Exit code if something could not be checked, and no error was found.
const UNCHECKED: u8 = 3;

/// A checked image, artifact, index or attestation.
pub struct CheckedImage {
    /// Which of them it is.
    pub kind: ViewKind,
    /// The familiar name without the tag; empty if nothing could be read.
    pub image: String,
    /// The tag; empty if it has none.
    pub tag: String,
    /// The platform of the config, else that of the index; if all platforms are checked, that of the index, else that of
    /// the config. For an attestation, the platform of the image that it is about.
    pub platform: Option<String>,
    /// Digest of the manifest or of the index.
    pub digest: Option<Digest>,
    /// Digest of the index that lists it, where it was chosen from one.
    pub listed_by: Option<Digest>,
    /// How much of it was read.
    pub level: Level,
    /// Number of layers.
    pub layers: usize,
    /// Bytes of the stored layers; for an engine, the bytes that it counts for their files.
    pub bytes: u64,
    /// Whether it is an image with encrypted layers, whose content was not checked.
    pub is_encrypted: bool,
    /// All findings.
    pub findings: Findings,
}

impl CheckedImage {
    /// Returns the result for a view that was checked.
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
        let configured = || crate::info::platform(&view.config.document);
        let listed = || Some(entry?.platform.as_ref()?.to_string());
        Self {
            kind: view.role,
            image: view.name.repository.clone(),
            tag: view.name.tag.clone().unwrap_or_default(),
            platform: match view.index.as_ref().is_some_and(|index| index.manifest.is_none()) {
                // Clients choose by the index, and configs seldom name a variant.
                true => listed().or_else(configured),
                false => configured().or_else(listed),
            },
            digest: manifest.map(|known| known.digest),
            listed_by: match &view.index {
                Some(index) if !is_index => index.manifest.as_ref().map(|known| known.digest),
                _ => None,
            },
            level,
            layers: view.layers.len(),
            bytes: sizes.fold(0, u64::saturating_add),
            is_encrypted: view.is_encrypted(),
            findings,
        }
    }

    /// Returns the result for a source that could not be read at all.
    #[must_use]
    pub fn unread(level: Level, findings: Findings) -> Self {
        let (image, tag) = Default::default();
        let kind = ViewKind::Image;
        Self {
            kind,
            image,
            tag,
            platform: None,
            digest: None,
            listed_by: None,
            level,
            layers: 0,
            bytes: 0,
            is_encrypted: false,
            findings,
        }
    }

    /// Returns the worst severity as a word.
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

impl Serialize for CheckedImage {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let count = |severity| self.findings.count(severity);
        let all: Vec<_> = self.findings.all().collect();
        let left_out: BTreeMap<_, _> = self.findings.left_out();
        let mut to = to.serialize_struct("CheckedImage", 17)?;
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
        to.serialize_field("ignored", self.findings.ignored())?;
        to.serialize_field("passed", self.findings.passed())?;
        to.end()
    }
}

/// The result for all images of a source.
#[derive(Serialize)]
pub struct CheckReport {
    /// The source, without secrets.
    pub source: String,
    /// The images, in the order of the source.
    pub images: Vec<CheckedImage>,
    /// Number of referrers of the images, by artifact type; `None` where the source has no way to tell.
    pub referrers: Option<BTreeMap<String, usize>>,
    /// Totals of all images.
    pub summary: CheckSummary,
}

/// Totals of all images.
#[derive(Debug, Serialize)]
pub struct CheckSummary {
    /// Number of images.
    pub images: usize,
    /// Number of layers.
    pub layers: usize,
    /// Bytes of the stored layers.
    pub bytes: u64,
    /// Duration of the check in seconds.
    pub seconds: f64,
    /// Number of errors.
    pub errors: usize,
    /// Number of things that could not be checked.
    pub unchecked: usize,
    /// Number of warnings.
    pub warnings: usize,
    /// Number of notes.
    pub infos: usize,
    /// Number of findings that the user ignores.
    pub ignored: usize,
    /// The least severity for which the check fails.
    pub fail_on: Severity,
    /// Whether there is a finding of that severity or a worse one. What could not be checked does not count.
    pub failed: bool,
}

impl CheckReport {
    /// Returns the report of a source with its totals, without the findings that `gate` ignores.
    #[must_use]
    pub fn new(
        source: &str,
        mut images: Vec<CheckedImage>,
        referrers: Option<BTreeMap<String, usize>>,
        gate: &Gate,
        took: Duration,
    ) -> Self {
        images.iter_mut().for_each(|image| image.findings.ignore(&gate.ignored));
        let count =
            |severity| images.iter().map(|image| image.findings.count(severity)).sum::<usize>();
        let summary = CheckSummary {
            images: images.len(),
            layers: images.iter().map(|image| image.layers).sum(),
            bytes: images.iter().map(|image| image.bytes).fold(0, u64::saturating_add),
            seconds: (took.as_secs_f64() * 1e6).round() / 1e6,
            errors: count(Severity::Error),
            unchecked: count(Severity::Unchecked),
            warnings: count(Severity::Warning),
            infos: count(Severity::Info),
            ignored: images.iter().flat_map(|image| image.findings.ignored().values()).sum(),
            fail_on: gate.fail_on,
            failed: [Severity::Error, Severity::Warning, Severity::Info]
                .into_iter()
                .any(|severity| severity <= gate.fail_on && count(severity) > 0),
        };
        Self { source: source.to_owned(), images, referrers, summary }
    }

    /// Returns the exit code: 1 if the check failed, 3 if something could not be checked, else 0, as `occystrap verify`
    /// does.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.summary.failed, self.summary.unchecked) {
            (true, _) => 1,
            (false, 0) => 0,
            (false, _) => UNCHECKED,
        }
    }

    /// Writes the JSON document (docs/inspecting.md).
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        write_json(to, self)
    }
}
