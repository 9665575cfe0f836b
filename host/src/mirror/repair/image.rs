//! The repair of one image: its tag, its manifests and what refers to it at a registry, or all of it elsewhere.

use std::ops::ControlFlow;

use super::super::by_receipt;
use super::super::check::Check;
use super::super::image_check::{self, ExpectedImage};
use super::super::item;
use super::super::look::{Question, Seen};
use super::super::place::ImagePlace;
use super::super::verify::DAMAGED_BLOB;
use super::storage;
use super::work::Repair;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_images::level::Level;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::holding::ItemFilter;
use occystrap_mirror::ledger::record::{
    self, Ending, FinishedItem, ItemCheck, ItemObject, LedgerItem, ProofChange, Verdict,
};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{Ledger, each_item};
use occystrap_net::registry::{Removal, fallback_tag};

/// What was found of an image, and its objects that are not right.
type CheckedImage = (Check, Vec<ItemObject>);

/// An image that is recorded as bad.
struct BadImage<'i> {
    item: &'i LedgerItem,
    /// Where it is; `None` for a layout, a directory, or a plugin's destination.
    place: Option<ImagePlace>,
    receipt: Option<String>,
}

/// What became of an image that was sent again.
enum Sent {
    /// It was read back, and is right.
    Right {
        /// The digest that it has.
        digest: Digest,
        /// Its new receipt.
        receipt: Option<String>,
    },
    /// It is still wrong.
    Wrong {
        /// What was found.
        found: String,
        /// Its objects that are not right, where they are known.
        objects: Option<Vec<ItemObject>>,
        /// Whether the destination refused it.
        is_refused: bool,
    },
    /// It could not be sent or read.
    Failed(Error),
}

