//! Expectations for the images of a store that has no receipt.
//!
//! A manifest names its blobs by digest and size, and an index names its manifests, so that the chain from a name
//! covers everything. The name itself promises nothing: only a receipt says which image it must stand for.

use std::collections::{BTreeMap, BTreeSet};

use super::store::{ListedManifest, Store};
use crate::look::elsewhere;
use crate::verdict::claims::{Claims, compare_platform};
use crate::verdict::document;
use crate::verdict::flaw::{Flaw, Reason, Status, Unread};
use crate::verdict::found::Found;
use crate::verdict::object::{CheckedObject, Verification};

use crate::verdict::outcome::{Outcome, Outcomes};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::{IndexDocument, ManifestDocument, RawDescriptor};
use occystrap_base::oci::{
    Digest, ImageName, MOST_LAYERS, Manifest, Platform, PlatformPart, json, types,
};
use occystrap_images::level::Level;
use occystrap_images::source::content_store::{DEEPEST, MOST_MANIFESTS};
use occystrap_output::receipt::{Expectation, Role};

/// Verifies what a name stands for: an image, or an index and every image of it. `more` has the expectations of the
/// name itself. `looked` has the verdicts on manifests that were verified before, of which no byte is read again.
pub fn verify(
    store: &dyn Store,
    root: ListedManifest,
    name: &ImageName,
    more: &[Expectation],
    level: Level,
    looked: &Outcomes,
) -> Result<Vec<Found>> {
    verify_without(store, root, name, more, level, looked, &BTreeSet::new())
}

/// Verifies as [`verify`]. Manifests of `left_out` need not be there.
pub fn verify_without(
    store: &dyn Store,
    root: ListedManifest,
    name: &ImageName,
    more: &[Expectation],
    level: Level,
    looked: &Outcomes,
    left_out: &BTreeSet<Digest>,
) -> Result<Vec<Found>> {
    let (seen, known) = (BTreeSet::new(), BTreeMap::new());
    let found = Vec::new();
    let mut walk = Walk { store, name, more, level, looked, left_out, seen, known, found };
    walk.visit(&root, DEEPEST)?;
    Ok(walk.found)
}

struct Walk<'a> {
    store: &'a dyn Store,
    name: &'a ImageName,
    more: &'a [Expectation],
    level: Level,
    looked: &'a Outcomes,
    left_out: &'a BTreeSet<Digest>,
    seen: BTreeSet<String>,
    /// The index of each manifest in `found`, and the platform in its config.
    known: BTreeMap<String, (usize, Option<Platform>)>,
    /// The images, each index after the images that it lists.
    found: Vec<Found>,
}

