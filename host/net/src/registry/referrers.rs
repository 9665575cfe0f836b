//! The referrers of a manifest: signatures, lists of contents, attestations (distribution specification, "Listing
//! Referrers").
//!
//! A registry lists them by its API, or clients keep an index under the tag `sha256-<hex>` ("Referrers Tag Schema").
//! cosign keeps its signatures, attestations and lists of contents under the tags `sha256-<hex>.sig`, `.att` and `.sbom`.
//!
//! What this module refuses: lists without end, lists of more referrers than an image can have, and levels without end.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue};
use serde_json::Value;

use super::repository::{Repository, named, unexpected};
use crate::http::retry::{RetryBudget, is_passing};
use crate::http::wire::Call;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::{IndexDocument, RawDescriptor};
use occystrap_base::oci::manifest::{LARGEST_MANIFEST, OCI_INDEX};
use occystrap_base::oci::{Digest, json};

/// Most referrers of one image, those of its platforms and of its referrers included. An image that is signed each day
/// for two years has 730.
pub const MOST_REFERRERS: usize = 1_000;

/// Most pages of one list. Registries send at least 10 referrers in a page.
const MOST_PAGES: usize = MOST_REFERRERS / 10;

/// Pages in a row that bring no new referrer before the list counts as endless.
const MOST_EMPTY_PAGES: usize = 3;

/// Most levels of referrers of referrers. A signature of an attestation of a list of contents is at level 3.
const DEEPEST: usize = 4;

/// Manifests whose referrers are asked for at a time.
const AT_A_TIME: usize = 8;

/// Endings of the tags of cosign, each with the artifact type that cosign gives to the same content as a referrer.
pub const COSIGN_TAGS: [(&str, &str); 3] = [
    (".sig", "application/vnd.dev.cosign.artifact.sig.v1+json"),
    (".att", "application/vnd.dev.cosign.artifact.att.v1+json"),
    (".sbom", "application/vnd.dev.cosign.artifact.sbom.v1+json"),
];

/// Artifact types of wanted referrers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReferrerTypes {
    /// All.
    #[default]
    All,
    /// These.
    Only(Vec<String>),
}

impl ReferrerTypes {
    /// Returns whether referrers of a type are wanted.
    #[must_use]
    pub fn takes(&self, kind: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.iter().any(|known| known == kind),
        }
    }

    /// Returns the type where only one is wanted: a registry can then filter its list.
    fn only(&self) -> Option<&str> {
        match self {
            Self::Only(kinds) => kinds.first().filter(|_| kinds.len() == 1).map(String::as_str),
            Self::All => None,
        }
    }
}

/// Referrers that are wanted of an image.
#[derive(Debug, Clone, Default)]
pub struct WantedReferrers {
    /// Their types.
    pub types: ReferrerTypes,
    /// The tags `sha256-...` of the repository, where its list of tags is at hand. Tags that are not in it are not asked
    /// for.
    pub tags: Option<Arc<BTreeSet<String>>>,
}

impl WantedReferrers {
    fn may_have(&self, tag: &str) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.contains(tag))
    }
}

/// How a referrer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// The API lists it.
    Api,
    /// The index under the fallback tag lists it.
    FallbackTag,
    /// It has a tag of cosign.
    CosignTag,
}

/// Referrer of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest that it refers to.
    pub subject: Digest,
    /// Its digest.
    pub digest: Digest,
    /// Its type; `None` where the list does not say it.
    pub kind: Option<String>,
    /// How it was found.
    pub found_by: FoundBy,
}

impl Referrer {
    /// Returns its tag, where it has one of cosign.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        let known = COSIGN_TAGS.iter().find(|(_, kind)| self.kind.as_deref() == Some(kind));
        let (ending, _) = known.filter(|_| self.found_by == FoundBy::CosignTag)?;
        Some(format!("{}{ending}", fallback_tag(self.subject)))
    }
}

/// Returns the tag under which clients keep the index of the referrers of a manifest.
#[must_use]
pub fn fallback_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}

