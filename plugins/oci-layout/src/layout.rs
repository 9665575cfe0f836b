//! The paths of the files in the directory (OCI image specification, "Image Layout").

use occystrap_plugin::hex;
use occystrap_plugin::read_to_end;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::object::Object;

/// The marker file, which says that the directory is an OCI image layout.
pub const MARKER: &str = "oci-layout";
/// The file that lists the images of the layout.
pub const INDEX: &str = "index.json";
/// The only version of the format. Readers refuse other versions, and so does this output.
pub const VERSION: &str = "1.0.0";

/// The largest marker file that is read, in bytes. A marker has about thirty bytes.
const LONGEST_MARKER: u64 = 64 * 1024;

/// Returns the path of a blob. The specification allows other algorithms; the host supports only sha256.
pub fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

/// Returns whether the directory has a marker file already. Fails if the file states another version, or none.
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
