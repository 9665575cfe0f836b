//! An export of a mirror: everything that the other side of an air gap lacks, as files.
//!
//! ```text
//! file -> items -> (documents of each image -> sink), in order -> layers -> sink
//!      -> receipts, index.json, SHA256SUMS -> sink -> every file is read back -> export.json
//! ```
//!
//! An export that builds on an earlier one leaves out images that are as they were, and layers that the earlier ones
//! carried. Manifests and configs of the images that it has are always in it: an import reads them.
//!
//! An index that is written anew is so by the import.
//!
//! What it refuses: images that filters change, because their bytes are at no source, and destinations that are no
//! registry, because an import needs the name of a repository.

mod archive;
mod base;
mod collect;
mod named;
mod sink;
mod written;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::base::chain;
use self::collect::{Collected, collect};
use self::named::{Named, names, rewrites};
use self::sink::ExportSink;
pub use self::written::ExportCounts;
use self::written::{Written, counts, index};
use super::exported::check::hash_all;
use super::exported::document::{
    Base, ExportDocument, ExportReceipt, ExportedItem, ExportedReferrer, ExportedRole, FailedItem,
    KnownItem, VERSION,
};
use super::exported::sums::{Sum, is_plain};
use super::exported::{DOCUMENT, FILE_FOLDER, RECEIPTS, SUMS};
use super::file::MirrorFile;
use super::plan;
use super::run::begin;
use super::services::Services;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::layout::{INDEX, MARKER, VERSION as LAYOUT_VERSION, blob};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_base::parallel::{each_next, in_parallel};
use occystrap_mirror::document::Platforms;
use occystrap_mirror::ledger::Ledger;
use occystrap_mirror::ledger::export::NewExport;
use occystrap_mirror::ledger::record::{RunId, RunKind};
use occystrap_net::registry::Repository;

/// Images whose documents are read at a time; so many are in memory.
const AT_A_TIME: usize = 64;

/// Receiver of the events of an export.
pub trait ExportEvents: Sync {
    /// The documents of all images were read.
    fn planned(&self, counts: &ExportCounts);
    /// An image could not be exported.
    fn failed(&self, source: &str, error: &Error);
}

/// An export that has ended.
pub struct EndedExport {
    /// Its run.
    pub run: RunId,
    /// Digest of its document; `None` where nothing was to be exported, or nothing could be.
    pub id: Option<Digest>,
    /// What it has.
    pub counts: ExportCounts,
    /// Sources that could not be listed, or of which the rules select nothing.
    pub unlisted: Vec<Error>,
    /// How long it took.
    pub took: Duration,
}

/// Exports everything that a file names, or what the other side lacks after the export of the run `since`. Errors with
/// everything that is wrong with the file; what a stopped export left is no complete export.
pub fn export<L: Ledger>(
    file: &MirrorFile,
    ledger: &L,
    services: &Services<'_>,
    to: &Path,
    since: Option<RunId>,
    events: &dyn ExportEvents,
) -> Result<EndedExport, Vec<Error>> {
    let started = Instant::now();
    let one = |error: Error| vec![error];
    let (base, chain) = chain(ledger, since).map_err(one)?;
    let plan = plan::plan(file, services, Some(ledger))?;
    let named = names(&plan.items)?;
    let sink = ExportSink::open(to).map_err(one)?;
    let selection = since.map_or(String::new(), |since| format!("since {}", since.0));
    let run = begin(ledger, file, RunKind::Export, &selection).map_err(one)?.id;
    let work = Work { file, ledger, services, sink, chain, base, run, events };
    let exported = work.all(&named);
    let stopped = |error: Error| {
        // The error is what the user must know.
        let _ = ledger.stop_run(run);
        vec![error]
    };
    let (id, counts) =
        exported.and_then(|made| made.complete(ledger, to, since)).map_err(stopped)?;
    let totals = serde_json::to_string(&counts).unwrap_or_default();
    ledger.finish_run(run, &totals).map_err(one)?;
    Ok(EndedExport { run, id, counts, unlisted: plan.failures, took: started.elapsed() })
}

/// What all steps of an export share.
struct Work<'e, L> {
    file: &'e MirrorFile,
    ledger: &'e L,
    services: &'e Services<'e>,
    sink: ExportSink,
    /// Runs of the exports that this one builds on.
    chain: Vec<RunId>,
    base: Option<Base>,
    run: RunId,
    events: &'e dyn ExportEvents,
}

/// An export whose files were all read back. Its document is not written yet.
struct Made {
    sink: ExportSink,
    document: ExportDocument,
    images: Vec<(String, Digest)>,
    carried: Vec<(Digest, String)>,
    counts: ExportCounts,
    run: RunId,
}