impl Walk<'_> {
    fn visit(&mut self, what: &ListedManifest, depth: usize) -> Result<()> {
        // A digest that is promised in two ways is checked for each promise.
        let promised = what.promised.as_ref().map(|known| (known.size, &known.media_type));
        if !self.seen.insert(format!("{} {promised:?}", what.reference)) {
            // The entry may have another platform.
            if let (Some(listed), Some((at, Some(is)))) =
                (&what.platform, self.known.get(&what.reference))
            {
                compare_platform(is, listed, &mut self.found[*at].verification.objects);
            }
            return Ok(());
        }
        let is_root = self.seen.len() == 1;
        // Its flaw was reported before.
        if !is_root && self.looked_at(what).is_some_and(|outcome| outcome != Outcome::Verified) {
            return Ok(());
        }
        if self.seen.len() > MOST_MANIFESTS {
            let place = self.store.display(what);
            return Err(Error::source(format!("{place}: lists more than {MOST_MANIFESTS} images")));
        }
        let manifest = match self.store.manifest(what) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                self.lost(what, is_root, |object| {
                    object.fail(Status::Missing, Reason::NotThere);
                });
                return Ok(());
            }
            // The user interrupts, or the store is stopped by a limit.
            Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Plugin) => {
                return Err(error);
            }
            Err(error) => {
                let status = match error.difference() {
                    Some(_) => Status::DigestMismatch,
                    None => Status::Unreadable,
                };
                self.lost(what, is_root, |object| {
                    object.fail_with(status, &error);
                });
                return Ok(());
            }
        };
        if !manifest.is_index() {
            return self.image(what, &manifest, is_root);
        }
        let index = match json::parse::<IndexDocument>(&manifest.bytes) {
            Ok(index) if depth > 0 => index,
            Ok(_) => return self.unread(what, is_root, Unread::NestedIndexes),
            Err(cause) => return self.unread(what, is_root, Unread::Because(cause.to_string())),
        };
        if let Err(wrong) = types::manifest(&manifest.bytes) {
            return self.unread(what, is_root, Unread::Because(wrong.to_string()));
        }
        let listed = index.manifests.iter().map(|entry| ListedManifest::entry(entry, "the index"));
        let listed = match listed.collect::<Result<Vec<ListedManifest>>>() {
            Ok(listed) => listed,
            Err(error) => return self.unread(what, is_root, Unread::Because(error.to_string())),
        };
        let is_left_out = |entry: &&ListedManifest| {
            entry.promised.as_ref().is_some_and(|known| self.left_out.contains(&known.digest))
        };
        let listed: Vec<&ListedManifest> =
            listed.iter().filter(|entry| !is_left_out(entry)).collect();
        for entry in listed {
            self.visit(entry, depth - 1)?;
        }
        let (expectations, part) =
            ([self.expectation(what, &manifest)], PlatformPart::index(is_root, manifest.digest));
        let it = ListedManifest { platform: None, ..what.clone() };
        self.check(&expectations, &Claims::default(), is_root, &it, part)?;
        self.check_document(&manifest);
        self.compare_index(&index.manifests);
        Ok(())
    }

    fn image(&mut self, what: &ListedManifest, manifest: &Manifest, is_root: bool) -> Result<()> {
        let parsed = match json::parse::<ManifestDocument>(&manifest.bytes) {
            Ok(parsed) if parsed.layers().len() <= MOST_LAYERS => parsed,
            Ok(_) => {
                return self.unread(what, is_root, Unread::ManyLayers { most: MOST_LAYERS });
            }
            Err(cause) => return self.unread(what, is_root, Unread::Because(cause.to_string())),
        };
        if let Err(wrong) = types::manifest(&manifest.bytes) {
            return self.unread(what, is_root, Unread::Because(wrong.to_string()));
        }
        let mut expectations = match self.blobs(&parsed) {
            Ok(expectations) => expectations,
            Err(error) => return self.unread(what, is_root, Unread::Because(error.to_string())),
        };
        expectations.push(self.expectation(what, manifest));
        let claims = self.store.claims(&expectations).within(&parsed);
        self.check(&expectations, &claims, is_root, what, self.part(what, is_root))?;
        if let Some(found) = self.found.last_mut() {
            elsewhere::mark_unchecked_layers(&parsed, &mut found.verification.objects);
        }
        self.check_document(manifest);
        if !claims.is_artifact() {
            self.record_of(manifest, document::check_config_type(&parsed));
        }
        Ok(())
    }

    /// Returns what a manifest promises of its config and its layers.
    fn blobs(&self, manifest: &ManifestDocument) -> Result<Vec<Expectation>> {
        const PLACE: &str = "the manifest";
        let roles = std::iter::once(Role::Config).chain((0..).map(Role::Layer));
        let listed = std::iter::once(manifest.config(PLACE)?).chain(manifest.layers());
        let blob = |(role, listed): (Role, &RawDescriptor)| {
            let listed = listed.promised(PLACE)?;
            Ok(Expectation {
                role,
                place: self.store.blob(listed.digest),
                size: Some(listed.size),
                digest: Some(listed.digest),
            })
        };
        roles.zip(listed).map(blob).collect()
    }

    /// Records whether clients can read the manifest or index that was found last.
    fn check_document(&mut self, manifest: &Manifest) {
        self.record_of(manifest, document::check(&manifest.bytes));
    }

    fn record_of(&mut self, manifest: &Manifest, flaw: Option<Flaw>) {
        let Some(flaw) = flaw else { return };
        let objects = self.found.last_mut().map(|found| &mut found.verification.objects);
        let is_it = |object: &&mut CheckedObject| {
            object.kind == "manifest" && object.digest == Some(manifest.digest)
        };
        if let Some(object) = objects.and_then(|objects| objects.iter_mut().find(is_it)) {
            object.record_if_ok(flaw);
        }
    }

    fn expectation(&self, what: &ListedManifest, manifest: &Manifest) -> Expectation {
        Expectation {
            role: Role::Manifest,
            place: self.store.place(what),
            size: Some(manifest.bytes.len() as u64),
            digest: Some(manifest.digest),
        }
    }

    fn check(
        &mut self,
        expectations: &[Expectation],
        claims: &Claims,
        is_root: bool,
        what: &ListedManifest,
        part: PlatformPart,
    ) -> Result<()> {
        let more = if is_root { self.more } else { &[] };
        let expectations = [expectations, more].concat();
        let level = match self.looked_at(what) {
            Some(_) => Level::Fast,
            None => self.level,
        };
        let mut objects = self.store.check(&expectations, claims, level)?;
        if level == Level::Full {
            claims.mark_encrypted(&expectations, &mut objects);
        }
        // The entry of the root is in a list without a digest, which the layout checks itself.
        if let (Some(is), Some(listed), false) = (claims.platform(), &what.platform, is_root) {
            compare_platform(is, listed, &mut objects);
        }
        self.known.insert(what.reference.clone(), (self.found.len(), claims.platform().cloned()));
        let counted = |one: &&Expectation| matches!(one.role, Role::Config | Role::Layer(_));
        let is_artifact = claims.is_artifact();
        // Sizes are those of the manifest, and can be any number.
        let sizes = expectations.iter().filter(counted).filter_map(|one| one.size);
        let layers = expectations.iter().filter(|one| one.role.is_layer()).count();
        self.found.push(Found {
            name: self.name.clone(),
            part,
            platform: what.platform.as_ref().map(Platform::to_string),
            layers,
            bytes: sizes.fold(0, u64::saturating_add),
            verification: Verification { level: self.level, objects, is_artifact },
        });
        Ok(())
    }

    /// Returns the earlier verdict on a manifest.
    fn looked_at(&self, what: &ListedManifest) -> Option<Outcome> {
        what.promised.as_ref().and_then(|known| self.looked.get(&known.digest).copied())
    }

    /// Records in the index that was found last the verdicts on the images that it lists: its name stands for all of
    /// them.
    fn compare_index(&mut self, entries: &[RawDescriptor]) {
        let of = |entry: &RawDescriptor| {
            let reference = entry.digest().to_string();
            let looked =
                reference.parse().ok().and_then(|digest| self.looked.get(&digest).copied());
            let found = self.known.get(&reference).and_then(|(at, _)| self.found.get(*at));
            looked.or(found.map(|found| found.verification.outcome()))
        };
        let is_there = |entry: &&RawDescriptor| {
            !entry.digest().parse().is_ok_and(|digest| self.left_out.contains(&digest))
        };
        let entries: Vec<&RawDescriptor> = entries.iter().filter(is_there).collect();
        let Some(flaw) = sum(entries.len(), entries.iter().copied().filter_map(of)) else { return };
        let index = self.found.last_mut().and_then(|it| it.verification.objects.first_mut());
        if let Some(object) = index.filter(|object| object.status == Status::Ok) {
            object.record(flaw);
            object.host_only = true;
        }
    }

    /// Adds a manifest that cannot be read, so that its images are not known.
    fn lost(
        &mut self,
        what: &ListedManifest,
        is_root: bool,
        record: impl FnOnce(&mut CheckedObject),
    ) {
        let mut object = CheckedObject::at(self.store.display(what)).for_role(Role::Manifest);
        (object.digest, object.size) = (what.promised.as_ref())
            .map_or((None, None), |known| (Some(known.digest), Some(known.size)));
        record(&mut object);
        self.known.insert(what.reference.clone(), (self.found.len(), None));
        self.found.push(Found {
            name: self.name.clone(),
            part: self.part(what, is_root),
            platform: what.platform.as_ref().map(Platform::to_string),
            layers: 0,
            bytes: 0,
            verification: Verification::new(self.level, vec![object]),
        });
    }

    fn unread(&mut self, what: &ListedManifest, is_root: bool, why: Unread) -> Result<()> {
        self.lost(what, is_root, |object| {
            object.fail(Status::Unreadable, Reason::Unread(why));
        });
        Ok(())
    }

    fn part(&self, what: &ListedManifest, is_root: bool) -> PlatformPart {
        match (is_root, &what.platform, &what.promised) {
            (true, _, _) => PlatformPart::Whole,
            (false, Some(platform), _) => PlatformPart::Platform(platform.to_string()),
            (false, None, promised) => PlatformPart::Platform(
                promised.as_ref().map_or(what.reference.clone(), |known| known.digest.short()),
            ),
        }
    }
}

/// Returns the flaw of an index that lists `all` images with these verdicts. `None` where all are verified. An index that
/// lists nothing is unchecked: nothing was verified.
pub fn sum(all: usize, outcomes: impl Iterator<Item = Outcome>) -> Option<Flaw> {
    let outcomes: Vec<Outcome> = outcomes.collect();
    let those = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
    match (those(Outcome::Failed), those(Outcome::Unconfirmed)) {
        _ if all == 0 => Some(Flaw::new(Status::Unchecked, Reason::Empty)),
        (0, 0) => None,
        (0, some) => {
            Some(Flaw::new(Status::Unchecked, Reason::Listed { failed: false, some, all }))
        }
        (some, _) => {
            Some(Flaw::new(Status::Unreadable, Reason::Listed { failed: true, some, all }))
        }
    }
}
