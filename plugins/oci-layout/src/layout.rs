//! Where things are in the directory (OCI image specification, "Image Layout").

use occystrap_plugin::hex;
use occystrap_plugin::read_to_end;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::object::Object;

/// What the directory is.
pub const MARKER: &str = "oci-layout";
/// The images in it.
pub const INDEX: &str = "index.json";
/// The only version there is. A reader refuses others, and so do we.
pub const VERSION: &str = "1.0.0";

/// A marker has some thirty bytes.
const LONGEST_MARKER: u64 = 64 * 1024;

/// A blob. The specification allows other algorithms; the host knows sha256 only.
pub fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

/// Whether the directory is marked as a layout already. Errors when it is one of another version.
pub fn has_marker(directory: &Directory) -> Result<bool, Error> {
    let Some(bytes) = read_to_end(directory, MARKER, LONGEST_MARKER)? else { return Ok(false) };
    let marker = Object::parse(&bytes);
    match marker.as_ref().and_then(|marker| marker.text("imageLayoutVersion")) {
        Some(version) if version == VERSION => Ok(true),
        Some(version) => Err(Error::Other(format!(
            "the layout that is there is of version '{version}', {VERSION} was expected"
        ))),
        None => Err(Error::Other(format!("the '{MARKER}' that is there names no version"))),
    }
}
