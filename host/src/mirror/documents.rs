//! The JSON documents of `mirror verify`, `repair` and `prune` (docs/mirroring.md).

use std::io::{self, Write};

use serde::Serialize;

use super::coverage;
use super::prune::Pruned;
use super::repair::{EndedRepair, RepairCounts};
use super::verify::{EndedVerification, RecordedDamage};
use occystrap_base::error::Error;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table::{write_json, write_json_line};
use occystrap_images::level::Level;
use occystrap_mirror::ledger::holding::Coverage;
use occystrap_mirror::ledger::record::{LedgerItem, RunId};

/// Version of the documents. Later ones may have more keys.
const VERSION: u32 = 1;

/// Objects or images that a document lists at most; the others are counted in `left_out`.
const MOST_LISTED: usize = 1_000;

/// An object that is not right, or what became of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// `damaged`, `unchecked`, `repaired`, `right`, `kept-damaged` or `failed`.
    pub state: &'static str,
    /// Where it is.
    pub place: String,
    /// What was found, or why it could not be checked or repaired.
    pub message: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
}

/// An image that no rule names, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtraImage {
    /// `extra`, `deleted`, `gone` or `stays`.
    pub state: &'static str,
    /// Where it came from.
    pub source: String,
    /// Where it is.
    pub destination: String,
    /// Why it stays.
    pub message: Option<String>,
}

impl ExtraImage {
    /// Creates the entry of an image; `None` where nothing was tried.
    #[must_use]
    pub fn new(item: &LedgerItem, pruned: Option<&Pruned>) -> Self {
        let (state, message) = match pruned {
            None => ("extra", None),
            Some(Pruned::Deleted) => ("deleted", None),
            Some(Pruned::Gone) => ("gone", None),
            Some(Pruned::Stays(why)) => ("stays", Some(why.clone())),
        };
        let (source, destination) = (item.source.clone(), item.destination.clone());
        Self { state, source, destination, message }
    }
}

/// A list of bounded length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    entries: Vec<T>,
    left_out: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), left_out: 0 }
    }
}

impl<T> Listed<T> {
    /// Adds an entry, or counts it where the list is full.
    pub fn push(&mut self, entry: T) {
        match self.entries.len() < MOST_LISTED {
            true => self.entries.push(entry),
            false => self.left_out += 1,
        }
    }
}

/// The mirror that a document is about.
#[derive(Debug, Clone, Copy)]
pub struct DocumentSubject<'a> {
    /// Name of the mirror.
    pub mirror: &'a str,
    /// Digest of its file; `None` where the file could not be read.
    pub file: Option<&'a Digest>,
}

/// Which command a document is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofCommand {
    /// `mirror verify`.
    Verify,
    /// `mirror repair`.
    Repair,
    /// `mirror prune`.
    Prune,
}

/// A document of `mirror verify`.
#[derive(Default, Serialize)]
struct VerifyDocument<'a> {
    occystrap_mirror_verify: u32,
    mirror: &'a str,
    file: Option<&'a Digest>,
    run: Option<RunId>,
    state: Option<&'a str>,
    seconds: Option<f64>,
    level: Option<&'a str>,
    budget_ended: Option<bool>,
    summary: Option<VerifySummary>,
    coverage: Option<Covered>,
    require: Option<Required>,
    problems: &'a [Object],
    left_out: u64,
    repair: Option<RepairDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

#[derive(Serialize)]
struct VerifySummary {
    images: u64,
    all_images: u64,
    links: u64,
    blobs: u64,
    all_blobs: u64,
    bytes: u64,
    damaged_images: u64,
    damaged_blobs: u64,
    unchecked: u64,
}

#[derive(Serialize)]
struct Covered {
    bytes: u64,
    damaged_bytes: u64,
    never_read_bytes: u64,
    read_within_30d: Option<f64>,
    oldest_seconds: Option<u64>,
}

/// What `--require` asks for.
#[derive(Serialize)]
struct Required {
    seconds: u64,
    is_met: bool,
    old_images: u64,
    old_blobs: u64,
}

/// A document of `mirror repair`.
#[derive(Default, Serialize)]
struct RepairDocument<'a> {
    occystrap_mirror_repair: u32,
    mirror: &'a str,
    file: Option<&'a Digest>,
    run: Option<RunId>,
    state: Option<&'a str>,
    seconds: Option<f64>,
    summary: Option<RepairCounts>,
    objects: &'a [Object],
    left_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

/// A document of `mirror prune`.
#[derive(Default, Serialize)]
struct PruneDocument<'a> {
    occystrap_mirror_prune: u32,
    mirror: &'a str,
    file: Option<&'a Digest>,
    summary: Option<PruneSummary>,
    images: &'a [ExtraImage],
    left_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

/// Counts of `mirror prune`. Without `--yes` nothing was tried, and all but `extra` are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneSummary {
    /// Images that no rule names.
    pub extra: u64,
    /// Those that were deleted.
    pub deleted: Option<u64>,
    /// Those that were not there any more.
    pub gone: Option<u64>,
    /// Those that stay.
    pub stays: Option<u64>,
}

/// A verification, for its document.
pub struct Verified<'a> {
    /// How it ended.
    pub ended: &'a EndedVerification,
    /// Its level.
    pub level: Level,
    /// The damage that the ledger has recorded.
    pub damage: RecordedDamage,
    /// How much was read within 30 days.
    pub covered: &'a Coverage,
    /// The age that the user requires in seconds, and how much was read within it.
    pub required: Option<(u64, &'a Coverage)>,
    /// What was found.
    pub problems: &'a Listed<Object>,
    /// The repair afterwards, and what became of what was bad.
    pub repair: Option<(&'a EndedRepair, &'a Listed<Object>)>,
}

