//! A repair: what is recorded as bad is sent again and read back.
//!
//! What this module refuses: to count anything as repaired because a registry said that it stored it.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::by_receipt;
use super::check::{self, Check, ExpectedImage};
use super::file::MirrorFile;
use super::item;
use super::look::{Question, Seen};
use super::place::{ImagePlace, Places};
use super::run::begin;
use super::services::Services;
use super::verify::DAMAGED;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_images::level::Level;
use occystrap_mirror::expand::{Item, Source};
use occystrap_mirror::ledger::holding::{Blob, BlobCheck, DueRequest, ItemFilter, Subset};
use occystrap_mirror::ledger::record::{
    self, Ending, ItemCheck, ItemError, ItemObject, ProofChange, RunId, RunKind, Verdict,
};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{LONGEST_PAGE, Ledger, each_item};
use occystrap_net::registry::{Body, PushOptions, Reference, Removal, Repository};
use occystrap_verify::receipt::plugins::Plugins;

/// Class of the error of an item that its registry keeps damaged.
const KEPT_DAMAGED: &str = "kept-damaged";

/// Sources that are asked for the bytes of one blob.
const MOST_SOURCES: usize = 8;

/// Receiver of the events of a repair.
pub trait RepairEvents: Sync {
    /// An object was sent again, read back, and is right.
    fn repaired(&self, place: &str);
    /// An object was read, and is right already.
    fn right(&self, place: &str);
    /// An object is still bad: the registry keeps the damaged bytes.
    fn kept(&self, place: &str, found: &str, hint: &str);
    /// An object is still bad: it could not be sent again or read.
    fn failed(&self, place: &str, why: &Error);
}

/// Counts of a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct RepairCounts {
    /// Sent again, read back, and right.
    pub repaired: u64,
    /// Right before anything was sent.
    pub right: u64,
    /// Still bad: the registry keeps the damaged bytes.
    pub kept_damaged: u64,
    /// Still bad for another reason.
    pub failed: u64,
}

/// A repair that has ended.
pub struct EndedRepair {
    /// Its number.
    pub run: RunId,
    /// What became of what was bad.
    pub counts: RepairCounts,
    /// Whether the user stopped it.
    pub is_interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// What was found of an image, and its objects that are not right.
type CheckedImage = (Check, Vec<ItemObject>);

impl EndedRepair {
    /// Returns the last line.
    #[must_use]
    pub fn line(&self) -> String {
        let RepairCounts { repaired, right, kept_damaged, failed } = self.counts;
        let mut parts = vec![format!("{repaired} repaired")];
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        add(right, "right already");
        add(kept_damaged, "KEPT DAMAGED");
        add(failed, "FAILED");
        format!("Repair: {} in {:.1}s", parts.join(", "), self.took.as_secs_f64())
    }

    /// Returns the exit code: 130 for an interruption, 1 while something is bad.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.is_interrupted {
            true => Error::interrupted().exit_code(),
            false => u8::from(self.counts.kept_damaged + self.counts.failed > 0),
        }
    }
}

/// Repairs what the ledger has recorded as bad. `again` is the command to run after the storage of a registry was mended.
/// Errors when FILE is wrong or the ledger fails.
pub fn repair<L: Ledger>(
    file: &MirrorFile,
    ledger: &L,
    services: &Services<'_>,
    again: &str,
    events: &dyn RepairEvents,
) -> Result<EndedRepair, Vec<Error>> {
    let started = Instant::now();
    let one = |error: Error| vec![error];
    let sources = file.sources()?;
    let run = begin(ledger, file, RunKind::Repair, "").map_err(one)?.id;
    let work = Repair {
        ledger,
        services,
        sources: &sources,
        again,
        events,
        run,
        places: Places::new(ledger, services),
        plugins: Plugins::new(&services.catalog),
        counts: Mutex::default(),
    };
    // A manifest is accepted when its blobs are there.
    let outcome = work.blobs().and_then(|()| work.images());
    let is_interrupted = match outcome {
        Ok(()) => false,
        Err(error) if error.kind() == Kind::Interrupted => true,
        Err(error) => return Err(vec![error]),
    };
    let counts = *work.counts();
    let text = serde_json::to_string(&counts).unwrap_or_default();
    match is_interrupted {
        true => ledger.stop_run(run).map_err(one)?,
        false => drop(ledger.finish_run(run, &text).map_err(one)?),
    }
    Ok(EndedRepair { run, counts, is_interrupted, took: started.elapsed() })
}

