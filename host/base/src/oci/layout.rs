//! Names of files in the places where images are stored: OCI image layouts (OCI image specification, "Image Layout"),
//! archives of `docker save` (Docker image specification v1.2), and directories of 0.4.17, which have the form of those
//! archives.

use std::path::PathBuf;

use super::{Digest, name};
use crate::error::{Error, Result};

/// File of a layout that lists its images.
pub const INDEX: &str = "index.json";

/// File that marks a directory as a layout ("oci-layout file").
pub const MARKER: &str = "oci-layout";

/// Only version of layouts that exists.
pub const VERSION: &str = "1.0.0";

/// Annotation with the tag of an image, or its whole name (OCI image specification, "Annotations").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// File that lists the images of a `docker save` archive, or that describes the image of a directory.
pub const LIST: &str = "manifest.json";

/// File that lists the images of a directory: `{repository: {tag: list}}`.
pub const CATALOG: &str = "catalog.json";

/// Bytes of a catalog that is read or written. 100,000 images with the longest names that Docker accepts need 81 MB;
/// all readers read the catalog as a stream.
pub const LARGEST_CATALOG: u64 = 128 * 1024 * 1024;

/// Bytes of one string in a catalog. An image's name has at most about 400 bytes, each escaped as six.
pub const LONGEST_STRING: usize = 64 * 1024;

/// Returns the path of a blob in a layout.
#[must_use]
pub fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Splits `PATH[:TAG]`: a colon after the last slash starts a tag. Errors when the text after the colon is not a tag:
/// it is more likely a mistake than a directory of that name.
pub fn tagged(rest: &str) -> Result<(PathBuf, Option<String>)> {
    let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    match rest[after_slash..].rsplit_once(':') {
        Some((folder, tag)) if name::is_tag(tag) => {
            let path = &rest[..after_slash + folder.len()];
            Ok((PathBuf::from(path), Some(tag.to_owned())))
        }
        Some((_, tag)) => {
            let message = match tag {
                "" => format!("'{rest}' ends with a colon without a tag after it"),
                tag => format!("'{rest}': '{tag}' is not a tag"),
            };
            Err(Error::usage(message)
                .hint("if the colon is part of the directory's name, end the path with a slash"))
        }
        None => Ok((PathBuf::from(rest), None)),
    }
}
