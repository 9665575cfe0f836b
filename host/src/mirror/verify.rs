//! A verification of what is there: within a budget, what is recorded as bad first, then the least recently verified.
//!
//! What this module refuses: to forget recorded damage before its bytes were read and are right, and to record what could
//! not be checked as bad.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::budget::VerifyBudget;
use super::by_receipt;
use super::check::{self, Check};
use super::file::MirrorFile;
use super::image_check::{self, ExpectedImage};
use super::place::{ImagePlace, Places};
use super::run::begin;
use super::selection::Selection;
use super::services::Services;
use super::tags::AT_A_TIME;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_base::parallel::each_next;
use occystrap_images::level::Level;
use occystrap_mirror::ledger::holding::{
    BlobCheck, BlobSum, Coverage, DueMark, DueRequest, HeldBlob, ItemFilter, LedgerBlob,
};
use occystrap_mirror::ledger::record::{
    self, ItemCheck, ItemError, ItemId, ItemObject, LedgerItem, RunId, RunKind, Verdict,
};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{Ledger, each_item, last_that_moved};
use occystrap_verify::receipt::plugins::Plugins;

/// Class of the error of an item that is damaged at its destination.
pub const DAMAGED: &str = "damaged";

/// The class of images that are right themselves, and of which a blob is recorded as bad.
pub const DAMAGED_BLOB: &str = "damaged-blob";

/// Blobs that the ledger is asked for at a time.
const PAGE: usize = 256;

/// Receiver of the events of a verification.
pub trait VerifyEvents: Sync {
    /// An object is missing or wrong.
    fn bad(&self, place: &str, found: &str);
    /// An object could not be checked.
    fn unchecked(&self, place: &str, why: &Error);
}

/// Counts of a verification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct VerifyCounts {
    /// Images whose tag and manifests were checked and are right.
    pub images: u64,
    /// Links of repositories to blobs whose last byte was read and is right.
    pub links: u64,
    /// Blobs that were read in full and are right.
    pub blobs: BlobSum,
    /// Objects that could not be checked.
    pub unchecked: u64,
}

/// A verification that has ended.
pub struct EndedVerification {
    /// Its number.
    pub run: RunId,
    /// What was verified.
    pub counts: VerifyCounts,
    /// Whether the budget ended before everything that the selection covers was verified.
    pub is_cut: bool,
    /// Whether the user stopped it.
    pub is_interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// Verifies. Errors when the ledger fails.
pub fn verify<L: Ledger>(
    file: &MirrorFile,
    ledger: &L,
    services: &Services<'_>,
    selection: &Selection,
    events: &dyn VerifyEvents,
) -> Result<EndedVerification> {
    let started = Instant::now();
    let begun = begin(ledger, file, RunKind::Verify, &selection.spelled())?;
    let since = match begun.resumed {
        true => ledger.runs(1)?.first().filter(|run| run.id == begun.id).map(|run| run.started),
        false => None,
    };
    let until = selection.max_duration.and_then(|most| started.checked_add(most));
    let work = Verification {
        ledger,
        services,
        selection,
        events,
        run: begun.id,
        places: Places::new(ledger, services),
        plugins: Plugins::new(&services.catalog),
        budget: VerifyBudget::new(until, selection.bytes(), services.context.cancel.clone()),
        readers: services.at_once(services.session.images_at_once()),
        counts: Mutex::default(),
        seen: Mutex::default(),
        hasher: RandomState::new(),
        cut: AtomicU64::new(0),
        has_bad: AtomicBool::new(ledger.coverage(&[])?.bad.blobs > 0),
        good: Mutex::default(),
    };
    let outcome = work.all(started, since);
    let is_interrupted = match outcome {
        Ok(()) => false,
        Err(error) if error.kind() == Kind::Interrupted => true,
        Err(error) => return Err(error),
    };
    let counts = *work.counts();
    let text = serde_json::to_string(&counts).unwrap_or_default();
    match is_interrupted {
        true => ledger.stop_run(begun.id)?,
        false => drop(ledger.finish_run(begun.id, &text)?),
    }
    let is_cut = work.budget.is_over() || work.cut.load(Ordering::Relaxed) > 0;
    Ok(EndedVerification { run: begun.id, counts, is_cut, is_interrupted, took: started.elapsed() })
}

struct Verification<'v, L> {
    ledger: &'v L,
    services: &'v Services<'v>,
    selection: &'v Selection,
    events: &'v dyn VerifyEvents,
    run: RunId,
    places: Places<'v, L>,
    plugins: Plugins<'v>,
    budget: VerifyBudget,
    /// Blobs that are read in full at a time.
    readers: usize,
    counts: Mutex<VerifyCounts>,
    /// Links that this verification checked, by their hash: a link takes some bytes here, and its name would take a hundred.
    seen: Mutex<HashSet<u64>>,
    hasher: RandomState,
    /// Images that were left because half of the time had passed.
    cut: AtomicU64,
    /// Whether a blob is recorded as bad.
    has_bad: AtomicBool,
    /// Images that were found right.
    good: Mutex<HashSet<ItemId>>,
}