struct Repair<'r, L> {
    ledger: &'r L,
    services: &'r Services<'r>,
    sources: &'r [Source<'r>],
    again: &'r str,
    events: &'r dyn RepairEvents,
    run: RunId,
    places: Places<'r, L>,
    plugins: Plugins<'r>,
    counts: Mutex<RepairCounts>,
}

/// What became of an object that was sent again.
enum Sent {
    /// It was read back, and is right.
    Right,
    /// The registry keeps what was found; and why it could not be replaced.
    Kept(String, String),
    /// It could not be sent or read.
    Failed(Error),
}

impl<L: Ledger> Repair<'_, L> {
    fn counts(&self) -> std::sync::MutexGuard<'_, RepairCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.services.context.runtime.block_on(work)
    }

    fn blobs(&self) -> Result<()> {
        let mut after = None;
        loop {
            let due = self.ledger.due_blobs(&DueRequest {
                run: self.run,
                host: None,
                subset: Subset::All,
                older_than: None,
                only_bad: true,
                after,
                most: LONGEST_PAGE,
            })?;
            for blob in &due.blobs {
                self.services.context.cancel.check()?;
                self.blob(blob)?;
            }
            after = due.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Repairs a blob in each repository that has it.
    fn blob(&self, blob: &Blob) -> Result<()> {
        let place = format!("{}@{}", blob.host, blob.digest);
        let mut was_wrong = false;
        for repo in self.places.of_blob(&blob.host, &blob.digest)? {
            let repository = self.places.repository(&blob.host, &repo)?;
            match self.wait(check::blob(&repository, blob.digest, blob.size))? {
                Check::Good => continue,
                Check::Bad(_) => was_wrong = true,
                Check::Unchecked(error) => return self.leave(blob, &place, &error),
            }
            match self.replace(blob, &repo, &repository)? {
                Sent::Right => {}
                Sent::Failed(error) => return self.leave(blob, &place, &error),
                Sent::Kept(found, why) => {
                    self.counts().kept_damaged += 1;
                    let hint = self.remove_first(&[blob.digest]);
                    self.events.kept(&place, &format!("{found}; {why}"), &hint);
                    let bad = BlobCheck::Bad(format!("{KEPT_DAMAGED}: {found}; {why}"));
                    self.ledger.record_blob(self.run, &blob.host, &blob.digest, &bad)?;
                    return Ok(());
                }
            }
        }
        self.ledger.record_blob(self.run, &blob.host, &blob.digest, &BlobCheck::Good)?;
        match was_wrong {
            true => {
                self.counts().repaired += 1;
                self.events.repaired(&place);
            }
            false => {
                self.counts().right += 1;
                self.events.right(&place);
            }
        }
        Ok(())
    }

    /// Leaves a blob bad.
    fn leave(&self, blob: &Blob, place: &str, why: &Error) -> Result<()> {
        self.counts().failed += 1;
        self.events.failed(place, why);
        self.ledger.record_blob(self.run, &blob.host, &blob.digest, &BlobCheck::Unchecked)?;
        Ok(())
    }

    /// Returns what the operator of a registry must do.
    fn remove_first(&self, digests: &[Digest]) -> String {
        let files = digests.iter().map(|digest| {
            let hex = digest.hex();
            format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
        });
        let files: Vec<_> = files.collect();
        format!(
            "remove {} from the storage of the registry, restart it if it caches, then run: {}",
            files.join(" and "),
            self.again
        )
    }

    /// Sends a blob again and reads it back; then deletes it, sends it again and reads it back.
    fn replace(&self, blob: &Blob, repo: &str, repository: &Repository) -> Result<Sent> {
        let uri = self.places.uri(&blob.host, repo)?;
        let to = self.services.repository_to_push(&uri)?;
        let Blob { digest, size, .. } = *blob;
        let what = Descriptor { media_type: String::new(), digest, size };
        let chunk_size = uri.option("chunk_size").and_then(|size| size.parse().ok());
        let options = PushOptions { chunk_size };
        let origin = self.origin(blob, repo)?;
        let images = match origin {
            Some(_) => Vec::new(),
            None => self.images_with(blob, repo)?,
        };
        let send = || match &origin {
            Some(origin) => {
                let body = Body::Download(origin.clone());
                self.wait(to.push_blob(&what, &body, &options, |_| ()))
            }
            None => self.move_again(&images, blob, repo),
        };
        let mut why = "the registry accepted it again and kept what it has".to_owned();
        for is_last in [false, true] {
            match send() {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => return Ok(Sent::Failed(error)),
            }
            let found = match self.wait(check::blob(repository, digest, size))? {
                Check::Good => return Ok(Sent::Right),
                Check::Unchecked(error) => return Ok(Sent::Failed(error)),
                Check::Bad(found) => found,
            };
            if is_last {
                return Ok(Sent::Kept(found, why));
            }
            match self.wait(to.delete_blob(digest)) {
                Ok(Removal::Removed | Removal::Absent) => {
                    why.push_str(", also after it was deleted there");
                }
                Ok(Removal::Refused(status)) => {
                    why.push_str(&format!(", and does not delete it ({status})"));
                    return Ok(Sent::Kept(found, why));
                }
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => return Ok(Sent::Failed(error)),
            }
        }
        Ok(Sent::Right)
    }

    /// Returns a repository with the right bytes of a blob: that of the source of an image with it, or another one at the
    /// destination.
    fn origin(&self, blob: &Blob, repo: &str) -> Result<Option<Repository>> {
        let mut asked: Vec<String> = Vec::new();
        for item in self.items_with(blob, repo)? {
            let reference = Reference::parse(&item.source)?;
            let source = self.services.source(&reference)?;
            if asked.len() == MOST_SOURCES || asked.contains(&source.place()) {
                continue;
            }
            asked.push(source.place());
            match self.wait(source.find_blob(blob.digest, Some(blob.size))) {
                Ok(Some(found)) if found == blob.size => return Ok(Some(source)),
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                // Where filters changed the image, its source has other blobs.
                _ => {}
            }
        }
        for other in self.places.of_blob(&blob.host, &blob.digest)? {
            let other = match other == repo {
                true => continue,
                false => self.places.repository(&blob.host, &other)?,
            };
            if self.wait(check::blob(&other, blob.digest, blob.size))? == Check::Good {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Returns images of a repository that have a blob.
    fn items_with(&self, blob: &Blob, repo: &str) -> Result<Vec<record::Item>> {
        let filter = ItemFilter { repo: Some((&blob.host, repo)), ..ItemFilter::default() };
        let (mut found, hex) = (Vec::new(), blob.digest.hex());
        each_item(self.ledger, &filter, |item| {
            if self.ledger.receipt(item.id)?.is_some_and(|receipt| receipt.contains(&hex)) {
                found.push(item);
            }
            Ok::<_, Error>(match found.len() < LONGEST_PAGE {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        Ok(found)
    }

    /// Returns images of FILE that have a blob, which their source does not have: filters made it.
    fn images_with(&self, blob: &Blob, repo: &str) -> Result<Vec<Item<'_>>> {
        let items = self.items_with(blob, repo)?;
        Ok(items.iter().filter_map(|item| self.of_file(item)).collect())
    }

    /// Moves the first image that makes a blob again. Errors where there is none, or where it cannot be moved.
    fn move_again(&self, images: &[Item<'_>], blob: &Blob, repo: &str) -> Result<()> {
        let Some(item) = images.first() else {
            let message =
                format!("{}/{repo}@{}: no source has this blob any more", blob.host, blob.digest);
            return Err(Error::new(Kind::NotFound, message));
        };
        let repository = self.places.repository(&blob.host, repo)?;
        repository.forget_blob(blob.digest);
        let seen = self.wait(Question::about(item, false, self.services)?.ask())?;
        match item::move_at(item, &seen, self.services, Some(Level::Fast)).record {
            None => Err(Error::interrupted()),
            Some(_) => Ok(()),
        }
    }

    /// Returns the image of FILE for an item of the ledger.
    fn of_file(&self, item: &record::Item) -> Option<Item<'_>> {
        let reference = Reference::parse(&item.source).ok()?;
        let is_of = |source: &&Source<'_>| {
            source.reference.host == reference.host
                && source.reference.repository == reference.repository
        };
        let made = self.sources.iter().filter(is_of).filter_map(|source| match source.rules {
            Some(_) => source.item(reference.tag.as_deref()).ok(),
            None => source.item(None).ok(),
        });
        let mut fitting = made.filter(|made| made.destination.name == item.destination);
        fitting.next()
    }

    fn images(&self) -> Result<()> {
        let filter = ItemFilter { states: &[State::Failed], ..ItemFilter::default() };
        each_item(self.ledger, &filter, |item| {
            if item.verdict == Some(Verdict::Failed) {
                self.services.context.cancel.check()?;
                self.image(&item)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Repairs an image whose tag or manifests are wrong, or which is in a layout or directory.
    fn image(&self, item: &record::Item) -> Result<()> {
        let name = &item.destination;
        let place = ImagePlace::parse(name)?;
        let receipt = self.ledger.receipt(item.id)?;
        let (before, expected) = self.look(item, place.as_ref(), receipt.as_deref())?;
        if let (Check::Good, Some(digest)) = (&before.0, expected) {
            let good = ItemCheck::Good { digest, level: level_of(place.as_ref()) };
            self.ledger.record_item(self.run, item.id, &good)?;
            self.counts().right += 1;
            self.events.right(name);
            return Ok(());
        }
        let Some(made) = self.of_file(item) else {
            let error = Error::usage("FILE does not name it any more")
                .hint("list what is there besides FILE: occystrap mirror prune FILE");
            return self.fail(item, &error);
        };
        let mut bad = before.1;
        for is_last in [false, true] {
            let seen = match self
                .wait(async { Question::about(&made, false, self.services)?.ask().await })
            {
                Ok(seen) => seen,
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                // A registry may fail at a damaged tag or manifest each time: it is moved in any case.
                Err(error) if error.kind() == Kind::Network => {
                    Seen { source: None, destination: None, is_proved: false }
                }
                Err(error) => return self.fail(item, &error),
            };
            if item::by_policy(&made, &seen).is_some() {
                let error = Error::destination("the destination has another image")
                    .hint("remove it there, or write 'on-conflict: replace'");
                return self.fail(item, &error);
            }
            let level = if place.is_some() { Level::Fast } else { Level::Full };
            let attempt = item::move_at(&made, &seen, self.services, Some(level));
            let Some(record) = attempt.record else { return Err(Error::interrupted()) };
            self.ledger.note_blobs(&attempt.blobs)?;
            let receipt = record.receipt.clone().or_else(|| receipt.clone());
            let mut found = record.error.as_ref().map(|error| error.message.clone());
            if let (Ending::Done(_, Verdict::Verified), ProofChange::Proved(digest, _)) =
                (record.ending, record.proof)
            {
                let proved = record::Item {
                    proof: Some(record::Proof {
                        digest,
                        level: record::Level::Fast,
                        verified_at: 0,
                    }),
                    ..item.clone()
                };
                let (now, _) = self.look(&proved, place.as_ref(), receipt.as_deref())?;
                match now.0 {
                    Check::Good => {
                        let level = level_of(place.as_ref());
                        let receipt = record.receipt;
                        let repaired = ItemCheck::Repaired { digest, level, receipt };
                        self.ledger.record_item(self.run, item.id, &repaired)?;
                        self.counts().repaired += 1;
                        self.events.repaired(name);
                        return Ok(());
                    }
                    Check::Bad(what) => (found, bad) = (Some(what), now.1),
                    Check::Unchecked(error) => return self.fail(item, &error),
                }
            } else if !matches!(record.ending, Ending::Failed(Verdict::Failed)) && place.is_none() {
                let error = Error::destination(found.unwrap_or_default());
                return self.fail(item, &error);
            }
            let is_manifest = |object: &&ItemObject| object.role == "manifest";
            let digests: Vec<Digest> =
                bad.iter().filter(is_manifest).filter_map(|object| object.digest).collect();
            let found = found.unwrap_or_else(|| "it is still wrong".to_owned());
            if is_last || place.is_none() || digests.is_empty() {
                return self.keep(item, &found, &digests, bad);
            }
            if let Some(place) = &place {
                let to = self.services.repository_to_push(&place.uri)?;
                for digest in &digests {
                    match self.wait(to.delete_manifest(&digest.to_string())) {
                        Ok(Removal::Removed | Removal::Absent) => {}
                        Ok(Removal::Refused(status)) => {
                            let found =
                                format!("{found}; the registry does not delete it ({status})");
                            return self.keep(item, &found, &digests, bad);
                        }
                        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                        Err(error) => return self.fail(item, &error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks an image as a verification does. Returns what was found, its objects that are not right, and the digest that
    /// it must have.
    fn look(
        &self,
        item: &record::Item,
        place: Option<&ImagePlace>,
        receipt: Option<&str>,
    ) -> Result<(CheckedImage, Option<Digest>)> {
        let name = &item.destination;
        let proved = item.proof.map(|proof| proof.digest);
        let expected = ExpectedImage::of(receipt, proved, name)?;
        let top = expected.as_ref().map(|image| image.top);
        let check = match (place, &expected, receipt) {
            (Some(place), Some(expected), _) => {
                let repository = self.services.repository(&place.uri)?;
                let found = self.wait(check::image(&repository, &place.target, expected))?;
                return Ok((found.verdict(), top));
            }
            (None, _, Some(receipt)) => {
                by_receipt::check(receipt, name, Level::Full, &self.plugins, self.services)?
            }
            _ => Check::Bad("the ledger has no receipt of it".to_owned()),
        };
        Ok(((check, Vec::new()), top))
    }

    fn keep(
        &self,
        item: &record::Item,
        found: &str,
        digests: &[Digest],
        mut objects: Vec<ItemObject>,
    ) -> Result<()> {
        for object in &mut objects {
            KEPT_DAMAGED.clone_into(&mut object.status);
        }
        let hint = match digests {
            [] => format!("remove it at the destination, then run: {}", self.again),
            _ => self.remove_first(digests),
        };
        let error = ItemError {
            class: KEPT_DAMAGED.to_owned(),
            message: found.to_owned(),
            hint: Some(hint.clone()),
        };
        self.ledger.record_item(self.run, item.id, &ItemCheck::Bad { error, objects })?;
        self.counts().kept_damaged += 1;
        self.events.kept(&item.destination, found, &hint);
        Ok(())
    }

    fn fail(&self, item: &record::Item, why: &Error) -> Result<()> {
        let error = ItemError {
            class: DAMAGED.to_owned(),
            message: why.to_string(),
            hint: why.hint_text().map(str::to_owned),
        };
        let objects = self.ledger.objects(item.id)?;
        self.ledger.record_item(self.run, item.id, &ItemCheck::Bad { error, objects })?;
        self.counts().failed += 1;
        self.events.failed(&item.destination, why);
        Ok(())
    }
}

/// Returns how much of an image a repair reads back.
fn level_of(place: Option<&ImagePlace>) -> record::Level {
    match place {
        Some(_) => record::Level::Fast,
        None => record::Level::Full,
    }
}