impl<L: Ledger> Work<'_, L> {
    fn all(self, named: &[Named<'_>]) -> Result<Made> {
        let mut failed: Vec<FailedItem> = Vec::new();
        let (mut as_before, mut unchanged) = (Vec::new(), 0);
        let mut written: Vec<Written> = Vec::new();
        // Layers in the order of the images, each once.
        let mut wanted: Vec<(Descriptor, Repository)> = Vec::new();
        let mut seen: HashSet<Digest> = HashSet::new();
        for some in named.chunks(AT_A_TIME) {
            self.services.context.cancel.check()?;
            let at_once = self.at_once();
            let collected = in_parallel(some, at_once, |one| collect(one.item, self.services));
            for (one, collected) in some.iter().zip(collected) {
                let collected = match collected {
                    Ok(collected) => collected,
                    Err(error) => {
                        self.fail(one, &error, &mut failed)?;
                        continue;
                    }
                };
                let content = collected.content();
                let destination = &one.item.destination.name;
                if self.ledger.exported(&self.chain, destination)? == Some(content) {
                    unchanged += 1;
                    if rewrites(&one.item.entry.settings) {
                        // The destination has another digest, which is not known here.
                        continue;
                    }
                    let digest = collected.root;
                    let target = one.tag.clone().unwrap_or_else(|| digest.to_string());
                    as_before.push(KnownItem {
                        repository: one.repository.clone(),
                        target,
                        digest,
                    });
                    continue;
                }
                written.push(self.write(one, collected, content, &mut seen, &mut wanted)?);
            }
        }
        let planned =
            ExportCounts { as_before: unchanged, failed: failed.len(), ..counts(&written) };
        self.events.planned(&planned);
        let lost = self.fetch(wanted)?;
        written.retain(|one| {
            let layers = one.receipt.objects.iter();
            let error = layers.filter(|object| object.carried_to.is_none());
            let Some(error) = error.clone().find_map(|object| lost.get(&object.digest)) else {
                return true;
            };
            self.events.failed(&one.item.source, error);
            failed.push(FailedItem { source: one.item.source.clone(), error: error.to_string() });
            false
        });
        let counts =
            ExportCounts { as_before: unchanged, failed: failed.len(), ..counts(&written) };
        self.make(written, as_before, failed, counts)
    }

    fn at_once(&self) -> usize {
        self.services.at_once(self.services.session.images_at_once())
    }

    fn fail(&self, one: &Named<'_>, error: &Error, failed: &mut Vec<FailedItem>) -> Result<()> {
        if error.kind() == Kind::Interrupted {
            return Err(error.clone());
        }
        let source = one.item.source.to_string();
        self.events.failed(&source, error);
        failed.push(FailedItem { source, error: error.to_string() });
        Ok(())
    }

    /// Writes the documents of an image, and notes the layers that must be fetched.
    fn write(
        &self,
        one: &Named<'_>,
        collected: Collected,
        content: Digest,
        seen: &mut HashSet<Digest>,
        wanted: &mut Vec<(Descriptor, Repository)>,
    ) -> Result<Written> {
        let Collected { root, mut objects, documents, layers, referrers } = collected;
        let cancel = &self.services.context.cancel;
        for object in objects.iter_mut().filter(|object| object.role == ExportedRole::Layer) {
            object.carried_to = self.ledger.carrier(&self.chain, &object.digest)?;
        }
        for (digest, bytes) in documents {
            if seen.insert(digest) && !self.sink.has(digest, bytes.len() as u64, cancel)? {
                self.sink.put(&blob(digest), &bytes)?;
            }
        }
        let left_out: HashSet<Digest> = objects
            .iter()
            .filter(|object| object.carried_to.is_some())
            .map(|object| object.digest)
            .collect();
        for (what, from) in layers {
            if !left_out.contains(&what.digest) && seen.insert(what.digest) {
                wanted.push((what, from));
            }
        }
        let receipt = ExportReceipt {
            repository: one.repository.clone(),
            tag: one.tag.clone(),
            digest: root,
            objects,
            referrers: referrers.iter().map(ExportedReferrer::from).collect(),
        };
        let root = receipt.manifests().find(|what| what.digest == root);
        let settings = &one.item.entry.settings;
        let item = ExportedItem {
            source: one.item.source.to_string(),
            repository: one.repository.clone(),
            tag: one.tag.clone(),
            digest: receipt.digest,
            verdict: "verified".to_owned(),
            verify: settings.verify.word().to_owned(),
            on_conflict: settings.on_conflict.word().to_owned(),
            rewrite_for: match &settings.platforms {
                Platforms::Listed(listed) if rewrites(settings) => {
                    listed.iter().map(|one| one.platform().to_string()).collect()
                }
                _ => Vec::new(),
            },
        };
        let Some(root) = root else {
            return Err(Error::source(format!("{}: has no manifest", item.source)));
        };
        let destination = one.item.destination.name.clone();
        Ok(Written { item, receipt, root, destination, content })
    }

    /// Fetches layers. Returns those that could not be fetched. Errors when the user interrupts, or the sink fails.
    fn fetch(&self, wanted: Vec<(Descriptor, Repository)>) -> Result<HashMap<Digest, Error>> {
        let lost = Mutex::new(HashMap::new());
        let at_once = if self.sink.takes_several() { self.at_once() } else { 1 };
        let mut left = wanted.into_iter();
        let context = &self.services.context;
        each_next(
            || {
                context.cancel.check()?;
                Ok(left.next())
            },
            at_once,
            |(what, from)| match self.fetch_one(&what, &from) {
                Err(error) if !matches!(error.kind(), Kind::Interrupted | Kind::Destination) => {
                    let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                    lost.insert(what.digest, error);
                    Ok(())
                }
                ended => ended,
            },
        )?;
        Ok(lost.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn fetch_one(&self, what: &Descriptor, from: &Repository) -> Result<()> {
        let context = &self.services.context;
        if self.sink.has(what.digest, what.size, &context.cancel)? {
            return Ok(());
        }
        let progress = context.progress.about(&from.place());
        let bar = progress.layer(&what.digest.short(), what.size);
        bar.begin("fetch", what.size);
        // It ends without an error only where all bytes have the digest.
        let mut download = from.blob(what);
        self.sink.stream(&blob(what.digest), what.size, what.digest, || {
            let next = self.services.wait(download.next())?;
            bar.set(download.received());
            Ok(next)
        })?;
        bar.finish();
        Ok(())
    }

    /// Writes everything but the document, and reads all files back.
    fn make(
        self,
        written: Vec<Written>,
        as_before: Vec<KnownItem>,
        failed: Vec<FailedItem>,
        counts: ExportCounts,
    ) -> Result<Made> {
        let sink = &self.sink;
        let marker = format!("{{\"imageLayoutVersion\":\"{LAYOUT_VERSION}\"}}");
        sink.put(MARKER, marker.as_bytes())?;
        let mut receipts = Vec::new();
        for one in &written {
            receipts.extend(serde_json::to_vec(&one.receipt).unwrap_or_default());
            receipts.push(b'\n');
        }
        sink.put(RECEIPTS, &receipts)?;
        drop(receipts);
        sink.put(INDEX, &index(&written))?;
        let name = self.file.name();
        let name = if is_plain(&name) { &name } else { "mirror.yaml" };
        sink.put(&format!("{FILE_FOLDER}/{name}"), self.file.text().as_bytes())?;
        let mut carried = BTreeMap::new();
        for one in &written {
            let here = one.receipt.objects.iter().filter(|object| object.carried_to.is_none());
            for object in here.filter(|object| object.role == ExportedRole::Layer) {
                carried.entry(object.digest).or_insert_with(|| one.receipt.repository.clone());
            }
        }
        let images = written.iter().map(|one| (one.destination.clone(), one.content)).collect();
        let document = ExportDocument {
            occystrap_export: VERSION,
            mirror: self.file.name(),
            file: self.file.digest,
            run: self.run.0,
            since: self.base.clone(),
            items: written.into_iter().map(|one| one.item).collect(),
            as_before,
            failed,
        };
        let sums = sink.list();
        sink.settle()?;
        hash_all(&sink.files()?, &sums, &self.services.context)?;
        let digest = Digest::of(&document.bytes());
        let list: String = sums
            .iter()
            .cloned()
            .chain([Sum { digest, path: DOCUMENT.to_owned() }])
            .map(|sum| sum.line())
            .collect();
        sink.put(SUMS, list.as_bytes())?;
        let carried = carried.into_iter().collect();
        Ok(Made { sink: self.sink, document, images, carried, counts, run: self.run })
    }
}

impl Made {
    /// Writes the document, and records the export. Returns the digest of the document; `None` where there was nothing to
    /// export.
    fn complete(
        self,
        ledger: &impl Ledger,
        to: &Path,
        since: Option<RunId>,
    ) -> Result<(Option<Digest>, ExportCounts)> {
        if self.document.items.is_empty() {
            self.sink.discard()?;
            return Ok((None, self.counts));
        }
        let bytes = self.document.bytes();
        let digest = Digest::of(&bytes);
        self.sink.finish(&bytes)?;
        let place = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
        ledger.note_export(&NewExport {
            run: self.run,
            since,
            place: &place.display().to_string(),
            digest,
            carried: &self.carried,
            images: &self.images,
        })?;
        Ok((Some(digest), self.counts))
    }
}
