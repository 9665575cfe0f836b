//! Other images of the directory whose manifest file is the one that this image is about to write.
//!
//! A commit publishes one file after the other, and a process may be killed between two. So the names
//! that would lead to another image leave the catalog before the manifest changes.

use occystrap_plugin::read_to_end;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;
use serde_json::{Map, Value};

use crate::layout::CATALOG;
use crate::shared::LONGEST;

/// Returns the catalog without the other images that a manifest file is about; `None` where it is about
/// none. Errors where the file system takes two names for one file, and one of them is another image's.
pub fn without(
    directory: &Directory,
    repository: &str,
    tag: &str,
    file: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let Some(bytes) = read_to_end(directory, CATALOG, LONGEST)? else { return Ok(None) };
    let Ok(Value::Object(mut catalog)) = serde_json::from_slice(&bytes) else { return Ok(None) };
    drop(bytes);
    let mut found = false;
    let mut folded = None;
    for (other, tags) in &mut catalog {
        let Some(tags) = tags.as_object_mut() else { continue };
        tags.retain(|other_tag, named| {
            let Some(named) = named.as_str() else { return true };
            if other == repository && other_tag == tag {
                return true;
            }
            if named != file && named.eq_ignore_ascii_case(file) {
                folded = Some((format!("{other}:{other_tag}"), named.to_owned()));
            }
            found |= named == file;
            named != file
        });
    }
    if let Some((image, named)) = folded
        && is_one_file(directory, file, &named)?
    {
        return Err(Error::Unrepresentable(format!(
            "this file system takes '{file}' for '{named}', the manifest of '{image}'"
        )));
    }
    catalog.retain(|_, tags| tags.as_object().is_none_or(|tags| !tags.is_empty()));
    Ok(found.then(|| render(&catalog)))
}

/// Whether two names are one file. The manifests of two images differ in their names.
fn is_one_file(directory: &Directory, one: &str, other: &str) -> Result<bool, Error> {
    if directory.stat(one)?.is_none() || directory.stat(other)?.is_none() {
        return Ok(false);
    }
    Ok(directory.digest(one, 0, None)? == directory.digest(other, 0, None)?)
}

fn render(catalog: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(catalog).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