impl Repository {
    /// Returns the referrers of manifests, and theirs, each after what it refers to. Errors: those of a request, and
    /// [`Kind::Source`] for lists beyond the limits of this module.
    pub async fn find_referrers(
        &self,
        subjects: &[Digest],
        wanted: &WantedReferrers,
    ) -> Result<Vec<Referrer>> {
        let mut known: BTreeSet<Digest> = subjects.iter().copied().collect();
        let mut level: Vec<Digest> = known.iter().copied().collect();
        let mut all: Vec<Referrer> = Vec::new();
        for depth in 0.. {
            // Many are asked at a time; the first answer says whether the registry has the API.
            let (first, others) = level.split_at(level.len().min(1));
            let mut found: Vec<Vec<Referrer>> = Vec::new();
            for some in [first, others] {
                let asked = some.iter().map(|subject| self.referrers_of(*subject, wanted));
                let answers: Vec<_> = stream::iter(asked).buffered(AT_A_TIME).try_collect().await?;
                found.extend(answers);
            }
            level.clear();
            for referrer in found.into_iter().flatten() {
                // A referrer that leads back to what was seen is listed, and not followed again.
                let is_new = known.insert(referrer.digest);
                if is_new {
                    level.push(referrer.digest);
                }
                if is_new || referrer.found_by == FoundBy::CosignTag {
                    all.push(referrer);
                }
            }
            let place = self.place();
            if all.len() > MOST_REFERRERS {
                let message = format!("{place}: an image has more than {MOST_REFERRERS} referrers");
                return Err(Error::source(message).hint(TOO_MANY));
            }
            if level.is_empty() {
                break;
            }
            if depth == DEEPEST {
                let message =
                    format!("{place}: referrers of referrers have more than {DEEPEST} levels");
                return Err(Error::source(message).hint(TOO_MANY));
            }
        }
        Ok(all)
    }

    /// Returns the referrers of one manifest: of the API, or of the fallback tag, and the tags of cosign.
    async fn referrers_of(
        &self,
        subject: Digest,
        wanted: &WantedReferrers,
    ) -> Result<Vec<Referrer>> {
        let mut found = match self.listed_referrers(subject, wanted.types.only()).await? {
            Some(listed) => listed,
            None if wanted.may_have(&fallback_tag(subject)) => {
                self.tagged_referrers(subject).await?
            }
            None => Vec::new(),
        };
        found.retain(|one| one.kind.as_deref().is_none_or(|kind| wanted.types.takes(kind)));
        for (ending, kind) in COSIGN_TAGS {
            let tag = format!("{}{ending}", fallback_tag(subject));
            if !wanted.types.takes(kind) || !wanted.may_have(&tag) {
                continue;
            }
            if let Some(digest) = self.digest_of(&tag).await? {
                let (kind, found_by) = (Some(kind.to_owned()), FoundBy::CosignTag);
                found.push(Referrer { subject, digest, kind, found_by });
            }
        }
        Ok(found)
    }

    /// Returns what the API lists; `None` where the registry does not have it. `only` is the one type that is wanted,
    /// which registries may ignore. Whether the registry has the API is remembered for the run.
    pub async fn listed_referrers(
        &self,
        subject: Digest,
        only: Option<&str>,
    ) -> Result<Option<Vec<Referrer>>> {
        let place = self.place_of(&subject.to_string());
        let Some(listed) = self.listed_entries(subject, only).await? else { return Ok(None) };
        referrers(&listed, subject, FoundBy::Api, &place).map(Some)
    }

    /// Returns the descriptors of the referrers of a manifest, as the API lists them, or the index under the fallback tag
    /// where the registry does not have the API. Errors as [`Self::find_referrers`].
    pub async fn referrer_descriptors(&self, subject: Digest) -> Result<Vec<Value>> {
        let listed = match self.listed_entries(subject, None).await? {
            Some(listed) => listed,
            None => self.tagged_entries(subject).await?,
        };
        Ok(listed.into_iter().map(|(_, descriptor)| descriptor).collect())
    }

