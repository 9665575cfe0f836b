//! Deleting images at the destination that no rule names any more.
//!
//! What this module refuses: to delete a tag that a rule names now, a tag that names another image than the ledger has, and
//! a digest that another tag names or lists.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use super::file::MirrorFile;
use super::image_check::ExpectedImage;
use super::place::ImagePlace;
use super::plan;
use super::run::begin;
use super::services::Services;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::IndexDocument;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use occystrap_base::oci::{Digest, Manifest, json};
use occystrap_mirror::document::Extra;
use occystrap_mirror::ledger::holding::ItemFilter;
use occystrap_mirror::ledger::record::{LedgerItem, RunKind};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{Ledger, each_item};
use occystrap_net::registry::{Removal, Repository};

/// Levels of indexes in an index that are looked at. Tools make one; more than these are an error.
const DEEPEST: usize = 4;

/// What became of an extra image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pruned {
    /// It is deleted, and is not there any more.
    Deleted,
    /// It was not there any more.
    Gone,
    /// It stays, and why.
    Stays(String),
}

/// Images at destinations that no rule names.
#[derive(Debug, Default)]
pub struct ExtraImages {
    /// Those that no rule named in the last whole run either: they may be deleted.
    pub extra: Vec<LedgerItem>,
    /// Those that left the file since the last whole run. The next one makes them extra.
    pub since: u64,
}

/// Returns the images that no rule names now. Errors when the tags that the rules name cannot be listed, or when the ledger
/// fails.
pub fn unnamed<L: Ledger>(
    file: &MirrorFile,
    ledger: &L,
    services: &Services<'_>,
) -> Result<ExtraImages, Vec<Error>> {
    let one = |error: Error| vec![error];
    let plan = plan::plan(file, services, Some(ledger))?;
    if !plan.failures.is_empty() {
        return Err(plan.failures);
    }
    let named: HashSet<&str> =
        plan.items.iter().map(|item| item.destination.name.as_str()).collect();
    let mut found = ExtraImages::default();
    let states = &[State::Extra, State::Done];
    let filter = ItemFilter { states, ..ItemFilter::default() };
    each_item(ledger, &filter, |item| {
        match item.state {
            _ if named.contains(item.destination.as_str()) => {}
            State::Extra => found.extra.push(item),
            _ => found.since += 1,
        }
        Ok::<_, Error>(ControlFlow::Continue(()))
    })
    .map_err(one)?;
    Ok(found)
}

