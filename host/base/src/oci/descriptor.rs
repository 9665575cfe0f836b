//! Descriptors and the media types that matter here.

use super::digest::Digest;

/// What a blob is, before anyone reads it (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type, such as `application/vnd.oci.image.layer.v1.tar+gzip`.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}
