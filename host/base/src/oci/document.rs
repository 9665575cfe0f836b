//! Manifests, indexes and configs, as far as moving an image needs them.
//!
//! Every field is optional, `null` stands for an absent field, and fields that are not named here may hold
//! anything: the documents themselves stay bytes, and are written as they were read. What it refuses: a field of
//! another type than its name has in the specification. Whether clients accept the rest of a document is judged in
//! `types`; what is odd about it, in `check`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::manifest::{is_manifest_type, type_or_not};
use super::{Descriptor, Platform};
use crate::error::{Error, Result};

/// Image manifest (OCI image specification, "Image Manifest").
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub struct ManifestDocument {
    #[serde(deserialize_with = "null_is_default")]
    media_type: String,
    #[serde(deserialize_with = "text_or_absent")]
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    #[serde(deserialize_with = "nulls_are_default")]
    layers: Vec<RawDescriptor>,
}

/// Image index (OCI image specification, "Image Index").
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub struct IndexDocument {
    /// Version of the format, which is 2.
    #[serde(deserialize_with = "integer_or_absent")]
    pub schema_version: Option<i64>,
    /// Manifests and indexes that it lists.
    #[serde(deserialize_with = "nulls_are_default")]
    pub manifests: Vec<RawDescriptor>,
}

/// Descriptor, as a document has it (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub struct RawDescriptor {
    #[serde(deserialize_with = "null_is_default")]
    media_type: String,
    #[serde(deserialize_with = "null_is_default")]
    digest: String,
    #[serde(deserialize_with = "integer_or_absent")]
    size: Option<i64>,
    #[serde(deserialize_with = "text_or_absent")]
    artifact_type: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    urls: Vec<Option<String>>,
    #[serde(deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, Option<String>>,
    platform: Option<RawPlatform>,
}

/// Platform of an index entry or of a config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub struct RawPlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// Image config (OCI image specification, "Image Configuration").
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub struct ConfigDocument {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, expecting = "an object")]
struct RootFs {
    #[serde(deserialize_with = "null_is_default")]
    diff_ids: Vec<Option<String>>,
}

impl ManifestDocument {
    /// Returns the descriptor of the config. Errors, which name `place`, when the manifest has none.
    pub fn config(&self, place: &str) -> Result<&RawDescriptor> {
        self.config
            .as_ref()
            .ok_or_else(|| Error::source(format!("{place}: the manifest lists no config")))
    }

    /// Returns the media type of the config, which is empty where the manifest has none.
    #[must_use]
    pub fn config_type(&self) -> &str {
        self.config.as_ref().map_or("", RawDescriptor::media_type)
    }

    /// Returns the layers, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[RawDescriptor] {
        &self.layers
    }

    /// Returns the media type that the manifest gives itself, which is empty where it gives none.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the type that the manifest gives itself as an artifact.
    #[must_use]
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref().filter(|text| !text.is_empty())
    }
}

impl RawDescriptor {
    /// Returns the media type, which is empty where there is none.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the digest as it is written, which is empty where there is none.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the size in bytes; 0 where there is none, or a negative one.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.and_then(|size| size.try_into().ok()).unwrap_or_default()
    }

    /// Returns the addresses from which the content can be fetched.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.urls.iter().flatten().map(String::as_str)
    }

    /// Returns an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)?.as_deref()
    }

    /// Returns the type of the artifact that the descriptor leads to.
    #[must_use]
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref().filter(|text| !text.is_empty())
    }

    /// Returns the platform that an index entry names; `None` where it names neither system nor architecture.
    #[must_use]
    pub fn platform(&self) -> Option<Platform> {
        let RawPlatform { os, architecture, variant } = self.platform.clone()?;
        Some(Platform::said(os, architecture, variant)).filter(|said| !said.is_unsaid())
    }

    /// Returns the descriptor with its digest and size. Errors, which name `place`, when one of them is absent, or
    /// is none.
    pub fn promised(&self, place: &str) -> Result<Descriptor> {
        let what = match self.media_type.as_str() {
            "" => "a descriptor".to_owned(),
            media_type => format!("the descriptor of a '{}'", type_or_not(media_type)),
        };
        if self.digest.is_empty() {
            return Err(Error::source(format!("{place}: {what} has no digest")));
        }
        let digest = self.digest.parse().map_err(|error: Error| error.within(place))?;
        let Some(size) = self.size else {
            return Err(Error::source(format!("{place}: {what} has no size")));
        };
        let size = u64::try_from(size).map_err(|_| {
            Error::mismatch(
                format!("{place}: size in {what}"),
                "a number of bytes",
                size.to_string(),
            )
        })?;
        Ok(Descriptor { media_type: self.media_type.clone(), digest, size })
    }

    /// Returns whether an index entry is an attestation, as Docker and buildkit mark it.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
        let is_unknown = |known: Platform| known.os == "unknown";
        self.annotations.contains_key(REFERENCE_TYPE) || self.platform().is_some_and(is_unknown)
    }

    /// Returns whether an index entry can lead to an image: it is neither an attestation nor another artifact.
    #[must_use]
    pub fn may_be_image(&self) -> bool {
        let is_manifest = self.media_type.is_empty() || is_manifest_type(&self.media_type);
        let is_artifact =
            self.artifact_type().is_some_and(|said| !super::artifact::is_config(said));
        is_manifest && !is_artifact && !self.is_attestation()
    }
}