/// Returns the images that no rule named in the last whole run, in the order of the ledger.
fn extra(ledger: &impl Ledger) -> Result<Vec<LedgerItem>> {
    let filter = ItemFilter { states: &[State::Extra], ..ItemFilter::default() };
    let mut found: Vec<LedgerItem> = Vec::new();
    each_item(ledger, &filter, |item| {
        found.push(item);
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Deletes extra images. Errors, before anything is deleted, when FILE does not allow it, when the tags that its rules name
/// now cannot be listed, or when the ledger fails.
pub fn delete<L: Ledger>(
    file: &MirrorFile,
    ledger: &L,
    services: &Services<'_>,
    mut report: impl FnMut(&LedgerItem, &Pruned),
) -> Result<(), Vec<Error>> {
    let one = |error: Error| vec![error];
    if file.document.prune.extra != Extra::Delete {
        let error = Error::usage("the file does not allow to delete images that no rule names")
            .hint("write 'prune: {extra: delete}' into it");
        return Err(one(error));
    }
    let extra = extra(ledger).map_err(one)?;
    if extra.is_empty() {
        return Ok(());
    }
    let plan = plan::plan(file, services, Some(ledger))?;
    if !plan.failures.is_empty() {
        return Err(plan.failures);
    }
    let named: HashSet<&str> =
        plan.items.iter().map(|item| item.destination.name.as_str()).collect();
    let run = begin(ledger, file, RunKind::Prune, "").map_err(one)?.id;
    let mut work = Prune { ledger, services, named: &named, extra: &extra, kept: BTreeMap::new() };
    let outcome = extra.iter().try_for_each(|item| {
        services.context.cancel.check()?;
        let pruned = work.image(item)?;
        if matches!(pruned, Pruned::Deleted | Pruned::Gone) {
            work.forget(item)?;
        }
        report(item, &pruned);
        Ok(())
    });
    match &outcome {
        Ok(()) => drop(ledger.finish_run(run, "{}").map_err(one)?),
        Err(_) => ledger.stop_run(run).map_err(one)?,
    }
    outcome.map_err(one)
}

struct Prune<'p, L> {
    ledger: &'p L,
    services: &'p Services<'p>,
    /// Destinations that rules name now.
    named: &'p HashSet<&'p str>,
    extra: &'p [LedgerItem],
    /// What stays in each repository: digests that its other tags name or list, with the tag.
    kept: BTreeMap<String, Vec<(Digest, String)>>,
}

impl<L: Ledger> Prune<'_, L> {
    /// Deletes an image. Errors when the user interrupts, or the ledger fails.
    fn image(&mut self, item: &LedgerItem) -> Result<Pruned> {
        let stays = |why: &str| Ok(Pruned::Stays(why.to_owned()));
        if self.named.contains(item.destination.as_str()) {
            return stays("a rule names it again");
        }
        let Some(place) = ImagePlace::parse(&item.destination)? else {
            return stays("deleting from layouts, directories and plugins is not supported yet");
        };
        let repository = self.services.repository_to_push(&place.uri)?;
        match self.delete(item, &place.target, &repository) {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => stays(&error.to_string()),
            pruned => pruned,
        }
    }

    fn delete(
        &mut self,
        item: &LedgerItem,
        target: &str,
        repository: &Repository,
    ) -> Result<Pruned> {
        let Some(found) = self.services.wait(repository.digest_of(target))? else {
            return Ok(Pruned::Gone);
        };
        let receipt = self.ledger.receipt(item.id)?;
        let proved = item.proof.map(|proof| proof.digest);
        let known = ExpectedImage::of(receipt.as_deref(), proved, &item.destination)?;
        let known = known.map(|image| image.top).or(item.want_digest);
        if known != Some(found) {
            let known = known.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
            return Ok(Pruned::Stays(format!(
                "it is another image than the one that was mirrored: expected {known}, found {found}"
            )));
        }
        let is_tag = target.parse::<Digest>().is_err();
        let mut refusal = String::new();
        if is_tag {
            match self.services.wait(repository.delete_manifest(target))? {
                Removal::Removed | Removal::Absent => {
                    if self.services.wait(repository.digest_of(target))?.is_none() {
                        return Ok(Pruned::Deleted);
                    }
                    "it is there after the registry said that it deleted it"
                        .clone_into(&mut refusal);
                }
                Removal::Refused(status) => refusal = status,
            }
        }
        if let Some(tag) = self.keeper(repository, &found)? {
            let why = match is_tag {
                true => format!(
                    "the registry does not delete tags ({refusal}), and its digest is that of {tag}, which stays"
                ),
                false => format!("its digest is that of {tag}, which stays"),
            };
            return Ok(Pruned::Stays(why));
        }
        match self.services.wait(repository.delete_manifest(&found.to_string()))? {
            Removal::Removed | Removal::Absent => {}
            Removal::Refused(status) => {
                return Ok(Pruned::Stays(format!("the registry does not delete it ({status})")));
            }
        }
        match self.services.wait(repository.digest_of(target))? {
            None => Ok(Pruned::Deleted),
            Some(_) => {
                let why = "it is there after the registry said that it deleted it";
                Ok(Pruned::Stays(why.to_owned()))
            }
        }
    }

    /// Returns the tag of a repository that stays and names a digest, or lists it. Errors where a tag cannot be asked: it
    /// may name the digest.
    fn keeper(&mut self, repository: &Repository, digest: &Digest) -> Result<Option<String>> {
        let place = repository.place();
        if !self.kept.contains_key(&place) {
            let kept = self.kept_of(repository)?;
            self.kept.insert(place.clone(), kept);
        }
        let kept = self.kept.get(&place).map(Vec::as_slice).unwrap_or_default();
        Ok(kept.iter().find(|(one, _)| one == digest).map(|(_, tag)| tag.clone()))
    }

    fn kept_of(&self, repository: &Repository) -> Result<Vec<(Digest, String)>> {
        let goes = |tag: &str| {
            self.extra.iter().filter(|item| !self.named.contains(item.destination.as_str())).any(
                |item| {
                    let place = ImagePlace::parse(&item.destination).ok().flatten();
                    item.dst_host == repository.host()
                        && item.dst_repo == repository.name()
                        && place.is_some_and(|place| place.target == tag)
                },
            )
        };
        let mut kept = Vec::new();
        let tags = self.services.wait(repository.tags())?.unwrap_or_default();
        for tag in tags.into_iter().filter(|tag| !goes(tag)) {
            let manifest = match self.services.wait(repository.manifest(&tag)) {
                Err(error) if error.kind() == Kind::NotFound => continue,
                manifest => manifest?,
            };
            kept.push((manifest.digest, format!("the tag {tag}")));
            let listed = self.listed(repository, &manifest, DEEPEST)?;
            let why = format!("an image that the tag {tag} lists");
            kept.extend(listed.into_iter().map(|digest| (digest, why.clone())));
        }
        // Images without a tag.
        let filter = ItemFilter {
            repo: Some((repository.host(), repository.name())),
            ..ItemFilter::default()
        };
        each_item(self.ledger, &filter, |item| {
            let place = ImagePlace::parse(&item.destination)?;
            let digest = place.and_then(|place| place.target.parse().ok());
            if let Some(digest) = digest
                && (item.state != State::Extra || self.named.contains(item.destination.as_str()))
            {
                kept.push((digest, format!("the image {}", item.destination)));
            }
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        Ok(kept)
    }

    /// Returns what an index lists, and what indexes in it list, down to so many levels. A manifest lists nothing. Errors
    /// for what cannot be read or is deeper: it may list the digest.
    fn listed(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        levels: usize,
    ) -> Result<Vec<Digest>> {
        if !manifest.is_index() {
            return Ok(Vec::new());
        }
        let place = format!("{}@{}", repository.place(), manifest.digest);
        let index: IndexDocument = json::parse(&manifest.bytes)
            .map_err(|cause| Error::source(format!("{place}: the index: {cause}")))?;
        let mut all = Vec::new();
        for entry in &index.manifests {
            let Ok(digest) = entry.digest().parse::<Digest>() else { continue };
            all.push(digest);
            // An entry without a type may be an index.
            if matches!(entry.media_type(), OCI_MANIFEST | DOCKER_MANIFEST) {
                continue;
            }
            if levels == 0 {
                let message = format!("{place}: indexes in indexes: more than {DEEPEST} levels");
                return Err(Error::source(message));
            }
            match self.services.wait(repository.manifest(&digest.to_string())) {
                // A sparse index lists what is not there.
                Err(error) if error.kind() == Kind::NotFound => {}
                nested => all.extend(self.listed(repository, &nested?, levels - 1)?),
            }
        }
        Ok(all)
    }

    /// Forgets an image, and the blobs of its repository that no other image there has: the registry may collect them.
    fn forget(&self, item: &LedgerItem) -> Result<()> {
        let receipt = self.ledger.receipt(item.id)?;
        let image = ExpectedImage::of(receipt.as_deref(), None, &item.destination)?;
        self.ledger.forget_extra(item.id)?;
        let places = super::place::Places::new(self.ledger, self.services);
        for (digest, _) in image.map(|image| image.blobs).unwrap_or_default() {
            if !places.is_used(&item.dst_host, &item.dst_repo, &digest)? {
                self.ledger.forget_blob(&item.dst_host, &item.dst_repo, &digest)?;
            }
        }
        Ok(())
    }
}
