//! The tags under which clients find referrers at a registry without the API for them.
//!
//! What this module refuses: to remove what another client listed under such a tag.

use bytes::Bytes;

use super::referrers::fallback_tag;
use super::repository::Repository;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::manifest::{Manifest, OCI_INDEX};
use occystrap_base::oci::raw_object::{list, quoted};
use occystrap_base::oci::{Digest, RawObject};

/// Attempts to list referrers under a tag that other clients change at the same time.
const MOST_ATTEMPTS: usize = 5;

impl Repository {
    /// Lists referrers in the index under the fallback tag of a manifest (distribution specification, "Referrers Tag
    /// Schema"). Entries of other clients stay, byte for byte. The referrers must be in the repository. Returns whether
    /// something was written. Errors: those of [`Self::manifest`] and [`Self::push_manifest`], and
    /// [`Kind::Destination`] when the tag names something else, or other clients change it all the time.
    ///
    /// Registries have no way to write a tag only where it has not changed. Within a run, one task at a time changes the
    /// tag; what another process writes between the read and the write is found by reading the tag once more.
    pub async fn list_under_tag(&self, subject: Digest, referrers: &[Manifest]) -> Result<bool> {
        let _turn = self.send_turn(subject).await;
        let tag = fallback_tag(subject);
        let place = self.place_of(&tag);
        let mut is_written = false;
        for _ in 0..MOST_ATTEMPTS {
            let old = match self.manifest(&tag).await {
                Ok(old) => Some(old),
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) => return Err(error),
            };
            let merged = match &old {
                Some(old) if old.digest == subject => {
                    let message = format!(
                        "{place}: the tag of referrers names the image itself: the registry takes it for the digest and can hold no referrers, or another client has set it"
                    );
                    return Err(Error::destination(message).hint(
                        "remove this tag at the registry, or move the image without referrers",
                    ));
                }
                Some(old) if !old.is_index() => {
                    let message = format!("{place}: the tag of referrers names no index of them");
                    return Err(Error::destination(message)
                        .hint("another client uses this tag: remove it at the registry"));
                }
                Some(old) => merge(&old.bytes, referrers),
                None => merge(EMPTY.as_bytes(), referrers),
            };
            let merged = merged.map_err(|cause| {
                Error::destination(format!("{place}: the index cannot be changed: {cause}"))
            })?;
            let Some(merged) = merged else { return Ok(is_written) };
            let media_type = old.as_ref().map_or(OCI_INDEX, |old| &*old.media_type);
            self.push_manifest(&tag, media_type, Bytes::from(merged)).await?;
            is_written = true;
        }
        let message = format!("{place}: other clients change the tag of referrers all the time");
        Err(Error::destination(message).hint("run the command again"))
    }
}

/// An index without entries.
const EMPTY: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Returns an index with entries for manifests that it does not list; `None` where it lists all of them.
fn merge(index: &[u8], referrers: &[Manifest]) -> serde_json::Result<Option<String>> {
    let text = std::str::from_utf8(index).unwrap_or_default();
    let mut index = RawObject::parse(text)?;
    let mut entries: Vec<String> =
        index.list("manifests")?.into_iter().map(str::to_owned).collect();
    let mut known: Vec<String> = Vec::new();
    for entry in &entries {
        known.extend(RawObject::parse(entry)?.text("digest"));
    }
    let before = entries.len();
    for manifest in referrers {
        let digest = manifest.digest.to_string();
        if !known.contains(&digest) {
            entries.push(entry(manifest)?);
            known.push(digest);
        }
    }
    if entries.len() == before {
        return Ok(None);
    }
    index.set("manifests", list(&entries));
    Ok(Some(index.render()))
}

/// Returns the entry for a referrer: its descriptor, with its type and its annotations.
fn entry(manifest: &Manifest) -> serde_json::Result<String> {
    let text = std::str::from_utf8(&manifest.bytes).unwrap_or_default();
    let document = RawObject::parse(text)?;
    let mut entry = RawObject::default();
    entry.set("mediaType", quoted(&manifest.media_type));
    entry.set("digest", quoted(&manifest.digest.to_string()));
    entry.set("size", manifest.bytes.len().to_string());
    let said = document.text("artifactType").filter(|said| !said.is_empty());
    let config = match document.get("config") {
        Some(_) => document.object("config")?.text("mediaType"),
        None => None,
    };
    if let Some(kind) = said.or(config) {
        entry.set("artifactType", quoted(&kind));
    }
    if let Some(annotations) = document.get("annotations") {
        entry.set("annotations", annotations.to_owned());
    }
    Ok(entry.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::oci::manifest::OCI_MANIFEST;

    fn manifest(text: &str) -> Manifest {
        let (digest, bytes) = (Digest::of(text.as_bytes()), text.to_owned().into());
        Manifest { bytes, media_type: OCI_MANIFEST.to_owned(), digest }
    }

    #[test]
    fn entries_of_others_stay_byte_for_byte() {
        let one = manifest(
            r#"{"artifactType":"application/spdx+json","config":{"mediaType":"c"},"annotations":{"a": "1"}}"#,
        );
        let two = manifest(r#"{"config":{"mediaType":"application/vnd.cncf.notary.signature"}}"#);
        let index = format!(
            r#"{{ "schemaVersion":2, "manifests":[ {{"digest" : "{}", "x":1.50}} ], "y":[] }}"#,
            Digest::of(b"other")
        );
        let merged = merge(index.as_bytes(), &[one.clone(), two.clone()]).unwrap().unwrap();
        assert!(merged.contains(r#""x":1.50"#) && merged.ends_with(r#""y":[] }"#), "{merged}");
        let parsed: serde_json::Value = serde_json::from_str(&merged).unwrap();
        let entries = parsed["manifests"].as_array().unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[1]["digest"], one.digest.to_string());
        assert_eq!(entries[1]["artifactType"], "application/spdx+json");
        assert_eq!(entries[1]["annotations"]["a"], "1");
        assert_eq!(entries[2]["artifactType"], "application/vnd.cncf.notary.signature");
        assert_eq!(merge(merged.as_bytes(), &[two, one]).unwrap(), None, "nothing is new");
    }

    #[test]
    fn an_index_that_is_no_json_is_refused() {
        assert!(merge(b"[]", &[]).is_err());
        assert!(merge(b"\xff", &[]).is_err());
        assert!(merge(br#"{"manifests":1}"#, &[]).is_err());
    }
}
