//! What refers to an image: signatures, lists of contents, attestations, and what refers to these. They are moved byte for
//! byte and verified like images, before the image gets its tag.
//!
//! What it refuses: a manifest that a list names as a referrer and that does not refer to the image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use super::family::{move_family, move_part};
use super::fit;
use super::request::Request;
use super::rewritten::has_landed;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::{IndexDocument, ManifestDocument};
use occystrap_base::oci::{Digest, ImageName, Manifest, PlatformPart, RawObject, artifact, json};
use occystrap_base::parallel::in_parallel;
use occystrap_images::source::Source;
use occystrap_layer::image::Whole;
use occystrap_net::context::{Blocking, Context};
use occystrap_net::registry::{FoundBy, Referrer, Repository, WantedReferrers};
use occystrap_output::receipt::{Receipt, RepeatCommand};
use occystrap_verify::report::ImageReport;

/// Most bytes of the manifests of all referrers of an image. Manifests of signatures have some kilobytes; the largest
/// manifest has 4 MiB.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Most levels of indexes of which the manifests are looked for.
const DEEPEST: usize = 4;

/// Referrers that have landed.
#[derive(Default)]
pub struct MovedReferrers {
    /// A report for each.
    pub reports: Vec<ImageReport>,
    /// Their receipts.
    pub receipts: Vec<Receipt>,
    /// Those that the API of the destination must list, by what they refer to.
    pub tagless: BTreeMap<Digest, BTreeSet<Digest>>,
    /// Number of those that did not land.
    pub failed: usize,
}

/// A referrer that was moved.
struct Moved {
    /// Its manifest or index, where it has landed.
    manifest: Option<Manifest>,
    reports: Vec<ImageReport>,
    receipts: Vec<Receipt>,
}

/// Moves the referrers of manifests, and writes the tags by which clients find them. Errors when the source cannot list
/// them, or a tag cannot be written.
pub fn move_all(
    request: &Request,
    name: &ImageName,
    subjects: &[Digest],
    repeat: &Option<RepeatCommand>,
    context: &Context,
) -> Result<MovedReferrers> {
    let Some(wanted) = &request.referrers else { return Ok(MovedReferrers::default()) };
    let ends = Ends::open(request, context)?;
    let found = ends.find(subjects, wanted, request)?;
    let bytes = AtomicU64::new(0);
    let one =
        |referrer: &Referrer| move_one(request, wanted, referrer, name, repeat, &bytes, context);
    let moved = in_parallel(&found, request.image_parallel, one);
    let mut all = MovedReferrers::default();
    let mut landed: Vec<(&Referrer, Manifest)> = Vec::new();
    for (referrer, moved) in found.iter().zip(moved) {
        // Of errors the first one is reported, and what landed before stays: nothing names it.
        let Some(moved) = moved? else { continue };
        match moved.manifest {
            Some(manifest) => landed.push((referrer, manifest)),
            None => all.failed += 1,
        }
        all.reports.extend(moved.reports);
        all.receipts.extend(moved.receipts);
    }
    if all.failed == 0 {
        all.tagless = ends.write_tags(&landed, context)?;
    }
    Ok(all)
}

/// Moves one referrer. Returns `None` where it is of a type that is not wanted, or where the list is outdated.
fn move_one(
    request: &Request,
    wanted: &WantedReferrers,
    referrer: &Referrer,
    name: &ImageName,
    repeat: &Option<RepeatCommand>,
    bytes: &AtomicU64,
    context: &Context,
) -> Result<Option<Moved>> {
    let Some(whole) = open(&request.source, wanted, referrer, name, bytes, context)? else {
        return Ok(None);
    };
    let Some(manifest) = manifest_of(&whole) else { return Ok(None) };
    let part = PlatformPart::Referrer(referrer.digest.short());
    let context = &context.about(&format!("{name}{part}")).with_part(&part);
    let (reports, receipts) = match &whole {
        Whole::Image(image) => {
            let (report, receipt) = move_part(request, image, name, &part, repeat.clone(), context);
            (vec![report], receipt.into_iter().collect())
        }
        Whole::Family(family) => move_family(request, family, false, repeat, context),
    };
    let is_there = reports.iter().all(has_landed);
    Ok(Some(Moved { manifest: is_there.then(|| manifest.clone()), reports, receipts }))
}