impl<L: Ledger> Verification<'_, L> {
    fn counts(&self) -> std::sync::MutexGuard<'_, VerifyCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self, started: Instant, since: Option<i64>) -> Result<()> {
        self.blobs(true)?;
        // A full verification has the second half of its time for blobs, so that neither waits for the other for ever.
        let is_full = self.selection.level == Level::Full;
        let half = self.selection.max_duration.filter(|_| is_full).map(|most| most / 2);
        self.images(half.and_then(|half| started.checked_add(half)), since)?;
        match is_full && !self.selection.only_bad {
            true => self.blobs(false),
            false => Ok(()),
        }
    }

    /// Reads blobs that are due in full: those that are recorded as bad, or all.
    fn blobs(&self, only_bad: bool) -> Result<()> {
        let (mut page, mut after, mut is_last) =
            (VecDeque::<LedgerBlob>::new(), None::<DueMark>, false);
        let next = || loop {
            if let Some(blob) = page.pop_front() {
                return Ok(self.budget.begin(blob.size)?.then_some(blob));
            }
            if is_last {
                return Ok(None);
            }
            let due = self.ledger.due_blobs(&DueRequest {
                run: self.run,
                host: None,
                subset: self.selection.blobs(self.run),
                older_than: self.selection.max_age,
                only_bad,
                after,
                most: PAGE,
            })?;
            (after, is_last) = (due.next, due.next.is_none());
            page.extend(due.blobs);
        };
        each_next(next, self.readers, |blob| self.blob(&blob, only_bad))
    }

    /// Reads a blob in full; one that is recorded as bad also in each of its repositories.
    fn blob(&self, blob: &LedgerBlob, is_bad: bool) -> Result<()> {
        let LedgerBlob { host, digest, size, .. } = blob;
        let mut check = match self.places.first_of_blob(host, digest) {
            Ok(repository) => self.services.wait(check::blob(&repository, *digest, *size))?,
            Err(error) => Check::Unchecked(error),
        };
        if matches!(check, Check::Bad(_)) && self.forgets(host, digest, *size)? {
            return Ok(());
        }
        if is_bad && check == Check::Good {
            for repo in self.places.of_blob(host, digest)? {
                let repository = self.places.repository(host, &repo)?;
                check = self.services.wait(check::link(&repository, *digest, *size))?;
                if check != Check::Good {
                    break;
                }
            }
        }
        if check == Check::Good {
            let mut counts = self.counts();
            counts.blobs = counts.blobs.plus(BlobSum { blobs: 1, bytes: *size });
        }
        self.record(host, digest, check)
    }

    /// Forgets a blob that is gone where no image needs it any more: the registry collected its garbage after a tag was
    /// moved or deleted. Returns whether nothing is left of it.
    fn forgets(&self, host: &str, digest: &Digest, size: u64) -> Result<bool> {
        let mut is_left = false;
        for repo in self.places.of_blob(host, digest)? {
            let is_gone = !self.places.is_used(host, &repo, digest)? && {
                let repository = self.places.repository(host, &repo)?;
                matches!(self.services.wait(repository.find_blob(*digest, Some(size))), Ok(None))
            };
            match is_gone {
                true => self.ledger.forget_blob(host, &repo, digest)?,
                false => is_left = true,
            }
        }
        Ok(!is_left)
    }

    fn record(&self, host: &str, digest: &Digest, check: Check) -> Result<()> {
        let place = format!("{host}@{digest}");
        let record = match &check {
            Check::Good => BlobCheck::Good,
            Check::Bad(found) => BlobCheck::Bad(found.clone()),
            Check::Unchecked(_) => BlobCheck::Unchecked,
        };
        self.ledger.record_blob(self.run, host, digest, &record)?;
        if let Check::Bad(found) = &check {
            self.blame(host, digest, found)?;
        }
        self.tell(&place, &check);
        Ok(())
    }

    /// Records that all images with a bad blob are bad.
    fn blame(&self, host: &str, digest: &Digest, found: &str) -> Result<()> {
        self.has_bad.store(true, Ordering::Relaxed);
        for repo in self.places.of_blob(host, digest)? {
            let states = &[State::Done, State::Failed];
            self.places.each_user((host, &repo), digest, states, |item| {
                self.bad_blob(&item, host, digest, found)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    fn bad_blob(&self, item: &LedgerItem, host: &str, digest: &Digest, found: &str) -> Result<()> {
        let object = ItemObject {
            role: "blob".to_owned(),
            digest: Some(*digest),
            size: None,
            status: DAMAGED.to_owned(),
            found: Some(found.to_owned()),
        };
        let error = ItemError {
            class: DAMAGED_BLOB.to_owned(),
            message: format!("{host}@{digest}: {found}"),
            hint: None,
        };
        let bad = ItemCheck::Bad { error, objects: vec![object] };
        self.ledger.record_item(self.run, item.id, &bad)?;
        if self.good.lock().unwrap_or_else(PoisonError::into_inner).remove(&item.id) {
            self.counts().images -= 1;
        }
        Ok(())
    }

    /// Returns a blob of an image that is recorded as bad at its host, and what was found of it.
    fn bad_one_of(&self, host: &str, blobs: &[(Digest, u64)]) -> Result<Option<(Digest, String)>> {
        if !self.has_bad.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.places.bad_one_of(host, blobs)
    }

    fn tell(&self, place: &str, check: &Check) {
        match check {
            Check::Good => {}
            Check::Bad(found) => self.events.bad(place, found),
            Check::Unchecked(error) => {
                self.counts().unchecked += 1;
                self.events.unchecked(place, error);
            }
        }
    }

    /// Verifies images, until a time.
    fn images(&self, until: Option<Instant>, since: Option<i64>) -> Result<()> {
        let mut due: VecDeque<ItemId> = self.due_images(since)?.into();
        let next = || {
            let Some(id) = due.pop_front() else { return Ok(None) };
            self.services.context.cancel.check()?;
            if until.is_some_and(|until| Instant::now() >= until) {
                self.cut.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            let filter = ItemFilter::default();
            let found = self.ledger.items(&filter, Some(ItemId(id.0 - 1)), 1)?;
            let Some(item) = found.into_iter().find(|item| item.id == id) else { return Ok(None) };
            let receipt = self.ledger.receipt(id)?;
            let bytes = match (&receipt, self.is_read_whole(&item)) {
                (Some(receipt), true) => by_receipt::bytes(receipt, &item.destination),
                _ => 0,
            };
            Ok(self.budget.begin(bytes)?.then_some((item, receipt)))
        };
        each_next(next, self.services.at_once(AT_A_TIME), |(item, receipt)| {
            self.image(&item, receipt.as_deref())
        })
    }

    fn is_read_whole(&self, item: &LedgerItem) -> bool {
        self.selection.level == Level::Full && !item.destination.starts_with("registry://")
    }

    /// Returns the images that are due, in the order of verification. `since` is when the verification began that this one
    /// continues.
    fn due_images(&self, since: Option<i64>) -> Result<Vec<ItemId>> {
        let now = self.ledger.now()?;
        let filter = ItemFilter { states: &[State::Done, State::Failed], ..ItemFilter::default() };
        let mut due = Vec::new();
        each_item(self.ledger, &filter, |item| {
            let is_done = |proof: record::Proof| {
                since.is_some_and(|since| (since..=now).contains(&proof.verified_at))
            };
            let place = self.selection.place(&item, self.run, now);
            if let Some(place) = place.filter(|_| !item.proof.is_some_and(is_done)) {
                due.push((place, item.id));
            }
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        due.sort_unstable();
        Ok(due.into_iter().map(|(_, id)| id).collect())
    }

    fn image(&self, item: &LedgerItem, receipt: Option<&str>) -> Result<()> {
        let name = &item.destination;
        let check = match ImagePlace::parse(name)? {
            Some(place) => return self.image_at(item, &place, receipt),
            None => match receipt {
                Some(receipt) => {
                    let level = self.selection.level;
                    by_receipt::check(receipt, name, level, &self.plugins, self.services)?
                }
                None => Check::Unchecked(Error::usage("the ledger has no receipt of it")),
            },
        };
        let proved = receipt.and_then(|text| ExpectedImage::of(Some(text), None, name).ok()?);
        // A directory has no digest of an image: that of the source stands for it.
        let digest = item.proof.map(|proof| proof.digest);
        let digest = digest.or(proved.map(|image| image.top)).or(item.want_digest);
        let level = match self.selection.level {
            Level::Full => record::Level::Full,
            Level::Fast => record::Level::Fast,
        };
        match &check {
            Check::Bad(found) => self.bad_image(item, found, Vec::new())?,
            Check::Good => self.good_image(item, digest, level)?,
            Check::Unchecked(_) => {}
        }
        self.tell(name, &check);
        Ok(())
    }

    /// Verifies an image at a registry: its tag, its manifests, and the last byte of each of its blobs.
    fn image_at(&self, item: &LedgerItem, place: &ImagePlace, receipt: Option<&str>) -> Result<()> {
        let name = &item.destination;
        let proved = item.proof.map(|proof| proof.digest);
        let Some(expected) = ExpectedImage::of(receipt, proved, name)? else {
            self.tell(name, &Check::Unchecked(Error::usage("the ledger has no receipt of it")));
            return Ok(());
        };
        let repository = self.services.repository(&place.uri)?;
        let mut found =
            self.services.wait(image_check::image(&repository, &place.target, &expected))?;
        let elsewhere = std::mem::take(&mut found.elsewhere);
        let mut is_elsewhere = false;
        let (check, bad) = found.verdict();
        let top = expected.top;
        self.tell(name, &check);
        for &(digest, size) in &expected.blobs {
            let key = self.hasher.hash_one((&item.dst_host, &item.dst_repo, digest));
            if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
                continue;
            }
            let check = self.services.wait(check::link(&repository, digest, size))?;
            if elsewhere.contains(&digest) && matches!(check, Check::Bad(_)) {
                self.ledger.forget_blob(&item.dst_host, &item.dst_repo, &digest)?;
                is_elsewhere = true;
                continue;
            }
            match &check {
                Check::Good => self.counts().links += 1,
                Check::Bad(found) => {
                    let blob = HeldBlob {
                        host: item.dst_host.clone(),
                        repo: item.dst_repo.clone(),
                        digest,
                        size,
                    };
                    self.ledger.note_blobs(&[blob])?;
                    let bad = BlobCheck::Bad(found.clone());
                    self.ledger.record_blob(self.run, &item.dst_host, &digest, &bad)?;
                    self.blame(&item.dst_host, &digest, found)?;
                }
                Check::Unchecked(_) => {}
            }
            self.tell(&format!("{}@{digest}", repository.place()), &check);
        }
        match &check {
            Check::Bad(what) => self.bad_image(item, what, bad),
            Check::Unchecked(_) => Ok(()),
            // It stays UNCONFIRMED: nothing proves the layers that are stored elsewhere.
            Check::Good if is_elsewhere => Ok(()),
            Check::Good => match self.bad_one_of(&item.dst_host, &expected.blobs)? {
                Some((digest, found)) => self.bad_blob(item, &item.dst_host, &digest, &found),
                None => self.good_image(item, Some(top), record::Level::Fast),
            },
        }
    }

    fn good_image(
        &self,
        item: &LedgerItem,
        digest: Option<Digest>,
        level: record::Level,
    ) -> Result<()> {
        self.counts().images += 1;
        self.good.lock().unwrap_or_else(PoisonError::into_inner).insert(item.id);
        // An image of a destination without digests has no proof, and is verified each time.
        let Some(digest) = digest else { return Ok(()) };
        self.ledger.record_item(self.run, item.id, &ItemCheck::Good { digest, level })?;
        Ok(())
    }

    fn bad_image(&self, item: &LedgerItem, found: &str, objects: Vec<ItemObject>) -> Result<()> {
        let error = ItemError { class: DAMAGED.to_owned(), message: found.to_owned(), hint: None };
        self.ledger.record_item(self.run, item.id, &ItemCheck::Bad { error, objects })?;
        Ok(())
    }
}

/// Damage that the ledger has recorded, whether or not the last verification reached it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordedDamage {
    /// Blobs.
    pub blobs: u64,
    /// Images whose tag or manifests are wrong.
    pub images: u64,
    /// Images of the file that are not at the destination, and sources that could not be listed.
    pub absent: u64,
    /// All images that a verification covers.
    pub all_images: u64,
    /// Images that were not verified within the seconds that the caller gave.
    pub old_images: u64,
}

/// Counts the damage that the ledger has recorded. `coverage` is that of the ledger; `most` is the age in seconds above
/// which an image is old.
pub fn damage(ledger: &impl Ledger, coverage: &Coverage, most: u64) -> Result<RecordedDamage> {
    let now = ledger.now()?;
    let totals = ledger.totals_of_all()?;
    let mut damage = RecordedDamage {
        blobs: coverage.bad.blobs,
        absent: totals.open() + totals.blocked + totals.dead,
        ..RecordedDamage::default()
    };
    let filter = ItemFilter { states: &[State::Done, State::Failed], ..ItemFilter::default() };
    let all = Selection::default();
    each_item(ledger, &filter, |item| {
        if let Some((rank, _)) = all.place(&item, RunId(0), now) {
            let is_registry = item.destination.starts_with("registry://");
            let proof =
                item.proof.filter(|proof| is_registry || proof.level == record::Level::Full);
            damage.all_images += 1;
            let is_by_blob = item.error.as_ref().is_some_and(|error| error.class == DAMAGED_BLOB);
            damage.images += u64::from(rank == 0 && !is_by_blob);
            damage.old_images += u64::from(!super::selection::is_within(proof, now, most));
        }
        let is_there = item.state == State::Done || item.verdict == Some(Verdict::Failed);
        damage.absent += u64::from(!is_there);
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    if let Some(run) = last_that_moved(ledger)? {
        damage.absent += ledger.unlisted(run.id)?.len() as u64;
    }
    Ok(damage)
}
