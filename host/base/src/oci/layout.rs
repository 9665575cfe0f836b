//! What files are called in an OCI image layout (image specification, "Image Layout").

use std::path::PathBuf;

use super::{Digest, name};
use crate::error::{Error, Result};

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

/// `PATH[:TAG]`: a colon after the last slash starts a tag. Errors when what follows it is none: a
/// folder of that name is hardly what was meant.
pub fn tagged(rest: &str) -> Result<(PathBuf, Option<String>)> {
    let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    match rest[after_slash..].rsplit_once(':') {
        Some((folder, tag)) if name::is_tag(tag) => {
            let path = &rest[..after_slash + folder.len()];
            Ok((PathBuf::from(path), Some(tag.to_owned())))
        }
        Some((_, tag)) => {
            let message = match tag {
                "" => format!("'{rest}' ends with a colon, and no tag after it"),
                tag => format!("'{rest}': '{tag}' is not a tag"),
            };
            Err(Error::usage(message)
                .hint("the path of a folder that has a colon in its name ends with a slash here"))
        }
        None => Ok((PathBuf::from(rest), None)),
    }
}