/// Opens a referrer that a source lists. `bytes` is the number of bytes of the manifests of all referrers so far. Returns
/// `None` where it is of a type that is not wanted, or where the list is outdated. Errors where it does not refer to what
/// the list says.
pub fn open(
    source: &Source,
    wanted: &WantedReferrers,
    referrer: &Referrer,
    name: &ImageName,
    bytes: &AtomicU64,
    context: &Context,
) -> Result<Option<Whole>> {
    context.cancel.check()?;
    let whole = match source.open_referrer(referrer.digest, context) {
        Ok(whole) => whole,
        // Clients that delete a referrer leave its entry under the fallback tag.
        Err(error)
            if error.kind() == Kind::NotFound && referrer.found_by == FoundBy::FallbackTag =>
        {
            context.warnings.say(&format!(
                "{name}: the referrer {} is listed and is not there",
                referrer.digest.short()
            ));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let Some(manifest) = manifest_of(&whole) else { return Ok(None) };
    if bytes.fetch_add(manifest.bytes.len() as u64, Ordering::Relaxed) > MOST_BYTES {
        let what = format!("{name}: size of the manifests of its referrers");
        return Err(Error::mismatch(what, format!("at most {MOST_BYTES} bytes"), "more"));
    }
    if referrer.found_by != FoundBy::CosignTag {
        check_subject(referrer, manifest, name)?;
        if referrer.kind.is_none() && !wanted.types.takes(&kind(manifest)) {
            return Ok(None);
        }
    }
    Ok(Some(whole))
}

/// Returns the manifest or the index that has the name.
fn manifest_of(whole: &Whole) -> Option<&Manifest> {
    match whole {
        Whole::Image(image) => image.manifest.as_ref(),
        Whole::Family(family) => family.indexes.last().map(|index| &index.manifest),
    }
}

/// Checks that a manifest refers to what the list says.
fn check_subject(referrer: &Referrer, manifest: &Manifest, name: &ImageName) -> Result<()> {
    let text = std::str::from_utf8(&manifest.bytes).unwrap_or_default();
    let subject = RawObject::parse(text).ok().and_then(|document| {
        document.get("subject")?;
        document.object("subject").ok()?.text("digest")
    });
    if subject.as_deref() == Some(&*referrer.subject.to_string()) {
        return Ok(());
    }
    let what = format!("{name}: subject of the listed referrer {}", referrer.digest.short());
    let found = subject.unwrap_or_else(|| "none".to_owned());
    Err(Error::mismatch(what, referrer.subject, found))
}

/// Returns the artifact type of a manifest or an index.
fn kind(manifest: &Manifest) -> String {
    if manifest.is_index() {
        let text = std::str::from_utf8(&manifest.bytes).unwrap_or_default();
        let said = RawObject::parse(text).ok().and_then(|index| index.text("artifactType"));
        return said.unwrap_or_default();
    }
    json::parse::<ManifestDocument>(&manifest.bytes)
        .map(|parsed| artifact::kind(&parsed))
        .unwrap_or_default()
}

/// Source and destination.
struct Ends {
    /// `None` where the source lists its referrers itself.
    source: Option<Blocking<Repository>>,
    destination: Blocking<Repository>,
}

impl Ends {
    fn open(request: &Request, context: &Context) -> Result<Self> {
        let repositories =
            (request.source.repository(context)?, request.target.repository_to_push(context)?);
        match repositories {
            (Some(source), Some(destination)) => Ok(Self {
                source: Some(Blocking::new(source, context)),
                destination: Blocking::new(destination, context),
            }),
            (None, Some(destination)) if request.source.listed_referrers().is_some() => {
                Ok(Self { source: None, destination: Blocking::new(destination, context) })
            }
            _ => Err(Error::usage("referrers are moved from a registry to a registry")),
        }
    }

    /// Returns the referrers that the source has.
    fn find(
        &self,
        subjects: &[Digest],
        wanted: &WantedReferrers,
        request: &Request,
    ) -> Result<Vec<Referrer>> {
        match &self.source {
            Some(source) => source.wait(source.find_referrers(subjects, wanted)),
            None => Ok(request.source.listed_referrers().unwrap_or_default().to_vec()),
        }
    }

    /// Writes the tags by which clients find referrers: that of the fallback, where the registry does not have the API,
    /// and those of cosign. Returns what the API must list.
    fn write_tags(
        &self,
        landed: &[(&Referrer, Manifest)],
        context: &Context,
    ) -> Result<BTreeMap<Digest, BTreeSet<Digest>>> {
        let to = &self.destination;
        let mut by_subject: BTreeMap<Digest, Vec<Manifest>> = BTreeMap::new();
        for (referrer, manifest) in landed {
            match referrer.tag() {
                Some(tag) => to.wait(write_cosign_tag(to, &tag, manifest, context))?,
                None => by_subject.entry(referrer.subject).or_default().push(manifest.clone()),
            }
        }
        let mut tagless = BTreeMap::new();
        for (subject, manifests) in by_subject {
            if to.has_referrers_api().is_none() {
                to.wait(to.listed_referrers(subject, None))?;
            }
            match to.has_referrers_api() {
                Some(true) => {
                    let digests = manifests.iter().map(|manifest| manifest.digest).collect();
                    tagless.insert(subject, digests);
                }
                _ => drop(to.wait(to.list_under_tag(subject, &manifests))?),
            }
        }
        Ok(tagless)
    }
}

/// Writes a tag of cosign, and reads back what it names. A tag that names all layers of the manifest and more stays:
/// each layer is a signature, and another client added one here.
async fn write_cosign_tag(
    to: &Repository,
    tag: &str,
    manifest: &Manifest,
    context: &Context,
) -> Result<()> {
    match to.manifest(tag).await {
        Ok(found) if found.digest == manifest.digest => return Ok(()),
        Ok(found) => {
            let (there, wanted) = (layers(&found), layers(manifest));
            if wanted.is_subset(&there) {
                tracing::info!("{}:{tag} has all signatures of the source, and more", to.place());
                return Ok(());
            }
            if !there.is_subset(&wanted) {
                context.warnings.say(&format!(
                    "{}:{tag} has signatures that the source does not have: it is replaced, they stay as {}",
                    to.place(),
                    found.digest
                ));
            }
        }
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error),
    }
    to.push_manifest(tag, &manifest.media_type, manifest.bytes.clone()).await?;
    let found = to.digest_of(tag).await?;
    if found == Some(manifest.digest) {
        return Ok(());
    }
    let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
    Err(Error::mismatch(format!("{}:{tag}: digest", to.place()), manifest.digest, found))
}

/// Returns the digests of the layers of a manifest.
fn layers(manifest: &Manifest) -> BTreeSet<String> {
    let parsed: ManifestDocument = json::parse(&manifest.bytes).unwrap_or_default();
    parsed.layers().iter().map(|layer| layer.digest().to_owned()).collect()
}

/// Checks that the API of the destination lists what refers to an image that has landed. Errors with the first that it
/// does not list.
pub fn check_listed(
    request: &Request,
    tagless: &BTreeMap<Digest, BTreeSet<Digest>>,
    context: &Context,
) -> Result<()> {
    if request.level.is_none() || tagless.is_empty() {
        return Ok(());
    }
    let Ends { destination, .. } = Ends::open(request, context)?;
    for (subject, wanted) in tagless {
        let listed = destination.wait(destination.listed_referrers(*subject, None))?;
        let listed: BTreeSet<Digest> =
            listed.into_iter().flatten().map(|referrer| referrer.digest).collect();
        if let Some(absent) = wanted.difference(&listed).next() {
            let place = destination.place();
            return Err(Error::destination(format!(
                "{place}@{subject}: the registry does not list the referrer {absent}, which it has"
            ))
            .hint("it may list referrers later: verify again in a minute"));
        }
    }
    Ok(())
}

/// Returns whether the source has a referrer of the image that the destination lacks. Errors as [`move_all`].
pub fn is_outdated(request: &Request, context: &Context) -> Result<bool> {
    let Some(wanted) = &request.referrers else { return Ok(false) };
    let ends = Ends::open(request, context)?;
    // What has no repository is moved again.
    let Some(source) = &ends.source else { return Ok(true) };
    let subjects = subjects(request, source, context)?;
    let key = |one: &Referrer| (one.subject, one.digest, one.tag());
    let there = source.wait(source.find_referrers(&subjects, wanted))?;
    if there.is_empty() {
        return Ok(false);
    }
    // The list of tags that is at hand is that of the source.
    let all = WantedReferrers { tags: None, ..wanted.clone() };
    let here = ends.destination.wait(ends.destination.find_referrers(&subjects, &all))?;
    let here: BTreeSet<_> = here.iter().map(key).collect();
    Ok(there.iter().any(|one| !here.contains(&key(one))))
}

/// Returns the manifests whose referrers are moved, without the images.
fn subjects(
    request: &Request,
    source: &Blocking<Repository>,
    context: &Context,
) -> Result<Vec<Digest>> {
    if request.platforms.is_some() || !request.all_platforms {
        let wholes = match request.all_platforms {
            true => fit::wholes(request, context)?,
            false => {
                let images = fit::images(request, context)?.into_iter();
                images.map(|image| Whole::Image(Box::new(image))).collect()
            }
        };
        let images = wholes.iter().flat_map(Whole::images);
        return Ok(images.filter_map(|image| Some(image.manifest.as_ref()?.digest)).collect());
    }
    let target = request.source.registry_target().unwrap_or_default();
    let mut level = vec![source.wait(source.manifest(&target))?];
    let mut all = BTreeSet::new();
    for _ in 0..DEEPEST {
        let mut indexes = Vec::new();
        for manifest in std::mem::take(&mut level) {
            all.insert(manifest.digest);
            if !manifest.is_index() {
                continue;
            }
            let place = source.place();
            let index: IndexDocument = json::parse(&manifest.bytes)
                .map_err(|cause| Error::source(format!("{place}: the index: {cause}")))?;
            for entry in &index.manifests {
                let what = entry.promised(&place)?;
                let is_index = occystrap_base::oci::manifest::OCI_INDEX == entry.media_type()
                    || occystrap_base::oci::manifest::DOCKER_LIST == entry.media_type();
                if all.insert(what.digest) && is_index {
                    indexes.push(what.digest);
                }
            }
        }
        for index in indexes {
            level.push(source.wait(source.manifest(&index.to_string()))?);
        }
        if level.is_empty() {
            break;
        }
    }
    Ok(all.into_iter().collect())
}
