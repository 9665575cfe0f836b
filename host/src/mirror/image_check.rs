//! The check of an image at a registry: what its tag names, its manifests, and whether clients find its referrers.
//!
//! What this module refuses: to judge the bytes of blobs. [`check`] reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::check::{Check, judge};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::document::{IndexDocument, ManifestDocument};
use occystrap_base::oci::{Digest, Manifest, json};
use occystrap_mirror::ledger::record::ItemObject;
use occystrap_net::registry::{FoundBy, Referrer, Repository, WantedReferrers};
use occystrap_net::web::Elsewhere;
use occystrap_output::receipt::{Bundle, Place, Receipt};

/// What an image at a registry must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedImage {
    /// Digest of the manifest or index that the tag names.
    pub top: Digest,
    /// Digests of all its manifests, with that one and those of its referrers.
    pub manifests: Vec<Digest>,
    /// Its blobs, with their sizes in bytes.
    pub blobs: Vec<(Digest, u64)>,
}

impl ExpectedImage {
    /// Reads it from the receipts of an image. `proved` is the digest that was proved last. Returns `None` where nothing
    /// says what must be there.
    pub fn of(receipt: Option<&str>, proved: Option<Digest>, name: &str) -> Result<Option<Self>> {
        let receipts = match receipt {
            Some(text) => Bundle::parse(text.as_bytes(), name)?,
            None => Vec::new(),
        };
        let top = proved.or_else(|| receipts.last().and_then(Receipt::manifest_digest));
        let Some(top) = top else { return Ok(None) };
        let mut image = Self { top, manifests: vec![top], blobs: Vec::new() };
        for expectation in receipts.iter().flat_map(|receipt| &receipt.expectations) {
            match (&expectation.place, expectation.digest, expectation.size) {
                (Place::Manifest { .. }, Some(digest), _) => image.manifests.push(digest),
                (Place::Blob { digest }, _, Some(size)) => image.blobs.push((*digest, size)),
                _ => {}
            }
        }
        image.manifests.sort_unstable();
        image.manifests.dedup();
        image.blobs.sort_unstable();
        image.blobs.dedup();
        Ok(Some(image))
    }
}

/// Objects of an image that are not right, and the first error of one that could not be checked.
#[derive(Debug, Default)]
pub struct ImageCheck {
    /// Missing or wrong ones.
    pub bad: Vec<ItemObject>,
    /// Why an object could not be checked.
    pub unchecked: Option<Error>,
    /// Layers that need not be there: manifests say where else they are.
    pub elsewhere: BTreeSet<Digest>,
}

impl ImageCheck {
    /// Returns what was found of the image, and its objects that are not right. Damage counts before what could not be
    /// checked.
    pub fn verdict(self) -> (Check, Vec<ItemObject>) {
        let what = self.bad.first().and_then(|object| object.found.clone());
        let check = match (what, self.unchecked) {
            (Some(what), _) => Check::Bad(what),
            (None, Some(error)) => Check::Unchecked(error),
            (None, None) => Check::Good,
        };
        (check, self.bad)
    }

    fn is_good(&self) -> bool {
        self.bad.is_empty() && self.unchecked.is_none()
    }

    fn add(&mut self, role: &str, digest: Digest, check: Check) {
        match check {
            Check::Good => {}
            Check::Bad(found) => self.bad.push(ItemObject {
                role: role.to_owned(),
                digest: Some(digest),
                size: None,
                status: "damaged".to_owned(),
                found: Some(found),
            }),
            Check::Unchecked(error) => self.unchecked = self.unchecked.take().or(Some(error)),
        }
    }
}

