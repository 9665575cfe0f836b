//! The check of one object at a registry: all bytes of a blob, the link of a repository to a blob, the manifests of an
//! image.
//!
//! What this module refuses: to count as damage what could not be asked, unless the registry answers everything else.

use std::future::Future;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_mirror::ledger::record::ItemObject;
use occystrap_net::registry::Repository;
use occystrap_output::receipt::{Bundle, Place, Receipt};

/// A tag that no repository has. A registry that answers for it works.
const ABSENT: &str = "occystrap-asks-whether-this-registry-answers";

/// What was found of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It is right.
    Good,
    /// It is missing or wrong; the text says what was found.
    Bad(String),
    /// It could not be checked, and why.
    Unchecked(Error),
}

impl Check {
    /// Judges an answer: `Ok(None)` is right, `Ok(Some(_))` says what was found. Errors when the user interrupts.
    fn of(answer: Result<Option<String>>) -> Result<Self> {
        match answer {
            Ok(None) => Ok(Self::Good),
            Ok(Some(found)) => Ok(Self::Bad(found)),
            Err(error) => match error.kind() {
                Kind::Interrupted => Err(error),
                Kind::Source | Kind::NotFound | Kind::Destination => {
                    Ok(Self::Bad(error.to_string()))
                }
                _ => Ok(Self::Unchecked(error)),
            },
        }
    }
}

/// Asks, and asks once more before a bad answer counts: a cache on the way may have cut or mixed up the first one. A
/// registry that answers a question about nothing and twice fails at this object has a damaged object.
async fn judge<F>(repository: &Repository, ask: impl Fn() -> F) -> Result<Check>
where
    F: Future<Output = Result<Option<String>>>,
{
    match Check::of(ask().await)? {
        Check::Good => Ok(Check::Good),
        Check::Bad(_) => Check::of(ask().await),
        Check::Unchecked(error) if error.kind() == Kind::Network => {
            match repository.digest_of(ABSENT).await {
                Ok(None) => {}
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                _ => return Ok(Check::Unchecked(error)),
            }
            match Check::of(ask().await)? {
                Check::Unchecked(error) if error.kind() == Kind::Network => {
                    Ok(Check::Bad(error.to_string()))
                }
                check => Ok(check),
            }
        }
        check => Ok(check),
    }
}

/// Reads all bytes of a blob.
pub async fn blob(repository: &Repository, digest: Digest, size: u64) -> Result<Check> {
    let strict = repository.strict();
    let what = Descriptor { media_type: String::new(), digest, size };
    judge(repository, || async {
        let mut download = strict.blob(&what);
        while download.next().await?.is_some() {}
        Ok(None)
    })
    .await
}

/// Reads the last byte of a blob in a repository.
pub async fn link(repository: &Repository, digest: Digest, size: u64) -> Result<Check> {
    let place = repository.place();
    judge(repository, || async {
        Ok(match repository.find_blob(digest, Some(size)).await? {
            Some(found) if found == size => None,
            Some(found) => {
                Some(format!("{place}@{digest}: wrong size: expected {size} bytes, found {found}"))
            }
            None => Some(format!("{place}@{digest}: blob not found")),
        })
    })
    .await
}

/// What an image at a registry must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedImage {
    /// Digest of the manifest or index that the tag names.
    pub top: Digest,
    /// Digests of all its manifests, with that one.
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

/// Asks what the tag names, and reads all manifests back. Errors when the user interrupts.
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
    for digest in &expected.manifests {
        let target = digest.to_string();
        let check =
            judge(repository, || async { repository.manifest(&target).await.map(|_| None) })
                .await?;
        found.add("manifest", *digest, check);
    }
    Ok(found)
}
