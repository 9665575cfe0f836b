//! One item of a run: it is unchanged, or it is moved and verified.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::hint;
use super::look::Seen;
use super::referrers;
use super::services::Services;
use crate::Process;
use crate::pipeline::request::PlatformSelection;
use crate::pipeline::{self, ReceiptStore, Request};
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::oci::{Digest, PlatformRequest};
use occystrap_images::level::Level;
use occystrap_mirror::document::{IndexMode, OnConflict, Platforms, VerifyMode};
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::holding::HeldBlob;
use occystrap_mirror::ledger::record::{
    self, Ending, FinishedItem, ItemError, ItemObject, LedgerItem, Outcome, ProofChange, Verdict,
};
use occystrap_net::context::Context;
use occystrap_net::registry::Reference;
use occystrap_net::uri::Uri;
use occystrap_output::receipt::{Bundle, Place, Receipt};
use occystrap_verify::report::{ImageStatus, ObjectReport, Run};

/// Objects of an image that are not right, of which the ledger keeps at most so many: an image has at most some hundred.
const MOST_OBJECTS: usize = 200;

/// How an attempt ended.
pub struct Attempt {
    /// What the ledger gets; `None` where the user interrupted, so that the item is given back.
    pub record: Option<FinishedItem>,
    /// Blobs that the destination has now.
    pub blobs: Vec<HeldBlob>,
}

/// Returns whether nothing is to be done: source and destination have the digests that were proved together.
pub fn is_unchanged(item: &LedgerItem, seen: &Seen) -> bool {
    let Some(proof) = item.proof else { return false };
    let source = item.want_digest.unwrap_or(proof.digest);
    seen.source == Some(source) && seen.destination == Some(proof.digest)
}

/// Returns the end of an item that a policy of the file decides, where the destination has another image.
pub fn by_policy(item: &MirrorItem<'_>, seen: &Seen) -> Option<FinishedItem> {
    let source = seen.source?;
    let found = seen.destination.filter(|found| *found != source)?;
    let ending = match item.entry.settings.on_conflict {
        OnConflict::Replace => return None,
        OnConflict::Keep => Ending::Done(Outcome::Kept, Verdict::NotVerified),
        OnConflict::Error => Ending::Blocked,
    };
    let mut record = FinishedItem::new(ending);
    record.want_digest = Some(source);
    if ending == Ending::Blocked {
        record.error = Some(ItemError {
            class: "conflict".to_owned(),
            message: format!(
                "{}: the destination has another image: expected {}, found {found}",
                item.destination.name, source
            ),
            hint: Some("remove it there, or write 'on-conflict: replace'".to_owned()),
        });
    }
    Some(record)
}

/// Returns the record of an item that an error ended. `again` is the command that tries it again, for the hint of an error
/// that has none.
pub fn failed(error: &Error, again: &str) -> Option<FinishedItem> {
    let later = Ending::Retry { asked_wait: error.asked_wait().map(|wait| wait.as_secs()) };
    let lasting = Ending::Failed(Verdict::NotVerified);
    let (class, ending) = match error.kind() {
        _ if error.origin() == Some(FaultOrigin::NoSuchPlatform) => ("no-such-platform", lasting),
        Kind::Interrupted => return None,
        _ if error.origin() == Some(FaultOrigin::WrongAtDestination) => {
            ("verification", Ending::Failed(Verdict::Failed))
        }
        _ if error.origin() == Some(FaultOrigin::UnreadAtDestination) => ("network", later),
        Kind::Network if error.origin() == Some(FaultOrigin::Lasting) => ("refused", lasting),
        Kind::Network => ("network", later),
        Kind::Changed => ("changed", later),
        Kind::NotFound => ("source-missing", Ending::Failed(Verdict::NotVerified)),
        Kind::Auth => ("login", Ending::Failed(Verdict::NotVerified)),
        Kind::Source => ("source-damaged", Ending::Failed(Verdict::NotVerified)),
        Kind::Destination => ("destination", Ending::Failed(Verdict::NotVerified)),
        Kind::Plugin => ("plugin", Ending::Failed(Verdict::NotVerified)),
        _ => ("settings", Ending::Failed(Verdict::NotVerified)),
    };
    let mut record = FinishedItem::new(ending);
    record.error = Some(ItemError {
        class: class.to_owned(),
        message: error.to_string(),
        hint: Some(error.hint_text().map_or_else(|| hint::of(class, again), str::to_owned)),
    });
    Some(record)
}

impl Attempt {
    /// Returns an attempt that an error ended.
    #[must_use]
    pub fn failed(error: &Error, services: &Services<'_>) -> Self {
        Self { record: failed(error, &services.again), blobs: Vec::new() }
    }
}

