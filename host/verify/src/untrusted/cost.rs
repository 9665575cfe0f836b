//! The cost of checking a receipt: the bytes that are really there. Bytes that a receipt only claims are found to be
//! missing, and cost nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batch_limits::BatchLimits;
use crate::derive::store::{ListedManifest, Store};
use crate::look::check;
use crate::verdict::claims::Claims;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Manifest;
use occystrap_images::level::Level;
use occystrap_output::destination::ReadAccess;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::read_access::FolderReader;
use occystrap_output::destination::site::SiteReader;
use occystrap_output::receipt::{Expectation, Extent, Place, WrittenFile};

/// Returns how many bytes will be read for these expectations, at most.
#[must_use]
pub fn of(
    expectations: &[Expectation],
    journal: &[WrittenFile],
    access: &ReadAccess,
    memory: &HashMemo,
) -> u64 {
    match access {
        ReadAccess::Storage(destination) => stored(expectations, journal, destination),
        ReadAccess::Repository(_) | ReadAccess::Engine(_) => {
            let each = expectations.iter().map(|one| remote(one, access, memory));
            each.fold(0, u64::saturating_add)
        }
        ReadAccess::Web(site) => {
            let each = expectations.iter().map(|one| on_site(one, site));
            each.fold(0, u64::saturating_add)
        }
    }
}

fn stored(
    expectations: &[Expectation],
    journal: &[WrittenFile],
    destination: &FolderReader,
) -> u64 {
    let there = |path: &str| destination.symlink_metadata(path).map_or(0, |found| found.len());
    let within = |path: &str, offset: u64, size: u64| size.min(there(path).saturating_sub(offset));
    let named = expectations.iter().map(|one| match (&one.place, one.size) {
        (Place::File { path }, Some(size)) if one.digest.is_some() => within(path, 0, size),
        (Place::Part { path, offset, .. }, Some(size)) => within(path, *offset, size),
        // For one entry the whole list is read.
        (Place::Entry { path, steps, .. }, _) => within(path, 0, check::largest_shared(steps)),
        _ => 0,
    });
    let framed = check::framed_paths(expectations);
    let files = journal.iter().filter(|file| framed.contains(file.path.as_str()));
    let pieces = files.flat_map(|file| {
        let size = there(&file.path);
        let within = move |extent: &Extent| extent.size.min(size.saturating_sub(extent.offset));
        file.extents.iter().map(within)
    });
    named.chain(pieces).fold(0, u64::saturating_add)
}

fn remote(one: &Expectation, access: &ReadAccess, memory: &HashMemo) -> u64 {
    let (Place::Blob { digest }, Some(remote)) = (&one.place, access.repository()) else {
        return 0;
    };
    let known = memory.recall_size(*digest).or_else(|| {
        // A failed request is found again when the object is checked.
        let found = remote.find_blob(*digest, one.size).ok()?;
        memory.remember_size(*digest, found);
        Some(found)
    });
    let size = known.flatten().unwrap_or_default();
    one.size.map_or(size, |claimed| claimed.min(size))
}

fn on_site(one: &Expectation, site: &SiteReader) -> u64 {
    let (Place::File { path }, Some(claimed)) = (&one.place, one.size) else { return 0 };
    match site.url_of(path).map(|url| site.stat(&url)) {
        Some(Ok(Some(Some(size)))) => claimed.min(size),
        // A failed request is found again when the object is checked.
        Some(Err(error)) if error.is_unconfirmed() => 0,
        // Where the server does not say its size, up to the claimed size is read.
        Some(Ok(Some(None)) | Err(_)) => claimed,
        Some(Ok(None)) | None => 0,
    }
}

/// The bytes that all receipts of a batch may take together.
pub(super) struct Purse {
    bounds: BatchLimits,
    /// The bytes that each file may take, whatever the other files take.
    share: u64,
    /// The bytes that files took beyond their shares.
    common: AtomicU64,
}