impl ConfigDocument {
    /// Returns the platform, of which any part may be absent.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform::said(self.os.clone(), self.architecture.clone(), self.variant.clone())
    }

    /// Returns the digests of the uncompressed layers, lowest first; `None` where the config has no `rootfs`.
    #[must_use]
    pub fn diff_ids(&self) -> Option<Vec<&str>> {
        let listed = self.rootfs.as_ref()?.diff_ids.iter();
        Some(listed.map(|text| text.as_deref().unwrap_or_default()).collect())
    }
}

/// Reads `null` as the default of a type, as Go's parser does.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> std::result::Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// Reads a list; `null` stands for an empty one, and in it for the default of what it lists.
fn nulls_are_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> std::result::Result<Vec<T>, D::Error> {
    let listed: Option<Vec<Option<T>>> = Option::deserialize(from)?;
    Ok(listed.into_iter().flatten().map(Option::unwrap_or_default).collect())
}

/// Reads a text, and anything else as absent: most clients do not read this field.
fn text_or_absent<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<String>, D::Error> {
    Value::deserialize(from).map(|value| value.as_str().map(str::to_owned))
}

/// Reads a whole number. Go takes `-0` for one; anything else is refused with the whole document, in `types`.
fn integer_or_absent<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<i64>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(value.as_i64().or(value.as_f64().filter(|number| *number == 0.0).map(|_| 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::json;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn null_is_absent_in_a_manifest() {
        for text in [r#"{"config":null,"layers":null,"artifactType":5}"#, "{}"] {
            let manifest: ManifestDocument = json::parse(text.as_bytes()).unwrap();
            assert!(manifest.layers().is_empty() && manifest.artifact_type().is_none(), "{text}");
            let said = manifest.config("x").unwrap_err().to_string();
            assert_eq!(said, "x: the manifest lists no config");
        }
    }

    #[test]
    fn null_in_a_list_is_a_descriptor_that_leads_nowhere() {
        let index: IndexDocument = json::parse(br#"{"manifests":[null,{"size":1}]}"#).unwrap();
        assert_eq!(index.manifests.len(), 2);
        let said = index.manifests[0].promised("x").unwrap_err().to_string();
        assert_eq!(said, "x: a descriptor has no digest");
        let manifest: ManifestDocument = json::parse(br#"{"layers":[null]}"#).unwrap();
        assert_eq!(manifest.layers()[0].digest(), "");
    }

    #[test]
    fn a_descriptor_needs_a_digest_and_a_size_alone() {
        let promised = |more: &str| {
            let text = format!(r#"{{"manifests":[{{"digest":"{DIGEST}","size":1{more}}}]}}"#);
            let index: IndexDocument = json::parse(text.as_bytes()).unwrap();
            index.manifests[0].promised("x").map(|what| what.size)
        };
        for more in [
            "",
            r#","mediaType":null,"annotations":null,"urls":null,"platform":null,"data":null"#,
            r#","annotations":{"a":null},"urls":[null],"platform":{},"artifactType":null"#,
            r#","platform":{"os":null,"architecture":"","features":7},"x":[]"#,
        ] {
            assert_eq!(promised(more).unwrap(), 1, "{more}");
        }
        for (text, why) in [
            ("{}", "x: a descriptor has no digest"),
            (&format!(r#"{{"digest":"{DIGEST}"}}"#), "x: a descriptor has no size"),
            (
                &format!(r#"{{"digest":"{DIGEST}","size":-1}}"#),
                "x: size in a descriptor: expected a number of bytes, found -1",
            ),
        ] {
            let one: RawDescriptor = json::parse(text.as_bytes()).unwrap();
            assert_eq!(one.promised("x").unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn an_entry_that_leads_to_no_image_is_known_by_what_the_index_says() {
        let entry = |more: &str| -> RawDescriptor {
            json::parse(format!(r#"{{"digest":"{DIGEST}"{more}}}"#).as_bytes()).unwrap()
        };
        for more in [
            "",
            r#","mediaType":"application/vnd.oci.image.manifest.v1+json""#,
            r#","artifactType":"application/vnd.oci.image.config.v1+json""#,
            r#","platform":{"os":"linux"}"#,
        ] {
            assert!(entry(more).may_be_image(), "{more}");
        }
        for more in [
            r#","mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip""#,
            r#","artifactType":"application/spdx+json""#,
            r#","platform":{"os":"unknown","architecture":"unknown"}"#,
            r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#,
        ] {
            assert!(!entry(more).may_be_image(), "{more}");
        }
    }
}