/// Moves the image of an item and verifies it. `seen` is what both ends had before.
pub fn move_item(item: &MirrorItem<'_>, seen: &Seen, services: &Services<'_>) -> Attempt {
    let level = match item.entry.settings.verify {
        VerifyMode::Fast => Some(Level::Fast),
        VerifyMode::Full => Some(Level::Full),
        VerifyMode::None => None,
    };
    move_at(item, seen, services, level)
}

/// Moves the image of an item and verifies it so far.
pub fn move_at(
    item: &MirrorItem<'_>,
    seen: &Seen,
    services: &Services<'_>,
    level: Option<Level>,
) -> Attempt {
    match try_to_move(item, seen, services, level) {
        Ok(attempt) => attempt,
        Err(error) => Attempt::failed(&error, services),
    }
}

/// Errors for each entry whose images cannot be moved, whatever source and destination have: its output does not exist, or
/// does not know an option.
pub fn check_each(items: &[MirrorItem<'_>], services: &Services<'_>) -> Result<(), Vec<Error>> {
    let mut errors = Vec::new();
    let mut last = None;
    for item in items {
        let place = &item.entry.place;
        if last != Some(place)
            && let Err(error) = request(item, services, None)
        {
            errors.push(error.within(place));
        }
        last = Some(place);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Returns the request that moves an item.
fn request(
    item: &MirrorItem<'_>,
    services: &Services<'_>,
    level: Option<Level>,
) -> Result<(Request, Context)> {
    let settings = &item.entry.settings;
    let source = match &services.exported {
        Some(exported) => exported.uri.typed(),
        None => format!("registry://{}", item.source),
    };
    let mut process = Process::new(source, &item.destination.uri).verify(level);
    for filter in &settings.filters {
        process = process.filter(&filter.text);
    }
    let mut session = services.session.clone();
    if let Platforms::Listed(listed) = &settings.platforms
        && let [platform] = listed.as_slice()
    {
        session = session.platform(platform.clone());
    } else if services.holds_indexes(&Uri::parse(&item.destination.uri)?)? {
        process = process.all_platforms(true);
    }
    let (mut request, context) =
        process.prepare_with(&session, &services.clients, &services.catalog)?;
    if let Some(exported) = &services.exported {
        request.source = exported.source(&item.destination.name)?;
    }
    request.proves_before_tag = true;
    request.is_untagged = item.destination.digest.is_some();
    if let Platforms::Listed(listed) = &settings.platforms
        && listed.len() > 1
    {
        request.platforms = Some(PlatformSelection {
            wanted: listed.iter().map(PlatformRequest::platform).collect(),
            rewrites_index: settings.index == IndexMode::Rewrite,
        });
    }
    request.referrers = referrers::wanted(item, services);
    request.receipts = ReceiptStore::Memory(Mutex::default());
    Ok((request, context))
}

fn try_to_move(
    item: &MirrorItem<'_>,
    seen: &Seen,
    services: &Services<'_>,
    level: Option<Level>,
) -> Result<Attempt> {
    let (request, context) = request(item, services, level)?;
    // What it asks and moves belongs to the run.
    let run_wide = &services.context;
    let context = Context {
        counters: Arc::new(run_wide.counters.beside()),
        progress: run_wide.progress.about(&item.source.to_string()),
        ..context
    };
    let is_outdated = match seen.is_proved {
        true => pipeline::referrers::is_outdated(&request, &context)?,
        false => false,
    };
    if seen.is_proved && !is_outdated {
        let mut record = FinishedItem::new(Ending::Done(Outcome::Unchanged, Verdict::NotVerified));
        record.want_digest = seen.source;
        return Ok(Attempt { record: Some(record), blobs: Vec::new() });
    }
    note_tag(item, seen, services)?;
    // The ledger may know blobs that the registry has lost since.
    let run = pipeline::process_anew_if_wrong(&request, &context, || {
        services.forget_blobs(&item.destination.uri)
    })?;
    let receipts = request.receipts.into_memory();
    let is_same = seen.destination.is_some() && seen.destination == seen.source;
    let is_there = is_same && !is_outdated;
    let counters = &context.counters;
    let again = &services.again;
    Ok(Attempt {
        record: record_of(&run, again, receipts.as_slice(), level, is_there, item, seen).map(
            |mut record| {
                (record.bytes_sent, record.bytes_mounted) = (counters.sent(), counters.mounted());
                record
            },
        ),
        blobs: blobs_of(&run, &receipts, &item.destination.uri),
    })
}

/// Tells the client of the destination what its tag is, where that was asked for.
fn note_tag(item: &MirrorItem<'_>, seen: &Seen, services: &Services<'_>) -> Result<()> {
    let uri = Uri::parse(&item.destination.uri)?;
    if seen.source.is_none() || uri.scheme != "registry" || item.destination.digest.is_some() {
        return Ok(());
    }
    let tag = Reference::parse(&uri.rest)?.target();
    services.repository(&uri)?.note_tag(&tag, seen.destination);
    Ok(())
}

/// Returns what the ledger gets of a move; `None` where the user interrupted.
fn record_of(
    run: &Run,
    again: &str,
    receipts: &[Receipt],
    level: Option<Level>,
    is_there: bool,
    item: &MirrorItem<'_>,
    seen: &Seen,
) -> Option<FinishedItem> {
    let settings = &item.entry.settings;
    let reports = run.images();
    let has = |status: ImageStatus| reports.iter().any(|image| image.status == status);
    // The error of an image that an index lists is the cause; that of the index follows from it.
    let error = reports.iter().find_map(|image| image.error.as_ref());
    if has(ImageStatus::Error)
        && let Some(error) = error
    {
        return failed(error, again)
            .map(|record| FinishedItem { want_digest: seen.source, ..record });
    }
    let outcome = if is_there { Outcome::AlreadyThere } else { Outcome::Copied };
    let (ending, proof) = if has(ImageStatus::Failed) {
        (Ending::Failed(Verdict::Failed), ProofChange::Drop)
    } else if has(ImageStatus::Unconfirmed) {
        (Ending::Done(outcome, Verdict::Unconfirmed), ProofChange::Drop)
    } else if level.is_none() {
        (Ending::Done(outcome, Verdict::NotVerified), ProofChange::Drop)
    } else {
        // A directory keeps no manifest: the image in it is that of the source.
        let proof = match (proved(receipts).or(seen.source), level) {
            (Some(digest), Some(Level::Full)) => ProofChange::Proved(digest, record::Level::Full),
            (Some(digest), _) => ProofChange::Proved(digest, record::Level::Fast),
            (None, _) => ProofChange::Drop,
        };
        (Ending::Done(outcome, Verdict::Verified), proof)
    };
    let mut record = FinishedItem::new(ending);
    // Where nothing changes an image, its digest is that of the source.
    let moved = settings.keeps_digest().then(|| proved(receipts)).flatten();
    (record.proof, record.want_digest) = (proof, seen.source.or(moved));
    record.receipt = Bundle::new(receipts.to_vec()).line();
    let problems = reports.iter().flat_map(|image| image.problems(MOST_OBJECTS));
    let problems: Vec<ObjectReport> = problems.take(MOST_OBJECTS).collect();
    if ending == Ending::Failed(Verdict::Failed) {
        let first = problems.first().map(|first| format!(": {}", first.message));
        record.error = Some(ItemError {
            class: "verification".to_owned(),
            message: match error {
                Some(error) => error.to_string(),
                None => format!("the verification FAILED{}", first.unwrap_or_default()),
            },
            hint: Some(
                error
                    .and_then(Error::hint_text)
                    .map_or_else(|| format!("send it again with: {again}"), str::to_owned),
            ),
        });
    }
    record.objects = problems.into_iter().map(object).collect();
    Some(record)
}

/// Returns an object that is not right as the ledger has it.
fn object(report: ObjectReport) -> ItemObject {
    let role = match report.index {
        Some(index) => format!("{} {}", report.kind, index + 1),
        None => report.kind.to_owned(),
    };
    ItemObject {
        role,
        digest: report.digest,
        size: report.size,
        status: report.status.name().to_owned(),
        found: report.found,
    }
}

/// Returns the digest of the manifest or index that has the name of the image: that of the last receipt.
fn proved(receipts: &[Receipt]) -> Option<Digest> {
    receipts.last()?.manifest_digest()
}

/// Returns the blobs that a registry has according to receipts, but for those that were not found right.
fn blobs_of(run: &Run, receipts: &[Receipt], uri: &str) -> Vec<HeldBlob> {
    if !uri.starts_with("registry://") {
        return Vec::new();
    }
    let (host, repo) = super::plan::host_and_repository(uri);
    let problems = run.images().iter().flat_map(|image| image.problems(MOST_OBJECTS));
    let wrong: HashSet<Digest> = problems.filter_map(|problem| problem.digest).collect();
    let expectations = receipts.iter().flat_map(|receipt| &receipt.expectations);
    let held = expectations.filter_map(|one| match (&one.place, one.size) {
        (Place::Blob { digest }, Some(size)) if !wrong.contains(digest) => {
            Some(HeldBlob { host: host.clone(), repo: repo.clone(), digest: *digest, size })
        }
        _ => None,
    });
    held.collect()
}