    /// Returns the entries of all pages of the API, parsed and as they are; `None` where the registry does not have it.
    async fn listed_entries(
        &self,
        subject: Digest,
        only: Option<&str>,
    ) -> Result<Option<Vec<(RawDescriptor, Value)>>> {
        if self.has_referrers_api() == Some(false) {
            return Ok(None);
        }
        let place = self.place_of(&subject.to_string());
        let mut url = self.url(&format!("referrers/{subject}"));
        if let Some(kind) = only {
            url.query_pairs_mut().append_pair("artifactType", kind);
        }
        let (mut found, mut seen, mut empty) = (Vec::new(), BTreeSet::new(), 0);
        for _ in 0..MOST_PAGES {
            let mut call = Call::get(url);
            call.foreign = true;
            call.headers.insert(ACCEPT, HeaderValue::from_static(OCI_INDEX));
            let mut budget = RetryBudget::new(&self.wire().settings);
            let sent = self.send(&call, &mut budget).await;
            let mut answer = sent.map_err(|error| self.named_or_auth(error, &place))?;
            match answer.status() {
                StatusCode::OK => {}
                status if lacks_api(status) && found.is_empty() => {
                    self.note_referrers_api(false);
                    return Ok(None);
                }
                status => return Err(unexpected(&place, &answer, status)),
            }
            let next = self.next_page(&answer, &place, "the list of referrers")?;
            let bytes = answer
                .read(LARGEST_MANIFEST, "a list of referrers")
                .await
                .map_err(|failure| named(failure.into_error(), &place))?;
            let listed = entries(&bytes).ok_or_else(|| {
                let host = &answer.host;
                Error::source(format!("{place}: {host} sent a list of referrers that is no index"))
            })?;
            let before = seen.len();
            for entry in listed {
                if seen.insert(entry.0.promised(&place)?.digest) {
                    found.push(entry);
                }
            }
            if found.len() > MOST_REFERRERS {
                break;
            }
            let Some(next) = next else {
                self.note_referrers_api(true);
                return Ok(Some(found));
            };
            empty = if seen.len() == before { empty + 1 } else { 0 };
            if empty == MOST_EMPTY_PAGES {
                let message = format!(
                    "{place}: the list of referrers has no end: {MOST_EMPTY_PAGES} pages in a row bring no new one"
                );
                return Err(Error::source(message));
            }
            url = next;
        }
        let message = format!("{place}: it has more than {MOST_REFERRERS} referrers");
        Err(Error::source(message).hint(TOO_MANY))
    }

    /// Returns what the index under the fallback tag lists.
    async fn tagged_referrers(&self, subject: Digest) -> Result<Vec<Referrer>> {
        let listed = self.tagged_entries(subject).await?;
        referrers(&listed, subject, FoundBy::FallbackTag, &self.place_of(&fallback_tag(subject)))
    }

    /// Returns the entries of the index under the fallback tag, parsed and as they are; none where there is no such tag.
    async fn tagged_entries(&self, subject: Digest) -> Result<Vec<(RawDescriptor, Value)>> {
        let tag = fallback_tag(subject);
        let manifest = match self.manifest(&tag).await {
            Ok(manifest) => manifest,
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let place = self.place_of(&tag);
        // GitLab takes `sha256-<hex>` for the digest itself, and has no referrers.
        if manifest.digest == subject {
            return Ok(Vec::new());
        }
        let listed = manifest.is_index().then(|| entries(&manifest.bytes)).flatten();
        listed.ok_or_else(|| {
            Error::source(format!("{place}: the tag of referrers names no index of them"))
        })
    }
}

/// Returns what the entries of a list of referrers name. Errors name `place`.
fn referrers(
    listed: &[(RawDescriptor, Value)],
    subject: Digest,
    found_by: FoundBy,
    place: &str,
) -> Result<Vec<Referrer>> {
    let referrer = |(entry, _): &(RawDescriptor, Value)| {
        let kind = entry.artifact_type().map(str::to_owned);
        Ok(Referrer { subject, digest: entry.promised(place)?.digest, kind, found_by })
    };
    listed.iter().map(referrer).collect()
}

/// Returns whether a registry that answers a status does not have the API for referrers. Artifactory answers 406, and others
/// 400, to a path that they do not know. Refused logins and limits say nothing of the API.
fn lacks_api(status: StatusCode) -> bool {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => false,
        StatusCode::NOT_IMPLEMENTED => true,
        status => status.is_client_error() && !is_passing(status),
    }
}

/// The hint for more referrers than are read.
const TOO_MANY: &str =
    "move those of some types alone: write 'referrers: [TYPE]', or '--referrers=TYPE'";

/// Returns the entries of an index, parsed and as they are; `None` where the bytes are no index.
fn entries(bytes: &[u8]) -> Option<Vec<(RawDescriptor, Value)>> {
    let index: IndexDocument = json::parse(bytes).ok()?;
    let is_index = index.schema_version == Some(2) || !index.manifests.is_empty();
    let mut document: Value = json::parse(bytes).ok()?;
    let values = match document.get_mut("manifests").map(Value::take) {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    };
    let is_index = is_index && values.len() == index.manifests.len();
    is_index.then(|| index.manifests.into_iter().zip(values).collect())
}