/// Asks what the tag names, reads all manifests back, and asks for the referrers. Errors when the user interrupts.
pub async fn image(
    repository: &Repository,
    target: &str,
    expected: &ExpectedImage,
) -> Result<ImageCheck> {
    let mut found = ImageCheck::default();
    if target.parse::<Digest>().is_err() {
        let place = format!("{}:{target}", repository.place());
        let top = expected.top;
        let check = judge(repository, || async {
            Ok(match repository.digest_of(target).await? {
                Some(digest) if digest == top => None,
                Some(digest) => {
                    Some(format!("{place}: the tag moved: expected {top}, found {digest}"))
                }
                None => Some(format!("{place}: the tag is missing: expected {top}")),
            })
        })
        .await?;
        found.add("tag", expected.top, check);
    }
    let read = Mutex::new(Manifests::default());
    for digest in &expected.manifests {
        let target = digest.to_string();
        let check = judge(repository, || async {
            let manifest = repository.manifest(&target).await?;
            read.lock().unwrap_or_else(PoisonError::into_inner).0.insert(*digest, manifest);
            Ok(None)
        })
        .await?;
        found.add("manifest", *digest, check);
    }
    let read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
    for manifest in read.0.values() {
        let parsed: ManifestDocument = json::parse(&manifest.bytes).unwrap_or_default();
        let elsewhere = parsed.layers().iter().filter(|layer| Elsewhere::of(layer).is_some());
        found.elsewhere.extend(elsewhere.filter_map(|layer| layer.digest().parse::<Digest>().ok()));
    }
    // Where a manifest is wrong, the image is sent again with its referrers.
    if found.is_good() {
        referrers(repository, expected, &read, &mut found).await?;
    }
    Ok(found)
}

/// Checks that a client that asks for the referrers of the image finds those that were mirrored.
async fn referrers(
    repository: &Repository,
    expected: &ExpectedImage,
    read: &Manifests,
    found: &mut ImageCheck,
) -> Result<()> {
    let image = read.below([expected.top]);
    let apart: Vec<Digest> =
        read.0.keys().filter(|digest| !image.contains(digest)).copied().collect();
    if apart.is_empty() {
        return Ok(());
    }
    let subjects: Vec<Digest> = image.into_iter().collect();
    let wanted = WantedReferrers::default();
    let absent = Mutex::new(None);
    let place = repository.place();
    let check = judge(repository, || async {
        let listed = repository.find_referrers(&subjects, &wanted).await?;
        let first = first_absent(&apart, &listed, read, repository).await?;
        *absent.lock().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(first.map(|digest| {
            format!(
                "{place}@{digest}: the registry has it, and clients do not find it as a referrer"
            )
        }))
    })
    .await?;
    let absent = absent.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.add("referrer", absent.unwrap_or(expected.top), check);
    Ok(())
}

/// Returns the first of these manifests that is neither listed nor below a listed one. Under a tag of cosign another
/// client may have added signatures: then the manifest there has all layers of the one that was mirrored.
async fn first_absent(
    apart: &[Digest],
    listed: &[Referrer],
    read: &Manifests,
    repository: &Repository,
) -> Result<Option<Digest>> {
    let reached = read.below(listed.iter().map(|referrer| referrer.digest));
    let mut signed: Vec<BTreeSet<String>> = Vec::new();
    for referrer in listed.iter().filter(|one| one.found_by == FoundBy::CosignTag) {
        if !reached.contains(&referrer.digest) || !read.0.contains_key(&referrer.digest) {
            let manifest = repository.manifest(&referrer.digest.to_string()).await?;
            signed.push(layers(&manifest));
        }
    }
    let is_found = |digest: &&Digest| {
        reached.contains(*digest)
            || read.0.get(*digest).is_some_and(|manifest| {
                let wanted = layers(manifest);
                signed.iter().any(|there| !wanted.is_empty() && wanted.is_subset(there))
            })
    };
    Ok(apart.iter().find(|digest| !is_found(digest)).copied())
}

fn layers(manifest: &Manifest) -> BTreeSet<String> {
    let parsed: ManifestDocument = json::parse(&manifest.bytes).unwrap_or_default();
    parsed.layers().iter().map(|layer| layer.digest().to_owned()).collect()
}

/// Manifests and indexes that were read.
#[derive(Default)]
struct Manifests(BTreeMap<Digest, Manifest>);

impl Manifests {
    /// Returns these manifests, and all that indexes among them list.
    fn below(&self, tops: impl IntoIterator<Item = Digest>) -> BTreeSet<Digest> {
        let mut open: Vec<Digest> = tops.into_iter().collect();
        let mut reached = BTreeSet::new();
        while let Some(digest) = open.pop() {
            let Some(manifest) = self.0.get(&digest).filter(|_| reached.insert(digest)) else {
                continue;
            };
            if manifest.is_index() {
                let index: IndexDocument = json::parse(&manifest.bytes).unwrap_or_default();
                open.extend(
                    index.manifests.iter().filter_map(|one| one.digest().parse::<Digest>().ok()),
                );
            }
        }
        reached
    }
}