impl Purse {
    /// Shares the bytes out among a number of files.
    pub(super) fn new(bounds: &BatchLimits, files: usize) -> Self {
        let share = bounds.batch_bytes / 2 / (files.max(1) as u64);
        Self { bounds: *bounds, share, common: AtomicU64::new(0) }
    }

    /// Starts to count for one file.
    pub(super) fn file(&self) -> Spent<'_> {
        Spent { purse: self, file: AtomicU64::new(0), receipt: AtomicU64::new(0) }
    }
}

/// The bytes that one file of receipts has taken.
pub(super) struct Spent<'a> {
    purse: &'a Purse,
    file: AtomicU64,
    receipt: AtomicU64,
}

impl Spent<'_> {
    /// Starts to count for the next receipt in the file.
    pub(super) fn next(&self) {
        self.receipt.store(0, Ordering::Relaxed);
    }

    /// Counts bytes that will be read. Errors when they are too many for the receipt or for the batch; they are not
    /// counted then.
    pub(super) fn count(&self, bytes: u64) -> Result<()> {
        let Purse { bounds, share, common } = self.purse;
        let too_many = |whose: &str, most: u64| {
            let message = format!("{whose} would have the host read more than {most} bytes");
            Err(Error::new(Kind::Plugin, message))
        };
        let receipt = self.receipt.load(Ordering::Relaxed).saturating_add(bytes);
        if receipt > bounds.bytes {
            return too_many("the receipt", bounds.bytes);
        }
        let before = self.file.load(Ordering::Relaxed);
        let file = before.saturating_add(bytes);
        let more = file.saturating_sub(*share) - before.saturating_sub(*share);
        let add =
            |taken: u64| taken.checked_add(more).filter(|taken| *taken <= bounds.batch_bytes / 2);
        if more > 0 && common.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
            return too_many("the receipts of this batch", bounds.batch_bytes);
        }
        self.receipt.store(receipt, Ordering::Relaxed);
        self.file.store(file, Ordering::Relaxed);
        Ok(())
    }
}

/// Bytes of the manifests of one index, of which some are kept in memory. Sixty manifests have about a megabyte.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// A store that counts the bytes that are read, and takes no layer on trust.
pub(super) struct Counted<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) spent: &'a Spent<'a>,
    pub(super) access: &'a ReadAccess,
    pub(super) memory: &'a HashMemo,
    pub(super) manifests: AtomicU64,
}

impl Store for Counted<'_> {
    fn manifest(&self, what: &ListedManifest) -> Result<Option<Manifest>> {
        let manifest = self.store.manifest(what)?;
        let size = manifest.as_ref().map_or(0, |manifest| manifest.bytes.len() as u64);
        let before = self.manifests.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) > MOST_BYTES {
            let message = format!("the index's manifests have more than {MOST_BYTES} bytes");
            return Err(Error::new(Kind::Plugin, message));
        }
        self.spent.count(size)?;
        Ok(manifest)
    }

    fn refused(&self, what: &ListedManifest) -> Option<Error> {
        self.store.refused(what)
    }

    fn blob(&self, digest: occystrap_base::oci::Digest) -> Place {
        self.store.blob(digest)
    }

    fn place(&self, what: &ListedManifest) -> Place {
        self.store.place(what)
    }

    fn display(&self, what: &ListedManifest) -> String {
        self.store.display(what)
    }

    fn claims(&self, expectations: &[Expectation]) -> Claims {
        self.store.claims(expectations)
    }

    fn check(
        &self,
        expectations: &[Expectation],
        claims: &Claims,
        level: Level,
    ) -> Result<Vec<CheckedObject>> {
        // A blob that several of its images have is read once.
        let mut new = BTreeSet::new();
        let unread: Vec<Expectation> = (expectations.iter())
            .filter(|one| {
                let name = one.place.subject();
                let known = one.size.and_then(|size| self.memory.recall(&name, 0, size));
                known.is_none() && new.insert(name)
            })
            .cloned()
            .collect();
        self.spent.count(of(&unread, &[], self.access, self.memory))?;
        let mut objects = self.store.check(expectations, claims, level)?;
        claims.mark_unpromised(expectations, &mut objects);
        Ok(objects)
    }
}