/// Repairs all images that are recorded as bad. Errors when the user interrupts, or the ledger fails.
pub fn each(work: &Repair<'_, impl Ledger>) -> Result<()> {
    let filter = ItemFilter { states: &[State::Failed], ..ItemFilter::default() };
    each_item(work.ledger, &filter, |item| {
        if item.verdict == Some(Verdict::Failed) {
            work.services.context.cancel.check()?;
            let place = ImagePlace::parse(&item.destination)?;
            let receipt = work.ledger.receipt(item.id)?;
            work.image(&BadImage { item: &item, place, receipt })?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

impl<L: Ledger> Repair<'_, L> {
    /// Repairs an image.
    fn image(&self, bad: &BadImage<'_>) -> Result<()> {
        let name = &bad.item.destination;
        let is_by_blob = bad.item.error.as_ref().is_some_and(|error| error.class == DAMAGED_BLOB);
        // What became of the blob was said.
        if is_by_blob && self.has_bad_blob(bad)? {
            return Ok(());
        }
        let (before, expected) = self.look(bad, bad.item, bad.receipt.as_deref())?;
        if let (Check::Good, Some(digest)) = (&before.0, expected) {
            let good = ItemCheck::Good { digest, level: bad.level() };
            self.ledger.record_item(self.run, bad.item.id, &good)?;
            if !is_by_blob {
                self.right(name, false);
            }
            return Ok(());
        }
        let Some(made) = self.of_file(bad.item) else {
            let error = Error::usage("the file does not name it any more")
                .hint("'occystrap mirror prune FILE' lists what it does not name");
            return self.leave_image(bad.item, &error);
        };
        let mut objects = before.1;
        for is_last in [false, true] {
            let (found, is_refused) = match self.send(bad, &made)? {
                Sent::Right { digest, receipt } => {
                    let repaired = ItemCheck::Repaired { digest, level: bad.level(), receipt };
                    self.ledger.record_item(self.run, bad.item.id, &repaired)?;
                    self.right(name, true);
                    return Ok(());
                }
                Sent::Failed(error) => return self.leave_image(bad.item, &error),
                Sent::Wrong { found, objects: now, is_refused } => {
                    objects = now.unwrap_or(objects);
                    (found, is_refused)
                }
            };
            let digests = manifests(&objects);
            let files = bad.files(&objects, is_refused);
            if is_last || bad.place.is_none() || digests.is_empty() {
                return self.keep_image(bad.item, &found, &files, objects);
            }
            let why = match self.delete(bad, &digests) {
                Ok(None) => continue,
                Ok(Some(status)) => format!("the registry does not delete it ({status})"),
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) if error.kind() == Kind::Network => {
                    format!("the registry fails to delete it ({error})")
                }
                Err(error) => return self.leave_image(bad.item, &error),
            };
            return self.keep_image(bad.item, &format!("{found}; {why}"), &files, objects);
        }
        Ok(())
    }

    /// Returns whether a blob of an image is recorded as bad.
    fn has_bad_blob(&self, bad: &BadImage<'_>) -> Result<bool> {
        let proof = bad.item.proof.map(|proof| proof.digest);
        let name = &bad.item.destination;
        let Some(expected) = ExpectedImage::of(bad.receipt.as_deref(), proof, name)? else {
            return Ok(false);
        };
        Ok(self.places.bad_one_of(&bad.item.dst_host, &expected.blobs)?.is_some())
    }

    /// Sends an image again, and reads it back. Errors when the user interrupts, or the ledger fails.
    fn send(&self, bad: &BadImage<'_>, made: &MirrorItem<'_>) -> Result<Sent> {
        let asked = async { Question::about(made, false, self.services)?.ask().await };
        let seen = match self.services.wait(asked) {
            Ok(seen) => seen,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            // A registry may fail at a damaged tag or manifest each time: it is moved in any case.
            Err(error) if error.kind() == Kind::Network => {
                let source = self.services.source(&made.source)?;
                match self.services.wait(source.manifest(&made.source.target())) {
                    Ok(_) => Seen { source: None, destination: None, is_proved: false },
                    Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                    Err(error) => return Ok(Sent::Failed(error)),
                }
            }
            Err(error) => return Ok(Sent::Failed(error)),
        };
        if item::by_policy(made, &seen).is_some() {
            let error = Error::destination("the destination has another image")
                .hint("remove it there, or write 'on-conflict: replace'");
            return Ok(Sent::Failed(error));
        }
        let level = if bad.place.is_some() { Level::Fast } else { Level::Full };
        let attempt = item::move_at(made, &seen, self.services, Some(level));
        let Some(record) = attempt.record else { return Err(Error::interrupted()) };
        self.ledger.note_blobs(&attempt.blobs)?;
        if let (Ending::Done(_, Verdict::Verified), ProofChange::Proved(digest, _)) =
            (record.ending, record.proof)
        {
            return self.read_back(bad, digest, record);
        }
        self.after_failure(bad, &record)
    }

    /// Decides what an error at sending means: an image that its source does not give is not one that its destination
    /// keeps damaged.
    fn after_failure(&self, bad: &BadImage<'_>, record: &FinishedItem) -> Result<Sent> {
        let error = record.error.as_ref();
        let is_wrong = matches!(record.ending, Ending::Failed(Verdict::Failed));
        let message = error.map_or("it is still wrong", |error| &error.message).to_owned();
        if is_wrong && bad.place.is_none() {
            return Ok(Sent::Wrong { found: message, objects: None, is_refused: false });
        }
        // Without an error it was accepted, and could not be read.
        let class = error.map(|error| error.class.as_str());
        let of_destination =
            matches!(class, None | Some("network" | "destination" | "verification"));
        if bad.place.is_none() || !(is_wrong || of_destination) {
            return Ok(Sent::Failed(Error::destination(message)));
        }
        let ((check, objects), _) = self.look(bad, bad.item, bad.receipt.as_deref())?;
        Ok(match check {
            Check::Bad(found) => {
                let why = match error {
                    Some(error) => format!("it cannot be sent again: {}", error.message),
                    None => "the registry accepted it again and kept what it has".to_owned(),
                };
                let is_refused = error.is_some();
                Sent::Wrong { found: format!("{found}; {why}"), objects: Some(objects), is_refused }
            }
            Check::Unchecked(error) => Sent::Failed(error),
            Check::Good => Sent::Failed(Error::destination(message)),
        })
    }

    /// Reads an image back as a verification does.
    fn read_back(&self, bad: &BadImage<'_>, digest: Digest, record: FinishedItem) -> Result<Sent> {
        let proof = record::Proof { digest, level: record::Level::Fast, verified_at: 0 };
        let proved = LedgerItem { proof: Some(proof), ..bad.item.clone() };
        let receipt = record.receipt.as_deref().or(bad.receipt.as_deref());
        let ((check, objects), _) = self.look(bad, &proved, receipt)?;
        Ok(match check {
            Check::Good => Sent::Right { digest, receipt: record.receipt },
            Check::Bad(found) => Sent::Wrong { found, objects: Some(objects), is_refused: false },
            Check::Unchecked(error) => Sent::Failed(error),
        })
    }

    /// Deletes damaged manifests. Returns the answer of a registry that does not.
    fn delete(&self, bad: &BadImage<'_>, digests: &[Digest]) -> Result<Option<String>> {
        let Some(place) = &bad.place else { return Ok(None) };
        let to = self.services.repository_to_push(&place.uri)?;
        for digest in digests {
            match self.services.wait(to.delete_manifest(&digest.to_string()))? {
                Removal::Removed | Removal::Absent => {}
                Removal::Refused(status) => return Ok(Some(status)),
            }
        }
        Ok(None)
    }

    /// Checks an image as a verification does. Returns what was found, its objects that are not right, and the digest that
    /// it must have.
    fn look(
        &self,
        bad: &BadImage<'_>,
        item: &LedgerItem,
        receipt: Option<&str>,
    ) -> Result<(CheckedImage, Option<Digest>)> {
        let name = &item.destination;
        let proved = item.proof.map(|proof| proof.digest);
        let expected = ExpectedImage::of(receipt, proved, name)?;
        let top = expected.as_ref().map(|image| image.top);
        let check = match (&bad.place, &expected, receipt) {
            (Some(place), Some(expected), _) => {
                let repository = self.services.repository(&place.uri)?;
                let found =
                    self.services.wait(image_check::image(&repository, &place.target, expected))?;
                return Ok((found.verdict(), top));
            }
            (None, _, Some(receipt)) => {
                by_receipt::check(receipt, name, Level::Full, &self.plugins, self.services)?
            }
            _ => Check::Bad("the ledger has no receipt of it".to_owned()),
        };
        Ok(((check, Vec::new()), top))
    }
}

impl BadImage<'_> {
    /// Returns how much of it a repair reads back.
    fn level(&self) -> record::Level {
        match self.place {
            Some(_) => record::Level::Fast,
            None => record::Level::Full,
        }
    }

    /// Returns what must be removed from the storage of its registry. Where the registry refused what was sent, the
    /// bytes may be right, and the entry of the repository wrong.
    fn files(&self, objects: &[ItemObject], is_refused: bool) -> Vec<String> {
        let Some(place) = &self.place else { return Vec::new() };
        let repository = &self.item.dst_repo;
        let proof = self.item.proof.map(|proof| proof.digest);
        let expected = ExpectedImage::of(self.receipt.as_deref(), proof, &self.item.destination);
        let top = expected.ok().flatten().map(|expected| expected.top);
        let mut files = Vec::new();
        for object in objects {
            match (object.role.as_str(), object.digest) {
                ("manifest", Some(digest)) => {
                    files.push(storage::data(digest));
                    files.extend(is_refused.then(|| storage::revision(repository, digest)));
                }
                ("tag", _) => files.push(storage::tag(repository, &place.target)),
                // The list of referrers is no list.
                ("referrer", _) if is_refused => {
                    let tag = top.map(|top| storage::tag(repository, &fallback_tag(top)));
                    files.extend(tag);
                }
                _ => {}
            }
        }
        files
    }
}

/// Returns the digests of the manifests among objects.
fn manifests(objects: &[ItemObject]) -> Vec<Digest> {
    let is_manifest = |object: &&ItemObject| object.role == "manifest";
    objects.iter().filter(is_manifest).filter_map(|object| object.digest).collect()
}
