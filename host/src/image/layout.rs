//! What files are called in an OCI image layout (image specification, "Image Layout").

use super::Digest;

/// Where the images are listed.
pub const INDEX: &str = "index.json";

/// What says that a directory is a layout ("oci-layout file").
pub const MARKER: &str = "oci-layout";

/// The only version of layouts there is.
pub const VERSION: &str = "1.0.0";

/// OCI image specification, "Annotations": the tag of an image, or its whole name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Where a layout keeps what has this digest.
#[must_use]
pub fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