impl Verified<'_> {
    /// Writes the document; `is_line` says that it is one line.
    pub fn write(
        &self,
        of: DocumentSubject<'_>,
        is_line: bool,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let Self { ended, damage, covered, problems, .. } = self;
        let required = self.required.map(|(seconds, covered)| Required {
            seconds,
            is_met: coverage::unmet(covered, *damage, seconds).is_none(),
            old_images: damage.old_images,
            old_blobs: covered.all.blobs.saturating_sub(young(covered).blobs),
        });
        let document = VerifyDocument {
            occystrap_mirror_verify: VERSION,
            mirror: of.mirror,
            file: of.file,
            run: Some(ended.run),
            state: Some(state(ended.is_interrupted)),
            seconds: Some(ended.took.as_secs_f64()),
            level: Some(if self.level == Level::Full { "full" } else { "fast" }),
            budget_ended: Some(ended.is_cut),
            summary: Some(VerifySummary {
                images: ended.counts.images,
                all_images: damage.all_images,
                links: ended.counts.links,
                blobs: ended.counts.blobs.blobs,
                all_blobs: covered.all.blobs,
                bytes: ended.counts.blobs.bytes,
                damaged_images: damage.images,
                damaged_blobs: damage.blobs,
                unchecked: ended.counts.unchecked,
            }),
            coverage: Some(Covered {
                bytes: covered.all.bytes,
                damaged_bytes: covered.bad.bytes,
                never_read_bytes: covered.never.bytes,
                read_within_30d: share(young(covered).bytes, covered.all.bytes),
                oldest_seconds: covered.oldest,
            }),
            require: required,
            problems: &problems.entries,
            left_out: problems.left_out,
            repair: self.repair.map(|(ended, objects)| repair_document(of, ended, objects)),
            error: None,
        };
        put(&document, is_line, to)
    }
}

/// Writes the document of a repair; `is_line` says that it is one line.
pub fn write_repair(
    of: DocumentSubject<'_>,
    ended: &EndedRepair,
    objects: &Listed<Object>,
    is_line: bool,
    to: &mut dyn Write,
) -> io::Result<()> {
    put(&repair_document(of, ended, objects), is_line, to)
}

/// Writes the document of `mirror prune`; `is_line` says that it is one line.
pub fn write_prune(
    of: DocumentSubject<'_>,
    summary: PruneSummary,
    images: &Listed<ExtraImage>,
    is_line: bool,
    to: &mut dyn Write,
) -> io::Result<()> {
    let document = PruneDocument {
        occystrap_mirror_prune: VERSION,
        mirror: of.mirror,
        file: of.file,
        summary: Some(summary),
        images: &images.entries,
        left_out: images.left_out,
        error: None,
    };
    put(&document, is_line, to)
}

/// Writes the document of a command that failed.
pub fn write_failed(
    command: ProofCommand,
    mirror: &str,
    error: &Error,
    to: &mut dyn Write,
) -> io::Result<()> {
    let error = Some(error);
    match command {
        ProofCommand::Verify => {
            let occystrap_mirror_verify = VERSION;
            let rest = VerifyDocument::default();
            write_json(to, &VerifyDocument { occystrap_mirror_verify, mirror, error, ..rest })
        }
        ProofCommand::Repair => {
            let occystrap_mirror_repair = VERSION;
            let rest = RepairDocument::default();
            write_json(to, &RepairDocument { occystrap_mirror_repair, mirror, error, ..rest })
        }
        ProofCommand::Prune => {
            let occystrap_mirror_prune = VERSION;
            let rest = PruneDocument::default();
            write_json(to, &PruneDocument { occystrap_mirror_prune, mirror, error, ..rest })
        }
    }
}

fn repair_document<'a>(
    of: DocumentSubject<'a>,
    ended: &EndedRepair,
    objects: &'a Listed<Object>,
) -> RepairDocument<'a> {
    RepairDocument {
        occystrap_mirror_repair: VERSION,
        mirror: of.mirror,
        file: of.file,
        run: Some(ended.run),
        state: Some(state(ended.is_interrupted)),
        seconds: Some(ended.took.as_secs_f64()),
        summary: Some(ended.counts),
        objects: &objects.entries,
        left_out: objects.left_out,
        error: None,
    }
}

fn put(document: &impl Serialize, is_line: bool, to: &mut dyn Write) -> io::Result<()> {
    match is_line {
        true => write_json_line(to, document),
        false => write_json(to, document),
    }
}

fn state(is_interrupted: bool) -> &'static str {
    if is_interrupted { "stopped" } else { "finished" }
}

/// Returns what was read within the first limit of a coverage.
fn young(covered: &Coverage) -> occystrap_mirror::ledger::holding::BlobSum {
    covered.by_age.first().copied().unwrap_or_default()
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| (part as f64 / all as f64 * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let mut listed = Listed::default();
        for number in 0..MOST_LISTED + 7 {
            listed.push(number);
        }
        assert_eq!((listed.entries.len(), listed.left_out), (MOST_LISTED, 7));
    }

    #[test]
    fn a_command_that_failed_prints_the_same_keys() {
        let error = Error::usage("no");
        let keys = |command, name: &str| {
            let mut text = Vec::new();
            write_failed(command, "m.yaml", &error, &mut text).unwrap();
            let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(document[name], 1, "{document}");
            assert_eq!(document["summary"], serde_json::Value::Null);
            assert_eq!(document["error"]["message"], "no");
        };
        keys(ProofCommand::Verify, "occystrap_mirror_verify");
        keys(ProofCommand::Repair, "occystrap_mirror_repair");
        keys(ProofCommand::Prune, "occystrap_mirror_prune");
    }
}
