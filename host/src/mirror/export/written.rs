//! Images of an export whose documents were written: what is counted and listed of them.

use std::collections::HashSet;

use serde_json::json;

use crate::mirror::exported::document::{ExportReceipt, ExportedItem, ReferrerListing};
use occystrap_base::oci::layout::REF_NAME;
use occystrap_base::oci::manifest::OCI_INDEX;
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_net::registry::Referrer;

/// Counts of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ExportCounts {
    /// Images that are in it.
    pub images: usize,
    /// Images that are as an earlier export brought them.
    pub as_before: usize,
    /// Images that could not be exported.
    pub failed: usize,
    /// Blobs that are in it: layers, configs and manifests.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Layers of its images that earlier exports carried.
    pub left_out: usize,
    /// Their bytes.
    pub left_out_bytes: u64,
}

/// An image whose documents were written.
pub struct Written {
    /// What the document says of it.
    pub item: ExportedItem,
    /// Its receipt.
    pub receipt: ExportReceipt,
    /// Its manifest or index.
    pub root: Descriptor,
    /// The name of its destination in the file of the mirror.
    pub destination: String,
    /// A digest over everything that it consists of.
    pub content: Digest,
}

/// Counts what images consist of.
pub fn counts(written: &[Written]) -> ExportCounts {
    let mut counts = ExportCounts { images: written.len(), ..ExportCounts::default() };
    let (mut here, mut left_out) = (HashSet::new(), HashSet::new());
    for object in written.iter().flat_map(|one| &one.receipt.objects) {
        match &object.carried_to {
            None if here.insert(object.digest) => {
                counts.blobs += 1;
                counts.bytes += object.size;
            }
            Some(_) if left_out.insert(object.digest) => {
                counts.left_out += 1;
                counts.left_out_bytes += object.size;
            }
            _ => {}
        }
    }
    counts
}

/// Returns the index of the layout. Images have their repository and tag as name, and referrers have none, except for
/// those with a tag of cosign.
pub fn index(written: &[Written]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut listed = HashSet::new();
    for one in written {
        let ExportReceipt { repository, tag, digest, referrers, .. } = &one.receipt;
        let name = match tag {
            Some(tag) => format!("{repository}:{tag}"),
            None => format!("{repository}@{digest}"),
        };
        let entry = |what: &Descriptor, name: Option<String>| {
            let mut entry =
                json!({ "mediaType": what.media_type, "digest": what.digest, "size": what.size });
            if let Some(name) = name {
                entry["annotations"] = json!({ REF_NAME: name });
            }
            entry
        };
        entries.push(entry(&one.root, Some(name)));
        for referrer in referrers {
            let Some(what) = one.receipt.manifests().find(|what| what.digest == referrer.digest)
            else {
                continue;
            };
            let tag = match referrer.found_by {
                ReferrerListing::CosignTag => Referrer::from(referrer).tag(),
                ReferrerListing::Api | ReferrerListing::FallbackTag => None,
            };
            let name = tag.map(|tag| format!("{repository}:{tag}"));
            if listed.insert((what.digest, name.clone())) {
                entries.push(entry(&what, name));
            }
        }
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
    serde_json::to_vec(&index).unwrap_or_default()
}
