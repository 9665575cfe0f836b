//! The document of an export, and the receipts of its images.

use serde::{Deserialize, Serialize};

use super::DOCUMENT;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_net::registry::{FoundBy, Referrer};

/// Version of the format that this program writes and reads.
pub const VERSION: u32 = 1;

/// Largest document, in bytes: 50,000 images with long names, and as many that are as they were.
pub const LARGEST: u64 = 64 * 1024 * 1024;

/// The document of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportDocument {
    /// [`VERSION`].
    pub occystrap_export: u32,
    /// Name of the mirror: that of its file.
    pub mirror: String,
    /// Digest of the file of the mirror.
    pub file: Digest,
    /// Run of the export, in the ledger where it was made.
    pub run: i64,
    /// The export that this one builds on; `None` for one that has everything.
    pub since: Option<Base>,
    /// The images that are in it, in the order of the file.
    pub items: Vec<ExportedItem>,
    /// The images that are as an export before this one brought them.
    pub as_before: Vec<KnownItem>,
    /// The images that are missing in it, because they could not be exported.
    pub failed: Vec<FailedItem>,
}

/// The export that another one builds on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its run.
    pub run: i64,
    /// Digest of its document.
    pub export: Digest,
}

/// An image of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedItem {
    /// Reference of the source.
    pub source: String,
    /// Repository below the prefix of an import.
    pub repository: String,
    /// Tag; `None` for an image that is known by its digest alone.
    pub tag: Option<String>,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// `verified`: every byte of it was read back and has its digest.
    pub verdict: String,
    /// How an import verifies it: `fast`, `full` or `none`.
    pub verify: String,
    /// What an import does where the destination has another image: `replace`, `keep` or `error`.
    pub on_conflict: String,
    /// Platforms for which an import writes a new index (`index: rewrite`); empty where the index stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrite_for: Vec<String>,
}

/// An image that an earlier export brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownItem {
    /// Repository below the prefix of an import.
    pub repository: String,
    /// Tag, or the digest of an image without one.
    pub target: String,
    /// Digest of its manifest or index.
    pub digest: Digest,
}

/// An image that could not be exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedItem {
    /// Reference of the source.
    pub source: String,
    /// Why.
    pub error: String,
}

/// The receipt of an image: everything that it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReceipt {
    /// Repository below the prefix of an import.
    pub repository: String,
    /// Tag; `None` for an image that is known by its digest alone.
    pub tag: Option<String>,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// Its objects, and those of its referrers, each once.
    pub objects: Vec<ExportedObject>,
    /// What refers to it, as the source lists it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<ExportedReferrer>,
}

/// What an object is for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportedRole {
    /// A manifest or an index.
    Manifest,
    /// A config.
    Config,
    /// A layer.
    Layer,
}

/// An object of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedObject {
    /// What it is for the image.
    pub role: ExportedRole,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Media type of a manifest or an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// For a layer that an earlier export carried: the repository that got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_to: Option<String>,
}

/// A referrer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedReferrer {
    /// What it refers to.
    pub subject: Digest,
    /// Its digest.
    pub digest: Digest,
    /// Its type, where the list of the source says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where the source lists it.
    pub found_by: ReferrerListing,
}

/// Where a source lists a referrer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferrerListing {
    /// In the API.
    Api,
    /// In the index under the fallback tag.
    FallbackTag,
    /// It has a tag of cosign.
    CosignTag,
}

impl ExportDocument {
    /// Parses a document. `place` names the export in errors. Errors, first, for another version of the format.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            occystrap_export: u32,
        }
        let wrong = |cause: &serde_json::Error| {
            let message =
                format!("{place}: '{DOCUMENT}' is not the document of an export: {cause}");
            Error::source(message).hint("copy the export again")
        };
        let version: Version = serde_json::from_slice(bytes).map_err(|cause| wrong(&cause))?;
        if version.occystrap_export != VERSION {
            let what = format!("{place}: version of the export in '{DOCUMENT}'");
            let error = Error::mismatch(what, VERSION, version.occystrap_export);
            return Err(match version.occystrap_export > VERSION {
                true => error.hint("import it with the newer occystrap that made it"),
                false => error.hint("export again with this version of occystrap"),
            });
        }
        serde_json::from_slice(bytes).map_err(|cause| wrong(&cause))
    }

    /// Returns its bytes. The digest over them names the export.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

impl ExportReceipt {
    /// Returns the descriptors of its manifests and indexes.
    pub fn manifests(&self) -> impl Iterator<Item = Descriptor> {
        let manifests = self.objects.iter().filter(|object| object.role == ExportedRole::Manifest);
        manifests.map(|object| Descriptor {
            media_type: object.media_type.clone().unwrap_or_default(),
            digest: object.digest,
            size: object.size,
        })
    }
}

impl From<&Referrer> for ExportedReferrer {
    fn from(referrer: &Referrer) -> Self {
        let found_by = match referrer.found_by {
            FoundBy::Api => ReferrerListing::Api,
            FoundBy::FallbackTag => ReferrerListing::FallbackTag,
            FoundBy::CosignTag => ReferrerListing::CosignTag,
        };
        let Referrer { subject, digest, ref kind, .. } = *referrer;
        Self { subject, digest, kind: kind.clone(), found_by }
    }
}

impl From<&ExportedReferrer> for Referrer {
    fn from(referrer: &ExportedReferrer) -> Self {
        let found_by = match referrer.found_by {
            ReferrerListing::Api => FoundBy::Api,
            ReferrerListing::FallbackTag => FoundBy::FallbackTag,
            ReferrerListing::CosignTag => FoundBy::CosignTag,
        };
        let ExportedReferrer { subject, digest, ref kind, .. } = *referrer;
        Self { subject, digest, kind: kind.clone(), found_by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_another_version_is_refused_before_it_is_read() {
        let parsed = |text: &str| {
            let error = ExportDocument::parse(text.as_bytes(), "'DIR'").unwrap_err();
            format!("{error}\nhint: {}", error.hint_text().unwrap_or_default())
        };
        let texts =
            ["{\"occystrap_export\":2,\"later\":[]}", "{\"occystrap_export\":0}", "{}", "{"];
        insta::assert_snapshot!(texts.map(parsed).join("\n"));
    }
}
